"""Families whose members a search can draw, and whose densities mpmath can evaluate to any number of digits."""

# mpmath is untyped, and so is every lambda that computes with it
# pyright: reportUnknownLambdaType=false

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Cauchy, Distribution, Exponential, Gumbel, Laplace, Normal, Poisson

# short numbers of each kind, simplest first
SHORT: dict[str, tuple[Fraction, ...]] = {
    "real": tuple(Fraction(x) for x in (0, 1, -1, 2)),
    "positive": (Fraction(1), Fraction(2), Fraction(1, 2), Fraction(3), Fraction(4)),
    "unit": tuple(Fraction(*x) for x in ((1, 2), (1, 4), (3, 4), (1, 10), (9, 10))),
}


@dataclass(frozen=True)
class Family:
    """A parametric family, some parameters of which may be fixed.

    Args:
        type: of torch's distribution.
        parameters: name and kind ("real", "positive", "unit") of each.
        log_density: of (x, *parameters), in mpmath.
        points: of the parameters: between them the density is smooth, and the first and last are the ends of the
            integral.
        counts: whether x is an integer from 0; points then gives the last one.
        reflects: whether swapping the locations of two members of equal scale is a reflection of the line.
        fixed: parameters with one value for all members.
    """

    type: type[Distribution]
    parameters: tuple[tuple[str, str], ...]
    log_density: Callable[..., Any]
    points: Callable[..., list[Any]]
    counts: bool = False
    reflects: bool = False
    fixed: Mapping[str, Fraction] = field(default_factory=dict[str, Fraction])

    @property
    def free(self) -> tuple[tuple[str, str], ...]:
        """Name and kind of the parameters that vary."""
        return tuple((name, kind) for name, kind in self.parameters if name not in self.fixed)

    @property
    def label(self) -> str:
        """As in "Normal(loc=0)"."""
        held = ", ".join(f"{name}={value}" for name, value in self.fixed.items())
        return f"{self.type.__name__}({held})" if held else self.type.__name__

    def build(self, values: Tensor) -> Distribution:
        """Members from the free parameters (*batch, free)."""
        columns = dict(zip((name for name, _ in self.free), values.unbind(-1), strict=True))
        shape = values.shape[:-1]
        for name, value in self.fixed.items():
            columns[name] = torch.full(shape, float(value), dtype=values.dtype)
        make: Any = self.type
        return make(**{name: columns[name] for name, _ in self.parameters}, validate_args=False)

    def full(self, values: tuple[Fraction, ...]) -> dict[str, Fraction]:
        """All parameters by name, from the free ones."""
        free = iter(values)
        return {name: self.fixed[name] if name in self.fixed else next(free) for name, _ in self.parameters}


def _located(m: Any, s: Any, far: int) -> list[Any]:
    return [m + s * k for k in (-far, -12, -4, 0, 4, 12, far)]


_FAMILIES = (
    Family(
        Normal,
        (("loc", "real"), ("scale", "positive")),
        lambda x, m, s: -(((x - m) / s) ** 2) / 2 - mp.log(s) - mp.log(2 * mp.pi) / 2,
        lambda m, s: _located(m, s, 48),
        reflects=True,
    ),
    Family(
        Laplace,
        (("loc", "real"), ("scale", "positive")),
        lambda x, m, s: -abs(x - m) / s - mp.log(2 * s),
        lambda m, s: _located(m, s, 280),
        reflects=True,
    ),
    Family(
        Cauchy,
        (("loc", "real"), ("scale", "positive")),
        lambda x, m, s: -mp.log(mp.pi * s * (1 + ((x - m) / s) ** 2)),
        lambda m, s: [-mp.inf, *_located(m, s, 400), mp.inf],
        reflects=True,
    ),
    Family(
        Gumbel,
        (("loc", "real"), ("scale", "positive")),
        lambda x, m, s: -(x - m) / s - mp.exp(-(x - m) / s) - mp.log(s),
        lambda m, s: [m + s * k for k in (-6, -4, -2, 0, 3, 10, 40, 280)],
    ),
    Family(
        Exponential,
        (("rate", "positive"),),
        lambda x, r: mp.log(r) - r * x,
        lambda r: [0, *(k / r for k in (1, 4, 12, 40, 280))],
    ),
    Family(
        Bernoulli,
        (("probs", "unit"),),
        lambda x, u: mp.log(u) if x else mp.log(1 - u),
        lambda u: [1],
        counts=True,
    ),
    Family(
        Poisson,
        (("rate", "positive"),),
        lambda x, r: x * mp.log(r) - r - mp.loggamma(x + 1),
        lambda r: [int(20 * r) + 160],
        counts=True,
    ),
)


def family(of: "type[Distribution] | str | Family", fixed: Mapping[str, Any] | None = None) -> Family:
    """The family of a type, its name or a Family, with parameters fixed at the given (rational) values.

    Raises:
        ValueError: for an unknown family or parameter.
    """
    members = of if isinstance(of, Family) else next((f for f in _FAMILIES if of in (f.type, f.type.__name__)), None)
    if members is None:
        got = of if isinstance(of, str) else getattr(of, "__name__", repr(of))
        raise ValueError(
            f"axioms: family must be one of {', '.join(f.type.__name__ for f in _FAMILIES)}, or a nelbo.axioms.Family "
            f"with its parameters and its log-density in mpmath; got {got}."
        )
    if not fixed:
        return members
    names = [name for name, _ in members.parameters]
    for name in fixed:
        if name not in names:
            raise ValueError(
                f"axioms: got fixed={{{name!r}: ...}}; {members.type.__name__} has {', '.join(names)}, as in "
                f"fixed={{{names[0]!r}: 0}}."
            )
    if set(fixed) >= set(names):
        raise ValueError(f"axioms: all parameters of {members.type.__name__} are fixed; leave at least one free.")
    exact = {name: Fraction(value).limit_denominator(10**6) for name, value in fixed.items()}
    return replace(members, fixed=exact)


def fixed_parameters(text: str) -> dict[str, Fraction]:
    """Read parameters from text such as "loc=0, scale=1/2".

    Raises:
        ValueError: for anything else.
    """
    values: dict[str, Fraction] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, value = part.partition("=")
        try:
            values[name.strip()] = Fraction(value.strip())
        except (ValueError, ZeroDivisionError):
            sign = ""
        if not sign:
            raise ValueError(f'axioms: fixed must be NAME=NUMBER, as in "loc=0" or "scale=1/2"; got {text!r}.')
    return values
