"""Where q(z|x) lies: beta as the trained model shows it, the aggregate posterior beside the prior, clamps."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nelbo.diagnosis.case import Case, log_aggregate, standard_normal
from nelbo.diagnosis.checks.collapse import ACTIVE
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import Ratio, binomial_excess, mean_of, moment_drift, ratio_of, z_critical
from nelbo.measure.aggregate import LEVEL


class Implied(NamedTuple):
    """The weight of the KL that a trained model shows."""

    by_width: Ratio
    by_place: Ratio


def implied_beta(case: Case) -> Implied:
    """Beta from the model alone: at the optimum of R + beta KL, moving q(z|x) changes R by -beta times as much as KL.

    Two movements that every encoder can make with its last layer: all sigma of the active units times (1 + t), and all
    means away from their center. dR/dt = -E[g (z - mu)] and dKL/dt = E[sigma^2 - 1] for the first; -E[g (mu - m)] and
    E[mu (mu - m)] for the second; g is the gradient of log p(x|z) at z ~ q(z|x).
    """
    seen = case.train
    if not standard_normal(case.pz):
        raise NotMeasurable("needs a standard normal prior")
    mu, sigma = seen.normal
    active = mu.var(0) > ACTIVE
    if not bool(active.any()):
        raise NotMeasurable("needs active units")
    mu, sigma, z, g = (t[:, active].double() for t in (mu, sigma, seen.z, seen.log_px_gradient))
    away = mu - mu.mean(0)
    by_width = ratio_of((g * (z - mu)).sum(1), (sigma**2 - 1).sum(1))
    by_place = ratio_of((g * away).sum(1), (mu * away).sum(1))
    return Implied(by_width, by_place)


def _shown(case: Case) -> tuple[Implied, tuple[Measured, ...]]:
    implied = implied_beta(case)
    if math.isnan(implied.by_width.value) or math.isnan(implied.by_place.value):
        raise NotMeasurable("the posteriors are too close to the prior to tell beta from them")
    return implied, (
        Measured("beta implied by the widths of q(z|x)", *implied.by_width, unit=""),
        Measured("beta implied by their places", *implied.by_place, unit=""),
    )


def _beyond(implied: Implied, factor: float, declared: float) -> bool:
    """Whether both measurements lie beyond factor times the declared beta, by more than chance."""
    bar, z = factor * declared, z_critical()
    if factor > 1:
        return all(r.value - z * r.standard_error > bar for r in implied)
    return all(r.value + z * r.standard_error < bar for r in implied)


def _better_width(case: Case, steps: tuple[float, ...]) -> Measured | None:
    """How many nats the ELBO gains at least when all widths are multiplied by one factor: what the wrong beta costs."""
    seen = case.train
    mu, sigma = seen.normal
    noise = (seen.z - mu) / sigma
    best: Measured | None = None
    for step in steps:
        wide = sigma * math.exp(step)
        kl = (0.5 * (mu**2 + wide**2 - 1) - wide.log()).sum(1)
        gain = mean_of(seen.nelbo - (kl - seen.log_likelihood(mu + wide * noise)))
        if gain.t > z_critical() and (best is None or gain.value > best.value):
            best = Measured("at least, by the widths alone", gain.value, gain.standard_error)
    return best


@check(
    "over-regularized",
    title="Over-regularized: the KL weighs more than in an ELBO",
    false_alarms=ALPHA,
    meaning="The posteriors are wider and closer to the origin than this decoder's ELBO would have them, as after "
    "training with a larger weight of the KL. Details that z could carry are blurred away.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # or pass objective= if the beta is on purpose",
    elsewhere="Sum the reconstruction over features and the KL over latents (no mean) and weigh them 1 : 1, or pass "
    "objective=nelbo.objectives.Beta(b) if the weight is on purpose.",
    source="At an optimum of R + beta KL the two derivatives balance; Higgins et al. 2017 (beta-VAE); a mean over "
    "features makes beta as large as their number: AntixK/PyTorch-VAE issues 11, 35, 40.",
    explains=("unused-units", "posterior-collapse", "holes", "sigma-too-small", "dispersion"),
)
def over_regularized(case: Case) -> Verdict:
    """Beta is read off the trained model, without its loss. At the optimum of R + beta KL every movement of q(z|x)
    changes R by -beta times what it changes the KL; two movements that every encoder can make are tried, all widths
    times (1 + t) and all means away from their center, and give two values of beta with standard errors (delta method).
    Found where both are above 1.5 times the declared beta (1 without objective=), beyond chance at the level 0.001;
    severe above twice. A model that is not trained to its optimum shows a beta that is too high as well.
    """
    declared = _declared(case)
    implied, numbers = _shown(case)
    if declared == 0 or not _beyond(implied, 1.5, declared):
        return passed(*numbers)
    severe = _beyond(implied, 2.0, declared)
    cost = _better_width(case, (-0.2, -0.4, -0.7, -1.0, -1.5))
    return found("severe" if severe else "warning", *numbers, cost=cost)


@check(
    "under-regularized",
    title="Under-regularized: the KL weighs less than in an ELBO",
    false_alarms=ALPHA,
    meaning="The posteriors are narrower and further from the prior than this decoder's ELBO would have them, as after "
    "training with a smaller weight of the KL. Reconstructions look sharp, but z drawn from the prior falls between "
    "the codes, and the bound is worse than it could be.",
    change="nelbo.fit(vae, data, objective=nelbo.objectives.ELBO())  # or pass objective= if the beta is on purpose",
    elsewhere="Sum the KL over latents (no mean over latents, features or both) and weigh it with 1, or pass "
    "objective=nelbo.objectives.Beta(b) if the weight is on purpose.",
    source="As for over-regularized; a KL divided by the number of pixels: pytorch/examples issue 290, "
    "maxhodak/keras-molecules issue 59, podgorskiy/VAE issue 1.",
    explains=("aggregate-posterior", "holes", "overfit", "sigma-too-large"),
)
def under_regularized(case: Case) -> Verdict:
    """As `over-regularized`, on the other side: found where both implied values of beta are below two thirds of the
    declared one, severe below half.
    """
    declared = _declared(case)
    implied, numbers = _shown(case)
    if declared == 0 or not _beyond(implied, 2 / 3, declared):
        return passed(*numbers)
    severe = _beyond(implied, 1 / 2, declared)
    cost = _better_width(case, (0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0))
    return found("severe" if severe else "warning", *numbers, cost=cost)


def _declared(case: Case) -> float:
    if case.declared_beta is None:
        raise NotMeasurable("the objective has no one weight of the KL to compare with")
    return case.declared_beta


@check(
    "aggregate-posterior",
    title="The embeddings lie elsewhere than the prior",
    false_alarms=ALPHA,
    meaning="All examples' z together have another mean or covariance than the prior that samples are drawn from. "
    "Samples then show the decoder places it never learned, and the KL pays for the distance without any gain.",
    change="vae = nelbo.VAE(encoder, decoder, latent=..., likelihood=..., prior=nelbo.priors.Mixture(latent))  # a "
    "prior that learns where the codes are",
    elsewhere="See that the prior of the KL term and the prior that is sampled from are the same; else weigh the KL "
    "with 1, or learn the prior (a mixture or a VampPrior).",
    source='Hoffman & Johnson 2016, "ELBO surgery"; Tomczak & Welling 2018 (VampPrior).',
    explains=("holes",),
)
def aggregate_posterior(case: Case) -> Verdict:
    """The mean m and covariance S of one draw z ~ q(z|x) for each example. KL(N(m, S) || N(0, I)) is a lower bound of
    KL(q(z) || p(z)), and so of what a better prior would save; 2 n times it is chi squared where nothing is wrong.
    Found above 0.05 nats a unit and half a nat in all, severe above 0.25 nats a unit and one nat in all.
    """
    if not standard_normal(case.pz):
        raise NotMeasurable("needs a standard normal prior")
    if len(case.train) < 5 * case.latent:
        raise NotMeasurable(f"needs {5 * case.latent} examples for {case.latent} latent dimensions")
    drift = moment_drift(case.train.z)
    nats = Measured("KL(q(z) || p(z)), at least", drift.nats, drift.standard_error, method="moments of q(z)")
    spread = Measured("mean variance of a unit of z (prior: 1)", float(case.train.z.var(0).mean()), unit="")
    if drift.p_value >= ALPHA or drift.nats < max(0.5, 0.05 * case.latent):
        return passed(nats, spread)
    on_purpose = case.declared_beta is not None and case.declared_beta < 1
    severe = drift.nats > max(1.0, 0.25 * case.latent) and not on_purpose
    return found("severe" if severe else "warning", nats, spread, cost=nats)


@check(
    "holes",
    title="The prior has holes: samples fall where no data lie",
    false_alarms=ALPHA,
    meaning="A share of the z drawn from the prior lies where hardly any example's z ever comes, so the decoder was "
    "never trained there. Samples from those places mean nothing.",
    change="vae = nelbo.VAE(encoder, decoder, latent=..., likelihood=..., prior=nelbo.priors.Mixture(latent))",
    elsewhere="Learn the prior (a mixture, a VampPrior, or a density fitted to the codes after training), or take more "
    "latent dimensions than two.",
    source='Rosca, Lakshminarayanan & Mohamed 2018, "Distribution matching in variational inference"; Tomczak & '
    "Welling 2018.",
)
def holes(case: Case) -> Verdict:
    """The density q(z), the mixture of the measured posteriors, is taken at draws from the prior and at each example's
    own z (there without the example's own posterior). A place is a hole where q(z) / p(z) is below all but 2 % of the
    values that the examples' own z have. Where q(z) = p(z), 2 % of the prior's draws fall into holes; found where more
    do by a binomial test and more than 20 % do.
    """
    mu, sigma = case.train.normal
    pz = case.pz
    with torch.no_grad(), case.draws("prior"):
        prior = pz.sample((len(mu),))
    own = log_aggregate(case.train.z, mu, sigma, without_own=True) - pz.log_prob(case.train.z)
    there = log_aggregate(prior, mu, sigma) - pz.log_prob(prior)
    edge = LEVEL * len(own)
    threshold = own.sort().values[int(edge)]
    fallen = int((there < threshold).sum())
    share = fallen / len(prior)
    error = math.sqrt(max(share * (1 - share), 1e-9) / len(prior))
    measured = Measured("samples of the prior that fall into holes", 100 * share, 100 * error, unit="%")
    # the threshold itself is an estimate from as many draws: both errors count
    rate = LEVEL + z_critical() * math.sqrt(LEVEL / len(own))
    if share < _MANY or binomial_excess(fallen, len(prior), rate) >= ALPHA:
        return passed(measured)
    return found("warning", measured)


_MANY = 0.2


@check(
    "variance-clamp",
    title="Standard deviations of q(z|x) stand at their clamp",
    false_alarms=0.0,
    meaning="Many standard deviations of q(z|x) have exactly the same smallest or largest value: a clamp holds them, "
    "and there they get no gradient. The KL and the samples are those of the clamp, not of the data.",
    change="vae = nelbo.VAE(...)  # nelbo clamps log sigma at -10 and 10 only; values there come from a diverging "
    "loss: lower learning_rate=, clip=1.0",
    elsewhere="Widen the clamp of the log-variance (to [-20, 20], say), or find out why the values run away: too high "
    "a learning rate, a KL with too small a weight.",
    source="A clamp of the log-variance as a remedy against NaN: vanderschaarlab/synthcity issue 331, pythae issue "
    "102.",
    explains=("aggregate-posterior", "holes", "under-regularized", "over-regularized", "dead-units", "sigma-too-small"),
)
def variance_clamp(case: Case) -> Verdict:
    """How many of all sigma(x) of the active units equal the smallest or the largest one to the last digit, in two or
    more examples. Numbers that a network gives do not agree so; a clamp's do. Found above 2 %, severe above 25 %.
    """
    mu, sigma = case.train.normal
    active = mu.var(0) > ACTIVE
    if not bool(active.any()):
        raise NotMeasurable("needs active units")
    # examples that are equal have equal posteriors: they count once
    distinct = torch.unique(torch.cat([mu, sigma], dim=1), dim=0)[:, case.latent :]
    share, value = _tied(distinct[:, active])
    held = Measured("standard deviations at their extreme value", 100 * share, unit="%")
    at = Measured("the value", value, unit="")
    if share < 0.02:
        return passed(held)
    return found("severe" if share > 0.25 else "warning", held, at)


def _tied(sigma: Tensor) -> tuple[float, float]:
    """The larger share of entries that equal the smallest or the largest, of units whose sigma depends on x at all."""
    varies = sigma.std(0) > 0
    constant = ~varies
    if bool(constant.all()) and sigma.shape[1] > 1 and bool((sigma == sigma[0, 0]).all()):
        return 1.0, float(sigma[0, 0])
    extremes = [float(sigma.min()), float(sigma.max())]
    shares = [(float((sigma == value).double().mean()), value) for value in extremes]
    # one example's value in a unit whose sigma is constant is no clamp: an encoder may give a constant sigma
    shares = [(s, v) for s, v in shares if int(((sigma == v) & varies).sum()) >= 2]
    return max(shares, default=(0.0, extremes[0]))
