"""A page of the studio in a notebook: its state as traits, its questions answered by a session."""

from typing import Any

import anywidget
import traitlets

from nelbo.studio.link import stylesheet, widget_esm
from nelbo.studio.session import Reply, Session


def number(default: float, low: float = -1000.0, high: float = 1000.0) -> Any:
    """A trait for a number of the page's state; assigning one out of range is an error that says the range."""
    return traitlets.Float(float(default), min=low, max=high).tag(sync=True)


def one_of(*values: str) -> Any:
    """A trait for a choice; the first is the default."""
    return traitlets.Enum(values, default_value=values[0]).tag(sync=True)


def switch(default: bool = False) -> Any:
    """A trait for a layer that is on or off."""
    return traitlets.Bool(default).tag(sync=True)


def several(*default: Any) -> Any:
    """A trait for a list."""
    return traitlets.List(default_value=list(default)).tag(sync=True)


class Page(anywidget.AnyWidget):
    """What all pages share; a subclass names its page and has a trait for each name of the page's state.

    Args:
        session: who answers what the page asks; a new one by default.
        state: traits by name, as in ``mu_p=1.0``.
    """

    _css = stylesheet()
    unit = one_of("nats", "bits")

    def __init__(self, *, session: Session | None = None, **state: Any) -> None:
        unknown = set(state) - set(self.trait_names(sync=True))
        if unknown:
            own = [name for name in self.trait_names(sync=True) if not name.startswith("_")]
            raise TypeError(f"{type(self).__name__}: unknown {sorted(unknown)}; its state has {', '.join(sorted(own))}")
        super().__init__(**state)
        self.session = session or Session()
        self.on_msg(self._asked)
        self._leave = self.session.listen(self._tell)

    def __init_subclass__(cls, page: str = "", **options: Any) -> None:
        if page:
            cls._esm = widget_esm(page)
        super().__init_subclass__(**options)

    def _asked(self, _: Any, content: Any, buffers: list[memoryview]) -> None:
        self._tell(self.session.ask(content, buffers))

    def _tell(self, reply: Reply) -> None:
        from nelbo.files import plain

        self.send(plain(reply.content), [bytes(b) for b in reply.buffers])

    def close(self) -> None:
        """End the widget and what its session started."""
        if self.__dict__.get("_leave") is not None:  # else its arguments were refused before it had a session
            self._leave()
            self.session.close()
        super().close()
