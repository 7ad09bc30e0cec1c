"""KL(p || q) where both are of one continuous family, each as a sum of non-negative gaps that vanish at p == q."""

import torch
import torch.distributions as D
from torch import Tensor

from nelbo.divergences.distributions import TruncatedNormal
from nelbo.divergences.internals import broadcast_shapes, scale_tril
from nelbo.divergences.kullback_leibler import find, register
from nelbo.divergences.stable import EULER, exp_gap, lgamma_gap, log_gap, log_ratio, log_sinhc_gap, ratio_gap


@register(D.Laplace, D.Laplace)
def kl_laplace_laplace(p: D.Laplace, q: D.Laplace) -> Tensor:
    """KL = r - 1 - log r + r (exp(-d) - 1 + d), r = b_p/b_q, d = |m_p - m_q|/b_p (Gil et al. 2013, table 2)."""
    d = (p.loc - q.loc).abs() / p.scale
    return ratio_gap(p.scale, q.scale) + p.scale / q.scale * exp_gap(-d)


def _gumbel(m_p: Tensor, b_p: Tensor, m_q: Tensor, b_q: Tensor) -> Tensor:
    e = (b_p - b_q) / b_q
    ratio = b_p / b_q
    lift = torch.lgamma(1 + ratio) - (m_p - m_q) / b_q
    return exp_gap(lift) + torch.lgamma(ratio) + EULER * e


@register(D.Gumbel, D.Gumbel)
def kl_gumbel_gumbel(p: D.Gumbel, q: D.Gumbel) -> Tensor:
    """KL = (e^a - 1 - a) + lgamma(r) + gamma (r - 1), r = b_p/b_q, a = lgamma(1 + r) - (m_p - m_q)/b_q.

    Source: Gil et al. 2013.
    """
    return _gumbel(p.loc, p.scale, q.loc, q.scale)


@register(D.Weibull, D.Weibull)
def kl_weibull_weibull(p: D.Weibull, q: D.Weibull) -> Tensor:
    """KL of the Gumbel distributions of -log x, (-log scale, 1/concentration) (Bauckhage 2013)."""
    return _gumbel(-p.scale.log(), 1 / p.concentration, -q.scale.log(), 1 / q.concentration)


@register(D.Exponential, D.Exponential)
def kl_exponential_exponential(p: D.Exponential, q: D.Exponential) -> Tensor:
    """KL = r - 1 - log r, r = rate_q/rate_p."""
    return ratio_gap(q.rate, p.rate)


@register(D.Gamma, D.Gamma)
def kl_gamma_gamma(p: D.Gamma, q: D.Gamma) -> Tensor:
    """KL = lgamma gap(k_q, k_p) + k_p (w - log(1 + w)) + (k_p - k_q) log(1 + w), 1 + w = rate_q/rate_p."""
    k_p, k_q = p.concentration, q.concentration
    w = (q.rate - p.rate) / p.rate
    rates = log_ratio(q.rate, p.rate)
    gap = log_gap(w, rates)
    return lgamma_gap(k_q, k_p) + k_p * gap + (k_p - k_q) * rates


@register(D.Beta, D.Beta)
def kl_beta_beta(p: D.Beta, q: D.Beta) -> Tensor:
    """KL = gap(a_q, a_p) + gap(b_q, b_p) - gap(a_q + b_q, a_p + b_p) with the Bregman gap of lgamma."""
    a_p, b_p, a_q, b_q = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    return lgamma_gap(a_q, a_p) + lgamma_gap(b_q, b_p) - lgamma_gap(a_q + b_q, a_p + b_p)


@register(D.Dirichlet, D.Dirichlet)
def kl_dirichlet_dirichlet(p: D.Dirichlet, q: D.Dirichlet) -> Tensor:
    """KL = sum_i gap(a_qi, a_pi) - gap(sum a_q, sum a_p) with the Bregman gap of lgamma."""
    a_p, a_q = p.concentration, q.concentration
    return lgamma_gap(a_q, a_p).sum(-1) - lgamma_gap(a_q.sum(-1), a_p.sum(-1))


@register(D.ContinuousBernoulli, D.ContinuousBernoulli)
def kl_continuous_bernoulli(p: D.ContinuousBernoulli, q: D.ContinuousBernoulli) -> Tensor:
    """KL = A(t_q) - A(t_p) - (t_q - t_p) A'(t_p), t the logits, A(t) = log((e^t - 1)/t).

    Source: Loaiza-Ganem & Cunningham 2019.
    """
    return log_sinhc_gap(q.logits, p.logits)


@register(D.Pareto, D.Pareto)
def kl_pareto_pareto(p: D.Pareto, q: D.Pareto) -> Tensor:
    """KL = a_q log(x_p/x_q) + r - 1 - log r, r = a_q/a_p; inf where x_p < x_q (Gil et al. 2013)."""
    value = q.alpha * log_ratio(p.scale, q.scale) + ratio_gap(q.alpha, p.alpha)
    return torch.where(p.scale < q.scale, torch.inf, value)


@register(D.Uniform, D.Uniform)
def kl_uniform_uniform(p: D.Uniform, q: D.Uniform) -> Tensor:
    """KL = log(width_q / width_p); inf where p reaches outside of q."""
    value = log_ratio(q.high - q.low, p.high - p.low)
    return torch.where((p.low < q.low) | (p.high > q.high), torch.inf, value)


def _cauchy(m_p: Tensor, s_p: Tensor, m_q: Tensor, s_q: Tensor) -> Tensor:
    # products of scales first divided: (s_p - s_q)^2 / (4 s_p s_q) overflows later than it has to otherwise
    return torch.log1p(0.25 * ((s_p - s_q) / s_p * ((s_p - s_q) / s_q) + (m_p - m_q) / s_p * ((m_p - m_q) / s_q)))


@register(D.Cauchy, D.Cauchy)
def kl_cauchy_cauchy(p: D.Cauchy, q: D.Cauchy) -> Tensor:
    """KL = log(1 + ((s_p - s_q)^2 + (m_p - m_q)^2) / (4 s_p s_q)), symmetric (Chyzak & Nielsen 2019)."""
    return _cauchy(p.loc, p.scale, q.loc, q.scale)


@register(D.HalfCauchy, D.HalfCauchy)
def kl_half_cauchy(p: D.HalfCauchy, q: D.HalfCauchy) -> Tensor:
    """The KL between the Cauchy distributions around 0 whose absolute values these are."""
    zero = torch.zeros_like(p.scale)
    return _cauchy(zero, p.scale, zero, q.scale)


@register(D.HalfNormal, D.HalfNormal)
def kl_half_normal(p: D.HalfNormal, q: D.HalfNormal) -> Tensor:
    """The KL between the normals around 0 whose absolute values these are."""
    e = (p.scale - q.scale) / q.scale
    return 0.5 * e * e + ratio_gap(p.scale, q.scale)


@register(TruncatedNormal, TruncatedNormal)
def kl_truncated_normal(p: TruncatedNormal, q: TruncatedNormal) -> Tensor:
    """KL = log(s_q/s_p) + log(Z_q/Z_p) + E_p[(x - m_q)^2]/(2 s_q^2) - E_p[(x - m_p)^2]/(2 s_p^2), Z the mass inside."""
    mean, variance = p.mean, p.variance
    by_q = (variance + (mean - q.loc) ** 2) / (2 * q.scale**2)
    by_p = (variance + (mean - p.loc) ** 2) / (2 * p.scale**2)
    value = (q.scale.log() - p.scale.log()) + (q.log_mass - p.log_mass) + (by_q - by_p)
    return torch.where((p.low < q.low) | (p.high > q.high), torch.inf, value)


@register(D.VonMises, D.VonMises)
def kl_von_mises(p: D.VonMises, q: D.VonMises) -> Tensor:
    """KL = log I0(k_q) - log I0(k_p) - A(k_p)(k_q - k_p) + 2 k_q A(k_p) sin^2((m_p - m_q)/2), A = I1/I0."""
    mean = torch.special.i1e(p.concentration) / torch.special.i0e(p.concentration)
    # I0 grows like e^k: the exponents are subtracted on paper, only the scaled Bessel functions by machine
    scaled = torch.special.i0e(q.concentration).log() - torch.special.i0e(p.concentration).log()
    gap = scaled + (q.concentration - p.concentration) * (1 - mean)
    return gap + 2 * q.concentration * mean * torch.sin(0.5 * (p.loc - q.loc)) ** 2


@register(D.Wishart, D.Wishart)
def kl_wishart_wishart(p: D.Wishart, q: D.Wishart) -> Tensor:
    """KL = multivariate lgamma gap + n_p/2 (tr S - d - log det S) + (n_p - n_q)/2 log det S, S = V_q^-1 V_p.

    Through L = L_q^-1 L_p = I + E: tr S - d - log det S = ||E||_F^2 + 2 sum_i (E_ii - log(1 + E_ii)).
    """
    L_p, L_q = scale_tril(p), scale_tril(q)
    shape = broadcast_shapes(L_p.shape, L_q.shape)
    E = torch.linalg.solve_triangular(L_q.expand(shape), (L_p - L_q).expand(shape), upper=False)
    logs = log_ratio(L_p.diagonal(dim1=-2, dim2=-1), L_q.diagonal(dim1=-2, dim2=-1))
    gap = (E * E).sum((-2, -1)) + 2 * log_gap(E.diagonal(dim1=-2, dim2=-1), logs).sum(-1)
    half = 0.5 * torch.arange(L_p.shape[-1], dtype=L_p.dtype, device=L_p.device)
    gammas = lgamma_gap(0.5 * q.df.unsqueeze(-1) - half, 0.5 * p.df.unsqueeze(-1) - half).sum(-1)
    return gammas + 0.5 * p.df * gap + (p.df - q.df) * logs.sum(-1)


@register(D.TransformedDistribution, D.TransformedDistribution)
def kl_transformed(p: D.TransformedDistribution, q: D.TransformedDistribution) -> Tensor | None:
    """KL of the base distributions; None where transforms differ or are not bijections (torch forgets the latter)."""
    if p.transforms != q.transforms or not all(t.bijective for t in p.transforms) or p.event_shape != q.event_shape:
        return None
    base = find(type(p.base_dist), type(q.base_dist))
    return None if base is None else base(p.base_dist, q.base_dist)
