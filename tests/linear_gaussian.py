"""A VAE whose log p(x), posterior and ELBO are known exactly: z ~ N(0, I), x | z ~ N(W z + b, sigma^2 I)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from nelbo.likelihoods import Normal
from nelbo.posteriors import DiagonalNormal, FullCovarianceNormal
from nelbo.vae import VAE


class AffinePosterior(nn.Module):
    """An encoder whose means are affine in x and whose other numbers are constant, as the exact posterior's are."""

    def __init__(self, gain: Tensor, offset: Tensor, rest: Tensor) -> None:
        super().__init__()
        self.gain, self.offset, self.rest = nn.Parameter(gain), nn.Parameter(offset), nn.Parameter(rest)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x @ self.gain.T + self.offset, self.rest.expand(len(x), -1)], dim=-1)


@dataclass
class LinearGaussian:
    """The generative model, in float64."""

    weight: Tensor
    """W: (features, latent)."""
    bias: Tensor
    """(features,)."""
    sigma: float

    @classmethod
    def random(cls, features: int = 6, latent: int = 3, sigma: float = 0.7, *, orthogonal: bool = False, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(features, latent, generator=generator, dtype=torch.float64)
        if orthogonal:  # columns at right angles: the exact posterior is diagonal
            weight = torch.linalg.qr(weight)[0] * torch.tensor([2.0, 1.0, 0.5][:latent], dtype=torch.float64)
        return cls(weight, torch.randn(features, generator=generator, dtype=torch.float64), sigma)

    def sample(self, n: int, seed: int = 1) -> Tensor:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return self.evidence().sample((n,))

    def evidence(self) -> MultivariateNormal:
        """P(x) = N(b, W W' + sigma^2 I)."""
        eye = torch.eye(len(self.weight), dtype=torch.float64)
        return MultivariateNormal(self.bias, self.weight @ self.weight.T + self.sigma**2 * eye)

    def posterior(self) -> tuple[Tensor, Tensor, Tensor]:
        """(gain, offset, covariance) of p(z|x) = N(gain x + offset, covariance)."""
        precision = torch.eye(self.weight.shape[1], dtype=torch.float64) + self.weight.T @ self.weight / self.sigma**2
        covariance = torch.linalg.inv(precision)
        gain = covariance @ self.weight.T / self.sigma**2
        return gain, -gain @ self.bias, covariance

    def vae(self, *, full: bool = True, error: float = 0.0, seed: int = 2) -> VAE:
        """This model as a VAE with its exact posterior, whose numbers are moved at random by about ``error``.

        With ``full=False`` the posterior is the diagonal normal of the exact means and precisions.
        """
        gain, offset, covariance = self.posterior()
        latent = self.weight.shape[1]
        if full:
            cholesky = torch.linalg.cholesky(covariance)
            below = torch.tril_indices(latent, latent, offset=-1)
            rest = torch.cat([cholesky.diagonal().log(), cholesky[below[0], below[1]]])
            family = FullCovarianceNormal(latent)
        else:
            rest, family = -torch.linalg.inv(covariance).diagonal().log(), DiagonalNormal(latent)
        generator = torch.Generator().manual_seed(seed)
        moved = [t + error * torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in (gain, offset, rest)]
        decoder = nn.Linear(latent, len(self.bias), dtype=torch.float64)
        with torch.no_grad():
            decoder.weight.copy_(self.weight)
            decoder.bias.copy_(self.bias)
        vae = VAE(AffinePosterior(*moved), decoder, latent=latent, likelihood=Normal(self.sigma), posterior=family)
        return vae.double().eval()

    def exact_nelbo(self, vae: VAE, x: Tensor) -> Tensor:
        """-ELBO of the model's normal q(z|x), (batch,)."""
        return self.exact_nelbo_of(vae.posterior(x), x)

    def exact_nelbo_of(self, q: Distribution, x: Tensor) -> Tensor:
        """-ELBO of any normal q(z|x), (batch,): -log p(x) + KL(q(z|x) || p(z|x))."""
        gain, offset, covariance = self.posterior()
        scale = q.scale_tril if hasattr(q, "scale_tril") else torch.diag_embed(q.base_dist.scale)
        q = MultivariateNormal(q.mean, scale_tril=scale)
        exact = MultivariateNormal(x @ gain.T + offset, covariance)
        return -self.evidence().log_prob(x) + torch.distributions.kl_divergence(q, exact)
