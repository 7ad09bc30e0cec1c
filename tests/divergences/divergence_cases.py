"""The case table: for every family its parameters, and an oracle that shares no code with nelbo (mpmath, 50
digits).

A registered pair whose family has no row here fails the suite (test_registry.py).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp
import torch
import torch.distributions as D
from torch import tensor

from nelbo.divergences import TruncatedNormal


def t(x):
    return tensor(x, dtype=torch.float64)


@dataclass
class Family:
    build: Callable[..., Any]
    usual: list[tuple[float, ...]]
    log_density: Callable[..., Any]  # (mp numbers: x, *parameters)
    support: Callable[..., tuple[Any, Any]]
    center: Callable[..., Any]
    scale: Callable[..., Any]
    kinds: str = ""  # what a seeded search may draw: one letter per parameter
    kinks: Callable[..., list[Any]] = field(default=lambda *a: [])


def _tn_log(x, m, s, a, b):
    return (
        -((x - m) ** 2) / (2 * s**2)
        - mp.log(s * mp.sqrt(2 * mp.pi))
        - mp.log((mp.erfc((a - m) / s / mp.sqrt(2)) - mp.erfc((b - m) / s / mp.sqrt(2))) / 2)
    )


def _cb_log(x, lam):
    odds = mp.log(lam / (1 - lam))
    norm = mp.log(mp.expm1(odds) / odds) if odds else mp.mpf(0)
    return x * odds - norm


def HALF(*_):
    return (0, mp.inf)


def LINE(*_):
    return (-mp.inf, mp.inf)


def UNIT(*_):
    return (0, 1)


# kinds: l location, s scale (1e-8..1e8), k shape, u probability, w width above the previous parameter
FAMILIES: dict[type, Family] = {
    D.Normal: Family(
        lambda m, s: D.Normal(t(m), t(s)),
        [(0.3, 0.7), (-1.0, 2.0)],
        lambda x, m, s: -(((x - m) / s) ** 2) / 2 - mp.log(s) - mp.log(2 * mp.pi) / 2,
        LINE,
        lambda m, s: m,
        lambda m, s: s,
        "ls",
    ),
    D.Laplace: Family(
        lambda m, s: D.Laplace(t(m), t(s)),
        [(0.3, 0.7), (-1.0, 2.0)],
        lambda x, m, s: -abs(x - m) / s - mp.log(2 * s),
        LINE,
        lambda m, s: m,
        lambda m, s: s,
        "ls",
        lambda m, s: [m],
    ),
    D.Gumbel: Family(
        lambda m, s: D.Gumbel(t(m), t(s)),
        [(0.3, 0.7), (-1.0, 2.0)],
        lambda x, m, s: -(x - m) / s - mp.exp(min(-(x - m) / s, mp.mpf(10) ** 4)) - mp.log(s),
        LINE,
        lambda m, s: m,
        lambda m, s: s,
        "ls",
    ),
    D.Cauchy: Family(
        lambda m, s: D.Cauchy(t(m), t(s)),
        [(0.3, 0.7), (-1.0, 2.0)],
        lambda x, m, s: -mp.log(mp.pi * s * (1 + ((x - m) / s) ** 2)),
        LINE,
        lambda m, s: m,
        lambda m, s: s,
        "ls",
    ),
    D.StudentT: Family(
        lambda v, m, s: D.StudentT(t(v), t(m), t(s)),
        [(5.0, 0.3, 0.7), (7.5, -1.0, 2.0)],
        lambda x, v, m, s: (
            mp.loggamma((v + 1) / 2)
            - mp.loggamma(v / 2)
            - mp.log(v * mp.pi) / 2
            - mp.log(s)
            - (v + 1) / 2 * mp.log1p(((x - m) / s) ** 2 / v)
        ),
        LINE,
        lambda v, m, s: m,
        lambda v, m, s: s,
        "vls",
    ),
    TruncatedNormal: Family(
        lambda m, s, a, b: TruncatedNormal(t(m), t(s), t(a), t(b)),
        [(0.3, 0.7, -0.5, 1.5), (-1.0, 2.0, -0.9, 1.7)],
        _tn_log,
        lambda m, s, a, b: (a, b),
        lambda m, s, a, b: (a + b) / 2,
        lambda m, s, a, b: (b - a) / 4,
        "",
    ),
    D.Uniform: Family(
        lambda a, b: D.Uniform(t(a), t(b)),
        [(0.2, 0.7), (0.0, 1.0)],
        lambda x, a, b: -mp.log(b - a),
        lambda a, b: (a, b),
        lambda a, b: (a + b) / 2,
        lambda a, b: (b - a) / 4,
        "",
    ),
    D.ContinuousBernoulli: Family(
        lambda u: D.ContinuousBernoulli(t(u)),
        [(0.3,), (0.5,)],
        _cb_log,
        UNIT,
        lambda u: mp.mpf("0.5"),
        lambda u: mp.mpf("0.25"),
        "u",
    ),
    D.Beta: Family(
        lambda a, b: D.Beta(t(a), t(b)),
        [(2.3, 0.6), (1.0, 3.5)],
        lambda x, a, b: (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - mp.log(mp.beta(a, b)),
        UNIT,
        lambda a, b: a / (a + b),
        lambda a, b: mp.sqrt(a * b / (a + b) ** 2 / (a + b + 1)),
        "bb",
    ),
    D.Exponential: Family(
        lambda r: D.Exponential(t(r)),
        [(0.7,), (2.0,)],
        lambda x, r: mp.log(r) - r * x,
        HALF,
        lambda r: 1 / r,
        lambda r: 1 / r,
        "s",
    ),
    D.Gamma: Family(
        lambda k, r: D.Gamma(t(k), t(r)),
        [(0.6, 1.5), (3.0, 0.8)],
        lambda x, k, r: k * mp.log(r) + (k - 1) * mp.log(x) - r * x - mp.loggamma(k),
        HALF,
        lambda k, r: k / r,
        lambda k, r: mp.sqrt(k) / r,
        "ks",
    ),
    D.HalfNormal: Family(
        lambda s: D.HalfNormal(t(s)),
        [(0.7,), (2.0,)],
        lambda x, s: mp.log(2 / mp.pi) / 2 - mp.log(s) - (x / s) ** 2 / 2,
        HALF,
        lambda s: s,
        lambda s: s,
        "s",
    ),
    D.HalfCauchy: Family(
        lambda s: D.HalfCauchy(t(s)),
        [(0.7,), (2.0,)],
        lambda x, s: mp.log(2 / mp.pi / s) - mp.log1p((x / s) ** 2),
        HALF,
        lambda s: s,
        lambda s: s,
        "s",
    ),
    D.LogNormal: Family(
        lambda m, s: D.LogNormal(t(m), t(s)),
        [(0.3, 0.7), (-0.5, 0.4)],
        lambda x, m, s: -(((mp.log(x) - m) / s) ** 2) / 2 - mp.log(s * x) - mp.log(2 * mp.pi) / 2,
        HALF,
        lambda m, s: mp.exp(m),
        lambda m, s: mp.exp(m) * s,
        "",
    ),
    D.Weibull: Family(
        lambda s, k: D.Weibull(t(s), t(k)),
        [(0.7, 1.5), (2.0, 0.8)],
        lambda x, s, k: mp.log(k / s) + (k - 1) * mp.log(x / s) - (x / s) ** k,
        HALF,
        lambda s, k: s,
        lambda s, k: s / k,
        "sh",
    ),
    D.Pareto: Family(
        lambda s, a: D.Pareto(t(s), t(a)),
        [(1.3, 4.5), (0.7, 3.0)],
        lambda x, s, a: mp.log(a) + a * mp.log(s) - (a + 1) * mp.log(x),
        lambda s, a: (s, mp.inf),
        lambda s, a: s * 2,
        lambda s, a: s,
        "sa",
    ),
    D.VonMises: Family(
        lambda m, k: D.VonMises(t(m), t(k)),
        [(0.3, 1.5), (-2.0, 4.0)],
        lambda x, m, k: k * mp.cos(x - m) - mp.log(2 * mp.pi * mp.besseli(0, k)),
        lambda *a: (-mp.pi, mp.pi),
        lambda m, k: mp.mpf(0),
        lambda m, k: mp.mpf(1),
        "mh",
    ),
    # counts: the support is a range of integers
    D.Bernoulli: Family(
        lambda u: D.Bernoulli(t(u)),
        [(0.3,), (0.8,)],
        lambda x, u: mp.log(u if x else 1 - u),
        lambda u: (0, 1),
        None,
        None,
        "u",
    ),
    D.Geometric: Family(
        lambda u: D.Geometric(t(u)),
        [(0.3,), (0.6,)],
        lambda x, u: x * mp.log1p(-u) + mp.log(u),
        HALF,
        None,
        None,
        "c",
    ),
    D.Binomial: Family(
        lambda n, u: D.Binomial(int(n), t(u)),
        [(5, 0.3), (5, 0.8)],
        lambda x, n, u: mp.log(mp.binomial(n, x)) + x * mp.log(u) + (n - x) * mp.log1p(-u),
        lambda n, u: (0, int(n)),
        None,
        None,
        "nu",
    ),
    D.NegativeBinomial: Family(
        lambda n, u: D.NegativeBinomial(t(n), t(u)),
        [(5.0, 0.3), (5.0, 0.6)],
        lambda x, n, u: mp.log(mp.gamma(x + n) / mp.gamma(n) / mp.factorial(x)) + x * mp.log(u) + n * mp.log1p(-u),
        HALF,
        None,
        None,
        "nc",
    ),
    D.Poisson: Family(
        lambda r: D.Poisson(t(r)),
        [(0.7,), (3.0,)],
        lambda x, r: x * mp.log(r) - r - mp.loggamma(x + 1),
        HALF,
        None,
        None,
        "r",
    ),
}

COUNTS = (D.Bernoulli, D.Geometric, D.Binomial, D.NegativeBinomial, D.Poisson)

# Families over vectors have no quadrature; their pairs are checked in test_vectors.py against matrices in 50
# digits and draws.
VECTORS = (
    D.MultivariateNormal,
    D.LowRankMultivariateNormal,
    D.Independent,
    D.Dirichlet,
    D.Wishart,
    D.Categorical,
    D.OneHotCategorical,
    D.Multinomial,
    D.TransformedDistribution,
)


def oracle(p_type, p_args, q_type, q_args, *, digits=50):
    """KL, E_p[log p], E_p[log q] as mpmath numbers; KL is inf where p reaches outside of q's support."""
    P, Q = FAMILIES[p_type], FAMILIES[q_type]
    with mp.workdps(digits):
        a, b = [mp.mpf(x) for x in p_args], [mp.mpf(x) for x in q_args]
        (lo, hi), (qlo, qhi) = P.support(*a), Q.support(*b)
        if lo < qlo or hi > qhi or (p_type in COUNTS) != (q_type in COUNTS):
            return mp.inf, None, None
        if _divergent(p_type, a, q_type, b):
            return mp.inf, None, None
        if p_type in COUNTS:
            top = hi if hi != mp.inf else 600
            pairs = [(P.log_density(x, *a), Q.log_density(x, *b)) for x in range(int(top) + 1)]
            log_p, log_q = (
                mp.fsum(mp.exp(lp) * which for lp, which in ((pair[0], pair[i]) for pair in pairs)) for i in (0, 1)
            )
            return log_p - log_q, log_p, log_q
        c, s = P.center(*a), P.scale(*a)
        if lo == -mp.inf:
            points = [c + s * k for k in (-250, -60, -12, -4, -1, 0, 1, 4, 12, 60, 250)] + list(Q.kinks(*b))
            if p_type in (D.Cauchy, D.StudentT):
                points += [c + k * s * mp.mpf(10) ** e for e in (4, 8, 16, 32) for k in (-1, 1)]
                points += [-mp.inf, mp.inf]
            if Q.support(*b)[0] == -mp.inf:  # log q has its structure around its own center
                points += [Q.center(*b) + k * Q.scale(*b) for k in (-12, -4, -1, 0, 1, 4, 12)]
            grid = sorted(set(points))

            def at(u):
                return u, 0
        elif hi == mp.inf:  # x = lo + exp(u)
            steep = {D.Gamma: a[0], D.Weibull: a[-1], D.Pareto: a[-1]}.get(p_type, mp.mpf(1))
            slow = min(steep, 1)
            middle, wide = mp.log(c - lo), (mp.mpf(1) if s >= c - lo else s / (c - lo))
            points = [middle + wide * k for k in (-12, -4, -1, 0, 1, 4, 12)]
            points += [middle - k / slow for k in (2, 10, 40, 130)]
            points += [mp.log(k - lo) for k in Q.kinks(*b) if k > lo]
            if p_type is D.LogNormal:
                points = [middle + a[1] * k for k in (-40, -12, -4, -1, 0, 1, 4, 12, 40)]
            elif p_type in (D.HalfCauchy, D.Pareto):
                points += [middle + k / slow for k in (2, 10, 40, 130)]
            else:
                points += [middle + k / slow for k in (2, 8)]
            grid = sorted(set(points))

            def at(u):
                return lo + mp.exp(u), u
        else:  # between two ends; the ends may be singular, which tanh-sinh likes
            grid = [
                lo,
                *sorted(
                    {x for k in (-12, -4, -1, 0, 1, 4, 12) if lo < (x := c + k * s) < hi}
                    | {k for k in Q.kinks(*b) if lo < k < hi}
                ),
                hi,
            ]

            def at(u):
                return u, 0

        def both(u):
            x, slope = at(u)
            if x <= lo or x >= hi:
                return mp.mpc(0)
            lp = P.log_density(x, *a)
            if lp + slope < -3 * mp.mp.dps:  # e^(-3 dps) is far below the last digit
                return mp.mpc(0)
            mass = mp.exp(lp + slope)
            return mp.mpc(mass * lp, mass * Q.log_density(x, *b))

        total = mp.quad(both, grid)
        return total.real - total.imag, total.real, total.imag


def _divergent(p_type, a, q_type, b):
    """Integrals that diverge in a tail, which a quadrature on a finite stretch cannot see."""
    squares = (D.Normal, D.HalfNormal)
    return (
        (p_type is D.Laplace and q_type is D.Gumbel and a[1] >= b[1])
        or (p_type is D.StudentT and q_type in squares and a[0] <= 2)
        or (p_type is D.Pareto and q_type in squares and a[1] <= 2)
        or (p_type is D.Pareto and q_type in (D.Exponential, D.Gamma, D.Laplace) and a[1] <= 1)
        or (p_type is D.Pareto and q_type is D.Weibull and a[1] <= b[1])
    )


def draw(rng: random.Random, kind: str):
    return {
        "l": lambda: rng.choice([0.0, rng.uniform(-3, 3), 10 ** rng.uniform(0, 3)]),
        "m": lambda: rng.uniform(-3, 3),
        "s": lambda: 10 ** rng.uniform(-8, 8),
        "r": lambda: 10 ** rng.uniform(-8, 1.8),
        "k": lambda: 10 ** rng.uniform(-1, 4),
        "h": lambda: 10 ** rng.uniform(-0.7, 1.5),
        "v": lambda: 10 ** rng.uniform(-0.3, 3),
        "u": lambda: rng.choice([rng.uniform(0.05, 0.95), 10 ** rng.uniform(-8, -1), 1 - 10 ** rng.uniform(-8, -1)]),
        # the oracle's own limits: 600 terms of a count; slow tails; 50 digits of x where Beta is singular
        "c": lambda: rng.uniform(0.2, 0.8),
        "a": lambda: 10 ** rng.uniform(0.5, 1.5),
        "b": lambda: 10 ** rng.uniform(-0.3, 4),
        "n": lambda: 7,
    }[kind]()


def ugly(family: type, rng: random.Random):
    return tuple(draw(rng, kind) for kind in FAMILIES[family].kinds)


def near(family: type, args, rng: random.Random):
    """The same parameters, each off by a relative 1e-9 to 1e-1, staying in their domain."""
    out = []
    for kind, x in zip(FAMILIES[family].kinds, args, strict=True):
        step = 10 ** rng.uniform(-9, -1)
        out.append(x if kind == "n" else x + step * (min(x, 1 - x) if kind in "uc" else x) * rng.choice([-1, 1]))
    return tuple(out)
