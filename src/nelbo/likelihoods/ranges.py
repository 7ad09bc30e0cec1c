"""p(x|z) for real values in a range: greater than 0, or from 0 to 1."""

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints
from torch.special import log_ndtr, ndtri

from nelbo.devices import widened
from nelbo.latents import Expandable
from nelbo.likelihoods.likelihood import LIKELIHOODS, Likelihood
from nelbo.nn import Log

_TAIL, _NEWTON = -30.0, 4  # log Phi(y) from which on y is found by Newton's steps, and how many
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_REACH = 1.5  # how far from 1/2 the mean of a normal may lie that is cut off at 0 and 1


@LIKELIHOODS.register("log_normal")
@final
class LogNormal(Likelihood):
    """Values greater than 0, such as incomes: log p(x|z) = sum_d log N(log x_d; m_d(z), s_d(z)^2) - log x_d.

    The decoder gives m and log s for each feature.
    """

    parameters_per_feature = 2
    support = "values greater than 0"
    filler = 1.0

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        mean, log_scale = self.split(parameters, event_dims)
        # beyond exp(30) float32 has nothing to say of a table's values; of s = 5 the mean is 270,000 medians
        logarithm = LogOfNormal(mean.clamp(-30.0, 30.0), log_scale.clamp(-7.0, math.log(5.0)).exp())
        return Independent(logarithm, event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        return bool(x.min() > 0)

    def encoder_transform(self, event: Sequence[int]) -> nn.Module:
        return Log()

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return torch.randn(n, *event).exp(), (torch.finfo().tiny, math.inf)

    def at_mean(self, x: Tensor) -> Tensor:
        scale = x.log().std(0, correction=0).clamp(1e-2, 5.0)
        return torch.cat([x.mean(0).log() - 0.5 * scale.square(), scale.log()])


class _OfNormal(Expandable):
    """What has a location and a scale, and draws by its ``icdf``."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, loc: Tensor, scale: Tensor, *, validate_args: bool | None = False) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape, validate_args=validate_args)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        limits = torch.finfo(self.loc.dtype)
        u = torch.rand(torch.Size(sample_shape) + self.batch_shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.icdf(u.clamp(limits.tiny, 1 - limits.eps / 2))


class LogOfNormal(_OfNormal):
    """exp(y) of y ~ N(loc, scale^2)."""

    def log_prob(self, value: Tensor) -> Tensor:
        y = value.log()
        return -0.5 * ((y - self.loc) / self.scale).square() - self.scale.log() - _HALF_LOG_2PI - y

    @property
    def mean(self) -> Tensor:
        return (self.loc + 0.5 * self.scale.square()).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return (self.loc + self.scale * ndtri(value)).exp()


@LIKELIHOODS.register("truncated_normal")
@final
class TruncatedNormal(Likelihood):
    """Values from 0 to 1, ends included, such as shares: a normal density within [0, 1], scaled to the integral 1.

    log p(x|z) = sum_d log N(x_d; m_d, s_d^2) - log(Phi((1 - m_d) / s_d) - Phi(-m_d / s_d)). The decoder gives m, by way
    of a tanh that keeps it between -1 and 2, and log s for each feature.
    """

    parameters_per_feature = 2
    support = "values in the interval [0, 1]"

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        mean, log_scale = self.split(parameters, event_dims)
        loc = 0.5 + _REACH * torch.tanh(mean / _REACH)
        # with s = 10 it is flat; below exp(-5), a mean beyond the ends would lose its digits
        return Independent(CutNormal(loc, log_scale.clamp(-5.0, math.log(10.0)).exp()), event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        low, high = x.aminmax()
        return bool(low >= 0) and bool(high <= 1)

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return torch.rand(n, *event), (0.0, 1.0)

    def at_mean(self, x: Tensor) -> Tensor:
        # the cut takes from the spread: 1/var = 1/s^2 + 12 and mean - 1/2 = (m - 1/2) var / s^2 are right both for a
        # narrow and for a flat density
        variance = x.var(0, correction=0).clamp(1e-4, 1 / 12.25)
        square = 1 / (1 / variance - 12)
        off = ((x.mean(0) - 0.5) * square / variance).clamp(-0.9 * _REACH, 0.9 * _REACH)
        return torch.cat([_REACH * torch.atanh(off / _REACH), 0.5 * square.log()])


class CutNormal(_OfNormal):
    """X ~ N(loc, scale^2) given 0 <= x <= 1."""

    def _ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Both ends in standard deviations, mirrored into the left tail, where Phi keeps its digits; and whether so."""
        low, high = -self.loc / self.scale, (1 - self.loc) / self.scale
        mirrored = low + high > 0
        return torch.where(mirrored, -high, low), torch.where(mirrored, -low, high), mirrored

    def _log_mass(self, low: Tensor, high: Tensor) -> Tensor:
        upper = log_ndtr(high)
        return upper + torch.log(-torch.expm1(log_ndtr(low) - upper))

    def log_prob(self, value: Tensor) -> Tensor:
        low, high, _ = self._ends()
        density = -0.5 * ((value - self.loc) / self.scale).square() - self.scale.log() - _HALF_LOG_2PI
        return density - self._log_mass(low, high)

    @property
    def mean(self) -> Tensor:
        low, high, mirrored = self._ends()
        low, high = widened(low), widened(high)
        mass = self._log_mass(low, high)
        off = (-0.5 * low.square() - _HALF_LOG_2PI - mass).exp() - (-0.5 * high.square() - _HALF_LOG_2PI - mass).exp()
        mean = widened(self.loc) + widened(self.scale) * torch.where(mirrored, -off, off)
        return mean.clamp(0.0, 1.0).to(self.loc.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        low, high, mirrored = self._ends()
        low, high, u = widened(low), widened(high), widened(torch.where(mirrored, 1 - value, value))
        y = _of_log_ndtr(torch.logaddexp(log_ndtr(low), u.log() + self._log_mass(low, high)))
        return (self.loc + self.scale * torch.where(mirrored, -y, y)).clamp(0.0, 1.0).to(self.loc.dtype)


def _of_log_ndtr(log_p: Tensor) -> Tensor:
    """The y with log Phi(y) = log_p, also where Phi(y) is no floating-point number: 150 standard deviations out."""
    in_tail = log_p < _TAIL
    y = torch.where(in_tail, -(-2 * log_p).sqrt(), ndtri(log_p.clamp(min=_TAIL).exp()))
    for _ in range(_NEWTON):
        log_phi = log_ndtr(y)
        step = (log_phi - log_p) * (log_phi + 0.5 * y.square() + _HALF_LOG_2PI).exp()
        y = torch.where(in_tail, y - step, y)
    return y
