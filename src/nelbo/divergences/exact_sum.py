"""Sums over the values that counts can take."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, OneHotCategorical

from nelbo.divergences.integration import Integral, Integrand
from nelbo.divergences.internals import categorical, double
from nelbo.divergences.supports import Support, batch_shape, device, scalar_support
from nelbo.wording import advice

_LARGEST, _MOST_NUMBERS = 1 << 22, 1 << 24  # terms of a sum, and log-masses of a mixture's members in it
_TAIL = 1e-15


class TooManyCountsError(ValueError):
    """Distributions that spread over more counts than can be summed."""


def _plain(p: Any) -> Any:
    """The distribution of the number that a one-hot vector stands for; any other distribution as it is."""
    return categorical(p) if isinstance(p, OneHotCategorical) else p


def can_sum(p: Distribution, q: Distribution) -> bool:
    """Whether both are distributions of a single count (or of one-hot vectors)."""
    if isinstance(p, OneHotCategorical) != isinstance(q, OneHotCategorical):
        return False
    p, q = _plain(p), _plain(q)
    if p.event_shape or q.event_shape:
        return False
    a, b = scalar_support(p), scalar_support(q)
    return a is not None and b is not None and a.discrete and b.discrete


def exact_sum(f: Integrand, p: Distribution, q: Distribution, *, over_p: bool = False) -> Integral:
    """The sum of f(log p(x), log q(x)) over the counts x that either can give, batch_shape, in float64.

    Counts without a bound are summed until the tail of both (of p, where `over_p`) holds less than 1e-15; what is left
    is in the error.

    Raises:
        TooManyCountsError: where more than four million terms would be needed.
    """
    p, q = double(_plain(p)), double(_plain(q))
    x, logs = _log_masses(p, q, over_p=over_p)
    value, weight = f(logs[0], logs[1], torch.zeros_like(logs[0]))
    with torch.no_grad():
        size = sum(torch.nan_to_num(log.abs(), posinf=0.0) for log in logs)
        noise = 2.3e-16 * (weight * (1 + size)).sum(0)
        tails = [(1 - log.exp().sum(0)).clamp(min=0) for log in (logs[:1] if over_p else logs)]
        left = torch.stack([torch.where(t > 4e-15 * (len(x) - 1) ** 0.5, t, torch.zeros_like(t)) for t in tails]).sum(0)
        furthest = (logs[0][-1] - logs[1][-1]).abs()
        error = noise + left * (1 + torch.nan_to_num(furthest, nan=0.0, posinf=0.0))
    return Integral(value.sum(0), error, torch.zeros_like(error, dtype=torch.bool))


def counts_of(p: Distribution, q: Distribution) -> tuple[Tensor, Tensor, Tensor]:
    """The counts (k,) that either can give, and their masses under p and q (k, *batch_shape), in float64."""
    x, logs = _log_masses(double(p), double(q))
    return x, logs[0].exp(), logs[1].exp()


def _log_masses(p: Any, q: Any, *, over_p: bool = False) -> tuple[Tensor, list[Tensor]]:
    """The counts (k,), up to the last that matters, and their log-masses (k, *batch_shape) under p and q."""
    pairs: list[tuple[Any, Any]] = [(d, scalar_support(d)) for d in (p, q)]  # which `can_sum` has seen
    last = max(_last_count(d, s) for d, s in (pairs[:1] if over_p else pairs))
    for d, _ in pairs:
        if isinstance(d, MixtureSameFamily):  # each member's log-masses are held
            last = _limited(last, d, _MOST_NUMBERS // d.component_distribution.batch_shape[-1])
    shape = batch_shape(p, q)
    x = torch.arange(last + 1, dtype=torch.float64, device=device(p, q))
    grid = x.reshape(-1, *(1 for _ in shape)).expand(-1, *shape)
    return x, [_log_mass(d, s, grid) for d, s in pairs]


def _log_mass(d: Any, support: Support, x: Tensor) -> Tensor:
    inside = (x >= support.lower) & (x <= support.upper)
    log = d.log_prob(torch.where(inside, x, torch.as_tensor(support.lower, dtype=x.dtype, device=x.device)))
    return torch.where(inside, log, torch.full_like(log, -torch.inf))


def _last_count(d: Any, support: Support) -> int:
    """The last count that matters."""
    upper = torch.as_tensor(support.upper, dtype=torch.float64)
    if bool(torch.isfinite(upper).all()):
        return _limited(int(upper.max()), d)
    with torch.no_grad():
        reach = torch.as_tensor(d.mean + 12 * d.stddev + 40)
        # a tail without a variance may be summed all the same
        largest = _limited(int(torch.where(reach.isfinite(), reach, _LARGEST).max().clamp(max=2.0**62)), d)
        while True:
            x = torch.arange(_limited(largest, d) + 1, dtype=torch.float64).reshape(-1, *(1 for _ in d.batch_shape))
            log = d.log_prob(x.expand(-1, *d.batch_shape).to(d.mean.device))
            # the masses fall at least geometrically out here: the next ones add up to about last / (1 - ratio)
            ratio = (log[-1] - log[-2]).exp().clamp(max=1 - 1e-9)
            if bool((log[-1].exp() / (1 - ratio) < _TAIL).all()):
                return largest
            largest *= 2


def _limited(largest: int, d: Any, most: int = _LARGEST) -> int:
    if largest > most:
        instead = advice('Write method="monte_carlo" instead.', "Leave out --plot.")  # the shell sums only to draw
        raise TooManyCountsError(
            f"exact_sum: {type(d).__name__} spreads over {largest:,} counts; expected at most {most:,}. {instead}"
        )
    return largest
