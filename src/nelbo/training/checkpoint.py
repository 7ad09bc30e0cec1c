"""The complete state of a training between two steps, as tensors and one JSON value, and its keeper."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, final

import torch
from torch import Tensor, nn

from nelbo.files import DamagedFileError, write_tensors
from nelbo.runs import CHECKPOINT, flush_history, load_weights, part_of, read_checkpoint
from nelbo.training.optimizers import flat_state, load_flat_state

_AT_MOST_EVERY = 5.0  # seconds: short epochs shall not spend their time on writing checkpoints


@dataclass
class Position:
    """Where the training stands; the random draws follow from it."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Batches done in the running epoch."""
    step: int = 0
    """Steps done in all."""
    best: float | None = None
    """Best monitored validation value so far."""
    best_epoch: int = 0
    seconds: float = 0.0
    """Training time so far."""
    epoch_seconds: float = 0.0
    """That of the running epoch."""
    lines: int = 0
    """Lines of metrics.jsonl that belong to this state."""
    stopped: bool = False
    """Whether early stopping ended the training."""


@dataclass
class State:
    """What changes while training; all of it is in a checkpoint."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None = None
    """Exponential moving average of the weights, if asked for."""
    best: dict[str, Tensor] | None = None
    """The weights at the best validation value, if early stopping is on."""
    totals: Tensor = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    """Sums over the running epoch's examples."""
    position: Position = field(default_factory=Position)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under a name that says whose it is; references, no copies."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": flat_state(self.optimizer),
            "average": self.average or {},
            "best": self.best or {},
            "totals": {"": self.totals},
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def snapshot(self) -> "Snapshot":
        """A copy on the CPU that later steps do not change."""
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.tensors().items()}
        return Snapshot(copies, asdict(self.position))

    def restore(self, snapshot: "Snapshot") -> None:
        """Take up a snapshot, into the same tensors, or raise a ValueError when it belongs to another model."""
        load_weights(self.model, snapshot.part("model"))
        load_flat_state(self.optimizer, snapshot.part("optimizer"))
        self.average = _copied(snapshot.part("average"), self.average, self.totals.device)
        self.best = _copied(snapshot.part("best"), self.best, self.totals.device)
        self.totals.copy_(snapshot.part("totals")[""])
        self.position = Position(**snapshot.position)


def _copied(
    saved: Mapping[str, Tensor], into: dict[str, Tensor] | None, device: torch.device
) -> dict[str, Tensor] | None:
    """Saved tensors in those that are there already, else in new ones; None where nothing was saved."""
    if not saved:
        return None
    if into is None:
        return {name: tensor.to(device, copy=True) for name, tensor in saved.items()}
    for name, tensor in saved.items():
        into[name].copy_(tensor)
    return into


@dataclass(frozen=True)
class Snapshot:
    """A state at rest."""

    tensors: dict[str, Tensor]
    position: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part: model, optimizer, average, best or totals."""
        return part_of(self.tensors, name)

    def save(self, folder: Path) -> None:
        """Write it into a run's folder, atomically."""
        write_tensors(folder / CHECKPOINT, self.tensors, self.position)

    @classmethod
    def load(cls, folder: Path) -> "Snapshot":
        """Read it from a run's folder, or raise a DamagedFileError."""
        tensors, position = read_checkpoint(folder)
        if position.keys() != asdict(Position()).keys():
            raise DamagedFileError(f"{folder / CHECKPOINT} is the checkpoint of another version of nelbo")
        return cls(tensors, position)


@final
class Keeper:
    """Keeps the last good state, for a resume and for a replay: in memory, and on disk if the run has a folder.

    Args:
        state: of the training.
        folder: of the run, or None.
        every: seconds between checkpoints within an epoch.
    """

    def __init__(self, state: State, folder: Path | None, *, every: float = math.inf) -> None:
        self.state, self.folder, self.every = state, folder, every
        self.last: Snapshot | None = None
        self._kept_at = 0.0

    def due(self) -> bool:
        """Whether it is time for a checkpoint within an epoch."""
        return perf_counter() - self._kept_at > self.every

    def due_after_epoch(self) -> bool:
        """Whether it is time for one at the end of an epoch; in memory, where it costs little, it always is."""
        return self.folder is None or perf_counter() - self._kept_at > min(_AT_MOST_EVERY, self.every)

    def keep(self) -> None:
        """Keep the present state; the caller has seen to it that it is good."""
        snapshot = self.state.snapshot()
        if self.folder is not None:
            flush_history(self.folder)
            snapshot.save(self.folder)
        self.take(snapshot)

    def take(self, snapshot: Snapshot) -> None:
        """Take note that this is the last good state."""
        self.last = snapshot
        self._kept_at = perf_counter()

    def restore(self) -> None:
        """Set the state back to the last good one, if there is one."""
        if self.last is not None:
            self.state.restore(self.last)

    @property
    def sentence(self) -> str:
        """What is kept, in words."""
        if self.last is None:
            return "Nothing was trained yet"
        where = (
            f"The last good state is kept in {self.folder}"
            if self.folder
            else "The model was set back to its last good state"
        )
        return f"{where}, after {self.last.position['step']} steps"
