"""A VAE whose posteriors are given with the data, so that the aggregate posterior is known."""

import torch
from torch import Tensor, nn

from nelbo.likelihoods import Normal
from nelbo.posteriors import DiagonalNormal
from nelbo.vae import VAE, Autoencoder


def given(latent: int, family: type = DiagonalNormal) -> VAE:
    """q(z|x) = N(mu, sigma^2) with x = (mu, log sigma^2); of another family, x is what its encoder would give."""
    posterior = family(latent)
    decoder = nn.Linear(latent, posterior.encoder_outputs, dtype=torch.float64)
    return VAE(nn.Identity(), decoder, latent=latent, likelihood=Normal(1.0), posterior=posterior).double()


def normals(means: Tensor, sigma: float | Tensor) -> Tensor:
    """The data whose posteriors are N(mean, sigma^2 I)."""
    return torch.cat([means, 2 * torch.as_tensor(sigma).log().expand_as(means)], dim=1).double()


def points(codes: Tensor) -> tuple[Autoencoder, Tensor]:
    """An autoencoder with these codes."""
    latent = codes.shape[1]
    decoder = nn.Linear(latent, latent, dtype=torch.float64)
    return Autoencoder(nn.Identity(), decoder, latent=latent, likelihood=Normal(1.0)).double(), codes.double()
