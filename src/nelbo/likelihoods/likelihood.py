"""What every p(x|z) has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module, ABC):
    """A family of distributions p(x|z) over the data, whose parameters a decoder computes from z.

    The decoder gives ``parameters_per_feature`` numbers for each feature of x, stacked along the first axis of the
    event: ``(batch, parameters_per_feature * c, *rest)`` for data of shape ``(batch, c, *rest)``.
    """

    parameters_per_feature: int = 1
    support: str
    """The values that x may take, in words."""

    @abstractmethod
    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        """p(x|z) from the decoder's output.

        Args:
            parameters: (*batch, parameters_per_feature * c, *rest).
            event_dims: number of axes of one example, ``1 + len(rest)``.

        Returns:
            px with batch shape ``batch`` and event shape ``(c, *rest)``; ``px.log_prob(x)`` is in nats.
        """

    @abstractmethod
    def misfit(self, x: Tensor) -> str | None:
        """Why x cannot come from this family and which one fits, or None when it can."""

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that names the likelihood that fits, when x lies outside the support.

        Args:
            x: (batch, *event).
        """
        if not torch.isfinite(x).all():
            bad = x.numel() - int(torch.isfinite(x).sum())
            raise ValueError(
                f"x holds {bad} values that are NaN or infinite, out of {x.numel()}; "
                "drop or fill them first, for instance x = torch.nan_to_num(x)"
            )
        why = self.misfit(x)
        if why is not None:
            raise ValueError(f"{type(self).__name__} needs {self.support}, got {describe(x)}. {why}")

    def adapt(self, px: Distribution, x: Tensor) -> None:
        """Called by the trainer after each step; a family with a closed-form optimum updates it here."""

    def decoder_event(self, event: Sequence[int]) -> tuple[int, ...]:
        """The shape that a decoder gives for one example of shape ``event``."""
        return (self.parameters_per_feature * event[0], *event[1:])

    def point(self, px: Distribution) -> Tensor:
        """The one x that stands for px in a picture: its mean."""
        return px.mean

    def split(self, parameters: Tensor, event_dims: int) -> tuple[Tensor, ...]:
        """The decoder's output as one tensor of the shape of x for each parameter of the family."""
        size, k = parameters.shape[-event_dims], self.parameters_per_feature
        if size % k:
            raise ValueError(
                f"{type(self).__name__} takes {k} numbers per feature, so the decoder's first event axis must be a "
                f"multiple of {k}; got shape {tuple(parameters.shape)}. For data with c features (or channels) end "
                f"the decoder with {k} * c outputs"
            )
        return parameters.chunk(k, dim=-event_dims)


def describe(x: Tensor) -> str:
    """The range of x in a few words, for error messages."""
    integers = "integers" if bool((x == x.round()).all()) else "values"
    return f"{integers} from {float(x.min()):g} to {float(x.max()):g} (shape {tuple(x.shape)})"


def is_integer(x: Tensor) -> bool:
    """Whether every value of x is a whole number."""
    return bool((x == x.round()).all())
