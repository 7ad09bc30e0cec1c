"""Sizes in bytes: as people write them, and how much memory there is."""

import os
import re
from pathlib import Path

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_MEMORY_SHARE = 1 / 3  # of the available memory that a file may take before it stays on disk
_UNKNOWN = 4 << 30  # assumed where the system does not tell


def parse_size(size: str | int) -> int:
    """Bytes of ``"1GiB"``, ``"512 MB"`` or a number; K, M, G and T are powers of 1024.

    Raises:
        ValueError: not a size.

    >>> parse_size("1.5KiB")
    1536
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?B)?\s*", str(size).upper())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"memory must be a size such as '1GiB', '512MiB' or a number of bytes, got {size!r}")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2] or " "))


def show_size(n: float) -> str:
    """A number of bytes as people write it."""
    power = max(i for i in range(len(_UNITS)) if n >= 1024**i or not i)
    return f"{n / 1024**power:.{min(power, 1)}f} {_UNITS[power]}"


def available_memory() -> int:
    """Bytes that a process may still take: what the machine has, or less where its control group allows less."""
    limits = [_machine()]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(name)
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def check_fits(needed: int, what: str, instead: str) -> None:
    """Raise a MemoryError where values that a file claims to hold would take more memory than there is.

    Args:
        needed: bytes.
        what: the file and what it claims, which the message begins with.
        instead: what to do, which it ends with.
    """
    if needed > (free := available_memory()):
        raise MemoryError(f"{what}, which take {show_size(needed)}; {show_size(free)} are available. {instead}")


def stays_on_disk(size: int, wanted: bool | None) -> bool:
    """Whether values of `size` bytes stay on disk: as wanted, or where they would take too much memory."""
    return size > _MEMORY_SHARE * available_memory() if wanted is None else wanted


def _machine() -> int:
    free = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    if free:
        return int(free[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
