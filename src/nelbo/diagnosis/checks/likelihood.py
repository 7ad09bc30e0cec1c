"""Does p(x|z) describe how the data scatter about their reconstructions?"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Binomial, ContinuousBernoulli, NegativeBinomial, Normal, Poisson, constraints

from nelbo.diagnosis.case import Case, base_of
from nelbo.diagnosis.checks.support import family_of
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import Mean, mean_of, scale_gain, z_critical


@check(
    "integer-density",
    title="Data in steps under a density",
    false_alarms=0.0,
    meaning="The data take a few values only, and p(x|z) is a density: it can grow without bound by becoming narrow "
    "around those values. Its nats then measure the steps of the data, not the model.",
    change="nelbo.data.load(source, dequantize=True)  # or likelihoods.DiscretizedLogistic(), which has no density",
    elsewhere="Add uniform noise of one step to the data, x = (x + rand) / 256 for 8-bit values, or take a likelihood "
    "for discrete values.",
    source="Theis, van den Oord & Bethge 2016, section 3.1; Uria, Murray & Larochelle 2013.",
    explains=("*",),
)
def integer_density(case: Case) -> Verdict:
    """The number of different values in the measured examples, where p(x|z) is a density. Found where there are 512 or
    fewer, each met ten times or more on average; severe where a normal's sigma is smaller than half the step between
    neighbouring values for 3 % of all values: there the density lives off the steps.
    """
    family = family_of(case)
    if not isinstance(family, Normal | ContinuousBernoulli):
        raise NotMeasurable("p(x|z) is no density of real values")
    values = case.x.flatten().unique()
    levels = Measured("different values", float(len(values)), unit="")
    if len(values) > 512 or case.x.numel() < 10 * len(values):
        return passed(levels)
    if len(values) < 2:
        raise NotMeasurable("all data are equal")
    step = float(values.diff().min())
    numbers = [levels, Measured("step between them", step, unit="")]
    if isinstance(family, Normal):
        sigma = _normal(case).scale.expand_as(case.x)
        narrow = float((sigma < step / 2).double().mean())
        numbers.append(Measured("sigma of p(x|z), median", float(sigma.median()), unit=""))
        numbers.append(Measured("values whose sigma is below half a step", 100 * narrow, unit="%"))
        if narrow > 0.03:
            return found("severe", *numbers)
    return found("warning", *numbers)


def _normal(case: Case) -> Normal:
    base = base_of(case.train.px)
    if not isinstance(base, Normal):
        raise NotMeasurable("p(x|z) is no normal")
    return base


_RYBKIN = 'Rybkin, Daniilidis & Levine 2021, "Simple and effective VAE training with calibrated decoders"'


@check(
    "sigma-too-large",
    title="The likelihood's sigma is far above the residuals'",
    false_alarms=ALPHA,
    meaning="The reconstructions miss the data by much less than the normal's sigma says. A sigma that is too large is "
    "a hidden beta above 1: the KL weighs sigma^2 / residual^2 times too much, and units collapse.",
    change="likelihood=nelbo.likelihoods.Normal('optimal')  # sigma at its optimum, kept there while training",
    elsewhere="Divide the squared error by twice the mean squared residual (and add its log), that is, learn sigma or "
    "set it to the residuals' each epoch; the plain sum of squares has sigma^2 = 1/2, half of it sigma = 1.",
    source=f"{_RYBKIN}; Lucas et al. 2019; a mean over 12,288 pixels: AntixK/PyTorch-VAE issues 11, 23, 35.",
    explains=("posterior-collapse", "unused-units", "aggregate-posterior", "holes", "decoder-ignores-z"),
)
def sigma_too_large(case: Case) -> Verdict:
    """The ratio r = mean of (x - mean)^2 / sigma^2 over all features, which is 1 where sigma is right. With d features,
    another sigma alone would save d / 2 (r - 1 - log r) nats per example. Found where r is beyond chance (t test over
    the examples) below 0.8 and half a nat is lost, severe below 0.5 and from one nat on.
    """
    ratio, lost, numbers = _ratio(case)
    reach = z_critical() * ratio.standard_error
    if ratio.value + reach >= 0.8 or lost.value < 0.5:
        return passed(*numbers)
    return found("severe" if ratio.value + reach < 0.5 and lost.value > 1 else "warning", *numbers, cost=lost)


@check(
    "sigma-too-small",
    title="The likelihood's sigma is far below the residuals'",
    false_alarms=ALPHA,
    meaning="The reconstructions miss the data by much more than the normal's sigma says. A sigma that is too small is "
    "a hidden beta below 1: the latents are spent on noise, and samples look unlike the data.",
    change="likelihood=nelbo.likelihoods.Normal('optimal')  # sigma at its optimum, kept there while training",
    elsewhere="Learn sigma, or set it to the root mean square residual each epoch; where sigma is learned already, see "
    "that it is not clamped and that the training has converged.",
    source=f"{_RYBKIN}; Lucas et al. 2019.",
    explains=("overfit", "aggregate-posterior", "holes"),
)
def sigma_too_small(case: Case) -> Verdict:
    """As `sigma-too-large`, on the other side: found where r is beyond chance above 1.25 and half a nat is lost, severe
    above 2 and from one nat on.
    """
    ratio, lost, numbers = _ratio(case)
    reach = z_critical() * ratio.standard_error
    if ratio.value - reach <= 1.25 or lost.value < 0.5:
        return passed(*numbers)
    return found("severe" if ratio.value - reach > 2 and lost.value > 1 else "warning", *numbers, cost=lost)


def _ratio(case: Case) -> tuple[Mean, Measured, tuple[Measured, ...]]:
    """Squared residuals / sigma^2, the nats that the best factor on sigma would save, and the numbers to show."""
    base = _normal(case)
    ratio = mean_of((((case.x - base.loc) / base.scale) ** 2).flatten(1).mean(1))
    d, r = case.x[0].numel(), max(ratio.value, 1e-12)
    lost = Measured("by sigma alone", d / 2 * (r - 1 - math.log(r)), d / 2 * abs(1 - 1 / r) * ratio.standard_error)
    residual = float((case.x - base.loc).square().mean().sqrt())
    return (
        ratio,
        lost,
        (
            Measured("squared residuals / sigma^2", ratio.value, ratio.standard_error, unit=""),
            Measured("sigma of p(x|z), median", float(base.scale.median()), unit=""),
            Measured("root mean square residual", residual, unit=""),
        ),
    )


@check(
    "one-sigma",
    title="One sigma for features whose noise differs",
    false_alarms=ALPHA,
    meaning="The residuals of some features are much larger than those of others, and p(x|z) has one sigma for all. "
    "The noisy features then count too much: the latents follow their noise, and what the quiet ones say is lost.",
    change="likelihood=nelbo.likelihoods.Normal(torch.ones(event))  # a sigma for each feature, learned",
    elsewhere="Learn a log sigma for each feature, a parameter with the shape of one example: "
    "0.5 * ((x - mean) / sigma) ** 2 + log(sigma), summed over features. To scale the features alike does not mend it: "
    "it is the noise that must be alike.",
    source=f"Tipping & Bishop 1999 against factor analysis, which has a variance for each feature; {_RYBKIN}.",
)
def one_sigma(case: Case) -> Verdict:
    """Nats per example that a sigma for each feature gains over the best one for all: both are fitted to the residuals
    of one half of the examples and judged on the other half, both ways. No sigma below a tenth of the common one is
    counted. Found where the gain is beyond chance (t test) above half a nat; a note for images, where one sigma for all
    pixels is usual, and a pixel that hardly ever varies would outweigh the others by a sigma of its own.
    """
    base = _normal(case)
    if case.x[0].numel() < 2:
        raise NotMeasurable("needs two features or more")
    if not bool((base.scale == base.scale.flatten()[0]).all()):
        raise NotMeasurable("p(x|z) has a sigma for each feature")
    residual = case.x - base.loc
    gain = scale_gain(residual)
    rms = residual.flatten(1).square().mean(0).sqrt()
    numbers = (
        Measured("gained by a sigma for each feature", gain.value, gain.standard_error),
        Measured("root mean square residual of the quietest feature", float(rms.min()), unit=""),
        Measured("of the noisiest", float(rms.max()), unit=""),
        Measured("sigma of p(x|z)", float(base.scale.flatten()[0]), unit=""),
    )
    if gain.t <= z_critical() or gain.value < 0.5:
        return passed(*numbers)
    if case.x.dim() == 4:
        return found("note", *numbers)
    return found("warning", *numbers[1:], cost=numbers[0])


def _outside(ratio: Mean, low: float, high: float) -> bool:
    """Whether a ratio lies outside an interval around 1 by more than chance."""
    reach = z_critical() * ratio.standard_error
    return ratio.value + reach < low or ratio.value - reach > high


@check(
    "dispersion",
    title="Counts scatter more, or less, than the likelihood allows",
    false_alarms=ALPHA,
    meaning="About their reconstructions the counts vary more (or less) than p(x|z) says. A Poisson then pays nats for "
    "noise, and the latents are spent on memorizing it.",
    change="likelihood=nelbo.likelihoods.NegativeBinomial()  # variance m + m^2 / r, with r learned",
    elsewhere="Take a negative binomial with a learned dispersion (variance m + m^2 / r) in place of the Poisson; "
    "where counts scatter less than a Poisson, a categorical or a discretized logistic.",
    source='Lopez et al. 2018, "Deep generative modeling for single-cell transcriptomics"; Pearson\'s dispersion: '
    "McCullagh & Nelder 1989, section 4.5.",
    explains=("overfit", "under-regularized", "aggregate-posterior", "holes", "unused-units"),
)
def dispersion(case: Case) -> Verdict:
    """Pearson's dispersion: mean of (x - mean)^2 / variance over all features, which is 1 where p(x|z) is right. Found
    where it is beyond chance (t test over the examples) outside [0.75, 1.33]. The cost is what a negative binomial with
    the same means and one dispersion for all features would save, or, where counts scatter too little, a binomial with
    the same means and one number of tries. Severe outside [0.5, 2], or where that is more than a quarter of the KL.
    """
    base = base_of(case.train.px)
    try:
        counts, mean, variance = base.support is constraints.nonnegative_integer, base.mean, base.variance
    except NotImplementedError as error:
        raise NotMeasurable("needs the support, the mean and the variance of p(x|z)") from error
    if not counts:
        raise NotMeasurable("p(x|z) is not a distribution of counts")
    squares = (case.x - mean) ** 2 / variance.clamp(min=1e-6)
    ratio = mean_of(squares.flatten(1).mean(1))
    number = Measured("squared residuals / variance", ratio.value, ratio.standard_error, unit="")
    if not _outside(ratio, 0.75, 1.33):
        return passed(number)
    saved = _saved_by_negative_binomial if ratio.value > 1 else _saved_by_binomial
    cost = saved(case.x, mean, case.train.log_px) if isinstance(base, Poisson) else None
    kl = mean_of(case.train.kl).value
    severe = _outside(ratio, 0.5, 2.0) or (cost is not None and cost.value > max(1.0, 0.25 * kl))
    change = "" if case.foreign else _other_counts(case.model.px_family, ratio.value)
    return found("severe" if severe else "warning", number, cost=cost, change=change)


def _other_counts(family: Any, ratio: float) -> str:
    """Line that replaces a family under which counts are over- or underdispersed."""
    if ratio < 1:
        return "likelihood=nelbo.likelihoods.Categorical(int(x.max()) + 1)  # any variance, for counts that stay small"
    if family.wider:
        return f"likelihood=nelbo.{family.wider}  # more variance for the same mean"
    return (
        f"nelbo.resume(run, epochs=...)  # {type(family).__name__} has a variance of its own: train until it fits, or "
        "write a likelihood with excess zeros (docs/adding.md)"
    )


def _saved_by_negative_binomial(x: Tensor, mean: Tensor, log_px: Tensor) -> Measured | None:
    """Nats per example that the best negative binomial of these means gains over the Poisson."""
    best: Measured | None = None
    for count in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
        total = torch.full_like(mean, count)
        log_nb = NegativeBinomial(total, logits=mean.clamp(min=1e-8).log() - math.log(count), validate_args=False)
        gain = mean_of(log_nb.log_prob(x).flatten(1).sum(1) - log_px)
        if gain.value > (best.value if best else 0.0):
            best = Measured(f"a negative binomial with r = {count:g} saves", gain.value, gain.standard_error)
    return best


def _saved_by_binomial(x: Tensor, mean: Tensor, log_px: Tensor) -> Measured | None:
    """Nats per example that the best binomial of these means gains over the Poisson."""
    best: Measured | None = None
    most = max(float(x.max()), 1.0)
    for tries in (most, *(math.ceil(factor * most) for factor in (1.25, 1.5, 2.0, 4.0))):
        # a mean beyond the number of tries has no binomial: it is taken to within a hundredth of it
        chance = (mean / tries).clamp(1e-6, 0.99)
        log_binomial = Binomial(torch.as_tensor(tries), probs=chance, validate_args=False).log_prob(x)
        gain = mean_of(log_binomial.flatten(1).sum(1) - log_px)
        if gain.value > (best.value if best else 0.0):
            best = Measured(f"a binomial of {tries:g} tries saves", gain.value, gain.standard_error)
    return best
