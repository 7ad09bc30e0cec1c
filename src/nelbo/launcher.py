"""Which process this is among those that a launcher, such as torchrun, started, and what it computes with."""

import os
import platform
from typing import NamedTuple


class Launched(NamedTuple):
    """The place of a process among those that were started to work together."""

    rank: int = 0
    """Number of this one."""
    size: int = 1
    """Number of all."""
    local_rank: int = 0
    """Number of this one on its machine."""


def launched() -> Launched:
    """The place that torchrun's variables give this process; the only one where no launcher set MASTER_ADDR.

    Raises:
        ValueError: a variable is missing or cannot be meant; the message says which and what to write.
    """
    if "MASTER_ADDR" not in os.environ:
        return Launched()
    size = _number("WORLD_SIZE", 1, least=1)
    rank = _number("RANK", 0 if size == 1 else None, below=size)
    return Launched(rank, size, _number("LOCAL_RANK", 0))


def meeting_place() -> str:
    """Host and port at which the processes of a launcher meet."""
    return f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"


def _number(name: str, default: int | None, *, least: int = 0, below: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is not None and text.strip().isdecimal() and least <= int(text) and (below is None or int(text) < below):
        return int(text)
    limits = f"from {least} on" if below is None else f"from {least} to {below - 1}, below WORLD_SIZE={below}"
    got = "is not set" if text is None else f"is {text!r}"
    raise ValueError(
        f"{name} must be an integer {limits}, and {got} in the environment, where MASTER_ADDR names other processes; "
        "start with torchrun, which sets all of them, or unset MASTER_ADDR to use one process"
    )


def versions() -> dict[str, str]:
    """The versions that this process computes with."""
    import torch

    import nelbo

    return {"nelbo": nelbo.__version__, "torch": torch.__version__, "python": platform.python_version()}
