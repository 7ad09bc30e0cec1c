"""p(z) and q(z|x) in a latent space of two dimensions as ellipses or contours, and of one as intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from torch import Tensor
from torch.distributions import Distribution

from nelbo.figures import palette
from nelbo.figures.points import Dims, Floats
from nelbo.latents import moments as normal_moments

MASSES = tuple(1 - math.exp(-(k**2) / 2) for k in (1, 2, 3))
"""What the ellipses at 1, 2 and 3 sigma of a normal in two dimensions hold: 39 %, 86 % and 99 %."""
_DRAWS = 4000
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
    return mean[chosen].double().cpu().numpy(), covariance[chosen][:, chosen].double().cpu().numpy()


def ellipse(mean: Floats, covariance: Floats, sigmas: float, **options: Any) -> Ellipse:
    """The points at ``sigmas`` standard deviations from the mean, (z - mean)' covariance^-1 (z - mean) = sigmas^2."""
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * sigmas * np.sqrt(np.clip(variances[::-1], 0, None))
    major = directions[:, 1]
    return Ellipse((mean[0], mean[1]), width, height, angle=np.degrees(np.arctan2(major[1], major[0])), **options)


def draw_prior(axes: Axes, pz: Distribution, dims: Dims, *, sigmas: Sequence[int] = (1, 2, 3)) -> None:
    """Contours of p(z) in grey: at 1, 2 and 3 sigma for a normal, else around the same masses of it."""
    known = moments(pz, dims)
    options: dict[str, Any] = {
        "zorder": 2.2,
        "path_effects": [withStroke(linewidth=2.2, foreground="white", alpha=0.7)],
    }
    if known is None:
        drawn = pz.sample((_DRAWS,))
        contour(axes, pz, drawn, dims, colors=palette.CONTOURS, linewidths=0.9, **options)
        return
    for k in sigmas:
        ring = ellipse(*known, k, fill=False, edgecolor=palette.CONTOURS, linewidth=1.1 if k == 1 else 0.8, **options)
        ring.set_gid(f"prior_{k}_sigma")
        axes.add_patch(ring)
        _name_ring(axes, ring, f"{k}σ")


def _name_ring(axes: Axes, ring: Ellipse, text: str) -> None:
    x, y = np.array(ring.center) + 0.5 * math.sqrt(0.5) * np.array([ring.width, ring.height])
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    roomy = ring.height > 0.15 * (top - bottom)
    # a tilted ellipse has its edge elsewhere
    if not (left < x < right and bottom < y < top and roomy) or ring.angle % 90:
        return
    halo = [withStroke(linewidth=2, foreground="white")]
    axes.text(x, y, text, size=7, color=palette.FAINT, ha="center", va="center", path_effects=halo, zorder=2.5)


def draw_posterior(axes: Axes, qz: Distribution, center: Floats, dims: Dims) -> None:
    """q(z|x): ellipses at 1 and 2 sigma (for a normal) or contours around the same masses, and its center."""
    known = moments(qz, dims)
    halo = [withStroke(linewidth=2.8, foreground="white")]
    options: dict[str, Any] = {"zorder": 5, "path_effects": halo}
    if known is None:
        drawn = qz.sample((_DRAWS,)).flatten(0, -2)
        contour(axes, qz, drawn, dims, masses=MASSES[:2], colors=palette.Q, linewidths=1.4, zorder=5)
    elif known[1].any():
        for k, width in ((1, 1.7), (2, 1.1)):
            shape = ellipse(*known, k, fill=False, edgecolor=palette.Q, linewidth=width, **options)
            shape.set_gid(f"posterior_{k}_sigma")
            axes.add_patch(shape)
    # two hairs to the axes: a narrow q is found at once, and its place can be read off
    low = axes.get_xlim()[0], axes.get_ylim()[0]
    hairs: dict[str, Any] = {"color": palette.Q, "linewidth": 0.8, "alpha": 0.7, "zorder": 4.2}
    axes.plot([low[0], center[0]], [center[1], center[1]], **hairs)
    axes.plot([center[0], center[0]], [low[1], center[1]], **hairs)
    axes.plot(
        *center,
        marker="o",
        markersize=3.5 if known is None or known[1].any() else 7,
        color=palette.Q,
        markeredgecolor="white",
        markeredgewidth=0.7 if known is None or known[1].any() else 1.4,
        linestyle="none",
        zorder=6,
        gid="posterior_mean",
    )


def contour(
    axes: Axes, distribution: Distribution, draws: Tensor, dims: Dims, *, masses: Sequence[float] = MASSES, **style: Any
) -> None:
    """Contours around the smallest regions that hold these masses, in two of the distribution's dimensions.

    In two dimensions from the density itself; in more, from a kernel estimate of the marginal on the draws.
    """
    chosen = draws[:, list(dims)].double().cpu().numpy()
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
        density = distribution.log_prob(z).double().exp().flatten().cpu().numpy()
    else:
        from scipy.stats import gaussian_kde

        density = gaussian_kde(chosen[:_KERNEL_DRAWS].T)(grid.T)
    levels = sorted({float(level) for level in highest_density(density, masses)})
    halo = style.pop("path_effects", None)
    drawn = axes.contour(*side, density.reshape(n, n), levels=levels, **style)
    drawn.set_path_effects(halo)


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
    draws = distribution.sample((_DRAWS,)).flatten().double().cpu().numpy()
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def draw_intervals(axes: Axes, pz: Distribution, qz: Distribution, center: float) -> None:
    """One latent dimension, across: p(z) as grey lines at 1, 2, 3 sigma, q(z|x) as bands at 1 and 2 sigma."""
    for k in (1, 2, 3):
        for edge in interval(pz, k):
            axes.axvline(
                edge, color=palette.CONTOURS, linewidth=1.1 if k == 1 else 0.8, zorder=2.2, gid=f"prior_{k}_sigma"
            )
    for k, alpha in ((1, 0.3), (2, 0.2)):
        low, high = interval(qz, k)
        if high > low:
            axes.axvspan(low, high, color=palette.Q, alpha=alpha, linewidth=0, zorder=3, gid=f"posterior_{k}_sigma")
    axes.axvline(center, color=palette.Q, linewidth=1.2, zorder=4, gid="posterior_mean")
