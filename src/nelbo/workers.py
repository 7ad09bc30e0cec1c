"""The processes that train one model together: which of them this is, and what they tell each other.

Numbers are added along a fixed tree over the pieces of a batch, never over processes: a sum has the same bits however
the pieces were dealt out. All else that is said are a few tensors and texts; nothing is pickled.
"""

import atexit
import contextlib
import math
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, distributed

from nelbo import devices
from nelbo.launcher import launched, meeting_place

_PATIENCE = 20.0  # seconds without a word while processes meet
_AT_ONCE = 1 << 22  # numbers of a sum that travel at a time: each process holds those of all others


@final
@dataclass(frozen=True)
class Workers:
    """The processes of a training, seen from one of them.

    Args:
        rank: number of this one; the first, 0, shows and writes.
        size: number of all.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that shows and writes."""
        return self.rank == 0

    def share(self, n: int, rank: int | None = None) -> range:
        """Those of n things that this process, or the one with that number, takes care of: neighbours."""
        rank = self.rank if rank is None else rank
        return range(n * rank // self.size, n * (rank + 1) // self.size)

    def sum_over(self, pieces: int, value: Callable[[int], Tensor]) -> Tensor:
        """The sum of a vector over pieces, whose bits do not depend on the number of processes.

        Args:
            pieces: their number.
            value: called once, in order, with the number of each own piece; the vector may be added to.

        Returns:
            The vector, on every process.
        """

        def leaf(node: tuple[int, int]) -> Tensor | None:
            return value(node[0]) if node[1] - node[0] == 1 else None

        mine = [_sum(node, leaf) for node in _nodes(self.share(pieces), (0, pieces))]
        if self.size == 1:
            return mine[0]
        of_all = [list(_nodes(self.share(pieces, rank), (0, pieces))) for rank in range(self.size)]
        most = max(len(nodes) for nodes in of_all)
        total = torch.empty_like(mine[0])
        for place, *parts in zip(*(each.split(_AT_ONCE) for each in (total, *mine)), strict=True):
            sent = torch.stack([*parts, *parts[:1] * (most - len(parts))])
            got = self._gathered(sent)
            known = {node: got[rank][k] for rank, nodes in enumerate(of_all) for k, node in enumerate(nodes)}
            place.copy_(_sum((0, pieces), known.get))
        return total

    def joined(self, rows: Tensor, n: int) -> Tensor:
        """The rows of all processes, (n, ...), in the order of their numbers; each gave those of its `share`."""
        if self.size == 1:
            return rows
        padded = rows.new_zeros(math.ceil(n / self.size), *rows.shape[1:])
        padded[: len(rows)] = rows
        got = self._gathered(padded)
        return torch.cat([each[: len(self.share(n, rank))] for rank, each in enumerate(got)])

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it holds on at least one process; all wait for each other."""
        if self.size == 1:
            return list(flags)
        return torch.stack(self._gathered(torch.tensor(flags, dtype=torch.uint8))).amax(0).bool().tolist()

    def texts(self, text: str) -> list[str]:
        """The text of each process, by its number."""
        if self.size == 1:
            return [text]
        content = torch.frombuffer(bytearray(text.encode()) or bytearray(b"\0"), dtype=torch.uint8)
        sizes = [int(each) for each in self._gathered(torch.tensor([len(text.encode())]))]
        padded = torch.zeros(max(1, *sizes), dtype=torch.uint8)
        padded[: len(content)] = content[: len(padded)]
        return [bytes(each[:size].tolist()).decode() for each, size in zip(self._gathered(padded), sizes, strict=True)]

    def align(self, tensors: Sequence[Tensor]) -> None:
        """Give these tensors, in place, the values that they have on the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            here = tensor.detach()
            there = here.to(_meeting_place(here.device)).contiguous()
            with self._listening():
                distributed.broadcast(there, 0)
            here.copy_(there)

    @contextlib.contextmanager
    def together(self) -> Generator[None]:
        """Within, an error of one process ends all: the others raise an `OtherFailedError` that repeats it."""
        try:
            yield
        except Exception as error:
            if self.size > 1:
                self.texts(f"{type(error).__name__}: {error}")
            raise
        failed = [(rank, text) for rank, text in enumerate(self.texts("")) if text]
        if failed:
            rank, text = failed[0]
            raise OtherFailedError(f"process {rank} of {self.size} could not go on: {text}")

    @contextlib.contextmanager
    def _listening(self) -> Generator[None]:
        try:
            yield
        except RuntimeError as error:  # of any kind: each backend has its own
            raise OtherFailedError(
                f"process {self.rank} of {self.size} waits in vain for another one, which has ended or is not "
                "reachable. A run that has a folder goes on from its last checkpoint: start the same processes with "
                "--resume"
            ) from error

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, of one shape."""
        sent = tensor.to(_meeting_place(tensor.device)).contiguous()
        got = [sent if rank == self.rank else torch.empty_like(sent) for rank in range(self.size)]
        messages = [
            distributed.P2POp(way, there, rank)
            for rank, place in enumerate(got)
            if rank != self.rank
            for way, there in ((distributed.isend, sent), (distributed.irecv, place))
        ]
        with self._listening():  # an all_gather of gloo takes twice as long
            for message in distributed.batch_isend_irecv(messages):
                message.wait()
        return [each.to(tensor.device) for each in got]


ALONE = Workers()
"""One process by itself."""


class OtherFailedError(ConnectionError):
    """Another process of the same training failed; the message repeats what it said, if it still could."""


_given: ContextVar[Sequence[int] | None] = ContextVar("_given", default=None)
_any_number: ContextVar[bool] = ContextVar("_any_number", default=False)


@contextlib.contextmanager
def given(numbers: Sequence[int]) -> Generator[None]:
    """Within, those of independent things that this process does are the ones with these numbers."""
    token = _given.set(numbers)
    try:
        yield
    finally:
        _given.reset(token)


@contextlib.contextmanager
def any_number() -> Generator[None]:
    """Within, processes may train together whose number does not divide the pieces: an engine chose it, and no user."""
    token = _any_number.set(True)
    try:
        yield
    finally:
        _any_number.reset(token)


def dealt(n: int) -> tuple[Sequence[int], bool]:
    """Those of n independent things that this process does, by turns with the others that a launcher started.

    Returns:
        Their numbers, and whether this is the first of the processes.
    """
    if (numbers := _given.get()) is not None:
        return numbers, False
    here = launched()
    return range(here.rank, n, here.size), here.rank == 0


def working_together(pieces: int) -> Workers:
    """The processes that are to train together: those of a group that is there already, or else of a launcher.

    What a launcher started stays a group until the process ends, for it may train another model.

    Args:
        pieces: into which a batch is cut.

    Raises:
        ValueError: the number of processes does not divide it, or a variable of the launcher is wrong.
    """
    there = distributed.is_available() and distributed.is_initialized()
    size = distributed.get_world_size() if there else launched().size
    if pieces % size and not (_any_number.get() and size < pieces):
        most = math.ceil(pieces / size) * size
        raise ValueError(
            f"shards must be a multiple of the number of processes, {size}, for each computes as many, got {pieces}; "
            f"write shards={most}" + (f", or start a number of processes that divides {pieces}" if pieces > 1 else "")
        )
    if size == 1:
        return ALONE
    if not there:
        devices.take_one(launched().local_rank)
        with _told_of_waiting(size):
            distributed.init_process_group()
        atexit.register(distributed.destroy_process_group)
    return Workers(distributed.get_rank(), size)


@contextlib.contextmanager
def _told_of_waiting(size: int) -> Generator[None]:
    """Within, say on standard error whom this process waits for where that takes long; torch waits for half an hour."""
    note = (
        f"nelbo: process {launched().rank} of {size} (numbered from 0) waits for the others at {meeting_place()}; stop "
        "it if one of them failed"
    )
    timer = threading.Timer(_PATIENCE, lambda: print(note, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _meeting_place(device: torch.device) -> torch.device:
    """Where tensors of a device can be exchanged: there, or on the CPU where its backend has no way between devices."""
    backends = distributed.get_backend_config()  # such as "cpu:gloo,cuda:nccl"
    known = dict(each.split(":") for each in str(backends).split(",") if ":" in each)
    if known.get(device.type, "gloo") != "gloo" or (device.type == "cpu" and "cpu" in known):
        return device
    other = next((kind for kind, backend in known.items() if kind != "cpu" and backend != "gloo"), None)
    return torch.device("cpu") if "cpu" in known or other is None else torch.device(other)


def _nodes(own: range, node: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The largest nodes of the tree over pieces that lie in a range, in order."""
    first, last = node
    if last <= own.start or own.stop <= first:
        return
    if own.start <= first and last <= own.stop:
        yield node
        return
    middle = (first + last) // 2
    yield from _nodes(own, (first, middle))
    yield from _nodes(own, (middle, last))


def _sum(node: tuple[int, int], known: Callable[[tuple[int, int]], Tensor | None]) -> Tensor:
    """The sum over a node of the tree, from those nodes below it whose sums are known."""
    found = known(node)
    if found is not None:
        return found
    first, last = node
    middle = (first + last) // 2
    return _sum((first, middle), known).add_(_sum((middle, last), known))
