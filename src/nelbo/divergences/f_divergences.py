"""Divergences that compare densities point by point: Jeffreys, Jensen-Shannon, Renyi, chi-squared, Hellinger, total
variation.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import softplus

from nelbo.divergences.divergence import Divergence, pointwise
from nelbo.divergences.integration import Integrand
from nelbo.divergences.kullback_leibler import KL
from nelbo.divergences.monte_carlo import Method, Options
from nelbo.divergences.power_integrals import log_power_integral
from nelbo.divergences.supports import escapes, filled, is_discrete
from nelbo.estimate import Estimate

_LOG_2 = math.log(2)


def _map(e: Estimate, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Estimate:
    """The estimate of a function of the quantity; its error to first order."""
    value = f(e.value)
    with torch.no_grad():
        error = torch.nan_to_num(e.standard_error * slope(e.value).abs(), nan=0.0, posinf=torch.inf)
    return replace(e, value=value, standard_error=torch.where(e.standard_error == 0, torch.zeros_like(error), error))


def square_root(squared: Estimate) -> Estimate:
    """The root of an estimated square; where that is within its error of 0, the error is the root of the error."""
    floor = squared.standard_error.clamp(min=1e-300)
    return _map(squared, root, lambda x: 0.5 / torch.maximum(x, floor).sqrt())


def root(x: Tensor) -> Tensor:
    """The root of x where x > 0, else 0, with a finite gradient."""
    return torch.where(x > 0, torch.where(x > 0, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def jeffreys(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute J(p, q) = KL(p || q) + KL(q || p), in nats (Jeffreys 1946).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.
    """
    options, of_each = Options(method, samples, standard_error, max_samples, seed), replace(KL, name="jeffreys")
    return of_each.evaluate(p, q, options, both_ways=True)


def jensen_shannon(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute JS(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; between 0 and log 2 nats.

    Its square root is a metric (Endres & Schindelin 2003).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.

    Source: Lin 1991, eq. 3.7.
    """
    return _JENSEN_SHANNON.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


def _js_integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
    p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
    # from the logistic of the log-ratio; relative to the midpoint the two terms cancel to second order
    ratio = torch.where((p_mass > 0) & (q_mass > 0), log_p - log_q, 0.0)
    p_part = torch.where(q_mass > 0, _LOG_2 - softplus(-ratio), _LOG_2)
    q_part = torch.where(p_mass > 0, _LOG_2 - softplus(ratio), _LOG_2)
    value = 0.5 * (torch.where(p_mass > 0, p_mass * p_part, 0.0) + torch.where(q_mass > 0, q_mass * q_part, 0.0))
    return value, 0.5 * (p_mass + q_mass)


def _js_without_common_mass(p: Any, q: Any) -> Tensor | None:
    disjoint = is_discrete(p) != is_discrete(q) and escapes(p, q) is True and escapes(q, p) is True
    return filled(p, q, _LOG_2) if disjoint else None


_JENSEN_SHANNON = pointwise(
    "jensen_shannon",
    _js_integrand,
    at_p=lambda log_p, log_q: 0.5 * (_LOG_2 - softplus(log_q - log_p)),
    at_q=lambda log_p, log_q: 0.5 * (_LOG_2 - softplus(log_p - log_q)),
    closed_form=_js_without_common_mass,
)


def renyi(
    p: Distribution,
    q: Distribution,
    alpha: float,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute D_a(p || q) = log(integral of p^a q^(1-a)) / (a - 1), in nats; KL at a = 1.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        alpha: the order, > 0.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.

    Raises:
        ValueError: for an order that is not a positive finite number.

    Source: Renyi 1961; van Erven & Harremoes 2014.
    """
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"renyi: alpha must be a positive finite number, got {alpha!r}; write renyi(p, q, alpha=0.5).")
    options = Options(method, samples, standard_error, max_samples, seed)
    return (KL if alpha == 1 else _renyi(alpha)).evaluate(p, q, options)


def _renyi(a: float) -> Divergence:
    return pointwise(
        "renyi",
        _power_excess(a),
        at_p=lambda log_p, log_q: torch.expm1((a - 1) * (log_p - log_q)),
        finish=lambda e: _map(e, lambda x: torch.log1p(x) / (a - 1), lambda x: 1 / ((1 + x) * (a - 1))),
        closed_form=_of_power_integral(a, lambda log: log / (a - 1)),
        additive=True,
        infinite_outside=a > 1,
    )


def _of_power_integral(a: float, f: Callable[[Tensor], Tensor]) -> Callable[[Any, Any], Tensor | None]:
    """The closed form of a function of the log of the integral of p^a q^(1-a)."""

    def closed_form(p: Any, q: Any) -> Tensor | None:
        log = log_power_integral(p, q, a)
        return None if log is None else f(log)

    return closed_form


def _power_excess(a: float) -> Integrand:
    """The integrand of (integral of p^a q^(1-a)) - 1."""

    def integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
        both = (p_mass > 0) & (q_mass > 0)
        u = torch.where(both, log_p - log_q, 0.0)
        # q (r^a - 1 - a (r - 1)) integrates to the excess over 1 and is 0 to second order at r = 1; from the side of
        # the larger density, so that the exponential cannot overflow before the mass does
        above = u > 0
        v = -u.abs()
        b = torch.where(above, torch.full_like(u, 1 - a), a)
        large = torch.where(above, p_mass, q_mass)
        value = large * (torch.expm1(b * v) - b * torch.expm1(v))
        if a > 1:
            safe = torch.where(both, log_q + log_dx + a * u, -torch.inf)
            value = torch.where(above, torch.exp(safe) - q_mass - a * (p_mass - q_mass), value)
        alone = torch.where(p_mass > 0, -a * p_mass, -(1 - a) * q_mass)
        return torch.where(both, value, alone), p_mass + q_mass + value.abs()

    return integrand


def chi_squared(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute chi2(p || q) = E_q[(p/q - 1)^2] = (integral of p^2/q) - 1 (Pearson 1900).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.
    """
    return _CHI_SQUARED.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


_CHI_SQUARED = pointwise(
    "chi_squared",
    _power_excess(2.0),
    at_q=lambda log_p, log_q: torch.expm1(log_p - log_q) ** 2,
    closed_form=_of_power_integral(2.0, torch.expm1),
    infinite_outside=True,
)


def hellinger(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute H(p, q) = sqrt(1 - integral of sqrt(p q)), a metric between 0 and 1 (Hellinger 1909; Le Cam 1986).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.
    """
    return _HELLINGER.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


def _hellinger_integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
    value, weight = _power_excess(0.5)(log_p, log_q, log_dx)
    return -value, weight


_HELLINGER = pointwise(
    "hellinger",
    _hellinger_integrand,
    at_p=lambda log_p, log_q: -torch.expm1(0.5 * (log_q - log_p)),
    finish=square_root,
    closed_form=_of_power_integral(0.5, lambda log: root(-torch.expm1(log))),
)


def total_variation(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute TV(p, q) = (integral of |p - q|) / 2, the largest difference of the probabilities of any event.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.
    """
    return _TOTAL_VARIATION.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


def _tv_integrand(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
    p_mass, q_mass = torch.exp(log_p + log_dx), torch.exp(log_q + log_dx)
    return 0.5 * (p_mass - q_mass).abs(), 0.5 * (p_mass + q_mass)


_TOTAL_VARIATION = pointwise(
    "total_variation",
    _tv_integrand,
    at_p=lambda log_p, log_q: (-torch.expm1(log_q - log_p)).clamp(min=0),
    kinks=True,
)
