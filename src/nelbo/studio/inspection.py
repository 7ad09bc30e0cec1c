"""What the inspector shows of a run: where q(z|x) lies for each example, and the terms of its loss, in nats."""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from nelbo.data import Dataset
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate
from nelbo.figures.points import active
from nelbo.files import DamagedFileError, read_beside_tensors
from nelbo.runs import CHECKPOINT, WEIGHTS, Run
from nelbo.vae import Model

EXAMPLES = 1000
"""Of a data set that are shown at first: enough for ranks and contours, drawn within a second."""
MOST_EXAMPLES = 100_000
"""Of a data set that are shown in the end, where a page asks for all."""
DRAWS, DRAWS_OF_ONE = 8, 1024
"""Of z for each example of the set, and for one that is looked at."""
_MANY, _DRAWS_OF_MANY = 10_000, 2  # beyond so many examples, as few draws as have a standard error
_MOST_NUMBERS = 10**8  # of all inputs, and of all covariances: 400 MB each
_FLAT = 1e-12  # the variance that stands for none where z is drawn, as a share of the largest


Terms = dict[str, Estimate]
"""Reconstruction error, KL and NELBO of each example, (n,), in nats; of an autoencoder, the last two are infinite."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A run and some of its examples under its model.

    Args:
        run: with model and data.
        split: which part of the data the examples are from.
        evaluation: of the model on the examples.
        draws: of z for each example.
        of: how many examples the part has, of which these are the first.
    """

    run: Run
    split: str
    evaluation: Evaluation
    draws: int
    of: int
    holes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What `nelbo.studio.holes` measured, by the plane."""
    _looked_at: dict[int, Evaluation] = field(default_factory=dict[int, Evaluation])

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

    def closely(self, row: int) -> Evaluation:
        """One example alone, with its terms over `DRAWS_OF_ONE` draws; who asks again gets the same numbers."""
        if row not in self._looked_at:
            one = self.evaluation[row]
            terms_of(one, DRAWS_OF_ONE)
            self._looked_at[row] = one
        return self._looked_at[row]

    @property
    def draws_of_each(self) -> Tensor:
        """(n,) over how many draws of z the terms of each example are averaged."""
        draws = torch.full((len(self.x),), self.draws)
        draws[list(self._looked_at)] = DRAWS_OF_ONE
        return draws

    @property
    def terms(self) -> Terms:
        """The terms of each example, as well as they are known: those looked at closely over more draws."""
        terms = {name: (each.value.clone(), each.standard_error.clone()) for name, each in self.first_terms.items()}
        for row, one in list(self._looked_at.items()):
            for name, each in terms_of(one, DRAWS_OF_ONE).items():
                terms[name][0][row], terms[name][1][row] = each.value[0], each.standard_error[0]
        return {name: Estimate(*pair) for name, pair in terms.items()}

    @property
    def first_terms(self) -> Terms:
        """The terms of each example, all over as many draws."""
        return terms_of(self.evaluation, self.draws)


def checkpoint_epoch(path: Path) -> int | None:
    """After how many epochs the checkpoint of a run was made that has no weights yet; None where there is none."""
    if (path / WEIGHTS).is_file() or not (path / CHECKPOINT).is_file():
        return None
    try:
        return int(read_beside_tensors(path / CHECKPOINT)["epoch"])
    except (DamagedFileError, KeyError, TypeError, ValueError):
        return None  # who opens the run is told what is wrong


def inspect(
    run: Run, *, split: str | None = None, limit: int = EXAMPLES, draws: int | None = None, seed: int = 0
) -> Inspection:
    """Embed the first examples of a split and evaluate the terms of their loss.

    Args:
        run: with its data.
        split: train, validation or test; None takes what was held out, else the training set.
        limit: at most so many examples.
        draws: of z for each example; None takes 8, or 2 of more than 10,000 examples.
        seed: of the draws.

    Raises:
        ValueError: the run has no such split, or its data cannot be loaded again.
    """
    name, dataset = _split(run, split)
    limit = min(limit, len(dataset), max(EXAMPLES, _MOST_NUMBERS // run.model.latent**2))
    if limit > EXAMPLES:
        limit = min(limit, max(EXAMPLES, _MOST_NUMBERS // prod(dataset.event_shape)))
    draws = draws or (DRAWS if limit <= _MANY else _DRAWS_OF_MANY)
    evaluation = evaluate(run, dataset.examples(limit, seed=seed), seed=seed)
    terms_of(evaluation, draws)
    _ = evaluation.moments, kl_per_unit(evaluation, draws)  # whoever draws next holds no lock
    return Inspection(run, name, evaluation, draws, len(dataset))


def terms_of(evaluation: Evaluation, draws: int) -> Terms:
    """The terms of the negative ELBO of each example, averaged over draws of z, with standard errors over the draws."""
    terms = evaluation.terms(draws)
    return {
        "reconstruction_error": terms.reconstruction_error,
        "kl": terms.kl,
        "nelbo": terms.elbo.scaled(-1),
    }


def kl_per_unit(evaluation: Evaluation, draws: int) -> Tensor:
    """(n, latent) in nats where q and p factorize over the units; else the KL itself, (n, 1)."""
    units = evaluation.kl_per_unit
    return evaluation.terms(draws).kl.value[:, None] if units is None else units.double().cpu()


def under(model: Model, x: Tensor, mean: Tensor, covariance: Tensor, *, seed: int = 0) -> tuple[Evaluation, bool]:
    """One example for q = N(mean, covariance) of the user's own, and whether that q has an extent in every direction.

    Args:
        model: any.
        x: (1, \\*event).
        mean: (latent,).
        covariance: (latent, latent), symmetric; what is not positive in it counts as 0.
        seed: of the draws.
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    flat = variances <= 0
    variances = torch.where(flat, _FLAT * variances.max().clamp(min=1), variances)
    root = torch.linalg.cholesky(directions * variances @ directions.T)
    qz = MultivariateNormal(mean[None], scale_tril=root.to(mean)[None])
    return evaluate(model, x, seed=seed).with_posterior(qz), not bool(flat.any())


def terms_under(
    model: Model, x: Tensor, mean: Tensor, covariance: Tensor, *, draws: int = DRAWS_OF_ONE, seed: int = 0
) -> Terms:
    """The terms of one example for q = N(mean, covariance) of the user's own; each of them one number, in nats.

    Args:
        model: any.
        x: (1, \\*event).
        mean: (latent,).
        covariance: (latent, latent), symmetric; what is not positive in it counts as 0.
        draws: of z.
        seed: of the draws.

    Returns:
        Reconstruction error, KL and NELBO; the last two are infinite for a q without extent.
    """
    return terms_of_one(*under(model, x, mean, covariance, seed=seed), draws=draws)


def terms_of_one(evaluation: Evaluation, has_extent: bool, *, draws: int = DRAWS_OF_ONE) -> Terms:
    """The terms of the only example of what `under` gives."""
    terms = {name: each[0] for name, each in terms_of(evaluation, draws).items()}
    return terms if has_extent else terms | dict.fromkeys(("kl", "nelbo"), Estimate.exactly(torch.inf))


def _split(run: Run, split: str | None) -> tuple[str, Dataset]:
    parts: dict[str, Any] = {name: getattr(run.data, name) for name in ("validation", "train", "test")}
    parts = {name: dataset for name, dataset in parts.items() if dataset is not None}
    name = next(iter(parts)) if split is None else split
    if name not in parts:
        raise ValueError(f"the data of {run.name} have no {split} part; they have: {', '.join(parts)}")
    return name, parts[name]
