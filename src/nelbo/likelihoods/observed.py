"""p(x|z) where some features of x were not observed: NaN in x."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from nelbo import latents


class Observed(latents.Expandable, Independent):
    """p(x|z) over what was observed: log p(x|z) = sum of log p(x_d|z) over the features d at which x is not NaN.

    This is log of the integral of p(x|z) over the others, since features are independent given z.

    >>> import torch
    >>> normal = torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    >>> Observed(torch.distributions.Independent(normal, 1)).log_prob(torch.tensor([[0.0, torch.nan]]))
    tensor([-0.9189])

    Args:
        px: p(x|z), whose features are independent.
        filler: a value in the support, which is evaluated in place of NaN so that no gradient is.
    """

    def __init__(self, px: Distribution, filler: float | Tensor = 0.0) -> None:
        if not isinstance(px, Independent) or px.base_dist.event_shape:
            raise TypeError(
                "for an x with missing values, p(x|z) must be a torch.distributions.Independent of one distribution "
                f"per feature, got {px}; end the likelihood's forward(parameters, event_dims) with return "
                "torch.distributions.Independent(px, event_dims)"
            )
        super().__init__(px.base_dist, px.reinterpreted_batch_ndims, validate_args=False)
        self.filler = filler

    def log_prob(self, value: Tensor) -> Tensor:
        # as Independent sums it, to the bit
        each = self.log_prob_each(value)
        return each.reshape(*each.shape[: each.dim() - self.reinterpreted_batch_ndims], -1).sum(-1)

    def log_prob_each(self, value: Tensor) -> Tensor:
        """Log p(x_d|z) of each feature in nats, 0 where it was not observed; the shape of ``base_dist.log_prob``."""
        missing = value.isnan()
        return self.base_dist.log_prob(torch.where(missing, self.filler, value)).masked_fill(missing, 0.0)

    @property
    def missing(self) -> Independent:
        """p(x_missing|z), as if of every feature: what is imputed comes from it."""
        return self


@latents.rebuilt.register
def _(q: Observed, others: Sequence[Observed], change: Any) -> Observed:
    whole: Any = latents.rebuilt.dispatch(Independent)
    return Observed(whole(q, others, change), q.filler)


def mean_over_observed(
    values: Tensor, x: Tensor, axes: tuple[int, ...] | None = None, *, otherwise: Tensor | float = 0.0
) -> Tensor:
    """The mean of values over the places at which x is not NaN, along some axes; x broadcasts to the shape of values.

    Args:
        values: (\\*shape).
        x: whose NaN are left out.
        axes: along which the mean is taken; None is all.
        otherwise: what stands for the mean where there is nothing to take it of.
    """
    missing = x.isnan().expand_as(values)
    known = (~missing).sum(axes)
    return torch.where(known > 0, values.masked_fill(missing, 0.0).sum(axes) / known.clamp(min=1), otherwise)


def resampled(x: Tensor) -> Tensor:
    """Examples (n, \\*event) each of whose features has the distribution of its observed values, without NaN.

    Quantiles of a feature take the place of its values, so that the features of an example no longer belong together.
    x itself where nothing is missing; a feature that was never observed stays NaN.
    """
    missing = x.isnan()
    if not bool(missing.any()):
        return x
    observed = (~missing).sum(0, keepdim=True)
    share = (torch.arange(len(x), device=x.device) + 0.5) / len(x)
    place = (share.view(-1, *(1,) * (x.dim() - 1)) * observed).long()  # NaN come last
    return x.sort(dim=0).values.gather(0, place)
