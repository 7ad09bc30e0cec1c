"""Two densities and the two integrands whose areas are KL(p || q) and KL(q || p)."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo.divergences.exact_sum import can_sum, counts_of
from nelbo.divergences.landmarks import landmarks
from nelbo.divergences.monte_carlo import log_density
from nelbo.divergences.report import Comparison
from nelbo.divergences.supports import double, scalar_support

# blue and vermillion of Okabe & Ito, which the colour-blind tell apart
_P, _Q = "#0072B2", "#D55E00"


def plot_pair(comparison: Comparison, path: Path) -> Path:
    """Write the figure to `path` (png, pdf or svg), atomically.

    Args:
        comparison: from `nelbo.divergences.report.compare`.
        path: of the figure; its ending chooses the format.

    Raises:
        ValueError: for distributions over vectors, and for endings that matplotlib does not know.
    """
    p = comparison.p
    if p.event_shape:
        raise ValueError(
            f"plot: {comparison.p_text} is over vectors of shape {tuple(p.event_shape)}; expected "
            f"distributions on the line."
        )
    import matplotlib as mpl
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    ending = path.suffix.lstrip(".").lower()
    if ending not in known:
        raise ValueError(f"plot: got {path.name!r}; expected a name that ends in .png, .pdf or .svg.")
    x, log_p, log_q, counts = _curves(comparison)
    with mpl.rc_context({"svg.hashsalt": "nelbo", "font.size": 9}):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        densities, integrands = figure.subplots(2, 1, sharex=True)
        _draw(
            densities,
            x,
            log_p.exp(),
            log_q.exp(),
            counts,
            (f"p = {comparison.p_text}", f"q = {comparison.q_text}"),
        )
        densities.set_ylabel("mass" if counts else "density")
        terms = _term(log_p, log_q), _term(log_q, log_p)
        labels = (
            f"p log(p/q), area KL(p‖q) = {float(comparison.forward):.4g}",
            f"q log(q/p), area KL(q‖p) = {float(comparison.backward):.4g}",
        )
        _draw(integrands, x, terms[0], terms[1], counts, labels)
        integrands.axhline(0, color="0.5", linewidth=0.6)
        integrands.set_ylabel("nats per unit of x")
        integrands.set_xlabel("x")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=f".{ending}")
        os.close(handle)
        try:
            figure.savefig(temporary, format=ending, dpi=150)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path


def _term(log_a: Tensor, log_b: Tensor) -> Tensor:
    return torch.where(torch.isfinite(log_a) & torch.isfinite(log_b), log_a.exp() * (log_a - log_b), torch.nan)


def _curves(comparison: Comparison) -> tuple[Tensor, Tensor, Tensor, bool]:
    p, q = double(comparison.p), double(comparison.q)
    if can_sum(p, q):
        x, mass_p, mass_q = counts_of(p, q)
        last = int(((mass_p > 1e-4 * mass_p.max()) | (mass_q > 1e-4 * mass_q.max())).nonzero().max()) + 1
        return x[:last], mass_p[:last].log(), mass_q[:last].log(), True
    middle = [landmarks(d).sort(0).values for d in (p, q)]
    # between the third landmarks from either end lies the bulk; heavy tails go on beyond the figure
    low, high = min(float(m[2]) for m in middle), max(float(m[-3]) for m in middle)
    pad = 0.35 * (high - low)
    low, high = low - pad, high + pad
    for s in (scalar_support(p), scalar_support(q)):
        if s is not None and torch.isfinite(torch.as_tensor(s.lower)) and float(s.lower) > low:
            low = min(low + pad, float(s.lower) - 0.03 * (high - low))
    x = torch.linspace(low, high, 2001, dtype=torch.float64)
    return x, log_density(p, x), log_density(q, x), False


def _draw(axes: Any, x: Tensor, a: Tensor, b: Tensor, counts: bool, labels: tuple[str, str]) -> None:
    for values, color, label, style, shift in (
        (a, _P, labels[0], "-", -0.12),
        (b, _Q, labels[1], "--", 0.12),
    ):
        if counts:
            axes.vlines(x.numpy() + shift, 0, values.numpy(), color=color, label=label, linewidth=2.5)
        else:
            axes.plot(x.numpy(), values.numpy(), color=color, linestyle=style, label=label, linewidth=1.6)
            axes.fill_between(x.numpy(), 0, values.numpy(), color=color, alpha=0.12, linewidth=0)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
