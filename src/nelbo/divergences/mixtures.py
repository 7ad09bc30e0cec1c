"""Bounds on KL between mixtures, which has no closed form."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, MultivariateNormal

from nelbo.divergences.divergence import check_pair, type_name
from nelbo.divergences.internals import broadcast_shapes
from nelbo.divergences.normals import kl_multivariate_normal, location_and_tril


def mixture_bounds(p: Any, q: Any) -> tuple[Tensor, Tensor]:
    """Compute a lower and an upper bound of KL(p || q) between mixtures of normals, without draws.

    With components p_a (weight u_a), q_b (weight v_b):
    lower = max(0, sum_a u_a [log sum_a' u_a' exp(-KL(p_a || p_a')) - log sum_b v_b (integral of p_a q_b) - H(p_a)]);
    upper = the smaller of min over coupled weights of sum_ab KL, by the iteration of Hershey & Olsen 2007 (eqs. 17-20),
    and sum_a u_a [log sum_a' u_a' (integral of p_a p_a') - log sum_b v_b exp(-KL(p_a || q_b)) + H(p_a)].

    Args:
        p: a mixture of normals (Normal, Independent(Normal, 1) or MultivariateNormal components).
        q: another over the same events.

    Returns:
        Both bounds, in nats, of shape batch_shape; differentiable.

    Raises:
        ValueError: where either is not such a mixture.

    Source: Durrieu, Thiran & Kelly 2012, section 3; Hershey & Olsen 2007, section 7.
    """
    check_pair(p, q, what="mixture_bounds")
    for letter, d in (("p", p), ("q", q)):
        if not isinstance(d, MixtureSameFamily) or _parts(d.component_distribution) is None:
            raise ValueError(
                f"mixture_bounds: {letter} is {type_name(d)}; expected a mixture of normals, as in MixtureSameFamily("
                "Categorical(weights), Normal(means, scales)). nelbo.kl(p, q) estimates any other mixture."
            )
    log_u, log_v = (d.mixture_distribution.logits.log_softmax(-1) for d in (p, q))
    entropy = p.component_distribution.entropy()
    within, across = _pairwise(p, p), _pairwise(p, q)
    kl_within = torch.logsumexp(log_u.unsqueeze(-2) - within, -1)
    overlap_within = torch.logsumexp(log_u.unsqueeze(-2) + _log_overlap(p, p), -1)
    kl_across = torch.logsumexp(log_v.unsqueeze(-2) - across, -1)
    overlap_across = torch.logsumexp(log_v.unsqueeze(-2) + _log_overlap(p, q), -1)
    u = log_u.exp()
    lower = (u * (kl_within - entropy - overlap_across)).sum(-1).clamp(min=0)
    direct = (u * (overlap_within - kl_across + entropy)).sum(-1)
    return lower, torch.minimum(direct, _variational(log_u, log_v, across))


def _variational(log_u: Tensor, log_v: Tensor, kl: Tensor) -> Tensor:
    """The upper bound by splitting both weights into couples (a, b) and improving the split; each step lowers it."""
    shape = broadcast_shapes(log_u.unsqueeze(-1).shape, log_v.unsqueeze(-2).shape)
    psi = (log_u.unsqueeze(-1) + log_v.unsqueeze(-2)).expand(shape)
    phi = psi
    for _ in range(30):
        phi = log_v.unsqueeze(-2) + psi - torch.logsumexp(psi, -2, keepdim=True)
        weighted = phi - kl
        psi = log_u.unsqueeze(-1) + weighted - torch.logsumexp(weighted, -1, keepdim=True)
    used = psi.exp()
    return torch.where(used > 0, used * (psi - phi + kl), torch.zeros_like(used)).sum((-2, -1))


def _parts(component: Distribution) -> tuple[Tensor, Tensor] | None:
    """Means (*batch, k, n) and Cholesky factors (*batch, k, n, n) of normal components."""
    parts = location_and_tril(component)
    if parts is None:
        return None
    mean, tril = parts  # covariances may be shared by the components
    return mean, tril.expand(*broadcast_shapes(mean.shape[:-1], tril.shape[:-2]), *tril.shape[-2:])


def _pairwise(p: Any, q: Any) -> Tensor:
    """KL between all components, (*batch, a, b)."""
    (m_p, L_p), (m_q, L_q) = _parts(p.component_distribution), _parts(q.component_distribution)  # pyright: ignore[reportGeneralTypeIssues]
    a = MultivariateNormal(m_p.unsqueeze(-2), scale_tril=L_p.unsqueeze(-3), validate_args=False)
    b = MultivariateNormal(m_q.unsqueeze(-3), scale_tril=L_q.unsqueeze(-4), validate_args=False)
    return cast("Tensor", kl_multivariate_normal(a, b))


def _log_overlap(p: Any, q: Any) -> Tensor:
    """The log of the integral of the product of all components, (*batch, a, b)."""
    (m_p, L_p), (m_q, L_q) = _parts(p.component_distribution), _parts(q.component_distribution)  # pyright: ignore[reportGeneralTypeIssues]
    covariance = (L_p @ L_p.mT).unsqueeze(-3) + (L_q @ L_q.mT).unsqueeze(-4)
    mean = m_p.unsqueeze(-2) - m_q.unsqueeze(-3)
    return MultivariateNormal(torch.zeros_like(mean), covariance, validate_args=False).log_prob(mean)
