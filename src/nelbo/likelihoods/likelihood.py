"""What every p(x|z) has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.likelihoods.fitting import fitting


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
    def accepts(self, x: Tensor) -> bool:
        """Whether all values of x, which are finite, lie in the support."""

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that names the likelihood that fits, when x lies outside the support.

        Args:
            x: (batch, *event).
        """
        if not bool(torch.isfinite(x).all()):
            bad = x.numel() - int(torch.isfinite(x).sum())
            raise ValueError(
                f"x holds {bad} values that are NaN or infinite, out of {x.numel()}; "
                "drop or fill them first, for instance x = torch.nan_to_num(x)"
            )
        if x.numel() and not self.accepts(x):
            found = fitting(x)
            raise ValueError(
                f"{type(self).__name__} needs {self.support}. Got x of shape {tuple(x.shape)}: {found.looks.sentence} "
                f"What fits: {found.line}{self.otherwise}"
            )

    otherwise = ""
    """A way to keep this family all the same, for the error message."""

    def at_mean(self, x: Tensor) -> Tensor | None:
        """The decoder's output at which p(x|z) has the mean (and spread) of x: where a decoder does well to start.

        Args:
            x: (n, *event), examples.

        Returns:
            ``decoder_event(event)`` numbers; None for a family that does not say, whose decoder starts where it is.
        """
        return None

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
