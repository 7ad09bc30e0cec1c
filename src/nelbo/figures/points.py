"""Points of a latent space: which two dimensions, coloured and named by class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nelbo.figures import palette

Floats = NDArray[np.float64]
Dims = tuple[int, ...]

_CLASSES_AT_MOST = 20  # distinct whole-numbered or named labels; more are a scale of values


@dataclass(frozen=True)
class Labels:
    """Labels as colours: one for each class, or a scale where there are too many values."""

    names: tuple[str, ...]
    """Of the classes in order; empty for a scale."""
    values: Floats
    """(n,): the class of each point as a number, or its value on the scale."""

    @property
    def colors(self) -> list[str]:
        """One for each class; beyond ten they repeat, and the names at the centroids tell them apart."""
        return [palette.CLASSES[i % len(palette.CLASSES)] for i in range(len(self.names))]


def array(values: Any, name: str = "values") -> Floats:
    """A tensor or array as float64 on the CPU.

    Raises:
        TypeError: anything else.
    """
    if isinstance(values, Tensor):
        return values.detach().double().cpu().numpy()
    if not hasattr(values, "__array__"):
        raise TypeError(f"{name} must be a tensor or array, got {type(values).__name__}")
    return np.asarray(values, dtype=np.float64)


def read_codes(z: Any, name: str, *, write: str, latent: int | None = None) -> Tensor:
    """Codes as a tensor (n, latent).

    Args:
        z: a tensor or array.
        name: of the argument.
        write: the line to write instead.
        latent: the number of latent dimensions, where it is known.

    Raises:
        TypeError: neither a tensor nor an array.
        ValueError: another shape.
    """
    codes = z.detach() if isinstance(z, Tensor) else torch.from_numpy(array(z, name))
    if codes.dim() != 2 or not len(codes) or latent not in (None, codes.shape[1]):
        shape = f"(n, {latent or 'latent'})"
        raise ValueError(f"{name} must have shape {shape}, got {tuple(codes.shape)}; write {write}")
    return codes


def read_labels(labels: ArrayLike | Tensor | None, n: int) -> Labels | None:
    """Labels of n points, or a ValueError when there are not n of them."""
    if labels is None:
        return None
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(
            f"labels has shape {array.shape} for {n} embeddings, expected ({n},): one for each; "
            "write data.train.labels for the labels of data.train, or labels=None"
        )
    classes, index = np.unique(array, return_inverse=True)
    whole = array.dtype.kind not in "fc" or bool((classes == np.round(classes)).all())
    if whole and len(classes) <= _CLASSES_AT_MOST:
        names = tuple(f"{c:g}" if array.dtype.kind == "f" else str(c) for c in classes)
        return Labels(names, index.astype(np.float64))
    if array.dtype.kind not in "fciub":
        raise ValueError(f"labels holds {len(classes)} different names; at most {_CLASSES_AT_MOST} can be told apart")
    return Labels((), array.astype(np.float64))


def active(z: Tensor) -> Dims:
    """The two latent dimensions whose posterior means vary most over the data, in order; all, where there are <= 2.

    Args:
        z: (n, latent), posterior means.
    """
    if z.shape[1] <= 2:
        return tuple(range(z.shape[1]))
    variance = z.detach().double().var(0, correction=0)
    return tuple(sorted(int(i) for i in variance.topk(2).indices))


def axis_name(dim: int) -> str:
    """The name of a latent dimension, counted from 1 as in formulas."""
    return f"$z_{{{dim + 1}}}$"


def name_axes(axes: Axes, dims: Dims) -> None:
    """Name the axes at their ends, where no tick is in the way."""
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "size": 10}
    axes.annotate(axis_name(dims[0]), (1, 0), (4, 0), **style, ha="left", va="center")
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if len(dims) == 2:
        axes.annotate(axis_name(dims[1]), (0, 1), (0, 3), **style, ha="center", va="bottom")
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.tick_params(length=2.5, pad=2)


def scatter(axes: Axes, z: Floats, labels: Labels | None, *, size: float = 5.0) -> Any:
    """Scatter (n, 2), light; returns what a colour bar needs, or None."""
    options: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True, "zorder": 2}
    if labels is None:
        axes.scatter(z[:, 0], z[:, 1], color=palette.CONTOURS, alpha=0.4, **options)
        return None
    # in a random order, so that no class hides the others
    order = np.random.default_rng(0).permutation(len(z))
    if not labels.names:
        return axes.scatter(z[order, 0], z[order, 1], c=labels.values[order], cmap="viridis", alpha=0.7, **options)
    rgb = np.array([to_rgb(color) for color in labels.colors])[labels.values[order].astype(int)]
    axes.scatter(z[order, 0], z[order, 1], c=rgb, alpha=0.5, **options)
    return None


def strips(axes: Axes, z: Floats, labels: Labels | None) -> Any:
    """Points of one latent dimension (n,), across; a strip for each class, in which the height means nothing."""
    jitter = np.random.default_rng(0).uniform(-0.36, 0.36, len(z))
    classes = labels.names if labels is not None else ()
    height = jitter if labels is None or not classes else labels.values + jitter
    drawn = scatter(axes, np.stack([z, height], 1), labels)
    axes.set_ylim(len(classes) - 0.5 if classes else 0.5, -0.5)
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", length=0)
    return drawn


def name_classes(
    axes: Axes, z: Floats, labels: Labels | None, *, size: float = 7.0, free: Floats | None = None
) -> None:
    """Write each class's name in a disc of its colour at the median of its points.

    Where discs would overlap they are moved, and a line leads back to the median. The axes' limits must be set: what
    overlaps depends on them.

    Args:
        axes: where.
        z: (n, 2).
        labels: of the points.
        size: of the names, in points.
        free: (m, 2) places to keep free.
    """
    if labels is None or not labels.names:
        return
    medians = np.stack([np.median(z[labels.values == i], axis=0) for i in range(len(labels.names))])
    inches = np.array(axes.bbox.size) / axes.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    span = np.array([np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())])
    places = spread(medians, 1.9 * size / 72 / inches * span, free)
    for name, color, place, median in zip(labels.names, labels.colors, places, medians, strict=True):
        dark = float(np.dot(np.array(to_rgb(color)) ** 2.2, [0.2126, 0.7152, 0.0722])) < 0.3
        axes.plot(*np.stack([median, place], 1), color=color, linewidth=1, zorder=5.1, solid_capstyle="round")
        axes.text(
            place[0],
            place[1],
            name,
            size=size,
            weight="bold",
            color="white" if dark else palette.INK,
            ha="center",
            va="center_baseline",
            zorder=5.2,
            clip_on=True,
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": color, "edgecolor": "white", "linewidth": 0.7},
        )


def spread(places: Floats, apart: Floats, fixed: Floats | None = None) -> Floats:
    """Move points (n, 2) as little as needed that none is nearer than ``apart`` (in x, in y) to another or to fixed."""
    moved = places / apart
    moved = moved + 1e-6 * np.random.default_rng(0).normal(size=moved.shape)  # two at one place need a direction
    n = len(moved)
    held = np.zeros((0, 2)) if fixed is None else fixed / apart
    for _ in range(200):
        everything = np.concatenate([moved, held])
        difference = moved[:, None] - everything[None]
        distance = np.linalg.norm(difference, axis=-1)
        distance[np.arange(n), np.arange(n)] = np.inf
        overlap = np.clip(1 - distance, 0, None)
        if overlap.max() < 1e-3:
            break
        moved = moved + 0.5 * ((overlap / distance)[..., None] * difference).sum(1)
    return moved * apart
