"""The state in which a model is measured, and how much is computed at a time."""

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from nelbo.devices import CPU, device_of, free_memory, products_in_tf32, release_memory
from nelbo.randomness import derive, own_randomness, seed_noise

BUDGET = 1 << 18
"""Numbers decoded together: 1 MB of float32, which with its log-probabilities stays in a processor's cache."""


_SHARE = 1 / 8  # of the free memory of an accelerator that is computed in together,
_BYTES = 32  # that a number takes there: itself, its log-probability, and what a network has in between
_halvings = 0  # of the budget, by `within_memory`
_MOST_HALVINGS = 32  # any budget is one row then
_told: ContextVar[dict[torch.device, int] | None] = ContextVar("told", default=None)  # free bytes, by `within_memory`
P = ParamSpec("P")
T = TypeVar("T")


def rows_at_once(numbers: int, *, passes: int = 1, on: torch.device | None = None) -> int:
    """The rows that are computed together, one at least: the one memory budget of everything that is measured.

    Args:
        numbers: of one row: features times draws, or pairs of an example and a code.
        passes: budgets that may be taken at once, where a row costs little beside what a call costs by itself.
        on: the device that computes, where its memory may matter; None where the rows are drawn by a generator, so that
            a larger memory does not change the draws.
    """
    budget = passes * BUDGET
    if on is not None:
        free = _free(on)
        # a power of two, so that chunks are the same where a little more or less is free
        budget = max(budget, 1 << (int(free * _SHARE) // _BYTES).bit_length() >> 1)
        budget >>= _halvings  # also on a device that does not tell what is free, as a network may compute elsewhere
    return max(1, budget // max(1, numbers))


def _free(device: torch.device) -> int:
    """Bytes free on a device; within a measurement, those at its first chunk, since to ask waits for some devices."""
    told = _told.get()
    known = {} if told is None else told
    if device not in known:
        known[device] = free_memory(device) or 0
    return known[device]


@contextmanager
def _told_once() -> Generator[dict[torch.device, int]]:
    """Within, what is free is asked once, until the answer is cleared; of nested ones, within the outermost."""
    told = _told.get()
    if told is not None:
        yield told
        return
    told = dict[torch.device, int]()
    token = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(token)


class NothingFitsError(torch.OutOfMemoryError):
    """One row at a time takes more memory than a device has."""


def within_memory(compute: Callable[P, T]) -> Callable[P, T]:
    """Let a function that computes in chunks begin again with chunks of half the size where a device's memory ends.

    The chunks stay as small for the rest of the process. What is computed depends on their size by its rounding alone.
    What is free is asked once, and again where the memory ended.

    Raises:
        NothingFitsError: one row at a time does not fit either; it is an OutOfMemoryError.
    """

    @functools.wraps(compute)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with _told_once() as told:
            while True:
                try:
                    return compute(*args, **kwargs)
                except NothingFitsError:
                    raise
                except torch.OutOfMemoryError as error:
                    if not _halve():
                        line = "free memory there, or compute on the CPU: device='cpu' where the model is loaded"
                        raise NothingFitsError(f"one row at a time takes more memory than is free; {line}") from error
                release_memory()  # after the exception, which holds what was computed
                told.clear()

    return call


def _halve() -> bool:
    """Halve the budget, if there is something left of it to halve."""
    global _halvings  # noqa: PLW0603  (the memory is the process's own)
    _halvings = (_halvings + 1) % _MOST_HALVINGS
    return _halvings > 0


@contextmanager
def evaluation_mode(model: Any, seed: int = 0) -> Generator[torch.device | None]:
    """Within, the model is in evaluation mode without gradients and draws come from ``seed``; all is put back.

    Matrix products and convolutions of float32 take place in float32, however torch is set; but for a model whose own
    ``network_precision`` is TF32.

    Yields:
        The device that the model is on, or None where that cannot be seen.
    """
    module = model if isinstance(model, nn.Module) else nn.Module()
    device = device_of(module)
    drawing = device or CPU
    in_tf32 = getattr(model, "network_precision", None) == "tf32"
    modes = [(part, part.training) for part in module.modules()]
    if any(training for _, training in modes):
        module.eval()
    try:
        # a slope in z can be asked for within, also where the caller is in inference mode
        with torch.inference_mode(False), torch.no_grad(), own_randomness(drawing), products_in_tf32(drawing, in_tf32):
            seed_noise(drawing, derive(seed, "measure"))
            yield device
    finally:
        for part, training in modes:
            if part.training != training:  # to set an attribute of a module takes long
                part.training = training
