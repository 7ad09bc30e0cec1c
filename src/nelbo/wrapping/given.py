"""Distributions that are given ready-made, and the conclusions about a model."""

from collections.abc import Callable
from typing import NamedTuple, final

from torch import Tensor
from torch.distributions import Distribution, Independent

from nelbo.priors import Prior, StandardNormal


class Conclusion(NamedTuple):
    """A fact inferred about a model, and the reason."""

    about: str
    """``"q(z|x)"``, ``"p(z)"``, ``"p(x|z)"``, ``"z"``, ``"x"`` or ``"mode"``."""
    fact: str
    because: str

    def __str__(self) -> str:
        return f"{self.about}: {self.fact}, because {self.because}"


@final
class GivenPrior(Prior):
    """One fixed p(z)."""

    def __init__(self, pz: Distribution, latent: int) -> None:
        super().__init__(latent)
        self._pz = pz

    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        return self._pz


def as_prior(prior: Prior | Distribution | None, latent: int) -> Prior:
    """The prior as a nelbo family: N(0, I) for None, a torch distribution as it is.

    Raises:
        TypeError: it is something else.
        ValueError: it is not a distribution of one z.
    """
    if prior is None:
        return StandardNormal(latent)
    if isinstance(prior, Prior):
        if prior.latent != latent:
            raise ValueError(f"the prior is over {prior.latent} latent dimensions, but encode gives {latent}")
        return prior
    if not isinstance(prior, Distribution):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"prior must be a torch distribution, a nelbo prior, or None for N(0, I); got {type(prior).__name__}. "
            f"Write prior=nelbo.priors.StandardNormal({latent})"
        )
    shape = tuple(prior.batch_shape + prior.event_shape)
    if shape != (latent,):
        raise ValueError(
            f"prior is a {type(prior).__name__} over shape {shape}, expected ({latent},), one z; write for instance "
            f"Independent(Normal(torch.zeros({latent}), torch.ones({latent})), 1)"
        )
    return GivenPrior(prior if prior.event_shape else Independent(prior, 1), latent)
