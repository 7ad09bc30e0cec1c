"""The latent space of one model."""

import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor
from torch.distributions import Distribution

from nelbo.figures import density, palette, points
from nelbo.figures.page import Page, require, styled
from nelbo.randomness import derive, own_randomness, seed_noise


@styled
def embedding(
    z: ArrayLike | Tensor,
    labels: ArrayLike | Tensor | None = None,
    *,
    prior: Distribution | None = None,
    title: str | None = None,
) -> Figure:
    """Embeddings as points, coloured by class or by value; each class named at its median.

    With more than two latent dimensions, the two whose means vary most are shown, and the figure says so.

    Args:
        z: (n, latent): ``run.encode(x)``.
        labels: (n,), classes (up to 20 whole numbers or names) or values; None leaves the points grey.
        prior: p(z), drawn in grey at 1, 2 and 3 sigma: ``model.prior``.
        title: of the figure.

    Raises:
        TypeError: z is not a tensor or array, or prior is not a distribution.
        ValueError: z is not (n, latent), or labels is not (n,).
    """
    z = points.read_codes(z, "z", write="embedding(run.encode(x), labels)")
    if prior is not None:
        require([prior], Distribution, "prior must be a torch distribution, as in prior=run.model.prior")
    dims, colors = points.active(z), points.read_labels(labels, len(z))
    places = points.array(z[:, list(dims)])
    scale = colors is not None and not colors.names
    side, left, top = 5.0, 0.6, 0.62
    page = Page(left + side + (1.0 if scale else 0.4), top + side + 0.45)
    axes = page.panel(left, top, side, side)
    if len(dims) == 1:
        drawn = points.strips(axes, places[:, 0], colors)
    else:
        low, high = places.min(0), places.max(0)
        half = 0.53 * max(float((high - low).max()), 1e-6)
        center = (low + high) / 2
        axes.set(xlim=(center[0] - half, center[0] + half), ylim=(center[1] - half, center[1] + half))
        drawn = points.scatter(axes, places, colors, size=9)
        points.name_classes(axes, places, colors, size=9)
        if prior is not None:
            with own_randomness(z.device), torch.no_grad():
                seed_noise(z.device, derive(0, "figure"))
                density.draw_prior(axes, prior, dims)
    points.name_axes(axes, dims)
    note = f"the {len(dims)} most active of {z.shape[1]} latent dimensions" if z.shape[1] > len(dims) else ""
    page.note(left, 0.12, title or f"{len(z):,} embeddings", size=11.5, weight="bold")
    page.note(left + side, 0.15, note, size=9, color=palette.FAINT, ha="right")
    if scale:
        bar = page.colorbar(drawn, cax=page.panel(left + side + 0.2, top + 0.5, 0.14, side - 1.0))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.ax.tick_params(length=2.5)
    return page
