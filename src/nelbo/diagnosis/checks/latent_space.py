"""The distribution of q(z|x): beta as the trained model shows it, the aggregate posterior beside the prior, clamps."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nelbo import latents
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.collapse import ACTIVE
from nelbo.diagnosis.checks.loss import bends, weighs_as_declared
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import ALPHA, binomial_excess, moment_drift, ratio_of, z_critical
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.measure.aggregate import LEVEL
from nelbo.vae import at_condition


class Implied(NamedTuple):
    """The weight of the KL that a trained model shows."""

    by_width: Estimate
    by_place: Estimate


def implied_beta(case: Case) -> Implied:
    """Beta from the model alone: at the optimum of R + beta KL, moving q(z|x) changes R by -beta times as much as KL.

    Two movements that every encoder can make with its last layer: all sigma of the active units times (1 + t), and all
    means away from their center. dR/dt = -E[g (z - mu)] and dKL/dt = E[sigma^2 - 1] for the first; -E[g (mu - m)] and
    E[mu (mu - m)] for the second; g is the gradient of log p(x|z) at z ~ q(z|x).
    """
    case.need_standard_normal_prior()
    mu, sigma = case.normal
    active = mu.var(0) > ACTIVE
    if not bool(active.any()):
        raise NotApplicable("needs active units")
    mu, sigma, z, g = (t[:, active].double() for t in (mu, sigma, case.train.z, _log_px_gradient(case.train)))
    away = mu - mu.mean(0)
    by_width = ratio_of((g * (z - mu)).sum(1), (sigma**2 - 1).sum(1))
    by_place = ratio_of((g * away).sum(1), (mu * away).sum(1))
    return Implied(by_width, by_place)


def _log_px_gradient(train: Evaluation) -> Tensor:
    """(n, latent): gradient of log p(x|z) with respect to z, at the draw z."""
    gradients: list[Tensor] = []
    at_once = rows_at_once(train.features, on=train.device)  # a gradient keeps every layer's output
    for batch, part in zip(train.batch.split(at_once), train.z.split(at_once), strict=True):
        with torch.enable_grad():
            z = part.detach().clone().requires_grad_()
            log_px = at_condition(train.model, batch).log_likelihood(batch.x, z)
            gradients.append(torch.autograd.grad(log_px.sum(), z)[0])
    return torch.cat(gradients)


def _shown(case: Case) -> tuple[Implied, tuple[Estimate, ...]]:
    implied = case.once(implied_beta)
    if any(math.isnan(float(ratio)) for ratio in implied):
        raise NotApplicable("the posteriors are too close to the prior to tell beta from them")
    return implied, (
        implied.by_width.named("beta implied by the widths of q(z|x)"),
        implied.by_place.named("beta implied by their places"),
    )


def _beyond(implied: Implied, factor: float, declared: float) -> bool:
    """Whether both measurements lie beyond factor times the declared beta, by more than chance."""
    bar, z = factor * declared, z_critical()
    if factor > 1:
        return all(r.value - z * r.standard_error > bar for r in implied)
    return all(r.value + z * r.standard_error < bar for r in implied)


def _better_width(case: Case, steps: tuple[float, ...], beta: float) -> Estimate | None:
    """The nats that R + beta KL gains at least, with all widths times one factor, or None if it gains none."""
    rows = len(case.train)
    rows = case.budget.at_most(rows, "examples for other widths", share=0.05, pairs=0.5 * len(steps))
    if rows < _FEWEST:
        return None
    train, (mu, sigma) = case.train[:rows], (part[:rows] for part in case.normal)
    noise = (train.z - mu) / sigma
    best: Estimate | None = None
    for step in steps:
        wide = sigma * math.exp(step)
        saved = (0.5 * (sigma**2 - wide**2) + step).sum(1)  # of the KL
        gain = Estimate.mean_of(beta * saved + train.log_likelihood(mu + wide * noise) - train.log_px)
        if gain.t > z_critical() and (best is None or gain.value > best.value):
            best = gain.named("at least, by the widths alone")
    return best


_FEWEST = 8  # examples for the standard error of a mean


@check("over-regularized")
def over_regularized(case: Case) -> Verdict:
    return _regularized(case, (1.5, 2.0), (-0.2, -0.4, -0.7, -1.0, -1.5))


@check("under-regularized")
def under_regularized(case: Case) -> Verdict:
    return _regularized(case, (2 / 3, 1 / 2), (0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0))


def _regularized(case: Case, factors: tuple[float, float], steps: tuple[float, ...]) -> Verdict:
    """A finding where beta is beyond a factor times the declared one, severe beyond the second.

    Where the loss was seen to weigh the KL as declared, a longer training mends it: then it is a warning.
    """
    declared = _declared(case)
    implied, numbers = _shown(case)
    if declared == 0 or not _beyond(implied, factors[0], declared):
        return passed(*numbers)
    severe = _beyond(implied, factors[1], declared) and not weighs_as_declared(case)
    cost = _better_width(case, steps, declared)
    return found("severe" if severe else "warning", *numbers, cost=cost, change=_not_at_optimum(case))


def _not_at_optimum(case: Case) -> str:
    """Advice for a model whose objective already has the declared beta, which the page advises; else ""."""
    if case.foreign:
        return _BALANCED if weighs_as_declared(case) else ""
    if case.objective is None:
        return ""
    return f"nelbo.resume(run.path, epochs=...)  # trained on {case.objective}, but not to its optimum"


_BALANCED = (
    "Train for longer, or with a lower learning rate at the end: as measured, the loss weighs the KL as it should, but "
    "the model is not at its optimum."
)


def _declared(case: Case) -> float:
    if case.declared_beta is None or (case.objective is None and bends(case)):
        raise NotApplicable("what it was trained on has no one weight of the KL to compare with")
    return case.declared_beta


@check("aggregate-posterior")
def aggregate_posterior(case: Case) -> Verdict:
    case.need_standard_normal_prior()
    if len(case.train) < 5 * case.latent:
        raise NotApplicable(f"needs {5 * case.latent} examples for {case.latent} latent dimensions")
    drift = moment_drift(case.train.z)
    nats = drift.named("KL(q(z) || p(z)), at least")
    spread = measured("mean variance of a unit of z (prior: 1)", case.train.z.var(0).mean(), unit="")
    if drift.p_value >= ALPHA or drift.value < max(0.5, 0.05 * case.latent):
        return passed(nats, spread)
    # the part of it that a bias of the encoder would remove at once: no training with this prior leaves it
    shift = measured("of this by the mean of z alone", 0.5 * case.train.z.mean(0).square().sum())
    on_purpose = case.declared_beta is not None and case.declared_beta < 1
    severe = float(shift) > max(1.5, 0.5 * case.latent) and not on_purpose
    meaning = "" if severe else _SLOWLY
    return found("severe" if severe else "warning", nats, shift, spread, cost=nats, meaning=meaning)


_SLOWLY = (
    "The z of all examples together have another covariance than the prior that samples are drawn from. That is usual "
    "where training ended early, or few dimensions have much to say; more training or a better prior saves these nats."
)


@check("holes")
def holes(case: Case) -> Verdict:
    n, z, pz = len(case.train), case.train.z, case.train.pz
    samples = latents.draw(pz, None, case.train.keys("holes"))
    at_codes = case.log_aggregate(z, leave_one_out=True) - pz.log_prob(z)
    at_samples = case.log_aggregate(samples) - pz.log_prob(samples)
    fallen = int((at_samples < at_codes.sort().values[int(LEVEL * n)]).sum())
    evidence = Estimate.share_of(fallen, n, label="samples of the prior that fall into holes")
    # the threshold itself is an estimate from as many draws: both errors count
    rate = LEVEL + z_critical() * math.sqrt(LEVEL / n)
    if fallen < _MANY * n or binomial_excess(fallen, n, rate) >= ALPHA:
        return passed(evidence)
    more = "Give the prior more components: it is learned already." if case.foreign else ""
    return found("warning", evidence, change="" if case.standard_normal_prior else more)


_MANY = 0.2


@check("variance-clamp")
def variance_clamp(case: Case) -> Verdict:
    mu, sigma = case.normal
    active = mu.var(0) > ACTIVE
    if not bool(active.any()):
        raise NotApplicable("needs active units")
    # examples that are equal have equal posteriors: they count once
    distinct = torch.unique(torch.cat([mu, sigma], dim=1), dim=0)[:, case.latent :]
    share, value = _tied(distinct[:, active])
    held = measured("standard deviations at their extreme value", share, unit="share")
    at = measured("the value", value, unit="")
    if share < 0.02:
        return passed(held)
    return found("severe" if share > 0.25 else "warning", held, at)


def _tied(sigma: Tensor) -> tuple[float, float]:
    """The larger share of entries that equal the smallest or the largest, of units whose sigma depends on x at all."""
    varies = sigma.std(0) > 0
    if not bool(varies.any()) and sigma.shape[1] > 1 and bool((sigma == sigma[0, 0]).all()):
        return 1.0, float(sigma[0, 0])
    extremes = [float(sigma.min()), float(sigma.max())]
    shares = [(float((sigma == value).double().mean()), value) for value in extremes]
    # one example's value in a unit whose sigma is constant is not a clamp: an encoder may give a constant sigma
    shares = [(s, v) for s, v in shares if int(((sigma == v) & varies).sum()) >= 2]
    return max(shares, default=(0.0, extremes[0]))
