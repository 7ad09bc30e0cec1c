"""Distributions that torch does not have: a point, the skew-normal, and the normal on an interval."""

import math
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from nelbo.divergences.internals import validated
from nelbo.divergences.kullback_leibler import register


class Point(Distribution):
    """All probability on one point: what :class:`Delta` shares with a point among whole numbers, whose KL is finite.

    Args:
        location: (\\*batch, d).
    """

    def __init__(self, location: Tensor) -> None:
        self.location = location
        super().__init__(location.shape[:-1], location.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.location

    @property
    def mode(self) -> Tensor:
        return self.location

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.location)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        return type(self)(self.location.expand(*batch_shape, *self.event_shape))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.location.expand(self._extended_shape(sample_shape))


class Delta(Point):
    """All mass on one point of R^n: q(z|x) in an autoencoder."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    support = constraints.real_vector  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_rsample = True
    has_density = False

    def log_prob(self, value: Tensor) -> Tensor:
        """Give +inf on the point and -inf elsewhere: a density with respect to Lebesgue measure does not exist."""
        here = (value == self.location).all(-1)
        infinite = torch.full(here.shape, torch.inf, device=value.device)
        return torch.where(here, infinite, -infinite)


@register(Delta, Distribution)
def kl_delta(p: Delta, q: Distribution) -> Tensor:
    """KL(delta || q) = inf for any q with a density: the limit of KL(N(mu, s^2) || q) as s goes to 0."""
    return torch.full(p.batch_shape, torch.inf, device=p.location.device, dtype=p.location.dtype)


class SkewNormal(Distribution):
    """p(x) = 2 phi(y) Phi(skew y) / scale with y = (x - loc) / scale (Azzalini 1985); the normal at skew = 0.

    Args:
        loc, scale: of the normal that is skewed, shape batch_shape; not its mean and standard deviation.
        skew: to the right where positive.

    Raises:
        ValueError: where scale <= 0 (while `validate_args` is on).
    """

    arg_constraints: Any = {  # noqa: RUF012  # pyright: ignore[reportIncompatibleMethodOverride]
        "loc": constraints.real,
        "scale": constraints.positive,
        "skew": constraints.real,
    }
    support: Any = constraints.real  # pyright: ignore[reportIncompatibleMethodOverride]
    has_rsample = True

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        skew: Tensor | float = 0.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.skew = broadcast_all(loc, scale, skew)
        super().__init__(self.loc.size(), validate_args=validate_args)

    @property
    def _bend(self) -> Tensor:
        return self.skew / torch.sqrt(1 + self.skew**2)

    @property
    def mean(self) -> Tensor:
        """The mean, loc + scale bend sqrt(2 / pi), with bend = skew / sqrt(1 + skew^2)."""
        return self.loc + self.scale * self._bend * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        """The variance, scale^2 (1 - 2 bend^2 / pi)."""
        return self.scale**2 * (1 - 2 * self._bend**2 / math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p(value), in nats."""
        if validated(self):
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normal = -0.5 * (y * y + math.log(2 * math.pi)) - self.scale.log()
        return math.log(2) + normal + torch.special.log_ndtr(self.skew * y)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw from |u| and v, two standard normals; differentiable."""
        shape = self._extended_shape(sample_shape)
        u, v = torch.randn((2, *shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * (self._bend * u.abs() + torch.sqrt(1 - self._bend**2) * v)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SkewNormal":
        """The same distribution, its parameters expanded to batch_shape."""
        parts = (x.expand(batch_shape) for x in (self.loc, self.scale, self.skew))
        return SkewNormal(*parts, validate_args=False)


def _log_interval(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, in whichever tail keeps the digits."""
    flip = a > 0
    low, high = torch.where(flip, -b, a), torch.where(flip, -a, b)
    log_high = torch.special.log_ndtr(high)
    below = torch.special.log_ndtr(torch.where(torch.isinf(low), torch.full_like(low, -40.0), low))
    below = torch.where(torch.isinf(low), torch.full_like(below, -torch.inf), below)
    return log_high + torch.log(-torch.expm1(below - log_high))


# torch annotates its own constraint objects in a way that no caller satisfies
_DEPENDENT: Any = cast("Any", constraints.dependent)(is_discrete=False, event_dim=0)


class TruncatedNormal(Distribution):
    """N(loc, scale^2) conditioned on low < x < high.

    Args:
        loc, scale: of the normal before truncation, shape batch_shape.
        low, high: the interval; -inf and inf leave a side open.

    Raises:
        ValueError: where scale <= 0 or low >= high (while `validate_args` is on).
    """

    arg_constraints: Any = {  # noqa: RUF012  # pyright: ignore[reportIncompatibleMethodOverride]
        "loc": constraints.real,
        "scale": constraints.positive,
        "low": _DEPENDENT,
        "high": _DEPENDENT,
    }
    has_rsample = True

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        low: Tensor | float = -math.inf,
        high: Tensor | float = math.inf,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.low, self.high = broadcast_all(loc, scale, low, high)
        super().__init__(self.loc.size(), validate_args=validate_args)
        if validated(self) and not bool((self.low < self.high).all()):
            raise ValueError(
                f"TruncatedNormal: low must be less than high everywhere, got low={self.low} and high={self.high}; "
                "write TruncatedNormal(0.0, 1.0, low=-2.0, high=2.0)"
            )

    def expand(self, batch_shape: Any, _instance: Any = None) -> "TruncatedNormal":
        """The same distribution, its parameters expanded to batch_shape."""
        parts = (x.expand(batch_shape) for x in (self.loc, self.scale, self.low, self.high))
        return TruncatedNormal(*parts, validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The interval."""
        return constraints.interval(self.low, self.high)

    @property
    def _ends(self) -> tuple[Tensor, Tensor]:
        return (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale

    @property
    def log_mass(self) -> Tensor:
        """Log P(low < x < high) under the normal before truncation."""
        return _log_interval(*self._ends)

    def _end_densities(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """phi(end)/mass and end phi(end)/mass at both ends; 0 at an open end."""
        log_mass = self.log_mass
        parts: list[Tensor] = []
        for end in self._ends:
            finite = torch.isfinite(end)
            safe = torch.where(finite, end, torch.zeros_like(end))
            density = torch.exp(-0.5 * safe**2 - 0.5 * math.log(2 * math.pi) - log_mass)
            density = torch.where(finite, density, torch.zeros_like(density))
            parts += [density, safe * density]
        return parts[0], parts[1], parts[2], parts[3]

    @property
    def mean(self) -> Tensor:
        """The mean, loc + scale (phi(a) - phi(b)) / mass."""
        low, _, high, _ = self._end_densities()
        return self.loc + self.scale * (low - high)

    @property
    def variance(self) -> Tensor:
        """The variance, scale^2 (1 + (a phi(a) - b phi(b)) / mass - ((phi(a) - phi(b)) / mass)^2)."""
        low, a_low, high, b_high = self._end_densities()
        return self.scale**2 * (1 + a_low - b_high - (low - high) ** 2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p(value), in nats; -inf outside of the interval."""
        z = (value - self.loc) / self.scale
        inside = (value >= self.low) & (value <= self.high)
        density = -0.5 * z**2 - self.scale.log() - 0.5 * math.log(2 * math.pi) - self.log_mass
        return torch.where(inside, density, torch.full_like(density, -torch.inf))

    def entropy(self) -> Tensor:
        """The entropy, log(scale sqrt(2 pi e) mass) + (a phi(a) - b phi(b)) / (2 mass), in nats."""
        _, a_low, _, b_high = self._end_densities()
        return self.scale.log() + 0.5 * math.log(2 * math.pi * math.e) + self.log_mass + 0.5 * (a_low - b_high)

    def cdf(self, value: Tensor) -> Tensor:
        """P(x <= value)."""
        a, b = self._ends
        z = ((value - self.loc) / self.scale).clamp(a, b)
        return (torch.special.ndtr(z) - torch.special.ndtr(a)) / (torch.special.ndtr(b) - torch.special.ndtr(a))

    def icdf(self, value: Tensor) -> Tensor:
        """The value whose cdf is the argument, computed from the nearer tail."""
        a, b = self._ends
        flip = a > 0
        low, high = torch.where(flip, -b, a), torch.where(flip, -a, b)
        u = torch.where(flip, 1 - value, value)
        mass = torch.special.ndtr(low) * (1 - u) + torch.special.ndtr(high) * u
        z = torch.special.ndtri(mass).clamp(low, high)
        return self.loc + self.scale * torch.where(flip, -z, z)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw by inverting the cdf; differentiable."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))
