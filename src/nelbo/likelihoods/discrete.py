"""p(x|z) for 8-bit values, categories and counts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Distribution, Independent, Uniform
from torch.distributions import NegativeBinomial as TorchNegativeBinomial
from torch.distributions import Poisson as TorchPoisson
from torch.nn import functional as F

from nelbo import latents
from nelbo.data import ValueSummary
from nelbo.likelihoods.bernoulli import pseudo_images
from nelbo.likelihoods.likelihood import AS_PARAMETERS, LIKELIHOODS, Likelihood, Scale, Suggestion
from nelbo.nn import Log1p, OneHot


@LIKELIHOODS.register("discretized_logistic")
@final
class DiscretizedLogistic(Likelihood):
    """8-bit values: the mass that a logistic density puts on each of the levels.

    P(x = k) = sigmoid((k + 1/2 - m) / s) - sigmoid((k - 1/2 - m) / s), the two end levels taking the tails. x holds
    the levels divided by ``levels - 1``, as nelbo.data gives 8-bit images; since this is a probability mass, not a
    density, the scaling of x changes nothing. The decoder gives the mean on a scale where the levels span [-1, 1],
    and log s on the same scale.

    Source: Salimans et al. 2017, "PixelCNN++", eq. 2 with one component; Kingma et al. 2016, appendix.

    Args:
        levels: number of values that a feature can take.
    """

    parameters_per_feature = 2

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}; 8-bit data has 256")
        self.levels = levels
        self.support = f"multiples of 1/{levels - 1} from 0 to 1"

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        mean, log_scale = self.split(parameters, event_dims)
        # narrower than exp(-7) of the range, a logistic puts all its mass on one level anyway
        logistic = QuantizedLogistic(mean, log_scale.clamp(-7.0, 7.0), self.levels)
        return Independent(logistic, event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        low, high = x.aminmax()
        scaled = x * (self.levels - 1)
        return bool(low >= 0) and bool(high <= 1) and bool(((scaled - scaled.round()).abs() < 1e-3).all())

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        return (
            Suggestion("discretized_logistic", "likelihoods.DiscretizedLogistic() and x / 255", summary)
            if summary.kind == "8-bit integers"
            else None
        )

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return pseudo_images(n, event)

    def at_mean(self, x: Tensor) -> Tensor:
        # on the scale [-1, 1], where a logistic of scale s has the standard deviation s pi / sqrt(3)
        scale = (2 * x.std(0, correction=0) * math.sqrt(3) / math.pi).clamp(min=1 / self.levels)
        return torch.cat([2 * x.mean(0) - 1, scale.log()])


class QuantizedLogistic(latents.Expandable):
    """A logistic variable rounded to one of ``levels`` values in [0, 1]."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, mean: Tensor, log_scale: Tensor, levels: int) -> None:
        self.logistic_mean, self.log_scale, self.levels = mean, log_scale, levels
        super().__init__(mean.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        # on the decoder's scale the levels lie 2 / (levels - 1) apart
        half = 1.0 / (self.levels - 1)
        distance = 2 * value - 1 - self.logistic_mean
        rate = torch.exp(-self.log_scale)
        upper, lower = (distance + half) * rate, (distance - half) * rate
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): exact in logarithms in both tails
        inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * rate))
        first, last = value < half, value > 1 - half
        return torch.where(first, F.logsigmoid(upper), torch.where(last, F.logsigmoid(-lower), inner))

    @property
    def mean(self) -> Tensor:
        """The exact mean, sum_k P(x >= k) / (levels - 1) over the levels above the lowest."""
        steps = self.levels - 1
        above = torch.zeros_like(self.logistic_mean)
        rate = torch.exp(-self.log_scale)
        for level in range(1, self.levels):  # one at a time: a (..., 255) tensor of an image batch fills the memory
            edge = (2 * level - 1) / steps - 1
            above = above + torch.sigmoid((self.logistic_mean - edge) * rate)
        return above / steps

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            low, high = torch.tensor([1e-7, 1 - 1e-7], device=self.logistic_mean.device)
            u = Uniform(low, high).sample(shape).to(self.logistic_mean)
            continuous = self.logistic_mean + torch.exp(self.log_scale) * torch.logit(u)
            level = ((continuous + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1)
            return level / (self.levels - 1)


@latents.rebuilt.register
def _(q: QuantizedLogistic, others: Sequence[QuantizedLogistic], change: latents.Change) -> QuantizedLogistic:
    parts = [q, *others]
    mean, log_scale = change([part.logistic_mean for part in parts]), change([part.log_scale for part in parts])
    return QuantizedLogistic(mean, log_scale, q.levels)


@LIKELIHOODS.register("categorical")
@final
class Categorical(Likelihood):
    """One of ``classes`` unordered values for each feature: log p(x|z) = sum_d log softmax(l_d)[x_d].

    The decoder gives ``classes`` logits per feature.

    Args:
        classes: number of values, which x holds as 0, 1, ..., classes - 1.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        self.classes = self.parameters_per_feature = classes
        self.support = f"integers from 0 to {classes - 1}"

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        logits = torch.stack(self.split(parameters, event_dims), dim=-1)
        return Independent(TorchCategorical(logits=logits, validate_args=False), event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        return _are_counts(x) and bool(x.max() < self.classes)

    def for_columns(self, families: Sequence[Likelihood]) -> Likelihood | None:
        """The most classes that one has: :class:`nelbo.likelihoods.Columns` leaves those out that the others lack."""
        numbers = [family.classes for family in families if isinstance(family, Categorical)]
        return Categorical(max(numbers)) if len(numbers) == len(families) else None

    def point_estimate(self, px: Distribution) -> Tensor:
        """The most probable category: the mean of category numbers stands for nothing."""
        return px.mode

    def averaged(self, px: Any) -> Tensor:
        """The probability of each category, (\\*batch, \\*event, classes)."""
        return px.base_dist.probs

    def from_average(self, average: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable category, and the standard error of its probability."""
        category = average.argmax(-1, keepdim=True)
        return category[..., 0].to(average.dtype), error.gather(-1, category)[..., 0]

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        if summary.kind != "categories":
            return None
        classes = int(max(summary.maximum, 1)) + 1
        return Suggestion(f"categorical:{classes}", f"likelihoods.Categorical({classes})", summary)

    def encoder_transform(self, event: Sequence[int]) -> nn.Module:
        return OneHot(self.classes)

    def for_encoder(self, families: Sequence[Likelihood]) -> nn.Module:
        return OneHot([family.parameters_per_feature for family in families])

    @property
    def readings(self) -> Mapping[str, Scale]:
        def softmax(logits: Tensor) -> Tensor:
            return torch.softmax(logits.unflatten(1, (self.classes, -1)), 1).flatten(1, 2)

        def sums_to_one(p: Tensor) -> Tensor:
            share = p.unflatten(1, (self.classes, -1))
            return ((share >= 0) & ((share.sum(1, keepdim=True) - 1).abs() < 1e-2)).flatten(1, 2)

        domain = "[0, 1], with a sum of 1 for each feature"
        return {"logits": AS_PARAMETERS, "probabilities": Scale(_log, softmax, sums_to_one, domain, certain=True)}

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> None:
        return None

    def at_mean(self, x: Tensor) -> Tensor:
        counts = torch.stack([(x == value).sum(0) for value in range(self.classes)]) + 0.5
        return (counts / counts.sum(0)).log().flatten(0, 1)


@LIKELIHOODS.register("poisson")
@final
class Poisson(Likelihood):
    """Counts: log p(x|z) = sum_d x_d r_d - exp(r_d) - log x_d!, with the decoder's output r as log rate."""

    support = "counts 0, 1, 2, ..."
    wider = "likelihoods.NegativeBinomial()"

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        return Independent(LogRatePoisson(parameters), event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        return _are_counts(x)

    def encoder_transform(self, event: Sequence[int]) -> nn.Module:
        return Log1p()

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return _pseudo_counts(n, event)

    def at_mean(self, x: Tensor) -> Tensor:
        return _log_mean(x)

    @property
    def readings(self) -> Mapping[str, Scale]:
        return _READINGS

    def browser_form(self) -> dict[str, Any]:
        return {"family": "poisson"}


class LogRatePoisson(latents.Expandable, TorchPoisson):
    """Poisson from its log rate: a rate that underflows to 0 keeps a finite log_prob and gradient."""

    def __init__(self, log_rate: Tensor) -> None:
        # exp(20) = 5e8 counts: beyond any data, below where float32 loses whole numbers' gradients
        self.log_rate = log_rate.clamp(max=20.0)
        super().__init__(self.log_rate.exp(), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return value * self.log_rate - self.rate - torch.lgamma(value + 1)


@latents.rebuilt.register
def _(q: LogRatePoisson, others: Sequence[LogRatePoisson], change: latents.Change) -> LogRatePoisson:
    return LogRatePoisson(change([part.log_rate for part in (q, *others)]))


@LIKELIHOODS.register("negative_binomial")
@final
class NegativeBinomial(Likelihood):
    """Counts that vary more than a Poisson: mean m and variance m + m^2 / r for each feature.

    log p(x|z) = log Gamma(x + r) - log Gamma(r) - log x! + r log(r / (r + m)) + x log(m / (r + m)). The decoder gives
    log m and log r (the inverse dispersion).

    Source: Lopez et al. 2018, "Deep generative modeling for single-cell transcriptomics".
    """

    parameters_per_feature = 2
    support = "counts 0, 1, 2, ..."

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        log_mean, log_count = self.split(parameters, event_dims)
        log_mean = log_mean.clamp(max=20.0)
        log_count = log_count.clamp(-math.log(1e6), math.log(1e6))  # outside, it is a Poisson or always 0
        negative_binomial = TorchNegativeBinomial(
            total_count=log_count.exp(),
            logits=log_mean - log_count,  # pyright: ignore[reportArgumentType]
            validate_args=False,
        )
        return Independent(negative_binomial, event_dims, validate_args=False)

    @property
    def readings(self) -> Mapping[str, Scale]:
        return _READINGS

    def accepts(self, x: Tensor) -> bool:
        return _are_counts(x)

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        return (
            Suggestion("negative_binomial", "likelihoods.NegativeBinomial()", summary)
            if summary.kind == "counts"
            else None
        )

    def encoder_transform(self, event: Sequence[int]) -> nn.Module:
        return Log1p()

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return _pseudo_counts(n, event)

    def at_mean(self, x: Tensor) -> Tensor:
        mean = _log_mean(x).exp()
        # the variance is m + m^2 / r
        count = (mean.square() / (x.var(0, correction=0) - mean).clamp(min=1e-6)).clamp(0.01, 100.0)
        return torch.cat([mean.log(), count.log()])


def _log(rate: Tensor) -> Tensor:
    return rate.clamp(min=torch.finfo(rate.dtype).tiny).log()


def _is_rate(rate: Tensor) -> Tensor:
    return rate >= 0


_READINGS = {
    "rates": Scale(_log, torch.exp, _is_rate, "[0, infinity)"),
    "log_rates": AS_PARAMETERS,
}


def _pseudo_counts(n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
    return torch.randn(n, *event).exp(), (0.0, math.inf)  # log(1 + x) needs x >= 0


def _are_counts(x: Tensor) -> bool:
    return bool(x.min() >= 0) and bool((x == x.round()).all())


def _log_mean(x: Tensor) -> Tensor:
    # half a count more: what was never seen is rare, not impossible
    return ((x.sum(0) + 0.5) / (len(x) + 1)).log()
