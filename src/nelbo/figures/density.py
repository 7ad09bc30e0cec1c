"""p(z) and q(z|x) in a latent space of two dimensions as ellipses or contours, and of one as intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from torch import Tensor
from torch.distributions import Distribution

from nelbo.figures import palette
from nelbo.figures.page import halo
from nelbo.figures.points import Dims, Floats, array
from nelbo.latents import moments as normal_moments

MASSES = tuple(1 - math.exp(-(k**2) / 2) for k in (1, 2, 3))
"""What the ellipses at 1, 2 and 3 sigma of a normal in two dimensions hold: 39 %, 86 % and 99 %."""
_DRAWS = 4000
_FREE = 0.06  # of the axes: how far a ring's name keeps from what is written there
_GRID, _KERNEL_GRID, _KERNEL_DRAWS = 160, 80, 2000  # a kernel estimate costs their product


def moments(distribution: Distribution, dims: Dims) -> tuple[Floats, Floats] | None:
    """Mean (2,) and covariance (2, 2) of these dimensions of a normal or a point; None for any other distribution.

    Of a batch, the first.
    """
    chosen = list(dims)
    known = normal_moments(distribution)
    if known is None:
        return None
    mean, covariance = known
    mean, covariance = mean.reshape(-1, mean.shape[-1])[0], covariance.reshape(-1, *covariance.shape[-2:])[0]
    return array(mean[chosen]), array(covariance[chosen][:, chosen])


def ellipse(mean: Floats, covariance: Floats, sigmas: float, **options: Any) -> Ellipse:
    """The points at ``sigmas`` standard deviations from the mean, (z - mean)' covariance^-1 (z - mean) = sigmas^2."""
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * sigmas * np.sqrt(np.clip(variances[::-1], 0, None))
    major = directions[:, 1]
    return Ellipse((mean[0], mean[1]), width, height, angle=np.degrees(np.arctan2(major[1], major[0])), **options)


def draw_prior(axes: Axes, pz: Distribution, dims: Dims, *, sigmas: Sequence[int] = (1, 2, 3)) -> None:
    """Contours of p(z) in grey: at 1, 2 and 3 sigma for a normal, else around the same masses of it."""
    known = moments(pz, dims)
    options: dict[str, Any] = {"zorder": 2.2, "path_effects": halo(2.2, alpha=0.7)}
    if known is None:
        contour(axes, pz, pz.sample((_DRAWS,)), dims, colors=palette.CONTOURS, linewidths=0.9, **options)
        return
    for k in sigmas:
        ring = ellipse(*known, k, fill=False, edgecolor=palette.CONTOURS, linewidth=1.1 if k == 1 else 0.8, **options)
        ring.set_gid(f"prior_{k}_sigma")
        axes.add_patch(ring)
        _name_ring(axes, ring, f"{k}σ")


def _name_ring(axes: Axes, ring: Ellipse, text: str) -> None:
    """Write on the ring, above all else, clear of what is written already, to the upper right if there is room."""
    turns = math.radians(45 - ring.angle) + np.linspace(0, 2 * math.pi, 24, endpoint=False)
    edge = ring.get_patch_transform().transform(np.stack([np.cos(turns), np.sin(turns)], 1))
    to_share = axes.transData - axes.transAxes
    places = to_share.transform(edge)
    edge, places = (each[((places > 0.03) & (places < 0.97)).all(1)] for each in (edge, places))
    if not len(places) or ring.height < 0.15 * np.ptp(axes.get_ylim()):
        return
    written = to_share.transform([other.get_position() for other in axes.texts] or [(9.0, 9.0)])
    free = np.linalg.norm(places[:, None] - written[None], axis=-1).min(1)
    x, y = edge[np.minimum(free, _FREE).argmax()]
    style: dict[str, Any] = {"size": 7, "color": palette.FAINT, "ha": "center", "va": "center", "zorder": 5.3}
    axes.text(x, y, text, path_effects=halo(2.5), **style)


def draw_posterior(axes: Axes, qz: Distribution, center: Floats, dims: Dims) -> None:
    """q(z|x): ellipses at 1 and 2 sigma (for a normal) or contours around the same masses, and its center."""
    known = moments(qz, dims)
    options: dict[str, Any] = {"zorder": 5, "path_effects": halo(2.8)}
    extended = known is None or bool(known[1].any())
    if known is None:
        drawn = qz.sample((_DRAWS,)).flatten(0, -2)
        contour(axes, qz, drawn, dims, masses=MASSES[:2], colors=palette.Q, linewidths=1.4, zorder=5)
    elif extended:
        for k, width in ((1, 1.7), (2, 1.1)):
            shape = ellipse(*known, k, fill=False, edgecolor=palette.Q, linewidth=width, **options)
            shape.set_gid(f"posterior_{k}_sigma")
            axes.add_patch(shape)
    # two hairs to the axes: a narrow q is found at once, and its place can be read off
    low = axes.get_xlim()[0], axes.get_ylim()[0]
    hairs: dict[str, Any] = {"color": palette.Q, "linewidth": 0.8, "alpha": 0.7, "zorder": 4.2}
    axes.plot([low[0], center[0]], [center[1], center[1]], **hairs)
    axes.plot([center[0], center[0]], [low[1], center[1]], **hairs)
    size, rim = (3.5, 0.7) if extended else (7, 1.4)
    mark: dict[str, Any] = {"marker": "o", "markersize": size, "markeredgecolor": "white", "markeredgewidth": rim}
    axes.plot(*center, color=palette.Q, linestyle="none", zorder=6, gid="posterior_mean", **mark)


def contour(
    axes: Axes, distribution: Distribution, draws: Tensor, dims: Dims, *, masses: Sequence[float] = MASSES, **style: Any
) -> None:
    """Contours around the smallest regions that hold these masses, in two of the distribution's dimensions.

    In two dimensions from the density itself; in more, from a kernel estimate of the marginal on the draws.
    """
    chosen = array(draws[:, list(dims)])
    low, high = np.quantile(chosen, [0.0005, 0.9995], axis=0)
    margin = 0.15 * (high - low) + 1e-9
    exact = draws.shape[1] == 2
    n = _GRID if exact else _KERNEL_GRID
    side = [np.linspace(low[i] - margin[i], high[i] + margin[i], n) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*side, indexing="xy"), -1).reshape(-1, 2)
    if exact:
        z = torch.from_numpy(grid).to(draws)
        # a posterior has a batch of one, which asks for (points, 1, 2)
        z = z[:, None] if distribution.batch_shape else z
        density = array(distribution.log_prob(z).double().exp().flatten())
    else:
        from scipy.stats import gaussian_kde

        density = gaussian_kde(chosen[:_KERNEL_DRAWS].T)(grid.T)
    levels = sorted({float(level) for level in highest_density(density, masses)})
    effects = style.pop("path_effects", None)
    axes.contour(*side, density.reshape(n, n), levels=levels, **style).set_path_effects(effects)


def highest_density(density: Floats, masses: Sequence[float]) -> Floats:
    """The levels of a density on an even grid whose regions above them hold these shares of its mass."""
    ordered = np.sort(density)[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    return ordered[np.minimum(np.searchsorted(held, masses), len(ordered) - 1)]


def interval(distribution: Distribution, sigmas: float) -> tuple[float, float]:
    """Where a distribution over one dimension holds what a normal holds within ``sigmas``: the central quantiles."""
    known = moments(distribution, (0,))
    if known is not None:
        mean, deviation = float(known[0][0]), math.sqrt(float(known[1][0, 0]))
        return mean - sigmas * deviation, mean + sigmas * deviation
    tail = 0.5 * math.erfc(sigmas / math.sqrt(2))
    draws = array(distribution.sample((_DRAWS,)).flatten())
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def draw_intervals(axes: Axes, pz: Distribution, qz: Distribution, center: float) -> None:
    """One latent dimension, across: p(z) as grey lines at 1, 2, 3 sigma, q(z|x) as bands at 1 and 2 sigma."""
    for k in (1, 2, 3):
        for edge in interval(pz, k):
            width = 1.1 if k == 1 else 0.8
            axes.axvline(edge, color=palette.CONTOURS, linewidth=width, zorder=2.2, gid=f"prior_{k}_sigma")
    for k, alpha in ((1, 0.3), (2, 0.2)):
        low, high = interval(qz, k)
        if high > low:
            axes.axvspan(low, high, color=palette.Q, alpha=alpha, linewidth=0, zorder=3, gid=f"posterior_{k}_sigma")
    axes.axvline(center, color=palette.Q, linewidth=1.2, zorder=4, gid="posterior_mean")
