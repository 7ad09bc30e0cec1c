"""What the pages ask of Python, and what Python tells them; no web in here.

A page sends ``{"kind": "inspect.decode", "id": 7, ...}`` with buffers and gets one `Reply` with the same id. The studio
brings such messages over a websocket, a notebook over its comm; both end in `Session.ask`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from nelbo.studio.link import FACTS

Content = Mapping[str, Any]
Buffers = Sequence[bytes | memoryview]

# The first word of a kind is the module of this package that answers it, imported when first asked: torch takes long.
_ANSWERING = dict.fromkeys(facts["answers"] for facts in FACTS.values() if "answers" in facts)


@dataclass(frozen=True)
class Reply:
    """An answer or an event: a JSON object and buffers."""

    content: Content
    buffers: Buffers = ()


Answer = Callable[["Session", Content, Buffers], Reply]
_answers: dict[str, Answer] = {}
_importing = threading.Lock()  # two threads that import halves of each other's modules see them unfinished


def answers(kind: str) -> Callable[[Answer], Answer]:
    """Register the function that answers messages of a kind, as in ``@answers("inspect.decode")``.

    It runs in a thread of its own; what it raises reaches the page as text.
    """

    def register(answer: Answer) -> Answer:
        _answers[kind] = answer
        return answer

    return register


@dataclass
class Session:
    """One studio or one widget: the runs it was given, and who listens.

    Args:
        runs: folders of runs; the only places that are read.
        keep: what the modules that answer remember between questions, by their own keys.
    """

    runs: list[Path] = field(default_factory=list[Path])
    keep: dict[str, Any] = field(default_factory=dict[str, Any])
    closing: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Called once, in order, when the studio ends: training jobs save here."""
    _listeners: list[Callable[[Reply], object]] = field(default_factory=list[Callable[[Reply], object]])
    lock: threading.RLock = field(default_factory=threading.RLock)

    def ask(self, content: Content, buffers: Buffers = ()) -> Reply:
        """The answer to one message; never raises for what a page or a damaged run gets wrong."""
        kind, number = content.get("kind"), content.get("id")
        try:
            reply = self._find(kind)(self, content, buffers)
        except Exception as error:  # of any kind: the page waits for its answer, and may have sent anything
            text = f"missing {error}" if isinstance(error, KeyError) else str(error)
            return Reply({"id": number, "kind": kind, "error": text or type(error).__name__})
        return Reply({**reply.content, "id": number, "kind": kind}, reply.buffers)

    def prepare(self) -> None:
        """Import what answers the questions of pages of runs, before they are asked."""
        for module in _ANSWERING:
            _import(module)

    def _find(self, kind: Any) -> Answer:
        if not isinstance(kind, str):
            raise TypeError(f"a message names its kind; got {kind!r}")
        module = kind.partition(".")[0]
        if kind not in _answers and module in _ANSWERING:
            _import(module)
        if kind not in _answers:
            raise ValueError(f"nothing in this studio answers {kind!r}")
        return _answers[kind]

    def tell(self, event: str, content: Content | None = None, buffers: Buffers = ()) -> None:
        """Send an event to every page that listens; from any thread."""
        reply = Reply({**(content or {}), "event": event}, buffers)
        with self.lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(reply)

    def listen(self, listener: Callable[[Reply], object]) -> Callable[[], None]:
        """Have `listener` called with every event; returns what ends that."""
        with self.lock:
            self._listeners.append(listener)

        def leave() -> None:
            with self.lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return leave

    def close(self) -> None:
        """End what the session started."""
        while self.closing:
            self.closing.pop(0)()


def _import(module: str) -> None:
    with _importing:
        import_module(f"nelbo.studio.{module}")
