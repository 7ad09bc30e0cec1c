"""Examples that stay on disk: shuffled pieces of a file, a bounded number of them in memory."""

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.batch import Batch
from nelbo.data.dataset import Dataset, Lane
from nelbo.data.draws import as_rows, hash_rows
from nelbo.data.preparation import Preparation
from nelbo.data.rows import RowFile, as_tensor
from nelbo.data.sizes import show_size

# Of the memory, a buffer may take a third. Two are held, one visited while the other is filled; the rest is for a piece
# on its way into one: arrow takes about 3.6 times the size of a row group to decode it.
_BUFFER_SHARE = 1 / 3
_PIECES_A_BUFFER = 32


def piece_bytes(memory: int) -> int:
    """Bytes of a piece of which 32 make a buffer."""
    return max(1, int(memory * _BUFFER_SHARE / _PIECES_A_BUFFER))


class _Span(NamedTuple):
    """Some of this set's examples in a piece of the file, counted from its first."""

    piece: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Their number."""
        return self.stop - self.start


@final
@dataclass(eq=False, kw_only=True, repr=False)
class OnDisk(Dataset):
    """Rows of a file, or some of them, read in pieces.

    The order of an epoch is a pure function of its seed: the pieces of the file are shuffled, as many as fit are read
    into a buffer, and the rows of the buffer are shuffled. So rows mix across the whole file from epoch to epoch, and
    within an epoch across the pieces of one buffer. While one buffer is visited, a thread fills the next; an error
    there is raised in the caller. Lanes share the memory, each with buffers of its own.

    Args:
        file: the rows.
        preparation: turns stored values into what the model sees.
        c: (n, *condition) what the model is conditioned on, or None.
        labels: (n,) labels of this set's examples, or None.
        member: (rows of the file,) bool, which of them belong to this set; None is all.
        memory: bytes that the buffers may take.
        stream: keeps the fixed draws of different splits apart.
        drawn_by: a random preparation and a seed, by which the values were drawn for good; None leaves them as stored.
    """

    file: RowFile
    preparation: Preparation = field(default_factory=Preparation)
    c: Tensor | None = None
    labels: Tensor | None = None
    member: NDArray[np.bool_] | None = None
    memory: int = 1 << 30
    stream: int = 0
    drawn_by: tuple[Preparation, int] | None = None

    def __post_init__(self) -> None:
        file, edges = self.file, self.file.edges
        self.event_shape = file.shape
        self._dtype = file.dtype
        if self.drawn_by is not None:
            self._dtype = np.dtype(np.float32 if self.drawn_by[0].dequantize else np.uint8)
        counts = np.diff(edges) if self.member is None else np.add.reduceat(self.member, edges[:-1], dtype=np.int64)
        self._counts: NDArray[np.int64] = counts
        self._first = np.cumsum(np.append(0, counts))  # position of each piece's first example
        if file.held_bytes > self.memory // 2:
            raise ValueError(
                f"memory must hold {show_size(2 * file.held_bytes)}, twice the metadata of {file.path.name}, got "
                f"{show_size(self.memory)}; write memory='{show_size(4 * file.held_bytes)}', or write the file again "
                "with larger row groups"
            )
        row_bytes = max(1, file.row_bytes, math.prod(file.shape) * self._dtype.itemsize)
        self._buffer_rows = max(1, int((self.memory - file.held_bytes) * _BUFFER_SHARE) // row_bytes)

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"OnDisk({self.file.path.name}, {len(self):,} examples of shape {self.event_shape}; {self.preparation})"

    @property
    def source_rows(self) -> Tensor | None:
        return None if self.member is None else torch.from_numpy(np.flatnonzero(self.member))

    @property
    def parts(self) -> list[slice]:
        """See `Dataset.parts`."""
        edges = self._first.tolist()
        return [slice(start, stop) for start, stop in itertools.pairwise(edges) if start < stop]

    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        positions = as_rows(rows)
        numbers = positions if self.member is None else np.flatnonzero(self.member)[positions]
        return self._drawn(self.file.gather(numbers), positions)

    def fixed(self, *, seed: int = 0) -> "OnDisk":
        """See `Dataset.fixed`. The draws are made again, and alike, whenever a piece is read."""
        if not self.preparation.is_random:
            return self
        return replace(self, preparation=self.preparation.drawn, drawn_by=(self.preparation, seed))

    def _pools(
        self, order: int | None, lane: Lane, skip: int, device: torch.device
    ) -> Iterator[tuple[Batch, Tensor | None]]:
        # buffers that are skipped as a whole are not read
        groups = self._groups(order, lane)
        sizes = [sum(span.rows for span in group) for group in groups]
        ends = np.cumsum(sizes)
        if not groups or skip >= ends[-1]:
            return
        g = int(np.searchsorted(ends, skip, side="right"))
        skip -= int(ends[g - 1]) if g else 0
        # Two buffers take turns. A new one for each group would grow the process: freed memory comes back in
        # pieces that the next buffer does not fit into.
        most = max(sizes[g:])
        buffers = [np.empty((most, *self.event_shape), dtype=self._dtype) for _ in groups[g : g + 2]]
        with ThreadPoolExecutor(1, thread_name_prefix="nelbo-data") as reader:
            ahead = reader.submit(self._fill, groups[g], buffers[0])
            for k in range(g, len(groups)):
                x = ahead.result()
                if k + 1 < len(groups):
                    ahead = reader.submit(self._fill, groups[k + 1], buffers[(k + 1 - g) % 2])
                yield self._pool(x, groups[k]), _permutation(len(x), order, k, lane.number)[skip:]
                skip = 0

    def _pool(self, x: Tensor, group: Sequence["_Span"]) -> Batch:
        rows = torch.cat([torch.arange(span.start, span.stop) + self._first[span.piece] for span in group])
        c, labels = (None if v is None else v.index_select(0, rows) for v in (self.c, self.labels))
        return Batch(x, c, labels, rows)

    def _groups(self, order: int | None, lane: Lane = Lane()) -> list[list["_Span"]]:
        """What is in memory together, in the order in which it is read: of a lane, which begins and ends in a piece."""
        pieces = np.flatnonzero(self._counts)
        if order is not None:
            pieces = pieces[_permutation(len(pieces), order, -1).numpy()]
        first, last = lane.within(len(self))
        most = max(1, self._buffer_rows // lane.of)
        groups: list[list[_Span]] = []
        before = rows = 0
        for piece in pieces.tolist():
            count = int(self._counts[piece])
            span = _Span(piece, max(0, first - before), min(count, last - before))
            before += count
            if span.rows <= 0:
                continue
            if not groups or rows + span.rows > most:
                groups.append([])
                rows = 0
            groups[-1].append(span)
            rows += span.rows
        return groups

    def _fill(self, group: Sequence["_Span"], buffer: NDArray[Any]) -> Tensor:
        ends = np.cumsum([span.rows for span in group])
        # in the order of the file, or of files in a folder, each of which is then opened once
        for k in sorted(range(len(group)), key=lambda k: group[k].piece):
            span = group[k]
            keep = self._kept(span)
            out = buffer[ends[k] - span.rows : ends[k]]
            if self.drawn_by is None:
                self.file.read(span.piece, out, keep=keep)
            else:
                values = np.empty(out.shape, dtype=self.file.dtype)
                self.file.read(span.piece, values, keep=keep)
                out[...] = self._drawn(values, np.arange(span.start, span.stop) + self._first[span.piece]).numpy()
        return as_tensor(buffer[: ends[-1]])

    def _kept(self, span: "_Span") -> NDArray[np.bool_] | None:
        """Which rows of the piece belong to the span, or None for all."""
        start, stop = self.file.edges[span.piece : span.piece + 2].tolist()
        member = None if self.member is None else self.member[start:stop]
        if span.rows == self._counts[span.piece]:
            return member
        keep = np.zeros(stop - start, dtype=np.bool_)
        keep[np.flatnonzero(np.ones_like(keep) if member is None else member)[span.start : span.stop]] = True
        return keep

    def _drawn(self, values: NDArray[Any], positions: NDArray[np.int64]) -> Tensor:
        if self.drawn_by is None:
            return as_tensor(values)
        preparation, seed = self.drawn_by
        return preparation.draw(as_tensor(values), rows=torch.from_numpy(positions), seed=seed, stream=self.stream)


def _permutation(n: int, order: int | None, part: int, lane: int = 0) -> Tensor:
    if order is None:
        return torch.arange(n)
    seed = int(hash_rows(np.array([part + (lane << 32)], dtype=np.int64), seed=order)[0] >> np.uint64(1))
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
