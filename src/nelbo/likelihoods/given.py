"""The family of a model that gives p(x|z) ready-made."""

from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.likelihoods.likelihood import Likelihood


@final
class GivenLikelihood(Likelihood):
    """p(x|z) as the model returns it; nothing is known about its parameters.

    Args:
        support: the constraint on x of the distributions that are returned; None if that is unknown.
        event: the shape of one x in these distributions.
    """

    support = "values in the support of the distribution that the model returns"

    def __init__(self, support: Any = None, event: torch.Size | None = None) -> None:
        super().__init__()
        self._constraint, self._event = support, event

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        raise TypeError(
            "the model returns p(x|z) as a distribution, and this needs the numbers that it is made of; let decode "
            "return them as tensors, and wrap the model with nelbo.wrap(encode=..., decode=..., x=x, likelihood=...)"
        )

    def accepts(self, x: Tensor) -> bool:
        if self._event is None or not hasattr(self._constraint, "check"):
            return True
        return bool(self._constraint.check(x.reshape(len(x), *self._event)).all())
