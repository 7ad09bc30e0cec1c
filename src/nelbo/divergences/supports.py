"""Supports of distributions: KL(p || q) is infinite where p puts mass outside of q's support.

torch's constraints, read as intervals.
"""

import math
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, VonMises, constraints

from nelbo.divergences.internals import broadcast_shapes, parameters

_BELOW, _ABOVE = -torch.inf, torch.inf


class Support(NamedTuple):
    """The smallest interval that carries a scalar distribution; the ends may be tensors of shape batch_shape."""

    lower: Tensor | float
    upper: Tensor | float
    discrete: bool


def constraint(p: Distribution) -> Any:
    """The support as torch's constraint; None for distributions without one, such as flows."""
    try:
        return p.support
    except NotImplementedError:
        return None


def scalar_support(p: Distribution) -> Support | None:
    """The interval of a distribution of event_shape (), or None where its constraint is not an interval."""
    if isinstance(p, VonMises):  # torch says "real"; the density is that of one turn
        return Support(-math.pi, math.pi, False)
    if isinstance(p, MixtureSameFamily):
        inner = scalar_support(p.component_distribution)
        if inner is None:
            return None
        lower, upper = inner.lower, inner.upper
        return Support(
            lower.min(-1).values if isinstance(lower, Tensor) and lower.dim() else lower,
            upper.max(-1).values if isinstance(upper, Tensor) and upper.dim() else upper,
            inner.discrete,
        )
    c = constraint(p)
    if c is None:
        return None
    if c is constraints.boolean:
        return Support(0.0, 1.0, True)
    if c is constraints.real:
        return Support(_BELOW, _ABOVE, False)
    lower, upper = _bounds(c)
    return None if lower is _BELOW and upper is _ABOVE else Support(lower, upper, bool(c.is_discrete))


def _bounds(c: Any) -> tuple[Tensor | float, Tensor | float]:
    return getattr(c, "lower_bound", _BELOW), getattr(c, "upper_bound", _ABOVE)


_IN_WORDS: dict[Any, str] = {
    constraints.simplex: "a list of numbers of at least 0, the sum of which is 1",
    constraints.positive_definite: "a symmetric positive-definite matrix",
    constraints.lower_cholesky: "a lower triangular matrix with a positive diagonal",
}


def in_words(c: Any) -> str:
    """The values that a constraint admits, for messages, as in "a finite number greater than 0"."""
    base = getattr(c, "base_constraint", c)
    if base in _IN_WORDS:
        return _IN_WORDS[base]
    number = "an integer" if base.is_discrete else "a finite number"
    lower, upper = (
        f"{float(end):g}" if torch.as_tensor(end).numel() == 1 else "the other end" for end in _bounds(base)
    )
    limits: list[str] = []
    if lower != "-inf":
        limits.append(f"greater than {lower}" if isinstance(base, constraints.greater_than) else f"of at least {lower}")
    if upper != "inf":
        below = isinstance(base, constraints.less_than | constraints.half_open_interval)
        limits.append(f"less than {upper}" if below else f"at most {upper}")
    number = "a list of finite numbers" if c.event_dim else number
    return f"{number} {' and '.join(limits)}".rstrip()


def is_discrete(p: Distribution) -> bool:
    """Whether p has a probability mass function rather than a density."""
    c = constraint(p)
    return c is not None and bool(c.is_discrete)


def on_a_line(*distributions: Distribution) -> bool:
    """Whether all are densities of a single number, on intervals."""
    supports = [None if d.event_shape else scalar_support(d) for d in distributions]
    return all(s is not None and not s.discrete for s in supports)


def batch_shape(p: Distribution, q: Distribution) -> torch.Size:
    """The broadcast batch shape of a pair."""
    return broadcast_shapes(p.batch_shape, q.batch_shape)


def result_dtype(p: Distribution, q: Distribution) -> torch.dtype:
    """The dtype to which torch promotes the parameters of both; the default dtype where there are none."""
    dtypes = [t.dtype for t in (*parameters(p), *parameters(q))]
    return reduce(torch.promote_types, dtypes) if dtypes else torch.get_default_dtype()


def device(p: Distribution, q: Distribution) -> torch.device:
    """The device of the first parameter of either."""
    return next((t.device for t in (*parameters(p), *parameters(q))), torch.device("cpu"))


def filled(p: Distribution, q: Distribution, value: float) -> Tensor:
    """A tensor of batch_shape with the dtype and device of the pair."""
    return torch.full(batch_shape(p, q), value, dtype=result_dtype(p, q), device=device(p, q))


def shared_dimensions(p: Any, q: Any) -> int | None:
    """The number of batch dimensions that two `Independent` turn into the event; None unless both turn the same."""
    if not (isinstance(p, Independent) and isinstance(q, Independent)):
        return None
    return p.reinterpreted_batch_ndims if p.reinterpreted_batch_ndims == q.reinterpreted_batch_ndims else None


def sum_rightmost(value: Tensor, dimensions: int) -> Tensor:
    """The sum over the last dimensions, as many as are given; of none, the value itself."""
    return value.sum(tuple(range(-dimensions, 0))) if dimensions else value


def escapes(p: Any, q: Any) -> Tensor | bool:
    """The batch elements in which p puts mass outside of q's support, so that KL(p || q) is inf.

    False where the supports cannot tell.

    A count and a density never share mass: they are mutually singular.
    """
    events = shared_dimensions(p, q)
    if events is not None:
        inner = escapes(p.base_dist, q.base_dist)
        if isinstance(inner, bool) or events == 0:
            return inner
        return inner.expand(batch_shape(p.base_dist, q.base_dist)).flatten(-events).any(-1)
    if p.event_shape:
        return _event_escapes(p, q)
    a, b = scalar_support(p), scalar_support(q)
    if a is None or b is None:
        return False
    if a.discrete != b.discrete:
        return True
    if a.discrete and type(p) is type(q):
        return False  # the closed forms of counts also know about probabilities 0 and 1
    out = (torch.as_tensor(a.lower) < torch.as_tensor(b.lower)) | (torch.as_tensor(a.upper) > torch.as_tensor(b.upper))
    return out if out.dim() else bool(out)


def _event_escapes(p: Distribution, q: Distribution) -> bool:
    a, b = constraint(p), constraint(q)
    if a is None or b is None:
        return False
    if is_discrete(p) != is_discrete(q):
        return True
    a, b = getattr(a, "base_constraint", a), getattr(b, "base_constraint", b)
    on_simplex = a is constraints.simplex, b is constraints.simplex
    if any(on_simplex):
        return not all(on_simplex)
    # R^n against the positive orthant, say: bounds that no batch element can cure
    (lower_a, upper_a), (lower_b, upper_b) = _bounds(a), _bounds(b)
    if any(isinstance(x, Tensor) for x in (lower_a, upper_a, lower_b, upper_b)):
        return False
    return bool(lower_a < lower_b or upper_a > upper_b)
