"""Peers side by side: each in a process of its own, all alive at once, training one epoch at a time by turns.

So every peer meets the same minutes of a machine that may be shared, no thread pool meets another one, and whoever
waits sleeps. Times are taken by the peer itself, from the word "go" to the end of the epoch. The first epoch, which
compiles and maps memory, is told apart.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.mnist import ROOT, train

DISTURBED = 0.1
"""Share of the processors in the hands of other processes from which on a time means little."""


@dataclass(frozen=True)
class Peer:
    """A program of ``benchmarks.peers`` and what it is called with."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Packages without which it is skipped."""


@dataclass
class Course:
    """What a peer did."""

    peer: str
    seconds: list[float] = field(default_factory=list)
    """Of each epoch but the first."""
    first: float = 0.0
    """Seconds of the first epoch."""
    others: list[float] = field(default_factory=list)
    """Share of the machine's processors that other processes used meanwhile; empty where the system does not say."""
    memory: float = 0.0
    """Peak resident memory in MiB."""
    memory_before: float = 0.0
    """The same before training: libraries, data and model."""
    weights: dict[str, Any] = field(default_factory=dict)
    """The trained weights, by the referee's names."""
    nelbo: float | None = None
    """On the test set, in nats, by the referee."""

    def undisturbed(self, number: int) -> bool:
        """Whether other processes left the machine alone in that epoch, as far as the system says."""
        return not self.others or self.others[number] < DISTURBED


def take_turns(
    peers: Sequence[Peer], mnist: Path, *, rounds: int, images: int, patience: float = 0.0, say: Any = print
) -> list[Course]:
    """Train every peer for 1 + rounds epochs, by turns, and return the courses of those that are installed.

    Args:
        peers: who.
        mnist: the .npz file.
        rounds: timed epochs.
        images: of an epoch.
        patience: seconds to wait before each epoch for other processes to leave the processors alone.
        say: told who is skipped.
    """
    with contextlib.ExitStack() as stack:
        running = []
        for peer in peers:
            if missing := [name for name in peer.needs if not _installed(name)]:
                say(f"skipped {peer.name}: {', '.join(missing)} not installed (benchmarks/requirements.txt)")
                continue
            running.append(stack.enter_context(Running(peer, mnist, epochs=1 + rounds, images=images)))
        for number in range(1 + rounds):
            for one in running if number % 2 == 0 else running[::-1]:
                wait_for_quiet(patience)
                one.epoch()
        for one in running:
            one.finish()
        return [one.course for one in running]


def _installed(name: str) -> bool:
    # in a process of its own: to look is to import, and this process stays small
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


class Running:
    """The parent's side of a peer."""

    def __init__(self, peer: Peer, mnist: Path, *, epochs: int, images: int) -> None:
        self.course = Course(peer.name)
        self.folder = tempfile.TemporaryDirectory()
        self.weights = Path(self.folder.name) / "weights.npz"
        self.errors = (Path(self.folder.name) / "stderr").open("w+")
        path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", peer.module),
                *(str(mnist), str(images), str(epochs), str(self.weights), *peer.arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd=self.folder.name,
        )

    def __enter__(self) -> "Running":
        self.course.memory_before = self._read()["memory"]
        return self

    def __exit__(self, *reason: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):
                stream.close()
        self.folder.cleanup()

    def epoch(self) -> None:
        busy, started = _busy(), time.perf_counter()
        with contextlib.suppress(BrokenPipeError):  # a peer that died says so where it is read
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        answer = self._read()
        if busy is not None:
            share = (_busy() - busy - answer["processor"]) / (time.perf_counter() - started) / (os.cpu_count() or 1)
            self.course.others.append(max(0.0, share))
        if self.course.first:
            self.course.seconds.append(answer["seconds"])
        else:
            self.course.first = answer["seconds"]
            self.course.others.clear()
        self.course.memory = answer["memory"]

    def finish(self) -> None:
        import numpy as np

        if self.process.wait(timeout=120) != 0:
            raise self._failed()
        with np.load(self.weights, allow_pickle=False) as held:
            self.course.weights = dict(held)

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise self._failed()
        return json.loads(line)

    def _failed(self) -> RuntimeError:
        code = self.process.wait(timeout=120)
        self.errors.seek(0)
        return RuntimeError(f"{self.course.peer} ended with status {code}:\n{self.errors.read()[-3000:]}")


def _busy() -> float | None:
    """Seconds of processor time that the whole machine has spent, or None where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float) -> None:
    """Return as soon as the processors were free for a moment, or after ``patience`` seconds."""
    end = time.perf_counter() + patience
    busy = _busy()
    while busy is not None and time.perf_counter() < end:
        started = time.perf_counter()
        time.sleep(0.3)
        before, busy = busy, _busy()
        if (busy - before) / (time.perf_counter() - started) / (os.cpu_count() or 1) < DISTURBED:
            return


class Turn:
    """The peer's side: ``turn.begin()`` before each epoch, ``turn.end()`` after it, ``turn.save(...)`` at last."""

    def __init__(self) -> None:
        path, images, epochs, self.weights, *self.arguments = sys.argv[1:]
        self.images = train(path)[: int(images)]
        """(images, 784) bytes."""
        self.epochs = int(epochs)
        self.left = self.epochs
        # what libraries print is none of the parent's business
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._started = self._processor = 0.0
        self._ready = False

    def begin(self) -> None:
        """Wait for the word; nothing happens once all epochs are done."""
        if not self._ready:
            self._answer({"memory": peak_memory()})
            self._ready = True
        if self.left and not sys.stdin.readline():
            raise SystemExit(1)  # the parent is gone
        self._started, self._processor = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Tell how long it took."""
        seconds, processor = time.perf_counter() - self._started, time.process_time() - self._processor
        self.left -= 1
        self._answer({"seconds": seconds, "processor": processor, "memory": peak_memory()})

    def save(self, **weights: Any) -> None:
        """Hand the weights to the referee; dense layers as (inputs, outputs)."""
        import numpy as np

        np.savez(self.weights, **{name: np.asarray(value) for name, value in weights.items()})

    def _answer(self, content: dict[str, float]) -> None:
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()


def peak_memory() -> float:
    """Peak resident memory of this process in MiB."""
    with contextlib.suppress(OSError):  # Linux: getrusage would also count the parent, before exec
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
