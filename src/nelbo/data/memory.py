"""How much memory there is, and sizes written as people write them."""

import os
import re
from pathlib import Path

_UNITS = {
    "": 0,
    "B": 0,
    "K": 1,
    "KB": 1,
    "KIB": 1,
    "M": 2,
    "MB": 2,
    "MIB": 2,
    "G": 3,
    "GB": 3,
    "GIB": 3,
    "T": 4,
    "TB": 4,
    "TIB": 4,
}
_MEMORY_SHARE = 1 / 3  # of what is available that a file may take before it stays on disk
_UNKNOWN = 4 << 30  # assumed where the system does not say


def parse_size(size: str | int) -> int:
    """Bytes of ``"1GiB"``, ``"512 MB"`` or a number; K, M, G, T are powers of 1024.

    Raises:
        ValueError: it is no size.

    >>> parse_size("1.5KiB")
    1536
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(size))
    if match is None or match[2].upper() not in _UNITS or float(match[1]) <= 0:
        raise ValueError(f"memory is {size!r}; expected a size such as '1GiB', '512MiB' or a number of bytes.")
    return int(float(match[1]) * 1024 ** _UNITS[match[2].upper()])


def show_size(n: float) -> str:
    """A number of bytes as people write it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} TiB"


def available_memory() -> int:
    """Bytes that a process may still take: what the machine has, or less if its control group says so."""
    limits = [_machine()]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(name)
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


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
