"""Exactly when KL between normals is symmetric, and when it breaks the triangle inequality."""

import torch
from torch import Tensor
from torch.distributions import Normal

from nelbo.divergences.stable import split


def kl_asymmetry(p: Normal, q: Normal) -> Tensor:
    """Compute KL(p || q) - KL(q || p) = sinh 2t - 2t + d^2 sinh t, t = log(s_p/s_q), d = (m_p - m_q)/sqrt(s_p s_q).

    Both terms have the sign of t, so that KL between two normals is symmetric exactly where s_p = s_q, whatever the
    means are; and the direction that averages over the wider of the two is the larger. In nats, of shape batch_shape.
    """
    t = p.scale.log() - q.scale.log()
    near, safe, far = split(t, 0.1)
    # sinh 2t - 2t without its leading term
    x = 4 * safe * safe
    series = 2 * safe * x * (1 / 6 + x * (1 / 120 + x * (1 / 5040 + x * (1 / 362880 + x / 39916800))))
    gap = torch.where(near, series, torch.sinh(2 * far) - 2 * far)
    shift = p.loc - q.loc
    return gap + shift / p.scale * (shift / q.scale) * torch.sinh(t)


def kl_triangle_excess(variance_p: Tensor | float, variance_q: Tensor | float, variance_r: Tensor | float) -> Tensor:
    """Compute KL(p || r) - KL(p || q) - KL(q || r) = (v_p/v_q - 1)(v_q/v_r - 1) / 2 of zero-mean normals, in nats.

    It is positive, and the triangle inequality broken, exactly where the middle variance v_q lies strictly
    between the others.

    Args:
        variance_p: of p.
        variance_q: of the distribution in the middle.
        variance_r: of r.

    Raises:
        ValueError: where a variance is not positive.
    """
    parts = [torch.as_tensor(v, dtype=torch.float64) for v in (variance_p, variance_q, variance_r)]
    for name, v in zip("pqr", parts, strict=True):
        if not bool((v > 0).all()):
            raise ValueError(
                f"kl_triangle_excess: variance_{name} must be positive, got {v}; write kl_triangle_excess(1, 2, 3)."
            )
    v_p, v_q, v_r = parts
    return 0.5 * ((v_p - v_q) / v_q) * ((v_q - v_r) / v_r)
