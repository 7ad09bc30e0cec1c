"""Ctrl-C during a measurement."""

from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``partial`` holds what was measured, with NaN for the examples that were not."""

    def __init__(self, message: str, partial: Any) -> None:
        super().__init__(message)
        self.partial = partial
