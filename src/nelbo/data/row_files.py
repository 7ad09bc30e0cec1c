"""Files of rows that are read in pieces: .npy and .parquet, for data larger than memory."""

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nelbo.data.layout import Layout, arrange
from nelbo.data.memory import show_size

_BYTES_A_COLUMN_CHUNK = 2048  # of metadata, as arrow holds it: measured
_DECODED = 1 << 20  # bytes of a table in arrow's form at a time


class RowFile(ABC):
    """Rows of equal shape and type in a file.

    Attributes:
        path: of the file.
        shape: of one row.
        dtype: of the values as they are handed out.
        held_bytes: what the open file itself keeps in memory.
        edges: (pieces + 1,) row numbers between which rows are read in one go: 0, ..., n.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    held_bytes: int = 0
    edges: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.edges[-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def read(
        self, piece: int, *, keep: NDArray[np.bool_] | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """The rows edges[piece] to edges[piece + 1], or those that `keep` says, written to `out` if given."""
        start, stop = int(self.edges[piece]), int(self.edges[piece + 1])
        if out is None:
            n = stop - start if keep is None else int(keep.sum())
            out = np.empty((n, *self.shape), dtype=self.dtype)
        self._read_into(out, piece, start, stop, keep)
        return out

    @abstractmethod
    def _read_into(self, out: NDArray[Any], piece: int, start: int, stop: int, keep: NDArray[np.bool_] | None) -> None:
        """Write the rows start to stop, which are `piece`, to `out`."""

    @abstractmethod
    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers, in this order, (len(rows), *shape)."""

    @abstractmethod
    def arranged(self, layout: Layout) -> "RowFile":
        """The same rows with their axes as `layout` says."""

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """All pieces in order, each with the number of its first row."""
        for i in range(len(self.edges) - 1):
            yield int(self.edges[i]), self.read(i)


def edges_of(n: int, rows_a_piece: int) -> NDArray[np.int64]:
    """0, k, 2k, ..., n."""
    return np.append(np.arange(0, n, rows_a_piece, dtype=np.int64), n)


@final
class NpyRows(RowFile):
    """The rows of a .npy file, by plain reads: pages of a memory map would count as memory of the process.

    Args:
        path: of the file.
        stored: type of the values in the file.
        plain: type of the values as handed out.
        shape: of one row in the file.
        n: number of rows.
        offset: of the first row, in bytes.
        piece_bytes: about so many are read in one go.
    """

    def __init__(
        self,
        path: Path,
        *,
        stored: np.dtype[Any],
        plain: np.dtype[Any],
        shape: tuple[int, ...],
        n: int,
        offset: int,
        piece_bytes: int,
        layout: Layout = "as_is",
    ) -> None:
        self.path = path
        self.dtype = plain
        self._stored = stored
        self._stored_shape = shape
        self._offset = offset
        self._layout: Layout = layout
        self._piece_bytes = piece_bytes
        self.shape = arrange(np.empty((1, *shape), dtype=np.uint8), layout).shape[1:]
        self._bytes = int(np.prod(shape, dtype=np.int64)) * stored.itemsize
        self.edges = edges_of(n, max(1, piece_bytes // max(1, self._bytes)))

    def arranged(self, layout: Layout) -> "NpyRows":
        """See `RowFile.arranged`."""
        return NpyRows(
            self.path,
            stored=self._stored,
            plain=self.dtype,
            shape=self._stored_shape,
            n=len(self),
            offset=self._offset,
            piece_bytes=self._piece_bytes,
            layout=layout,
        )

    def _read_into(self, out: NDArray[Any], piece: int, start: int, stop: int, keep: NDArray[np.bool_] | None) -> None:
        if keep is None and self._layout != "channels_last" and self._stored == self.dtype:
            self._fill(out, start, stop)  # the bytes are in order: no copy on the way
        else:
            values = self._rows(start, stop)
            out[...] = values if keep is None else values[keep]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See `RowFile.gather`. Runs of consecutive rows are read in one go."""
        out = np.empty((len(rows), *self.shape), dtype=self.dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for a, b in itertools.pairwise([*starts.tolist(), len(rows)]):
            out[a:b] = self._rows(int(rows[a]), int(rows[a]) + b - a)
        return out

    def _rows(self, start: int, stop: int) -> NDArray[Any]:
        values = np.empty((stop - start, *self._stored_shape), dtype=self._stored)
        self._fill(values, start, stop)
        return arrange(values.astype(self.dtype, copy=False), self._layout)

    def _fill(self, values: NDArray[Any], start: int, stop: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._offset + start * self._bytes)
            # one read may return less than asked for: Linux ends each at 2 GiB
            view = values.reshape(-1).view(np.uint8).data
            while len(view):
                n = file.readinto(view)
                if not n:
                    raise ValueError(
                        f"{self.path.name} ends before row {stop:,}, which its header promises; it has been "
                        "cut short or is being written. Write it again with np.save."
                    )
                view = view[n:]


@final
class ParquetRows(RowFile):
    """Numeric columns of a .parquet file; its row groups are the pieces.

    Args:
        file: an open ``pyarrow.parquet.ParquetFile``.
        path: of the file.
        names: the columns that are features.
        dtype: a type that holds them all.
        piece_bytes: what a row group may take in memory; None is anything.

    Raises:
        ValueError: a row group is larger.
    """

    def __init__(
        self, file: Any, path: Path, *, names: tuple[str, ...], dtype: np.dtype[Any], piece_bytes: int | None
    ) -> None:
        self.path = path
        self.shape = (len(names),)
        self.dtype = dtype
        self._names = names
        self._lock = threading.Lock()
        self._file = file  # kept open: the metadata of many row groups take long to read, and memory each time
        meta = file.metadata
        self.held_bytes = meta.num_row_groups * meta.num_columns * _BYTES_A_COLUMN_CHUNK
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self.edges = np.cumsum([0, *sizes], dtype=np.int64)
        largest = max(sizes, default=0)
        if piece_bytes is not None and largest * self.row_bytes > piece_bytes:
            fitting = max(1, piece_bytes // self.row_bytes)
            raise ValueError(
                f"{path.name} has row groups of up to {largest:,} rows, "
                f"{show_size(largest * self.row_bytes)} each in memory; expected at most "
                f"{show_size(piece_bytes)}, so that several fit and mix. Write the file again with smaller "
                f"ones: pyarrow.parquet.write_table(table, path, row_group_size={fitting}), or allow more "
                "memory with memory=."
            )

    def arranged(self, layout: Layout) -> "ParquetRows":
        """See `RowFile.arranged`: rows of a table are vectors already."""
        return self

    def _read_into(self, out: NDArray[Any], piece: int, start: int, stop: int, keep: NDArray[np.bool_] | None) -> None:
        import pyarrow as pa

        from nelbo.data.tables import fill_matrix

        some = max(1, _DECODED // max(1, self.row_bytes))
        seen = at = 0
        with self._lock:  # an epoch may be under way in another thread
            for batch in self._file.iter_batches(
                some, row_groups=[piece], columns=list(self._names), use_threads=False
            ):
                kept = None if keep is None else keep[seen : seen + batch.num_rows]
                n = batch.num_rows if kept is None else int(kept.sum())
                fill_matrix(out[at : at + n], batch, self._names, self.path.name, keep=kept)
                seen, at = seen + batch.num_rows, at + n
            # or arrow keeps what it freed, and the process grows beyond what was asked for
            pa.default_memory_pool().release_unused()

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See `RowFile.gather`. Each row group that holds one of the rows is read once."""
        out = np.empty((len(rows), *self.shape), dtype=self.dtype)
        piece = np.searchsorted(self.edges, rows, side="right") - 1
        for p in np.unique(piece).tolist():
            here = piece == p
            out[here] = self.read(p)[rows[here] - self.edges[p]]
        return out
