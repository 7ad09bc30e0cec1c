"""Training steps captured as a graph of the device's operations, and replayed by one call where that changes nothing.

An accelerator takes less time for a step of a small network than Python takes to ask for it, operation by operation.
What was captured reads and writes the same memory at each replay, so what changes from step to step are tensors
(:class:`nelbo.training.step.Clock`), and the seed of the device's generator, which a replay reads anew.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, fields
from typing import Any, final

import torch
from torch import Tensor

from nelbo import devices
from nelbo.data import Batch
from nelbo.randomness import derive, seed_noise
from nelbo.training.step import Updates

_ROUNDING = 1e-3  # more than kernels that add in no fixed order differ by, in the largest number
_SLACK = 4.0  # by how much a replay may differ, in differences between two runs of the step


@final
@dataclass
class CapturedUpdates(Updates):
    """Updates whose steps are replayed, where replays have the same results.

    The first step with a shape of batch runs as it would without graphs: libraries and compilers set themselves up. The
    second one is tried: run twice from the same state, then captured, with other noise and at another time of the
    clock, and replayed from that state again. Only a replay with the same bits is kept, or, where two runs of the step
    differ themselves, one that differs from them as little. A step that waits for the device, or that depends on
    numbers of Python which change, is never replayed, and `notes` says why.

    Attributes:
        reason: why steps are not replayed; None where they are.
        replayed: the number of steps that were.
    """

    reason: str | None = None
    replayed: int = 0
    _repeats: bool | None = None
    _replays: dict[Any, "_Replay | None"] = field(default_factory=dict[Any, "_Replay | None"])

    @property
    def notes(self) -> list[str]:
        return [*super().notes, self._sentence()]

    def _sentence(self) -> str:
        if self.reason is not None:
            return f"run one by one: {self.reason}"
        if self._repeats is None:
            return "run one by one: they were too few to capture one"
        what = "replayed as a graph" + ("" if self.moves_within else ", but for the optimizer's own part")
        if self._repeats:
            return f"{what}, bit for bit as they run without it"
        return f"{what}; two runs of one step differ in their last bits, and a replay differs from them as little"

    def run(self, raw: Batch, *, watched: bool = False) -> Tensor:
        if watched or self.reason is not None:
            return super().run(raw, watched=watched)
        shape = tuple((name, values.shape, values.dtype) for name, values in _on(raw, self.device))
        if shape not in self._replays:
            self._replays[shape] = None
            return super().run(raw)
        replay = self._replays[shape]
        if replay is None:
            return self._try(raw, shape)
        self.replayed += 1
        return self._ended(replay(raw))

    def _ended(self, loss: Tensor) -> Tensor:
        if not self.moves_within:
            self.apply()
        return loss

    def _try(self, raw: Batch, shape: Any) -> Tensor:
        """Do the step, and find out whether others of its kind can be replayed."""
        position, snapshot = self.state.position, self.state.snapshot()

        def begin() -> None:
            self.state.restore(snapshot)
            self.state.position = position  # others hold it
            self.begin()

        def outcome(
            step: Callable[[Batch], Tensor], *within: AbstractContextManager[None]
        ) -> tuple[list[Tensor], list[Tensor]]:
            """Of the step from the same state: the loss and the gradients, and all that it changed."""
            begin()
            with ExitStack() as stack:
                for each in within:
                    stack.enter_context(each)
                loss = step(raw)
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            after = self.state.tensors().values()
            return [each.clone() for each in (loss, *gradients)], [each.detach().clone() for each in after]

        try:
            first = outcome(self.unit, devices.aside(self.device), devices.waiting_raises(self.device))
            second = outcome(self.unit, devices.aside(self.device))
            begin()
            replay = self._captured(raw)
            third = outcome(replay)
        except Exception as error:  # of any kind: networks are the user's own
            self.reason = f"a step cannot be captured: {_first_cause(error)}"
        else:
            theirs, ours = (list(map(_difference, second, other)) for other in (first, third))
            same = not any(theirs)
            self._repeats = same and self._repeats is not False
            if theirs[0] < _ROUNDING and (not any(ours) or (not same and ours[0] <= _SLACK * theirs[0])):
                self._replays[shape] = replay
                return self._ended(replay.loss)
            self.reason = "its result changes with something in Python, which a graph would keep as it was"
        begin()
        return super().run(raw)

    def _captured(self, raw: Batch) -> "_Replay":
        """The step as a graph, at another time and with other noise than it will be replayed with first."""
        position = self.state.position
        batch = Batch(**{name: values.clone() for name, values in _on(raw, self.device)})
        graph = devices.new_graph(self.device)
        seed_noise(self.device, derive(self.settings.seed, "capture"))
        self.clock.advance(position.epoch + position.batch / self.per_epoch + 0.5, position.step + 1)
        self.clock.hidden = True
        try:
            with devices.capture(graph, self.device):
                loss = self.unit(batch)
        finally:
            self.clock.hidden = False
        return _Replay(graph, batch, loss, [(parameter, parameter.grad) for parameter in self.parameters])


@final
@dataclass
class _Replay:
    """A captured step, with the memory that it reads and writes."""

    graph: Any
    batch: Batch
    loss: Tensor
    gradients: Sequence[tuple[Tensor, Tensor | None]]

    def __call__(self, raw: Batch) -> Tensor:
        for name, values in _on(raw, self.loss.device):
            getattr(self.batch, name).copy_(values, non_blocking=True)
        self.graph.replay()
        for parameter, gradient in self.gradients:  # a step that was run in between gave it another one
            parameter.grad = gradient
        return self.loss


def _on(batch: Batch, device: torch.device) -> list[tuple[str, Tensor]]:
    """The fields of a batch that lie on the device, by name."""
    named = ((each.name, getattr(batch, each.name)) for each in fields(batch))
    return [(name, values) for name, values in named if values is not None and values.device == device]


def _first_cause(error: BaseException) -> str:
    """What was raised first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _difference(some: list[Tensor], others: list[Tensor]) -> float:
    """The largest difference between the numbers of two lists, in the largest number of the tensor that it is in."""
    largest = 0.0
    for one, other in zip(some, others, strict=True):
        if torch.equal(one.nan_to_num(), other.nan_to_num()) and torch.equal(one.isnan(), other.isnan()):
            continue
        apart = devices.widened(one) - devices.widened(other)
        largest = max(largest, float((apart.abs().max() / devices.widened(one).abs().max()).nan_to_num(torch.inf)))
    return largest
