"""Examples as pictures: images as they are, vectors as one mark for each feature."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from nelbo.figures import palette
from nelbo.figures.points import array

_MANY = 60  # features: beyond, stems run into each other and a line says the same


def is_image(x: Tensor) -> bool:
    """Whether examples x: (n, *event) are gray or RGB images (n, 1 or 3, height, width)."""
    return x.dim() == 4 and x.shape[1] in (1, 3)


def limits(*x: Tensor) -> tuple[float, float]:
    """The values that black and white stand for: 0 and 1 for data in [0, 1], else the data's range."""
    low, high = min(float(t.min()) for t in x), max(float(t.max()) for t in x)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def pixels(x: Tensor, low: float, high: float) -> NDArray[np.float32]:
    """(n, height, width, 3) in [0, 1] of images (n, 1 or 3, height, width)."""
    scaled = ((x.detach().float().cpu() - low) / (high - low)).clamp(0, 1)
    return scaled.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def mosaic(images: NDArray[np.float32], columns: int, gap: int = 0) -> NDArray[np.float32]:
    """(n, height, width, 3) images as one, row by row, with ``gap`` white pixels between them."""
    n, height, width, _ = images.shape
    rows = math.ceil(n / columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.float32)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def show_tiles(axes: Axes, x: Tensor, columns: int, *, gap: int = 0, span: tuple[float, float] | None = None) -> None:
    """Draw examples (n, *event) row by row; tile (i, j) covers [j, j + 1] x [i, i + 1], with i downwards."""
    rows = math.ceil(len(x) / columns)
    low, high = span or limits(x)
    if is_image(x):
        axes.imshow(mosaic(pixels(x, low, high), columns, gap), extent=(0, columns, rows, 0))
        axes.set_aspect(x.shape[2] / x.shape[3])
    else:
        _sparklines(axes, x, columns, low, high)
    axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _sparklines(axes: Axes, x: Tensor, columns: int, low: float, high: float) -> None:
    values = array(x.flatten(1))
    n, features = values.shape
    row, column = np.arange(n)[:, None] // columns, np.arange(n)[:, None] % columns
    across = column + 0.08 + 0.84 * (np.arange(features) + 0.5) / features

    def height(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return row + 0.9 - 0.8 * (np.asarray(value) - low) / (high - low)

    floor = height(min(max(0.0, low), high)) + np.zeros_like(across)
    bars = np.stack([np.stack([across, floor], -1), np.stack([across, height(values)], -1)], -2).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(bars), colors=palette.INK, linewidths=0.6 if features > 20 else 1.2))
    for line in range(1, columns):
        axes.axvline(line, color=palette.RULE, linewidth=0.5)
    for line in range(1, math.ceil(n / columns)):
        axes.axhline(line, color=palette.RULE, linewidth=0.5)


def show_example(axes: Axes, x: Tensor, *, span: tuple[float, float], behind: Tensor | None = None) -> None:
    """Draw one example (1, *event): an image, or a stem for each feature.

    Args:
        axes: where.
        x: (1, *event).
        span: the values of black and white, or the range of the value axis.
        behind: another example in faint marks, to compare vectors with.
    """
    low, high = span
    if is_image(x):
        axes.imshow(pixels(x, low, high)[0])
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return
    values = array(x.flatten())
    feature = np.arange(1, len(values) + 1)
    if behind is not None:
        hollow: dict[str, Any] = {"markersize": 4, "markerfacecolor": "none", "markeredgewidth": 0.8}
        axes.plot(feature, array(behind.flatten()), "o", color=palette.CONTOURS, **hollow)
    if len(values) <= _MANY:
        axes.vlines(feature, min(max(0.0, low), high), values, color=palette.P, linewidth=1.2)
        axes.plot(feature, values, "o", markersize=3, color=palette.P)
    else:
        axes.plot(feature, values, color=palette.P, linewidth=0.8)
    margin = 0.06 * (high - low)
    axes.set(xlim=(0.3, len(values) + 0.7), ylim=(low - margin, high + margin))
    axes.set_xlabel("feature", size=8.5, labelpad=1)
    axes.tick_params(labelsize=7.5, length=2, pad=2)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
