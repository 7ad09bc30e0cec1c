"""Tables: the numeric columns of a .csv or .parquet file become features, one column may hold labels."""

import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.memory import stays_on_disk
from nelbo.data.row_files import ParquetRows
from nelbo.data.source import Source, sha256_of_file

_READ_AT_A_TIME = 1 << 16  # bytes of a column
_SHOWN = 8  # names in a message


def read_csv(path: Path, *, label: str | None, columns: Sequence[str] | None) -> Source:
    """The numeric columns of a .csv file.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; or the file is no table.
    """
    pa, csv = _pyarrow("csv")
    try:
        table = csv.read_csv(path)
        notes: list[str] = []
        if all(_is_number(name) for name in table.column_names):
            table = csv.read_csv(path, read_options=csv.ReadOptions(autogenerate_column_names=True))
            notes.append("the first line holds numbers, so it is data; columns are named f0, f1, ...")
    except (pa.ArrowInvalid, pa.ArrowKeyError) as e:
        raise ValueError(
            f"{path.name} cannot be read as a table: {e}. Expected lines of equal length, separated by commas."
        ) from e
    if not table.num_rows:
        raise ValueError(f"{path.name} is empty: it has names of columns, but no line below them.")
    names, dtype = choose(table.schema, path.name, label=label, columns=columns, table=table)
    y = None if label is None else _labels(table, label, path.name)
    x = as_matrix(table, names, dtype, path.name)
    return Source(x, sha256_of_file(path), y=y, features=names, notes=notes)


def read_parquet(
    path: Path, *, label: str | None, columns: Sequence[str] | None, on_disk: bool | None, piece_bytes: int
) -> Source:
    """The numeric columns of a .parquet file, in memory or left on disk; None decides by what they take.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; or the file is no table.
    """
    file = open_parquet(path)
    names, dtype = choose(file.schema_arrow, path.name, label=label, columns=columns)
    y = None if label is None else _labels(file.read(columns=[label]), label, path.name)
    if stays_on_disk(file.metadata.num_rows * len(names) * dtype.itemsize, on_disk):
        x: Any = ParquetRows(file, path, names=names, dtype=dtype, piece_bytes=piece_bytes)
    else:
        # by row groups: the whole table beside the whole matrix would take three times the memory
        rows = ParquetRows(file, path, names=names, dtype=dtype, piece_bytes=None)
        x = np.empty((len(rows), *rows.shape), dtype=dtype)
        for i, (start, stop) in enumerate(itertools.pairwise(rows.edges.tolist())):
            rows.read(i, out=x[start:stop])
    return Source(x, sha256_of_file(path), y=y, features=names)


def open_parquet(path: Path) -> Any:
    """The open file, its values unread."""
    pa, parquet = _pyarrow("parquet")
    try:
        # without buffer_size, a whole row group is read before its first row is decoded
        return parquet.ParquetFile(path, buffer_size=_READ_AT_A_TIME)
    except (pa.ArrowInvalid, pa.ArrowException) as e:
        raise ValueError(f"{path.name} cannot be read as a .parquet file: {e}. It may be cut short.") from e


def choose(
    schema: Any,
    file: str,
    *,
    label: str | None,
    columns: Sequence[str] | None,
    table: Any = None,
) -> tuple[tuple[str, ...], np.dtype[Any]]:
    """The columns that are features, and a type that holds them all.

    Raises:
        ValueError: a column is missing or not numeric.
    """
    present = schema.names
    if len(set(present)) < len(present):
        twice = sorted({n for n in present if present.count(n) > 1})
        raise ValueError(f"{file} has several columns of the name {twice[0]!r}; expected different names.")
    wanted = [n for n in present if n != label] if columns is None else list(columns)
    for name in (*wanted, *([label] if label is not None else [])):
        if name not in present:
            near = difflib.get_close_matches(name, present, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{file} has no column {name!r}; it has {_listed(present)}.{hint}")
    if label in wanted:
        raise ValueError(f"column {label!r} is both label= and in columns=; it would tell the model the answer.")
    if not wanted:
        raise ValueError(f"{file} has no column left to be a feature; it has {_listed(present)}.")
    bad = [n for n in wanted if not _numeric(schema.field(n).type)]
    if bad:
        kept = [n for n in wanted if n not in bad]
        example = "" if table is None else _first_text(table, bad[0])
        line = f"columns={kept[:_SHOWN]}".replace("]", ", ...]" if len(kept) > _SHOWN else "]")
        raise ValueError(
            f"column {bad[0]!r} of {file} holds {schema.field(bad[0]).type}{example}, not numbers. Write "
            f"label={bad[0]!r} if it names the class of a row, or {line} to leave it out, or encode it as "
            "numbers first."
        )
    types = [np.dtype(schema.field(n).type.to_pandas_dtype()) for n in wanted]
    types = [np.dtype(np.uint8) if t.kind == "b" else t for t in types]
    return tuple(wanted), np.result_type(*types)


def as_matrix(table: Any, names: tuple[str, ...], dtype: np.dtype[Any], file: str) -> NDArray[Any]:
    """The columns side by side, (rows, len(names))."""
    out = np.empty((table.num_rows, len(names)), dtype=dtype)
    fill_matrix(out, table, names, file)
    return out


def fill_matrix(
    out: NDArray[Any],
    table: Any,
    names: tuple[str, ...],
    file: str,
    *,
    keep: NDArray[np.bool_] | None = None,
) -> None:
    """Write the columns side by side to out: (rows, len(names)), only the rows that `keep` says.

    Raises:
        ValueError: a cell is empty.
    """
    for j, name in enumerate(names):
        column = table.column(name)
        if column.null_count:
            raise ValueError(
                f"column {name!r} of {file} has {column.null_count:,} empty cells; expected a number in "
                "each. Drop those rows (table.drop_null()), fill them in first, or leave the column out "
                "with columns=[...]."
            )
        values = column.to_numpy(zero_copy_only=False)
        out[:, j] = values if keep is None else values[keep]


def _labels(table: Any, label: str, file: str) -> NDArray[Any]:
    if label not in table.column_names:
        near = difflib.get_close_matches(label, table.column_names, n=1)
        raise ValueError(f"{file} has no column {label!r}" + (f"; did you mean label={near[0]!r}?" if near else "."))
    column = table.column(label)
    if column.null_count:
        raise ValueError(f"the label column {label!r} of {file} has {column.null_count:,} empty cells.")
    return column.to_numpy()


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _first_text(table: Any, name: str) -> str:
    import pyarrow as pa

    if not (pa.types.is_string(table.schema.field(name).type)):
        return ""
    for value in table.column(name).to_pylist()[:10_000]:
        if value is not None and not _is_number(value):
            return f" such as {value!r}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _pyarrow(module: str) -> tuple[Any, Any]:
    try:
        from importlib import import_module

        return import_module("pyarrow"), import_module(f"pyarrow.{module}")
    except ImportError as e:
        raise ImportError("tables are read by the package pyarrow. Run: pip install 'nelbo[tables]'") from e
