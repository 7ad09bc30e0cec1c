"""The members of every axis: a new one is tested by standing in its table."""

import itertools
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from nelbo import likelihoods, objectives, posteriors, priors
from nelbo.nn import MLP
from nelbo.vae import VAE

EVENT = (6,)
LATENT = 3


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def binary(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.bernoulli(torch.full((n, *event), 0.4), generator=_generator())


def unit(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.rand((n, *event), generator=_generator())


def real(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.randn((n, *event), generator=_generator())


def levels(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.randint(0, 256, (n, *event), generator=_generator()) / 255


def counts(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.poisson(torch.full((n, *event), 3.0), generator=_generator())


def positive(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return (0.5 * real(n, event)).exp()


def mixed(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    parts = (real, counts, unit, binary, positive, real)
    return torch.cat([part(n, (1,)) for part in parts], 1)


def categories(n: int, event: tuple[int, ...] = EVENT) -> Tensor:
    return torch.randint(0, 5, (n, *event), generator=_generator()).float()


# name -> (the family, data it fits)
LIKELIHOODS: dict[str, tuple[Callable[[], likelihoods.Likelihood], Callable[..., Tensor]]] = {
    "bernoulli": (likelihoods.Bernoulli, binary),
    "continuous_bernoulli": (likelihoods.ContinuousBernoulli, unit),
    "normal_fixed": (lambda: likelihoods.Normal(0.5), real),
    "normal_optimal": (lambda: likelihoods.Normal("optimal"), real),
    "normal_decoded": (lambda: likelihoods.Normal("decoded"), real),
    "normal_per_feature": (lambda: likelihoods.Normal(torch.full(EVENT, 0.7)), real),
    "discretized_logistic": (likelihoods.DiscretizedLogistic, levels),
    "categorical": (lambda: likelihoods.Categorical(5), categories),
    "log_normal": (likelihoods.LogNormal, positive),
    "truncated_normal": (likelihoods.TruncatedNormal, unit),
    "columns": (
        lambda: likelihoods.Columns(
            {"a": "normal", "b": "poisson", "c": "truncated_normal", "d": "bernoulli", "e": "log_normal", "f": "normal"}
        ),
        mixed,
    ),
    "poisson": (likelihoods.Poisson, counts),
    "negative_binomial": (likelihoods.NegativeBinomial, counts),
}

PRIORS: dict[str, Callable[[], priors.Prior]] = {
    "standard_normal": lambda: priors.StandardNormal(LATENT),
    "mixture": lambda: priors.Mixture(LATENT, components=4),
    "vamp": lambda: priors.VampPrior(LATENT, binary(5), bounds=(0.0, 1.0)),
    "flow": lambda: priors.Flow(LATENT, hidden=(8,)),
}

POSTERIORS: dict[str, Callable[[], posteriors.Posterior]] = {
    "diagonal_normal": lambda: posteriors.DiagonalNormal(LATENT),
    "full_covariance_normal": lambda: posteriors.FullCovarianceNormal(LATENT),
    "flow": lambda: posteriors.Flow(LATENT, context=4, hidden=(8,)),
}

OBJECTIVES: dict[str, objectives.Objective] = {
    "elbo": objectives.ELBO(),
    "elbo_5": objectives.ELBO(5),
    "reconstruction": objectives.Reconstruction(),
    "beta": objectives.Beta(4.0),
    "beta_linear": objectives.Beta(objectives.Linear(10)),
    "beta_cyclical": objectives.Beta(objectives.Cyclical(12)),
    "free_bits": objectives.FreeBits(0.2),
    "capacity": objectives.Capacity(objectives.Linear(10, end=5.0), gamma=3.0),
    "iw": objectives.ImportanceWeighted(4),
    "iw_stl": objectives.ImportanceWeighted(4, "stl"),
    "iw_dreg": objectives.ImportanceWeighted(4, "dreg"),
    "beta_tc": objectives.BetaTC(3.0),
    "mmd_imq": objectives.MMD(10.0, kl_weight=0.5),
    "mmd_rbf": objectives.MMD(10.0, kernel="rbf"),
}

PAIRS = list(itertools.product(POSTERIORS, PRIORS))


def make_vae(
    likelihood: str = "bernoulli", prior: str = "standard_normal", posterior: str = "diagonal_normal", *, seed: int = 0
) -> VAE:
    """A small VAE of these parts, with weights drawn by seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        px, qz = LIKELIHOODS[likelihood][0](), POSTERIORS[posterior]()
        return VAE(
            MLP(EVENT, qz.encoder_outputs, hidden=(8,), activation="tanh"),
            MLP(LATENT, px.decoder_event(EVENT), hidden=(8,), activation="tanh"),
            latent=LATENT,
            likelihood=px,
            prior=PRIORS[prior](),
            posterior=qz,
        )


def parameters_for(likelihood: likelihoods.Likelihood, n: int, *, scale: float = 1.0, seed: int = 1) -> Tensor:
    """Decoder outputs for that family."""
    shape = (n, *likelihood.decoder_event(EVENT))
    return scale * torch.randn(shape, generator=_generator(seed))


def each(table: dict[str, Any], *, fast: Collection[str] | None = None) -> dict[str, Any]:
    """Arguments of pytest.mark.parametrize over a table; with ``fast``, all others are for make slow."""
    names = [name if fast is None or name in fast else pytest.param(name, marks=pytest.mark.slow) for name in table]
    return {"argvalues": names, "ids": list(table)}
