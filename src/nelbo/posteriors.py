"""q(z|x): families of approximate posteriors, from the numbers that an encoder gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo import latents
from nelbo.flows import import_zuko

__all__ = [
    "DiagonalNormal",
    "Flow",
    "FullCovarianceNormal",
    "Posterior",
]

# exp(-10) = 5e-5 and exp(10) = 2e4: no trained posterior comes near, and no sample or KL overflows unnoticed
LOG_SCALE_MIN, LOG_SCALE_MAX = -10.0, 10.0


class Posterior(nn.Module, ABC):
    """A family of distributions q(z|x), whose parameters an encoder computes from x.

    Args:
        latent: number of latent dimensions.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be a positive integer, got {latent}")
        self.latent = latent

    @property
    @abstractmethod
    def encoder_outputs(self) -> int:
        """The number of outputs of the encoder for each example."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """q(z|x) from the encoder's output.

        Args:
            h: (batch, encoder_outputs).

        Returns:
            qz with batch shape (batch,) and event shape (latent,).
        """

    def browser_form(self) -> dict[str, Any] | None:
        """The formula by which a page gets q(z|x) from the encoder's output, ready for JSON.

        ``{"family": name, **settings}`` with a name that ``posterior.js`` of the inspector knows. None: Python
        computes.
        """
        return None


@final
class DiagonalNormal(Posterior):
    """q(z|x) = N(mu, diag(sigma^2)); the encoder gives (mu, log sigma^2).

    The logarithm of the variance, as in the paper and in most code: sigma then moves half as far in a step as with
    log sigma, and early training is better for it (the convolutional benchmark: 6 to 9 nats after four epochs).

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", appendix C.2.
    """

    @property
    def encoder_outputs(self) -> int:
        return 2 * self.latent

    def forward(self, h: Tensor) -> Distribution:
        return _diagonal(h)

    def browser_form(self) -> dict[str, Any]:
        return {"family": "diagonal_normal", "log_scale": [LOG_SCALE_MIN, LOG_SCALE_MAX]}


def _diagonal(h: Tensor) -> Independent:
    mu, log_variance = h.chunk(2, dim=-1)
    sigma = (0.5 * log_variance).clamp(LOG_SCALE_MIN, LOG_SCALE_MAX).exp()
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


@final
class FullCovarianceNormal(Posterior):
    """q(z|x) = N(mu, L L'); the encoder gives mu, the logarithm of L's diagonal, and L's lower triangle.

    Source: Kingma & Welling 2019, "An introduction to variational autoencoders", section 2.5.1.
    """

    below: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__(latent)
        self.register_buffer("below", torch.tril_indices(latent, latent, offset=-1), persistent=False)

    @property
    def encoder_outputs(self) -> int:
        return 2 * self.latent + self.latent * (self.latent - 1) // 2

    def forward(self, h: Tensor) -> Distribution:
        mu, log_diagonal, lower = h.split([self.latent, self.latent, self.below.shape[1]], dim=-1)
        scale_tril = torch.diag_embed(log_diagonal.clamp(LOG_SCALE_MIN, LOG_SCALE_MAX).exp())
        scale_tril[..., self.below[0], self.below[1]] = lower
        return MultivariateNormal(mu, scale_tril=scale_tril, validate_args=False)

    def browser_form(self) -> dict[str, Any]:
        return {"family": "full_covariance_normal", "log_scale": [LOG_SCALE_MIN, LOG_SCALE_MAX]}


@final
class Flow(Posterior):
    """q(z|x): a diagonal normal, then neural spline couplings that see features of x.

    The encoder gives mu and log sigma^2 of the normal, and ``context`` features for the couplings. Sampling and density
    both cost one pass.

    Source: Rezende & Mohamed 2015, "Variational inference with normalizing flows"; Durkan et al. 2019, "Neural spline
    flows".

    Args:
        latent: number of latent dimensions.
        context: features of x that steer the flow.
        transforms: number of couplings.
        hidden: widths of the networks inside.
    """

    def __init__(
        self, latent: int, *, context: int = 32, transforms: int = 2, hidden: tuple[int, ...] = (64, 64)
    ) -> None:
        super().__init__(latent)
        self.context = context
        flow = import_zuko().flows.NSF(latent, context=context, transforms=transforms, passes=2, hidden_features=hidden)
        self.transform = flow.transform

    @property
    def encoder_outputs(self) -> int:
        return 2 * self.latent + self.context

    def forward(self, h: Tensor) -> Distribution:
        return ConditionalFlow(self, h)

    def normal_and_transform(self, h: Tensor) -> tuple[Independent, Any]:
        """The normal that a draw starts from, and the transform from z to it, whose inverse the draw goes through."""
        numbers, context = h.split([2 * self.latent, self.context], dim=-1)
        return _diagonal(numbers), self.transform(context)


@final
class ConditionalFlow(latents.Expandable):
    """q(z|x) of a flow, which remembers the encoder's numbers: its examples can be picked, joined and held fixed.

    Args:
        family: of the flow.
        h: (batch, encoder_outputs).
        fixed: whether log_prob has a gradient with respect to z alone.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    has_rsample = True

    def __init__(self, family: Flow, h: Tensor, *, fixed: bool = False) -> None:
        self.family, self.h, self.fixed = family, h, fixed
        self.normal, transform = family.normal_and_transform(h)
        # zuko's transform runs from z to the base; sampling runs its inverse
        self.flow = import_zuko().distributions.NormalizingFlow(transform, self.normal)
        super().__init__(h.shape[:-1], torch.Size((family.latent,)), validate_args=False)

    @property
    def center(self) -> Tensor:
        """The place to which the flow takes the mean of its normal: the mean of q has no closed form."""
        return self.flow.transform.inv(self.normal.mean)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.flow.rsample(torch.Size(sample_shape))

    def rsample_and_log_prob(self, sample_shape: Any = torch.Size()) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities in one pass."""
        return self.flow.rsample_and_log_prob(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if not self.fixed:
            return self.flow.log_prob(value)
        # detached copies of the weights would not do: a flow runs its networks only in log_prob
        weights = [parameter for parameter in self.family.parameters() if parameter.requires_grad]
        for parameter in weights:
            parameter.requires_grad_(False)
        try:
            return self.flow.log_prob(value)
        finally:
            for parameter in weights:
                parameter.requires_grad_(True)


@latents.rebuilt.register
def _(
    q: ConditionalFlow, others: Sequence[ConditionalFlow], change: Callable[[list[Tensor]], Tensor]
) -> ConditionalFlow:
    return ConditionalFlow(q.family, change([part.h for part in (q, *others)]), fixed=q.fixed)


@latents.detached.register
def _(q: ConditionalFlow) -> ConditionalFlow:
    return ConditionalFlow(q.family, q.h.detach(), fixed=True)


@latents.from_keys.register
def _(q: ConditionalFlow, keys: Tensor, draws: int, start: int) -> Tensor:
    return q.flow.transform.inv(latents.from_keys(q.normal, keys, draws, start))


def __dir__() -> list[str]:
    return sorted(__all__)
