"""Does z say anything about x, and does the decoder listen?"""

from typing import Literal

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import Mean, mean_of, z_critical

ACTIVE = 0.01
"""A unit is active where the variance of its means over the examples is larger (Burda et al. 2016, section 4)."""
_LITTLE = 0.1  # nats of gain from z below which nobody would call it information
_BURDA = "Burda, Grosse & Salakhutdinov 2016, section 4 (active units)"

State = Literal["used", "collapsed", "without information", "ignored"]


def _state(case: Case) -> State:
    """What happens to z, by three numbers: how much it helps to explain x, its KL, and what it knows of x."""
    seen = case.train
    gain = seen.gain_of_z
    if gain.t > z_critical() and gain.value > _LITTLE:
        return "used"
    if mean_of(seen.kl).value < 5 * _LITTLE:
        return "collapsed"
    # the estimate of the information is a little too high; less than a tenth of the KL is next to none
    little = max(_LITTLE, 0.1 * mean_of(seen.kl).value)
    return "without information" if seen.information.value < little else "ignored"


def _numbers(case: Case) -> tuple[Measured, ...]:
    seen = case.train
    kl, gain = mean_of(seen.kl), seen.gain_of_z
    return (
        Measured("KL per example", kl.value, kl.standard_error),
        Measured("gain of an example's own z over another's", gain.value, gain.standard_error),
    )


def _known(case: Case) -> Measured:
    known = case.train.information
    return Measured("mutual information I(x; z)", known.value, known.standard_error)


def _left(case: Case) -> tuple[Measured, Mean]:
    left = case.train.structure_left
    what = "linear latents would still explain"
    return Measured(what, left.value, left.standard_error, method="probabilistic PCA of the residuals"), left


def _pays(left: Mean) -> bool:
    """Whether there is something for latents to explain."""
    return left.t > z_critical() and left.value > 5 * _LITTLE


@check(
    "posterior-collapse",
    title="Posterior collapse: z says nothing about x",
    false_alarms=ALPHA,
    meaning="q(z|x) is the prior for every x, so the model is a decoder without input that gives the same for every z. "
    "The data have structure that latents would explain, so this is no saving but a failure of the training.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.Beta(nelbo.objectives.Linear(10)))  # warm-up\n"
    "nelbo.fit(vae, data, objective=nelbo.objectives.FreeBits(0.1))  # or some nats at no cost",
    elsewhere="Check first that both terms are summed over features and latents and that gradients reach the encoder "
    "(rsample, no detach); then raise the weight of the KL from 0 to 1 over the first epochs, or give free bits.",
    source='Bowman et al. 2016, section 3.1; Lucas et al. 2019, "Don\'t blame the ELBO!"; reported in '
    "AppliedDataSciencePartners/WorldModels issue 12 (KL 4e-7, by a mean in place of a sum) and "
    "jxhe/vae-lagging-encoder issue 5.",
    explains=("unused-units", "over-regularized", "dispersion", "sigma-too-small"),
)
def posterior_collapse(case: Case) -> Verdict:
    """Z of another example takes the place of each example's own: log p(x|z) - log p(x|z') has the mean 0 where z says
    nothing (t test, one-sided). With a KL below half a nat this is a collapse, unless there is nothing to explain:
    probabilistic PCA on half of the residuals x - E[x|z] must beat independent features on the other half, in nats.
    What it gains there is what the collapse costs, at least: a linear VAE would reach it.
    """
    if _state(case) != "collapsed":
        return passed(*_numbers(case))
    try:
        left, structure = _left(case)
    except NotMeasurable:
        return found("severe", *_numbers(case))
    if _pays(structure):
        on_purpose = (case.declared_beta or 1.0) > 1.0
        return found("warning" if on_purpose else "severe", *_numbers(case), left, cost=left)
    return found(
        "note",
        *_numbers(case),
        left,
        meaning="q(z|x) is the prior for every x, and rightly so: a linear model finds no structure in the data that "
        "latents could explain. If there is some, it is not linear.",
        change="compare with a larger network before you believe that there is nothing to learn",
    )


@check(
    "kl-without-information",
    title="KL above zero, but z says nothing about x",
    false_alarms=ALPHA,
    meaning="q(z|x) differs from the prior, but it is the same for every x: the KL is paid and buys nothing. A KL "
    "above zero is no proof that a VAE uses its latents.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # no KL target that the prior's place can serve",
    elsewhere="See that the gradient of the reconstruction reaches the encoder (rsample, no detach) and take any term "
    "out that holds the KL up by itself.",
    source="The KL splits into I(x; z) + KL(q(z) || p(z)) (Hoffman & Johnson 2016); seen in "
    "jxhe/vae-lagging-encoder issue 8.",
    explains=("unused-units", "aggregate-posterior", "over-regularized", "under-regularized", "holes"),
)
def kl_without_information(case: Case) -> Verdict:
    """The gain of z as for `posterior-collapse`; here the KL is above half a nat, and the mutual information I(x; z),
    estimated with the mixture of all measured posteriors as q(z), is less than a tenth of it. What it costs: the KL.
    """
    if _state(case) != "without information":
        return passed(_numbers(case)[0], _known(case))
    kl = mean_of(case.train.kl)
    cost = Measured("the KL, which buys nothing", kl.value, kl.standard_error)
    return found("severe", *_numbers(case), _known(case), cost=cost)


@check(
    "decoder-ignores-z",
    title="The decoder ignores z",
    false_alarms=ALPHA,
    meaning="The encoder knows the examples apart, but the decoder gives the same for another example's z: nothing "
    "that z says reaches the reconstruction. Samples and reconstructions are then all alike, or come from somewhere "
    "else.",
    change="nelbo.fit(vae, data)  # train on the ELBO; in a decoder of your own, see that z reaches its first layer",
    elsewhere="See that decode uses the z that was drawn, that no detach or no_grad stands between, that the decoder's "
    "first layers are not dead, and that it does not get x by another way.",
    source="Permuting z: jxhe/vae-lagging-encoder logs it as mutual information beside the KL; Alemi et al. 2018, "
    '"Fixing a broken ELBO", section 4.',
    explains=("unused-units", "over-regularized", "dispersion", "sigma-too-small"),
)
def decoder_ignores_z(case: Case) -> Verdict:
    """The gain of z as for `posterior-collapse`; here the KL and the mutual information I(x; z) are both well above
    zero: the encoder speaks, and the decoder does not listen. What it costs, at least: the KL.
    """
    if _state(case) != "ignored":
        return passed(_numbers(case)[1])
    kl = mean_of(case.train.kl)
    cost = Measured("the KL, which buys nothing", kl.value, kl.standard_error)
    return found("severe", _numbers(case)[1], _numbers(case)[0], _known(case), cost=cost)


@check(
    "unused-units",
    title="Latent units are unused though there is work for them",
    false_alarms=ALPHA,
    meaning="Some units of z equal the prior for every x, while the residuals still hold structure that latents would "
    "explain. Those units are lost to the model, not spared by it.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.FreeBits(0.1))  # or a warm-up: Beta(Linear(10))",
    elsewhere="See that all units reach the decoder; then raise the weight of the KL from 0 over the first epochs, or "
    "let each unit use some nats at no cost (free bits).",
    source=f"{_BURDA}; Kingma et al. 2016, appendix C.8 (free bits).",
)
def unused_units(case: Case) -> Verdict:
    """A unit is unused where the variance of its means over the examples is below 0.01. That alone is no fault: a model
    with more units than it needs leaves some out, and its bound would not be better with fewer. It is one where a
    quarter of the units or more are unused and the residuals x - E[x|z] still have linear structure: probabilistic PCA
    on one half of them must gain more than half a nat on the other half (t test) and more than a tenth of the KL. The
    evidence also says what the bound becomes without those units.
    """
    seen = case.train
    mu = seen.mu
    unused = mu.var(0) < ACTIVE
    share = Measured("units unused", float(unused.sum()), unit=f"of {case.latent}")
    if not bool(unused.any()):
        return passed(share)
    if bool(unused.all()):
        raise NotMeasurable("all units are unused: see posterior-collapse")
    with seen.draws("units"), torch.no_grad():
        z = torch.where(unused, torch.randn_like(mu), seen.z)
    saved = mean_of(seen.kl_per_unit[:, unused].sum(1) + seen.log_likelihood(z) - seen.log_px)
    without = Measured("ELBO without them, minus ELBO", saved.value, saved.standard_error)
    left, structure = _left(case)
    kl = mean_of(seen.kl)
    many = float(unused.double().mean()) >= 0.25
    if not (many and _pays(structure) and structure.value > 0.1 * kl.value):
        return passed(share, without, left)
    on_purpose = case.declared_beta is None or case.declared_beta > 1
    severe = structure.value > 0.25 * kl.value
    return found("note" if on_purpose else "severe" if severe else "warning", share, left, without, cost=left)
