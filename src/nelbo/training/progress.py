"""The display of a training: a progress bar, nothing, or one of your own."""

import math
import random
import time
from collections.abc import Mapping
from typing import Any, Protocol, final


class Display(Protocol):
    """Where the training loop shows its progress."""

    def due(self) -> bool:
        """Whether it is time to show something new; asked at every step, so it must cost nothing."""
        ...

    def update(self, epoch: int, batch: int, means: dict[str, float], speed: float) -> None:
        """Show the running epoch's means in nats, and examples per second."""
        ...

    def end_epoch(self, epoch: dict[str, Any]) -> None:
        """Show a finished epoch."""
        ...


@final
class NullProgress:
    """Shows nothing."""

    def due(self) -> bool:
        return False

    def update(self, epoch: int, batch: int, means: dict[str, float], speed: float) -> None: ...

    def end_epoch(self, epoch: dict[str, Any]) -> None: ...


@final
class ProgressBar:
    """A live line: epochs, reconstruction error, KL and NELBO in nats, examples per second, time left.

    Args:
        epochs: number of epochs.
        batches: number of batches in each.
        title: of the line.
    """

    def __init__(self, epochs: int, batches: int, title: str = "training") -> None:
        # rich draws from Python's random numbers when it is imported, and they are the caller's
        state = random.getstate()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        random.setstate(state)
        self.batches = batches
        self.console = Console(stderr=True)
        wide = self.console.width >= 110
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            *([BarColumn(bar_width=16)] if wide else []),
            MofNCompleteColumn(),
            TextColumn("{task.fields[terms]}"),
            *([TimeRemainingColumn(compact=True)] if wide else []),
            console=self.console,
            refresh_per_second=8,
        )
        self.task = self.progress.add_task(title, total=epochs, terms="")
        self._next = 0.0

    def __enter__(self) -> "ProgressBar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 0.15
        return True

    def update(self, epoch: int, batch: int, means: dict[str, float], speed: float) -> None:
        terms = f"{sentence(means)} {speed:,.0f} examples/s"
        self.progress.update(self.task, completed=epoch + batch / self.batches, terms=terms)

    def end_epoch(self, epoch: dict[str, Any]) -> None:
        prefix = "validation_" if "validation_nelbo" in epoch else "train_"
        means = {name.removeprefix(prefix): value for name, value in epoch.items() if name.startswith(prefix)}
        terms = f"{sentence(means)} {epoch['examples_per_second']:,.0f} examples/s"
        self.progress.update(self.task, completed=epoch["epoch"], terms=terms)


def sentence(means: Mapping[str, float | None]) -> str:
    """The terms in one line; an infinite KL, which JSON keeps as None, is that of an autoencoder."""
    error, kl = means["reconstruction_error"], means["kl"]
    if kl is None or kl == math.inf:
        return f"reconstruction error {error:.1f} nats, no KL"
    return f"rec. error {error:.1f} + KL {kl:.1f} = NELBO {means['nelbo']:.1f} nats"
