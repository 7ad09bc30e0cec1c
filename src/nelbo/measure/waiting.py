"""What is left of a long measurement after Ctrl-C."""

from typing import Any

from nelbo.training import Interrupted


def interrupted(partial: Any, done: int, n: int) -> Interrupted:
    """What Ctrl-C becomes: the examples that are done stay."""
    return Interrupted(f"interrupted after {done:,} of {n:,} examples, which error.partial holds", partial)
