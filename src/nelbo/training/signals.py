"""Ctrl-C and a request to end, obeyed between two steps."""

import contextlib
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or a request to end, obeyed between two steps; the state is saved and the message says how to go on."""


@dataclass
class StopRequest:
    """Whether somebody asked the training to end."""

    asked: bool = False

    @contextlib.contextmanager
    def listen(self) -> Generator[None]:
        """Within, SIGINT and SIGTERM are noted here instead of breaking a step; a second one breaks it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return

        def handler(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # a signal that is ignored stays so, as under nohup; None is a handler from outside Python, not ours to replace
        ours = [number for number, old in before.items() if old is not None and old != signal.SIG_IGN]
        for number in ours:
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])
