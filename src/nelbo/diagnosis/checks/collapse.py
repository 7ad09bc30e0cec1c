"""Collapse: whether z says anything about x, and whether the decoder uses it."""

import math
from typing import Literal

import torch

from nelbo import latents
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import z_critical
from nelbo.estimate import Estimate
from nelbo.objectives import Beta, FreeBits, Schedule

ACTIVE = 0.01
"""A unit is active where the variance of its means over the examples is larger (Burda et al. 2016, section 4)."""
_LITTLE = 0.1  # nats of gain from z below which nobody would call it information

State = Literal["used", "collapsed", "without information", "ignored"]


def _state(case: Case) -> State:
    """The use of z, by three numbers: how much it helps to explain x, its KL, and its information about x."""
    if case.gain_of_z.t > z_critical() and float(case.gain_of_z) > _LITTLE:
        return "used"
    if float(case.kl) < 5 * _LITTLE:
        return "collapsed"
    # the estimate of the information is a little too high; less than a tenth of the KL, or of the log n nats that n
    # examples can show of it, is next to none
    little = max(_LITTLE, 0.1 * min(float(case.kl), math.log(len(case.train))))
    return "without information" if float(case.information) < little else "ignored"


def pays(left: Estimate) -> bool:
    """Whether there is something for latents to explain."""
    return left.t > z_critical() and float(left) > 5 * _LITTLE


@check("posterior-collapse")
def posterior_collapse(case: Case) -> Verdict:
    if _state(case) != "collapsed":
        return passed(case.kl, case.gain_of_z)
    try:
        left = case.structure_left
    except NotApplicable:
        return found("severe", case.kl, case.gain_of_z)
    if pays(left):
        intended = (case.declared_beta or 1.0) > 1.0
        severity = "warning" if intended else "severe"
        return found(severity, case.kl, case.gain_of_z, left, cost=left, change=_more_bits(case))
    return found(
        "note",
        case.kl,
        case.gain_of_z,
        left,
        meaning="q(z|x) is the prior for every x, and rightly so: a linear model finds no structure in the data that "
        "latents could explain. If there is some, it is not linear.",
        change="compare with a larger network before you believe that there is nothing to learn",
    )


@check("kl-without-information")
def kl_without_information(case: Case) -> Verdict:
    if _state(case) != "without information":
        return passed(case.kl, case.information)
    cost = case.kl.named("the KL, which buys nothing")
    return found("severe", case.kl, case.gain_of_z, case.information, cost=cost)


@check("decoder-ignores-z")
def decoder_ignores_z(case: Case) -> Verdict:
    if _state(case) != "ignored":
        return passed(case.gain_of_z)
    cost = case.kl.named("the KL, which buys nothing")
    return found("severe", case.gain_of_z, case.kl, case.information, cost=cost)


@check("unused-units")
def unused_units(case: Case) -> Verdict:
    train, (mu, _) = case.train, case.normal
    unused = mu.var(0) < ACTIVE
    share = measured(f"units unused, of {case.latent}", unused.sum(), unit="units")
    if not bool(unused.any()):
        return passed(share)
    if bool(unused.all()):
        raise NotApplicable("all units are unused: see posterior-collapse")
    if train.kl_per_unit is None:
        raise NotApplicable("needs the KL of each unit")
    z = torch.where(unused, latents.draw(train.pz, None, train.keys("unused units")), train.z)
    log_px = train.log_likelihood(z)
    saved = Estimate.mean_of(train.kl_per_unit[:, unused].sum(1) + log_px - train.log_px)
    without, left = saved.named("ELBO without them, minus ELBO"), case.structure_left
    many = float(unused.double().mean()) >= 0.25
    if not (many and pays(left) and float(left) > 0.1 * float(case.kl)):
        return passed(share, without, left)
    intended = case.declared_beta is None or case.declared_beta > 1
    # a decoder that was left to itself listens to every unit a little
    severe = float(left) > 0.25 * float(case.kl) and bool((log_px == train.log_px).all())
    severity = "note" if intended else "severe" if severe else "warning"
    return found(severity, share, left, without, cost=left, change=_more_bits(case))


def _more_bits(case: Case) -> str:
    """The change for a model trained with free bits or a warm-up, which the page advises, already; else ""."""
    if case.foreign or not isinstance(case.objective, FreeBits | Beta):
        return ""
    if isinstance(case.objective, FreeBits):
        floor, reason = 2 * case.objective.floor, f"{case.objective.floor:g} nats per unit were not enough"
    elif isinstance(case.objective.beta, Schedule):
        floor, reason = 0.1, f"{case.objective.beta} was not enough"
    elif case.objective.beta > 1:
        return f"nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # trained on {case.objective}"
    else:
        return ""
    return f"nelbo.fit(vae, data, objective=nelbo.objectives.FreeBits({floor:g}))  # {reason}"
