"""What each latent unit carries."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from nelbo.figures import palette
from nelbo.figures.page import Page, styled

_SHOWN = 64


@styled
def latent_units(kl: Tensor | None, variance: Tensor, *, threshold: float = 0.01) -> Figure:
    """KL of each latent unit, largest first, and under it the variance of the unit's posterior means over the data.

    A unit whose variance lies above the threshold is active: its mean says something about x. The others are drawn
    faint. Of more than 64 units the first 64 are shown.

    Args:
        kl: (latent,), nats per unit, or None where q(z|x) has no KL per unit.
        variance: (latent,), Var_x E_q[z_d].
        threshold: of the variance.

    Raises:
        ValueError: the two have different lengths, or none.
    """
    if variance.dim() != 1 or not len(variance) or (kl is not None and kl.shape != variance.shape):
        raise ValueError(
            f"kl and variance have one value for each unit; got {None if kl is None else tuple(kl.shape)} and "
            f"{tuple(variance.shape)}; write latent_units(usage.kl_per_unit.value, usage.variance_of_means.value)"
        )
    spread = variance.detach().double().cpu().numpy()
    order = np.argsort(-(spread if kl is None else kl.detach().double().cpu().numpy()), kind="stable")[:_SHOWN]
    active = spread[order] > threshold
    width = float(np.clip(0.32 * len(order), 2.4, 6.4))
    top = 0.34
    page = Page(width + 0.95, top + (1.5 if kl is not None else 0.0) + 2.15)
    places = np.arange(len(order))
    if kl is not None:
        axes = page.panel(0.75, top, width, 1.35)
        nats = kl.detach().double().cpu().numpy()[order]
        axes.bar(places, nats, color=_colors(active, palette.KL), width=0.72)
        axes.set_ylabel("KL, nats", labelpad=3)
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(order) - 0.4)
        top += 1.5
    axes = page.panel(0.75, top, width, 1.35)
    floor = min(threshold, max(float(spread[order].min()), 1e-8)) / 3
    shown = np.maximum(spread[order], floor)
    axes.vlines(places, floor, shown, color=_colors(active, palette.Q), linewidth=1.2)
    axes.scatter(places, shown, color=_colors(active, palette.Q), s=16, zorder=3)
    axes.axhline(threshold, color=palette.FAINT, linewidth=0.9, linestyle=(0, (3.5, 1.6)))
    axes.set_yscale("log")
    axes.set_ylim(floor, 3 * max(float(shown.max()), threshold))
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_ylabel(r"Var$_x\,$E$_q$[z]", labelpad=3)
    step = 1 if len(order) <= 24 else 4
    axes.set_xticks(places[::step], [str(i + 1) for i in order[::step]])
    axes.set_xlabel("latent unit" + ("" if len(order) == len(spread) else f", the first {_SHOWN} of {len(spread)}"))
    said: dict[str, Any] = {"size": 9, "color": palette.FAINT}
    page.note(0.75, 0.06, f"{int((spread > threshold).sum())} of {len(spread)} units active", size=10.5, weight="bold")
    page.note(0.75, top + 1.35 + 0.42, f"dashed: active above {threshold:g}", **said)
    return page


def _colors(active: NDArray[np.bool_], color: str) -> list[str]:
    return [color if on else palette.RULE for on in active]
