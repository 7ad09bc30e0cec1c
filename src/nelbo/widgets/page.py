"""A page of the studio in a notebook: its state as traits, its questions answered by a session."""

from typing import Any

import anywidget
import traitlets

from nelbo.studio.link import FACTS, stylesheet, widget_esm
from nelbo.studio.session import Reply, Session


def trait(default: Any, limit: list[Any] | None = None) -> Any:
    """A trait for a value of a page's state; assigning one outside `limit` is an error that names it.

    Args:
        default: tells the type of the trait.
        limit: [low, high] of a number, all values of a choice; None is anything.
    """
    if isinstance(default, bool):
        kind = traitlets.Bool(default)
    elif isinstance(default, int | float):
        low, high = limit or (None, None)
        kind = traitlets.Float(float(default), min=low, max=high)
    elif isinstance(default, str):
        kind = traitlets.Unicode(default) if limit is None else traitlets.Enum(limit, default_value=default)
    else:
        kind = traitlets.List(default_value=default) if isinstance(default, list) else traitlets.Dict(default)
    return kind.tag(sync=True)


class Page(anywidget.AnyWidget):
    """What all pages share; a subclass names its page and gets a trait for each name of the page's state.

    Args:
        session: answers what the page asks; a new one by default.
        state: traits by name, as in ``mu_p=1.0``.
    """

    unit = trait("nats", ["nats", "bits"])

    def __init__(self, *, session: Session | None = None, **state: Any) -> None:
        unknown = set(state) - set(self.trait_names(sync=True))
        if unknown:
            names = sorted(name for name in self.trait_names(sync=True) if not name.startswith("_"))
            raise TypeError(f"{type(self).__name__}: unknown {sorted(unknown)}; its state has {', '.join(names)}")
        super().__init__(**state)
        self.session = session or Session()
        self.on_msg(self._asked)
        self._leave = self.session.listen(self._tell)

    def __init_subclass__(cls, page: str = "", **options: Any) -> None:
        if page:
            cls._esm, cls._css = widget_esm(page), stylesheet(page)
            limits = FACTS[page].get("limits", {})
            for name, default in FACTS[page]["defaults"].items():
                made = trait(default, limits.get(name))
                made.class_init(cls, name)
                setattr(cls, name, made)
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
