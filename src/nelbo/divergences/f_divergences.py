"""Divergences that compare densities point by point: Jeffreys, Jensen-Shannon, Renyi, chi-squared, Hellinger,
total variation.

All take the options of `nelbo.kl` (method, samples, standard_error, max_samples, seed) and return an
`Estimate` of shape batch_shape.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.divergences.checks import check_pair, check_value, name
from nelbo.divergences.exact_sum import can_sum, exact_sum
from nelbo.divergences.kullback_leibler import Method, kl
from nelbo.divergences.monte_carlo import expectation
from nelbo.divergences.power_integrals import log_power_integral
from nelbo.divergences.quadrature import Integrand, integrate
from nelbo.divergences.supports import escapes, is_discrete, result_dtype, scalar_support
from nelbo.estimate import Estimate


class Options(TypedDict, total=False):
    """The options that every divergence shares with `nelbo.kl`."""

    method: Method
    samples: int | None
    standard_error: float
    max_samples: int
    seed: int | None


_DEFAULTS: Options = {
    "method": "auto",
    "samples": None,
    "standard_error": 0.01,
    "max_samples": 1_000_000,
    "seed": None,
}
_METHODS = ("auto", "closed_form", "exact_sum", "quadrature", "monte_carlo")


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The ways to one number: its closed form, its integrand, and its parts as averages over draws of p and
    of q.
    """

    what: str
    integrand: Integrand
    over_p: Callable[[Tensor, Tensor], Tensor] | None = None  # (log p, log q) at draws from p
    over_q: Callable[[Tensor, Tensor], Tensor] | None = None  # (log p, log q) at draws from q
    closed_form: Callable[[Any, Any], Tensor | None] | None = None
    kinks: bool = False  # the integrand has a corner where the densities cross


def evaluate(p: Any, q: Any, ways: Ways, options: Options) -> Estimate:
    """The number by the method that the options ask for, or the first that applies."""
    given: dict[str, Any] = {**_DEFAULTS, **options}
    unknown = set(given) - set(_DEFAULTS)
    method = given["method"]
    if unknown:
        raise TypeError(f"{ways.what}: unknown option {sorted(unknown)}; expected some of {', '.join(_DEFAULTS)}.")
    if method not in _METHODS:
        raise ValueError(f"{ways.what}: got method={method!r}; expected one of {', '.join(_METHODS)}.")
    check_pair(p, q, what=ways.what)
    if method in ("auto", "closed_form"):
        value = None if ways.closed_form is None else ways.closed_form(p, q)
        if value is not None:
            check_value(value, p, q, what=ways.what)
            return Estimate.exactly(value)
        if method == "closed_form":
            raise ValueError(
                f"{ways.what}: no closed form is known for p = {name(p)} and q = {name(q)}. Write "
                f"method='auto' for "
                "quadrature, a sum or Monte Carlo."
            )
    if method in ("auto", "exact_sum") and can_sum(p, q):
        return _from_integral(exact_sum(ways.integrand, p, q), "exact_sum", p, q)
    if method in ("auto", "quadrature") and _on_a_line(p, q):
        return _from_integral(integrate(ways.integrand, p, q, kinks=ways.kinks), "quadrature", p, q)
    if method in ("exact_sum", "quadrature"):
        needed = "two distributions of counts" if method == "exact_sum" else "two univariate densities"
        raise ValueError(
            f"{ways.what}: {method} needs {needed}; got {name(p)} and {name(q)}. Write method='auto' or 'monte_carlo'."
        )
    if is_discrete(p) != is_discrete(q):
        raise ValueError(
            f"{ways.what}: {name(p)} and {name(q)} are a count and a density, which share no measure to "
            f"draw from. "
            "nelbo.kl says inf for such a pair; wasserstein and energy_distance compare the values instead."
        )
    shared = {key: given[key] for key in ("samples", "standard_error", "max_samples", "seed")}
    parts = [
        expectation(f, a, b, **shared)
        for f, a, b in ((ways.over_p, p, q), (_swapped(ways.over_q), q, p))
        if f is not None
    ]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _swapped(f: Callable[[Tensor, Tensor], Tensor] | None) -> Callable[[Tensor, Tensor], Tensor] | None:
    return None if f is None else lambda log_q, log_p: f(log_p, log_q)


def _on_a_line(p: Any, q: Any) -> bool:
    if p.event_shape:
        return False
    supports = scalar_support(p), scalar_support(q)
    return all(s is not None and not s.discrete for s in supports)


def _from_integral(result: Any, method: str, p: Any, q: Any) -> Estimate:
    dtype = result_dtype(p, q)
    value = torch.where(result.diverges, torch.inf, result.value)
    error = torch.where(torch.isinf(value), 0.0, result.error)
    return Estimate(value.to(dtype), error.to(dtype), method)


def _map(e: Estimate, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Estimate:
    """The estimate of a function of the quantity; its error to first order."""
    value = f(e.value)
    with torch.no_grad():
        error = torch.nan_to_num(e.standard_error * slope(e.value).abs(), nan=0.0, posinf=torch.inf)
    return Estimate(value, torch.where(e.standard_error == 0, torch.zeros_like(error), error), e.method)


def jeffreys(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """J(p, q) = KL(p || q) + KL(q || p), in nats (Jeffreys 1946).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.
    """
    return kl(p, q, **options) + kl(q, p, **options)


def jensen_shannon(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """JS(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; between 0 and log 2 nats (Lin 1991, eq.
    3.7).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.

    Its square root is a metric (Endres & Schindelin 2003).
    """

    def closed(a: Any, b: Any) -> Tensor | None:
        outside, back = escapes(a, b), escapes(b, a)
        if is_discrete(a) != is_discrete(b) and outside is True and back is True:
            shape = torch.broadcast_shapes(a.batch_shape, b.batch_shape)
            return torch.full(shape, math.log(2), dtype=result_dtype(a, b))  # no common mass at all
        return None

    def integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
        # from the logistic of the log-ratio; relative to the midpoint the two terms cancel to second order
        ratio = torch.where((p_mass > 0) & (q_mass > 0), log_p - log_q, 0.0)
        half = 0.6931471805599453
        p_part = torch.where(q_mass > 0, half - torch.nn.functional.softplus(-ratio), half)
        q_part = torch.where(p_mass > 0, half - torch.nn.functional.softplus(ratio), half)
        value = 0.5 * (torch.where(p_mass > 0, p_mass * p_part, 0.0) + torch.where(q_mass > 0, q_mass * q_part, 0.0))
        return value, 0.5 * (p_mass + q_mass)

    def from_p(log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * (0.6931471805599453 - torch.nn.functional.softplus(log_q - log_p))

    ways = Ways(
        what="jensen_shannon",
        integrand=integrand,
        closed_form=closed,
        over_p=from_p,
        over_q=lambda log_p, log_q: from_p(log_q, log_p),
    )
    return evaluate(p, q, ways, options)


def renyi(p: Distribution, q: Distribution, alpha: float, **options: Unpack[Options]) -> Estimate:
    """D_a(p || q) = log(integral of p^a q^(1-a)) / (a - 1), in nats; KL at a = 1 (Renyi 1961; van Erven &
    Harremoes 2014).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        alpha: the order, > 0.
        options: as in `nelbo.kl`.

    Raises:
        ValueError: for an order that is not a positive finite number.
    """
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"renyi: got alpha={alpha!r}; expected a finite order > 0, as in renyi(p, q, alpha=0.5).")
    if alpha == 1:
        return kl(p, q, **options)
    if alpha > 1 and (infinite := _infinite_where_p_escapes(p, q, "renyi")) is not None:
        return infinite

    def closed(a: Any, b: Any) -> Tensor | None:
        return log_power_integral(a, b, alpha)

    method = options.get("method", "auto")
    if method in ("auto", "closed_form"):
        check_pair(p, q, what="renyi")
        value = closed(p, q)
        if value is not None:
            check_value(value, p, q, what="renyi")
            return Estimate.exactly(value / (alpha - 1))
    excess = evaluate(p, q, _power_ways("renyi", alpha), options)  # the integral, minus 1
    return _finish_infinite(
        p,
        q,
        alpha,
        _map(excess, lambda x: torch.log1p(x) / (alpha - 1), lambda x: 1 / ((1 + x) * (alpha - 1))),
    )


def _power_ways(what: str, a: float) -> Ways:
    def integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
        both = (p_mass > 0) & (q_mass > 0)
        u = torch.where(both, log_p - log_q, 0.0)
        # q (r^a - 1 - a (r - 1)) integrates to the excess over 1 and is 0 to second order at r = 1; from the
        # side of the larger
        # density, so that the exponential cannot overflow before the mass does
        above = u > 0
        v = -u.abs()
        b = torch.where(above, torch.full_like(u, 1 - a), a)
        large = torch.where(above, p_mass, q_mass)
        value = large * (torch.expm1(b * v) - b * torch.expm1(v))
        if a > 1 or a < 0:
            safe = torch.where(both, log_q + log_dx + a * u, -torch.inf)
            value = torch.where(above, torch.exp(safe) - q_mass - a * (p_mass - q_mass), value)
        alone = torch.where(p_mass > 0, -a * p_mass, -(1 - a) * q_mass)
        return torch.where(both, value, alone), p_mass + q_mass + value.abs()

    return Ways(what=what, integrand=integrand, over_p=lambda log_p, log_q: torch.expm1((a - 1) * (log_p - log_q)))


def _infinite_where_p_escapes(p: Any, q: Any, what: str) -> Estimate | None:
    check_pair(p, q, what=what)
    if escapes(p, q) is not True:
        return None
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    return Estimate.exactly(torch.full(shape, torch.inf, dtype=result_dtype(p, q)), "supports")


def _finish_infinite(p: Any, q: Any, alpha: float, e: Estimate) -> Estimate:
    outside = escapes(p, q)
    if alpha < 1 or isinstance(outside, bool):
        return e
    return Estimate(torch.where(outside, torch.inf, e.value), torch.where(outside, 0.0, e.standard_error), e.method)


def chi_squared(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """chi2(p || q) = E_q[(p/q - 1)^2] = (integral of p^2/q) - 1 (Pearson 1900).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.
    """
    infinite = _infinite_where_p_escapes(p, q, "chi_squared")
    if infinite is not None:
        return infinite

    def closed(a: Any, b: Any) -> Tensor | None:
        log = log_power_integral(a, b, 2.0)
        return None if log is None else torch.expm1(log)

    base = _power_ways("chi_squared", 2.0)
    ways = Ways(
        what="chi_squared",
        integrand=base.integrand,
        closed_form=closed,
        over_q=lambda log_p, log_q: torch.expm1(log_p - log_q) ** 2,
    )
    return _finish_infinite(p, q, 2.0, evaluate(p, q, ways, options))


def hellinger(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """H(p, q) = sqrt(1 - integral of sqrt(p q)), a metric between 0 and 1 (Hellinger 1909; Le Cam 1986).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.
    """

    def closed(a: Any, b: Any) -> Tensor | None:
        log = log_power_integral(a, b, 0.5)
        return None if log is None else -torch.expm1(log)

    base = _power_ways("hellinger", 0.5)

    def integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        value, weight = base.integrand(log_p, log_q, log_dx)
        return -value, weight

    ways = Ways(
        what="hellinger",
        integrand=integrand,
        closed_form=closed,
        over_p=lambda log_p, log_q: -torch.expm1(0.5 * (log_q - log_p)),
    )
    return square_root(evaluate(p, q, ways, options))


def square_root(squared: Estimate) -> Estimate:
    """Sqrt of an estimated square; where the estimate is within its error of 0, the error is that of the root
    of the error.
    """
    floor = squared.standard_error.clamp(min=1e-300)
    return _map(
        squared,
        lambda x: torch.where(x > 0, torch.where(x > 0, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x)),
        lambda x: 0.5 / torch.maximum(x, floor).sqrt(),
    )


def total_variation(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """TV(p, q) = (integral of |p - q|) / 2 = the largest difference of the probabilities of any event.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.
    """

    def integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
        return 0.5 * (p_mass - q_mass).abs(), 0.5 * (p_mass + q_mass)

    ways = Ways(
        what="total_variation",
        integrand=integrand,
        over_p=lambda log_p, log_q: (-torch.expm1(log_q - log_p)).clamp(min=0),
        kinks=True,
    )
    return evaluate(p, q, ways, options)
