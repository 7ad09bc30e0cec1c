"""Log p(x|z) of many examples at points that they share."""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Distribution, Independent, Normal

from nelbo.evaluation import rows_at_once

_FACTORS = 64  # from 1 to 2: in float32 a hundred of them do not overflow


class Linear(NamedTuple):
    """Log p(x_i|z_j) = rows_i . coefficients_j + offset_j: one matrix product gives all pairs."""

    rows: Tensor
    """(batch, statistics of x)."""
    coefficients: Tensor
    """(points, statistics of x)."""
    offset: Tensor
    """(points,)."""


def linear(px: Distribution, x: Tensor, rows: Tensor | None = None) -> Linear | None:
    """p(x|z) as a linear function of statistics of x, or None where it is none.

    A Bernoulli is linear in x: log p(x|z) = log p(0|z) + x . logits. A normal is linear in (x^2, x).

    Args:
        px: at the points, batch shape (points, 1).
        x: (batch, \\*event).
        rows: what an earlier call gave for the same x.
    """
    base = px.base_dist if isinstance(px, Independent) else px
    if isinstance(base, Bernoulli):
        return Linear(x.flatten(1), base.logits.flatten(1), -softplus_sum(base.logits.flatten(1)))
    if isinstance(base, ContinuousBernoulli):
        nothing = px.log_prob(torch.zeros_like(x[:1]))[:, 0]
        return Linear(x.flatten(1), base.logits.flatten(1), nothing)
    if isinstance(base, Normal):
        # in float64, and around the mean: x^2 - 2 x mean + mean^2 cancels where sigma is small
        x = x.flatten(1).double()
        middle = x.mean(0)
        if rows is None:
            rows = torch.cat([(x - middle).square(), x - middle], dim=1)
        mean = base.loc.double().flatten(1) - middle
        precision = base.scale.double().expand_as(base.loc).flatten(1) ** -2
        at_mean = px.log_prob(base.loc).double()[:, 0]
        coefficients = torch.cat([-0.5 * precision, mean * precision], dim=1)
        return Linear(rows, coefficients, at_mean - 0.5 * (mean.square() * precision).sum(1))
    return None


def softplus_sum(logits: Tensor) -> Tensor:
    """Sum of log(1 + exp(l)) over the last dimension; no gradients.

    log(1 + exp(l)) = max(l, 0) + log(1 + exp(-|l|)), and the logarithm of a product stands for many logarithms.
    """
    factors = logits.abs().neg_().exp_().add_(1)
    whole = logits.shape[-1] - logits.shape[-1] % _FACTORS
    logs = factors[..., :whole].unflatten(-1, (-1, _FACTORS)).prod(-1).log_().sum(-1)
    return logits.clamp(min=0).sum(-1) + logs + factors[..., whole:].prod(-1).log_()


def of_own(px: Distribution, x: Tensor) -> Tensor:
    """Log p(x_i|z_ij) in nats, (draws, batch), at points of each example's own: px of batch shape (draws, batch).

    The same as ``px.log_prob(x)`` without gradients, in half the time for a Bernoulli.
    """
    base = px.base_dist if isinstance(px, Independent) else px
    if not isinstance(base, Bernoulli):
        return px.log_prob(x)
    logits = base.logits.flatten(2)
    return (logits.transpose(0, 1) @ x.flatten(1)[:, :, None])[..., 0].T - softplus_sum(logits)


def pairwise(px: Distribution, x: Tensor) -> Tensor:
    """Log p(x_i|z_j) in nats, (batch, points), pair by pair, for px of batch shape (points, 1)."""
    step = rows_at_once(px.batch_shape[0] * prod(x.shape[1:]))
    return torch.cat([px.log_prob(part[None]) for part in x.split(step)], dim=1).T
