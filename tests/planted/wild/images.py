"""Autoencoders of images as in latent diffusion: spatial latents, a posterior object, a config, a loss outside."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from tests.planted import sets
from tests.planted.suite import view
from tests.planted.wild.styles import handed_over, wild

SIGMA = 0.25  # about what is left of a pixel between -1 and 1


def signed_digits():
    """The gray digits from -1 to 1, as such autoencoders take their images."""
    return tuple(2 * part - 1 for part in sets.gray_digits())


class GaussianPosterior:
    def __init__(self, parameters, low=-30.0, high=20.0):
        self.parameters = parameters
        self.mean, self.logvar = torch.chunk(parameters, 2, dim=1)
        self.logvar = torch.clamp(self.logvar, low, high)
        self.std = torch.exp(0.5 * self.logvar)
        self.var = torch.exp(self.logvar)

    def sample(self):
        return self.mean + self.std * torch.randn_like(self.mean)

    def kl(self):
        return 0.5 * torch.sum(self.mean.pow(2) + self.var - 1.0 - self.logvar, dim=[1, 2, 3])

    def mode(self):
        return self.mean


@dataclass
class EncoderOutput:
    latent_dist: GaussianPosterior


@dataclass
class DecoderOutput:
    sample: torch.Tensor


class ResBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(4, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h):
        return h + self.conv(F.silu(self.norm(h)))


class LatentAutoencoder(nn.Module):
    """8x8 images to 2 x 4 x 4 latents."""

    def __init__(self, *, channels=2, scaling_factor=0.6, clamp=(-30.0, 20.0), squash=None):
        super().__init__()
        self.config = SimpleNamespace(latent_channels=channels, scaling_factor=scaling_factor)
        self.clamp = clamp
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), ResBlock(16), nn.Conv2d(16, 16, 3, 2, 1), ResBlock(16), nn.GroupNorm(4, 16),
            nn.SiLU(), nn.Conv2d(16, 2 * channels, 3, padding=1),
        )  # fmt: skip
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), ResBlock(16), nn.Upsample(scale_factor=2), ResBlock(16),
            nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 1, 3, padding=1),
        )  # fmt: skip
        if squash is not None:
            self.decoder.append(squash)

    def encode(self, x):
        return EncoderOutput(latent_dist=GaussianPosterior(self.quant_conv(self.encoder(x)), *self.clamp))

    def decode(self, z):
        return DecoderOutput(sample=self.decoder(self.post_quant_conv(z)))

    def forward(self, sample, sample_posterior=False):
        posterior = self.encode(sample).latent_dist
        return self.decode(posterior.sample() if sample_posterior else posterior.mode())


def latent(loss, *, data=None, beta=None, sigma=SIGMA, epochs=12, likelihood=None, parameters=None, **model):
    """Trained on loss(model, x)."""
    model = LatentAutoencoder(**model)

    def of_batch(x):
        return loss(model, x)

    training = {"epochs": epochs, "parameters": parameters and parameters(model)}
    likelihood = likelihood or nelbo.likelihoods.Normal(sigma)
    data = signed_digits() if data is None else data
    return handed_over(model, of_batch, data, beta=beta, likelihood=likelihood, training=training)


def squares(x, rec):
    """Of a normal of variance SIGMA squared, a sum over pixels and a mean over images."""
    return (0.5 * (x - rec).pow(2) / SIGMA**2).sum() / x.shape[0]


def negative_elbo(model, x, sigma=SIGMA):
    posterior = model.encode(x).latent_dist
    rec = model.decode(posterior.sample()).sample
    nll = 0.5 * (x - rec).pow(2) / sigma**2 + math.log(sigma)
    return nll.sum() / x.shape[0] + posterior.kl().sum() / x.shape[0]


@wild(None, "gray digits", "latent diffusion")
def latent_autoencoder():
    return latent(negative_elbo)


@wild(None, "gray digits", "latent diffusion")
def latent_autoencoder_with_a_tiny_weight_as_stated():
    subject = latent(with_weight(1e-6), sigma="optimal")
    # as its user reads it off
    weighed = nelbo.diagnosis.effective_beta(subject.loss, view(subject), subject.x)
    return replace(subject, beta=float(weighed.beta))


def with_weight(weight):
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        return F.mse_loss(model.decode(posterior.sample()).sample, x) + weight * posterior.kl().mean()

    return loss


@wild("effective-beta", "gray digits", "latent diffusion")
def tiny_weight_unsaid():
    return latent(with_weight(1e-6))


@wild("reconstruction-mean", "gray digits", "latent diffusion")
def squares_averaged_over_pixels():
    return latent(with_weight(1.0))


@wild("kl-mean", "gray digits", "latent diffusion")
def kl_averaged_over_positions():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample()).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).sum(dim=1).mean()
        return squares(x, rec) + kl

    return latent(loss)


@wild("kl-mean", "gray digits", "latent diffusion")
def kl_averaged_over_pixels():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample()).sample
        return squares(x, rec) + posterior.kl().sum() / x.numel()

    return latent(loss)


@wild("no-sampling", "gray digits", "latent diffusion")
def mode_while_training():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.mode()).sample
        return squares(x, rec) + posterior.kl().mean()

    return latent(loss)


@wild("sample-with-variance", "gray digits", "latent diffusion")
def scaling_factor_in_front_of_decode_alone():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample() / model.config.scaling_factor).sample
        return squares(x, rec) + posterior.kl().mean()

    return latent(loss)


@wild("variance-clamp", "gray digits", "latent diffusion")
def tight_clamp():
    return latent(negative_elbo, clamp=(-2.0, 2.0))


@wild("kl-sign", "gray digits", "latent diffusion")
def kl_with_the_brackets_turned():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample()).sample
        kl = 0.5 * torch.sum(1.0 + posterior.logvar - posterior.mean.pow(2) - posterior.var)
        return squares(x, rec) + 0.02 * kl / x.shape[0]

    return latent(loss, epochs=3)


@wild("posterior-collapse", "gray digits", "latent diffusion")
def detached_z():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample().detach()).sample
        return squares(x, rec) + posterior.kl().mean()

    return latent(loss)


@wild("outside-support", "gray digits", "latent diffusion")
def cross_entropy_of_signed_pixels():
    def loss(model, x):
        posterior = model.encode(x).latent_dist
        rec = model.decode(posterior.sample()).sample
        return F.binary_cross_entropy_with_logits(rec, x, reduction="sum") / x.shape[0] + posterior.kl().mean()

    return latent(loss, likelihood=nelbo.likelihoods.Bernoulli())


@wild("another-scale", "gray digits", "latent diffusion")
def held_out_from_0_to_1():
    subject = latent(negative_elbo)
    return replace(subject, held_out=(subject.held_out + 1) / 2)


def by_statistics():
    """Normalized by the mean and standard deviation of the whole set, as with those of ImageNet."""
    x, held_out = sets.gray_digits()
    return tuple((part - x.mean()) / x.std() for part in (x, held_out))


@wild("decoder-activation", "gray digits", "latent diffusion")
def tanh_for_normalized_pixels():
    def loss(model, x):
        return negative_elbo(model, x, 0.4)

    return latent(loss, data=by_statistics(), sigma=0.4, squash=nn.Tanh())
