"""What the inspector shows of a run: where q(z|x) lies for each example, and the terms of its loss, in nats."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from nelbo.data import Dataset
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate
from nelbo.figures.points import active
from nelbo.runs import Run
from nelbo.vae import Model

EXAMPLES = 1000
"""Of a data set that are shown: enough for ranks and contours, drawn within a second."""
DRAWS, DRAWS_OF_ONE = 8, 1024
"""Of z for each example of the set, and for one that is looked at."""
_FLAT = 1e-12  # the variance that stands for none where z is drawn, as a share of the largest


class Terms(NamedTuple):
    """The terms of the negative ELBO of each example, (n,) float64, in nats, averaged over draws of z."""

    reconstruction_error: Tensor
    kl: Tensor
    """Infinite for an autoencoder, and so is nelbo."""
    nelbo: Tensor
    standard_error: Tensor
    """Of the nelbo (of the reconstruction error, for an autoencoder), over the draws."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A run and some of its examples under its model.

    Args:
        run: with model and data.
        split: which part of the data the examples are from.
        evaluation: of the model on the examples.
        draws: of z for each example.
    """

    run: Run
    split: str
    evaluation: Evaluation
    draws: int

    @property
    def model(self) -> Model:
        """The run's model."""
        return self.run.model

    @property
    def x(self) -> Tensor:
        """(n, \\*event) what the model sees, random preparation drawn once."""
        return self.evaluation.x

    @property
    def labels(self) -> Tensor | None:
        """(n,) or None."""
        return self.evaluation.batch.labels

    @property
    def mean(self) -> Tensor:
        """(n, latent) centers of q(z|x)."""
        return self.evaluation.moments.mean

    @property
    def covariance(self) -> Tensor:
        """(n, latent, latent) of q(z|x)."""
        return self.evaluation.moments.covariance

    @property
    def axes(self) -> tuple[int, ...]:
        """The two most active latent dimensions, by the variance of the posterior means; all, where there are <= 2."""
        return active(self.mean)


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

    Raises:
        ValueError: the run has no such split, or its data cannot be loaded again.
    """
    name, dataset = _split(run, split)
    evaluation = evaluate(run, dataset.examples(min(limit, len(dataset)), seed=seed), seed=seed)
    terms_of(evaluation, draws)
    _ = evaluation.moments, kl_per_unit(evaluation, draws)  # whoever draws next holds no lock
    return Inspection(run, name, evaluation, draws)


def terms_of(evaluation: Evaluation, draws: int) -> Terms:
    """The terms of each example over draws of z."""
    terms = evaluation.terms(draws)
    noisy = torch.where(
        terms.elbo.value.isfinite(), terms.elbo.standard_error, terms.reconstruction_error.standard_error
    )
    return Terms(terms.reconstruction_error.value, terms.kl.value, -terms.elbo.value, noisy)


def kl_per_unit(evaluation: Evaluation, draws: int) -> Tensor:
    """(n, latent) in nats where q and p factorize over the units; else the KL itself, (n, 1)."""
    units = evaluation.kl_per_unit
    return evaluation.terms(draws).kl.value[:, None] if units is None else units.double().cpu()


def terms_under(
    model: Model, x: Tensor, mean: Tensor, covariance: Tensor, *, draws: int = DRAWS_OF_ONE, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """-E_q[log p(x|z)] and KL(q || p(z)) in nats for q = N(mean, covariance) of the user's own.

    Args:
        model: any.
        x: (1, \\*event).
        mean: (latent,).
        covariance: (latent, latent), symmetric; what is not positive in it counts as 0.
        draws: of z.
        seed: of the draws.

    Returns:
        The two estimates; the KL of a q without extent is infinite.
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    flat = variances <= 0
    variances = torch.where(flat, _FLAT * variances.max().clamp(min=1), variances)
    root = torch.linalg.cholesky(directions * variances @ directions.T)
    qz = MultivariateNormal(mean[None], scale_tril=root.to(mean)[None])
    terms = evaluate(model, x, seed=seed).with_posterior(qz).terms(draws)
    return terms.reconstruction_error[0], Estimate.exactly(torch.inf) if flat.any() else terms.kl[0]


def _split(run: Run, split: str | None) -> tuple[str, Dataset]:
    parts: dict[str, Any] = {name: getattr(run.data, name) for name in ("validation", "train", "test")}
    parts = {name: dataset for name, dataset in parts.items() if dataset is not None}
    name = next(iter(parts)) if split is None else split
    if name not in parts:
        raise ValueError(f"the data of {run.name} have no {split} part; they have: {', '.join(parts)}")
    return name, parts[name]
