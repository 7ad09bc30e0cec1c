"""Two distributions side by side, in both directions, in words."""

import math
from dataclasses import dataclass
from typing import Any

from torch.distributions import Distribution

from nelbo.divergences.expressions import parse
from nelbo.divergences.f_divergences import jensen_shannon
from nelbo.divergences.kullback_leibler import kl
from nelbo.divergences.supports import is_discrete
from nelbo.estimate import Estimate


@dataclass(frozen=True)
class Comparison:
    """Both directions of KL and their middle ground.

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
        """What the difference of the two directions says."""
        a, b = float(self.forward), float(self.backward)
        noise = 3 * math.hypot(float(self.forward.standard_error), float(self.backward.standard_error))
        if a == b == 0:
            return "Both are 0: the distributions are equal."
        if math.isinf(a) and math.isinf(b):
            return "Both are infinite: each puts mass where the other has none."
        if math.isinf(a) or math.isinf(b):
            wide, narrow = ("p", "q") if math.isinf(a) else ("q", "p")
            return (
                f"KL({wide} || {narrow}) is infinite: {wide} reaches where {narrow} cannot follow (no mass "
                f"there, or tails too thin). "
                f"A draw of {narrow} never rules out {wide}, but draws of {wide} will rule out {narrow}."
            )
        if abs(a - b) <= noise + 1e-12 * (a + b):
            return "The directions agree: KL is symmetric here (between two normals, only at equal scales)."
        first, second = ("p", "q") if a > b else ("q", "p")
        return (
            f"KL({first} || {second}) is the larger by {abs(a - b):.6g} nats: {first} puts more of its "
            f"mass where {second} has little. "
            f"Fitting {second} by KL({first} || {second}) makes it cover all of {first}; fitting it by "
            f"KL({second} || {first}) lets it "
            f"settle on a part."
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
        rows = (
            ("KL(p || q)", self.forward),
            ("KL(q || p)", self.backward),
            ("Jensen-Shannon", self.jensen_shannon),
        )
        lines = [f"p = {self.p_text}", f"q = {self.q_text}", ""]
        for name, e in rows:
            error = float(e.standard_error)
            within = "exact" if error == 0 else f"± {error:.1g}"
            lines.append(f"{name:<16}{float(e):<14.8g} nats  {within:<10} {e.method.replace('_', ' ')}")
        return "\n".join([*lines, "", self.meaning])


def _plain(e: Estimate) -> dict[str, Any]:
    value = float(e)
    return {
        "value": value if math.isfinite(value) else str(value),
        "standard_error": float(e.standard_error),
        "method": e.method,
    }


def compare(p: str, q: str, *, seed: int = 0) -> Comparison:
    """Both directions of KL and Jensen-Shannon between two distributions given as text.

    Args:
        p: as in "Normal(0, 1)".
        q: as in "Normal(1, 2)".
        seed: of draws, where only Monte Carlo applies.

    Raises:
        ValueError: for expressions that do not parse, and for a vector beside a number or a count beside a
        density.
    """
    a, b = parse(p), parse(q)
    if is_discrete(a) != is_discrete(b):
        count, density = (p, q) if is_discrete(a) else (q, p)
        raise ValueError(
            f"{count} is a distribution of counts and {density} has a density: no value has mass under "
            f"both, and KL is inf in either "
            "direction. Compare two of a kind, as in kl('Poisson(3)', 'Geometric(0.25)')."
        )
    options: dict[str, Any] = {"seed": seed, "standard_error": 1e-3}
    return Comparison(p, q, a, b, kl(a, b, **options), kl(b, a, **options), jensen_shannon(a, b, **options))
