"""Examples that a function yields anew in each epoch, and that are never all in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from nelbo.data.batch import Batch
from nelbo.data.dataset import Dataset, InMemory, Lane, joined
from nelbo.data.preparation import Preparation
from nelbo.data.rows import as_tensor, plain
from nelbo.data.source import ChangedError, as_array
from nelbo.progress import ProgressBar
from nelbo.randomness import derive, generator
from nelbo.registry import takes

_HEAD, _HEAD_BYTES = 10_000, 1 << 28  # examples, and bytes of them, that are kept in memory
_PAIR = 2
_END = object()


def is_function_of_epochs(source: Any) -> bool:
    """Whether a source of data is a function, and nothing that holds examples by itself."""
    holds = any(hasattr(source, name) for name in ("__array__", "__getitem__", "__iter__", "__len__"))
    return callable(source) and not holds and not isinstance(source, type | nn.Module)


@final
class Streamed(Dataset):
    """Examples that a function yields anew in each epoch, used as they are.

    Wherever the training begins in the middle of an epoch, as a resume does, the function is called with the number of
    that epoch, and what was seen of it is read again and discarded. While the function and its iterable run, torch's
    global generator on the CPU is theirs, seeded by the epoch: ``lambda epoch: DataLoader(examples, shuffle=True)``
    repeats itself. For all other random numbers, seed by the epoch.

    >>> def batches(epoch):
    ...     order = torch.randperm(6, generator=torch.Generator().manual_seed(epoch))
    ...     return (torch.eye(6)[part] for part in order.split(4))
    >>> Streamed(batches)
    Streamed(6 examples of shape (6,))

    Args:
        batches: called with the number of an epoch, from 0 on; gives an iterable of batches of any size, each of them x
            of shape (batch, \\*event), a pair (x, labels), or a Batch of x with conditions c; tensors or arrays.
        examples: in an epoch; what follows is not read, so that the iterable may be endless. None counts them, by
            going through epoch 0 once.

    Attributes:
        head: the first 10,000 examples of epoch 0, or 256 MiB of them, in memory. What looks at the data before, beside
            and after the steps looks at these: the checks, the start of the output bias, a closed-form sigma.
        counted: whether the examples of an epoch were counted.
        repeats: whether the first batch of epoch 0 was the same when the function was called again. Otherwise a run
            that goes on differs from one that was not interrupted.

    Raises:
        TypeError: ``batches`` is no function, or yields what is not a batch.
        ValueError: it yields nothing, an example without a batch axis, or examples of several shapes.
    """

    replays = True

    def __init__(self, batches: Callable[[int], Iterable[Any]], *, examples: int | None = None) -> None:
        if not (is_function_of_epochs(batches) and takes(batches, 1)):
            raise TypeError(
                "batches must be a function from the number of an epoch to an iterable of batches, got "
                f"{getattr(batches, '__name__', type(batches).__name__)}; write lambda epoch: loader"
            )
        if examples is not None and (not isinstance(examples, int) or isinstance(examples, bool) or examples < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"examples must be a positive integer, those of an epoch, or None, got {examples!r}")
        self.make, self.counted = batches, examples is None
        self.preparation, self.stream = Preparation(), 0
        self._like: tuple[tuple[int, ...], list[str]] | None = None  # shape of an example, and what comes with it
        self.head, self._n = self._begin(examples)
        self.event_shape, self.c, self.labels = self.head.event_shape, self.head.c, self.head.labels
        again = next(self._items(0), None)
        if again is None:
            raise ValueError(
                "batches(0) yields nothing when it is called again: it gave what had been gone through already. Write "
                "a function that makes its iterable at each call, such as lambda epoch: iter(loader)"
            )
        first = self.head.x[: len(again)]
        self.repeats = torch.equal(torch.nan_to_num(first), torch.nan_to_num(again.x[: len(first)]))

    def _begin(self, examples: int | None) -> tuple[InMemory, int]:
        """The first examples of epoch 0, and how many there are in an epoch."""
        kept: list[Batch] = []
        n, room = 0, _HEAD if examples is None else min(_HEAD, examples)
        with ProgressBar("counting the examples of epoch 0", None, unit="examples") as bar:
            for batch in self._items(0):
                if not n:
                    room = min(room, max(2, _HEAD_BYTES // batch.x[0].nbytes))
                if n < room:
                    kept.append(batch[: room - n])
                n += len(batch)
                bar.advance(len(batch))
                if examples is not None and n >= room:
                    break
        if not n:
            raise ValueError("batches(0) must yield batches of examples, and yielded none")
        if examples is not None and n < room:
            raise ValueError(
                f"batches(0) must yield {examples:,} examples, and yielded {n:,}; of a new run, write examples={n}"
            )
        head = Batch.cat(kept)
        return InMemory(head.x, c=head.c, labels=head.labels), n if examples is None else examples

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"Streamed({len(self):,} examples of shape {self.event_shape})"

    @property
    def source_rows(self) -> Tensor | None:
        """See `Dataset.source_rows`."""
        return None

    def fixed(self, *, seed: int = 0) -> "Streamed":
        """See `Dataset.fixed`; what is drawn, the function has drawn."""
        return self

    def order_of(self, epoch: int, *, seed: int) -> int:
        """See `Dataset.order_of`; it is the function's, whatever the seed."""
        return epoch

    def spread(self, n: int) -> Tensor:
        """See `Dataset.spread`; the others would have to be looked for in a whole epoch."""
        return torch.arange(min(n, len(self.head)))

    def stored(self, rows: Sequence[int] | Tensor) -> Tensor:
        """See `Dataset.stored`; what is not in the head is found by going through epoch 0."""
        return self._found(self._positions(rows)).x

    def examples(self, n_or_indices: int | slice | Sequence[int] | Tensor, *, seed: int = 0) -> Batch:
        """See `Dataset.examples`: those of epoch 0."""
        rows = self._positions(n_or_indices)
        found = self.prepare(self._found(rows))
        return Batch(found.x, found.c, found.labels, rows)

    def _found(self, rows: Tensor) -> Batch:
        here = self.head.to("cpu")
        if not len(rows) or int(rows.max()) < len(here):
            return here[rows]
        wanted, places = rows.unique(return_inverse=True)
        parts: list[Batch] = []
        last, seen = int(wanted[-1]), 0
        for batch, _ in self._pools(None, Lane(), 0, here.x.device):
            within = wanted[(wanted >= seen) & (wanted < seen + len(batch))] - seen
            parts.append(batch[within])
            seen += len(batch)
            if seen > last:
                break
        return Batch.cat(parts)[places]

    def _in_lanes(
        self, batch_size: int, order: int | None, start: int, device: torch.device, lanes: int, wanted: Sequence[int]
    ) -> Iterator[Batch]:
        # each process goes through all of them: what it leaves out cannot be skipped
        for batch in self._batches(batch_size, order, Lane(), start * batch_size, device):
            parts = (slice(*Lane(lane, lanes).within(len(batch))) for lane in wanted)
            yield batch if lanes == 1 else joined([batch[part] for part in parts])

    def _pools(
        self, order: int | None, lane: Lane, skip: int, device: torch.device
    ) -> Iterator[tuple[Batch, Tensor | None]]:
        epoch, seen = order or 0, 0
        if skip >= len(self):
            return
        for item in self._items(epoch):
            batch = item[: len(self) - seen]
            if skip < len(batch):
                rows = torch.arange(seen, seen + len(batch)) if order is None else None
                yield Batch(batch.x, batch.c, batch.labels, rows)[skip:], None
                skip = 0
            else:
                skip -= len(batch)
            seen += len(batch)
            if seen == len(self):
                return
        raise ChangedError(
            f"batches({epoch}) ended after {seen:,} of {len(self):,} examples, and each epoch must have as many. Let "
            f"it yield more, or for a new run take fewer of each: nelbo.data.Streamed(batches, examples={max(1, seen)})"
        )

    def _items(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch as they come, copied, for the function may use their memory again."""
        state = generator(derive(0, "stream", epoch)).get_state()

        def drawing(call: Callable[[], Any]) -> Any:
            nonlocal state
            with torch.random.fork_rng([]):
                torch.set_rng_state(state)
                got = call()
                state = torch.get_rng_state()
            return got

        made: Any = drawing(lambda: self.make(epoch))
        if not hasattr(made, "__iter__"):
            raise TypeError(
                f"batches({epoch}) must return an iterable of batches, got {type(made).__name__}; yield them, or "
                "return a list or a DataLoader"
            )
        items = drawing(lambda: iter(made))
        seen = 0
        while (item := drawing(lambda: next(items, _END))) is not _END:
            batch = taken(item, f"batches({epoch})")
            got = tuple(batch.x.shape[1:]), [name for name in ("c", "labels") if getattr(batch, name) is not None]
            self._like = self._like or got
            if got != self._like:
                (shape, beside), (expected, with_) = got, self._like
                raise ChangedError(
                    f"batches({epoch}) must yield examples of shape {expected}{_with(with_)}, as the first of epoch 0, "
                    f"got {shape}{_with(beside)} after {seen:,} examples"
                )
            if len(batch):
                yield batch
            seen += len(batch)


def taken(item: Any, name: str) -> Batch:
    """A batch, as a function of epochs yields it or as it is given to validate on; on the CPU.

    Args:
        item: x of shape (batch, \\*event), a pair (x, labels), or a Batch.
        name: of what gave it.

    Raises:
        TypeError: it is nothing of these.
        ValueError: x has no event axis, or labels or conditions another length than x.
    """
    parts = list(item) if isinstance(item, tuple | list) else [item]
    if isinstance(item, Batch):
        x, labels, c = item.x, item.labels, item.c
    elif 1 <= len(parts) <= _PAIR and all(hasattr(part, "__array__") for part in parts):
        x, labels, c = parts[0], parts[1] if len(parts) == _PAIR else None, None
    else:
        kind = f"({', '.join(type(part).__name__ for part in parts)})" if len(parts) > 1 else type(parts[0]).__name__
        raise TypeError(
            f"{name} must yield batches, each a tensor or array x, a pair (x, labels) or nelbo.data.Batch(x, c), got "
            f"{kind}"
        )
    values = _copied(x, "x")
    if values.dim() < 2:
        raise ValueError(
            f"{name} must yield batches of shape (batch, *event), got {tuple(values.shape)}; for one example yield "
            "x[None]"
        )
    beside = {key: None if part is None else _copied(part, key) for key, part in (("c", c), ("labels", labels))}
    for key, part in beside.items():
        if part is not None and part.shape[:1] != values.shape[:1]:
            got = tuple(part.shape)
            raise ValueError(f"{name} must yield {key} for each of {len(values)} examples, got shape {got}")
    return Batch(values, **beside)


def _copied(values: Any, name: str) -> Tensor:
    array = values if isinstance(values, Tensor) else np.asarray(values)
    return as_tensor(plain(as_array(array), name=name)).clone()


def _with(names: Sequence[str]) -> str:
    return f" with {' and '.join(names)}" if names else ""
