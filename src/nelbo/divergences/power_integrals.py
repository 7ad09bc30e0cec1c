"""log of the integral of p^a q^(1-a): Renyi's, the chi-squared and Hellinger's divergence are functions of it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as D
from torch import Tensor

from nelbo.divergences.normals import location_and_tril, whitened
from nelbo.divergences.stable import log_gap
from nelbo.divergences.supports import shared_dimensions, sum_rightmost


def log_power_integral(p: Any, q: Any, a: float) -> Tensor | None:
    """The log of the integral of p(x)^a q(x)^(1-a), batch_shape; inf where it diverges, None without a closed form.

    The natural parameters blend, a t_p + (1 - a) t_q, while they stay in their domain (Gil, Alajaji & Linder 2013).
    """
    events = shared_dimensions(p, q)
    inner = None if events is None else log_power_integral(p.base_dist, q.base_dist, a)
    if events is not None and inner is not None:
        return sum_rightmost(inner, events)
    for t, formula in _FORMULAS.items():
        if isinstance(p, t) and isinstance(q, t):
            return formula(p, q, a)
    if location_and_tril(p) is not None and location_and_tril(q) is not None:
        return _multivariate(p, q, a)
    return None


def _where(inside: Tensor, value: Callable[..., Tensor], *args: Tensor) -> Tensor:
    """The value where the blend is in its domain, inf elsewhere, with finite gradients on both sides."""
    safe = [torch.where(inside, x, torch.ones_like(x)) for x in args]
    return torch.where(inside, value(*safe), torch.inf)


def _log_convexity(w: Tensor, log_ratio: Tensor, a: float) -> Tensor:
    """The gap a log(1 + w) - log(1 + a w), from w and log_ratio = log(1 + w), as exact; inf where 1 + a w <= 0."""

    def value(v: Tensor, log_ratio: Tensor) -> Tensor:
        # the gaps keep what is left near 0, where both logarithms cancel; farther out it is the gaps that cancel
        near = v.abs() < 0.5
        gaps = torch.where(near, v, torch.zeros_like(v))
        logs = torch.where(near, torch.zeros_like(v), v)
        return torch.where(near, log_gap(a * gaps) - a * log_gap(gaps), a * log_ratio - torch.log1p(a * logs))

    return _where(1 + a * w > 0, value, w, log_ratio)


def _normal(p: D.Normal, q: D.Normal, a: float) -> Tensor:
    # with v = s_p^2/s_q^2 - 1 the blended variance is s_q^2 (1 + (1 - a) v)
    v = (p.scale - q.scale) / q.scale * (p.scale / q.scale + 1)
    blend = 1 + (1 - a) * v
    shift = ((p.loc - q.loc) / q.scale) ** 2
    safe = torch.where(blend > 0, blend, torch.ones_like(blend))
    mean = torch.where(blend > 0, a * (1 - a) * shift / (2 * safe), 0.0)
    return 0.5 * _log_convexity(v, 2 * (p.scale.log() - q.scale.log()), 1 - a) - mean


def _exponential(p: D.Exponential, q: D.Exponential, a: float) -> Tensor:
    return _log_convexity((p.rate - q.rate) / q.rate, p.rate.log() - q.rate.log(), a)


def _gamma(p: D.Gamma, q: D.Gamma, a: float) -> Tensor:
    k, r = a * p.concentration + (1 - a) * q.concentration, a * p.rate + (1 - a) * q.rate

    def value(k: Tensor, r: Tensor) -> Tensor:
        by_shape = torch.lgamma(k) - a * torch.lgamma(p.concentration) - (1 - a) * torch.lgamma(q.concentration)
        logs = a * p.concentration * (p.rate / r).log() + (1 - a) * q.concentration * (q.rate / r).log()
        return by_shape + logs

    k, r = torch.broadcast_tensors(k, r)
    return _where((k > 0) & (r > 0), value, k, r)


def _log_beta(c: Tensor) -> Tensor:
    return torch.lgamma(c).sum(-1) - torch.lgamma(c.sum(-1))


def _simplex(c_p: Tensor, c_q: Tensor, a: float) -> Tensor:
    c = a * c_p + (1 - a) * c_q
    inside = (c > 0).all(-1)
    safe = torch.where(inside.unsqueeze(-1), c, torch.ones_like(c))
    value = _log_beta(safe) - a * _log_beta(c_p) - (1 - a) * _log_beta(c_q)
    return torch.where(inside, value, torch.inf)


def _beta(p: D.Beta, q: D.Beta, a: float) -> Tensor:
    c_p = torch.stack([p.concentration1, p.concentration0], -1)
    return _simplex(c_p, torch.stack([q.concentration1, q.concentration0], -1), a)


def _dirichlet(p: D.Dirichlet, q: D.Dirichlet, a: float) -> Tensor:
    return _simplex(p.concentration, q.concentration, a)


def _poisson(p: D.Poisson, q: D.Poisson, a: float) -> Tensor:
    return q.rate * (p.rate / q.rate) ** a - a * p.rate - (1 - a) * q.rate


def _transformed(p: D.TransformedDistribution, q: D.TransformedDistribution, a: float) -> Tensor | None:
    if p.transforms != q.transforms or not all(t.bijective for t in p.transforms):
        return None
    return log_power_integral(p.base_dist, q.base_dist, a)


def _multivariate(p: Any, q: Any, a: float) -> Tensor | None:
    by_p, by_q = location_and_tril(p), location_and_tril(q)
    if by_p is None or by_q is None:
        return None
    (m_p, L_p), (m_q, L_q) = by_p, by_q
    blend = (1 - a) * L_p @ L_p.mT + a * L_q @ L_q.mT
    tril, failed = torch.linalg.cholesky_ex(blend)
    inside = failed == 0
    tril = torch.where(inside[..., None, None], tril, torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device))
    y = whitened(tril, m_p - m_q)

    def half_log_det(factor: Tensor) -> Tensor:
        return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    value = (1 - a) * half_log_det(L_p) + a * half_log_det(L_q) - half_log_det(tril)
    value = value - 0.5 * a * (1 - a) * (y * y).sum(-1)
    return torch.where(inside, value, torch.inf)


_FORMULAS: dict[type, Callable[[Any, Any, float], Tensor | None]] = {
    D.Normal: _normal,
    D.Exponential: _exponential,
    D.Gamma: _gamma,
    D.Beta: _beta,
    D.Dirichlet: _dirichlet,
    D.Poisson: _poisson,
    D.TransformedDistribution: _transformed,
}
