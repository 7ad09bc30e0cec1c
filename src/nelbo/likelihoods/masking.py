"""Values that are missing because of what they are: a model of p(s|x), the pattern of what is missing."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.special import log_ndtr, ndtr, ndtri

from nelbo import latents, randomness
from nelbo.likelihoods.observed import Observed


@final
class SelfMasking(nn.Module):
    """p(s|x) = prod_d Phi(a_d + b_d x_d) where d is missing, and Phi(-(a_d + b_d x_d)) where not; a and b are learned.

    Each value is missing with a probability that depends on it alone, as when high incomes are not told. With a probit
    Phi and a normal p(x|z), what is missing integrates out in closed form, where a logistic function needs draws.

    Source: Ipsen, Mattei & Frellsen 2021, "not-MIWAE: deep generative modelling with missing not at random data",
    section 3.1.

    Args:
        event: shape of one example.
    """

    def __init__(self, event: Sequence[int]) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(*event))
        """a: (\\*event)."""
        self.slope = nn.Parameter(torch.zeros(*event))
        """b: (\\*event)."""

    def forward(self, px: Distribution) -> "SelfMasked":
        """p(x_observed, s|z), from p(x|z)."""
        return SelfMasked(px, self.offset, self.slope)


@final
class SelfMasked(Observed):
    """p(x_observed, s|z) of a normal p(x|z) under :class:`SelfMasking`.

    log p(x_observed, s|z) = sum over observed d of log N(x_d; m_d, sigma_d^2) + log Phi(-(a_d + b_d x_d)), plus the sum
    over missing d of log Phi((a_d + b_d m_d) / sqrt(1 + b_d^2 sigma_d^2)).
    """

    def __init__(self, px: Distribution, offset: Tensor, slope: Tensor) -> None:
        super().__init__(px)
        if type(self.base_dist) is not Normal:
            raise TypeError(
                f"self-masking needs a normal p(x|z), got {self.base_dist}; write likelihood='normal' or "
                "'normal_decoded', or mechanism='ignorable'"
            )
        self.offset, self.slope = offset, slope

    def log_prob_each(self, value: Tensor) -> Tensor:
        missing = value.isnan()
        seen = torch.where(missing, self.filler, value)
        observed = self.base_dist.log_prob(seen) + log_ndtr(-(self.offset + self.slope * seen))
        return torch.where(missing, log_ndtr(self.missing.base_dist.threshold), observed)

    @property
    def missing(self) -> Independent:
        base: Any = self.base_dist
        tilted = Selected(base.loc, base.scale, self.offset, self.slope)
        return Independent(tilted, self.reinterpreted_batch_ndims, validate_args=False)


class Selected(latents.Expandable):
    """x ~ N(loc, scale^2) given a + b x + e > 0 with e ~ N(0, 1): a normal, selected by itself.

    Given y = a + b x + e, which is normal, x is normal; and y is a normal cut off at 0.
    """

    arg_constraints = {  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
        "loc": constraints.real,
        "scale": constraints.positive,
        "offset": constraints.real,
        "slope": constraints.real,
    }

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor | float,
        offset: Tensor,
        slope: Tensor,
        *,
        validate_args: bool | None = False,
    ) -> None:
        self.offset, self.slope = offset, slope
        self.loc, self.scale = loc, torch.as_tensor(scale, dtype=loc.dtype, device=loc.device).expand_as(loc)
        self.spread = (1 + (slope * self.scale).square()).sqrt()
        """Standard deviation of y."""
        self.threshold = (offset + slope * loc) / self.spread
        """Mean of y, in those."""
        self.gain = slope * self.scale.square() / self.spread
        """Covariance of x and y, over the standard deviation of y."""
        super().__init__(loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        ratio = (-0.5 * self.threshold.square() - log_ndtr(self.threshold)).exp() / (2 * torch.pi) ** 0.5
        return self.loc + self.gain * ratio

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            like: dict[str, Any] = {"dtype": self.loc.dtype, "device": self.loc.device}
            return self.from_noise(torch.rand(shape, **like), torch.randn(shape, **like))

    def from_noise(self, u: Tensor, e: Tensor) -> Tensor:
        """X from u ~ U(0, 1) and e ~ N(0, 1)."""
        # y over its standard deviation, less its mean, lies above -threshold; small tails are taken from their end
        off = -ndtri((u * ndtr(self.threshold)).clamp(min=torch.finfo(u.dtype).tiny))
        left = (self.scale.square() - self.gain.square()).clamp(min=0).sqrt()
        return self.loc + self.gain * off + left * e


@latents.from_keys.register
def _(q: Selected, keys: Tensor, draws: int, start: int) -> Tensor:
    size = q.batch_shape[1:]
    u = randomness.uniform(randomness.folded(keys, 0), draws, size.numel(), start=start)
    return q.from_noise(
        u.reshape(draws, *q.batch_shape).to(q.loc), latents.standard_noise(q.loc, keys, draws, start, size)
    )


@latents.rebuilt.register
def _(q: SelfMasked, others: Sequence[SelfMasked], change: Any) -> SelfMasked:
    whole: Any = latents.rebuilt.dispatch(Independent)
    return SelfMasked(whole(q, others, change), q.offset, q.slope)
