"""KL(p || q) for any two distributions, and the registry of its closed forms."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from nelbo.divergences.divergence import pointwise
from nelbo.divergences.monte_carlo import Method, Options
from nelbo.divergences.supports import shared_dimensions, sum_rightmost
from nelbo.estimate import Estimate

Formula = Callable[[Any, Any], Tensor | None]
_F = TypeVar("_F", bound=Formula)

_FORMULAS: dict[tuple[type, type], Formula] = {}
_WITHOUT_COPIES: dict[tuple[type, type], Formula] = {}
_NEAREST: dict[tuple[type, type], Formula | None] = {}


def register(p: type, q: type) -> Callable[[_F], _F]:
    """Decorate a formula for KL(p || q), which returns nats of shape batch_shape, or None where it does not apply."""

    def keep(formula: _F) -> _F:
        _FORMULAS[p, q] = formula
        _NEAREST.clear()
        return formula

    return keep


def without_copies(p: type, q: type) -> Callable[[_F], _F]:
    """Decorate a formula that gives KL(p || q) in float64 of parameters in lower precision, or None."""

    def keep(formula: _F) -> _F:
        _WITHOUT_COPIES[p, q] = formula
        return formula

    return keep


def registered() -> list[tuple[type, type]]:
    """Every pair of types with a formula, in order of registration."""
    return list(_FORMULAS)


def find(p: type[Distribution], q: type[Distribution]) -> Formula | None:
    """The formula of the nearest pair of ancestors: p's ancestors first, each as near as q's allow."""
    try:
        return _NEAREST[p, q]
    except KeyError:
        pass
    pairs = [
        (i + j, i, (a, b)) for i, a in enumerate(p.__mro__) for j, b in enumerate(q.__mro__) if (a, b) in _FORMULAS
    ]
    _NEAREST[p, q] = formula = _FORMULAS[min(pairs, key=lambda t: t[:2])[2]] if pairs else None
    return formula


def closed_form(p: Distribution, q: Distribution) -> Tensor | None:
    """KL(p || q) in nats, shape batch_shape, or None where no formula is registered.

    Fast and trusting: nothing is validated, so that it may stand in a training step; `nelbo.kl` checks first.
    Differentiable. Formulas registered with `torch.distributions.register_kl` apply to pairs that nelbo does not know.
    """
    events = shared_dimensions(p, q)
    if events is not None:
        inner = closed_form(p.base_dist, q.base_dist)  # pyright: ignore[reportAttributeAccessIssue]
        return None if inner is None else sum_rightmost(inner, events)
    formula = find(type(p), type(q))
    if formula is not None:
        return formula(p, q)
    try:
        return kl_divergence(p, q)
    except NotImplementedError:
        return None


def _in_float64(p: Any, q: Any) -> Tensor | None:
    """KL(p || q) in float64 where that needs no copies of p and q in float64, else None."""
    events = shared_dimensions(p, q)
    if events is not None:
        inner = _in_float64(p.base_dist, q.base_dist)
        return None if inner is None else sum_rightmost(inner, events)
    formula = _WITHOUT_COPIES.get((type(p), type(q)))
    return None if formula is None else formula(p, q)


def _log_ratio(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
    mass = torch.exp(log_p + log_dx)
    on = mass > 0
    ratio = torch.where(on, log_p, 0.0) - torch.where(on, log_q, 0.0)
    return torch.where(on, mass * ratio, 0.0), mass


KL = pointwise(
    "kl",
    _log_ratio,
    at_p=lambda log_p, log_q: log_p - log_q,
    within_p=True,
    closed_form=closed_form,
    in_float64=_in_float64,
    additive=True,
    infinite_outside=True,
    hint="Write method='auto', 'exact_sum' (counts), 'quadrature' (densities on the line) or 'monte_carlo', or add a "
    "closed form with torch.distributions.register_kl.",
)


def kl(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute KL(p || q), the mean number of nats by which p explains its own draws better than q does.

    KL(p || q) = E_p[log p(x) - log q(x)]

    Args:
        p: the distribution whose draws are averaged over.
        q: the other, of the same event_shape; the batch shapes broadcast.
        method: "auto" takes the first that applies of "closed_form", "quadrature" (univariate densities) or "exact_sum"
            (counts), the sum over coordinates of `Independent` pairs, and "monte_carlo".
        samples: draws of the Monte Carlo method; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error in nats, for the worst batch element.
        max_samples: the most draws to spend on it; the result says what error was reached.
        seed: of the draws; None uses torch's global generator.

    Returns:
        Estimate: value (batch_shape, nats, >= 0 up to its error), standard_error, method. The value is exactly inf
        where p puts mass outside of q's support, and exactly 0 where a closed form meets equal parameters.
        Differentiable.

    Raises:
        TypeError: for anything that is not a distribution.
        ValueError: for mismatched events or batches, invalid or NaN parameters, and a method that does not apply to
            the pair.

    Source: Kullback & Leibler 1951, eq. 2.4; the closed forms are listed in docs/divergences.md.

    >>> from torch.distributions import Normal
    >>> kl(Normal(0.0, 1.0), Normal(1.0, 2.0))
    Estimate(0.443147 ± 2.6e-08 nats, closed_form)
    """
    return KL.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))
