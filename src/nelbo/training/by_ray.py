"""Trainings by several workers of a Ray cluster, seen from the process that asked for one."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, final

from nelbo import cluster, runs
from nelbo import data as nelbo_data
from nelbo.data import Data
from nelbo.launcher import launched
from nelbo.randomness import seeded_weights
from nelbo.runs import Epoch
from nelbo.training.loop import Loop
from nelbo.training.progress import ProgressBar
from nelbo.workers import any_number

_SAY_EVERY = 0.5  # seconds


def check_shards(workers: int, shards: int) -> None:
    """Raise a ValueError where so many workers of a cluster cannot share the pieces of a batch."""
    cluster.check_workers(workers)
    if launched().size > 1:
        raise ValueError(f"ray={workers} starts the processes by itself; start one, without torchrun")
    if shards % workers:
        fitting = next(n for n in range(min(workers, shards), 0, -1) if shards % n == 0)
        raise ValueError(
            f"ray={workers} processes must divide shards={shards}, the pieces of a batch; write ray={fitting}, or for "
            f"a new run shards={-(-shards // workers) * workers}"
        )


@dataclasses.dataclass(frozen=True)
class Sent:
    """Data on their way to another process: their record where they can be loaded from, else they themselves."""

    origin: Mapping[str, Any] | None
    data: Data | None

    @classmethod
    def of(cls, data: Data) -> "Sent":
        """The data, to be loaded by each process where they lie in files."""
        known = data.origin.get("source") and "options" in data.origin
        return cls(data.origin, None) if known else cls(None, data)

    def loaded(self) -> Data:
        """The data, in that process."""
        return nelbo_data.rebuild(dict(self.origin)) if self.data is None and self.origin is not None else self.data  # pyright: ignore[reportReturnType]


def train_by_ray(
    task: Callable[..., Any],
    workers: int,
    folder: Path,
    *,
    threads: int | None,
    device: str,
    progress: Any,
) -> None:
    """Train in several workers of a Ray cluster.

    Args:
        task: trains in each worker, or goes on; takes ``progress``.
        workers: their number.
        folder: of the run.
        threads: of each worker; None is one.
        device: as :func:`nelbo.fit` takes it.
        progress: likewise.
    """

    def work(say: cluster.Say) -> None:
        with any_number():
            task(progress=functools.partial(_Told, say) if progress is True else progress)

    cluster.check_installed(workers)
    with _Bar(folder.name, workers) if progress is True else contextlib.nullcontext() as bar:
        hear = {} if bar is None else {"hear": bar.hear}
        try:
            cluster.train_together(
                work, workers, folder=folder, threads=threads or 1, accelerated=device != "cpu", **hear
            )
        except KeyboardInterrupt as stop:
            line = f"nelbo fit --resume {folder} --ray {workers}, or nelbo.resume({str(folder)!r}, ray={workers})"
            raise KeyboardInterrupt(f"stopped; go on from the last checkpoint with: {line} in Python") from stop


@final
class _Told:
    """The display in the first worker, which tells what it is shown.

    Args:
        say: sends it to the process that asked for the training.
        loop: of the training.
    """

    def __init__(self, say: cluster.Say, loop: Loop) -> None:
        self.say, self._next = say, 0.0
        say(("begin", loop.settings.epochs, loop.updates.per_epoch, loop.state.position.epoch))

    def due(self) -> bool:
        return monotonic() >= self._next

    def update(self, epoch: int, batch: int, means: dict[str, float], speed: float) -> None:
        self._next = monotonic() + _SAY_EVERY
        self.say(("update", epoch, batch, means, speed))

    def end_epoch(self, epoch: Epoch) -> None:
        self.say(("end_epoch", epoch))


@final
class _Bar:
    """One bar for all workers, which says how often they had to be started again; before it, that they are awaited.

    Args:
        title: of the line.
        workers: their number.
    """

    def __init__(self, title: str, workers: int) -> None:
        self.title, self.workers = title, workers
        self._open = contextlib.ExitStack()
        self._bar: ProgressBar | None = None
        self._asked = monotonic()

    def __enter__(self) -> "_Bar":
        cluster.announce(self.workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def hear(self, starts: int, workers: int, message: tuple[Any, ...]) -> None:
        """Show what the first worker said."""
        what, *values = message
        if what == "begin":
            self._open.close()
            epochs, batches, epoch = values
            if self._bar is None:
                seconds = monotonic() - self._asked
                print(f"nelbo: {cluster.counted(workers)} began after {seconds:.0f} s", file=sys.stderr)
            again = f", {starts}. start, from epoch {epoch + 1}" if starts > 1 else ""
            title = f"{self.title} ({cluster.counted(workers)}{again})"
            self._bar = self._open.enter_context(ProgressBar(epochs, batches, title))
        elif self._bar is not None:
            getattr(self._bar, what)(*values)


def finished(folder: Path, model: Any, data: Data | None) -> runs.Run:
    """The run that the workers left, in the caller's own model where there is one."""
    if model is None:
        run = runs.read(folder)
    else:
        record = runs.read_record(folder)
        with seeded_weights(0):
            model.draw_weights()
        weights, _ = runs.read_tensors(folder / runs.WEIGHTS)
        runs.load_weights(model, weights)
        run = runs.Run(model.eval(), runs.read_history(folder), folder, record)
    return run if data is None else dataclasses.replace(run, _data=data)
