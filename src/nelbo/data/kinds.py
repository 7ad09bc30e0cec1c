"""What the columns of a mixed table are: real numbers, counts, categories and others, told from their values."""

import math
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from nelbo.data.columns import (
    CELLS,
    dtype_of,
    is_numeric,
    is_text,
    is_whole,
    of_other_values,
    on_row_numbers,
    values_of,
)
from nelbo.data.delimited import NOTHING, words_of
from nelbo.data.source import RefusedError
from nelbo.data.summary import Missing, summarize
from nelbo.registry import check_choice, did_you_mean
from nelbo.wording import advice, listed

KindName = Literal["real", "positive", "bounded", "count", "binary", "categorical"]

_FEW = 50  # different texts that always are categories
_MANY, _OFTEN = 1000, 20  # those that are where each is so frequent, and how often that is
_FEW_NUMBERS = 20  # different whole numbers that may be categories
_COUNTED = 20.0  # the mean of counts, at most: beyond, whole numbers are taken as real ones
_SKEWED = 1.5  # skewness from which on positive numbers are taken by their logarithms
_DECIMALS = 6  # of numbers, at most: those with more are taken as they come


@dataclass(frozen=True)
class ColumnKind:
    """What a column of a mixed table is.

    Attributes:
        kind: real, positive, bounded (between two ends that it may reach), count, binary or categorical.
        categories: what the numbers 0, 1, ... stand for, of a column of categories, in the order of their values.
        low: the smallest number.
        high: the largest number.
        whole: whether all numbers are whole; not of a column of true and false.
        missing: share of cells without a value.
        decimals: the most that a number has behind its point; None where they are too many to be meant.
        words: for false and true in a text file, of a column of them.
    """

    kind: KindName
    categories: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    missing: float = 0.0
    decimals: int | None = None
    words: tuple[str, str] | None = None

    @property
    def family(self) -> str:
        """The likelihood of the column, as nelbo.likelihoods.named takes it."""
        return {
            "real": "normal",
            "positive": "log_normal",
            "bounded": "truncated_normal",
            "count": "negative_binomial",
            "binary": "bernoulli",
            "categorical": f"categorical:{len(self.categories)}",
        }[self.kind]

    @property
    def is_density(self) -> bool:
        """Whether its log-probability is that of a density, which depends on the unit, and not of a probability."""
        return self.kind in ("real", "positive", "bounded")

    @property
    def treatment(self) -> str:
        """What `shift_and_scale` does to the column, in words."""
        scaled = {"real": "standardized", "positive": "divided by the mean", "bounded": "scaled to [0, 1]"}
        return scaled.get(self.kind, "as they are")

    def shift_and_scale(self, mean: float, std: float) -> tuple[float, float]:
        """What is subtracted from the column and what it is divided by, from its mean and standard deviation."""
        if self.kind == "real":
            return mean, std
        if self.kind == "positive":
            return 0.0, mean
        return (self.low, self.high - self.low) if self.kind == "bounded" else (0.0, 1.0)

    def coded(self, column: Any, name: str, file: str, missing: Missing) -> NDArray[np.float64]:
        """The numbers of a column of arrow's, (rows,), NaN where a cell has no value.

        Raises:
            RefusedError: a category that was not there before, unless missing values are taken: then it counts as one,
                and a warning names it.
        """
        import pyarrow as pa
        from pyarrow import compute

        pc: Any = compute  # whose functions are made when it is imported

        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        cells = without_empty(column)
        if self.kind != "categorical":
            if is_text(cells.type):
                raise RefusedError(f"column {name!r} of {file} must hold numbers, got {cells.type}")
            return _floats(cells)
        texts = isinstance(self.categories[0], str)
        try:
            cells = pc.cast(cells, pa.string() if texts else pa.float64())
        except pa.ArrowInvalid as error:
            raise RefusedError(
                f"column {name!r} of {file} must hold one of {listed(list(map(str, self.categories)))}: {error}"
            ) from error
        codes = pc.index_in(cells, value_set=pa.array(list(self.categories), type=cells.type))
        new = pc.and_(pc.is_valid(cells), pc.is_null(codes))
        if pc.any(new).as_py():
            unseen = listed([str(v) for v in pc.unique(cells.filter(new)).to_pylist()])
            rows, known = pc.sum(new).as_py(), listed(list(map(str, self.categories)))
            what = f"column {name!r} of {file} holds {unseen} in {rows:,} rows, and the run was trained on {known}"
            if missing is None:
                raise RefusedError(
                    f"{what}; leave out those rows, or train on a table that has them. A model that takes missing "
                    "values would take them as not observed"
                )
            warnings.warn(f"{what}: taken as not observed", stacklevel=2)
        return _floats(codes)

    def decoded(
        self, values: NDArray[Any], *, means: bool = False, kept: NDArray[np.bool_] | None = None
    ) -> NDArray[Any]:
        """The column in its own categories, type, range and decimals, from numbers in its unit.

        Args:
            values: (rows,), NaN where a cell has no value.
            means: whether they are means of p(x|z): those of counts have fractions, and those of true and false, as
                of categories, become the more probable one.
            kept: (rows,) where values are cells of a table, which stay as they are.
        """
        empty = np.isnan(values)
        if self.kind == "categorical":
            places = np.rint(np.where(empty, 0, values)).astype(np.int64)
            found = np.array(self.categories, dtype=object)[places]
            if isinstance(self.categories[0], str):
                found[empty] = None
                return found
            values = np.where(empty, np.nan, found.astype(np.float64))
        elif self.kind == "binary":
            if not self.whole:
                found = (values >= 0.5).astype(object if empty.any() else bool)
                found[empty] = None
                return found
            values = np.where(empty, np.nan, values >= 0.5)
        else:
            rounded = np.clip(values, self.low, self.high)
            decimals = 0 if self.whole else self.decimals
            if decimals is not None and not (means and self.kind == "count"):
                rounded = rounded.round(decimals)
            values = rounded if kept is None else np.where(kept, values, rounded)
        whole = self.whole and not empty.any() and bool((values == np.rint(values)).all())
        return values.astype(np.int64) if whole else values

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self) | {"categories": list(self.categories)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The kind that `to_dict` wrote."""
        words = saved.get("words")
        values: dict[str, Any] = {**saved, "categories": tuple(saved["categories"]), "words": words and tuple(words)}
        return cls(**values)

    def __str__(self) -> str:
        if self.kind == "categorical":
            return f"categorical ({listed(list(map(str, self.categories)))})"
        return f"{self.kind}, {self.low:g} to {self.high:g}" + (", whole numbers" if self.whole else "")


def treatments(kinds: Iterable[ColumnKind]) -> str:
    """What is done to the columns of a mixed table, in one sentence."""
    found: dict[str, dict[str, None]] = {}
    for kind in kinds:
        found.setdefault(kind.treatment, {})[kind.kind] = None
    parts = [f"{', '.join(of)} ones {what}" for what, of in found.items()]
    return f"Each column by itself: {'; '.join(parts)}."


def kinds_of(
    schema: Any,
    names: Sequence[str],
    column: Callable[[str], Any],
    file: str,
    *,
    given: Mapping[str, Any],
    all_of_them: bool,
) -> tuple[dict[str, ColumnKind], list[str]]:
    """What each column is, and notes on those that are left out.

    Args:
        schema: of the table, as arrow has it.
        names: of the columns that may be features.
        column: gives a whole column by its name.
        file: the table's name, for messages.
        given: kinds that the user chose by name, or that are known of an earlier table.
        all_of_them: whether columns without information, dates, texts and ids are left out; else they are an error.

    Raises:
        ValueError: a column cannot be of the kind that was chosen, is not there, or is none to learn from.
    """
    for name, kind in given.items():
        if name not in schema.names:
            raise ValueError(f"types= names {name!r}, and {file} has no such column{did_you_mean(name, schema.names)}")
        if not isinstance(kind, ColumnKind):
            check_choice(f"types[{name!r}]", kind, get_args(KindName))
    kinds: dict[str, ColumnKind] = {}
    left: list[str] = []
    for name in names:
        chosen = given.get(name)
        found = (
            chosen if isinstance(chosen, ColumnKind) else _kind_of(name, column(name), chosen, words_of(schema, name))
        )
        if isinstance(found, ColumnKind):
            kinds[name] = found
        elif all_of_them and chosen is None:
            left.append(f"{name!r} ({found})")
        else:
            raise ValueError(
                f"column {name!r} of {file} cannot be a feature: {found}; leave it out of columns= and types="
            )
    if not kinds:
        raise ValueError(f"{file} has no column to learn from; left out: {'; '.join(left)}")
    return kinds, [f"left out: {'; '.join(left)}"] if left else []


def _kind_of(name: str, column: Any, chosen: KindName | None, words: tuple[str, str] | None = None) -> ColumnKind | str:
    """What a column is, or why it is none to learn from."""
    from pyarrow import compute

    pc: Any = compute
    cells = without_empty(column)
    missing = cells.null_count / max(1, len(cells))
    if cells.null_count == len(cells):
        return "no cell has a value"
    if is_text(cells.type):
        counted = {str(e["values"]): e["counts"] for e in pc.value_counts(cells).to_pylist() if e["values"] is not None}
        if chosen not in (None, "categorical"):
            return f"text, which cannot be {chosen}"
        if chosen is None and (why := _no_categories(name, cells, counted)):
            return why
        return ColumnKind("categorical", tuple(sorted(counted)), missing=missing, high=len(counted) - 1.0)
    if not is_numeric(cells.type):
        what, mend = of_other_values(name, cells.type, cells.slice(0, CELLS).to_pylist())
        return "; ".join(filter(None, [what.lstrip(":, ") or str(cells.type), _to_numbers(mend)]))
    numbers = _floats(cells)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return "no cell has a value"
    if not np.isfinite(numbers).all():
        return "infinite values"
    levels, times = np.unique(numbers, return_counts=True)
    if len(levels) == 1 and chosen is None:
        return f"constant, {levels[0]:g}"
    if chosen is None and not missing and on_row_numbers([name], numbers[:, None]) and is_whole(cells.type):
        return "a different whole number in each row, as an id or a row number"
    whole = bool((numbers == np.trunc(numbers)).all())
    kind = chosen or _of_numbers(numbers, levels, times, whole=whole)
    boolean = str(cells.type) == "bool"
    low, high = float(levels[0]), float(levels[-1])
    wrong = {
        "binary": low < 0 or high > 1 or not whole,
        "count": low < 0 or not whole,
        "positive": low <= 0,
        "bounded": low == high,
    }
    if wrong.get(kind):
        return f"numbers from {low:g} to {high:g}, which cannot be {kind}"
    if kind == "bounded" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    categories = tuple(int(v) if whole else float(v) for v in levels) if kind == "categorical" else ()
    decimals = None if whole else _decimals(numbers, dtype_of(cells.type))
    return ColumnKind(kind, categories, low, high, whole and not boolean, missing, decimals, words)


def _decimals(numbers: NDArray[np.float64], dtype: np.dtype[Any]) -> int | None:
    """The most digits behind the point that numbers were written with; None where they are more than are written."""
    for decimals in range(1, _DECIMALS + 1):
        if all((part.round(decimals).astype(dtype) == part).all() for part in (numbers[:CELLS], numbers)):
            return decimals
    return None


def _of_numbers(
    numbers: NDArray[np.float64], levels: NDArray[np.float64], times: NDArray[np.int64], *, whole: bool
) -> KindName:
    low, high = levels[0], levels[-1]
    if whole:
        if low == 0 and high == 1:
            return "binary"
        # counts begin at 0 or 1, and leave out few of the numbers up to the largest
        codes = low > 1 or low < 0 or len(levels) < 0.5 * (high - low + 1)
        few = len(levels) <= _FEW_NUMBERS and len(numbers) >= _OFTEN * len(levels) and times.min() >= 2
        if few and (codes or summarize(torch.from_numpy(numbers)).kind == "categories"):
            return "categorical"
        if low >= 0 and (low <= 1 or len(levels) < _FEW_NUMBERS) and numbers.mean() <= _COUNTED:
            return "count"
    elif low >= 0 and high <= 1:
        return "bounded"
    if low > 0:
        off = numbers - numbers.mean()
        spread = math.sqrt(float((off**2).mean()))
        if spread > 0 and float((off**3).mean()) / spread**3 > _SKEWED:
            return "positive"
    return "real"


def _no_categories(name: str, cells: Any, counted: Mapping[str, int]) -> str:
    """Why texts are no categories; empty where they are."""
    n, different = sum(counted.values()), len(counted)
    words = [v for v in cells.slice(0, CELLS).to_pylist() if v is not None]
    what, mend = of_other_values(name, cells.type, words)
    what, takes = what.lstrip(":, "), "; ".join(filter(None, [_to_numbers(mend), _as_categories(name)]))
    if what and not what.startswith("text"):  # dates, percentages, a stray text among numbers, names, ids
        return f"{what}; {takes}"
    if different == 1:
        return f"constant, {next(iter(counted))!r}"
    if different > max(2, n / 2) or (different > _FEW and (different > _MANY or n < _OFTEN * different)):
        return f"{different:,} different texts in {n:,} rows; {takes}"
    return ""


def _to_numbers(mend: str) -> str:
    """What `of_other_values` says to write, where that is a line of pandas."""
    return f"to take it as numbers, write {mend}" if "table[" in mend or "pd." in mend else ""


def _as_categories(name: str) -> str:
    shell = f"--types {shlex.quote(f'{name}=categorical')}"
    return advice(f"types={{{name!r}: 'categorical'}}", shell) + " takes it as categories"


def without_empty(column: Any) -> Any:
    """A column of arrow's as one array, texts stripped, and null where a cell has no value."""
    import pyarrow as pa
    from pyarrow import compute

    pc: Any = compute

    cells = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not is_text(cells.type):
        return cells
    cells = pc.utf8_trim_whitespace(pc.cast(cells, pa.string()))
    return pc.if_else(pc.is_in(cells, value_set=pa.array(NOTHING)), pa.scalar(None, pa.string()), cells)


def _floats(cells: Any) -> NDArray[np.float64]:
    import pyarrow as pa
    from pyarrow import compute

    pc: Any = compute

    values = (
        pc.cast(cells, pa.float64(), safe=False)
        if not pa.types.is_null(cells.type)
        else pa.nulls(len(cells), pa.float64())
    )
    return values_of(values).astype(np.float64)
