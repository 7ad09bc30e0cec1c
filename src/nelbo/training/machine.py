"""What a run's bits depend on besides its seed: recorded in run.json, and restored when it goes on."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, final

import torch

from nelbo.files import DamagedFileError
from nelbo.runs import RECORD, machine_of
from nelbo.vae import Model, place_of


@final
@dataclass(frozen=True)
class Machine:
    """The arithmetic of a training: with another one, weights differ in their last bits.

    Args:
        device: its kind: cpu, cuda, mps, ...
        threads: of the CPU.
        dtype: of the weights.
        instructions: the processor's instruction set that torch uses, such as AVX2.
        torch_version: such as 2.13.0.
    """

    device: str
    threads: int
    dtype: str
    instructions: str
    torch_version: str

    @classmethod
    def of(cls, model: Model, device: torch.device) -> "Machine":
        """The present one, for a model that is to be trained on a device."""
        weight = place_of(model)
        return cls(
            device.type,
            torch.get_num_threads(),
            str(torch.get_default_dtype() if weight is None else weight.dtype).removeprefix("torch."),
            torch.backends.cpu.get_cpu_capability(),
            torch.__version__,
        )

    @classmethod
    def of_record(cls, record: Mapping[str, Any], folder: Path) -> "Machine":
        """That on which a run was last trained; a DamagedFileError where run.json does not say it."""
        entry = machine_of(record, folder)
        machine = cls(**{each.name: entry[each.name] for each in fields(cls)})
        if machine.threads < 1 or not isinstance(getattr(torch, machine.dtype, None), torch.dtype):
            raise DamagedFileError(f"{folder / RECORD} is damaged: 'machines' ends with {entry}")
        return machine

    def entry(self, step: int) -> dict[str, Any]:
        """For run.json: the machine, and the number of steps that were done when it took over."""
        return {"step": step, **asdict(self)}

    def changes_to(self, other: "Machine") -> str:
        """What differs, in words; empty if nothing does."""
        pairs = ((each.name, getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return ", ".join(f"{name} {before} -> {after}" for name, before, after in pairs if before != after)


@contextlib.contextmanager
def training_arithmetic(threads: int | None) -> Generator[None]:
    """Within, gradients are computed, whatever the caller does with them, on that many threads of the CPU.

    Args:
        threads: None leaves their number.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before)
