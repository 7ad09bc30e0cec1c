"""A point as a distribution: what q(z|x) is in an autoencoder."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from nelbo.divergences.registry import register


class Delta(Distribution):
    """All mass on one point of R^n."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    support = constraints.real_vector  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_rsample = True
    has_density = False

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

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.location.expand(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """+inf on the point and -inf elsewhere: a density with respect to Lebesgue measure does not exist."""
        here = (value == self.location).all(-1)
        infinite = torch.full(here.shape, torch.inf, device=value.device)
        return torch.where(here, infinite, -infinite)


@register(Delta, Distribution)
def kl_delta(p: Delta, q: Distribution) -> Tensor:
    """KL(delta || q) = inf for any q with a density: the limit of KL(N(mu, s^2) || q) as s goes to 0."""
    return torch.full(p.batch_shape, torch.inf, device=p.location.device, dtype=p.location.dtype)
