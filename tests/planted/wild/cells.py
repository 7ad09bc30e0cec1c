"""Counts of genes in cells: an inference and a generative part, and the library size as a condition."""

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from nelbo.data import Batch
from tests.planted.wild.styles import handed_over, wild

GENES = 20


def cells(n=2400, *, dispersion=None):
    """Counts whose shares of the library follow two hidden numbers; with dispersion, negative binomial."""
    g = torch.Generator().manual_seed(21)
    z = torch.randn(n, 2, generator=g)
    share = torch.softmax(z @ torch.randn(2, GENES, generator=g), 1)
    library = torch.exp(5 + 0.5 * torch.randn(n, 1, generator=g))
    rate = library * share
    if dispersion is not None:
        with torch.random.fork_rng([]):
            torch.manual_seed(22)
            rate = rate * torch.distributions.Gamma(dispersion, dispersion).sample(rate.shape)
    x = torch.poisson(rate, generator=g)
    return x[:2000], x[2000:]


def with_library(data):
    """With the logarithm of the library size, as it is observed, as the condition."""
    return tuple(Batch(x, c=x.sum(1, keepdim=True).log()) for x in data)


class CellVAE(nn.Module):
    """encode(x, library) gives a distribution of z, decode(z, library) a dictionary with p(x|z)."""

    def __init__(self, latent=3):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(GENES, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.mean_encoder, self.var_encoder = nn.Linear(64, latent), nn.Linear(64, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, GENES))
        self.px_r = nn.Parameter(torch.zeros(GENES))

    def encode(self, x, library):
        h = self.encoder(torch.log1p(x))
        return {"qz": Normal(self.mean_encoder(h), self.var_encoder(h).exp().sqrt() + 1e-4)}

    def decode(self, z, library):
        return {"px": self.distribution(library.exp() * F.softmax(self.decoder(z), dim=-1))}

    def distribution(self, rate):
        r = self.px_r.exp()
        logits = (rate + 1e-8).log() - self.px_r
        return torch.distributions.NegativeBinomial(r.expand_as(rate), logits=logits, validate_args=False)

    def forward(self, x, library):
        inference = self.encode(x, library)
        generative = self.decode(inference["qz"].rsample(), library)
        return inference, generative


class PoissonCells(CellVAE):
    def distribution(self, rate):
        return torch.distributions.Poisson(rate + 1e-8, validate_args=False)


class NormalCells(CellVAE):
    """The counts as real numbers, with one learned sigma for all genes."""

    def distribution(self, rate):
        return Normal(rate, F.softplus(self.px_r.mean() + 3.0))


class WithoutLibrary(PoissonCells):
    """Every cell gets the same number of counts."""

    def decode(self, z, library):
        return super().decode(z, torch.full_like(library, 5.0))


def expressed(model, data, *, kl_weight=1.0, beta=None):
    def loss(x, library):
        inference, generative = model(x, library)
        reconstruction_loss = -generative["px"].log_prob(x).sum(-1)
        kl_local = kl_divergence(inference["qz"], Normal(0.0, 1.0)).sum(dim=1)
        return (reconstruction_loss + kl_weight * kl_local).mean()

    def given(x, c):
        return loss(x, c)

    return handed_over(model, loss, with_library(data), given=given, beta=beta)


@wild(None, "overdispersed cells", "counts with a library size")
def negative_binomial_cells():
    return expressed(CellVAE(), cells(dispersion=3.0))


@wild(None, "cells", "counts with a library size")
def poisson_cells():
    return expressed(PoissonCells(), cells())


@wild("effective-beta", "overdispersed cells", "counts with a library size")
def weight_of_the_warm_up_left():
    return expressed(CellVAE(), cells(dispersion=3.0), kl_weight=0.1)


@wild("dispersion", "overdispersed cells", "counts with a library size")
def poisson_for_overdispersed_cells():
    return expressed(PoissonCells(), cells(dispersion=3.0))


@wild("dispersion", "cells", "counts with a library size")
def library_size_left_out():
    return expressed(WithoutLibrary(), cells())


@wild("integer-density", "cells", "counts with a library size")
def counts_under_a_normal():
    return expressed(NormalCells(), cells())


@wild("outside-support", "cells", "counts with a library size")
def logarithms_of_counts_under_a_poisson():
    return expressed(PoissonCells(), tuple(torch.log1p(x) for x in cells()))
