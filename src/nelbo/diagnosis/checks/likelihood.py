"""Whether p(x|z) describes how the data scatter around their reconstructions."""

import math

import torch
from torch import Tensor
from torch.distributions import (
    Binomial,
    ContinuousBernoulli,
    Distribution,
    NegativeBinomial,
    Normal,
    Poisson,
    constraints,
)

from nelbo import latents
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.support import family_of
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import scale_gain, z_critical
from nelbo.estimate import Estimate


@check("integer-density")
def integer_density(case: Case) -> Verdict:
    family = case.once(family_of)
    if not isinstance(family, Normal | ContinuousBernoulli):
        raise NotApplicable("p(x|z) is not a density of real values")
    values = case.x.flatten().unique()
    levels = measured("different values", float(len(values)), unit="")
    if len(values) > 512 or case.x.numel() < 10 * len(values):
        return passed(levels)
    if len(values) < 2:
        raise NotApplicable("all data are equal")
    step = float(values.diff().min())
    numbers = [levels, measured("step between them", step, unit="")]
    if isinstance(family, Normal):
        sigma = _normal(case).scale.expand_as(case.x)
        narrow = float((sigma < step / 2).double().mean())
        numbers.append(measured("sigma of p(x|z), median", float(sigma.median()), unit=""))
        numbers.append(measured("values whose sigma is below half a step", narrow, unit="share"))
        if narrow > 0.03:
            return found("severe", *numbers)
    return found("warning", *numbers)


def _normal(case: Case) -> Normal:
    base = latents.base_of(case.train.px)
    if not isinstance(base, Normal):
        raise NotApplicable("p(x|z) is not a normal")
    return base


@check("sigma-too-large")
def sigma_too_large(case: Case) -> Verdict:
    return _sigma(case, (0.8, math.inf), (0.5, math.inf))


@check("sigma-too-small")
def sigma_too_small(case: Case) -> Verdict:
    return _sigma(case, (0.0, 1.25), (0.0, 2.0))


def _sigma(case: Case, bounds: tuple[float, float], severe: tuple[float, float]) -> Verdict:
    """A finding where squared residuals / sigma^2 lie outside of bounds around 1, and that costs half a nat."""
    ratio, lost, numbers = _ratio(case)
    if not _outside(ratio, *bounds) or lost.value < 0.5:
        return passed(*numbers)
    severity = "severe" if _outside(ratio, *severe) and lost.value > 1 else "warning"
    return found(severity, *numbers, cost=lost, change=_optimal_already(case))


def _optimal_already(case: Case) -> str:
    """Advice for a model where the page's, a sigma that is learned, is what the model has; else ""."""
    if case.foreign:
        learned = bool((_normal(case).scale != _normal(case).scale.flatten()[0]).any())
        return "Train for longer, and check that sigma is not clamped: it is learned already." if learned else ""
    scale = getattr(case.model.px_family, "scale", None)
    if scale not in ("optimal", "per_feature", "decoded"):
        return ""
    return f"nelbo.resume(run.path, epochs=...)  # sigma is {scale!r} already and still follows the residuals"


def _ratio(case: Case) -> tuple[Estimate, Estimate, tuple[Estimate, ...]]:
    """Squared residuals / sigma^2, the nats that the best factor on sigma would save, and the numbers to show."""
    base = _normal(case)
    ratio = Estimate.mean_of((((case.x - base.loc) / base.scale) ** 2).flatten(1).mean(1))
    d, r = case.train.features, max(float(ratio), 1e-12)
    lost = measured("by sigma alone", d / 2 * (r - 1 - math.log(r)), d / 2 * abs(1 - 1 / r) * ratio.error)
    residual = float((case.x - base.loc).square().mean().sqrt())
    return (
        ratio,
        lost,
        (
            ratio.named("squared residuals / sigma^2", unit=""),
            measured("sigma of p(x|z), median", float(base.scale.median()), unit=""),
            measured("root mean square residual", residual, unit=""),
        ),
    )


@check("one-sigma")
def one_sigma(case: Case) -> Verdict:
    base = _normal(case)
    if case.train.features < 2:
        raise NotApplicable("needs two features or more")
    if not bool((base.scale == base.scale.flatten()[0]).all()):
        raise NotApplicable("p(x|z) has a sigma for each feature")
    residual = case.x - base.loc
    gain = scale_gain(residual)
    rms = residual.flatten(1).square().mean(0).sqrt()
    numbers = (
        gain.named("gained by a sigma for each feature"),
        measured("root mean square residual of the quietest feature", float(rms.min()), unit=""),
        measured("of the noisiest", float(rms.max()), unit=""),
        measured("sigma of p(x|z)", float(base.scale.flatten()[0]), unit=""),
    )
    if gain.t <= z_critical() or gain.value < 0.5:
        return passed(*numbers)
    if case.x.dim() == 4:
        return found("note", *numbers)
    return found("warning", *numbers[1:], cost=numbers[0])


def _outside(ratio: Estimate, low: float, high: float) -> bool:
    """Whether a ratio lies outside an interval around 1 by more than chance."""
    reach = z_critical() * ratio.error
    return float(ratio) + reach < low or float(ratio) - reach > high


@check("dispersion")
def dispersion(case: Case) -> Verdict:
    base = latents.base_of(case.train.px)
    try:
        counts, mean, variance = base.support is constraints.nonnegative_integer, base.mean, base.variance
    except NotImplementedError as error:
        raise NotApplicable("needs the support, the mean and the variance of p(x|z)") from error
    if not counts:
        raise NotApplicable("p(x|z) is not a distribution of counts")
    squares = (case.x - mean) ** 2 / variance.clamp(min=1e-6)
    ratio = Estimate.mean_of(squares.flatten(1).mean(1))
    number = ratio.named("squared residuals / variance", unit="")
    if not _outside(ratio, 0.75, 1.33):
        return passed(number)
    saved = _saved_by_negative_binomial if ratio.value > 1 else _saved_by_binomial
    cost = saved(case.x, mean, case.train.log_px) if isinstance(base, Poisson) else None
    kl = float(case.kl)
    severe = _outside(ratio, 0.5, 2.0) or (cost is not None and cost.value > max(1.0, 0.25 * kl))
    return found("severe" if severe else "warning", number, cost=cost, change=_other_counts(case, ratio))


def _other_counts(case: Case, ratio: Estimate) -> str:
    """Advice for a model where the page's, a negative binomial, is in use or does not help; else ""."""
    family = case.model.px_family
    if float(ratio) > 1 and not family.wider:
        return (
            f"nelbo.resume(run, epochs=...)  # {type(family).__name__} has a variance of its own: train until it fits, "
            "or write a likelihood with excess zeros (docs/adding.md)"
        )
    if case.foreign:
        return ""
    if float(ratio) > 1:
        return f"likelihood=nelbo.{family.wider}  # more variance for the same mean"
    return f"likelihood=nelbo.likelihoods.Categorical({int(case.x.max()) + 1})  # counts that vary less than a Poisson"


def _saved_by_negative_binomial(x: Tensor, mean: Tensor, log_px: Tensor) -> Estimate | None:
    """Nats per example that the best negative binomial of these means gains over the Poisson."""

    def of(count: float) -> Distribution:
        logits = mean.clamp(min=1e-8).log() - math.log(count)
        return NegativeBinomial(torch.full_like(mean, count), logits=logits, validate_args=False)

    counts = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    return _most_saved({f"a negative binomial with r = {count:g} saves": of(count) for count in counts}, x, log_px)


def _saved_by_binomial(x: Tensor, mean: Tensor, log_px: Tensor) -> Estimate | None:
    """Nats per example that the best binomial of these means gains over the Poisson."""

    def of(tries: float) -> Distribution:
        # a mean beyond the number of tries has no binomial: it is taken to within a hundredth of it
        return Binomial(torch.as_tensor(tries), probs=(mean / tries).clamp(1e-6, 0.99), validate_args=False)

    most = max(float(x.max()), 1.0)
    numbers = (most, *(math.ceil(factor * most) for factor in (1.25, 1.5, 2.0, 4.0)))
    return _most_saved({f"a binomial of {tries:g} tries saves": of(tries) for tries in numbers}, x, log_px)


def _most_saved(candidates: dict[str, Distribution], x: Tensor, log_px: Tensor) -> Estimate | None:
    """The largest gain over log p(x|z), (n,), under the name of its candidate; None where none gains."""
    gains = [Estimate.mean_of(px.log_prob(x).flatten(1).sum(1) - log_px).named(name) for name, px in candidates.items()]
    best = max(gains, key=float)
    return best if float(best) > 0 else None
