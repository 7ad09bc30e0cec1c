"""Tables: the numeric columns of a .csv or .parquet file become features, one column may hold labels."""

import itertools
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.on_disk import piece_bytes
from nelbo.data.rows import Layout, RowFile
from nelbo.data.sizes import check_fits, show_size, stays_on_disk
from nelbo.data.source import RefusedError, Source, reader, reading, sha256_of_file
from nelbo.data.summary import KEEP, Missing
from nelbo.registry import did_you_mean
from nelbo.wording import SHOWN, advice, listed

_READ_AT_A_TIME = 1 << 16  # bytes of a column
_BYTES_A_COLUMN_CHUNK = 2048  # of metadata, as arrow holds it: measured
_BLOCK, _LONGEST_LINE = 1 << 20, 1 << 28  # bytes of a .csv file
_SPLIT = 24  # bytes a row for the split of a set that stays on disk
_DECODED = 1 << 20  # bytes of a table in arrow's form at a time
_PIECES_IN_A_ROW_GROUP = 6  # row groups are as large as their writer made them; larger pieces mix less


@reader(".csv")
def read_csv(
    path: Path, *, label: str | None = None, columns: Sequence[str] | None = None, missing: Missing = None
) -> Source:
    """Read the numeric columns of a .csv file.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; or the file is not a table.
    """
    from pyarrow import csv

    notes: list[str] = []
    with path.open("rb") as file:
        block = max(_BLOCK, 4 * len(file.readline(_LONGEST_LINE)))  # arrow wants whole lines in a block
    with reading(path.name, "a table", "Expected lines of equal length, separated by commas"):
        table = csv.read_csv(path, read_options=csv.ReadOptions(block_size=block))
        if all(_is_number(name) for name in table.column_names):
            options = csv.ReadOptions(block_size=block, autogenerate_column_names=True)
            table = csv.read_csv(path, read_options=options)
            notes.append("the first line holds numbers, so it is data; columns are named f0, f1, ...")
    if not table.num_rows:
        raise ValueError(f"{path.name} is empty: it has names of columns, but no line below them")
    names, dtype = _choose(table.schema, path.name, label=label, columns=columns, table=table, missing=missing)
    x = np.empty((table.num_rows, len(names)), dtype=dtype)
    _fill(x, table, names, path.name, missing=missing)
    return Source(x, sha256_of_file(path), y=_labels(table, label, path.name), features=names, notes=notes)


@reader(".parquet", ".pq")
def read_parquet(
    path: Path,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    missing: Missing = None,
    on_disk: bool | None = None,
    memory: int = 1 << 30,
) -> Source:
    """Read the numeric columns of a .parquet file, or leave them on disk.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; or the file is not a table.
    """
    from pyarrow import parquet

    with _parquet(path):
        # without buffer_size, a whole row group is read before its first row is decoded
        file = parquet.ParquetFile(path, buffer_size=_READ_AT_A_TIME)
        schema = file.schema_arrow
    names, dtype = _choose(schema, path.name, label=label, columns=columns, missing=missing)
    x: Any = ParquetRows(file, path, names=names, dtype=dtype, missing=missing)
    promise = f"{path.name} promises {len(x):,} rows, and so {_SPLIT} bytes for the split of each"
    check_fits(len(x) * _SPLIT, promise, "If it holds fewer, it is damaged: write it again")
    y = None
    if label is not None:
        with _parquet(path):
            stored = file.read(columns=[label])
        y = _labels(stored, label, path.name)
    if stays_on_disk(len(x) * x.row_bytes, on_disk):
        x.refuse_large_groups(piece_bytes(memory) * _PIECES_IN_A_ROW_GROUP)
    else:
        # by row groups: the whole table beside the whole matrix would take three times the memory
        rows, x = x, np.empty((len(x), *x.shape), dtype=dtype)
        for i, (start, stop) in enumerate(itertools.pairwise(rows.edges.tolist())):
            rows.read(i, x[start:stop])
    return Source(x, sha256_of_file(path), y=y, features=names)


class ParquetRows(RowFile):
    """Numeric columns of a .parquet file; its row groups are the pieces.

    Args:
        file: an open ``pyarrow.parquet.ParquetFile``.
        path: of the file.
        names: the columns that are features.
        dtype: a type that holds them all.
        missing: what an empty cell means; see `load`.
    """

    def __init__(
        self, file: Any, path: Path, *, names: tuple[str, ...], dtype: np.dtype[Any], missing: Missing = None
    ) -> None:
        self.path = path
        self.shape = (len(names),)
        self.dtype = dtype
        self._names = names
        self._missing: Missing = missing
        self._lock = threading.Lock()
        self._file = file  # kept open: the metadata of many row groups take long to read, and memory each time
        meta = file.metadata
        self.held_bytes = meta.num_row_groups * meta.num_columns * _BYTES_A_COLUMN_CHUNK
        with _parquet(path):
            sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
            if min(sizes, default=0) < 0 or sum(sizes) != meta.num_rows:
                raise ValueError(f"its {meta.num_rows:,} rows are said to be in groups of {sizes[:SHOWN]}")
        self.edges = np.cumsum([0, *sizes], dtype=np.int64)

    def refuse_large_groups(self, most: int) -> None:
        """Raise a ValueError where a row group takes more than so many bytes of memory."""
        largest = int(np.diff(self.edges).max(initial=0))
        if largest * self.row_bytes > most:
            raise ValueError(
                f"{self.path.name} must have row groups of at most {show_size(most)} in memory, so that several fit "
                f"and mix, got row groups of up to {largest:,} rows, {show_size(largest * self.row_bytes)} each; write "
                "the file again with smaller ones: pyarrow.parquet.write_table(table, path, "
                f"row_group_size={max(1, most // self.row_bytes)}), or allow more memory with memory="
            )

    def arranged(self, layout: Layout) -> "ParquetRows":
        """The same rows: those of a table are vectors already."""
        return self

    def read(self, piece: int, out: NDArray[Any], *, keep: NDArray[np.bool_] | None = None) -> None:
        import pyarrow as pa

        some = max(1, _DECODED // max(1, self.row_bytes))
        seen = filled = 0
        with self._lock, _parquet(self.path):  # an epoch may be under way in another thread
            for batch in self._file.iter_batches(
                some, row_groups=[piece], columns=list(self._names), use_threads=False
            ):
                kept = None if keep is None else keep[seen : seen + batch.num_rows]
                n = batch.num_rows if kept is None else int(kept.sum())
                _fill(out[filled : filled + n], batch, self._names, self.path.name, missing=self._missing, keep=kept)
                seen, filled = seen + batch.num_rows, filled + n
            # or arrow keeps what it freed, and the process grows beyond what was asked for
            pa.default_memory_pool().release_unused()
            if filled < len(out):
                raise ValueError(f"a group of rows promises {len(out):,} and holds {filled:,}")

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers; each row group that holds one of them is read once."""
        out = np.empty((len(rows), *self.shape), dtype=self.dtype)
        piece = np.searchsorted(self.edges, rows, side="right") - 1
        for p in np.unique(piece).tolist():
            here = np.flatnonzero(piece == p)
            out[here] = self.piece(p)[rows[here] - self.edges[p]]
        return out


def _choose(
    schema: Any,
    file: str,
    *,
    label: str | None,
    columns: Sequence[str] | None,
    table: Any = None,
    missing: Missing = None,
) -> tuple[tuple[str, ...], np.dtype[Any]]:
    """The columns that are features, and a type that holds them all."""
    present, known = schema.names, set(schema.names)
    if len(known) < len(present):
        twice = next(n for n in present if present.count(n) > 1)
        raise ValueError(f"{file} must have columns of different names, got {twice!r} more than once")
    wanted = [n for n in present if n != label] if columns is None else list(columns)
    for name in (*wanted, *([label] if label is not None else [])):
        if name not in known:
            raise ValueError(f"{file} has no column {name!r}{did_you_mean(name, present)} It has {listed(present)}")
    if label in wanted:
        raise ValueError(f"column {label!r} is both label= and in columns=, which would tell the model the answer")
    if not wanted:
        raise ValueError(f"{file} has no column left to be a feature; it has {listed(present)}")
    bad = [n for n in wanted if not _numeric(schema.field(n).type)]
    if bad:
        kept = [n for n in wanted if n not in bad]
        example = "" if table is None else _first_text(table, bad[0])
        line = f"columns={kept[:SHOWN]}".replace("]", ", ...]" if len(kept) > SHOWN else "]")
        raise ValueError(
            f"column {bad[0]!r} of {file} must hold numbers, got {schema.field(bad[0]).type}{example}; write "
            f"label={bad[0]!r} if it names the class of a row, or {line} to leave it out, or encode it as numbers first"
        )
    types = [np.dtype(schema.field(n).type.to_pandas_dtype()) for n in wanted]
    if missing is not None:
        types.append(np.dtype(np.float32))  # integers know no NaN
    return tuple(wanted), np.result_type(*(np.dtype(np.uint8) if t.kind == "b" else t for t in types))


def _fill(
    out: NDArray[Any],
    table: Any,
    names: tuple[str, ...],
    file: str,
    *,
    missing: Missing = None,
    keep: NDArray[np.bool_] | None = None,
) -> None:
    """Write the columns side by side to out: (rows, len(names)), only the rows that `keep` marks."""
    for j, name in enumerate(names):
        column = table.column(name)
        if column.null_count and missing is None:
            drop = advice("drop those rows (table.drop_null())", "drop those rows")
            raise RefusedError(
                f"column {name!r} of {file} must hold a number in each row, got {column.null_count:,} empty cells; "
                f"{drop}, fill them in first, leave the column out with columns=[...]{KEEP}"
            )
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "O":  # truth values with empty cells among them
            values = values.astype(np.float32)
        out[:, j] = values if keep is None else values[keep]


def _labels(table: Any, label: str | None, file: str) -> NDArray[Any] | None:
    if label is None:
        return None
    column = table.column(label)
    if column.null_count:
        raise ValueError(f"the label column {label!r} of {file} has {column.null_count:,} empty cells")
    return column.to_numpy()


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _first_text(table: Any, name: str) -> str:
    values = table.column(name).slice(0, 10_000).to_pylist()
    return next((f" such as {v!r}" for v in values if isinstance(v, str) and not _is_number(v)), "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> AbstractContextManager[None]:
    return reading(path.name, "a .parquet file", "It may be cut short")
