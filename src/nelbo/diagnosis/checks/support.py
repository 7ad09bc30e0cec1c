"""Can the likelihood hold these values at all? Read off the data before anything is measured."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from nelbo.diagnosis.case import Case, base_of
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import NotMeasurable, Verdict, check, found, passed
from nelbo.likelihoods import fitting
from nelbo.likelihoods.bernoulli import StableContinuousBernoulli
from nelbo.vae import VAE


def family_of(case: Case) -> Distribution:
    """The distribution of one feature under p(x|z), at any z."""
    with torch.no_grad(), case.draws("family"):
        try:
            return base_of(case.model.likelihood(case.pz.sample((2,))))
        except ValueError as error:  # torch refuses NaN; that is the finding of not-finite
            raise NotMeasurable("needs finite parameters of p(x|z)") from error


def _is_bernoulli(case: Case) -> bool:
    family = family_of(case)
    return isinstance(family, Bernoulli) and not isinstance(family, StableContinuousBernoulli)


def _finite(x: Tensor) -> Tensor:
    return x[torch.isfinite(x.flatten(1)).all(1)]


@check(
    "outside-support",
    title="Values that the likelihood cannot produce",
    false_alarms=0.0,
    meaning="Some values of the data have no probability under p(x|z): negative counts, fractions as counts, values "
    "beyond [0, 1] under a Bernoulli. The formula may still return a number, but it is no log-likelihood.",
    change="nelbo.likelihoods.fitting(x)  # names the likelihood that fits these values",
    elsewhere="Scale the data into the likelihood's range, or take another loss: squared error with its constant for "
    "real values, Poisson or negative binomial for counts.",
    source="tensorflow/models issue 23 (data not in [0, 1]); clementchadebec/benchmark_VAE issue 36 (data in [0, 300] "
    "behind a sigmoid).",
    explains=("*",),
)
def outside_support(case: Case) -> Verdict:
    """The share of the measured examples' values that the family of p(x|z) gives no probability, and the range of the
    values. Gray values under a Bernoulli are a finding of their own: `gray-bernoulli`.
    """
    x = _finite(case.x)
    share = Measured("values outside the support", 100 * _outside(case, x), unit="%")
    if not len(x) or share.value == 0:
        return passed(share)
    low, high = x.aminmax()
    fits = fitting(x)
    return found(
        "severe",
        share,
        Measured("smallest value", float(low), unit=""),
        Measured("largest value", float(high), unit=""),
        change="" if case.foreign else f"{fits.line}  # fits: {fits.summary.kind}",
    )


def _outside(case: Case, x: Tensor) -> float:
    """The share of values outside; of all values, if the family only judges a batch as a whole."""
    if _is_bernoulli(case):
        return float(((x < 0) | (x > 1)).double().mean())
    if isinstance(case.model, VAE) and case.model.px_family.accepts(x):
        return 0.0
    try:
        support: Any = family_of(case).support
        inside: Tensor = support.check(x)
    except (NotImplementedError, AttributeError):
        inside = torch.tensor(not isinstance(case.model, VAE))
    return float((~inside).double().mean())


@check(
    "gray-bernoulli",
    title="Gray values under a Bernoulli",
    false_alarms=0.0,
    meaning="A Bernoulli gives probabilities to 0 and 1 only; binary cross-entropy of values in between is a useful "
    "loss but no log-likelihood. Its nats compare with nothing and look 7 to 15 nats too good on MNIST.",
    change="nelbo.fit(vae, nelbo.data.load(source, binarize='dynamic'))  # or likelihoods.ContinuousBernoulli()",
    elsewhere="Draw each pixel anew at every visit, x = torch.bernoulli(x), and evaluate on one fixed draw; or keep "
    "the gray values and subtract the continuous Bernoulli's log normalizer.",
    source='Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli"; pyro-ppl/pyro issue 539, pytorch/examples '
    "issue 460.",
    explains=("*",),
)
def gray_bernoulli(case: Case) -> Verdict:
    """The share of values strictly between 0 and 1 under a Bernoulli likelihood. The entropy of those values is the
    floor below which no decoder can bring the binary cross-entropy, and which a likelihood of 0 and 1 does not have.
    """
    if not _is_bernoulli(case):
        raise NotMeasurable("p(x|z) is no Bernoulli")
    x = _finite(case.x)
    gray = float(((x > 0) & (x < 1)).double().mean())
    share = Measured("values strictly between 0 and 1", 100 * gray, unit="%")
    if gray == 0:
        return passed(share)
    inside = x.clamp(0, 1).flatten(1).double()
    entropy = -(torch.xlogy(inside, inside) + torch.xlogy(1 - inside, 1 - inside)).sum(1)
    return found("severe", share, Measured("their entropy, a floor of the loss", float(entropy.mean())))
