"""Distances that look at where the mass is: Wasserstein-1 and -2, energy distance, maximum mean discrepancy.

Unlike the divergences of densities they stay finite, and keep a gradient, where supports do not meet.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributions as D
from torch import Tensor

from nelbo.divergences.divergence import Divergence, type_name
from nelbo.divergences.exact_sum import counts_of
from nelbo.divergences.f_divergences import root, square_root
from nelbo.divergences.integration import integrate
from nelbo.divergences.internals import broadcast_shapes, double, parameters
from nelbo.divergences.monte_carlo import Method, Options, average
from nelbo.divergences.normals import location_and_tril, whitened
from nelbo.divergences.stable import EULER
from nelbo.divergences.supports import (
    batch_shape,
    device,
    result_dtype,
    scalar_support,
    shared_dimensions,
    sum_rightmost,
)
from nelbo.estimate import Estimate

# families whose quantile function is loc + scale * (that of one fixed shape): (loc, scale), and the shape's mean and
# variance
_SHAPES: dict[type, tuple[Callable[[Any], tuple[Tensor, Tensor]], float, float]] = {
    D.Normal: (lambda p: (p.loc, p.scale), 0.0, 1.0),
    D.Laplace: (lambda p: (p.loc, p.scale), 0.0, 2.0),
    D.Gumbel: (lambda p: (p.loc, p.scale), EULER, math.pi**2 / 6),
    D.Uniform: (lambda p: (p.low, p.high - p.low), 0.5, 1 / 12),
    D.Exponential: (lambda p: (torch.zeros_like(p.rate), 1 / p.rate), 1.0, 1.0),
}


def wasserstein(
    p: D.Distribution,
    q: D.Distribution,
    *,
    order: int = 2,
    method: Method = "auto",
) -> Estimate:
    """Compute W_k(p, q) = inf over couplings of E[|x - y|^k]^(1/k), for k = 1 or 2, in the units of x; a metric.

    Closed forms: normals over vectors (order 2; Dowson & Landau 1982), families of one location and scale. On the line
    the best coupling is that of equal quantiles (Villani 2003, thm 2.18).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        order: k, 1 or 2.
        method: "auto" takes the first that applies of "closed_form", "exact_sum" (counts) and "quadrature"
            (univariate densities); Monte Carlo would be biased.

    Raises:
        ValueError: for another order, and for vectors without a closed form.
    """
    if order not in (1, 2):
        raise ValueError(f"wasserstein: order must be 1 or 2, got {order!r}; write wasserstein(p, q, order=1).")
    return _WASSERSTEIN[order].evaluate(p, q, Options(method))


def _closed(p: Any, q: Any, order: int) -> Tensor | None:
    for shape, (parts, mean, variance) in _SHAPES.items():
        if isinstance(p, shape) and isinstance(q, shape):
            (m_p, s_p), (m_q, s_q) = parts(p), parts(q)
            shift, stretch = m_p - m_q, s_p - s_q
            if order == 2:
                return torch.hypot(shift + stretch * mean, stretch * math.sqrt(variance))
            if shape is D.Normal:  # E|shift + stretch z|
                return _folded(shift, stretch.abs())
            if shape is D.Exponential:
                return stretch.abs()
            return None
    if order == 1:
        return None
    events = shared_dimensions(p, q)
    if events is not None and isinstance(p.base_dist, D.Normal) and isinstance(q.base_dist, D.Normal):
        squares = (p.base_dist.loc - q.base_dist.loc) ** 2 + (p.base_dist.scale - q.base_dist.scale) ** 2
        return sum_rightmost(squares, events).sqrt()
    by_p, by_q = location_and_tril(p), location_and_tril(q)
    if by_p is None or by_q is None:
        return None
    (m_p, L_p), (m_q, L_q) = by_p, by_q
    # tr (S_p^1/2 S_q S_p^1/2)^1/2 is the sum of the singular values of L_p^T L_q
    cross = torch.linalg.svdvals(L_p.mT @ L_q).sum(-1)
    spread = (L_p**2).sum((-2, -1)) + (L_q**2).sum((-2, -1)) - 2 * cross
    return (((m_p - m_q) ** 2).sum(-1) + spread.clamp(min=0)).sqrt()


def _folded(shift: Tensor, scale: Tensor) -> Tensor:
    """E|shift + scale z| for a standard normal z, also at scale 0."""
    positive = scale > 0
    safe = torch.where(positive, scale, torch.ones_like(scale))
    u = shift / safe
    value = safe * math.sqrt(2 / math.pi) * torch.exp(-0.5 * u * u) + shift * torch.erf(u * math.sqrt(0.5))
    return torch.where(positive, value, shift.abs())


def _cdf(p: Any, x: Tensor) -> Tensor:
    """The cdf; torch has none for some families, and scipy's carry no gradient."""
    if isinstance(p, D.MixtureSameFamily):
        parts = _cdf(p.component_distribution, x.unsqueeze(-1))
        return (parts * p.mixture_distribution.probs).sum(-1)
    try:
        return p.cdf(x)
    except NotImplementedError:
        pass
    if isinstance(p, D.Beta):
        return _scipy("betainc", p, p.concentration1, p.concentration0, x)
    if isinstance(p, D.StudentT):
        return _scipy("stdtr", p, p.df, (x - p.loc) / p.scale)
    raise ValueError(
        f"{type_name(p)} has no cdf, which distances on the line need. Write energy_distance(p, q, "
        "method='monte_carlo'), or give the distribution a cdf."
    )


def _needs_gradient(p: Any) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in parameters(p))


def _scipy(function: str, p: Any, *args: Tensor) -> Tensor:
    """A function of scipy.special on tensors; imported here, because few need it and it costs every start."""
    if _needs_gradient(p):
        raise ValueError(
            f"the cdf and quantiles of {type_name(p)} come from scipy and carry no gradient. Write `with "
            "torch.no_grad():` around the call, or use mmd(p, q), whose draws are differentiable."
        )
    shape = broadcast_shapes(*(x.shape for x in args))
    arrays = [x.detach().cpu().double().expand(shape).numpy() for x in args]
    from scipy import special

    return torch.as_tensor(getattr(special, function)(*arrays), dtype=torch.float64, device=args[-1].device)


def _by_cdf(p: Any, q: Any, *, factor: float, power: int) -> Estimate:
    """Integrate factor * |F_p - F_q|^power over x."""

    def integrand(F_p: Tensor, F_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        gap = (F_p - F_q).abs() ** power * log_dx.exp()
        return torch.nan_to_num(gap), torch.nan_to_num((F_p + F_q).minimum(2 - F_p - F_q) * gap)

    result = integrate(integrand, p, q, of=_cdf, relative=1e-10)
    # a heavy tail whose mean is infinite shows as an integrand that does not fall off
    value = torch.where(result.diverges, torch.inf, factor * result.value)
    error = torch.where(torch.isinf(value), 0.0, factor * result.error)
    return Estimate(value, error, "quadrature")


def _quantile(p: Any, u: Tensor) -> Tensor:
    if isinstance(p, D.Gamma):
        return _scipy("gammaincinv", p, p.concentration, u) / p.rate
    if isinstance(p, D.Beta):
        return _scipy("betaincinv", p, p.concentration1, p.concentration0, u)
    if isinstance(p, D.StudentT):
        return p.loc + p.scale * _scipy("stdtrit", p, p.df, u)
    if isinstance(p, D.MixtureSameFamily):
        return _bisected(p, u)
    try:
        return p.icdf(u)
    except NotImplementedError:
        return _bisected(p, u)


def _bisected(p: Any, u: Tensor) -> Tensor:
    support = scalar_support(p)
    assert support is not None
    low = (torch.ones_like(u) * support.lower).clamp(min=-1e9)
    high = (torch.ones_like(u) * support.upper).clamp(max=1e9)
    if _needs_gradient(p):
        raise ValueError(
            f"the quantiles of {type_name(p)} come from bisection and carry no gradient. Write `with torch.no_grad():` "
            "around the call, or use wasserstein(p, q, order=1)."
        )
    for _ in range(110):
        middle = 0.5 * (low + high)
        below = _cdf(p, middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def _by_quantile(p: Any, q: Any) -> Estimate:
    """W_2 as the root of the integral over u of (Q_p(u) - Q_q(u))^2, by Gauss-Legendre on panels of t = logit u."""
    a, b = double(p), double(q)
    shape = batch_shape(p, q)
    on = device(p, q)
    nodes, weights = (torch.as_tensor(x, device=on) for x in np.polynomial.legendre.leggauss(12))
    totals: list[Tensor] = []
    for panels in (96, 192):
        edges = torch.linspace(-36.0, 36.0, panels + 1, dtype=torch.float64, device=on)
        half = 0.5 * (edges[1:] - edges[:-1])
        t = (0.5 * (edges[1:] + edges[:-1]))[:, None] + half[:, None] * nodes
        w = (half[:, None] * weights).flatten()
        t = t.flatten()
        u, du = torch.sigmoid(t), torch.sigmoid(t) * torch.sigmoid(-t)
        column = (-1, *(1 for _ in shape))
        grid = u.reshape(column).expand(-1, *shape)
        gap = (_quantile(a, grid) - _quantile(b, grid)) ** 2
        totals.append((torch.nan_to_num(gap) * (w * du).reshape(column)).sum(0))
    # beyond u = exp(-36) the quantiles are about those of the last node
    tail = torch.maximum(gap[0].detach(), gap[-1].detach()) * 2.3e-16 * 10
    squared = Estimate(totals[1], (totals[1] - totals[0]).detach().abs() + tail, "quadrature")
    return square_root(squared)


def _between_counts(p: Any, q: Any, order: int) -> Estimate | None:
    if p.event_shape:
        return None
    x, mass_p, mass_q = counts_of(p, q)
    F_p, F_q = mass_p.cumsum(0), mass_q.cumsum(0)
    if order == 1:
        return _summed((F_p - F_q).abs().sum(0))
    levels = torch.cat([F_p, F_q]).clamp(max=1).sort(0).values
    before = torch.cat([torch.zeros_like(levels[:1]), levels[:-1]])
    middle = (0.5 * (before + levels)).movedim(0, -1).contiguous()
    at = [torch.searchsorted(F.detach().movedim(0, -1).contiguous(), middle.detach()) for F in (F_p, F_q)]
    gap = (at[0].clamp(max=x.shape[0] - 1) - at[1].clamp(max=x.shape[0] - 1)).double() ** 2
    return square_root(_summed((gap * (levels - before).movedim(0, -1)).sum(-1)))


def _summed(value: Tensor) -> Estimate:
    return Estimate.exactly(value, "exact_sum")


_WASSERSTEIN = {
    order: Divergence(
        name="wasserstein",
        closed_form=partial(_closed, order=order),
        exact_sum=partial(_between_counts, order=order),
        quadrature=partial(_by_cdf, factor=1.0, power=1) if order == 1 else _by_quantile,
        hint="Expected distributions on the line, or normals over vectors with order=2; energy_distance(p, q) and "
        "mmd(p, q) compare any vectors that can be drawn.",
    )
    for order in (1, 2)
}


def energy_distance(
    p: D.Distribution,
    q: D.Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute sqrt(2 E|x - y| - E|x - x'| - E|y - y'|), a metric; on the line, sqrt(2 * integral of (F_p - F_q)^2).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        method: "auto" takes the first that applies, as in `nelbo.kl`.
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error, of the square.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.

    Source: Szekely & Rizzo 2013, eq. 2.5; the same convention as scipy.stats.energy_distance.
    """
    return _ENERGY.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


def _energy_closed(p: Any, q: Any) -> Tensor | None:
    if not (isinstance(p, D.Normal) and isinstance(q, D.Normal)):
        return None
    within = (p.scale + q.scale) * (2 / math.sqrt(math.pi))
    squared = 2 * _folded(p.loc - q.loc, torch.hypot(p.scale, q.scale)) - within
    same = (p.loc == q.loc) & (p.scale == q.scale)
    return root(torch.where(same, torch.zeros_like(squared), squared))


def _energy_of_counts(p: Any, q: Any) -> Estimate | None:
    if p.event_shape:
        return None
    _, mass_p, mass_q = counts_of(p, q)
    return square_root(_summed(2 * ((mass_p.cumsum(0) - mass_q.cumsum(0)) ** 2).sum(0)))


def _from_pairs(kernel: Callable[[Tensor], Tensor], p: Any, q: Any, options: Options) -> Estimate:
    """The root of E k(x - x') + E k(y - y') - 2 E k(x - y), its square an average over independent quadruples.

    Args:
        kernel: from (..., features) to (...).
        p: of x and x'.
        q: of y and y'.
        options: how many quadruples.
    """
    for d in (p, q):
        if not d.has_rsample and _needs_gradient(d):
            raise ValueError(
                f"{type_name(d)} has no rsample, so that this distance has no gradient from draws. Write `with "
                "torch.no_grad():` around the call."
            )
    shape = batch_shape(p, q)
    p, q = (d if torch.Size(d.batch_shape) == shape else d.expand(shape) for d in (p, q))

    def drawn(d: Any, count: int) -> Tensor:
        x = (d.rsample if d.has_rsample else d.sample)(torch.Size([count])).reshape(count, *shape, -1)
        return x if x.is_floating_point() else x.to(result_dtype(p, q))  # categories are integers

    def values(count: int) -> Tensor:
        x, x2, y, y2 = (drawn(d, count) for d in (p, p, q, q))
        return kernel(x - x2) + kernel(y - y2) - kernel(x - y) - kernel(x2 - y2)

    return square_root(average(values, shape.numel() * max(1, p.event_shape.numel()), options, device(p, q)))


def _minus_norm(d: Tensor) -> Tensor:
    return -torch.linalg.vector_norm(d, dim=-1)


_ENERGY = Divergence(
    name="energy_distance",
    closed_form=_energy_closed,
    exact_sum=_energy_of_counts,
    quadrature=lambda p, q: square_root(_by_cdf(p, q, factor=2.0, power=2)),
    monte_carlo=partial(_from_pairs, _minus_norm),
)


def mmd(
    p: D.Distribution,
    q: D.Distribution,
    *,
    bandwidth: float = 1.0,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """Compute sqrt(E k(x, x') + E k(y, y') - 2 E k(x, y)) with k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)); a metric.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        bandwidth: of the Gaussian kernel, in the units of x.
        method: "auto" takes the first that applies of "closed_form" (normals of any covariance), "exact_sum" (counts)
            and "monte_carlo".
        samples: draws of Monte Carlo; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted Monte Carlo error, of the square.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.

    Raises:
        ValueError: where the bandwidth is not a positive number.

    Source: Gretton et al. 2012, lemma 6.
    """
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise ValueError(
            f"mmd: bandwidth must be a positive number, got {bandwidth!r}; write mmd(p, q, bandwidth=1.0)."
        )
    distance = Divergence(
        name="mmd",
        closed_form=partial(_mmd_closed, bandwidth=bandwidth),
        exact_sum=partial(_mmd_of_counts, bandwidth=bandwidth),
        monte_carlo=partial(_from_pairs, lambda d: torch.exp(-0.5 * ((d / bandwidth) ** 2).sum(-1))),
        hint="Write method='auto', 'closed_form' (normals), 'exact_sum' (counts) or 'monte_carlo'.",
    )
    return distance.evaluate(p, q, Options(method, samples, standard_error, max_samples, seed))


def _mmd_closed(p: Any, q: Any, bandwidth: float) -> Tensor | None:
    a, b = location_and_tril(p), location_and_tril(q)
    if a is None or b is None:
        return None
    within = _kernel_mean(a, a, bandwidth) + _kernel_mean(b, b, bandwidth)
    return root(within - 2 * _kernel_mean(a, b, bandwidth))


def _mmd_of_counts(p: Any, q: Any, bandwidth: float) -> Estimate | None:
    if p.event_shape:
        return None
    x, mass_p, mass_q = counts_of(p, q)
    if len(x) > 4096:
        return None
    gram = torch.exp(-0.5 * ((x[:, None] - x[None, :]) / bandwidth) ** 2)
    gap = mass_p - mass_q
    return square_root(_summed((gap * torch.tensordot(gram, gap, 1)).sum(0)))


def _kernel_mean(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], h: float) -> Tensor:
    (m_a, L_a), (m_b, L_b) = a, b
    eye = torch.eye(L_a.shape[-1], dtype=L_a.dtype, device=L_a.device)
    spread = eye + (L_a @ L_a.mT + L_b @ L_b.mT) / h**2
    L = torch.linalg.cholesky(spread)
    y = whitened(L, (m_a - m_b) / h)
    return torch.exp(-0.5 * (y * y).sum(-1) - L.diagonal(dim1=-2, dim2=-1).log().sum(-1))
