"""warm_memory: measured by the page faults of the process itself, each case in a process of its own."""

import os
import platform
import subprocess
import sys
import textwrap
import threading

import pytest

import nelbo.training.memory
from nelbo.training.memory import warm_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is only glibc to be told")

PRELUDE = """
import ctypes, importlib.util, resource, sys, threading

spec = importlib.util.spec_from_file_location("memory", sys.argv[1])  # the package around it would load torch
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)
warm_memory = memory.warm_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
MIB = 1 << 20

def churn(size=100 * MIB):  # larger than any block that glibc's own rule would keep
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)

def faults(times=3):
    churn()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        churn()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() / MIB
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), nelbo.training.memory.__file__],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@glibc
def test_within_no_page_is_mapped_twice() -> None:
    run("""
        cold = faults()
        with warm_memory():
            warm = faults()
        assert cold > 50, cold  # huge pages, where the system has them, make it few
        assert warm < cold / 10, (cold, warm)
    """)


@glibc
def test_afterwards_memory_goes_back() -> None:
    run("""
        before = resident()
        with warm_memory():
            churn()
            kept = resident() - before
        after = resident() - before
        assert kept > 90, kept
        assert after < 10, after
        assert faults() > 50
    """)


@glibc
def test_nested_and_by_an_exception() -> None:
    run("""
        with warm_memory():
            try:
                with warm_memory():
                    raise KeyError
            except KeyError:
                pass
            assert faults() < 50  # the inner one did not end the outer one
        assert faults() > 50
    """)


@glibc
def test_two_threads_at_once() -> None:
    run("""
        inside, leave = threading.Event(), threading.Event()

        def other():
            with warm_memory():
                inside.set()
                leave.wait()

        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(600)
        with warm_memory():
            pass
        assert faults() < 50  # the other one is still within
        leave.set()
        thread.join()
        assert faults() > 50
    """)


@glibc
@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_MMAP_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}],
)
def test_what_the_user_set_stays(environment: dict[str, str]) -> None:
    run(
        """
        with warm_memory():
            assert faults() > 50
        """,
        **environment,
    )


def test_yields_and_lets_exceptions_through_anywhere() -> None:
    with pytest.raises(KeyError), warm_memory():
        raise KeyError
    done = []

    def body() -> None:
        with warm_memory():
            done.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done == [True]
