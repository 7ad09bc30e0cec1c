"""Models whose evidence is known, or hard to find."""

import torch
from torch import nn

from nelbo import likelihoods
from nelbo.nn import MLP
from nelbo.vae import VAE, Autoencoder


def random_vae(latent=2, features=16, *, strength=2.0, seed=0, likelihood=None, activation="tanh") -> VAE:
    """Random weights, strong enough that posteriors are narrower than the prior and not normal."""
    px = likelihood or likelihoods.Bernoulli()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        decoder = MLP(latent, px.decoder_event((features,)), hidden=(24,), activation=activation)
        encoder = MLP(features, 2 * latent, hidden=(8,), activation=activation)
    with torch.no_grad():
        for layer in decoder.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(strength)
    return VAE(encoder, decoder, latent=latent, likelihood=px).eval()


def autoencoder(latent=2, features=6) -> Autoencoder:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Autoencoder(
            MLP(features, latent, hidden=(8,)),
            MLP(latent, features, hidden=(8,)),
            latent=latent,
            likelihood=likelihoods.Bernoulli(),
        ).eval()


def binary(n, features=16, seed=1):
    return torch.bernoulli(torch.full((n, features), 0.5), generator=torch.Generator().manual_seed(seed))


class Foreign:
    """A model that is no nelbo.VAE: only the three methods."""

    def __init__(self, vae):
        self.vae = vae

    @property
    def prior(self):
        return self.vae.prior

    def posterior(self, x):
        return self.vae.posterior(x)

    def likelihood(self, z):
        return self.vae.likelihood(z)
