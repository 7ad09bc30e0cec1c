"""The loss and its two terms while training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nelbo.estimate import Estimate
from nelbo.figures import palette
from nelbo.figures.page import Page, by_name, require, styled
from nelbo.figures.points import Floats
from nelbo.runs import Epoch, Run

_TERMS = (
    ("reconstruction_error", "reconstruction error", palette.RECONSTRUCTION_ERROR),
    ("kl", "KL", palette.KL),
    ("nelbo", "NELBO", palette.NELBO),
)

_TRAINING: dict[str, Any] = {"linewidth": 1.5}
_VALIDATION: dict[str, Any] = {"linewidth": 1.5, "linestyle": (0, (3.5, 1.6))}
_MARK: dict[str, Any] = {"marker": "o", "markersize": 4}

# inches
_WIDTH, _LEFT, _GAP, _TOP, _HEIGHT, _BETWEEN = 2.35, 0.62, 0.56, 0.56, 1.6, 1.04


@styled
def loss_curves(runs: Run | Sequence[Run] | Mapping[str, Run], *, share: bool = True) -> Figure:
    """Reconstruction error, KL and NELBO by epoch, in nats: a row for each run, a panel for each term.

    Training is solid, validation dashed with a band of one standard error (over the examples) on each side; the last
    validation value stands above its panel. KL and NELBO of an autoencoder are infinite, and the panels say so.

    Args:
        runs: one run, some, or a mapping from names to runs.
        share: the same scale for the same term of all runs, so that heights compare.

    Raises:
        TypeError: something other than runs.
        ValueError: no run, or a run without history.
    """
    write = "loss_curves([nelbo.load('runs/x')])"
    named: dict[str, Run] = by_name(runs, write=write)
    require(list(named.values()), Run, f"loss_curves takes runs, which have a history; write {write}")
    for name, run in named.items():
        if not run.history:
            raise ValueError(f"the run {name!r} has no epoch in its history yet; train it for at least one")
    row = _HEIGHT + _BETWEEN
    page = Page(_LEFT + 3 * _WIDTH + 2 * _GAP + 0.15, len(named) * row + _TOP - 0.1)
    for k, (key, title, color) in enumerate(_TERMS):
        drawn: list[Axes] = []
        for i, (name, run) in enumerate(named.items()):
            left, top = _LEFT + k * (_WIDTH + _GAP), _TOP + 0.06 + i * row
            axes = page.panel(left, top, _WIDTH, _HEIGHT)
            if k == 0:
                page.note(_LEFT - 0.5, top - 0.54, name, size=11.5, weight="bold")
            last = _last(run.history, key)
            page.phrase(left, top - 0.24, [(title, color, "bold"), *([(last, palette.INK)] if last else [])], size=9.5)
            if _draw(axes, run.history, key, color):
                drawn.append(axes)
                axes.set_ylabel("nats", labelpad=2)
            axes.set_xlabel("epoch", labelpad=1)
        if share and len(drawn) > 1:
            ends = np.array([axes.get_ylim() for axes in drawn])
            for axes in drawn:
                axes.set_ylim(ends[:, 0].min(), ends[:, 1].max())
    _legend(page, one_epoch=all(len(run.history) == 1 for run in named.values()))
    return page


def series(history: Sequence[Epoch], key: str) -> Floats:
    """A column of the history, (epochs,); what is missing, None or infinite becomes NaN."""
    values = [epoch.get(key) for epoch in history]
    return np.array([float(v) if v is not None and math.isfinite(v) else math.nan for v in values])


def _last(history: Sequence[Epoch], key: str) -> str:
    value, error = (series(history, f"validation_{key}{end}")[-1] for end in ("", "_standard_error"))
    if math.isnan(value):
        value = series(history, f"train_{key}")[-1]
    return "" if math.isnan(value) else Estimate.number(value, error).text_with_unit


def _draw(axes: Axes, history: Sequence[Epoch], key: str, color: str) -> bool:
    epoch = np.array([line["epoch"] for line in history], dtype=float)
    train, validation = series(history, f"train_{key}"), series(history, f"validation_{key}")
    axes.set_xlim(min(epoch[0], 1) - 0.5, max(epoch[-1], 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if np.isnan(train).all() and np.isnan(validation).all():
        middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "infinite:\nq(z|x) is a point", color=palette.FAINT, **middle)
        axes.set_yticks([])
        return False
    # one epoch does not make a line; the end of a scale would halve its mark
    mark: dict[str, Any] = {**_MARK, "clip_on": False} if len(history) == 1 else {}
    axes.plot(epoch, train, color=color, **_TRAINING, **mark)
    if not np.isnan(validation).all():
        error = series(history, f"validation_{key}_standard_error")
        axes.fill_between(epoch, validation - error, validation + error, color=color, alpha=0.18, linewidth=0)
        mark = mark and mark | {"markerfacecolor": "white"}
        axes.plot(epoch, validation, color=color, **_VALIDATION, **mark)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if key == "kl":
        axes.set_ylim(bottom=0)  # zero is what the KL of a collapsed model goes to
    return True


def _legend(page: Page, *, one_epoch: bool) -> None:
    styles: list[tuple[str, dict[str, Any]]] = [
        ("training", _TRAINING | (_MARK if one_epoch else {})),
        ("validation ± 1 standard error", _VALIDATION | (_MARK | {"markerfacecolor": "white"} if one_epoch else {})),
    ]
    handles = [Line2D([], [], color=palette.FAINT, label=label, **style) for label, style in styles]
    bottom = page.get_figheight() - 0.2
    page.legend(handles=handles, loc="center left", bbox_to_anchor=page.at(_LEFT - 0.1, bottom), ncols=2)
    above = "numbers: validation after the last epoch"
    page.note(page.get_figwidth() - 0.15, bottom, above, size=9, ha="right", va="center")
