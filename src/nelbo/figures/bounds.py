"""From the ELBO up to log p(x), example by example."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nelbo.estimate import Estimate
from nelbo.figures import palette
from nelbo.figures.page import Page, styled

_LINES = 150
"""Examples that get a line of their own; more would only make a dark block."""
_HIGHEST = 0.95  # share of the examples whose ELBO the vertical axis has to hold

# inches
_LEFT, _TOP, _WIDTH, _HEIGHT, _FOOT = 0.75, 0.62, 4.6, 2.7, 0.6


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
def bounds(found: Bounded) -> Figure:
    """How far each example's importance-weighted bounds L_k lie below its log p(x), in nats, and their mean.

    L_1 is the ELBO. Of the mean, a band shows one standard error on each side, over the examples.

    Args:
        found: what ``measure.importance_bounds`` returned.

    Raises:
        ValueError: an autoencoder's, whose bounds are -inf.
    """
    below = np.stack([(found.bounds[k].value - found.log_evidence.value).detach().cpu().numpy() for k in found.samples])
    below = below[:, np.isfinite(below).all(0)]
    n = below.shape[1]
    if not n:
        raise ValueError("no example has a finite bound to draw: q(z|x) of an autoencoder is a point, its ELBO is -inf")
    page = Page(_LEFT + _WIDTH + 0.2, _TOP + _HEIGHT + _FOOT)
    axes = page.panel(_LEFT, _TOP, _WIDTH, _HEIGHT)
    # even steps: the k are powers of ten as a rule, and the axis shall hold k = 1
    at = np.arange(len(found.samples))
    shown = np.linspace(0, n - 1, min(n, _LINES)).round().astype(int)
    order = np.argsort(below[0])
    alpha = 0.45 if len(shown) < 40 else 0.25
    axes.plot(at, below[:, order[shown]], color=palette.Q, linewidth=0.7, alpha=alpha, zorder=2)
    axes.axhline(0, color=palette.P, linewidth=1.6, zorder=3)
    mean = below.mean(1)
    if n > 1:
        error = below.std(1, ddof=1) / np.sqrt(n)
        axes.fill_between(at, mean - error, mean + error, color=palette.NELBO, alpha=0.2, linewidth=0, zorder=4)
    axes.plot(at, mean, color=palette.NELBO, linewidth=1.8, marker="o", markersize=4, zorder=5)
    for x, y in zip(at, mean, strict=True):
        axes.annotate(
            f"{y:.2f}".replace("-", "−"),
            (x, y),
            xytext=(0, -11),
            textcoords="offset points",
            ha="left" if x == 0 else "right" if x == at[-1] else "center",
            va="top",
            size=8.5,
            color=palette.NELBO,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            zorder=6,
        )
    deepest = float(np.quantile(below[0], 1 - _HIGHEST))
    span = max(-deepest, -float(mean.min()) * 1.25, 1e-3)
    axes.set_ylim(-1.12 * span, 0.1 * span)
    axes.set_xticks(at, ["1\n(ELBO)" if k == 1 else f"{k:,}" for k in found.samples])
    axes.set_xlim(-0.15, at[-1] + 0.15 if len(at) > 1 else 0.15)
    axes.set_xlabel("draws of z averaged in each bound, k", labelpad=2)
    axes.set_ylabel("bound − log p(x), nats")
    page.note(_LEFT - 0.6, 0.1, f"How far the bounds lie below log p(x), {n:,} examples", size=11, weight="bold")
    drawn = f"one example ({len(shown):,} shown)" if len(shown) < n else "one example"
    plain: dict[str, Any] = {"linewidth": 1.6}
    handles = [
        Line2D([], [], color=palette.P, label="log p(x)", **plain),
        Line2D([], [], color=palette.NELBO, marker="o", markersize=4, label="mean ± 1 standard error", **plain),
        Line2D([], [], color=palette.Q, alpha=0.6, linewidth=0.9, label=drawn),
    ]
    page.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=page.at(_LEFT - 0.1, 0.3),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0,
        columnspacing=1.4,
    )
    return page
