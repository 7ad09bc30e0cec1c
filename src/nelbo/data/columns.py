"""What the columns of a table are: numbers, row numbers, labels, or what cannot be computed with as it stands."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.delimited import is_number
from nelbo.data.summary import Missing
from nelbo.registry import did_you_mean
from nelbo.wording import SHOWN, advice, listed

CELLS = 10_000  # looked at to tell what a column holds
_ROWS = 20  # below this, any column is distinct numbers in order
_CATEGORIES = 50
_NUMBER = r"[-+]?(?:\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?"
_DATE = r"\d{4}-\d\d?-\d\d?|\d{1,2}\.\d{1,2}\.\d{2,4}|\d{1,2}/\d{1,2}/\d{2,4}|\d{4}/\d{1,2}/\d{1,2}"
_AMOUNT = re.compile(r"(?<!\d)[1-9]\d{0,2}(\.\d{3})+\D*$")  # no price has three decimals
_PADDED = re.compile(r"0\d+")
_ID = re.compile(r"(?i:id|uuid|guid|uid|key|(row_?)?(index|number|nr)|.*[ _.-](id|uuid|guid|key))|.*[a-z]I[dD]")
_UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")


@dataclass(frozen=True)
class TextKind:
    """A kind of text that stands for something else.

    Args:
        name: in the plural.
        pattern: of a cell.
        mend: the line of pandas that turns the column into numbers, with {column} for its name, and {plain} for what
            turns the texts of its numbers into those that Python reads.
    """

    name: str
    pattern: re.Pattern[str]
    mend: str = ""


_THOUSANDS = "numbers with thousands separators"
_AGAIN = "pd.read_csv(path, sep=..., thousands={}, decimal={}).to_csv('plain.csv', index=False)"
_WITH_POINTS = "the table again in pandas: " + _AGAIN.format("'.'", "','")
_DIGITS = "table[{column}] = table[{column}].str.replace(r'[^\\d.,+-]', '', regex=True){plain}.astype(float)"
_COMMAS = re.compile(r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?")
_POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")
_KINDS = (
    TextKind(
        _THOUSANDS,
        re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"),
        f"the table again in pandas: {_AGAIN.format('...', '...')}, which says what they are",
    ),
    TextKind(
        "numbers with decimal commas", _COMMAS, "table[{column}] = table[{column}].str.replace(',', '.').astype(float)"
    ),
    # a column without separators has been told already
    TextKind(_THOUSANDS, re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?"), _WITH_POINTS),
    TextKind(_THOUSANDS, re.compile(r"[-+]?(?:\d{1,3}(?:['’ \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?"), _DIGITS),
    TextKind("percentages", re.compile(rf"{_NUMBER}\s*%"), f"{_DIGITS} / 100"),
    TextKind("amounts of money", re.compile(rf"[$€£¥]\s*{_NUMBER}|{_NUMBER}\s*(?:[$€£¥]|EUR|USD|CHF|GBP)"), _DIGITS),
    TextKind("dates", re.compile(rf"(?:{_DATE})(?:[ T]\d{{1,2}}:\d\d.*)?")),
)
_DATES = "table[{column}] = (pd.to_datetime(table[{column}]) - pd.Timestamp('2000-01-01')).dt.days"


def choose(
    schema: Any,
    file: str,
    values: Callable[[str], list[Any]],
    *,
    label: str | None,
    columns: Sequence[str] | None,
    missing: Missing,
) -> tuple[tuple[str, ...], np.dtype[Any], list[str]]:
    """The columns that are features, a type that holds them all, and notes on what was left out.

    Args:
        schema: of the table, as arrow has it.
        file: its name, for messages.
        values: gives cells of a column, to say what it holds.
        label: the column that holds labels, or None.
        columns: the features, or None for all columns but labels and row indices.
        missing: what an empty cell means.

    Raises:
        ValueError: a column is missing, double, or does not hold numbers.
    """
    index = [] if columns is not None else [n for n in row_indices(schema) if n != label]
    present = [n for n in schema.names if n not in index]
    wanted = [n for n in present if n != label] if columns is None else list(columns)
    check_names(schema, file, wanted, label=label, present=present)
    empty = [] if missing is None else [n for n in wanted if str(schema.field(n).type) == "null"]
    bad = [n for n in wanted if not is_numeric(schema.field(n).type) and n not in empty]
    if bad:
        raise ValueError(_refusal(schema, file, bad, [n for n in wanted if n not in bad], values))
    types = [dtype_of(schema.field(n).type) for n in wanted if n not in empty]
    if missing is not None:
        types.append(np.dtype(np.float32))  # integers know no NaN
    return tuple(wanted), np.result_type(*types), on_indices(index)


def check_names(schema: Any, file: str, wanted: Sequence[str], *, label: str | None, present: Sequence[str]) -> None:
    """Raise a ValueError where columns are missing or double, or none is left to be a feature.

    Args:
        schema: of the table, as arrow has it.
        file: its name, for messages.
        wanted: the features.
        label: the column that holds labels, or None.
        present: the columns that may be features or the label.
    """
    known = set(schema.names)
    if len(set(present)) < len(present):
        twice = next(n for n in present if present.count(n) > 1)
        raise ValueError(f"{file} must have columns of different names, got {twice!r} more than once")
    for name in (*wanted, *([label] if label is not None else [])):
        if name not in known:
            raise ValueError(
                f"{file} has no column {name!r}{did_you_mean(name, schema.names)} It has {listed(schema.names)}"
            )
    if label in wanted:
        raise ValueError(
            f"column {label!r} is both label= and in columns=, which would tell the model the answer; if it is to be "
            f"modelled too, write types={{{label!r}: 'categorical'}}"
        )
    if not wanted:
        raise ValueError(f"{file} has no column left to be a feature; it has {listed(schema.names)}")


def row_indices(schema: Any) -> list[str]:
    """The columns that number or name the rows: by the record that pandas leaves, or a first one without a name."""
    recorded: list[Any] = []
    if b"pandas" in (schema.metadata or {}):
        try:
            recorded = json.loads(schema.metadata[b"pandas"]).get("index_columns", [])
        except (ValueError, AttributeError):
            recorded = []
    names = schema.names
    unnamed = names[:1] if names and _UNNAMED.fullmatch(names[0]) else []
    empty = [n for n in names if not n and str(schema.field(names.index(n)).type) == "null"]  # of a comma at the end
    return list(dict.fromkeys([*unnamed, *empty, *(n for n in recorded if isinstance(n, str) and n in names)]))


def on_indices(index: Sequence[str]) -> list[str]:
    """A note on the columns that number or name the rows, which are left out."""
    if not index:
        return []
    what = "a column without a name" if index[0] == "" else listed(index)
    return [f"left out as the number or name of a row: {what}; columns=[...] would take it"]


def is_numeric(kind: Any) -> bool:
    """Whether a type of arrow's is one of numbers or truth values."""
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def is_whole(kind: Any) -> bool:
    """Whether a type of arrow's is one of whole numbers."""
    from pyarrow import types

    return types.is_integer(kind)


def is_text(kind: Any) -> bool:
    """Whether a type of arrow's is one of text, encoded as categories or not."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def dtype_of(kind: Any) -> np.dtype[Any]:
    """The type of numpy's that holds a type of arrow's."""
    from pyarrow import types

    if types.is_decimal(kind):
        return np.dtype(np.float64)
    dtype = np.dtype(kind.to_pandas_dtype())
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def values_of(column: Any) -> NDArray[Any]:
    """A column of arrow's as its ``to_numpy`` gives it: where a cell is empty, NaN among numbers, else None.

    That imports pandas wherever it is installed, which takes most of a second; numbers need none of it.
    """
    import pyarrow as pa
    from pyarrow import compute, types

    pc: Any = compute
    kind, truth = column.type, types.is_boolean(column.type)
    plain = types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    if not plain and not (truth and not column.null_count):
        return column.to_numpy(zero_copy_only=False)
    if column.null_count:
        there = values_of(column.drop_null())
        found = np.full(len(column), math.nan, there.dtype if there.dtype.kind == "f" else np.float64)
        found[values_of(column.is_valid())] = there
        return found
    column = pc.cast(column, pa.uint8()) if truth else column
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [np.from_dlpack(part) for part in parts]
    found = arrays[0] if len(arrays) == 1 else np.concatenate(arrays or [np.empty(0, column.type.to_pandas_dtype())])
    return found.view(np.bool_) if truth else found


def _refusal(
    schema: Any, file: str, bad: Sequence[str], kept: Sequence[str], values: Callable[[str], list[Any]]
) -> str:
    """What is wrong with columns that do not hold numbers, and what to do about the first."""
    first = bad[0]
    kind = schema.field(first).type
    what, mend = of_other_values(first, kind, values(first))
    leave = f"{as_columns(kept)} to leave it out"
    others = f"; likewise {listed(bad[1:])}" if len(bad) > 1 else ""
    return (
        f"column {first!r} of {file} must hold numbers, got {kind}{what}; write {mend}, or {leave}{others}. Or write "
        "columns='all', which takes a mixed table as it is"
    )


def as_columns(names: Sequence[str]) -> str:
    """The option that takes these columns, as it is written; the first ones, where they are many.

    >>> as_columns(["a", "b"])
    "columns=['a', 'b']"
    """
    shown = ", ".join([*map(repr, names[:SHOWN]), *(["..."] if len(names) > SHOWN or not names else [])])
    return f"columns=[{shown}]"


def of_other_values(name: str, kind: Any, values: Sequence[Any]) -> tuple[str, str]:
    """What a column that is not of numbers holds, and what to write to train on it."""
    from pyarrow import types

    column = repr(name)
    if types.is_null(kind):
        return ", for all its cells are empty", "values into it"
    if types.is_date(kind) or types.is_timestamp(kind):
        return f": dates{_such_as(values)}", _DATES.format(column=column)
    if types.is_time(kind):
        return f": times{_such_as(values)}", f"table[{column}] = pd.to_timedelta(table[{column}]).dt.total_seconds()"
    if not is_text(kind):
        return _such_as(values), "numbers in its place"
    cells = [v.strip() for v in values[:CELLS] if isinstance(v, str) and v.strip()]
    words = [v for v in cells if not is_number(v)]
    encode = f"label={column} if it names the class of a row, or encode it as numbers first"
    if not words:
        return _of_numbers_as_text(cells, encode)
    for text in _KINDS:
        if all(text.pattern.fullmatch(v) for v in words):
            mend = text.mend or _DATES
            return f": {text.name}{_such_as(words)}", mend.format(column=column, plain=_plain(words))
    stray = [v for v in words if not _COMMAS.fullmatch(v)]
    if len(stray) < 0.5 * len(cells):
        plain = ".str.replace(',', '.')" * (len(stray) < len(words))
        empty = f"table[{column}] = pd.to_numeric(table[{column}]{plain}, errors='coerce')"
        observed = advice("missing='observed'", "--missing observed")
        return f", such as {stray[0]!r} among numbers", f"{empty}, which empties those cells, and {observed}"
    distinct = len(set(words))
    if distinct > max(_CATEGORIES, 0.5 * len(words)):
        what = "free text" if sum(" " in v for v in words) > 0.5 * len(words) else "names or ids"
        return f": {what}{_such_as(words)}", "numbers in its place"
    return f": text{_such_as(words)}", encode


def _of_numbers_as_text(cells: Sequence[str], encode: str) -> tuple[str, str]:
    """What a column of texts holds that are numbers to Python, and what to write."""
    if padded := [v for v in cells if _PADDED.fullmatch(v)]:
        line = "pd.read_csv(path, sep=...).to_csv('plain.csv', index=False)"
        return (
            f": text with leading zeros{_such_as(padded)}",
            f"the table again in pandas: {line}, which drops them",
        )
    points = [v for v in cells if "." in v]
    if points and all(_POINTS.fullmatch(v) for v in points):  # in a table with decimal commas
        return f": {_THOUSANDS}{_such_as(points)}", _WITH_POINTS
    return "", encode


def _plain(words: Sequence[str]) -> str:
    """What pandas does to digits with points and commas to make them numbers; some tell which of the two is which."""
    commas = [v for v in words if re.search(r",(\d{1,2}|\d{4,})\D*$|[.'’ \u00a0\u202f]\d{3},\d+\D*$", v)]
    points = [v for v in words if "." in v]
    if commas or (points and not any("%" in v or "," in v for v in words) and all(_AMOUNT.search(v) for v in points)):
        return ".str.replace('.', '').str.replace(',', '.')"
    return ".str.replace(',', '')" * any("," in v for v in words)


def _such_as(values: Sequence[Any]) -> str:
    first = next((str(v) for v in values if v is not None), None)
    return "" if first is None else f" such as {first[:60]!r}"


def on_row_numbers(names: Sequence[str], x: NDArray[Any]) -> list[str]:
    """A note on columns of distinct whole numbers, in order or under the name of an id, which number the rows.

    Args:
        names: of the columns.
        x: (n, columns) their values, or those of the first rows.
    """
    found = [name for j, name in enumerate(names) if _numbers_rows(name, x[:, j])]
    if not found:
        return []
    holds = "hold" if len(found) > 1 else "holds"
    return [
        f"{listed(found)} {holds} a different whole number in each row, as an id or a row number does; columns=[...] "
        "without it leaves it out"
    ]


def _numbers_rows(name: str, x: NDArray[Any]) -> bool:
    any_order = _ID.fullmatch(name) is not None
    return len(x) >= _ROWS and all(_distinct(part, any_order=any_order) for part in (x[: 10 * _ROWS], x))


def _distinct(x: NDArray[Any], *, any_order: bool) -> bool:
    if not (np.isfinite(x).all() and (x == np.trunc(x)).all()):
        return False
    return len(np.unique(x)) == len(x) if any_order else bool((x[1:] > x[:-1]).all())
