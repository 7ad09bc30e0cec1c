"""Anomaly scores: log p(x) of each example, what it consists of, and a threshold for it."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from nelbo.data import Batch, Dataset, as_batch
from nelbo.data.loading import seen_by
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, rows_at_once
from nelbo.files import DamagedFileError, read_json, write_json
from nelbo.measure.evidence import interrupted
from nelbo.measure.importance import SAMPLES, refuse_points
from nelbo.measure.log_evidence import log_evidence
from nelbo.measure.quadrature import MOST_DIMENSIONS
from nelbo.progress import ProgressBar
from nelbo.registry import check_choice

Method = Literal["auto", "importance", "mixture", "quadrature", "annealed", "elbo"]
BOUND = "elbo, a lower bound of log p(x)"
"""The method of scores that are ELBOs."""
_DRAWS, _DRAWS_OF_TERMS = 16, 64  # of z: of an ELBO that is the score itself, and of one beside log p(x)
_MOST_ROWS = 1024  # of a batch: the fewest examples cost as much as so many
OF_MANY = r"for [\d,]+ of [\d,]+ examples"
"""How a note begins that counts the examples of one batch."""
FILE = "threshold.json"


@final
@dataclass(frozen=True, eq=False)
class Scores(Estimate):
    """Log p(x) of each example, in nats: higher is more normal. All of shape (batch,), float64, on the CPU.

    -log p(x) = reconstruction_error + kl - gap, and the reconstruction error is the sum of the contributions.

    Attributes:
        value: log p(x); of the method elbo a lower bound of it.
        standard_error: over the draws of z.
        method: by which log p(x) was computed.
        reconstruction_error: -E_q[log p(x|z)].
        kl: KL(q(z|x) || p(z)).
        ess: effective sample size of the importance weights; NaN where there are none.
        pareto_k: shape of their tail; NaN where there are none.
        flagged: where log p(x) may be off by more than its standard error says.
        contributions: (batch, \\*event) -E_q[log p(x_i|z)] of each feature, if they were asked for.
    """

    reconstruction_error: Estimate = field(kw_only=True)
    kl: Estimate = field(kw_only=True)
    ess: Tensor = field(kw_only=True)
    pareto_k: Tensor = field(kw_only=True)
    flagged: Tensor = field(kw_only=True)
    contributions: Tensor | None = field(default=None, kw_only=True)

    @property
    def gap(self) -> Tensor:
        """(batch,) log p(x) - ELBO: how much of the reconstruction error and the KL is due to q(z|x) alone."""
        return self.value + self.reconstruction_error.value + self.kl.value

    def __repr__(self) -> str:
        n, error = len(self.value), float(self.standard_error.max())
        mean = float(self.value.mean())
        return f"Scores({n:,} examples, {self.method}: mean {mean:.2f} nats, largest standard error {error:.2g})"


def score_samples(
    model: Any,
    x: Any,
    *,
    method: Method = "auto",
    samples: int | None = None,
    contributions: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Scores:
    """Log p(x) of each example in nats, as an anomaly score: higher is more normal, as in scikit-learn.

    The score of an example is a function of its values alone: its draws follow from its content, and all batches are
    filled up to one size, which leaves, on one machine, the last bit of float32 in some narrow layers.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.vae((6,), likelihood="normal", hidden=(8,))
    >>> scores = nelbo.measure.score_samples(vae, torch.zeros(3, 6), contributions=True)
    >>> scores.method, scores.contributions.shape
    ('importance', torch.Size([3, 6]))

    Args:
        model: a model, or a run.
        x: a Dataset, a Batch, a tensor or an array (batch, \\*event); for a run also a path, the name of a set or a
            table, which is prepared as the run's data were.
        method: of :func:`log_evidence`; "importance" is fast and suits whole tables, and its Pareto k tells where it
            cannot be relied on. "elbo" is the fastest, and a lower bound of log p(x). "quadrature" and "annealed" are
            computed example by example. "auto" is importance, and for an autoencoder, which has no q(z|x) to draw from,
            quadrature or annealing.
        samples: draws of z for each example: 1,000 if None, and for the ELBO 16.
        contributions: also give what each feature contributes to the reconstruction error.
        seed: of the draws.
        progress: show a bar on the terminal for what takes long.

    Raises:
        ValueError: x does not fit the model, the method does not suit it, or its p(x|z) does not factorize over the
            features, of which there are no contributions then.
        Interrupted: Ctrl-C; its ``partial`` holds the scores of the examples that were done.
    """
    check_choice("method", method, get_args(Method))
    examples = seen_by(model, x.batch if isinstance(x, Evaluation) else x)
    examples = examples if isinstance(examples, Dataset) else as_batch(examples)
    first = evaluate(model, _part(examples, 0, 1, seed), seed=seed)
    if method == "auto":
        small = first.latent <= MOST_DIMENSIONS
        method = "importance" if not first.is_point else "quadrature" if small else "annealed"
    if method == "elbo":
        refuse_points(first)
    draws = samples or (_DRAWS if method == "elbo" else SAMPLES)
    size = (
        1
        if method in ("quadrature", "annealed")
        else _size(draws * first.features, passes=8 if method == "elbo" else 1)
    )
    found: list[tuple[Tensor, Tensor | None]] = []
    n, done = len(examples), 0
    with ProgressBar("scores", n, show=progress) as bar:
        try:
            for evaluation, some in filled_up(model, examples, size, seed=seed):
                values, parts = _scored(evaluation, method, samples, draws, contributions=contributions)
                found.append((values[:, :some], None if parts is None else parts[:some]))
                done += some
                bar.advance(some)
        except KeyboardInterrupt as stop:
            raise interrupted(_scores(found, method) if found else None, done, n) from stop
    scores = _scores(found, method)
    doubtful = int(scores.flagged.sum())
    if doubtful:
        warnings.warn(
            f"for {doubtful:,} of {n:,} examples log p(x) by {method} may be off by more than its standard error says "
            f"(largest Pareto k {float(scores.pareto_k.nan_to_num(nan=0.0).max()):.2f}); "
            'method="mixture" looks also where q(z|x) does not',
            stacklevel=2,
        )
    return scores


def filled_up(model: Any, examples: Dataset | Batch, size: int, *, seed: int = 0) -> Iterator[tuple[Evaluation, int]]:
    """Evaluations of as many examples each, the last one filled up by its last example, and the number that counts.

    A matrix product rounds by its shape, and in batches of one shape it rounds an example as it does any other, but
    for some narrow layers, whose last bit still differs between equal rows of a batch.
    """
    for start in range(0, len(examples), size):
        batch = _part(examples, start, min(start + size, len(examples)), seed)
        some = len(batch)
        if some < size:
            batch = batch[torch.arange(size).clamp(max=some - 1)]
        yield evaluate(model, batch, seed=seed), some


def _part(examples: Dataset | Batch, start: int, stop: int, seed: int) -> Batch:
    which = slice(start, stop)
    return examples[which] if isinstance(examples, Batch) else examples.examples(which, seed=seed)


def _size(numbers: int, passes: int) -> int:
    """As many examples as are not divided any further, by a power of two, so that vectorized loops leave no rest."""
    return 1 << (min(_MOST_ROWS, rows_at_once(numbers, passes=passes)).bit_length() - 1)


def _scored(
    evaluation: Evaluation, method: Method, samples: int | None, draws: int, *, contributions: bool
) -> tuple[Tensor, Tensor | None]:
    """(9, n): value, its error, reconstruction error, its error, KL, its error, ESS, Pareto k, flag; contributions."""
    draws = draws if method == "elbo" else _DRAWS_OF_TERMS
    terms, nothing = evaluation.terms(draws), torch.full((len(evaluation),), torch.nan, dtype=torch.float64)
    if method == "elbo":
        rows = [terms.elbo.value, terms.elbo.standard_error], [nothing, nothing, torch.zeros_like(nothing)]
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", OF_MANY)  # they are counted over all batches
            found = log_evidence(evaluation.model, evaluation, method=method, samples=samples, progress=False)
        ess, k = (nothing if part is None else part for part in (found.ess, found.pareto_k))
        rows = [found.value, found.standard_error], [ess, k, found.flagged.double()]
    parts = evaluation.error_per_feature(draws) if contributions else None
    if contributions and parts is None:
        raise ValueError(
            "the features have no contributions, because p(x|z) does not factorize over them; write contributions=False"
        )
    error, kl = terms.reconstruction_error, terms.kl
    both = [error.value, error.standard_error, kl.value, kl.standard_error]
    return torch.stack([*rows[0], *both, *rows[1]]), parts


def _scores(found: list[tuple[Tensor, Tensor | None]], method: str) -> Scores:
    value, spread, error, its_spread, kl, kl_spread, ess, k, flagged = torch.cat([values for values, _ in found], 1)
    parts = [part for _, part in found if part is not None]
    return Scores(
        value,
        spread,
        BOUND if method == "elbo" else method,
        reconstruction_error=Estimate(error, its_spread, "monte_carlo"),
        kl=Estimate(kl, kl_spread, "monte_carlo" if bool(kl_spread.any()) else "closed_form"),
        ess=ess,
        pareto_k=k,
        flagged=flagged > 0,
        contributions=torch.cat(parts) if parts else None,
    )


def check_contamination(contamination: Any) -> None:
    """Raise a ValueError where a share of outliers cannot be meant."""
    number = isinstance(contamination, int | float) and not isinstance(contamination, bool)
    if not (number and 0 < contamination <= 0.5):
        raise ValueError(
            f"contamination must be a share above 0 and at most 0.5, got {contamination!r}; write contamination=0.1"
        )


def threshold(scores: Tensor | Estimate, contamination: float) -> Estimate:
    """The score below which a share of examples lies: the quantile of the scores at that share, in nats.

    Its standard error is half the distance between the order statistics that lie one standard deviation of the
    binomial count to either side of it (Woodruff 1952).

    Args:
        scores: (n,) of examples that the threshold is to be taken from.
        contamination: a share above 0 and at most 0.5.

    Raises:
        ValueError: another share, or one of less than one example.
    """
    check_contamination(contamination)
    values = scores.value if isinstance(scores, Estimate) else scores
    values, n = values.double().sort().values, len(values)
    if contamination * n < 1:
        raise ValueError(
            f"contamination={contamination:g} of {n:,} examples is less than one example; give at least "
            f"{math.ceil(1 / contamination):,} examples, or write contamination={1 / n:.2g}"
        )
    place, away = contamination * (n - 1), math.sqrt(n * contamination * (1 - contamination))
    at = torch.tensor([place - away, place, place + away], dtype=torch.float64).clamp(0, n - 1)
    low, high = values[at.floor().long()], values[at.ceil().long()]
    lower, middle, upper = (low + (high - low) * at.frac()).tolist()
    return Estimate.number(middle, (upper - lower) / 2, f"order statistics of {n:,} examples")


@final
@dataclass(frozen=True)
class Threshold:
    """A threshold as a run keeps it, in threshold.json: examples that score below it are called anomalies.

    Args:
        value: in nats.
        standard_error: of the value.
        contamination: the share of examples below it that was asked for.
        examples: number of those that it was taken from.
        split: the part of the run's data that they are.
        method: of the scores.
        samples: draws of z for each example, or None for the method's own number.
        seed: of the draws.
        epochs: that the run had been trained for.
    """

    value: float
    standard_error: float
    contamination: float
    examples: int
    split: str
    method: str
    samples: int | None
    seed: int
    epochs: int

    def write(self, folder: Path) -> None:
        """Keep it in a run's directory."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Threshold | None":
        """That of a run; None where it has none."""
        if not (folder / FILE).is_file():
            return None
        try:
            return cls(**read_json(folder / FILE))
        except TypeError as error:
            raise DamagedFileError(f"{folder / FILE} is damaged: {error}; remove it and take it again") from error
