"""Families that stand for distributions somebody gives ready-made."""

from collections.abc import Callable
from typing import NoReturn, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from nelbo.likelihoods import Likelihood
from nelbo.posteriors import Posterior
from nelbo.priors import Prior, StandardNormal


@final
class GivenNormal(Posterior):
    """q(z|x) = N(mu, diag(sigma^2)) from (mu, log sigma), whatever scale the encoder gives; nothing is clamped."""

    @property
    def encoder_outputs(self) -> int:
        return 2 * self.latent

    def forward(self, h: Tensor) -> Distribution:
        mu, log_sigma = h.chunk(2, dim=-1)
        return Independent(Normal(mu, log_sigma.exp(), validate_args=False), 1, validate_args=False)


@final
class GivenPosterior(Posterior):
    """q(z|x) as encode returns it: there are no numbers of one encoder to build it from."""

    @property
    def encoder_outputs(self) -> int:
        _no_numbers("encode", "q(z|x)")

    def forward(self, h: Tensor) -> Distribution:
        _no_numbers("encode", "q(z|x)")


@final
class GivenLikelihood(Likelihood):
    """p(x|z) as decode returns it."""

    support = "values in the support of the distribution that decode returns"

    def __init__(self, constraint: object, event: torch.Size) -> None:
        super().__init__()
        self._constraint, self._event = constraint, event

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        _no_numbers("decode", "p(x|z)")

    def accepts(self, x: Tensor) -> bool:
        check = getattr(self._constraint, "check", None)
        return check is None or bool(check(x.reshape(len(x), *self._event)).all())


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
        ValueError: it is no distribution of one z.
    """
    if prior is None:
        return StandardNormal(latent)
    if isinstance(prior, Prior):
        return prior
    if not isinstance(prior, Distribution):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"prior is a torch distribution, a nelbo prior, or None for N(0, I); got {type(prior).__name__}. Write "
            f"prior=nelbo.priors.StandardNormal({latent})"
        )
    shape = tuple(prior.batch_shape + prior.event_shape)
    if shape != (latent,):
        raise ValueError(
            f"prior is a {type(prior).__name__} over shape {shape}, expected ({latent},), one z; write for instance "
            f"Independent(Normal(torch.zeros({latent}), torch.ones({latent})), 1)"
        )
    return GivenPrior(prior if prior.event_shape else Independent(prior, 1), latent)


def _no_numbers(function: str, what: str) -> NoReturn:
    raise TypeError(
        f"{function} returns {what} as a finished distribution, and this needs the numbers that it is made of; let "
        f"{function} return them as tensors and wrap the model again"
    )
