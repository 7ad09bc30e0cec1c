"""A progress bar on the terminal for what takes long; nothing where the output is no terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(what: str, *, total: int | None, size: bool = False) -> Generator[Callable[[int], None]]:
    """Show a bar while the block runs; yields a function to call with each further amount done.

    Args:
        what: shown before the bar.
        total: amount at the end, or None where unknown.
        size: whether amounts are bytes.
    """
    from rich import progress as rich_progress
    from rich.console import Console

    console = Console(stderr=True)
    amount = rich_progress.DownloadColumn() if size else rich_progress.MofNCompleteColumn()
    columns = (rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(), amount)
    with rich_progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
