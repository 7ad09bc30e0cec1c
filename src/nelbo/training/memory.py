"""Memory that one training step leaves behind, kept warm for the next."""

import ctypes
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

# Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = -1  # becomes the largest size_t
_GIB, _MIB = 1 << 30, 1 << 20
# What glibc's own rule arrives at in a process that once freed a block of 32 MiB (malloc/malloc.c,
# DEFAULT_MMAP_THRESHOLD_MAX): from there on blocks up to that size are reused, and at most twice as much is kept free.
_SETTLED_MMAP, _SETTLED_TRIM = 32 * _MIB, 64 * _MIB

_lock = threading.Lock()
_inside = 0


@contextmanager
def warm_memory() -> Generator[None]:
    """Within, freed memory stays with the process, so that the next step finds it mapped.

    A training step allocates and frees the same blocks over and over. glibc gives large ones back to the system, and
    the next step pays a page fault for every 4 KiB of them: up to 1,600 faults in a step that takes 6 ms. Afterwards
    free memory goes back to the system, and glibc's thresholds stay where its own adaptive rule ends up in a process
    that has freed a block of 32 MiB: glibc tells nobody what they were before, and no longer adapts them once they
    were set.

    Does nothing without glibc (macOS, Windows, musl) and where the environment sets glibc's thresholds itself
    (``MALLOC_*_``, ``GLIBC_TUNABLES``); never raises. May be nested, and used by several threads at once.
    """
    global _inside  # noqa: PLW0603  (the allocator that it counts for is the process's own)
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(libc, mmap=_GIB, trim=_NEVER)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(libc, mmap=_SETTLED_MMAP, trim=_SETTLED_TRIM)
                libc.malloc_trim(0)


def _set(libc: Any, *, mmap: int, trim: int) -> None:
    # some versions of glibc refuse more than 32 MiB, half an arena of a thread
    if not libc.mallopt(_MMAP_THRESHOLD, mmap):
        libc.mallopt(_MMAP_THRESHOLD, _SETTLED_MMAP)
    libc.mallopt(_TRIM_THRESHOLD, trim)


def _glibc() -> Any:
    """The C library, if it is glibc and its thresholds are ours to set; else None."""
    if sys.platform != "linux" or _set_by_user():
        return None
    try:
        libc = ctypes.CDLL(None)
        _ = libc.gnu_get_libc_version  # no other library has it, and in others mallopt may mean something else
        libc.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):  # musl, or a static build
        return None
    return libc


def _set_by_user() -> bool:
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(name in os.environ for name in names) or any(
        f"glibc.malloc.{name}" in tunables for name in ("trim_threshold", "mmap_threshold", "mmap_max", "top_pad")
    )
