"""Collapse: whether z says anything about x, and whether the decoder uses it."""

from typing import Literal

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.statistics import z_critical
from nelbo.estimate import Estimate
from nelbo.objectives import Beta, FreeBits, Schedule

ACTIVE = 0.01
"""A unit is active where the variance of its means over the examples is larger (Burda et al. 2016, section 4)."""
_LITTLE = 0.1  # nats of gain from z below which nobody would call it information

State = Literal["used", "collapsed", "without information", "ignored"]


def _state(case: Case) -> State:
    """What happens to z, by three numbers: how much it helps to explain x, its KL, and what it knows of x."""
    seen = case.train
    gain = seen.gain_of_z
    if gain.t > z_critical() and gain.value > _LITTLE:
        return "used"
    if Estimate.mean_of(seen.kl).value < 5 * _LITTLE:
        return "collapsed"
    # the estimate of the information is a little too high; less than a tenth of the KL is next to none
    little = max(_LITTLE, 0.1 * Estimate.mean_of(seen.kl).value)
    return "without information" if seen.information.value < little else "ignored"


def _numbers(case: Case) -> tuple[Estimate, ...]:
    seen = case.train
    return (
        Estimate.mean_of(seen.kl).named("KL per example"),
        seen.gain_of_z.named("gain of an example's own z over another's"),
    )


def _information(case: Case) -> Estimate:
    return case.train.information.named("mutual information I(x; z)")


def _left(case: Case) -> Estimate:
    label = "linear latents would still explain"
    return case.train.structure_left.named(label, method="probabilistic PCA of the residuals")


def _pays(left: Estimate) -> bool:
    """Whether there is something for latents to explain."""
    return left.t > z_critical() and float(left) > 5 * _LITTLE


@check("posterior-collapse")
def posterior_collapse(case: Case) -> Verdict:
    if _state(case) != "collapsed":
        return passed(*_numbers(case))
    try:
        left = _left(case)
    except NotApplicable:
        return found("severe", *_numbers(case))
    if _pays(left):
        on_purpose = (case.declared_beta or 1.0) > 1.0
        severity = "warning" if on_purpose else "severe"
        return found(severity, *_numbers(case), left, cost=left, change=_more_bits(case))
    return found(
        "note",
        *_numbers(case),
        left,
        meaning="q(z|x) is the prior for every x, and rightly so: a linear model finds no structure in the data that "
        "latents could explain. If there is some, it is not linear.",
        change="compare with a larger network before you believe that there is nothing to learn",
    )


@check("kl-without-information")
def kl_without_information(case: Case) -> Verdict:
    if _state(case) != "without information":
        return passed(_numbers(case)[0], _information(case))
    cost = Estimate.mean_of(case.train.kl).named("the KL, which buys nothing")
    return found("severe", *_numbers(case), _information(case), cost=cost)


@check("decoder-ignores-z")
def decoder_ignores_z(case: Case) -> Verdict:
    if _state(case) != "ignored":
        return passed(_numbers(case)[1])
    cost = Estimate.mean_of(case.train.kl).named("the KL, which buys nothing")
    return found("severe", _numbers(case)[1], _numbers(case)[0], _information(case), cost=cost)


@check("unused-units")
def unused_units(case: Case) -> Verdict:
    seen = case.train
    mu = seen.mu
    unused = mu.var(0) < ACTIVE
    share = measured(f"units unused, of {case.latent}", unused.sum(), unit="units")
    if not bool(unused.any()):
        return passed(share)
    if bool(unused.all()):
        raise NotApplicable("all units are unused: see posterior-collapse")
    with seen.draws("units"), torch.no_grad():
        z = torch.where(unused, torch.randn_like(mu), seen.z)
    saved = Estimate.mean_of(seen.kl_per_unit[:, unused].sum(1) + seen.log_likelihood(z) - seen.log_px)
    without = saved.named("ELBO without them, minus ELBO")
    left = _left(case)
    kl = Estimate.mean_of(seen.kl)
    many = float(unused.double().mean()) >= 0.25
    if not (many and _pays(left) and left.value > 0.1 * kl.value):
        return passed(share, without, left)
    on_purpose = case.declared_beta is None or case.declared_beta > 1
    severe = bool(left.value > 0.25 * kl.value)
    severity = "note" if on_purpose else "severe" if severe else "warning"
    return found(severity, share, left, without, cost=left, change=_more_bits(case))


def _more_bits(case: Case) -> str:
    """What to change if the model was trained with free bits or a warm-up already, which the page advises; else ""."""
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
