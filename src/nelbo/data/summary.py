"""What the values of a data set are like: kind and range, broken values, mean and spread of the training set."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.rows import RowStore, as_tensor, mask
from nelbo.wording import advice

Missing = Literal["observed"] | None
"""What NaN and empty cells mean: an error (None), or a value that was not observed."""
KEEP = ", or write missing='observed' to train on what was observed"

Kind = Literal["binary", "unit interval", "8-bit integers", "counts", "categories", "real"]

_BLOCK = 1 << 20  # values examined together: they stay in the cache for all questions, so memory is read once
_FLOATS = 1 << 17  # values turned into float64 together
_LEVELS = 256  # values are counted one by one below this
_FEW = 32  # integers below this may be categories
_UNEVEN = 100  # ratio of standard deviations above which features differ in scale

_MEANS: dict[Kind, str] = {
    "binary": "only 0 and 1",
    "unit interval": "numbers between 0 and 1, not only the two ends",
    "8-bit integers": "integers in 0..255, as in images",
    "counts": "integers >= 0 with a thin upper tail",
    "categories": "a few integers >= 0, the highest of them still common",
    "real": "real numbers",
}


@dataclass(frozen=True)
class ValueSummary:
    """The kind of some values, and the facts that led to it.

    The kind is the first of these that holds of the finite values:

    1. ``binary``: only 0 and 1.
    2. ``8-bit integers``: integers in 0..255, stored as uint8 with a maximum of 32 or more, or at least 1 % of them
       above 127.
    3. ``categories``: integers in 0..31 whose maximum is at least a quarter as common as an average level.
    4. ``counts``: other integers, none negative.
    5. ``unit interval``: all within [0, 1].
    6. ``real``: anything else.

    The kind is a guess from the values alone (a Poisson count and a category may share them); the facts are not.

    Attributes:
        kind: see above.
        minimum: of the finite values.
        maximum: of the finite values.
        integer_share: share of integers among the finite values.
        levels: number of different values; None where that was not counted.
        values: number of values.
        nan: number of NaN.
        inf: number of infinite values.
    """

    kind: Kind
    minimum: float
    maximum: float
    integer_share: float
    levels: int | None
    values: int
    nan: int
    inf: int

    @property
    def sentence(self) -> str:
        """The summary in one sentence."""
        finite = self.values - self.nan - self.inf
        if not finite:
            return f"{self.values:,} values, none of them finite ({self.nan:,} NaN, {self.inf:,} infinite)."
        levels = f", {self.levels} different ones" if self.levels is not None and self.levels > 2 else ""
        whole = "" if self.integer_share in (0.0, 1.0) else f", {self.integer_share:.1%} of them integers"
        bad = f"; {self.nan:,} NaN and {self.inf:,} infinite" if self.nan or self.inf else ""
        return (
            f"Looks like {self.kind} ({_MEANS[self.kind]}): {finite:,} values from {self.minimum:g} to "
            f"{self.maximum:g}{levels}{whole}{bad}."
        )

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON (an empty or non-finite set has minimum and maximum None)."""
        fields = asdict(self)
        if self.values == self.nan + self.inf:
            fields["minimum"] = fields["maximum"] = None
        return fields


@dataclass
class Tally:
    """The facts about the values seen so far, so that a file can be examined piece by piece."""

    low: float = float("inf")
    high: float = float("-inf")
    whole: int = 0
    values: int = 0
    nan: int = 0
    inf: int = 0
    counts: Tensor | None = None
    small: bool = True  # whether all so far are integers in 0.._LEVELS - 1, so that `counts` is complete

    def add(self, x: Tensor) -> None:
        """Take in more values: x of any shape."""
        flat = x.detach().reshape(-1)
        for start in range(0, flat.numel(), _BLOCK):
            self._add_block(flat[start : start + _BLOCK])

    def _add_block(self, v: Tensor) -> None:
        self.values += v.numel()
        exact = not (v.is_floating_point() or v.is_complex())
        if v.dtype == torch.bool:
            v = v.to(torch.uint8)
        if not exact:
            finite = torch.isfinite(v)
            if not bool(finite.all()):
                nan = int(torch.isnan(v).sum())
                self.nan += nan
                self.inf += v.numel() - int(finite.sum()) - nan
                v = v[finite]
        if not v.numel():
            return
        low, high = (float(m) for m in torch.aminmax(v))
        self.low, self.high = min(self.low, low), max(self.high, high)
        whole = v.numel() if exact else int((v == v.trunc()).sum())
        self.whole += whole
        self.small = self.small and whole == v.numel() and low >= 0 and high < _LEVELS
        if self.small:
            seen = torch.bincount(v if exact else v.to(torch.uint8), minlength=_LEVELS).cpu()
            self.counts = seen if self.counts is None else self.counts + seen

    def summary(self, dtype: torch.dtype) -> ValueSummary:
        """The summary of values stored as `dtype`."""
        finite = self.values - self.nan - self.inf
        counts = self.counts if self.small and self.counts is not None else None
        return ValueSummary(
            kind=self._kind(finite, counts, dtype),
            minimum=self.low if finite else float("nan"),
            maximum=self.high if finite else float("nan"),
            integer_share=self.whole / finite if finite else 0.0,
            levels=None if counts is None else int((counts > 0).sum()),
            values=self.values,
            nan=self.nan,
            inf=self.inf,
        )

    def _kind(self, finite: int, counts: Tensor | None, dtype: torch.dtype) -> Kind:
        if finite and counts is not None:
            if self.high <= 1:
                return "binary"
            bright = int(counts[128:].sum()) >= 0.01 * finite
            if bright or (dtype == torch.uint8 and self.high >= _FEW):
                return "8-bit integers"
            top = int(self.high)
            if self.high < _FEW and int(counts[top]) >= 0.25 * finite / (top + 1):
                return "categories"
        if finite and self.whole == finite and self.low >= 0:
            return "counts"
        if finite and self.low >= 0 and self.high <= 1:
            return "unit interval"
        return "real"


def summarize(x: Tensor) -> ValueSummary:
    """Tell binary, unit-interval, 8-bit integer, count, categorical and real values apart.

    One pass over the values, in blocks; NaN and infinities are counted and left out of everything else.

    Args:
        x: any shape, any real dtype, any device.

    Returns:
        A `ValueSummary`; ``print(summarize(x))`` shows a sentence.

    Raises:
        TypeError: x is not a tensor of real numbers.

    >>> import torch
    >>> summarize(torch.tensor([0.0, 0.25, 1.0])).kind
    'unit interval'
    """
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"summarize expects a tensor, got {type(x).__name__}; write summarize(torch.as_tensor(x))")
    if x.is_complex():
        raise TypeError(f"summarize expects real values, got {x.dtype}; write summarize(torch.view_as_real(x))")
    tally = Tally()
    tally.add(x)
    return tally.summary(x.dtype)


@dataclass
class Moments:
    """Mean, standard deviation and range of each feature (vectors) or channel (images), piece by piece.

    The pieces are merged as in Chan, Golub & LeVeque 1983, eq. 2.1: no difference of large sums is taken. NaN are left
    out; a feature that is NaN throughout has mean 0.

    Attributes:
        n: number of values of each.
        empty: number of examples without any value.
    """

    n: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    low: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    high: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    empty: int = 0

    def add(self, x: NDArray[Any]) -> None:
        """Take in more examples, (n, features) or (n, channels, ...)."""
        step = max(1, _FLOATS // max(1, x[:1].size))
        with np.errstate(over="ignore"):  # what is too large is refused when all is seen
            for i in range(0, len(x), step):
                self._merge(x[i : i + step].reshape(-1, x.shape[1], int(np.prod(x.shape[2:]))))

    def _merge(self, block: NDArray[Any]) -> None:
        low, high = block.min(axis=(0, 2)), block.max(axis=(0, 2))
        values = block.astype(np.float64)
        n = np.full(block.shape[1], float(values.shape[0] * values.shape[2]))
        if np.isnan(low).any():
            missing = np.isnan(block)
            self.empty += int(missing.all(axis=(1, 2)).sum())
            low, high = np.where(missing, np.inf, block).min(axis=(0, 2)), np.where(missing, -np.inf, block).max((0, 2))
            n = (~missing).sum(axis=(0, 2), dtype=np.float64)
            mean = np.where(missing, 0.0, values).sum(axis=(0, 2)) / np.maximum(n, 1)
            values[missing] = np.broadcast_to(mean[:, None], values.shape)[missing]
        else:
            mean = values.mean(axis=(0, 2))
        squares = ((values - mean[:, None]) ** 2).sum(axis=(0, 2))
        if not self.n.size:
            self.n, self.mean, self.squares, self.low, self.high = n, mean, squares, low, high
            return
        total = np.maximum(self.n + n, 1)
        off = mean - self.mean
        self.squares = self.squares + squares + off**2 * (self.n * n / total)
        self.mean = self.mean + off * (n / total)
        self.low, self.high, self.n = np.minimum(self.low, low), np.maximum(self.high, high), self.n + n

    @property
    def constant(self) -> list[int]:
        """Features whose values are all the same, told by their range: a rounded variance need not be 0."""
        return np.flatnonzero(self.low == self.high).tolist()

    def to_dict(self) -> dict[str, list[float]] | None:
        """Mean and std of each feature or channel as stored, ready for JSON; std 0 if constant, None if unknown."""
        if not self.mean.size:
            return None
        mean, std = map(np.array, self.mean_and_std(noise=False))
        std[self.constant] = 0.0
        return {"mean": mean.tolist(), "std": std.tolist()}

    def mean_and_std(self, *, noise: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of value (+ U[0, 1) if `noise`); std is 1 where values are constant."""
        variance = self.squares / np.maximum(self.n, 1) + (1 / 12 if noise else 0.0)
        std = np.sqrt(variance)
        if not noise:
            std[(self.low == self.high) | (self.n == 0)] = 1.0
        return tuple((self.mean + (0.5 if noise else 0.0)).tolist()), tuple(std.tolist())


def survey(
    x: RowStore,
    train: NDArray[np.int64] | None = None,
    *,
    moments: bool,
    names: tuple[str, ...] | None,
    missing: Missing = None,
) -> tuple[ValueSummary, Moments]:
    """Summarize all values and, if `moments`, take mean and spread of the training rows, in one pass.

    Args:
        x: the rows.
        train: numbers of the training rows; None is all.
        moments: whether to take mean and spread, which stay empty otherwise.
        names: of the columns, for the message.
        missing: whether NaN are allowed, which then count as not observed.

    Raises:
        ValueError: a value is infinite, or NaN where that is not allowed.
    """
    tally, taken, first = Tally(), Moments(), ""
    member = None if train is None or not moments else mask(len(x), train)
    for start, values in x.pieces():
        tally.add(as_tensor(values))
        if tally.inf or (tally.nan and missing is None):
            first = first or _first_broken(values, names, start, missing)
        elif moments:
            taken.add(values if member is None else values[member[start : start + len(values)]])
    summary = tally.summary(as_tensor(np.empty(0, dtype=x.dtype)).dtype)
    if first:
        if missing is not None:
            raise ValueError(
                f"the data must hold finite numbers, or NaN where none was observed, got {summary.inf:,} infinite "
                f"values, the first {first}; drop those examples, or make them NaN"
            )
        drop = advice(": x = x[np.isfinite(x.reshape(len(x), -1)).all(axis=1)]", " from the file")
        fill = advice(": x = np.where(np.isfinite(x), x, np.nanmedian(x, axis=0))", "")
        raise ValueError(
            f"the data must hold finite numbers, got {summary.nan:,} NaN and {summary.inf:,} infinite values among "
            f"{summary.values:,}, the first {first}; drop those examples{drop}, or fill them in{fill}"
            f"{KEEP if not summary.inf else ''}"
        )
    return summary, taken


def differ_in_scale(std: NDArray[np.float64], span: NDArray[np.float64]) -> bool:
    """Whether features that vary differ in scale so much that the largest one hides the smallest.

    By their ranges too: a pixel that is seldom on has a small deviation, and the range of the others.

    Args:
        std: (features,) standard deviations.
        span: (features,) ranges.
    """
    small, large = int(std.argmin()), int(std.argmax())
    return bool(std[large] > _UNEVEN * std[small] and span[large] > _UNEVEN * span[small])


def _first_broken(x: NDArray[Any], names: tuple[str, ...] | None, start: int, missing: Missing) -> str:
    for i in range(0, len(x), 1024):
        some = x[i : i + 1024]
        bad = np.argwhere(~np.isfinite(some) if missing is None else np.isinf(some))
        if len(bad):
            row, *place = bad[0].tolist()
            column = f"column {names[place[0]]!r}" if names else f"position {tuple(place)}"
            return f"in example {start + i + row}, {column}"
    return ""
