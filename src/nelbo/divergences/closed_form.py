"""KL(p || q) where a formula is known."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence, register_kl

register_closed_form: Callable[
    [type[Distribution], type[Distribution]], Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
] = register_kl


def kl_normal_normal(p: Normal, q: Normal) -> Tensor:
    """KL(N(m_p, s_p^2) || N(m_q, s_q^2)) = (expm1(2d) - 2d + ((m_p - m_q) / s_q)^2) / 2 with d = log(s_p / s_q).

    expm1 keeps the small difference exact where s_p is close to s_q: collapsed units of a VAE live there.
    """
    d = p.scale.log() - q.scale.log()
    return 0.5 * (torch.expm1(2 * d) - 2 * d + ((p.loc - q.loc) / q.scale) ** 2)


def closed_form(p: Distribution, q: Distribution) -> Tensor | None:
    """KL(p || q) in nats, shape batch_shape, or None where no formula is registered."""
    if isinstance(p, Independent) and isinstance(q, Independent):
        events = p.reinterpreted_batch_ndims
        if events == q.reinterpreted_batch_ndims:
            inner = closed_form(p.base_dist, q.base_dist)
            return None if inner is None else inner.sum(tuple(range(-events, 0)))
    if isinstance(p, Normal) and isinstance(q, Normal):
        return kl_normal_normal(p, q)
    try:
        return kl_divergence(p, q)
    except NotImplementedError:
        return None
