"""Tables: the numeric columns of a text or .parquet file become features, one column may hold labels."""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.columns import (
    CELLS,
    check_names,
    choose,
    dtype_of,
    is_numeric,
    is_whole,
    on_indices,
    on_row_numbers,
    row_indices,
    values_of,
)
from nelbo.data.delimited import COMPRESSIONS, TEXT, read_text_table
from nelbo.data.features import Features, taken, types_of
from nelbo.data.kinds import ColumnKind, kinds_of
from nelbo.data.on_disk import piece_bytes
from nelbo.data.parquet import FOLDER, SUFFIXES, ParquetFiles
from nelbo.data.rows import Layout, RowFile
from nelbo.data.sizes import check_fits, show_size, stays_on_disk
from nelbo.data.source import RefusedError, Source, reader, sha256_of_arrays, sha256_of_file
from nelbo.data.summary import KEEP, Missing
from nelbo.wording import advice

Types = Mapping[str, Any] | None
"""What some columns of a mixed table are: names of kinds, or `ColumnKind`s."""
ALL = "all"
"""In place of the names of columns: all that can be learned from, whatever they hold."""

_BYTES_A_COLUMN_CHUNK = 2048  # of metadata, as arrow holds it: measured
_SPLIT = 24  # bytes a row for the split of a set that stays on disk
_DECODED = 1 << 20  # bytes of a table in arrow's form at a time
_PIECES_IN_A_ROW_GROUP = 6  # row groups are as large as their writer made them; larger pieces mix less


@reader(*TEXT, *(text + packed for text in TEXT for packed in COMPRESSIONS))
def read_text(
    path: Path,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    types: Types = None,
    missing: Missing = None,
    known: Mapping[str, bool] | None = None,
) -> Source:
    """Read the numeric columns of a table in text, such as a .csv file.

    What is ``known`` of the columns of an earlier table, `read_text_table` takes; the rest, `source_of_table`.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; or the file is not a table.
    """
    table, notes = read_text_table(path, known=known)
    source = source_of_table(
        table, path.name, sha256_of_file(path), label=label, columns=columns, types=types, missing=missing
    )
    return replace(source, notes=[*notes, *source.notes])


def source_of_table(
    table: Any,
    name: str,
    sha256: str | None = None,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    types: Types = None,
    missing: Missing = None,
) -> Source:
    """The numeric columns of a table in arrow's form.

    Args:
        table: with any columns.
        name: for messages.
        sha256: of the bytes it was read from; None is to hash its values.
        label: see `nelbo.data.load`.
        columns: likewise.
        types: likewise; or what each column is, as it is known of an earlier table.
        missing: likewise.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells.
    """

    def values(column: str) -> list[Any]:
        return table.column(column).slice(0, CELLS).to_pylist()

    columns, label = taken(table.schema, name, label=label, columns=columns, missing=missing, types=types)
    names, dtype, notes, kinds = _chosen(
        table.schema, name, values, table.column, label=label, columns=columns, types=types, missing=missing
    )
    x = np.empty((table.num_rows, len(names)), dtype=dtype)
    _fill(x, table, names, name, missing=missing, kinds=kinds)
    y = _labels(table, label, name)
    notes += [] if kinds else on_row_numbers(names, x)
    kept = types_of(table.schema, names)
    return Source(x, sha256 or sha256_of_arrays(x, y), y=y, features=names, types=kept, kinds=kinds, notes=notes)


def _chosen(
    schema: Any,
    file: str,
    values: Callable[[str], list[Any]],
    column: Callable[[str], Any],
    *,
    label: str | None,
    columns: Sequence[str] | None,
    types: Types,
    missing: Missing,
) -> tuple[tuple[str, ...], np.dtype[Any], list[str], dict[str, ColumnKind] | None]:
    """The columns that are features, a type that holds them, notes, and what each is, of a mixed table."""
    if columns != ALL and types is None:
        return *choose(schema, file, values, label=label, columns=columns, missing=missing), None
    everything, given = columns in (ALL, None), types or {}
    apart = None if label in given else label  # a label whose kind is given is modelled too
    index = row_indices(schema) if everything else []
    present = [n for n in schema.names if n != apart and n not in index]
    names = present if everything else list(columns or ())
    check_names(schema, file, names, label=apart, present=present)
    known = [n for n in present if is_numeric(schema.field(n).type)]
    kinds, notes = kinds_of(schema, names, column, file, given=given, all_of_them=everything)
    stored = [dtype_of(schema.field(n).type) for n in kinds if n in known]
    return tuple(kinds), np.result_type(np.float32, *stored), [*on_indices(index), *notes], kinds


@reader(*SUFFIXES, FOLDER)
def read_parquet(
    path: str | Path,
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    types: Types = None,
    missing: Missing = None,
    on_disk: bool | None = None,
    in_order: bool | None = None,
    memory: int = 1 << 30,
) -> Source:
    """Read the numeric columns of a .parquet file or of a folder of them, or leave them on disk.

    The hash of one file is that of its bytes; that of a folder, of the names, sizes and metadata of its files
    (`ParquetFiles.sha256`). Row groups that are read one after the other, `in_order`, need not mix, and may be large.

    Raises:
        ValueError: a column is missing, not numeric or has empty cells; a file is not a table; or files of a folder
            differ in their columns.
    """
    files = ParquetFiles(path)
    name, schema = files.name, files.schema

    def values(column: str) -> list[Any]:
        return files.head(CELLS, [column]).column(0).to_pylist()

    files.refuse_unlike(None if columns in (None, ALL) else columns, label=label, fixed=isinstance(columns, Features))
    columns, label = taken(schema, name, label=label, columns=columns, missing=missing, types=types)
    names, dtype, notes, kinds = _chosen(
        schema, name, values, files.by_column(), label=label, columns=columns, types=types, missing=missing
    )
    x: Any = ParquetRows(files, names=names, dtype=dtype, missing=missing, kinds=kinds)
    promise = f"{name} promises {len(x):,} rows, and so {_SPLIT} bytes for the split of each"
    check_fits(len(x) * _SPLIT, promise, "If it holds fewer, it is damaged: write it again")
    y = None if label is None else _labels(files.read([label]), label, name)
    if stays_on_disk(len(x) * x.row_bytes, on_disk):
        if not in_order:
            x.refuse_large_groups(piece_bytes(memory) * _PIECES_IN_A_ROW_GROUP)
        whole = [n for n in names if is_whole(schema.field(n).type) and kinds is None]
        notes += on_row_numbers(whole, np.array([values(n) for n in whole], dtype=np.float64).T)
    else:
        # by row groups: the whole table beside the whole matrix would take three times the memory
        rows, x = x, np.empty((len(x), *x.shape), dtype=dtype)
        for i, (start, stop) in enumerate(itertools.pairwise(rows.edges.tolist())):
            rows.read(i, x[start:stop])
        notes += [] if kinds else on_row_numbers(names, x)
    kept = types_of(schema, names)
    return Source(x, files.sha256(), y=y, features=names, types=kept, kinds=kinds, notes=[*files.notes, *notes])


class ParquetRows(RowFile):
    """Numeric columns of .parquet files; their row groups are the pieces.

    Args:
        files: the table.
        names: the columns that are features.
        dtype: a type that holds them all.
        missing: what an empty cell means; see `load`.
        kinds: what each column of a mixed table is.
    """

    def __init__(
        self,
        files: ParquetFiles,
        *,
        names: tuple[str, ...],
        dtype: np.dtype[Any],
        missing: Missing = None,
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> None:
        self.path = files.path
        self.shape = (len(names),)
        self.dtype = dtype
        self._names = names
        self._missing: Missing = missing
        self._kinds = kinds
        self._lock = threading.Lock()
        self._files = files  # some stay open: the metadata of many row groups take long to read, and memory each time
        self.held_bytes = files.column_chunks * _BYTES_A_COLUMN_CHUNK
        self.edges = np.append(0, np.cumsum(files.rows))

    def refuse_large_groups(self, most: int) -> None:
        """Raise a ValueError where a row group takes more than so many bytes of memory."""
        largest = int(self._files.rows.max(initial=0))
        if largest * self.row_bytes > most:
            file = self._files.file_of(int(self._files.rows.argmax()))
            raise ValueError(
                f"{file} must have row groups of at most {show_size(most)} in memory, so that several fit "
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
        with self._lock, self._files.errors(piece):  # an epoch may be under way in another thread
            for batch in self._files.batches(piece, some, self._names):
                kept = None if keep is None else keep[seen : seen + batch.num_rows]
                n = batch.num_rows if kept is None else int(kept.sum())
                _fill(
                    out[filled : filled + n],
                    batch,
                    self._names,
                    self._files.file_of(piece),
                    missing=self._missing,
                    kinds=self._kinds,
                    keep=kept,
                )
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


def _fill(
    out: NDArray[Any],
    table: Any,
    names: tuple[str, ...],
    file: str,
    *,
    missing: Missing = None,
    kinds: Mapping[str, ColumnKind] | None = None,
    keep: NDArray[np.bool_] | None = None,
) -> None:
    """Write the columns side by side to out: (rows, len(names)), only the rows that `keep` marks."""
    for j, name in enumerate(names):
        column = table.column(name)
        if kinds is not None:
            values = kinds[name].coded(column, name, file, missing)
            out[:, j] = values if keep is None else values[keep]
            continue
        if column.null_count and missing is None:
            drop = advice("drop those rows (table.drop_null())", "drop those rows")
            raise RefusedError(
                f"column {name!r} of {file} must hold a number in each row, got {column.null_count:,} cells "
                f"without one; {drop}, fill them in first, leave the column out with columns=[...]{KEEP}"
            )
        values = values_of(column)
        if values.dtype.kind == "O":  # decimal numbers, or truth values with empty cells among them
            values = values.astype(np.float64)
        out[:, j] = values if keep is None else values[keep]


def _labels(table: Any, label: str | None, file: str) -> NDArray[Any] | None:
    if label is None:
        return None
    column = table.column(label)
    if column.null_count:
        raise ValueError(f"the label column {label!r} of {file} has {column.null_count:,} empty cells")
    return values_of(column)
