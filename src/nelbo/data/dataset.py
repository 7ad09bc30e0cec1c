"""Examples that can be gone through in batches: the interface, and the set that lies in memory."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from nelbo.data.batch import Batch
from nelbo.data.draws import as_rows
from nelbo.data.preparation import Preparation
from nelbo.devices import can_pin, free_memory, indexed
from nelbo.randomness import derive

_PART = 1 << 16  # examples of a part of a set that is not read in parts
_BLOCKS = 100  # that examples which stand for all are taken in
_SHARE = 0.5  # of the free memory of an accelerator that a data set may take: the rest is the model's


class Lane(NamedTuple):
    """One of several parts of an epoch's order, as long as the others but for one example."""

    number: int = 0
    of: int = 1

    def within(self, n: int) -> tuple[int, int]:
        """The positions, from and to, that it has among n: the longer lanes come first."""
        each, longer = divmod(n, self.of)
        first = self.number * each + min(self.number, longer)
        return first, first + each + (self.number < longer)


class Dataset(ABC):
    """The examples of one split: `InMemory`, `OnDisk` or `Streamed`.

    Attributes:
        event_shape: shape of one example as the model sees it: (channels, height, width) or (features,).
        preparation: turns stored values into what the model sees.
        c: (n, *condition) what the model is conditioned on, or None.
        labels: (n,) for colouring figures, or None.
        stream: keeps the fixed draws of training (0), validation (1) and test sets (2) apart.
    """

    event_shape: tuple[int, ...]
    preparation: Preparation
    c: Tensor | None
    labels: Tensor | None
    stream: int
    replays: ClassVar[bool] = False
    """Whether batches that are skipped are read all the same, and discarded."""

    @property
    @abstractmethod
    def source_rows(self) -> Tensor | None:
        """The row of each example in its source, (n,); None where example i is row i."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """The stored values of the examples at these positions, (len(rows), *event), a copy on the CPU."""

    @property
    def parts(self) -> list[slice]:
        """The positions of the examples, in order, in parts that are read together: row groups, or blocks of rows."""
        return [slice(start, min(start + _PART, len(self))) for start in range(0, len(self), _PART)]

    def order_of(self, epoch: int, *, seed: int) -> int:
        """The order that `batches` takes for an epoch of a training, by its number and the training's seed."""
        return derive(seed, "order", epoch)

    def spread(self, n: int) -> Tensor:
        """Positions of at most n examples that stand for all: in blocks of neighbours, which a disk gives at once."""
        if len(self) <= n:
            return torch.arange(len(self))
        block = max(1, n // _BLOCKS)
        starts = torch.linspace(0, len(self) - block, _BLOCKS, dtype=torch.float64).long()
        return (starts[:, None] + torch.arange(block)).flatten()

    @abstractmethod
    def fixed(self, *, seed: int = 0) -> "Dataset":
        """The same examples with every random draw made once, by `seed`: each pass sees the same values.

        Evaluate a model on ``data.validation.fixed()``: its numbers then differ only where the models differ.
        ``fixed(seed=s).take(k)`` and ``take(k, seed=s)`` are equal.
        """

    @abstractmethod
    def _pools(
        self, order: int | None, lane: Lane, skip: int, device: torch.device
    ) -> Iterator[tuple[Batch, Tensor | None]]:
        """Examples in memory together, and the order in which to visit them; None is as they come, uncopied.

        Args:
            order: seed of the epoch's order, or None.
            lane: the part of it to visit.
            skip: examples of that part to leave out at its beginning.
            device: of the examples.
        """

    def batches(
        self,
        batch_size: int,
        *,
        order: int | None = None,
        start: int = 0,
        device: torch.device | str | None = None,
        lanes: int = 1,
        taken: Sequence[int] | None = None,
    ) -> Iterator[Batch]:
        """Raw batches, to be handed to `prepare`; the last one may be smaller.

        Args:
            batch_size: examples in a batch.
            order: seed of this epoch's order, which depends on nothing else; None is storage order.
            start: number of batches to skip; the rest are exactly those that would have followed.
            device: of the batches; None is the CPU.
            lanes: parts of equal length that the order is cut into. A batch takes as many examples of each of them, one
                lane after the other, and a lane can be read without the others.
            taken: the lanes, by number, whose share of the batches is wanted; None is all of them. Such a share may be
                empty in the last batch.

        Yields:
            Batch with x: (batch, *event) in the stored type (uint8 stays uint8), c and labels where there are any,
            and rows: the positions in this set. In storage order x may be a view of the data: do not write into it.

        Raises:
            ValueError: batch_size < 1, start < 0, or batch_size is no multiple of lanes.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        if not isinstance(start, int) or start < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"start must be a number of batches to skip, 0 or more, got {start!r}")
        if batch_size % lanes:
            raise ValueError(f"batch_size must be a multiple of the number of lanes, {lanes}, got {batch_size}")
        wanted = range(lanes) if taken is None else taken
        return self._in_lanes(batch_size, order, start, torch.device(device or "cpu"), lanes, wanted)

    def _in_lanes(
        self, batch_size: int, order: int | None, start: int, device: torch.device, lanes: int, wanted: Sequence[int]
    ) -> Iterator[Batch]:
        size = batch_size // lanes
        each = [self._batches(size, order, Lane(number, lanes), start * size, device) for number in wanted]
        return each[0] if len(each) == 1 else map(joined, itertools.zip_longest(*each))

    def _batches(self, size: int, order: int | None, lane: Lane, skip: int, device: torch.device) -> Iterator[Batch]:
        rest: Batch | None = None
        for pool, index in self._pools(order, lane, skip, device):
            rows = index if index is None or pool.rows is None else pool.rows.index_select(0, index)
            n, taken = len(pool) if index is None else len(index), 0
            if rest is not None:  # a batch that the last pool could not fill is filled first
                taken = min(size - len(rest), n)
                rest = Batch.cat((rest, _visit(pool, index, rows, slice(0, taken))))
                if len(rest) < size:
                    continue
                yield _send(rest, device)
                rest = None
            for i in range(taken, n, size):
                batch = _visit(pool, index, rows, slice(i, i + size))
                if len(batch) < size:
                    rest = batch
                else:
                    yield _send(batch, device)
        if rest is not None:
            yield _send(rest, device)

    def prepare(self, batch: Batch) -> Batch:
        """A raw batch as the model sees it, x: (batch, *event) float32; see `Preparation.__call__`."""
        return batch.with_x(self.preparation(batch.x))

    def examples(self, n_or_indices: int | slice | Sequence[int] | Tensor, *, seed: int = 0) -> Batch:
        """Prepared examples by position, on the CPU.

        Where the preparation is random, the draw of an example depends on `seed` and its position alone, and
        torch's generators are neither read nor moved.

        Args:
            n_or_indices: a number n (the first n), a slice, positions (negative ones count from the end) or a mask.
            seed: of the draw.

        Returns:
            Batch with x: (n, *event) float32, c and labels where there are any, and rows: (n,), the positions.

        Raises:
            IndexError: a position outside the set.
        """
        rows = self._positions(n_or_indices)
        stored = self.preparation.draw(self.stored(rows), rows=rows, seed=seed, stream=self.stream)
        x = (self.preparation.drawn if self.preparation.is_random else self.preparation)(stored)
        c, labels = (
            None if values is None else values[rows.to(values.device)].cpu() for values in (self.c, self.labels)
        )
        return Batch(x, c, labels, rows)

    def take(self, n_or_indices: int | slice | Sequence[int] | Tensor, *, seed: int = 0) -> Tensor:
        """The values x alone of `examples`, (n, *event) float32."""
        return self.examples(n_or_indices, seed=seed).x

    def _positions(self, wanted: int | slice | Sequence[int] | Tensor) -> Tensor:
        n = len(self)
        if isinstance(wanted, int):
            if not 0 <= wanted <= n:
                raise IndexError(
                    f"a number of examples must be between 0 and {n:,}, got {wanted}; write [{wanted}] for the one "
                    "at that position"
                )
            return torch.arange(wanted)
        if isinstance(wanted, slice):
            return torch.arange(*wanted.indices(n))
        if isinstance(wanted, Tensor) and wanted.dtype == torch.bool:
            if wanted.shape != (n,):
                raise IndexError(
                    f"a mask must have shape ({n},), one entry for each example, got {tuple(wanted.shape)}"
                )
            return wanted.nonzero().flatten().cpu()
        rows = torch.from_numpy(as_rows(wanted)).flatten()
        outside = (rows < -n) | (rows >= n)
        if bool(outside.any()):
            raise IndexError(f"a position must be below {n:,}, the number of examples, got {int(rows[outside][0])}")
        return torch.where(rows < 0, rows + n, rows)


def _visit(pool: Batch, index: Tensor | None, rows: Tensor | None, places: slice) -> Batch:
    """Some places of the visiting order; much as ``pool[index[places]]``, without its checks."""
    if index is None or rows is None:
        return pool[places]
    where = index[places]
    c, labels = (None if values is None else values.index_select(0, where) for values in (pool.c, pool.labels))
    return Batch(pool.x.index_select(0, where), c, labels, rows[places])


def joined(shares: Iterable[Batch | None]) -> Batch:
    """The shares of several lanes in one batch; a lane that is one example shorter may have none in the last."""
    return Batch.cat([share for share in shares if share is not None])


def _send(batch: Batch, device: torch.device) -> Batch:
    if batch.x.device == device:
        return batch
    if batch.x.device.type == "cpu" and can_pin(device):
        batch = batch.with_x(batch.x.pin_memory())  # or the copy would wait for the device
        return batch.to(device, non_blocking=True)
    return batch.to(device)


@final
class InMemory(Dataset):
    """Examples that lie in memory, and on an accelerator once it has asked for them.

    Args:
        x: (n, *event) stored values; kept, not copied.
        preparation: turns them into what the model sees.
        c: (n, *condition) what the model is conditioned on, or None.
        labels: (n,), or None.
        source_rows: (n,) the row of each example in its source, or None where example i is row i.
        stream: keeps the fixed draws of different splits apart.

    Raises:
        ValueError: x has no event axis, or another argument another length than x.
    """

    def __init__(
        self,
        x: Tensor,
        *,
        preparation: Preparation | None = None,
        c: Tensor | None = None,
        labels: Tensor | None = None,
        source_rows: Tensor | None = None,
        stream: int = 0,
    ) -> None:
        if x.ndim < 2:
            raise ValueError(
                f"x must have shape (n, *event), got {tuple(x.shape)}; write x.reshape(-1, 1) for n examples of one "
                "feature"
            )
        for name, values in (("c", c), ("labels", labels), ("source_rows", source_rows)):
            if values is not None and len(values) != len(x):
                raise ValueError(f"{name} must have {len(x):,} entries, one for each example, got {len(values):,}")
        self.x = x.contiguous()
        self.event_shape = tuple(x.shape[1:])
        self.preparation = preparation or Preparation()
        self.c = c
        self.labels = labels
        self._source_rows = source_rows
        self.stream = stream
        self._elsewhere: dict[torch.device, Batch] = {}

    def __len__(self) -> int:
        return len(self.x)

    @property
    def source_rows(self) -> Tensor | None:
        """See `Dataset.source_rows`."""
        return self._source_rows

    def __repr__(self) -> str:
        return f"InMemory({len(self):,} examples of shape {self.event_shape}, {self.x.dtype}; {self.preparation})"

    def _pools(
        self, order: int | None, lane: Lane, skip: int, device: torch.device
    ) -> Iterator[tuple[Batch, Tensor | None]]:
        pool = self.to(device)
        first, last = lane.within(len(self))
        if order is None:
            yield replace(pool, rows=torch.arange(len(self), device=pool.x.device))[first + skip : last], None
        else:
            # drawn on the CPU, so that it is the same on every device
            permutation = torch.randperm(len(self), generator=torch.Generator().manual_seed(order))
            yield pool, permutation.to(pool.x.device)[first + skip : last]

    def to(self, device: torch.device | str) -> Batch:
        """All stored values on a device, moved there once and kept; where they do not fit, those of the CPU."""
        device = indexed(torch.device(device))
        here = Batch(self.x, self.c, self.labels)
        if device == self.x.device:
            return here
        if device not in self._elsewhere:
            free = free_memory(device)
            if free is not None and self.x.nbytes > _SHARE * free:
                return here
            self._elsewhere[device] = here.to(device)
        return self._elsewhere[device]

    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """See `Dataset.stored`."""
        return self.x.index_select(0, torch.from_numpy(as_rows(rows)).to(self.x.device)).cpu()

    def fixed(self, *, seed: int = 0) -> "InMemory":
        """See `Dataset.fixed`."""
        if not self.preparation.is_random:
            return self
        return InMemory(
            self.preparation.draw(self.x, rows=torch.arange(len(self)), seed=seed, stream=self.stream),
            preparation=self.preparation.drawn,
            c=self.c,
            labels=self.labels,
            source_rows=self.source_rows,
            stream=self.stream,
        )
