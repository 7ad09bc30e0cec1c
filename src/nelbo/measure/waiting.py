"""What a person sees of a long measurement, and what is left of it after Ctrl-C."""

import random
import time
from types import TracebackType
from typing import Any, final

_PATIENCE = 2.0  # seconds; what is over by then needs no bar


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``partial`` holds what was measured, with NaN for the examples that were not."""

    def __init__(self, message: str, partial: Any) -> None:
        super().__init__(message)
        self.partial = partial

    @classmethod
    def after(cls, partial: Any, done: int, n: int) -> "Interrupted":
        """Some of the examples are done."""
        return cls(f"interrupted after {done:,} of {n:,} examples, which error.partial holds", partial)


@final
class Waiting:
    """A bar on the terminal for work that turns out to take longer than two seconds.

    Args:
        what: shown before the bar.
        total: amount at the end.
        show: False shows nothing.
    """

    def __init__(self, what: str, total: int, *, show: bool = True) -> None:
        self.what, self.total, self.show = what, total, show
        self._done, self._started = 0, time.monotonic()
        self._bar: Any = None
        self._advance: Any = None

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, traceback)

    def advance(self, amount: int) -> None:
        """Say that so much more is done."""
        self._done += amount
        if self.show and self._bar is None and time.monotonic() - self._started > _PATIENCE:
            # rich draws from Python's random numbers when it is imported, and they are the caller's
            state = random.getstate()
            from nelbo.data.progress import progress

            self._bar = progress(self.what, total=self.total)
            self._advance = self._bar.__enter__()
            random.setstate(state)
            self._advance(self._done)
        elif self._advance is not None:
            self._advance(amount)
