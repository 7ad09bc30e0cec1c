"""The tail of importance weights: can their mean be relied on?"""

import math

import torch
from torch import Tensor

SMALLEST_TAIL = 5


def tail_length(samples: int) -> int:
    """How many of the largest weights are taken for the tail: min(S / 5, 3 sqrt(S)), Vehtari et al. 2024, eq. 13."""
    return int(min(0.2 * samples, 3 * math.sqrt(samples)))


def threshold(samples: int) -> float:
    """The largest k at which S weights still give a mean with the stated error: min(1 - 1 / log10 S, 0.7).

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling", section 3.2.4.
    """
    return min(1 - 1 / math.log10(samples), 0.7) if samples > 10 else 0.0


def pareto_k(largest: Tensor) -> Tensor:
    """Shape k of a generalized Pareto distribution fitted to the excesses of the largest weights, (batch,).

    The mean of the weights has a finite variance for k < 1/2; up to 0.7 its convergence is still good in practice.

    Args:
        largest: (tail + 1, batch) logarithms of the largest weights; the smallest of them is the threshold.

    Returns:
        (batch,), float64; NaN where the tail has fewer than 5 weights, and 0 where the weights do not vary.

    Source: Zhang & Stephens 2009, "A new and efficient estimation method for the generalized Pareto distribution";
    the prior that draws k to 1/2 by ten observations: Vehtari et al. 2024, appendix C.
    """
    ordered = largest.double().sort(0).values
    n = len(ordered) - 1
    if n < SMALLEST_TAIL:
        return torch.full(ordered.shape[1:], torch.nan, dtype=torch.float64)
    weights = (ordered - ordered[-1]).exp()
    excess = weights[1:] - weights[0]
    constant = excess[-1] <= 1e-10
    # ties with the threshold would put a point mass at zero
    excess = torch.where(constant, torch.ones_like(excess), excess.clamp(min=1e-300))

    points = 30 + int(math.sqrt(n))
    j = torch.arange(1, points + 1, dtype=torch.float64)[:, None]
    b = (1 - (points / (j - 0.5)).sqrt()) / (3 * excess[int(n / 4 + 0.5) - 1]) + 1 / excess[-1]
    k = torch.stack([torch.log1p(-row * excess).mean(0) for row in b])
    likelihood = n * ((-b / k).log() - k - 1)
    posterior = torch.softmax(likelihood.nan_to_num(nan=-torch.inf), 0)
    b_mean = (posterior * b.nan_to_num()).sum(0)
    found = torch.log1p(-b_mean * excess).mean(0)
    found = (n * found + 10 * 0.5) / (n + 10)
    return torch.where(constant, torch.zeros_like(found), found)
