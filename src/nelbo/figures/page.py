"""The sheet that figures are drawn on: its type, its style, how it is written to a file."""

import functools
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from nelbo.figures import palette
from nelbo.files import write_bytes

STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": palette.INK,
    "axes.labelcolor": palette.INK,
    "axes.edgecolor": palette.CONTOURS,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": False,
    "xtick.color": palette.CONTOURS,
    "ytick.color": palette.CONTOURS,
    "xtick.labelcolor": palette.INK,
    "ytick.labelcolor": palette.INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "legend.borderaxespad": 0.0,
    "figure.facecolor": "white",
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "text.usetex": False,
    "mathtext.fontset": "dejavusans",
}
_ON_PAPER: Any = {
    "pdf.fonttype": 42,  # type 3 fonts are turned away by many venues
    "svg.hashsalt": "nelbo",  # the same figure gives the same bytes
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
    "savefig.transparent": False,
}
_UNDATED: dict[str, dict[str, Any]] = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
DPI = 200

_lock = threading.RLock()  # rc_context changes the process, and a server draws from several threads
Parameters = ParamSpec("Parameters")
Part = tuple[str, str] | tuple[str, str, str]
"""Text, its colour, and its weight if it is not normal."""


class Page(Figure):
    """A figure measured in inches from its upper left corner, which notebooks show without pyplot.

    Args:
        width: in inches.
        height: in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=100)
        self._width, self._height = width, height

    def panel(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """New axes whose upper left corner lies at (left, top)."""
        x, y = self.at(left, top + height)
        return self.add_axes((x, y, width / self._width, height / self._height), **options)

    def note(self, left: float, top: float, text: str, **options: Any) -> Text:
        """Text whose upper left corner lies at (left, top)."""
        style: dict[str, Any] = {"va": "top", "ha": "left"}
        return self.text(*self.at(left, top), text, None, **style | options)

    def phrase(self, left: float, top: float, parts: Sequence[Part], *, size: float = 10.0) -> None:
        """One line of text in pieces, each with its colour and perhaps a weight, starting at (left, top)."""
        texts: list[Artist] = [
            TextArea(text, textprops={"color": color, "size": size, "weight": weight[0] if weight else "normal"})
            for text, color, *weight in parts
        ]
        line = HPacker(children=texts, pad=0, sep=0.4 * size, align="baseline")
        place: dict[str, Any] = {"bbox_to_anchor": self.at(left, top), "bbox_transform": self.transFigure}
        self.add_artist(AnchoredOffsetbox("upper left", child=line, pad=0, borderpad=0, frameon=False, **place))

    def at(self, left: float, top: float) -> tuple[float, float]:
        """Inches from the upper left corner as matplotlib's share of the figure from the lower left one."""
        return left / self._width, 1 - top / self._height

    def _repr_png_(self) -> bytes:
        return render(self, ".png", dpi=120)


def halo(width: float = 2.5, **options: Any) -> list[withStroke]:
    """Path effects that draw a white rim around lines and letters."""
    return [withStroke(linewidth=width, foreground="white", **options)]


def require(things: Any, kind: type, needs: str) -> None:
    """Check that a figure was given a sequence of one type.

    Args:
        things: what it was given.
        kind: the type of each element.
        needs: the beginning of the error: what is needed, and what to write.

    Raises:
        TypeError: anything else.
    """
    alone = isinstance(things, kind) or not isinstance(things, Sequence)
    for thing in [things] if alone else things:
        if alone or not isinstance(thing, kind):
            raise TypeError(f"{needs}; got {type(thing).__name__}")


def by_name(things: Any, *, write: str) -> dict[str, Any]:
    """One model or run, several, or a mapping from names, by their names; equal names are numbered.

    Args:
        things: what a figure was given.
        write: the line to write where there is none.
    """
    if isinstance(things, Mapping):
        named = dict(things)
    else:
        several = list(things) if isinstance(things, Sequence) and not isinstance(things, str) else [things]
        names = [getattr(thing, "name", type(thing).__name__) for thing in several]
        named = {
            name if names.count(name) == 1 else f"{name} {i}": thing
            for i, (name, thing) in enumerate(zip(names, several, strict=True), 1)
        }
    if not named:
        raise ValueError(f"there is nothing to draw; write {write}")
    return named


def styled(function: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Draw in nelbo's style and leave matplotlib's settings as they were."""

    @functools.wraps(function)
    def draw(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with _lock, mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return draw


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG (200 dpi), PDF or SVG, by the suffix; the file is whole or absent.

    The same figure gives the same bytes: nothing is dated.

    Args:
        figure: what a function of this module returned, or any figure of matplotlib.
        path: where; folders are made.

    Returns:
        The path.

    Raises:
        TypeError: it is not a figure.
        ValueError: another suffix.
    """
    require([figure], Figure, "save takes a figure of matplotlib, as in save(loss_curves(run), 'curves.png')")
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _UNDATED:
        raise ValueError(
            f"a figure is written as .png, .pdf or .svg, got {path.name!r}; write save(figure, {path.stem + '.png'!r})"
        )
    write_bytes(path, render(figure, suffix))
    return path


def render(figure: Figure, suffix: str, *, dpi: float = DPI) -> bytes:
    """The bytes of a file with that suffix."""
    buffer = io.BytesIO()
    with _lock, mpl.rc_context(STYLE | _ON_PAPER):
        figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=_UNDATED[suffix])
    return buffer.getvalue()
