"""Distances that look at where the mass is: Wasserstein-1 and -2, energy distance, maximum mean discrepancy.

Unlike the divergences of densities they stay finite, and keep a gradient, where supports do not meet.
"""

import math
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    StudentT,
    Uniform,
)

from nelbo.divergences.checks import check_pair, name
from nelbo.divergences.exact_sum import can_sum, counts_of
from nelbo.divergences.f_divergences import Options, square_root
from nelbo.divergences.monte_carlo import average
from nelbo.divergences.normals import location_and_tril
from nelbo.divergences.quadrature import integrate
from nelbo.divergences.supports import batch_shape, double, parameters, result_dtype, scalar_support
from nelbo.estimate import Estimate

# families whose quantile function is loc + scale * (that of one fixed shape): (loc, scale), and mean and
# variance of the shape
_SHAPES: dict[type, tuple[Callable[[Any], tuple[Tensor, Tensor]], float, float]] = {
    Normal: (lambda p: (p.loc, p.scale), 0.0, 1.0),
    Laplace: (lambda p: (p.loc, p.scale), 0.0, 2.0),
    Gumbel: (lambda p: (p.loc, p.scale), 0.57721566490153286061, math.pi**2 / 6),
    Uniform: (lambda p: (p.low, p.high - p.low), 0.5, 1 / 12),
    Exponential: (lambda p: (torch.zeros_like(p.rate), 1 / p.rate), 1.0, 1.0),
}


def wasserstein(p: Distribution, q: Distribution, *, order: int = 2, **options: Unpack[Options]) -> Estimate:
    """W_k(p, q) = inf over couplings of E[|x - y|^k]^(1/k), for k = 1 or 2, in the units of x; a metric.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        order: k, 1 or 2.
        options: as in `nelbo.kl`; Monte Carlo is not offered, since it is biased.

    Closed forms: normals over vectors (order 2; Dowson & Landau 1982), families of one location and scale; on
    the line the coupling is that of
    equal quantiles (Villani 2003, thm 2.18).

    Raises:
        ValueError: for another order, and for vectors without a closed form.
    """
    if order not in (1, 2):
        raise ValueError(f"wasserstein: got order={order!r}; expected 1 or 2, as in wasserstein(p, q, order=1).")
    check_pair(p, q, what="wasserstein")
    method = options.get("method", "auto")
    if method in ("auto", "closed_form"):
        value = _closed(p, q, order)
        if value is not None:
            return Estimate.exactly(value)
    if can_sum(p, q) and not p.event_shape and method in ("auto", "exact_sum"):
        return _between_counts(p, q, order)
    if not p.event_shape and method in ("auto", "quadrature") and all(scalar_support(d) for d in (p, q)):
        return _by_cdf(p, q, 1.0, 1, "wasserstein") if order == 1 else _by_quantile(p, q)
    raise ValueError(
        f"wasserstein: method={method!r} does not apply to p = {name(p)} and q = {name(q)} with "
        f"event_shape {tuple(p.event_shape)}; "
        "expected distributions on the line, or normals over vectors with order=2. energy_distance(p, q) "
        "and mmd(p, q) "
        "compare any vectors that can be drawn."
    )


def _closed(p: Any, q: Any, order: int) -> Tensor | None:
    for shape, (parts, mean, variance) in _SHAPES.items():
        if isinstance(p, shape) and isinstance(q, shape):
            (m_p, s_p), (m_q, s_q) = parts(p), parts(q)
            shift, stretch = m_p - m_q, s_p - s_q
            if order == 2:
                return torch.hypot(shift + stretch * mean, stretch * math.sqrt(variance))
            if shape is Normal:  # E|shift + stretch z|
                return _folded(shift, stretch.abs())
            if shape is Exponential:
                return stretch.abs()
            return None
    if (
        order == 2
        and isinstance(p, Independent)
        and isinstance(q, Independent)
        and isinstance(p.base_dist, Normal)
        and isinstance(q.base_dist, Normal)
    ):
        if p.reinterpreted_batch_ndims == q.reinterpreted_batch_ndims:
            over = tuple(range(-p.reinterpreted_batch_ndims, 0))
            squares = (p.base_dist.loc - q.base_dist.loc) ** 2 + (p.base_dist.scale - q.base_dist.scale) ** 2
            return squares.sum(over).sqrt()
        return None
    by_p, by_q = location_and_tril(p), location_and_tril(q)
    if order == 1 or by_p is None or by_q is None:
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
    if isinstance(p, MixtureSameFamily):
        parts = _cdf(p.component_distribution, x.unsqueeze(-1))
        return (parts * p.mixture_distribution.probs).sum(-1)
    try:
        return p.cdf(x)
    except NotImplementedError:
        pass
    if isinstance(p, Beta):
        return _scipy("betainc", p, p.concentration1, p.concentration0, x)
    if isinstance(p, StudentT):
        return _scipy("stdtr", p, p.df, (x - p.loc) / p.scale)
    raise ValueError(
        f"{name(p)} has neither a cdf nor a known one, so that its distance on the line is not computable "
        f"here; "
        "write energy_distance(p, q, method='monte_carlo'), or give the distribution a cdf."
    )


def _scipy(function: str, p: Any, *args: Tensor) -> Tensor:
    """A function of scipy.special on tensors; imported here, because few need it and it costs every start."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in parameters(p)):
        raise ValueError(
            f"the cdf and quantiles of {name(p)} come from scipy and carry no gradient; write `with "
            f"torch.no_grad():` around the call, or "
            "use mmd(p, q), whose draws are differentiable."
        )
    shape = torch.broadcast_shapes(*(x.shape for x in args))
    arrays = [x.detach().cpu().double().expand(shape).numpy() for x in args]
    from scipy import special

    return torch.as_tensor(getattr(special, function)(*arrays), dtype=torch.float64, device=args[-1].device)


def _by_cdf(p: Any, q: Any, factor: float, power: int, what: str) -> Estimate:
    """Factor times the integral over x of |F_p - F_q|^power."""

    def integrand(F_p: Tensor, F_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
        gap = (F_p - F_q).abs() ** power * log_dx.exp()
        return torch.nan_to_num(gap), torch.nan_to_num((F_p + F_q).minimum(2 - F_p - F_q) * gap)

    result = integrate(integrand, p, q, of=_cdf, relative=1e-10)
    dtype = result_dtype(p, q)
    # a heavy tail whose mean is infinite shows as an integrand that does not fall off
    value = torch.where(result.diverges, torch.inf, factor * result.value)
    return Estimate(
        value.to(dtype), torch.where(torch.isinf(value), 0.0, factor * result.error).to(dtype), "quadrature"
    )


def _quantile(p: Any, u: Tensor) -> Tensor:
    if isinstance(p, Gamma):
        return _scipy("gammaincinv", p, p.concentration, u) / p.rate
    if isinstance(p, Beta):
        return _scipy("betaincinv", p, p.concentration1, p.concentration0, u)
    if isinstance(p, StudentT):
        return p.loc + p.scale * _scipy("stdtrit", p, p.df, u)
    if isinstance(p, MixtureSameFamily):
        return _bisected(p, u)
    try:
        return p.icdf(u)
    except NotImplementedError:
        return _bisected(p, u)


def _bisected(p: Any, u: Tensor) -> Tensor:
    support = scalar_support(p)
    assert support is not None
    one = torch.ones_like(u)
    low = torch.maximum(torch.as_tensor(support.lower, dtype=u.dtype) * one, -1e9 * one)
    high = torch.minimum(torch.as_tensor(support.upper, dtype=u.dtype) * one, 1e9 * one)
    if any(x.requires_grad for x in parameters(p)) and torch.is_grad_enabled():
        raise ValueError(
            f"the quantiles of {name(p)} are found by bisection and carry no gradient; write `with "
            f"torch.no_grad():` around the call, or use "
            "wasserstein(p, q, order=1)."
        )
    for _ in range(110):
        middle = 0.5 * (low + high)
        below = _cdf(p, middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def _by_quantile(p: Any, q: Any) -> Estimate:
    """Sqrt of the integral over u of (Q_p(u) - Q_q(u))^2, u = 1 / (1 + exp(-t)), by Gauss-Legendre on panels
    of t.
    """
    a, b = double(p), double(q)
    shape = batch_shape(p, q)
    totals: list[Tensor] = []
    for panels in (96, 192):
        nodes, weights = np.polynomial.legendre.leggauss(12)
        edges = torch.linspace(-36.0, 36.0, panels + 1, dtype=torch.float64)
        half = 0.5 * (edges[1:] - edges[:-1])
        t = (0.5 * (edges[1:] + edges[:-1]))[:, None] + half[:, None] * torch.as_tensor(nodes)
        w = (half[:, None] * torch.as_tensor(weights)).flatten()
        t = t.flatten()
        u, du = torch.sigmoid(t), torch.sigmoid(t) * torch.sigmoid(-t)
        column = (-1, *(1 for _ in shape))
        grid = u.reshape(column).expand(-1, *shape)
        gap = (_quantile(a, grid) - _quantile(b, grid)) ** 2
        totals.append((torch.nan_to_num(gap) * (w * du).reshape(column)).sum(0))
    # beyond u = exp(-36) the quantiles are those of the last node, give or take
    tail = torch.maximum(gap[0].detach(), gap[-1].detach()) * 2.3e-16 * 10
    squared = Estimate(totals[1], (totals[1] - totals[0]).detach().abs() + tail, "quadrature")
    root = square_root(squared)
    dtype = result_dtype(p, q)
    return Estimate(root.value.to(dtype), root.standard_error.to(dtype), "quadrature")


def _between_counts(p: Any, q: Any, order: int) -> Estimate:
    x, mass_p, mass_q = counts_of(p, q)
    F_p, F_q = mass_p.cumsum(0), mass_q.cumsum(0)
    if order == 1:
        return Estimate.exactly((F_p - F_q).abs().sum(0).to(result_dtype(p, q)), "exact_sum")
    levels = torch.cat([F_p, F_q]).clamp(max=1).sort(0).values
    before = torch.cat([torch.zeros_like(levels[:1]), levels[:-1]])
    middle = (0.5 * (before + levels)).movedim(0, -1).contiguous()
    at = [torch.searchsorted(F.detach().movedim(0, -1).contiguous(), middle.detach()) for F in (F_p, F_q)]
    gap = (at[0].clamp(max=x.shape[0] - 1) - at[1].clamp(max=x.shape[0] - 1)).double() ** 2
    squared = (gap * (levels - before).movedim(0, -1)).sum(-1)
    return square_root(Estimate.exactly(squared.to(result_dtype(p, q)), "exact_sum"))


def energy_distance(p: Distribution, q: Distribution, **options: Unpack[Options]) -> Estimate:
    """D(p, q) = sqrt(2 E|x - y| - E|x - x'| - E|y - y'|), a metric; on the line, sqrt(2 * integral of (F_p -
    F_q)^2).

    Args:
        p: a distribution.
        q: another of the same event_shape.
        options: as in `nelbo.kl`.

    Szekely & Rizzo 2013, eq. 2.5; the same convention as scipy.stats.energy_distance.
    """
    check_pair(p, q, what="energy_distance")
    method = options.get("method", "auto")
    if method in ("auto", "closed_form") and isinstance(p, Normal) and isinstance(q, Normal):
        both = torch.hypot(p.scale, q.scale)
        within = (p.scale + q.scale) * (2 / math.sqrt(math.pi))
        squared = 2 * _folded(p.loc - q.loc, both) - within
        same = (p.loc == q.loc) & (p.scale == q.scale)
        return square_root(Estimate.exactly(torch.where(same, torch.zeros_like(squared), squared)))
    if method in ("auto", "exact_sum") and can_sum(p, q) and not p.event_shape:
        _, mass_p, mass_q = counts_of(p, q)
        squared = 2 * ((mass_p.cumsum(0) - mass_q.cumsum(0)) ** 2).sum(0)
        return square_root(Estimate.exactly(squared.to(result_dtype(p, q)), "exact_sum"))
    if method in ("auto", "quadrature") and not p.event_shape and all(scalar_support(d) for d in (p, q)):
        return square_root(_by_cdf(p, q, 2.0, 2, "energy_distance"))

    def minus_norm(x: Tensor) -> Tensor:
        events = len(p.event_shape)
        if events == 0:
            return -x.abs()
        flat = x.flatten(-events)
        return -torch.linalg.vector_norm(flat, dim=-1)

    return square_root(_from_pairs(p, q, minus_norm, options))


def mmd(p: Distribution, q: Distribution, *, bandwidth: float = 1.0, **options: Unpack[Options]) -> Estimate:
    """MMD(p, q) = sqrt(E k(x, x') + E k(y, y') - 2 E k(x, y)), k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)); a
    metric.

    Args:
        p: a distribution.
        q: another of the same event_shape.
        bandwidth: of the Gaussian kernel, in the units of x.
        options: as in `nelbo.kl`.

    Gretton et al. 2012, lemma 6; closed for normals of any covariance.

    Raises:
        ValueError: where the bandwidth is not a positive number.
    """
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise ValueError(
            f"mmd: got bandwidth={bandwidth!r}; expected a positive number, as in mmd(p, q, bandwidth=1.0)."
        )
    check_pair(p, q, what="mmd")
    method = options.get("method", "auto")
    if method in ("auto", "closed_form"):
        parts = _as_normals(p), _as_normals(q)
        if parts[0] is not None and parts[1] is not None:
            a, b = parts[0], parts[1]
            squared = _kernel_mean(a, a, bandwidth) + _kernel_mean(b, b, bandwidth) - 2 * _kernel_mean(a, b, bandwidth)
            return square_root(Estimate.exactly(squared))
    if method in ("auto", "exact_sum") and can_sum(p, q) and not p.event_shape:
        x, mass_p, mass_q = counts_of(p, q)
        if x.shape[0] <= 4096:
            gram = torch.exp(-0.5 * ((x[:, None] - x[None, :]) / bandwidth) ** 2)
            gap = mass_p - mass_q
            squared = (gap * (gram @ gap.flatten(1)).reshape(gap.shape) if gap.dim() > 1 else gap * (gram @ gap)).sum(0)
            return square_root(Estimate.exactly(squared.to(result_dtype(p, q)), "exact_sum"))
    events = len(p.event_shape)

    def kernel(d: Tensor) -> Tensor:
        squared = (d / bandwidth) ** 2
        return torch.exp(-0.5 * (squared.flatten(-events).sum(-1) if events else squared))

    return square_root(_from_pairs(p, q, kernel, options))


def _as_normals(p: Any) -> tuple[Tensor, Tensor] | None:
    if isinstance(p, Normal):
        return p.loc.unsqueeze(-1), p.scale[..., None, None]
    return location_and_tril(p)


def _kernel_mean(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], h: float) -> Tensor:
    (m_a, L_a), (m_b, L_b) = a, b
    eye = torch.eye(L_a.shape[-1], dtype=L_a.dtype, device=L_a.device)
    spread = eye + (L_a @ L_a.mT + L_b @ L_b.mT) / h**2
    L = torch.linalg.cholesky(spread)
    shift = ((m_a - m_b) / h).unsqueeze(-1)
    shape = torch.broadcast_shapes(shift.shape[:-2], L.shape[:-2])
    y = torch.linalg.solve_triangular(
        L.expand(*shape, *L.shape[-2:]), shift.expand(*shape, *shift.shape[-2:]), upper=False
    )
    return torch.exp(-0.5 * (y * y).sum((-2, -1)) - L.diagonal(dim1=-2, dim2=-1).log().sum(-1))


def _from_pairs(p: Any, q: Any, kernel: Any, options: Options) -> Estimate:
    """E k(x - x') + E k(y - y') - 2 E k(x - y) from independent quadruples, whose average is unbiased and has
    a plain error.
    """
    for d in (p, q):
        if not d.has_rsample and torch.is_grad_enabled() and any(x.requires_grad for x in parameters(d)):
            raise ValueError(
                f"{name(d)} has no rsample, so that this distance has no gradient from draws; write `with "
                f"torch.no_grad():` "
                "around the call."
            )
    shape = batch_shape(p, q)
    p, q = (d if torch.Size(d.batch_shape) == shape else d.expand(shape) for d in (p, q))

    def values(count: int) -> Tensor:
        draws = [(d.rsample if d.has_rsample else d.sample)(torch.Size([count])) for d in (p, p, q, q)]
        x, x2, y, y2 = draws
        return kernel(x - x2) + kernel(y - y2) - kernel(x - y) - kernel(x2 - y2)

    return average(
        values,
        elements=shape.numel() * max(1, p.event_shape.numel()),
        samples=options.get("samples"),
        standard_error=options.get("standard_error", 0.01),
        max_samples=options.get("max_samples", 1_000_000),
        seed=options.get("seed"),
    )
