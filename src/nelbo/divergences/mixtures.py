"""Bounds on KL between mixtures, which has no closed form."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, Normal

from nelbo.divergences.checks import check_pair, name
from nelbo.divergences.closed_form import closed_form
from nelbo.divergences.normals import location_and_tril


def mixture_bounds(p: Any, q: Any) -> tuple[Tensor, Tensor]:
    """Lower and upper bound of KL(p || q) between mixtures of normals, nats, batch_shape; differentiable, no
    draws.

    With components p_a (weight u_a), q_b (weight v_b):
    lower = max(0, sum_a u_a [
    log sum_a' u_a' exp(-KL(p_a || p_a')) - log sum_b v_b (integral of p_a q_b) - H(p_a)]),
    upper = min over coupled weights of sum_ab KL, by the iteration of Hershey & Olsen 2007 (eqs. 17-20), and
    sum_a u_a [log sum_a' u_a' (integral of p_a p_a') - log sum_b v_b exp(-KL(p_a || q_b)) + H(p_a)],
    whichever is smaller.

    Args:
        p: a mixture of normals (Normal, Independent(Normal, 1) or MultivariateNormal components).
        q: another over the same events.

    Raises:
        ValueError: where either is not such a mixture.

    Source: Durrieu, Thiran & Kelly 2012, section 3; Hershey & Olsen 2007, section 7.
    """
    check_pair(p, q, what="mixture_bounds")
    for letter, d in (("p", p), ("q", q)):
        if not isinstance(d, MixtureSameFamily) or _parts(d.component_distribution) is None:
            raise ValueError(
                f"mixture_bounds: {letter} is {name(d)}; expected a mixture of normals, as in "
                f"MixtureSameFamily(Categorical(weights), "
                "Normal(means, scales)). nelbo.kl(p, q) estimates any other mixture."
            )
    log_u, log_v = (
        p.mixture_distribution.logits.log_softmax(-1),
        q.mixture_distribution.logits.log_softmax(-1),
    )
    entropy = p.component_distribution.entropy()
    within, across = _pairwise(p, p), _pairwise(p, q)
    own_kl = torch.logsumexp(log_u.unsqueeze(-2) - within, -1)
    own_overlap = torch.logsumexp(log_u.unsqueeze(-2) + _log_overlap(p, p), -1)
    other_kl = torch.logsumexp(log_v.unsqueeze(-2) - across, -1)
    other_overlap = torch.logsumexp(log_v.unsqueeze(-2) + _log_overlap(p, q), -1)
    u = log_u.exp()
    lower = (u * (own_kl - entropy - other_overlap)).sum(-1).clamp(min=0)
    direct = (u * (own_overlap - other_kl + entropy)).sum(-1)
    return lower, torch.minimum(direct, _variational(log_u, log_v, across))


def _variational(log_u: Tensor, log_v: Tensor, kl: Tensor) -> Tensor:
    """The upper bound by splitting both weights into couples (a, b) and improving the split; it falls in
    every step.
    """
    shape = torch.broadcast_shapes(log_u.unsqueeze(-1).shape, log_v.unsqueeze(-2).shape)
    psi = (log_u.unsqueeze(-1) + log_v.unsqueeze(-2)).expand(shape)
    phi = psi
    for _ in range(30):
        phi = log_v.unsqueeze(-2) + psi - torch.logsumexp(psi, -2, keepdim=True)
        weighted = phi - kl
        psi = log_u.unsqueeze(-1) + weighted - torch.logsumexp(weighted, -1, keepdim=True)
    used = psi.exp()
    return torch.where(used > 0, used * (psi - phi + kl), torch.zeros_like(used)).sum((-2, -1))


def _parts(component: Distribution) -> tuple[Tensor, Tensor] | None:
    if isinstance(component, Normal):
        return component.loc.unsqueeze(-1), component.scale[..., None, None]
    return location_and_tril(component)


def _pairwise(p: MixtureSameFamily, q: MixtureSameFamily) -> Tensor:
    """KL between all components, (*batch, a, b)."""
    (m_p, L_p), (m_q, L_q) = _known(p), _known(q)
    a = torch.distributions.MultivariateNormal(m_p.unsqueeze(-2), scale_tril=L_p.unsqueeze(-3), validate_args=False)
    b = torch.distributions.MultivariateNormal(m_q.unsqueeze(-3), scale_tril=L_q.unsqueeze(-4), validate_args=False)
    value = closed_form(a, b)
    if value is None:
        raise AssertionError("normals have a closed form")
    return value


def _log_overlap(p: MixtureSameFamily, q: MixtureSameFamily) -> Tensor:
    """Log of the integral of the product of all components, (*batch, a, b)."""
    (m_p, L_p), (m_q, L_q) = _known(p), _known(q)
    covariance = (L_p @ L_p.mT).unsqueeze(-3) + (L_q @ L_q.mT).unsqueeze(-4)
    mean = m_p.unsqueeze(-2) - m_q.unsqueeze(-3)
    return torch.distributions.MultivariateNormal(torch.zeros_like(mean), covariance, validate_args=False).log_prob(
        mean
    )


def _known(p: MixtureSameFamily) -> tuple[Tensor, Tensor]:
    parts = _parts(p.component_distribution)
    if parts is None:
        raise AssertionError("checked by mixture_bounds")
    # covariances may be shared by the components
    mean, tril = parts
    return mean, tril.expand(*torch.broadcast_shapes(mean.shape[:-1], tril.shape[:-2]), *tril.shape[-2:])
