"""KL(p || q) and KL(q || p) side by side, in words and as a figure."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.divergences.exact_sum import can_sum, counts_of
from nelbo.divergences.expressions import parse
from nelbo.divergences.f_divergences import jensen_shannon
from nelbo.divergences.integration import landmarks
from nelbo.divergences.internals import double
from nelbo.divergences.kullback_leibler import kl
from nelbo.divergences.monte_carlo import log_density
from nelbo.divergences.supports import is_discrete, scalar_support
from nelbo.estimate import Estimate
from nelbo.files import write_bytes

# blue and vermillion of Okabe & Ito, which the colour-blind tell apart
_P, _Q = "#0072B2", "#D55E00"


@dataclass(frozen=True)
class Comparison:
    """Both directions of KL, and Jensen-Shannon between them.

    Attributes:
        p_text: the expression of p.
        q_text: the expression of q.
        p: the distribution.
        q: the other one.
        forward: KL(p || q).
        backward: KL(q || p).
        jensen_shannon: between the two.
    """

    p_text: str
    q_text: str
    p: Distribution
    q: Distribution
    forward: Estimate
    backward: Estimate
    jensen_shannon: Estimate

    @property
    def meaning(self) -> str:
        """The difference of the two directions, in words."""
        a, b = float(self.forward), float(self.backward)
        noise = 3 * math.hypot(self.forward.error, self.backward.error)
        if a == b == 0:
            return "Both are 0: the distributions are equal."
        if math.isinf(a) and math.isinf(b):
            return "Both are infinite: each puts mass where the other has none."
        if math.isinf(a) or math.isinf(b):
            wide, narrow = ("p", "q") if math.isinf(a) else ("q", "p")
            return (
                f"KL({wide} || {narrow}) is infinite: {wide} reaches where {narrow} cannot follow (no mass there, or "
                f"tails too thin). A draw of {narrow} never rules out {wide}, but draws of {wide} will rule out "
                f"{narrow}."
            )
        if abs(a - b) <= noise + 1e-12 * (a + b):
            return "The directions agree: KL is symmetric here (between two normals, only at equal scales)."
        first, second = ("p", "q") if a > b else ("q", "p")
        return (
            f"KL({first} || {second}) is the larger by {abs(a - b):.6g} nats: {first} puts more of its mass where "
            f"{second} has little. Fitting {second} by KL({first} || {second}) makes it cover all of {first}; "
            f"fitting it by KL({second} || {first}) lets it settle on a part."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; an infinite value is the string "inf", since JSON has none."""
        estimates = {"kl_p_q": self.forward, "kl_q_p": self.backward, "jensen_shannon": self.jensen_shannon}
        return {
            "p": self.p_text,
            "q": self.q_text,
            "unit": "nats",
            **{name: _plain(e) for name, e in estimates.items()},
            "meaning": self.meaning,
        }

    def __str__(self) -> str:
        names = "KL(p || q)", "KL(q || p)", "Jensen-Shannon"
        lines = [f"p = {self.p_text}", f"q = {self.q_text}", ""]
        for name, e in zip(names, (self.forward, self.backward, self.jensen_shannon), strict=True):
            within = "exact" if e.error == 0 else f"± {e.error:.1g}"
            lines.append(f"{name:<16}{float(e):<14.8g} nats  {within:<10} {e.method.replace('_', ' ')}")
        return "\n".join([*lines, "", self.meaning])


def _plain(e: Estimate) -> dict[str, Any]:
    value = float(e)
    return {"value": value if math.isfinite(value) else str(value), "standard_error": e.error, "method": e.method}


def compare(p: str, q: str, *, seed: int = 0) -> Comparison:
    """Compare two distributions given as text, by KL in both directions and by Jensen-Shannon.

    Args:
        p: as in "Normal(0, 1)".
        q: as in "Normal(1, 2)".
        seed: of draws, where only Monte Carlo applies.

    Raises:
        ValueError: for expressions that do not parse, and for a vector beside a number or a count beside a density.
    """
    a, b = parse(p), parse(q)
    if is_discrete(a) != is_discrete(b):
        count, density = (p, q) if is_discrete(a) else (q, p)
        raise ValueError(
            f"{count} is a distribution of counts and {density} has a density: no value has mass under both, and KL is "
            "inf in either direction. Compare two of a kind, as in kl('Poisson(3)', 'Geometric(0.25)')."
        )
    options: dict[str, Any] = {"seed": seed, "standard_error": 1e-3}
    return Comparison(p, q, a, b, kl(a, b, **options), kl(b, a, **options), jensen_shannon(a, b, **options))


def plot_pair(comparison: Comparison, path: Path) -> Path:
    """Draw both densities and the two integrands whose areas are KL(p || q) and KL(q || p), to a file.

    Args:
        comparison: from `compare`.
        path: of the figure, written atomically; its ending chooses the format (png, pdf or svg).

    Raises:
        ValueError: for distributions over vectors, and for endings that matplotlib does not know.
    """
    p = comparison.p
    if p.event_shape:
        raise ValueError(
            f"plot: {comparison.p_text} is over vectors of shape {tuple(p.event_shape)}; expected distributions on the "
            "line."
        )
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ending = path.suffix.lstrip(".").lower()
    if ending not in Figure().canvas.get_supported_filetypes():
        raise ValueError(f"plot: the file's name must end in .png, .pdf or .svg, got {path.name!r}.")
    x, log_p, log_q, counts = _curves(comparison)
    with mpl.rc_context({"svg.hashsalt": "nelbo", "font.size": 9}):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        densities, integrands = figure.subplots(2, 1, sharex=True)
        names = f"p = {comparison.p_text}", f"q = {comparison.q_text}"
        _draw(densities, x, log_p.exp(), log_q.exp(), counts, names)
        densities.set_ylabel("mass" if counts else "density")
        areas = (
            f"p log(p/q), area KL(p‖q) = {float(comparison.forward):.4g}",
            f"q log(q/p), area KL(q‖p) = {float(comparison.backward):.4g}",
        )
        _draw(integrands, x, _term(log_p, log_q), _term(log_q, log_p), counts, areas)
        integrands.axhline(0, color="0.5", linewidth=0.6)
        integrands.set_ylabel("nats per unit of x")
        integrands.set_xlabel("x")
        content = io.BytesIO()
        figure.savefig(content, format=ending, dpi=150)
    write_bytes(path, content.getvalue())
    return path


def _term(log_a: Tensor, log_b: Tensor) -> Tensor:
    return torch.where(torch.isfinite(log_a) & torch.isfinite(log_b), log_a.exp() * (log_a - log_b), torch.nan)


def _curves(comparison: Comparison) -> tuple[Tensor, Tensor, Tensor, bool]:
    """x, log p(x), log q(x), and whether x are counts."""
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
    for values, color, label, style, shift in ((a, _P, labels[0], "-", -0.12), (b, _Q, labels[1], "--", 0.12)):
        if counts:
            axes.vlines(x.numpy() + shift, 0, values.numpy(), color=color, label=label, linewidth=2.5)
        else:
            axes.plot(x.numpy(), values.numpy(), color=color, linestyle=style, label=label, linewidth=1.6)
            axes.fill_between(x.numpy(), 0, values.numpy(), color=color, alpha=0.12, linewidth=0)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
