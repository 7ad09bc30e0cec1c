"""What the inspector shows of a run: where q(z|x) lies for each example, and the terms of its loss, in nats."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from nelbo.data import Dataset
from nelbo.divergences import closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate, evaluation_mode
from nelbo.figures.points import active
from nelbo.latents import center
from nelbo.latents import moments as normal_moments
from nelbo.objectives import Loss
from nelbo.runs import Run
from nelbo.vae import VAE

EXAMPLES = 1000
"""Of a data set that are shown: enough for ranks and contours, drawn within a second."""
DRAWS, DRAWS_OF_ONE = 8, 1024
"""Of z for each example of the set, and for one that is looked at."""
_NUMBERS_AT_ONCE = 1 << 20  # values of x decoded together
_DRAWS_FOR_MOMENTS = 256  # of a q(z|x) whose moments have no closed form


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of the negative ELBO of some examples, in nats, each averaged over draws of z.

    Args:
        loss: reconstruction_error, kl, nelbo, each (n,); of an autoencoder kl and nelbo are infinite.
        standard_error: (n,) of the nelbo (of the reconstruction error, for an autoencoder), over the draws.
        kl_per_unit: (n, latent) where q and p factorize over the units; else (n, 1).
        draws: of z for each example.
    """

    loss: Loss
    standard_error: Tensor
    kl_per_unit: Tensor
    draws: int


@dataclass(frozen=True, eq=False)
class Inspection:
    """A run and some of its examples under its model.

    Args:
        run: with model and data.
        split: which part of the data the examples are from.
        x: (n, \\*event) what the model sees, random preparation drawn once.
        rows: (n,) position of each example in its split.
        labels: (n,) or None.
        mean: (n, latent) centers of q(z|x).
        covariance: (n, latent, latent) of q(z|x).
        is_normal: whether q(z|x) is a normal (or a point), so that mean and covariance are all of it.
        terms: of each example.
    """

    run: Run
    split: str
    x: Tensor
    rows: Tensor
    labels: Tensor | None
    mean: Tensor
    covariance: Tensor
    is_normal: bool
    terms: Terms

    @property
    def model(self) -> VAE:
        """The run's model."""
        return self.run.model

    @property
    def is_point(self) -> bool:
        """Whether q(z|x) is a point, as in an autoencoder: then there is no KL."""
        return self.model.deterministic

    @property
    def axes(self) -> tuple[int, ...]:
        """The two most active latent dimensions, by the variance of the posterior means; all, where there are <= 2."""
        return active(self.mean)


@dataclass(frozen=True, eq=False)
class Example:
    """One input under a model.

    Args:
        x: (\\*event).
        reconstruction: (\\*event), the mean of p(x|z) at the center of q(z|x).
        mean: (latent,) center of q(z|x).
        covariance: (latent, latent).
        terms: of this one input, each (1,).
        at_mean: -log p(x|z) at z = mean, in nats.
    """

    x: Tensor
    reconstruction: Tensor
    mean: Tensor
    covariance: Tensor
    terms: Terms
    at_mean: float


def inspect(
    run: Run, *, split: str | None = None, limit: int = EXAMPLES, draws: int = DRAWS, seed: int = 0
) -> Inspection:
    """Embed the first examples of a split and evaluate the terms of their loss.

    Args:
        run: with its data.
        split: train, validation or test; None takes what was held out, else the training set.
        limit: at most so many examples.
        draws: of z for each example.
        seed: of the draws.

    Returns:
        Inspection; its terms are those of nelbo.loss, averaged over the draws.

    Raises:
        ValueError: the run has no such split, or its data cannot be loaded again.
    """
    name, dataset = _split(run, split)
    rows = torch.arange(min(limit, len(dataset)))
    x = dataset.take(len(rows), seed=seed)
    labels = None if dataset.labels is None else dataset.labels[: len(rows)]
    mean, covariance, is_normal = posterior(run.model, x, seed=seed)
    return Inspection(
        run, name, x, rows, labels, mean, covariance, is_normal, terms(run.model, x, draws=draws, seed=seed)
    )


def terms(model: VAE, x: Tensor, *, draws: int, seed: int = 0) -> Terms:
    """The terms of nelbo.loss for each example, averaged over draws of z.

    Args:
        model: a VAE.
        x: (n, \\*event).
        draws: of z for each example, 2 or more.
        seed: of the draws; torch's generators are left as they were.
    """
    seen = evaluate(model, x, seed=seed)
    found = seen.terms(draws)
    nelbo = found.elbo.scaled(-1)
    finite = nelbo.value.isfinite()
    error = torch.where(finite, nelbo.standard_error, found.reconstruction_error.standard_error)
    units = found.kl.value[:, None] if seen.kl_per_unit is None else seen.kl_per_unit.double().cpu()
    return Terms(Loss(found.reconstruction_error.value, found.kl.value, nelbo.value), error, units, draws)


def look_at(model: VAE, x: Tensor, *, draws: int = DRAWS_OF_ONE, seed: int = 0) -> Example:
    """One input under a model.

    Args:
        model: a VAE.
        x: (1, \\*event); values outside the likelihood's support are a ValueError.
        draws: of z.
        seed: of the draws.
    """
    model.px_family.check(x)
    mean, covariance, _ = posterior(model, x, seed=seed)
    with evaluation_mode(model, seed):
        at_mean = -model.likelihood(mean).log_prob(x)
    picture = model.decode(mean)
    return Example(x[0], picture[0], mean[0], covariance[0], terms(model, x, draws=draws, seed=seed), float(at_mean[0]))


def posterior(model: VAE, x: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor, bool]:
    """Center (n, latent) and covariance (n, latent, latent) of q(z|x), and whether q is a normal.

    Of a q without closed moments, the covariance is that of draws.
    """
    means: list[Tensor] = []
    covariances: list[Tensor] = []
    is_normal = True
    with evaluation_mode(model, seed):
        for part in _parts(torch.arange(len(x)), x):
            qz = model.posterior(x[part])
            known = normal_moments(qz)
            means.append(center(qz))
            if known is None:
                is_normal = False
                off = qz.sample(torch.Size((_DRAWS_FOR_MOMENTS,)))
                off = off - off.mean(0)
                covariances.append(torch.einsum("sni,snj->nij", off, off) / (_DRAWS_FOR_MOMENTS - 1))
            else:
                covariances.append(known[1])
    return torch.cat(means), torch.cat(covariances), is_normal


def decode(model: VAE, z: Tensor) -> Tensor:
    """The mean of p(x|z), (n, \\*event), for z of shape (n, latent)."""
    with evaluation_mode(model):
        return torch.cat([model.decode(part) for part in z.split(256)])


def terms_under(
    model: VAE, x: Tensor, mean: Tensor, covariance: Tensor, *, draws: int = DRAWS_OF_ONE, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """-E_q[log p(x|z)] and KL(q || p(z)) in nats for q = N(mean, covariance) of the user's own.

    Args:
        model: a VAE.
        x: (1, \\*event).
        mean: (latent,).
        covariance: (latent, latent), symmetric; what is not positive in it counts as 0.
        draws: of z.
        seed: of the draws.

    Returns:
        The two estimates; the KL of a q without extent is infinite.
    """
    with evaluation_mode(model, seed):
        variances, directions = torch.linalg.eigh(covariance.double())
        variances = variances.clamp(min=0)
        z = mean.double() + torch.randn(draws, len(mean), dtype=torch.float64) @ (directions * variances.sqrt()).T
        parts = z.to(mean).split(max(1, _NUMBERS_AT_ONCE // x.numel()))
        errors = -torch.cat([model.likelihood(part).log_prob(x.expand(len(part), *x.shape[1:])) for part in parts])
        error = Estimate(errors.double().mean(), errors.double().std() / draws**0.5, "monte_carlo")
        if bool((variances == 0).any()):
            return error, Estimate.exactly(torch.tensor(torch.inf))
        qz = MultivariateNormal(mean, covariance)
        kl = closed_form(qz, model.prior)
        if kl is not None:
            return error, Estimate.exactly(kl)
        ratios = (qz.log_prob(z.to(mean)) - model.prior.log_prob(z.to(mean))).double()
        return error, Estimate(ratios.mean(), ratios.std() / draws**0.5, "monte_carlo")


def _split(run: Run, split: str | None) -> tuple[str, Dataset]:
    there: dict[str, Any] = {name: getattr(run.data, name) for name in ("validation", "train", "test")}
    there = {name: dataset for name, dataset in there.items() if dataset is not None}
    name = next(iter(there)) if split is None else split
    if name not in there:
        raise ValueError(f"the data of {run.name} have no {split} part; they have: {', '.join(there)}")
    return name, there[name]


def _parts(index: Tensor, x: Tensor) -> Iterator[Tensor]:
    yield from index.split(max(1, _NUMBERS_AT_ONCE // max(1, x[0].numel())))
