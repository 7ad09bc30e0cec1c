"""KL across families: KL(p || q) = -H(p) - E_p[log q(x)].

The cross-entropy needs a few expectations under p (its mean, E[log x], ...). `EXPECTATIONS` holds those that each
family has in closed form, `CROSS_ENTROPIES` those that each family needs as q; every pair where the former cover the
latter is registered, so that a new family costs a row and not a formula per pair.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributions as D
from torch import Tensor

from nelbo.divergences.distributions import TruncatedNormal
from nelbo.divergences.kullback_leibler import register
from nelbo.divergences.stable import EULER, expm1c_mean, expm1c_variance, log_expm1c, log_gap, trigamma
from nelbo.divergences.supports import escapes, filled

Of = Callable[[Any], Tensor]
OfTwo = Callable[[Any, Tensor], Tensor]
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """Expectations under p in closed form."""

    entropy: Of
    mean: Of | None = None
    variance: Of | None = None
    log: Of | None = None  # E[log x]
    log_variance: Of | None = None  # Var[log x]
    log_complement: Of | None = None  # E[log(1 - x)]
    distance: OfTwo | None = None  # (p, c) -> E|x - c|
    log_mgf: Callable[[Any, Tensor, Tensor], Tensor] | None = None  # (p, t, c) -> log E exp(t (x - c))
    log_power: OfTwo | None = None  # (p, k) -> log E x^k


@dataclass(frozen=True)
class CrossEntropy:
    """-E_p[log q(x)]: the expectations it needs, and the formula of (q, p, expectations under p)."""

    needs: tuple[str, ...]
    formula: Callable[[Any, Any, Any], Tensor]


def _normal_distance(p: D.Normal, c: Tensor) -> Tensor:
    d = p.loc - c
    z = d / p.scale
    return p.scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * z * z) + d * torch.erf(z * math.sqrt(0.5))


def _laplace_distance(p: D.Laplace, c: Tensor) -> Tensor:
    d = (p.loc - c).abs()
    return d + p.scale * torch.exp(-d / p.scale)


def _laplace_log_mgf(p: D.Laplace, t: Tensor, c: Tensor) -> Tensor:
    square = (p.scale * t) ** 2
    return t * (p.loc - c) - torch.where(square < 1, torch.log1p(-torch.where(square < 1, square, 0.0)), -torch.inf)


def _uniform_ratio(p: D.Uniform) -> tuple[Tensor, Tensor]:
    """(high - low) / low where low > 0, else 1; and where that is."""
    low = p.low.clamp(min=0)
    positive = low > 0
    u = (p.high - low) / torch.where(positive, low, torch.ones_like(low))
    return torch.where(positive, u, torch.ones_like(u)), positive


def _uniform_log(p: D.Uniform) -> Tensor:
    u, positive = _uniform_ratio(p)
    return p.high.log() - torch.where(positive, log_gap(u) / u, torch.ones_like(u))


def _uniform_log_complement(p: D.Uniform) -> Tensor:
    return _uniform_log(D.Uniform((1 - p.high).clamp(min=0), 1 - p.low, validate_args=False))


def _uniform_log_variance(p: D.Uniform) -> Tensor:
    # Var[log x] = 1 - a b (log(b/a) / (b - a))^2; the square of log1p(u)/u in u = (b - a)/a
    u, positive = _uniform_ratio(p)
    half = 0.5 * torch.log1p(u)
    # a b / (b - a)^2 = 1 / (4 sinh^2(half)), so the variance is 1 - (half / sinh(half))^2
    near = half < 0.05
    safe = torch.where(near, torch.ones_like(half), half)
    series = half**2 / 3 * (1 - half**2 / 5 + 2 * half**4 / 63 - half**6 / 225)
    value = torch.where(near, series, 1 - (safe / torch.sinh(safe.clamp(max=300))) ** 2)
    return torch.where(positive, value, torch.ones_like(value))


def _uniform_distance(p: D.Uniform, c: Tensor) -> Tensor:
    inside = torch.minimum(torch.maximum(c, p.low), p.high)
    within = ((inside - p.low) ** 2 + (p.high - inside) ** 2) / (2 * (p.high - p.low))
    return within + (c - inside).abs()


def _exponential_distance(p: D.Exponential, c: Tensor) -> Tensor:
    inside = c.clamp(min=0)
    return (2 * torch.exp(-p.rate * inside) - 1) / p.rate + inside + (inside - c)


def _beyond(least: float, shape: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
    """A moment that is infinite where the tail's shape is not greater than `least`: its value(shape), else inf."""
    infinite = shape <= least
    return torch.where(infinite, torch.inf, value(torch.where(infinite, torch.full_like(shape, least + 1), shape)))


def _pareto_distance(p: D.Pareto, c: Tensor) -> Tensor:
    inside = torch.maximum(c, p.scale)

    def value(a: Tensor) -> Tensor:
        tail = 2 * (p.scale / inside) ** a * inside / (a - 1)
        return inside - a * p.scale / (a - 1) + tail + (inside - c)

    return _beyond(1, p.alpha, value)


def _pareto_log_power(p: D.Pareto, k: Tensor) -> Tensor:
    inside = k < p.alpha
    safe = torch.where(inside, p.alpha - k, torch.ones_like(p.alpha - k))
    return torch.where(inside, k * p.scale.log() + p.alpha.log() - safe.log(), torch.inf)


def _half_normal_distance(p: D.HalfNormal, c: Tensor) -> Tensor:
    inside = c.clamp(min=0)
    z = inside / p.scale * math.sqrt(0.5)
    tail = p.scale * math.sqrt(2) * (torch.exp(-z * z) / math.sqrt(math.pi) - z * torch.erfc(z))
    return inside - p.scale * math.sqrt(2 / math.pi) + 2 * tail + (inside - c)


def _lbeta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _beta_entropy(p: D.Beta) -> Tensor:
    a, b = p.concentration1, p.concentration0
    return _lbeta(a, b) - (a - 1) * torch.digamma(a) - (b - 1) * torch.digamma(b) + (a + b - 2) * torch.digamma(a + b)


def _gamma_entropy(p: D.Gamma) -> Tensor:
    k = p.concentration
    return k - p.rate.log() + torch.lgamma(k) + (1 - k) * torch.digamma(k)


def _weibull_mean(p: D.Weibull) -> Tensor:
    return p.scale * torch.exp(torch.lgamma(1 + 1 / p.concentration))


EXPECTATIONS: dict[type, Expectations] = {
    D.Normal: Expectations(
        entropy=lambda p: p.scale.log() + 0.5 * (1 + _LOG_2PI),
        mean=lambda p: p.loc,
        variance=lambda p: p.scale**2,
        distance=_normal_distance,
        log_mgf=lambda p, t, c: t * (p.loc - c) + 0.5 * (t * p.scale) ** 2,
    ),
    D.Laplace: Expectations(
        entropy=lambda p: 1 + (2 * p.scale).log(),
        mean=lambda p: p.loc,
        variance=lambda p: 2 * p.scale**2,
        distance=_laplace_distance,
        log_mgf=_laplace_log_mgf,
    ),
    D.Gumbel: Expectations(
        entropy=lambda p: p.scale.log() + 1 + EULER,
        mean=lambda p: p.loc + EULER * p.scale,
        variance=lambda p: (math.pi * p.scale) ** 2 / 6,
    ),
    D.StudentT: Expectations(
        entropy=lambda p: p.entropy(),
        # where the mean does not exist, the variance beside it is inf already
        mean=lambda p: p.loc,
        variance=lambda p: _beyond(2, p.df, lambda v: p.scale**2 * v / (v - 2)),
    ),
    TruncatedNormal: Expectations(entropy=lambda p: p.entropy(), mean=lambda p: p.mean, variance=lambda p: p.variance),
    D.Uniform: Expectations(
        entropy=lambda p: (p.high - p.low).log(),
        mean=lambda p: 0.5 * (p.low + p.high),
        variance=lambda p: (p.high - p.low) ** 2 / 12,
        log=_uniform_log,
        log_variance=_uniform_log_variance,
        log_complement=_uniform_log_complement,
        distance=_uniform_distance,
        log_mgf=lambda p, t, c: t * (p.low - c) + log_expm1c(t * (p.high - p.low)),
    ),
    D.ContinuousBernoulli: Expectations(
        entropy=lambda p: log_expm1c(p.logits) - p.logits * expm1c_mean(p.logits),
        mean=lambda p: expm1c_mean(p.logits),
        variance=lambda p: expm1c_variance(p.logits),
        log_mgf=lambda p, t, c: log_expm1c(p.logits + t) - log_expm1c(p.logits) - t * c,
    ),
    D.Beta: Expectations(
        entropy=_beta_entropy,
        mean=lambda p: p.concentration1 / (p.concentration1 + p.concentration0),
        variance=lambda p: p.variance,
        log=lambda p: torch.digamma(p.concentration1) - torch.digamma(p.concentration1 + p.concentration0),
        log_variance=lambda p: trigamma(p.concentration1) - trigamma(p.concentration1 + p.concentration0),
        log_complement=lambda p: torch.digamma(p.concentration0) - torch.digamma(p.concentration1 + p.concentration0),
        log_power=lambda p, k: (
            _lbeta(p.concentration1 + k, p.concentration0) - _lbeta(p.concentration1, p.concentration0)
        ),
    ),
    D.Exponential: Expectations(
        entropy=lambda p: 1 - p.rate.log(),
        mean=lambda p: 1 / p.rate,
        variance=lambda p: p.rate**-2,
        log=lambda p: -EULER - p.rate.log(),
        log_variance=lambda p: torch.full_like(p.rate, math.pi**2 / 6),
        distance=_exponential_distance,
        log_mgf=lambda p, t, c: torch.where(t < p.rate, -torch.log1p(-t / p.rate), torch.inf) - t * c,
        log_power=lambda p, k: torch.lgamma(1 + k) - k * p.rate.log(),
    ),
    D.Gamma: Expectations(
        entropy=_gamma_entropy,
        mean=lambda p: p.concentration / p.rate,
        variance=lambda p: p.concentration / p.rate**2,
        log=lambda p: torch.digamma(p.concentration) - p.rate.log(),
        log_variance=lambda p: trigamma(p.concentration),
        log_mgf=lambda p, t, c: torch.where(t < p.rate, -p.concentration * torch.log1p(-t / p.rate), torch.inf) - t * c,
        log_power=lambda p, k: torch.lgamma(p.concentration + k) - torch.lgamma(p.concentration) - k * p.rate.log(),
    ),
    D.HalfNormal: Expectations(
        entropy=lambda p: p.scale.log() + 0.5 * math.log(math.pi / 2) + 0.5,
        mean=lambda p: p.scale * math.sqrt(2 / math.pi),
        variance=lambda p: p.scale**2 * (1 - 2 / math.pi),
        log=lambda p: p.scale.log() - 0.5 * (EULER + math.log(2)),
        log_variance=lambda p: torch.full_like(p.scale, math.pi**2 / 8),
        distance=_half_normal_distance,
        log_power=lambda p, k: (
            k * (p.scale.log() + 0.5 * math.log(2)) + torch.lgamma(0.5 * (k + 1)) - 0.5 * math.log(math.pi)
        ),
    ),
    D.LogNormal: Expectations(
        entropy=lambda p: p.loc + p.scale.log() + 0.5 * (1 + _LOG_2PI),
        mean=lambda p: torch.exp(p.loc + 0.5 * p.scale**2),
        variance=lambda p: torch.exp(2 * p.loc + p.scale**2) * torch.expm1(p.scale**2),
        log=lambda p: p.loc,
        log_variance=lambda p: p.scale**2,
        log_power=lambda p, k: k * p.loc + 0.5 * (k * p.scale) ** 2,
    ),
    D.Weibull: Expectations(
        entropy=lambda p: EULER * (1 - 1 / p.concentration) + (p.scale / p.concentration).log() + 1,
        mean=_weibull_mean,
        variance=lambda p: p.scale**2 * torch.exp(torch.lgamma(1 + 2 / p.concentration)) - _weibull_mean(p) ** 2,
        log=lambda p: p.scale.log() - EULER / p.concentration,
        log_variance=lambda p: (math.pi / p.concentration) ** 2 / 6,
        log_power=lambda p, k: k * p.scale.log() + torch.lgamma(1 + k / p.concentration),
    ),
    D.Pareto: Expectations(
        entropy=lambda p: (p.scale / p.alpha).log() + 1 + 1 / p.alpha,
        mean=lambda p: _beyond(1, p.alpha, lambda a: a * p.scale / (a - 1)),
        variance=lambda p: _beyond(2, p.alpha, lambda a: (p.scale / (a - 1)) ** 2 * a / (a - 2)),
        log=lambda p: p.scale.log() + 1 / p.alpha,
        log_variance=lambda p: p.alpha**-2,
        distance=_pareto_distance,
        log_power=_pareto_log_power,
    ),
}


def _to_normal(q: Any, p: Any, under: Any) -> Tensor:
    spread = ((under.mean(p) - q.loc) / q.scale) ** 2 + under.variance(p) / q.scale**2
    return q.scale.log() + 0.5 * _LOG_2PI + 0.5 * spread


def _to_half_normal(q: D.HalfNormal, p: Any, under: Any) -> Tensor:
    return q.scale.log() + 0.5 * math.log(math.pi / 2) + 0.5 * (under.mean(p) ** 2 + under.variance(p)) / q.scale**2


def _to_gumbel(q: D.Gumbel, p: Any, under: Any) -> Tensor:
    lift = under.log_mgf(p, -1 / q.scale, q.loc)
    return q.scale.log() + (under.mean(p) - q.loc) / q.scale + lift.exp()


def _to_gamma(q: D.Gamma, p: Any, under: Any) -> Tensor:
    k = q.concentration
    return torch.lgamma(k) - k * q.rate.log() - (k - 1) * under.log(p) + q.rate * under.mean(p)


def _to_beta(q: D.Beta, p: Any, under: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    # 0 * E[log x] is 0 also where that expectation is not finite
    low = torch.where(a == 1, 0.0, (a - 1) * under.log(p))
    high = torch.where(b == 1, 0.0, (b - 1) * under.log_complement(p))
    return _lbeta(a, b) - low - high


def _to_log_normal(q: D.LogNormal, p: Any, under: Any) -> Tensor:
    m = under.log(p)
    spread = ((m - q.loc) / q.scale) ** 2 + under.log_variance(p) / q.scale**2
    return m + q.scale.log() + 0.5 * _LOG_2PI + 0.5 * spread


def _to_weibull(q: D.Weibull, p: Any, under: Any) -> Tensor:
    k = q.concentration
    power = torch.exp(under.log_power(p, k) - k * q.scale.log())
    return -k.log() + k * q.scale.log() - (k - 1) * under.log(p) + power


CROSS_ENTROPIES: dict[type, CrossEntropy] = {
    D.Normal: CrossEntropy(("mean", "variance"), _to_normal),
    TruncatedNormal: CrossEntropy(("mean", "variance"), lambda q, p, under: _to_normal(q, p, under) + q.log_mass),
    D.HalfNormal: CrossEntropy(("mean", "variance"), _to_half_normal),
    D.Laplace: CrossEntropy(
        ("distance",), lambda q, p, under: (2 * q.scale).log() + under.distance(p, q.loc) / q.scale
    ),
    D.Gumbel: CrossEntropy(("mean", "log_mgf"), _to_gumbel),
    D.Exponential: CrossEntropy(("mean",), lambda q, p, under: q.rate * under.mean(p) - q.rate.log()),
    D.Gamma: CrossEntropy(("log", "mean"), _to_gamma),
    D.Beta: CrossEntropy(("log", "log_complement"), _to_beta),
    D.ContinuousBernoulli: CrossEntropy(("mean",), lambda q, p, under: log_expm1c(q.logits) - q.logits * under.mean(p)),
    D.Uniform: CrossEntropy((), lambda q, p, under: (q.high - q.low).log()),
    D.Pareto: CrossEntropy(
        ("log",), lambda q, p, under: (q.alpha + 1) * under.log(p) - q.alpha.log() - q.alpha * q.scale.log()
    ),
    D.LogNormal: CrossEntropy(("log", "log_variance"), _to_log_normal),
    D.Weibull: CrossEntropy(("log", "log_power"), _to_weibull),
}

# The interval that each family lives on, as far as the type alone tells; None: it depends on the parameters.
INTERVALS: dict[type, tuple[float, float] | None] = {
    **dict.fromkeys((D.Normal, D.Laplace, D.Gumbel, D.StudentT), (-math.inf, math.inf)),
    **dict.fromkeys((TruncatedNormal, D.Uniform), None),
    **dict.fromkeys((D.ContinuousBernoulli, D.Beta), (0.0, 1.0)),
    **dict.fromkeys((D.Exponential, D.Gamma, D.HalfNormal, D.LogNormal, D.Weibull), (0.0, math.inf)),
    D.Pareto: (math.nan, math.inf),
}


def never_inside(p: type, q: type) -> bool:
    """Whether a p of this family reaches outside of every q of the other."""
    a, b = INTERVALS[p], INTERVALS[q]
    if a is None:
        return False
    if b is None:
        return q is D.Uniform and math.inf in (-a[0], a[1])
    # Pareto starts at a positive number: below it, any family with mass near 0 escapes; nan compares False
    return a[0] < b[0] or a[1] > b[1] or (q is D.Pareto and p is not D.Pareto)


def _across(under: Expectations, cross_entropy: CrossEntropy) -> Callable[[Any, Any], Tensor]:
    def formula(p: Any, q: Any) -> Tensor:
        value = cross_entropy.formula(q, p, under) - under.entropy(p)
        outside = escapes(p, q)
        if outside is False:
            return value
        return torch.where(torch.as_tensor(outside, device=value.device), torch.inf, value)

    return formula


def _infinite(p: Any, q: Any) -> Tensor:
    return filled(p, q, math.inf)


def _register_all() -> None:
    for p, under in EXPECTATIONS.items():
        for q, cross_entropy in CROSS_ENTROPIES.items():
            if p is q:
                continue  # same_family.py does better
            if never_inside(p, q):
                register(p, q)(_infinite)
            elif all(getattr(under, need) is not None for need in cross_entropy.needs):
                register(p, q)(_across(under, cross_entropy))


_register_all()
