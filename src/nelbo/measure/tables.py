"""A mixed table column by column: what each costs in nats, and how much its synthetic rows are like real ones."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.kinds import ColumnKind
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate

_BINS = 10  # of a column of numbers beside categories
_RESAMPLES = 100  # for standard errors


def error_per_column(
    model: Any, x: Any, names: Sequence[str] | None = None, *, samples: int = 16, seed: int = 0
) -> dict[str, Estimate]:
    """-E_q[log p_d(x_d|z)] of each column d in nats per row, whose sum is the reconstruction error.

    A value that was not observed costs 0. Columns of categories, counts, and of 0 and 1 have probabilities, and cost 0
    nats or more; those of real numbers have densities, which depend on the unit of the column and may exceed 1.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.table_vae((2,), likelihood={"age": "normal", "job": "categorical:3"}, hidden=(8,))
    >>> costs = nelbo.measure.error_per_column(vae, torch.tensor([[0.1, 2.0], [0.3, 0.0], [-0.2, 1.0]]))
    >>> list(costs), costs["job"].unit
    (['age', 'job'], 'nats')

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, columns), or what :func:`nelbo.evaluation.evaluate` takes.
        names: of the columns; by default those of the likelihood, or x0, x1, ...
        samples: draws of z for each row.
        seed: of the draws, which are those of :func:`elbo_terms`.

    Raises:
        ValueError: p(x|z) does not factorize over the columns, or an example is no row.
    """
    evaluation = evaluate(model, x, seed=seed)
    each = evaluation.error_per_feature(samples)
    if each is None or each.dim() != 2:
        raise ValueError(
            f"error_per_column needs rows of columns that are independent given z, got x of shape "
            f"{tuple(evaluation.x.shape)}; write nelbo.measure.elbo_terms(model, x) for the sum"
        )
    known = names or list(getattr(evaluation.model.px_family, "families", ()))
    known = known if len(known) == each.shape[1] else [f"x{i}" for i in range(each.shape[1])]
    return {name: Estimate.mean_of(each[:, i], "monte_carlo") for i, name in enumerate(known)}


@dataclass(frozen=True, eq=False)
class TableMatch:
    """Synthetic rows beside real ones, as SDMetrics names and defines it; 1 is equal, 0 has nothing in common.

    Attributes:
        shapes: of each column: 1 - the Kolmogorov-Smirnov distance of numbers, 1 - the total variation distance of
            categories.
        trends: of each pair of columns: 1 - half the difference of the correlations of two columns of numbers; else 1
            - the total variation distance of the contingency tables, numbers in ten bins.
        shape: the mean over the columns.
        trend: the mean over the pairs; None of one column.
    """

    shapes: Mapping[str, Estimate]
    trends: Mapping[tuple[str, str], float]
    shape: Estimate
    trend: Estimate | None


def table_match(synthetic: Tensor, real: Tensor, kinds: Mapping[str, ColumnKind], *, seed: int = 0) -> TableMatch:
    """Column shapes and pair trends of synthetic rows, with standard errors by resampling rows (bootstrap).

    Even rows of the same distribution stay below 1, the more the fewer they are: compare with a second sample of real
    rows.

    Args:
        synthetic: (n, columns), as the model sees it, categories as their numbers; NaN are left out.
        real: (m, columns), held out.
        kinds: what each column is.
        seed: of the resampling.

    Raises:
        ValueError: the number of columns is another one.

    Source: SDMetrics, "Column Shapes" and "Column Pair Trends" of its quality report.
    """
    if not synthetic.shape[1] == real.shape[1] == len(kinds):
        raise ValueError(
            f"synthetic and real rows must have the {len(kinds)} columns of kinds, got {tuple(synthetic.shape)} and "
            f"{tuple(real.shape)}"
        )
    fake, true = synthetic.double().cpu().numpy(), real.double().cpu().numpy()
    names, discrete = list(kinds), [kind.kind in ("categorical", "binary") for kind in kinds.values()]
    pairs = list(itertools.combinations(range(len(names)), 2))
    binned = [_in_bins(fake[:, i], true[:, i], discrete=discrete[i]) for i in range(len(names))]

    def scores(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        shapes = [_shape(fake[a, i], true[b, i], discrete=discrete[i]) for i in range(len(names))]
        trends: list[float] = []
        for i, j in pairs:
            if not (discrete[i] or discrete[j]):
                trends.append(1 - abs(_correlation(fake[a][:, [i, j]]) - _correlation(true[b][:, [i, j]])) / 2)
            else:
                trends.append(_contingency(*(np.stack([binned[k][s][r] for k in (i, j)]) for s, r in ((0, a), (1, b)))))
        return shapes, trends

    rng = np.random.default_rng(seed)
    shapes, trends = scores(np.arange(len(fake)), np.arange(len(true)))
    again = [
        scores(rng.integers(0, len(fake), len(fake)), rng.integers(0, len(true), len(true)))
        for _ in range(_RESAMPLES if len(pairs) <= _RESAMPLES else _RESAMPLES // 5)
    ]
    spread = np.std([s for s, _ in again], axis=0, ddof=1)
    method = "resampled rows"
    return TableMatch(
        {name: Estimate.number(shapes[i], spread[i], method, "share") for i, name in enumerate(names)},
        {(names[i], names[j]): trends[k] for k, (i, j) in enumerate(pairs)},
        Estimate.number(np.mean(shapes), np.std([np.mean(s) for s, _ in again], ddof=1), method, "share"),
        Estimate.number(np.mean(trends), np.std([np.mean(t) for _, t in again], ddof=1), method, "share")
        if pairs
        else None,
    )


def _shape(fake: NDArray[Any], true: NDArray[Any], *, discrete: bool) -> float:
    fake, true = fake[~np.isnan(fake)], true[~np.isnan(true)]
    if not (len(fake) and len(true)):
        return math.nan
    if discrete:
        return _contingency(fake[None].astype(np.int64), true[None].astype(np.int64))
    points = np.sort(np.concatenate([fake, true]))
    below = [np.searchsorted(np.sort(part), points, side="right") / len(part) for part in (fake, true)]
    return 1 - float(np.abs(below[0] - below[1]).max())


def _contingency(fake: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """1 - the total variation distance of the frequencies of tuples, (columns, rows); negative ones are left out."""
    fake, true = fake[:, (fake >= 0).all(0)], true[:, (true >= 0).all(0)]
    sizes = np.maximum(fake.max(1, initial=0), true.max(1, initial=0)) + 1
    counts = [
        np.bincount(np.ravel_multi_index(tuple(part), tuple(sizes)), minlength=int(sizes.prod()))
        for part in (fake, true)
    ]
    return 1 - 0.5 * float(np.abs(counts[0] / max(1, counts[0].sum()) - counts[1] / max(1, counts[1].sum())).sum())


def _in_bins(fake: NDArray[Any], true: NDArray[Any], *, discrete: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both columns as categories, -1 where there is no value."""
    if not discrete:
        known = true[~np.isnan(true)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    found: list[NDArray[np.int64]] = []
    for part in (fake, true):
        codes = part if discrete else np.searchsorted(edges, part).astype(np.float64)
        found.append(np.where(np.isnan(part), -1, codes).astype(np.int64))
    return found[0], found[1]


def _correlation(rows: NDArray[Any]) -> float:
    rows = rows[~np.isnan(rows).any(1)]
    if len(rows) < 2 or (rows.std(0) == 0).any():
        return 0.0
    return float(np.corrcoef(rows.T)[0, 1])
