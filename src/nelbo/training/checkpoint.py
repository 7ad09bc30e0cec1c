"""The complete state of a training between two steps, as tensors and one JSON value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.files import DamagedFileError, read_tensors, write_tensors
from nelbo.runs import load_weights
from nelbo.training.optimizers import Optimizer

FILE = "checkpoint/state.safetensors"


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
    optimizer: Optimizer
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
            "optimizer": self.optimizer.state_dict(),
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
        """Take up a snapshot, or raise a ValueError when it belongs to another model or optimizer."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in snapshot.tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        load_weights(self.model, parts.get("model", {}))
        self.optimizer.load_state_dict(parts.get("optimizer", {}))
        device = self.totals.device
        for name in ("average", "best"):
            saved = parts.get(name)
            # copies: training changes them in place, and the snapshot is to stay what it is
            own = None if saved is None else {key: value.to(device, copy=True) for key, value in saved.items()}
            setattr(self, name, own)
        self.totals = parts["totals"][""].to(device, copy=True)
        self.position = Position(**snapshot.position)


@dataclass(frozen=True)
class Snapshot:
    """A state at rest."""

    tensors: dict[str, Tensor]
    position: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write it into a run's folder, atomically."""
        write_tensors(folder / FILE, self.tensors, self.position)

    @classmethod
    def load(cls, folder: Path) -> "Snapshot":
        """Read it from a run's folder, or raise a DamagedFileError."""
        tensors, position = read_tensors(folder / FILE)
        if not isinstance(position, dict) or position.keys() != asdict(Position()).keys() or "totals." not in tensors:
            raise DamagedFileError(f"{folder / FILE} holds tensors but no position: it is no checkpoint of nelbo")
        return cls(tensors, position)
