"""Peers side by side: each in a process of its own, all alive at once, training one epoch at a time by turns.

So every peer meets the same minutes of a machine that may be shared, no thread pool meets another one, and whoever
waits sleeps. Times are taken by the peer itself, from the word "go" to the end of the epoch. The first epoch, which
compiles and maps memory, is told apart.
"""

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
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
    note: str = ""
    """What the peer says of how it was run."""

    def undisturbed(self, number: int) -> bool:
        """Whether other processes left the machine alone in that epoch, as far as the system says."""
        return not self.others or self.others[number] < DISTURBED


def take_turns(
    peers: Sequence[Peer],
    mnist: Path,
    *,
    rounds: int,
    images: int,
    patience: float = 0.0,
    say: Any = print,
    failures: dict[str, str] | None = None,
    first_together: bool = False,
    limit: float | None = None,
) -> list[Course]:
    """Train every peer for 1 + rounds epochs, by turns, and return the courses of those that are installed.

    Args:
        peers: who.
        mnist: the .npz file.
        rounds: timed epochs.
        images: of an epoch.
        patience: seconds to wait before each epoch for other processes to leave the processors alone.
        say: told who is skipped.
        failures: takes the reason for each peer that is skipped or ends before its last epoch, and the others go on;
            None lets such an end stop them all.
        first_together: run the first epochs, which compile, all at once.
        limit: seconds after which a peer that does not answer is ended.
    """
    with contextlib.ExitStack() as stack:
        running = []
        for peer in peers:
            if missing := [name for name in peer.needs if not _installed(name)]:
                reason = f"{', '.join(missing)} not installed"
                say(f"skipped {peer.name}: {reason} (benchmarks/requirements.txt)")
                if failures is not None:
                    failures[peer.name] = reason
                continue
            running.append(stack.enter_context(Running(peer, mnist, epochs=1 + rounds, images=images, limit=limit)))

        def each(act: Callable[[Running], None], *, backwards: bool = False) -> None:
            for one in running[::-1] if backwards else running[:]:
                try:
                    act(one)
                except PeerEnded as error:
                    if failures is None:
                        raise
                    failures[one.course.peer] = error.reason
                    running.remove(one)

        def epoch(one: Running) -> None:
            wait_for_quiet(patience)
            one.go()
            one.done()

        each(Running.ready)
        if first_together:
            each(Running.go)
            each(Running.done)
        for number in range(first_together, 1 + rounds):
            each(epoch, backwards=number % 2 == 1)
        each(Running.finish)
        return [one.course for one in running]


@functools.cache
def _installed(name: str) -> bool:
    # in a process of its own: to look is to import, and this process stays small
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


class PeerEnded(RuntimeError):
    """A peer's process ended before it was asked to; ``reason`` is that in one line."""

    def __init__(self, peer: str, status: int, errors: str) -> None:
        super().__init__(f"{peer} ended with status {status}:\n{errors[-3000:]}")
        self.reason = in_one_line(errors) or f"ended with status {status}"


def in_one_line(errors: str) -> str:
    """What a process or an exception says of its end: the last line that names an error, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return (named or lines or [""])[-1]


class Running:
    """The parent's side of a peer."""

    def __init__(self, peer: Peer, mnist: Path, *, epochs: int, images: int, limit: float | None = None) -> None:
        self.course, self.limit = Course(peer.name), limit
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
        return self

    def ready(self) -> None:
        """Wait until it could begin."""
        self.course.memory_before = self._read()["memory"]

    def __exit__(self, *reason: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):
                stream.close()
        self.folder.cleanup()

    def go(self) -> None:
        """Let it begin an epoch."""
        self._begun = _busy(), time.perf_counter()
        with contextlib.suppress(BrokenPipeError):  # a peer that died says so where it is read
            self.process.stdin.write("go\n")
            self.process.stdin.flush()

    def done(self) -> None:
        """Wait for the end of the epoch."""
        answer = self._read()
        busy, started = self._begun
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
        self.course.note = str(self.course.weights.pop("note"))

    def _read(self) -> dict[str, Any]:
        timer = threading.Timer(self.limit or threading.TIMEOUT_MAX, self._end)
        timer.daemon = True
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            raise self._failed()
        return json.loads(line)

    def _end(self) -> None:
        self.process.kill()
        self.errors.write(f"\nno answer within {self.limit:g} s")
        self.errors.flush()

    def _failed(self) -> PeerEnded:
        code = self.process.wait(timeout=120)
        self.errors.seek(0)
        return PeerEnded(self.course.peer, code, self.errors.read())


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
    """The peer's side: ``turn.begin()`` before each epoch, ``turn.end()`` after it, ``turn.save(...)`` at last.

    The argument ``device=cuda`` is where it trains, and ``tf32`` lets torch multiply float32 matrices in TF32.
    """

    def __init__(self) -> None:
        path, images, epochs, self.weights, *self.arguments = sys.argv[1:]
        self.images = train(path)[: int(images)]
        """(images, 784) bytes."""
        self.device = next((a.removeprefix("device=") for a in self.arguments if a.startswith("device=")), "cpu")
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
        torch = sys.modules.get("torch")  # JAX waits for its results by itself
        if self.device != "cpu" and torch is not None:
            torch.accelerator.synchronize()
        seconds, processor = time.perf_counter() - self._started, time.process_time() - self._processor
        self.left -= 1
        self._answer({"seconds": seconds, "processor": processor, "memory": peak_memory()})

    def save(self, *, note: str = "", **weights: Any) -> None:
        """Hand the weights to the referee; dense layers as (inputs, outputs).

        Args:
            note: how the peer was run, where that is not known before.
            weights: by the referee's names.
        """
        import numpy as np

        np.savez(self.weights, note=note, **{name: np.asarray(value) for name, value in weights.items()})

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
