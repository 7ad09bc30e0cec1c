"""What was measured, drawn: bounds below log p(x), rate and distortion, and what each latent unit carries."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.figures import palette
from nelbo.figures.page import Page, halo, require, styled
from nelbo.figures.points import array

_LINES = 150
"""Examples that get a line of their own; more would only make a dark block."""
_HIGHEST = 0.95  # share of the examples whose ELBO the vertical axis has to hold

# inches
_LEFT, _TOP, _WIDTH, _HEIGHT, _FOOT = 0.75, 0.62, 4.6, 2.7, 0.6


@runtime_checkable
class Bounded(Protocol):
    """What is drawn: ``measure.importance_bounds`` gives it."""

    @property
    def samples(self) -> tuple[int, ...]:
        """The k."""
        ...

    @property
    def bounds(self) -> Mapping[int, Estimate]:
        """For each k, L_k of each example, (batch,)."""
        ...

    @property
    def log_evidence(self) -> Estimate:
        """Log p(x) of each example, (batch,)."""
        ...


@styled
def bounds(estimates: Bounded) -> Figure:
    """How far each example's importance-weighted bounds L_k lie below its log p(x), in nats, and their mean.

    L_1 is the ELBO. Of the mean, a band shows one standard error on each side, over the examples.

    Args:
        estimates: what ``measure.importance_bounds`` returned.

    Raises:
        TypeError: something other than bounds.
        ValueError: an autoencoder's, whose bounds are -inf.
    """
    require([estimates], Bounded, "bounds draws importance bounds; write bounds(measure.importance_bounds(run, x))")
    below = np.stack([array(estimates.bounds[k].value - estimates.log_evidence.value) for k in estimates.samples])
    below = below[:, np.isfinite(below).all(0)]
    n = below.shape[1]
    if not n:
        raise ValueError("no example has a finite bound to draw: q(z|x) of an autoencoder is a point, its ELBO is -inf")
    page = Page(_LEFT + _WIDTH + 0.2, _TOP + _HEIGHT + _FOOT)
    axes = page.panel(_LEFT, _TOP, _WIDTH, _HEIGHT)
    # even steps: the k are powers of ten as a rule, and the axis shall hold k = 1
    at = np.arange(len(estimates.samples))
    shown = np.linspace(0, n - 1, min(n, _LINES)).round().astype(int)
    order = np.argsort(below[0])
    alpha = 0.45 if len(shown) < 40 else 0.25
    axes.plot(at, below[:, order[shown]], color=palette.Q, linewidth=0.7, alpha=alpha, zorder=2)
    axes.axhline(0, color=palette.P, linewidth=1.6, zorder=3)
    means = [Estimate.mean_of(torch.from_numpy(each)) for each in below]
    mean, error = np.array([float(each) for each in means]), np.array([each.error for each in means])
    axes.fill_between(at, mean - error, mean + error, color=palette.NELBO, alpha=0.2, linewidth=0, zorder=4)
    axes.plot(at, mean, color=palette.NELBO, linewidth=1.8, marker="o", markersize=4, zorder=5)
    paper: dict[str, Any] = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    style: dict[str, Any] = {"va": "top", "size": 8.5, "color": palette.NELBO, "bbox": paper, "zorder": 6}
    for x, y, each in zip(at, mean, means, strict=True):
        side = "left" if x == 0 else "right" if x == at[-1] else "center"
        axes.annotate(each.text.partition(" ±")[0], (x, y), (0, -11), textcoords="offset points", ha=side, **style)
    deepest = float(np.quantile(below[0], 1 - _HIGHEST))
    span = max(-deepest, -float(mean.min()) * 1.25, 1e-3)
    axes.set_ylim(-1.12 * span, 0.1 * span)
    axes.set_xticks(at, ["1\n(ELBO)" if k == 1 else f"{k:,}" for k in estimates.samples])
    axes.set_xlim(-0.15, at[-1] + 0.15 if len(at) > 1 else 0.15)
    axes.set_xlabel("draws of z averaged in each bound, k", labelpad=2)
    axes.set_ylabel("bound − log p(x), nats")
    title = f"How far the bounds lie below log p(x), {n:,} example" + ("s" if n > 1 else "")
    page.note(_LEFT - 0.6, 0.1, title, size=11, weight="bold")
    drawn = f"one example ({len(shown):,} shown)" if len(shown) < n else "one example"
    plain: dict[str, Any] = {"linewidth": 1.6}
    handles = [
        Line2D([], [], color=palette.P, label="log p(x)", **plain),
        Line2D([], [], color=palette.NELBO, marker="o", markersize=4, label="mean ± 1 standard error", **plain),
        Line2D([], [], color=palette.Q, alpha=0.6, linewidth=0.9, label=drawn),
    ]
    page.legend(handles=handles, loc="upper left", bbox_to_anchor=page.at(_LEFT - 0.1, 0.3), ncols=3, columnspacing=1.2)
    return page


_SIDE, _UP = 5.4, 3.9


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
        TypeError: points is not a sequence of points.
        ValueError: no model with a finite rate.
    """
    require(points, Point, "rate_distortion takes a list of points; write rate_distortion([Point('VAE', 4.0, 80.0)])")
    finite = [point for point in points if math.isfinite(point.rate)]
    if not finite:
        raise ValueError(
            "rate_distortion needs a model with a finite KL; an autoencoder alone has no place in the plane"
        )
    page = Page(_SIDE + 1.0, _UP + 1.15)
    page.note(0.72, 0.1, title or "rate and distortion", size=11.5, weight="bold")
    axes = page.panel(0.72, 0.5, _SIDE, _UP)
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
    words: dict[str, Any] = {"textcoords": "offset points", "size": 9, "path_effects": halo(), "zorder": 4}
    for point in points:
        if not math.isfinite(point.rate):
            axes.axhline(point.distortion, color=palette.RECONSTRUCTION_ERROR, linewidth=1.2, linestyle=(0, (1, 1.5)))
            place, color = (axes.get_xlim()[1], point.distortion), palette.RECONSTRUCTION_ERROR
            axes.annotate(f"{point.name}: rate ∞", place, (-4, -4), ha="right", va="top", color=color, **words)
            continue
        place, errors = (point.rate, point.distortion), (point.rate_error, point.distortion_error)
        mark: dict[str, Any] = {"fmt": "o" if point.on_curve else "D", "markersize": 5, "linewidth": 1, "zorder": 3}
        axes.errorbar(*place, xerr=errors[0], yerr=errors[1], color=palette.KL, **mark)
        axes.annotate(point.name, place, (6, 5), **words)
    axes.set_xlabel("rate: KL(q(z|x) || p(z)), nats")
    axes.set_ylabel("distortion: reconstruction error, nats")
    best = min(finite, key=lambda point: point.rate + point.distortion)
    note = f"dashed: equal NELBO = rate + distortion, lowest for {best.name}"
    page.note(0.72, 0.5 + _UP + 0.5, note, size=9, color=palette.FAINT)
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


_UNITS = 64


@styled
def latent_units(kl: ArrayLike | Tensor | None, variance: ArrayLike | Tensor, *, threshold: float = 0.01) -> Figure:
    """KL of each latent unit, largest first, and under it the variance of the unit's posterior means over the data.

    A unit whose variance lies above the threshold is active: its mean says something about x. The others are drawn
    faint. Of more than 64 units the first 64 are shown. Where z is a map, each channel is drawn as one, of the variance
    at each position.

    Args:
        kl: (latent,), nats per unit, or None where q(z|x) has no KL per unit.
        variance: (latent,), Var_x E_q[z_d], or (channels, height, width) of a z that is a map.
        threshold: of the variance.

    Raises:
        TypeError: a value is not a tensor or array.
        ValueError: the two have different lengths, or none.
    """
    spread, nats = array(variance, "variance"), None if kl is None else array(kl, "kl")
    if spread.ndim == _MAP and spread.size:
        return _channel_maps(spread, threshold)
    if spread.ndim != 1 or not len(spread) or (nats is not None and nats.shape != spread.shape):
        raise ValueError(
            f"kl and variance have one value for each unit; got {None if nats is None else nats.shape} and "
            f"{spread.shape}; write latent_units(usage.kl_per_unit.value, usage.variance_of_means.value)"
        )
    order = np.argsort(-(spread if nats is None else nats), kind="stable")[:_UNITS]
    active = spread[order] > threshold
    width = float(np.clip(0.32 * len(order), 2.4, 6.4))
    top = 0.34
    page = Page(width + 0.95, top + (1.5 if nats is not None else 0.0) + 2.15)
    places = np.arange(len(order))
    if nats is not None:
        axes = page.panel(0.75, top, width, 1.35)
        axes.bar(places, nats[order], color=_colors(active, palette.KL), width=0.72)
        axes.set_ylabel("KL, nats", labelpad=3)
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(order) - 0.4)
        top += 1.5
    axes = page.panel(0.75, top, width, 1.35)
    floor = min(threshold, max(float(spread[order].min()), 1e-8)) / 4
    shown = np.maximum(spread[order], floor)
    axes.vlines(places, floor, shown, color=_colors(active, palette.Q), linewidth=1.2)
    axes.scatter(places, shown, color=_colors(active, palette.Q), s=16, zorder=3)
    axes.axhline(threshold, color=palette.FAINT, linewidth=0.9, linestyle=(0, (3.5, 1.6)))
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())  # a whole power of ten is always in sight
    axes.set_ylim(floor, 4 * max(float(shown.max()), threshold))
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_ylabel(r"Var$_x\,$E$_q$[z]", labelpad=3)
    step = 1 if len(order) <= 24 else 4
    axes.set_xticks(places[::step], [str(i + 1) for i in order[::step]])
    axes.set_xlabel("latent unit" + ("" if len(order) == len(spread) else f", the first {_UNITS} of {len(spread)}"))
    style: dict[str, Any] = {"size": 9, "color": palette.FAINT}
    page.note(0.75, 0.06, f"{int((spread > threshold).sum())} of {len(spread)} units active", size=10.5, weight="bold")
    page.note(0.75, top + 1.35 + 0.42, f"dashed: active above {threshold:g}", **style)
    return page


_MAP = 3
_ACROSS = 8


def _channel_maps(spread: NDArray[np.float64], threshold: float) -> Figure:
    """Var_x E_q[z] by position, a map for each channel under one scale; white where it is not active."""
    channels, height, width = spread.shape
    shown, side, gap, left, top = min(channels, _UNITS), 1.15, 0.42, 0.3, 0.75
    across = min(shown, _ACROSS)
    down = math.ceil(shown / across)
    tall = side * height / width
    page = Page(max(left + across * (side + 0.15) + 0.75, 3.4), top + down * (tall + gap))
    colors = Normalize(0.0, max(float(spread.max()), threshold))
    blues = ListedColormap(colormaps["Blues"](np.linspace(0.2, 1.0, 256)))  # none of which looks white
    for i, channel in enumerate(spread[:shown]):
        row, column = divmod(i, across)
        axes = page.panel(left + column * (side + 0.15), top + row * (tall + gap), side, tall)
        image = axes.imshow(np.ma.masked_less_equal(channel, threshold), cmap=blues, norm=colors, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{i + 1}: {100 * float((channel > threshold).mean()):.0f} % active", fontsize=8.5, pad=3)
        if i == across - 1:
            bar = page.panel(left + across * (side + 0.15), top, 0.1, tall)
            page.colorbar(image, cax=bar)
            bar.tick_params(labelsize=8)
    active = f"{int((spread > threshold).sum()):,} of {spread.size:,} units active"
    page.note(left, 0.06, active, size=10.5, weight="bold")
    page.note(left, 0.28, rf"Var$_x\,$E$_q$[z] by position; white: {threshold:g} or less", size=9, color=palette.FAINT)
    return page


def _colors(active: NDArray[np.bool_], color: str) -> list[str]:
    return [color if on else palette.RULE for on in active]
