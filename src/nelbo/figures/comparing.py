"""One input under several models: the input, where it lies in latent space, its reconstruction, and its loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode
from nelbo.figures import density, palette, points, tiles
from nelbo.figures.page import Page, Part, halo, require, styled

Box = tuple[float, float, float]

# inches
_WIDTH, _HEADER, _PANEL, _FOOT, _PICTURE, _LEGEND = 7.6, 0.7, 2.5, 0.32, 1.8, 0.42


@dataclass(frozen=True, eq=False)
class Row:
    """What one row of :func:`comparison` shows; :func:`row` makes it.

    Args:
        evaluation: of the model on the one input.
        title: the model's name.
        embeddings: (n, latent), posterior means of many inputs.
        labels: (n,) or None.
        reconstruction_error: -E_q[log p(x|z)] of x, in nats.
        kl: KL(q(z|x) || p(z)) of x, in nats; infinite for an autoencoder.
        standard_error: of the sum of the two (of the reconstruction error, for an autoencoder), in nats.
    """

    evaluation: Evaluation
    title: str
    embeddings: Tensor
    labels: ArrayLike | Tensor | None
    reconstruction_error: float
    kl: float
    standard_error: float

    @property
    def nelbo(self) -> float:
        """reconstruction_error + kl, in nats: the total loss."""
        return self.reconstruction_error + self.kl

    @property
    def is_point(self) -> bool:
        """Whether q(z|x) is a point: then there is no KL."""
        return self.evaluation.is_point


def row(
    model: Any,
    x: Any,
    embeddings: ArrayLike | Tensor,
    labels: ArrayLike | Tensor | None = None,
    *,
    title: str | None = None,
    samples: int = 4096,
    seed: int = 0,
) -> Row:
    """A row of :func:`comparison`, with the loss of x averaged over many draws of z ~ q(z|x).

    Args:
        model: a model or a run.
        x: (1, *event), the input.
        embeddings: (n, latent): ``run.encode(data.validation.take(1000))``.
        labels: (n,) classes or values that colour the embeddings.
        title: the model's name; None takes its class.
        samples: draws of z, at least 2.
        seed: of the draws; torch's generators are left as they were.

    Returns:
        Row with reconstruction_error, kl and nelbo in nats, and their standard error.

    Raises:
        TypeError: model, x or embeddings are of another type.
        ValueError: the shapes do not fit.
    """
    evaluation = evaluate(model, x, seed=seed)
    if len(evaluation) != 1:
        raise ValueError(
            f"x must be one input of shape (1, *event), got {tuple(evaluation.x.shape)}; write "
            "data.validation.take([6]), or x[6:7]"
        )
    write = "run.encode(data.validation.take(1000))"
    embeddings = points.read_codes(embeddings, "embeddings", write=write, latent=evaluation.latent)
    points.read_labels(labels, len(embeddings))
    terms = evaluation.terms(samples)
    error, kl = float(terms.reconstruction_error.value[0]), float(terms.kl.value[0])
    noisy = terms.reconstruction_error if math.isinf(kl) else terms.elbo
    title = title or type(evaluation.model).__name__
    return Row(evaluation, title, embeddings, labels, error, kl, float(noisy.standard_error[0]))


def loss_in_words(row: Row) -> list[Part]:
    """The row's loss as pieces of text with their colours, in the digits that reports and tables show."""
    error = Estimate.number(row.reconstruction_error, row.standard_error)
    if row.is_point:
        return [
            (f"reconstruction error {error.text_with_unit},", palette.RECONSTRUCTION_ERROR),
            ("no KL: q(z|x) is a point", palette.FAINT),
        ]
    total = Estimate.number(row.nelbo, row.standard_error)
    return [
        (f"reconstruction error {error.text.partition(' ±')[0]}", palette.RECONSTRUCTION_ERROR),
        ("+", palette.INK),
        (f"KL {Estimate.number(row.kl).text}", palette.KL),
        ("=", palette.INK),
        (f"total loss {total.text_with_unit}", palette.NELBO, "bold"),
    ]


@styled
def comparison(rows: Sequence[Row]) -> Figure:
    """One input under several models: input, embedding, reconstruction, and reconstruction error + KL = total loss.

    The embedding panel shows posterior means coloured by class, p(z) in grey at 1, 2 and 3 sigma, and q(z|x) of this
    input at 1 and 2 sigma; for an autoencoder, a point. VAEs share one scale, so that crowding at the origin is seen;
    an autoencoder, whose codes no prior holds together, has its own where it needs one, and says so. With more than
    two latent dimensions, the two most active are shown. For other priors and posteriors, contours hold the masses
    that the ellipses of a normal hold (39 %, 86 %, 99 %).

    The reconstruction is the mean of p(x|z) at the center of q(z|x); the reconstruction error is the expectation over
    q(z|x), in nats. The numbers have the digits that their standard error allows, as in a report.

    Args:
        rows: what :func:`row` returned, one for each model.

    Raises:
        TypeError: rows is not a sequence of rows.
        ValueError: no rows.
    """
    require(rows, Row, "comparison takes a list of rows; write comparison([row(run, x, run.encode(xs), labels)])")
    if not rows:
        raise ValueError(
            "comparison needs a row for each model; write comparison([row(run, x, run.encode(xs), labels)])"
        )
    height = _HEADER + _PANEL + _FOOT
    page = Page(_WIDTH, len(rows) * height + _LEGEND)
    boxes = _boxes(rows)
    usual = next((box for row, box in zip(rows, boxes, strict=True) if _pulled_to_standard_normal(row)), boxes[0])
    for i, (row, box) in enumerate(zip(rows, boxes, strict=True)):
        top = i * height
        page.note(0.3, top + 0.08, row.title, size=11.5, weight="bold")
        page.phrase(0.3, top + 0.31, loss_in_words(row), size=10)
        with evaluation_mode(row.evaluation.model):  # of other families than normals, draws are taken
            axes = page.panel(2.62, top + _HEADER, _PANEL, _PANEL)
            _latent_panel(axes, row, box, wider=box[2] / usual[2])
        x, shown = row.evaluation.x, row.evaluation.reconstruction
        span = tiles.limits(x, shown)
        down = top + _HEADER + (_PANEL - _PICTURE) / 2
        original, rebuilt = (page.panel(left, down, _PICTURE, _PICTURE) for left in (0.3, _WIDTH - 0.3 - _PICTURE))
        tiles.show_example(original, x, span=span)
        tiles.show_example(rebuilt, shown, span=span, behind=x)
        below = "reconstruction" if tiles.is_image(x) else "reconstruction (○ input)"
        for axes, name in ((original, "input x"), (rebuilt, below)):
            axes.set_title(name, size=9, color=palette.FAINT, pad=3)
    _legend(page, rows)
    return page


def _boxes(rows: Sequence[Row]) -> list[Box]:
    """For each row the center (x, y) and half width of its latent panel."""
    boxes: list[Box] = []
    for row in rows:
        dims = points.active(row.embeddings)
        z = points.array(row.embeddings[:, list(dims)])
        z = np.concatenate([z, [[-1.0] * len(dims), [1.0] * len(dims)]])  # the ring of N(0, I) is a yardstick
        if _pulled_to_standard_normal(row):
            boxes.append((0.0, 0.0, max(3.3, 1.06 * float(np.abs(z).max()))))
        else:
            center = (z.min(0) + z.max(0)) / 2
            boxes.append((float(center[0]), float(center[-1]), 0.54 * float(np.ptp(z, axis=0).max())))
    shared = max((box[2] for row, box in zip(rows, boxes, strict=True) if _pulled_to_standard_normal(row)), default=0)
    # an own scale is worth its confusion only where the shared one would cut or waste: it joins when it nearly fits
    reach = [max(abs(x), abs(y)) + half for x, y, half in boxes]
    joins = [r <= 1.25 * shared for r in reach]
    shared = max([shared, *(r for r, join in zip(reach, joins, strict=True) if join)])
    return [(0.0, 0.0, shared) if join else box for box, join in zip(boxes, joins, strict=True)]


def _pulled_to_standard_normal(row: Row) -> bool:
    known = density.moments(row.evaluation.pz, points.active(row.embeddings))
    if row.is_point or known is None:
        return False
    mean, covariance = known
    return bool(np.allclose(mean, 0) and np.allclose(covariance, np.eye(len(mean))))


def _latent_panel(axes: Axes, row: Row, box: Box, *, wider: float) -> None:
    across, up, half = box
    dims = points.active(row.embeddings)
    labels = points.read_labels(row.labels, len(row.embeddings))
    z = points.array(row.embeddings[:, list(dims)])
    qz, pz = row.evaluation.qz, row.evaluation.pz
    middle = points.array(row.evaluation.embedding[0, list(dims)])
    axes.set_xlim(across - half, across + half)
    if len(dims) == 1:
        points.strips(axes, z[:, 0], labels)
        density.draw_intervals(axes, pz, qz, float(middle[0]))
    else:
        axes.set_ylim(up - half, up + half)
        points.scatter(axes, z, labels)
        points.name_classes(axes, z, labels, free=middle[None])
        density.draw_prior(axes, pz, dims)
        density.draw_posterior(axes, qz, middle, dims)
    points.name_axes(axes, dims)
    notes = [f"axes {wider:.2g}× wider"] if wider >= 1.5 else []
    if row.embeddings.shape[1] > 2:
        notes.append(f"2 most active of {row.embeddings.shape[1]}")
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    style: dict[str, Any] = {"size": 8, "color": palette.INK, "ha": "right", "path_effects": halo(), "zorder": 7}
    axes.annotate("\n".join(notes), (1, 0), (-2, 3), **place, **style)


def _legend(page: Page, rows: Sequence[Row]) -> None:
    def mark(label: str, color: str, size: float, **options: Any) -> Line2D:
        return Line2D([], [], marker="o", linestyle="none", label=label, color=color, markersize=size, **options)

    with_points = any(row.is_point for row in rows)
    # a family other than the normal has no sigma: its contours hold the mass that a normal holds within 1, 2, 3 sigma
    normal = all(density.moments(row.evaluation.pz, (0,)) is not None for row in rows)
    rings = "1, 2, 3σ" if normal else "mass of 1, 2, 3σ"
    handles = [mark(f"prior p(z): {rings}", palette.CONTOURS, 9, markerfacecolor="none")]
    if not all(row.is_point for row in rows):
        handles.append(mark("q(z|x): 1, 2σ", palette.Q, 9, markerfacecolor="none"))
    handles.append(mark("its mean" + (", or the code" if with_points else ""), palette.Q, 4))
    named = any(row.labels is not None for row in rows)
    color = palette.CLASSES[0] if named else palette.CONTOURS
    handles.append(mark("other inputs" + (", by label" if named else ""), color, 8 if named else 3, markeredgewidth=0))
    spaces: dict[str, Any] = {"handletextpad": 0.1, "columnspacing": 1.4, "borderaxespad": 0.5}
    page.legend(handles=handles, loc="lower center", ncols=len(handles), **spaces)
