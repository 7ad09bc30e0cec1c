"""q(z|x): families of approximate posteriors, from the numbers that an encoder gives."""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo.divergences.delta import Delta
from nelbo.flows import import_zuko

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
            raise ValueError(f"latent is at least 1, got {latent}")
        self.latent = latent

    @property
    @abstractmethod
    def encoder_outputs(self) -> int:
        """How many numbers the encoder gives for each example."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """q(z|x) from the encoder's output.

        Args:
            h: (batch, encoder_outputs).

        Returns:
            qz with batch shape (batch,) and event shape (latent,).
        """

    def center(self, qz: Distribution) -> Tensor:
        """The one z that stands for q(z|x) in a picture, (batch, latent): its mean."""
        return qz.mean

    def fixed_log_prob(self, h: Tensor, z: Tensor) -> Tensor:
        """Log q(z|x) with q held fixed: the gradient reaches z, but neither the encoder nor the family's own weights.

        Args:
            h: (batch, encoder_outputs).
            z: (*samples, batch, latent).

        Returns:
            (*samples, batch), in nats.
        """
        # swapping in detached copies of the weights is not enough: a flow runs its networks only in log_prob
        own = [parameter for parameter in self.parameters() if parameter.requires_grad]
        for parameter in own:
            parameter.requires_grad_(False)
        try:
            return self(h.detach()).log_prob(z)
        finally:
            for parameter in own:
                parameter.requires_grad_(True)


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
        normal, context = h.split([2 * self.latent, self.context], dim=-1)
        flow = import_zuko().distributions.NormalizingFlow
        # zuko's transform runs from z to the base; sampling runs its inverse
        return flow(self.transform(context), _diagonal(normal))

    def center(self, qz: Distribution) -> Tensor:
        """Where the flow takes the mean of its normal: the mean of q itself has no closed form."""
        return qz.transform.inv(qz.base.mean)  # pyright: ignore[reportAttributeAccessIssue]


@final
class PointMass(Posterior):
    """q(z|x) = delta(z - mu): no distribution at all, the encoder of a plain autoencoder.

    The limit of a normal whose sigma goes to zero. Its KL to any density is infinite.
    """

    @property
    def encoder_outputs(self) -> int:
        return self.latent

    def forward(self, h: Tensor) -> Distribution:
        return Delta(h)


def normal_moments(distribution: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean (\\*batch, latent) and covariance (\\*batch, latent, latent) of a normal or a point; None for any other.

    >>> mean, covariance = normal_moments(DiagonalNormal(2)(torch.zeros(5, 4)))
    >>> mean.shape, covariance.shape
    (torch.Size([5, 2]), torch.Size([5, 2, 2]))
    """
    plain = distribution.base_dist if isinstance(distribution, Independent) else distribution
    if isinstance(distribution, MultivariateNormal):
        return distribution.mean, distribution.covariance_matrix
    if isinstance(plain, Normal | Delta):
        return distribution.mean, torch.diag_embed(distribution.variance)
    return None
