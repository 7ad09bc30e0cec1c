"""Files of results that took long to compute: where one cannot be written, the results are shown all the same."""

import sys
from collections.abc import Callable
from typing import TypeVar, final

from nelbo.wording import said

T = TypeVar("T")


@final
class Writing:
    """Writes files, and says at the end which ones could not be.

    Args:
        elsewhere: what writes them to another place, as in "--out DIR".
    """

    def __init__(self, elsewhere: str = "--out DIR") -> None:
        self.elsewhere = elsewhere
        self.failures: list[str] = []

    def __call__(self, write: Callable[[], T]) -> T | None:
        """The result of a function that writes, or None where the disk refused."""
        try:
            return write()
        except OSError as error:
            self.failures.append(said(error))
            return None

    def end(self) -> int:
        """Print what was not written; the exit status: 1 if anything was not, else 0."""
        for failure in dict.fromkeys(self.failures):
            print(f"nelbo: not written: {failure}; write elsewhere with {self.elsewhere}", file=sys.stderr)
        return int(bool(self.failures))
