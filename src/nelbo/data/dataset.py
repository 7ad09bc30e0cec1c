"""Examples that can be gone through in batches: the interface, and the set that lies in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor

from nelbo.data.draws import as_rows
from nelbo.data.preparation import Preparation

_GPU_SHARE = 0.5  # of the free memory of an accelerator that a data set may take: the rest is the model's


class Dataset(ABC):
    """Examples of one split: `InMemory` or `OnDisk`.

    Attributes:
        event_shape: what the model sees of one example: (channels, height, width) or (features,).
        preparation: what is done to stored values before the model sees them.
        y: (n,) labels for colouring figures, or None.
        stream: keeps the fixed draws of training (0), validation (1) and test sets (2) apart.
    """

    event_shape: tuple[int, ...]
    preparation: Preparation
    y: Tensor | None
    stream: int

    @property
    @abstractmethod
    def rows(self) -> Tensor | None:
        """The number of each example in its source, (n,); None where example i is row i."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def batches(
        self,
        batch_size: int,
        *,
        order: int | None = None,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> Iterator[Tensor]:
        """Raw batches on `device`, to be handed to `prepare`; the last one may be smaller.

        Args:
            batch_size: examples a batch.
            order: the seed of this epoch's order; None is storage order. The order depends on nothing else.
            start: skips that many batches: what follows is exactly what would have followed them.
            device: where the batches shall be; None is the CPU.

        Yields:
            (batch, *event) in the stored type: uint8 stays uint8. In storage order a batch may be a view of
            the data: do not write into it.

        Raises:
            ValueError: batch_size < 1 or start < 0.
        """

    @abstractmethod
    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """The stored values of the examples with these positions, (len(rows), *event), a copy on the CPU."""

    @abstractmethod
    def fixed(self, *, seed: int = 0) -> "Dataset":
        """The same examples with every random draw made once, by `seed`: each pass sees the same values.

        Evaluate a model on ``data.validation.fixed()``: its numbers then differ only where the models differ.
        ``fixed(seed=s).take(k)`` and ``take(k, seed=s)`` are equal.
        """

    def prepare(self, raw: Tensor) -> Tensor:
        """What the model sees of a raw batch, (batch, *event) float32; see `Preparation.__call__`."""
        return self.preparation(raw)

    def take(self, n_or_indices: int | slice | Sequence[int] | Tensor, *, seed: int = 0) -> Tensor:
        """Prepared examples by position, on the CPU.

        Where the preparation is random, the draw of an example depends on `seed` and its position alone, and
        torch's generators are neither read nor moved.

        Args:
            n_or_indices: a number n (the first n), a slice, or positions; negative ones count from the end.
            seed: of the draw.

        Returns:
            x: (n, *event) float32.

        Raises:
            IndexError: a position outside the set.
        """
        rows = self._positions(n_or_indices)
        drawn = self.preparation.draw(self.stored(rows), rows=rows, seed=seed, stream=self.stream)
        return (self.preparation.drawn if self.preparation.is_random else self.preparation)(drawn)

    def _positions(self, wanted: int | slice | Sequence[int] | Tensor) -> Tensor:
        n = len(self)
        if isinstance(wanted, int):
            if not 0 <= wanted <= n:
                raise IndexError(
                    f"take({wanted}) from {n:,} examples: an int is how many, at most {n:,}; write "
                    f"take([{wanted}]) for one example by its position."
                )
            return torch.arange(wanted)
        if isinstance(wanted, slice):
            return torch.arange(*wanted.indices(n))
        if isinstance(wanted, Tensor) and wanted.dtype == torch.bool:
            if wanted.shape != (n,):
                raise IndexError(f"a mask of shape {tuple(wanted.shape)} for {n:,} examples; expected ({n},).")
            return wanted.nonzero().flatten().cpu()
        rows = torch.from_numpy(as_rows(wanted)).flatten()
        outside = (rows < -n) | (rows >= n)
        if bool(outside.any()):
            raise IndexError(f"position {int(rows[outside][0])} is outside the {n:,} examples (0 to {n - 1}).")
        return torch.where(rows < 0, rows + n, rows)


@final
class InMemory(Dataset):
    """Examples that lie in memory, and on an accelerator once it has asked for them.

    Args:
        x: (n, *event) stored values; kept, not copied.
        preparation: what is done to them before the model sees them.
        y: (n,) labels, or None.
        rows: (n,) the number of each example in its source, or None where example i is row i.
        stream: keeps the fixed draws of different splits apart.
    """

    def __init__(
        self,
        x: Tensor,
        *,
        preparation: Preparation | None = None,
        y: Tensor | None = None,
        rows: Tensor | None = None,
        stream: int = 0,
    ) -> None:
        if x.ndim < 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (n, *event). Write x.reshape(-1, 1) for n examples "
                "of one feature."
            )
        for name, t in (("y", y), ("rows", rows)):
            if t is not None and len(t) != len(x):
                raise ValueError(f"{name} has {len(t):,} entries for {len(x):,} examples; expected one each.")
        self.x = x.contiguous()
        self.event_shape = tuple(x.shape[1:])
        self.preparation = preparation or Preparation()
        self.y = y
        self._rows = rows
        self.stream = stream
        self._elsewhere: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self.x)

    @property
    def rows(self) -> Tensor | None:
        """See `Dataset.rows`."""
        return self._rows

    def __repr__(self) -> str:
        return f"InMemory({len(self):,} examples of shape {self.event_shape}, {self.x.dtype}; {self.preparation})"

    def batches(
        self,
        batch_size: int,
        *,
        order: int | None = None,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> Iterator[Tensor]:
        """See `Dataset.batches`. The permutation is drawn on the CPU, so it is the same for every device."""
        check_batches(batch_size, start)
        return self._batches(batch_size, order, start, torch.device(device or "cpu"))

    def _batches(self, batch_size: int, order: int | None, start: int, device: torch.device) -> Iterator[Tensor]:
        x = self.to(device)
        first = start * batch_size
        if order is None:
            for i in range(first, len(x), batch_size):
                yield x[i : i + batch_size].to(device)
            return
        permutation = torch.randperm(len(x), generator=torch.Generator().manual_seed(order)).to(x.device)
        for i in range(first, len(x), batch_size):
            chosen = x.index_select(0, permutation[i : i + batch_size])
            if device.type == "cuda" and chosen.device.type == "cpu":
                chosen = chosen.pin_memory()  # or the copy would wait for the device
            yield chosen.to(device, non_blocking=True)

    def to(self, device: torch.device | str) -> Tensor:
        """The stored values on `device`, moved there once and kept; where they do not fit, the CPU's."""
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:  # pyright: ignore[reportUnnecessaryComparison]
            device = torch.device("cuda", torch.cuda.current_device())
        if device == self.x.device:
            return self.x
        if device not in self._elsewhere:
            if device.type == "cuda":
                free, _ = torch.cuda.mem_get_info(device)
                if self.x.nbytes > _GPU_SHARE * free:
                    return self.x
            self._elsewhere[device] = self.x.to(device)
        return self._elsewhere[device]

    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """See `Dataset.stored`."""
        return self.x.index_select(0, torch.from_numpy(as_rows(rows)).to(self.x.device)).cpu()

    def fixed(self, *, seed: int = 0) -> "InMemory":
        """See `Dataset.fixed`."""
        if not self.preparation.is_random:
            return self
        drawn = self.preparation.draw(self.x, rows=torch.arange(len(self)), seed=seed, stream=self.stream)
        return InMemory(drawn, preparation=self.preparation.drawn, y=self.y, rows=self.rows, stream=self.stream)


def check_batches(batch_size: Any, start: Any) -> None:
    """Raise where batch_size or start cannot be meant."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number of examples, 1 or more.")
    if not isinstance(start, int) or start < 0:
        raise ValueError(f"start is {start!r}; expected how many batches to skip, 0 or more.")
