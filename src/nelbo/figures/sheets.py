"""Sheets of pictures: what a model decodes, what it makes up, what it gives back."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

from nelbo.data import as_batch
from nelbo.evaluation import decode, evaluation_mode, sample
from nelbo.figures import density, palette, points, tiles
from nelbo.figures.page import DPI, Page, by_name, styled
from nelbo.vae import Model, as_model

_QUANTILE_DRAWS = 20_000
_LONGEST = 1600  # pixels of a sheet's longer side that small images are enlarged to


@styled
def latent_grid(
    model: Any,
    *,
    n: int = 20,
    dims: tuple[int, int] | None = None,
    span: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Means of p(x|z) on an n x n grid of z, even in the prior's mass: z = Phi^-1((i + 1/2) / n) in each dimension.

    Every tile stands for the same share of the prior. For a prior other than a normal the quantiles are those of its
    marginals, from draws. With one latent dimension the grid is a row; with more than two, the others stay at their
    median.

    Source: Kingma & Welling 2014, figure 4.

    Args:
        model: a model or a run.
        n: tiles on a side.
        dims: the two latent dimensions to walk through, counted from 0; None is the first two.
        span: walk evenly from one value to the other instead, as where an autoencoder's codes lie: (-20, 20).
        title: of the sheet; None says what is shown.

    Raises:
        ValueError: n, dims or span is out of range.
    """
    if n < 2:
        raise ValueError(f"n, the number of tiles on a side, must be at least 2; got {n}")
    if span is not None and not span[0] < span[1]:
        raise ValueError(f"span must go from a smaller to a larger value, got {span}; write span=(-3.0, 3.0)")
    model = as_model(model)
    with evaluation_mode(model):
        pz = model.prior
        width = pz.event_shape[-1]
        chosen = dims or tuple(range(min(width, 2)))
        if len(set(chosen)) != min(width, 2) or not all(0 <= d < width for d in chosen):
            raise ValueError(f"dims must name two of the {width} latent dimensions, from 0 to {width - 1}; got {dims}")
        z_rest, sides = _quantiles(model, chosen, n)
        if span is not None:
            sides = [np.linspace(*span, n)] * len(chosen)
        across, up = sides[0], sides[-1] if len(sides) == 2 else np.zeros(1)
        z = z_rest.expand(len(up) * len(across), -1).clone()
        grid = np.stack(np.meshgrid(across, up[::-1]), -1).reshape(-1, 2)  # the first row of a picture is its top
        for position, d in enumerate(chosen):
            z[:, d] = torch.from_numpy(grid[:, position]).to(z)
    x = decode(model, z)
    side = 5.6
    tile = side / n
    height = side * len(up) / n * _aspect(x)
    page = Page(side + 0.95, height + 1.0)
    axes = page.panel(0.65, 0.45, side, height)
    tiles.show_tiles(axes, x, n)
    step = max(1, round(0.45 / tile))
    ticks = _labelled(n, step)
    axes.set_xticks([i + 0.5 for i in ticks], [_number(across[i]) for i in ticks])
    axes.set_xlabel(points.axis_name(chosen[0]), labelpad=2)
    if len(up) > 1:
        axes.set_yticks([n - i - 0.5 for i in ticks], [_number(up[i]) for i in ticks])
        axes.set_ylabel(points.axis_name(chosen[1]), rotation=0, labelpad=6, va="center")
    axes.tick_params(length=2.5, pad=2)
    where = "evenly spaced" if span is not None else "at the prior's quantiles"
    rest = f", other {width - 2} latents at their median" if width > 2 else ""
    page.note(0.65, 0.14, title or f"mean of p(x|z), z {where}{rest}", size=10.5)
    return page


def _quantiles(model: Model, dims: Sequence[int], n: int) -> tuple[Tensor, list[points.Floats]]:
    """The prior's median, (1, latent), and its marginal quantiles at (i + 1/2) / n in each of these dimensions."""
    pz = model.prior
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    known = density.moments(pz, dims := tuple(dims))
    if known is not None:
        mean, covariance = known
        standard = Normal(0.0, 1.0).icdf(levels).numpy()
        return pz.mean.reshape(1, -1), [
            m + s * standard for m, s in zip(mean, covariance.diagonal() ** 0.5, strict=True)
        ]
    draws = pz.sample((_QUANTILE_DRAWS,))
    return draws.median(0).values[None], [draws[:, d].double().cpu().quantile(levels).numpy() for d in dims]


def _labelled(n: int, step: int) -> list[int]:
    """The tiles to label: about every step-th, from both ends, so that a symmetric prior has symmetric labels."""
    left = [i for i in range(0, n, step) if i <= (n - 1 - step) / 2]
    return [*left, *([n // 2] if n % 2 else []), *(n - 1 - i for i in reversed(left))]


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


@styled
def samples(models: Any, *, n: int = 10, seed: int = 0) -> Figure:
    """Samples from the prior of each model side by side: z ~ p(z), shown as the mean of p(x|z).

    Models with the same prior get the same z. An autoencoder has no prior that it was trained on: it gets N(0, I),
    and shows what its decoder makes of places where no code ever lay.

    Args:
        models: one model or run, several, or a mapping from names to them.
        n: samples on a side: n x n for each model.
        seed: of the draws; torch's generators are left as they were.

    Raises:
        ValueError: no model, or n < 1.
    """
    named = by_name(models, write='samples({"VAE": vae, "autoencoder": autoencoder})')
    if n < 1:
        raise ValueError(f"n, the number of samples on a side, must be at least 1; got {n}")
    drawn = {name: sample(model, n * n, mean=True, seed=seed).cpu() for name, model in named.items()}
    block, gap = (3.4 if len(named) > 1 else 5.0), 0.3
    heights = [block * _aspect(x) for x in drawn.values()]
    page = Page(gap + len(named) * (block + gap), 0.72 + max(heights) + 0.2)
    for i, ((name, x), height) in enumerate(zip(drawn.items(), heights, strict=True)):
        left = gap + i * (block + gap)
        page.note(left, 0.12, name, size=11.5, weight="bold")
        source = "z ~ N(0, I), never trained on" if as_model(named[name]).deterministic else "z ~ p(z)"
        page.note(left, 0.38, f"mean of p(x|z), {source}", size=9.5, color=palette.FAINT)
        tiles.show_tiles(page.panel(left, 0.68, block, height), x, n)
    return page


@styled
def image_grid(x: Any, *, columns: int | None = None) -> Figure:
    """Examples (n, *event) row by row, pixel for pixel: gray and RGB images, or bars for the features of vectors.

    Written at 200 dpi, each pixel of an image is a whole number of pixels of the file.

    Args:
        x: (n, *event), a tensor or array, a Batch or a Dataset; (n, 1 or 3, height, width) for images.
        columns: of the grid; None makes it about square.

    Raises:
        ValueError: no examples, or columns < 1.
    """
    x = as_batch(x).x
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}; leave it out for a sheet that is about square")
    columns = columns or math.ceil(math.sqrt(len(x) * _aspect(x)))
    return _sheet(x, min(columns, len(x)))


@styled
def reconstruction_pairs(
    x: Any,
    reconstruction: Any,
    *,
    columns: int = 10,
    names: tuple[str, str] = ("input", "reconstruction"),
    captions: Sequence[str] | None = None,
) -> Figure:
    """Originals, and under each its reconstruction, or any two rows of examples that belong together.

    Args:
        x: (n, *event), as for :func:`image_grid`.
        reconstruction: (n, *event): ``run.reconstruct(x)``.
        columns: pairs side by side, before the next two rows begin.
        names: of the upper and the lower row.
        captions: n short texts, one under each pair, such as its loss; None writes none.

    Raises:
        ValueError: the shapes differ, there are no examples, not a caption for each, or columns < 1.
    """
    x, reconstruction = as_batch(x).x, as_batch(reconstruction).x
    if x.shape != reconstruction.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and reconstruction {tuple(reconstruction.shape)}, expected the same; "
            "write reconstruction_pairs(x, run.reconstruct(x))"
        )
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if captions is not None and len(captions) != len(x):
        raise ValueError(f"captions holds {len(captions)} texts for {len(x)} pairs, expected one for each")
    columns, bands = min(columns, len(x)), math.ceil(len(x) / columns)
    span = tiles.limits(x, reconstruction)
    foot = 0.14 if captions is None else 0.34
    width = min(0.75 * columns, 7.0)
    tile = width / columns
    band = 2 * tile * _aspect(x)
    page = Page(width + 1.25, bands * (band + foot) + 0.1)
    for i in range(bands):
        own = slice(i * columns, (i + 1) * columns)
        both = torch.cat([_filled(part[own].detach().float().cpu(), columns) for part in (x, reconstruction)])
        top = 0.1 + i * (band + foot)
        axes = page.panel(1.15, top, width, band)
        tiles.show_tiles(axes, both, columns, span=span)
        axes.set_xlim(0, columns)
        axes.set_yticks([0.5, 1.5], names, size=8.5)
        axes.tick_params(length=0, pad=3)
        if i == bands - 1 and len(x) % columns:
            used = len(x) % columns
            axes.axvspan(used, columns, color="white", zorder=9)
        for j, text in enumerate(captions[own] if captions is not None else ()):
            page.note(1.15 + (j + 0.5) * tile, top + band + 0.05, text, size=8.5, ha="center")
    return page


def _filled(x: Tensor, columns: int) -> Tensor:
    """A last row with too few examples, filled with its last one; what fills is covered in white."""
    return torch.cat([x, x[-1:].expand(columns - len(x), *x.shape[1:])])


def _sheet(x: Tensor, columns: int) -> Page:
    """A page of nothing but tiles."""
    rows = math.ceil(len(x) / columns)
    if not tiles.is_image(x):
        tile = min(1.2, 8.0 / columns)
        page = Page(columns * tile, rows * tile * _aspect(x))
        tiles.show_tiles(page.add_axes((0, 0, 1, 1)), x, columns)
        return page
    gap = max(1, min(x.shape[2:]) // 28)
    canvas = tiles.mosaic(tiles.pixels(x, *tiles.limits(x)), columns, gap)
    times = max(1, _LONGEST // max(canvas.shape[:2]))
    page = Page(canvas.shape[1] * times / DPI, canvas.shape[0] * times / DPI)
    axes = page.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return page


def _aspect(x: Tensor) -> float:
    """Height of a tile in widths."""
    return x.shape[2] / x.shape[3] if tiles.is_image(x) else 0.75
