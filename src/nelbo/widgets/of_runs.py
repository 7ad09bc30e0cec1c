"""The pages that show runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nelbo.runs import Run
from nelbo.studio.library import Library
from nelbo.studio.session import Session
from nelbo.widgets.page import Page


def _known(runs: Sequence[str | Path | Run]) -> tuple[Session, list[str]]:
    """A session that knows the runs, and their names in it."""
    session = Session()
    library = Library.of(session)
    return session, [library.add(Path(run) if isinstance(run, str | Path) else run) for run in runs]


class Inspector(Page, page="inspector"):
    """One example under a trained model: original, latent plane, reconstruction, and the three numbers of its loss.

    Args:
        run: a run, or its folder.
        others: more of them, to compare with.
        state: ``split``, ``pins`` (positions of examples), ``z``, ``q``, ``axes``, ``projection`` ("units" or
            "principal"), ``colour``, ``layers``, ...
    """

    def __init__(self, run: str | Path | Run, *others: str | Path | Run, **state: Any) -> None:
        session, names = _known([run, *others])
        compared = {"other": names[1]} if others else {}
        super().__init__(session=session, run=names[0], **{**compared, **state})


class Training(Page, page="train"):
    """The curves of a training, live or finished, and the strip that starts, pauses and stops one.

    Args:
        run: a run or its folder to show first; none for an empty strip.
        among: more of them, to lay over it.
        state: ``epoch``, ``settings``, ...
    """

    def __init__(
        self, run: str | Path | Run | None = None, *, among: Sequence[str | Path | Run] = (), **state: Any
    ) -> None:
        session, names = _known([*([] if run is None else [run]), *among])
        first = {} if run is None else {"run": names[0]}
        super().__init__(session=session, **{**first, **state})
