"""A mixed table column by column: what each costs in nats, and how much its synthetic rows are like real ones."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from nelbo.data.kinds import ColumnKind
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate
from nelbo.registry import check_choice

_BINS = 10  # of a column of numbers beside categories
_RESAMPLES = 100  # for standard errors
_METHOD = "resampled rows"
_CLASSES = ("categorical", "binary")


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
    names, discrete = list(kinds), [kind.kind in _CLASSES for kind in kinds.values()]
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
    return TableMatch(
        {name: Estimate.number(shapes[i], spread[i], _METHOD, "share") for i, name in enumerate(names)},
        {(names[i], names[j]): trends[k] for k, (i, j) in enumerate(pairs)},
        _mean(shapes, [s for s, _ in again]),
        _mean(trends, [t for _, t in again]) if pairs else None,
    )


def _mean(values: Sequence[float], again: Sequence[Sequence[float]]) -> Estimate:
    """The mean over columns or pairs, and its spread over resampled rows."""
    means = np.array(again).mean(1)
    return Estimate.number(float(np.mean(values)), float(means.std(ddof=1)), _METHOD, "share")


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
    edges = np.zeros(0)
    if not discrete:
        known = true[~np.isnan(true)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else edges
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


@dataclass(frozen=True, eq=False)
class Transfer:
    """How well a column of held-out rows is predicted from the others, by what was learned from synthetic rows.

    Attributes:
        synthetic: accuracy on held-out rows of a classifier that was trained on synthetic rows.
        real: the same, trained on as many real rows.
        constant: accuracy of the most frequent category of the real rows.
        difference: synthetic - real, on the same held-out rows.
    """

    synthetic: Estimate
    real: Estimate
    constant: Estimate
    difference: Estimate


def train_on_synthetic(
    synthetic: Tensor, train: Tensor, held_out: Tensor, kinds: Mapping[str, ColumnKind], target: str
) -> Transfer:
    """Train on synthetic rows, test on real ones: a column of categories, predicted by logistic regression.

    Args:
        synthetic: (n, columns), as the model sees it.
        train: (m, columns), real; as many rows of either are used. What is missing stands at the mean, but rows
            without the target are left out.
        held_out: (k, columns), real, to test on.
        kinds: what each column is.
        target: name of the column, categorical or binary.

    Raises:
        ValueError: the target is of another kind, or no row has it.

    Source: Esteban, Hyland & Raetsch 2017, "Real-valued (medical) time series generation with recurrent conditional
    GANs", section 4.2 (TSTR).
    """
    check_choice("target", target, [name for name, kind in kinds.items() if kind.kind in _CLASSES])
    place, classes = list(kinds).index(target), max(2, len(kinds[target].categories))
    fake, true, test = (rows[~rows[:, place].isnan()].cpu().double() for rows in (synthetic, train, held_out))
    n = min(len(fake), len(true))
    if not (n and len(test)):
        raise ValueError(f"no row has the target {target!r}; pass rows in which it was observed")
    labels = test[:, place].long()
    right: list[Tensor] = []
    for rows in (fake[:n], true[:n]):
        known = _predictors(rows, kinds, place)
        mean, std = known.nanmean(0), (known - known.nanmean(0)).square().nanmean(0).sqrt()
        scale = torch.where(std > 0, std, 1.0)
        seen, asked = (((r - mean) / scale).nan_to_num(nan=0.0) for r in (known, _predictors(test, kinds, place)))
        weights = _logistic(seen, rows[:, place].long(), classes)
        right.append(((_with_ones(asked) @ weights).argmax(1) == labels).double())
    most = true[:n, place].long().mode().values
    method = f"logistic regression on {n:,} rows"
    by_synthetic, by_real, constant = (
        Estimate.mean_of(each, method, "share") for each in (*right, (labels == most).double())
    )
    return Transfer(by_synthetic, by_real, constant, Estimate.mean_of(right[0] - right[1], method, "share"))


def _predictors(rows: Tensor, kinds: Mapping[str, ColumnKind], target: int) -> Tensor:
    """All columns but one as numbers to predict from: categories one-hot, logarithms of counts and positive values."""
    found: list[Tensor] = []
    for i, kind in enumerate(kinds.values()):
        x = rows[:, i : i + 1]
        if i == target:
            continue
        if kind.kind == "categorical":
            hot = (x == torch.arange(len(kind.categories))).double()
            x = torch.where(x.isnan(), torch.nan, hot)
        elif kind.kind in ("count", "positive"):
            x = x.log1p() if kind.kind == "count" else x.clamp(min=1e-12).log()
        found.append(x)
    return torch.cat(found, 1) if found else rows[:, :0]


def _logistic(x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Weights (predictors + 1, classes) of a logistic regression with a small ridge."""
    weights = torch.zeros(x.shape[1] + 1, classes, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")
    x = _with_ones(x)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(x @ weights, y) + 1e-3 * weights.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return weights.detach()


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], 1)
