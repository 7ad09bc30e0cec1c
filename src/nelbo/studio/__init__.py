"""The browser studio: pages to drag, on loopback, in a notebook, or in one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nelbo.runs import Run
    from nelbo.vae import Model

__all__ = ["show"]


def __dir__() -> list[str]:
    return sorted(__all__)


def show(
    model: "Model | Run | str | Path",
    data: Any = None,
    *,
    other: "Model | Run | str | Path | None" = None,
    port: int | None = None,
    open: bool = True,
) -> None:
    """Open models in the studio's inspector, also those that nelbo did not train; returns at Ctrl-C.

    Example:
        >>> view = nelbo.wrap(encode=net.encode, decode=net.decode, x=x)  # doctest: +SKIP
        >>> nelbo.studio.show(view, x)  # doctest: +SKIP

    Args:
        model: any that nelbo knows (see :func:`nelbo.wrap` for others), a run, or a run's directory.
        data: what it is shown on: a tensor, an array, a pair (x, labels), a data set, or a path; None for a run, which
            knows its own. Everything stays in this process.
        other: a second model, beside the first on the same data.
        port: to listen at on 127.0.0.1; 0 for any free one; by default 8765 or the next free one.
        open: open the browser; otherwise the address is only printed.

    Raises:
        TypeError: model is nothing that nelbo can evaluate, or has no data.
        ImportError: the extra ``nelbo[studio]`` is not installed.
    """
    from nelbo.studio.in_memory import as_run
    from nelbo.studio.server import serve

    shown = [as_run(each, data) for each in (model, other) if each is not None]
    serve(shown, port=port, open_browser=open)
