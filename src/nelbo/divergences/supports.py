"""Where a distribution lives, and an exact copy of it to compute with.

KL(p || q) is infinite where p puts mass outside of q's support. torch's constraints know the supports; here
they become intervals.
"""

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, VonMises, constraints
from torch.distributions.transforms import _InverseTransform  # pyright: ignore[reportPrivateUsage]
from torch.distributions.utils import lazy_property

_BELOW, _ABOVE = -torch.inf, torch.inf


class Support(NamedTuple):
    """The smallest interval that carries a scalar distribution; `lower` and `upper` may be tensors of shape
    batch_shape.
    """

    lower: Tensor | float
    upper: Tensor | float
    discrete: bool


def constraint(p: Distribution) -> Any:
    """The support as torch's constraint; None for distributions that do not tell, as flows do not."""
    try:
        return p.support
    except NotImplementedError:
        return None


def scalar_support(p: Distribution) -> Support | None:
    """The interval of a univariate distribution, or None where its constraint is not an interval.

    Args:
        p: a distribution with event_shape ().
    """
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
    discrete = bool(c.is_discrete)
    lower = getattr(c, "lower_bound", _BELOW)
    upper = getattr(c, "upper_bound", _ABOVE)
    if lower is _BELOW and upper is _ABOVE:
        return None
    return Support(lower, upper, discrete)


def is_discrete(p: Distribution) -> bool:
    """Whether p has a probability mass function rather than a density."""
    c = constraint(p)
    return c is not None and bool(c.is_discrete)


def batch_shape(p: Distribution, q: Distribution) -> torch.Size:
    """The broadcast batch shape of a pair."""
    return torch.broadcast_shapes(p.batch_shape, q.batch_shape)


def parameters(p: Any) -> list[Tensor]:
    """Every floating tensor a distribution is made of, wherever it hides."""
    found: list[Tensor] = []
    if isinstance(p, torch.nn.Module):
        return list(p.parameters())
    if isinstance(p, _InverseTransform):
        return parameters(p.inv)
    if isinstance(p, list | tuple):
        return [t for part in p for t in parameters(part)]
    if not isinstance(p, Distribution | torch.distributions.Transform):
        return found
    for name, part in vars(p).items():
        if isinstance(part, Tensor):
            found += [part] if part.is_floating_point() else []
        elif name not in ("_inv", "_cached_x_y"):  # a transform's memory
            found += parameters(part)
    return found


def result_dtype(p: Distribution, q: Distribution) -> torch.dtype:
    """The dtype torch's promotion gives to parameters of both; the default dtype where there is none."""
    dtypes = [t.dtype for t in (*parameters(p), *parameters(q))]
    result = dtypes[0] if dtypes else torch.get_default_dtype()
    for d in dtypes[1:]:
        result = torch.promote_types(result, d)
    return result


def device(p: Distribution, q: Distribution) -> torch.device:
    """The device of the first parameter of either."""
    return next((t.device for t in (*parameters(p), *parameters(q))), torch.device("cpu"))


def filled(p: Distribution, q: Distribution, value: float) -> Tensor:
    """A tensor of batch_shape, with the pair's dtype and device."""
    return torch.full(batch_shape(p, q), value, dtype=result_dtype(p, q), device=device(p, q))


def escapes(p: Distribution, q: Distribution) -> Tensor | bool:
    """Where p puts mass outside of q's support, so that KL(p || q) is inf; False where the supports cannot
    tell.

    A count and a density never share mass: they are mutually singular.
    """
    while isinstance(p, Independent) and isinstance(q, Independent):
        if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
            break
        events = p.reinterpreted_batch_ndims
        inner = escapes(p.base_dist, q.base_dist)
        if isinstance(inner, bool) or events == 0:
            return inner
        shape = torch.broadcast_shapes(p.base_dist.batch_shape, q.base_dist.batch_shape)
        return inner.expand(shape).flatten(-events).any(-1)
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
    if on_simplex[0] != on_simplex[1]:
        return True
    # R^n against the positive orthant, say: bounds that no batch element can cure
    bounds = (
        getattr(a, "lower_bound", _BELOW),
        getattr(b, "lower_bound", _BELOW),
        getattr(a, "upper_bound", _ABOVE),
        getattr(b, "upper_bound", _ABOVE),
    )
    if any(isinstance(x, Tensor) for x in bounds) or any(on_simplex):
        return False
    return bool(bounds[0] < bounds[1] or bounds[2] > bounds[3])


def double(p: Any) -> Any:
    """A copy of a distribution or transform whose tensors are float64 and whose log_prob does not validate.

    The copy keeps the graph: gradients reach the original's parameters. Values that torch derived from the
    parameters in low precision
    and cached are dropped, so that they are derived anew. What cannot be copied (a module, say) is used as it
    is.
    """
    if isinstance(p, _InverseTransform):
        return double(p.inv).inv
    twin = copy.copy(p)
    keep = given_parameter(p)
    for name, part in vars(p).items():
        if isinstance(getattr(type(p), name, None), lazy_property) and name != keep:
            del vars(twin)[name]
        elif name not in ("_inv", "_cached_x_y"):  # a transform's memory of its inverse and of its last value
            vars(twin)[name] = _double_part(part)
    if keep is not None and "_param" in vars(twin):
        twin._param = vars(twin)[keep]
    if isinstance(twin, Distribution):
        twin._validate_args = False  # pyright: ignore[reportPrivateUsage]
    return twin


def given_parameter(p: Any) -> str | None:
    """Which of "probs" and "logits" the user gave; the other is derived by torch, and clamped away from the
    ends.
    """
    present = [
        name for name in vars(p) if name in ("probs", "logits")
    ]  # in order of assignment: the given one is first
    param = vars(p).get("_param")
    return next((name for name in present if vars(p)[name] is param), present[0] if present else None)


def _double_part(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, Distribution | torch.distributions.Transform):
        return double(part)
    if isinstance(part, list):
        return [_double_part(item) for item in part]
    return part
