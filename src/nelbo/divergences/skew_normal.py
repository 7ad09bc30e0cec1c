"""The skew-normal distribution, which torch does not have."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all


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
        """Loc + scale bend sqrt(2 / pi), bend = skew / sqrt(1 + skew^2)."""
        return self.loc + self.scale * self._bend * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        """Scale^2 (1 - 2 bend^2 / pi)."""
        return self.scale**2 * (1 - 2 * self._bend**2 / math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at value, nats."""
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normal = -0.5 * (y * y + math.log(2 * math.pi)) - self.scale.log()
        return math.log(2) + normal + torch.special.log_ndtr(self.skew * y)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draws from |u| and v, two standard normals; differentiable."""
        shape = self._extended_shape(sample_shape)
        u, v = torch.randn((2, *shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * (self._bend * u.abs() + torch.sqrt(1 - self._bend**2) * v)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SkewNormal":
        """The same with more batch dimensions."""
        parts = (x.expand(batch_shape) for x in (self.loc, self.scale, self.skew))
        return SkewNormal(*parts, validate_args=False)
