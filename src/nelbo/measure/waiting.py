"""What is left of a long measurement after Ctrl-C."""

from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``partial`` holds what was measured, with NaN for the examples that were not."""

    def __init__(self, message: str, partial: Any) -> None:
        super().__init__(message)
        self.partial = partial


def interrupted(partial: Any, done: int, n: int) -> Interrupted:
    """What Ctrl-C becomes: the examples that are done stay."""
    return Interrupted(f"interrupted after {done:,} of {n:,} examples, which error.partial holds", partial)
