"""Rate and distortion of several models in one plane."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from nelbo.figures import palette
from nelbo.figures.page import Page, styled

_WIDTH, _HEIGHT = 5.4, 3.9


class Point(NamedTuple):
    """A model in the plane; in nats per example."""

    name: str
    rate: float
    """KL; infinite for an autoencoder."""
    distortion: float
    """Reconstruction error."""
    rate_error: float = 0.0
    """Standard errors."""
    distortion_error: float = 0.0
    on_curve: bool = True
    """Whether it belongs to the sweep that the curve joins."""


@styled
def rate_distortion(points: Sequence[Point], *, title: str | None = None) -> Figure:
    """KL against reconstruction error, with a curve through the models of a sweep, and lines of equal NELBO.

    A model on a lower dashed line has the better bound. Bars are one standard error on each side. An autoencoder,
    whose rate is infinite, has only a distortion: a line across.

    Args:
        points: the models.
        title: of the figure.

    Raises:
        ValueError: no model with a finite rate.
    """
    finite = [point for point in points if math.isfinite(point.rate)]
    if not finite:
        raise ValueError(
            "rate_distortion needs a model with a finite KL; an autoencoder alone has no place in the plane"
        )
    page = Page(_WIDTH + 1.0, _HEIGHT + 1.15)
    page.note(0.72, 0.1, title or "rate and distortion", size=11.5, weight="bold")
    axes = page.panel(0.72, 0.5, _WIDTH, _HEIGHT)
    low = min(point.distortion - point.distortion_error for point in points)
    high = max(point.distortion + point.distortion_error for point in points)
    right = max(point.rate for point in finite)
    margin = 0.12 * max(high - low, 0.05 * abs(high), 1e-6)
    axes.set_xlim(-0.04 * right, 1.18 * right + 1e-9)
    axes.set_ylim(low - margin, high + margin)
    _lines_of_equal_nelbo(axes, finite)
    curve = sorted((point for point in finite if point.on_curve), key=lambda point: point.rate)
    if len(curve) > 1:
        axes.plot([p.rate for p in curve], [p.distortion for p in curve], color=palette.KL, linewidth=1.3, alpha=0.6)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for point in points:
        if not math.isfinite(point.rate):
            axes.axhline(point.distortion, color=palette.RECONSTRUCTION_ERROR, linewidth=1.2, linestyle=(0, (1, 1.5)))
            place = (axes.get_xlim()[1], point.distortion)
            axes.annotate(
                f"{point.name}: rate ∞", place, (-4, -4), textcoords="offset points", ha="right", va="top", size=9,
                color=palette.RECONSTRUCTION_ERROR, path_effects=halo,
            )  # fmt: skip
            continue
        axes.errorbar(
            point.rate,
            point.distortion,
            xerr=point.rate_error,
            yerr=point.distortion_error,
            fmt="o" if point.on_curve else "D",
            color=palette.KL,
            markersize=5,
            linewidth=1,
            zorder=3,
        )
        axes.annotate(
            point.name, (point.rate, point.distortion), (6, 5), textcoords="offset points", size=9, path_effects=halo,
            zorder=4,
        )  # fmt: skip
    axes.set_xlabel("rate: KL(q(z|x) || p(z)), nats")
    axes.set_ylabel("distortion: reconstruction error, nats")
    best = min(finite, key=lambda point: point.rate + point.distortion)
    note = f"dashed: equal NELBO = rate + distortion; lowest {best.rate + best.distortion:,.1f} nats ({best.name})"
    page.note(0.72, 0.5 + _HEIGHT + 0.5, note, size=9, color=palette.FAINT)
    return page


def _lines_of_equal_nelbo(axes: Axes, points: Sequence[Point]) -> None:
    """A dashed line through the model with the lowest sum, and fainter ones above it."""
    across = np.array(axes.get_xlim())
    low, high = axes.get_ylim()
    best = min(point.rate + point.distortion for point in points)
    step = _round_step((high - low) / 4)
    for i in range(5):
        total = best + i * step
        strength = 0.9 if i == 0 else 0.5
        axes.plot(across, total - across, color=palette.RULE, linewidth=strength, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*across)
    axes.set_ylim(low, high)


def _round_step(size: float) -> float:
    power = 10.0 ** math.floor(math.log10(size))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= size)
