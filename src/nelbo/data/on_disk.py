"""Examples that stay on disk: shuffled pieces of a file, a bounded number of them in memory."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.batch import Batch
from nelbo.data.dataset import Dataset
from nelbo.data.draws import as_rows, hash_rows
from nelbo.data.memory import show_size
from nelbo.data.preparation import Preparation
from nelbo.data.row_files import RowFile
from nelbo.data.source import as_tensor

# Two buffers are held, one gone through while the other is filled. The rest is for a piece on its way into
# one:
# arrow takes about 3.6 times the size of a row group to decode it.
BUFFER_SHARE = 1 / 3
PIECES_A_BUFFER = 32


def piece_bytes(memory: int) -> int:
    """Bytes of a piece of which `PIECES_A_BUFFER` make a buffer."""
    return max(1, int(memory * BUFFER_SHARE / PIECES_A_BUFFER))


@final
class OnDisk(Dataset):
    """Rows of a file, or some of them, read in pieces.

    The order of an epoch is a pure function of its seed: the pieces of the file are shuffled, as many as fit
    are read into a buffer, and the rows of the buffer are shuffled. So rows mix across the whole file from
    epoch to epoch, and within an epoch across the pieces of one buffer. While one buffer is gone through, a
    thread fills the next; what goes wrong there is raised in the caller.

    Args:
        file: the rows.
        preparation: what is done to them before the model sees them.
        c: (n, *condition) what the model is conditioned on, or None.
        labels: (n,) labels of this set's examples, or None.
        member: (rows of the file,) bool, which of them belong to this set; None is all.
        memory: bytes that the buffers may take.
        stream: keeps the fixed draws of different splits apart.
    """

    def __init__(
        self,
        file: RowFile,
        *,
        preparation: Preparation | None = None,
        c: Tensor | None = None,
        labels: Tensor | None = None,
        member: NDArray[np.bool_] | None = None,
        memory: int = 1 << 30,
        stream: int = 0,
        drawn_by: tuple[Preparation, int] | None = None,
    ) -> None:
        self.file = file
        self.event_shape = file.shape
        self.preparation = preparation or Preparation()
        self.c = c
        self.labels = labels
        self.stream = stream
        self._member = member
        self._memory = memory
        self._drawn_by = drawn_by
        edges = file.edges
        counts = np.diff(edges) if member is None else np.add.reduceat(member, edges[:-1], dtype=np.int64)
        self._counts: NDArray[np.int64] = counts
        self._first = np.cumsum(np.append(0, counts))  # position of each piece's first example
        if file.held_bytes > memory // 2:
            raise ValueError(
                f"memory= leaves {show_size(memory)} for {file.path.name}, whose metadata alone take about "
                f"{show_size(file.held_bytes)}. Write memory='{show_size(4 * file.held_bytes)}', or write "
                "the file again with larger row groups."
            )
        drawn_row = math.prod(file.shape) * (4 if drawn_by and drawn_by[0].dequantize else 0)
        share = int((memory - file.held_bytes) * BUFFER_SHARE)
        self._buffer_rows = max(1, share // max(1, file.row_bytes, drawn_row))

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"OnDisk({self.file.path.name}, {len(self):,} examples of shape {self.event_shape}; {self.preparation})"

    @property
    def source_rows(self) -> Tensor | None:
        """See `Dataset.source_rows`."""
        return None if self._member is None else torch.from_numpy(np.flatnonzero(self._member))

    def _pools(self, order: int | None, first: int, device: torch.device) -> Iterator[tuple[Batch, Tensor | None]]:
        # buffers that are skipped as a whole are not read
        groups = self._groups(order)
        ends = np.cumsum([self._counts[g].sum() for g in groups])
        if first >= len(self):
            return
        g = int(np.searchsorted(ends, first, side="right"))
        skip = first - (int(ends[g - 1]) if g else 0)
        # Two buffers take turns. A new one for each group would grow the process: freed memory comes back in
        # pieces that the next buffer does not fit into.
        most = max(int(self._counts[group].sum()) for group in groups[g:])
        buffers = [self._empty(most) for _ in groups[g : g + 2]]
        with ThreadPoolExecutor(1, thread_name_prefix="nelbo-data") as reader:
            ahead = reader.submit(self._fill, groups[g], buffers[0])
            for k in range(g, len(groups)):
                x = ahead.result()
                if k + 1 < len(groups):
                    ahead = reader.submit(self._fill, groups[k + 1], buffers[(k + 1 - g) % 2])
                yield self._pool(x, groups[k]), _permutation(len(x), order, k)[skip:]
                skip = 0

    def _pool(self, x: Tensor, pieces: NDArray[np.int64]) -> Batch:
        spans = zip(self._first[pieces].tolist(), self._first[pieces + 1].tolist(), strict=True)
        rows = torch.cat([torch.arange(start, stop) for start, stop in spans])
        c, labels = (None if v is None else v.index_select(0, rows) for v in (self.c, self.labels))
        return Batch(x, c, labels, rows)

    def _groups(self, order: int | None) -> list[NDArray[np.int64]]:
        """Pieces that are in memory together, in the order in which they are read."""
        pieces = np.flatnonzero(self._counts)
        if order is not None:
            pieces = pieces[_permutation(len(pieces), order, -1).numpy()]
        groups: list[list[int]] = [[]]
        rows = 0
        for piece in pieces.tolist():
            count = int(self._counts[piece])
            if groups[-1] and rows + count > self._buffer_rows:
                groups.append([])
                rows = 0
            groups[-1].append(piece)
            rows += count
        return [np.array(g, dtype=np.int64) for g in groups]

    def _empty(self, n: int) -> NDArray[Any]:
        dtype = self.file.dtype
        if self._drawn_by is not None:
            dtype = np.dtype(np.float32 if self._drawn_by[0].dequantize else np.uint8)
        return np.empty((n, *self.event_shape), dtype=dtype)

    def _fill(self, pieces: NDArray[np.int64], buffer: NDArray[Any]) -> Tensor:
        at = 0
        for piece in pieces.tolist():
            n = int(self._counts[piece])
            self._read(piece, buffer[at : at + n])
            at += n
        return as_tensor(buffer[:at])

    def _read(self, piece: int, out: NDArray[Any]) -> None:
        edges = self.file.edges
        keep = None if self._member is None else self._member[edges[piece] : edges[piece + 1]]
        if self._drawn_by is None:
            self.file.read(piece, keep=keep, out=out)
        else:
            positions = np.arange(len(out), dtype=np.int64) + self._first[piece]
            out[...] = self._draw(as_tensor(self.file.read(piece, keep=keep)), positions).numpy()

    def _draw(self, values: Tensor, positions: NDArray[np.int64]) -> Tensor:
        if self._drawn_by is None:
            return values
        how, seed = self._drawn_by
        return how.draw(values, rows=torch.from_numpy(positions), seed=seed, stream=self.stream)

    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """See `Dataset.stored`."""
        positions = as_rows(rows)
        numbers = positions if self._member is None else np.flatnonzero(self._member)[positions]
        return self._draw(as_tensor(self.file.gather(numbers)), positions)

    def fixed(self, *, seed: int = 0) -> "OnDisk":
        """See `Dataset.fixed`. The draws are made again, and alike, whenever a piece is read."""
        if not self.preparation.is_random:
            return self
        return OnDisk(
            self.file,
            preparation=self.preparation.drawn,
            c=self.c,
            labels=self.labels,
            member=self._member,
            memory=self._memory,
            stream=self.stream,
            drawn_by=(self.preparation, seed),
        )


def _permutation(n: int, order: int | None, part: int) -> Tensor:
    if order is None:
        return torch.arange(n)
    seed = int(hash_rows(np.array([part], dtype=np.int64), seed=order)[0] >> np.uint64(1))
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def collect(file: RowFile, rows: NDArray[np.int64]) -> NDArray[Any]:
    """The rows with these numbers, in this order, in one pass over the file."""
    out = np.empty((len(rows), *file.shape), dtype=file.dtype)
    ascending = np.argsort(rows, kind="stable")
    for start, values in file.pieces():
        a, b = np.searchsorted(rows, (start, start + len(values)), sorter=ascending)
        here = ascending[a:b]
        out[here] = values[rows[here] - start]
    return out
