"""Errors for pairs of distributions between which nothing can be computed."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution


def name(p: Any) -> str:
    """How a distribution is called in messages."""
    inner = getattr(p, "base_dist", None)
    plain = type(p).__name__
    return f"{plain}({type(inner).__name__})" if plain == "Independent" else plain


def check_pair(p: Any, q: Any, *, what: str) -> None:
    """Raise where p and q are not two distributions of the same kind of thing.

    Raises:
        TypeError: where either is not a `torch.distributions.Distribution`.
        ValueError: for events or batches of different shape, and for parameters outside of their domain.
    """
    for letter, d in (("p", p), ("q", q)):
        if not isinstance(d, Distribution):
            raise TypeError(
                f"{what}: {letter} is a {type(d).__name__}; expected a torch.distributions.Distribution, "
                f"as in {what}(Normal(0.0, 1.0), Normal(1.0, 2.0)). For two samples without densities, "
                "write nelbo.divergences.kl_from_samples(x, y)."
            )
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"{what}: p = {name(p)} has event_shape {tuple(p.event_shape)} and q = {name(q)} has "
            f"{tuple(q.event_shape)}; "
            "expected the same. Independent(p, 1) turns the last batch dimension into the event: "
            f"{what}(Independent(p, 1), q)."
        )
    try:
        torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    except RuntimeError:
        raise ValueError(
            f"{what}: batch shapes {tuple(p.batch_shape)} of p = {name(p)} and {tuple(q.batch_shape)} of q "
            f"= {name(q)} do not "
            "broadcast; expected shapes that are equal or 1 from the right, as for tensors. For all pairs "
            "of two batches of "
            "sizes n and m, give p the parameters' shape (n, 1) and q (m,)."
        ) from None
    for letter, d in (("p", p), ("q", q)):
        if not getattr(d, "_validate_args", False):  # torch has looked already where it was asked to validate
            check_parameters(d, letter=letter, what=what)


def check_parameters(d: Any, *, letter: str, what: str) -> None:
    """Raise ValueError where a parameter is NaN or outside of its domain, naming it and its worst value."""
    for key, constraint in (getattr(d, "arg_constraints", None) or {}).items():
        value = vars(d).get(key)
        if (
            not isinstance(value, Tensor)
            or getattr(constraint, "is_dependent", False)
            or type(constraint).__name__ == "_Dependent"
        ):
            continue
        good = constraint.check(value)
        if not bool(good.all()):
            bad = value[~good].flatten()[:1] if good.shape == value.shape else value.flatten()[:1]
            raise ValueError(
                f"{what}: {letter} = {name(d)} has {key} = {float(bad):g} somewhere in its shape "
                f"{tuple(value.shape)}; expected "
                f"{constraint}. torch says so itself when validate_args=True; `import zuko` switches that "
                f"off for the whole process."
            )
    base = getattr(d, "base_dist", None)
    if isinstance(base, Distribution):
        check_parameters(base, letter=letter, what=what)
    component = getattr(d, "component_distribution", None)
    if isinstance(component, Distribution):
        check_parameters(component, letter=letter, what=what)


def check_value(value: Tensor, p: Any, q: Any, *, what: str) -> None:
    """Raise ValueError where a computed value is NaN: a parameter was, or the quantity is undefined."""
    if value.is_floating_point() and bool(torch.isnan(value.detach()).any()):
        for letter, d in (("p", p), ("q", q)):
            check_parameters(d, letter=letter, what=what)
        where = torch.isnan(value.detach()).nonzero()[:1].flatten().tolist()
        raise ValueError(
            f"{what}({name(p)}, {name(q)}) is not a number at batch index {where} although all parameters "
            f"are in their domains: they are "
            'so extreme that every way rounds away. Use float64 parameters, or method="monte_carlo".'
        )
