"""A progress bar for work that takes long."""

import random
import time
from types import TracebackType
from typing import Any, final

_PATIENCE = 2.0  # seconds; work that is done by then needs no bar


@final
class ProgressBar:
    """A bar on the terminal for work that turns out to take longer than two seconds.

    Nothing is shown where the standard error output is not a terminal.

    >>> with ProgressBar("reading", 10) as bar:
    ...     for _ in range(10):
    ...         bar.advance(1)

    Args:
        what: shown before the bar.
        total: amount at the end, or None where unknown.
        show: False shows nothing.
        size: whether amounts are bytes.
        unit: what the amounts count, to show how many there are in a second; None shows no speed.
    """

    def __init__(
        self, what: str, total: int | None, *, show: bool = True, size: bool = False, unit: str | None = None
    ) -> None:
        self.what, self.total, self.show, self.size, self.unit = what, total, show, size, unit
        self._done, self._started = 0, time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, amount: int) -> None:
        """Report that so much more is done."""
        self._done += amount
        if self._bar is not None:
            self._bar.update(self._task, advance=amount, speed=self._speed)
        elif self.show and time.monotonic() - self._started > _PATIENCE:
            self._open()

    def reach(self, done: int, retried: int = 0) -> None:
        """Report how much is done in all, and how often a process that was lost was replaced."""
        self.advance(done - self._done)
        if retried and self._bar is not None:
            times = "once" if retried == 1 else f"{retried:,} times"
            self._bar.update(self._task, description=f"{self.what}, a lost process replaced {times}")

    def _open(self) -> None:
        # rich draws from Python's random numbers when it is imported, and they belong to the caller
        state = random.getstate()
        from rich import progress
        from rich.console import Console

        random.setstate(state)
        console = Console(stderr=True)
        amount = progress.DownloadColumn() if self.size else progress.MofNCompleteColumn()
        left = progress.TimeRemainingColumn(compact=True)
        speed = () if self.unit is None else (progress.TextColumn("{task.fields[speed]}"),)
        columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), amount, *speed, left)
        self._bar = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bar.start()
        self._task = self._bar.add_task(self.what, total=self.total, completed=self._done, speed=self._speed)

    @property
    def _speed(self) -> str:
        return f"{self._done / (time.monotonic() - self._started):,.0f} {self.unit}/s"
