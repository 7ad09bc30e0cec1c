"""Averages over draws, until the standard error is small enough."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.estimate import Estimate


@contextlib.contextmanager
def seeded(seed: int | None) -> Generator[None]:
    """Draws inside come from `seed` and leave torch's global generator as it was; with None they come from
    the global generator.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def draw(p: Distribution, count: int) -> tuple[Tensor, bool]:
    """`count` draws (count, *batch, *event), and whether gradients reach p's parameters through them."""
    if p.has_rsample:
        return p.rsample(torch.Size([count])), True
    return p.sample(torch.Size([count])), False


def expectation(
    f: Callable[[Tensor, Tensor], Tensor],
    p: Any,
    q: Any,
    *,
    samples: int | None,
    standard_error: float,
    max_samples: int,
    seed: int | None,
) -> Estimate:
    """E_p[f(log p(x), log q(x))] with its standard error, shape batch_shape.

    Args:
        f: of the two log-densities.
        p: what is drawn from.
        q: the other distribution.
        standard_error: the wanted error.
        max_samples: the most draws to spend on it.
        samples: exactly so many draws; None draws until the largest standard error is at most
        `standard_error`, or `max_samples` are drawn.
        seed: of the draws; None uses torch's global generator.

    The gradient is the pathwise one where p has rsample, else the score-function one; both are unbiased.
    """
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    if torch.Size(p.batch_shape) != shape:
        p = p.expand(shape)  # else draws would be shared between elements, and errors correlated for no reason
    return average(
        lambda count: _values(f, p, q, count),
        elements=shape.numel() * max(1, p.event_shape.numel()),
        samples=samples,
        standard_error=standard_error,
        max_samples=max_samples,
        seed=seed,
    )


def average(
    values: Callable[[int], Tensor],
    *,
    elements: int,
    samples: int | None,
    standard_error: float,
    max_samples: int,
    seed: int | None,
) -> Estimate:
    """The mean over draws of values(count) -> (count, *batch), in chunks of bounded memory; options as in
    `expectation`.
    """
    if samples is not None and samples < 2:
        raise ValueError(
            f"got samples={samples!r}; expected at least 2, so that their spread says how far the mean may be off."
        )
    count, mean, squares = 0, None, None
    chunk = samples if samples is not None else 4096
    largest_chunk = max(256, (1 << 22) // max(1, elements))
    with seeded(seed):
        while True:
            take = min(chunk, largest_chunk, (samples or max_samples) - count)
            drawn = values(take)
            fresh, spread = drawn.mean(0), (drawn.detach() - drawn.detach().mean(0)).pow(2).sum(0)
            if mean is None or squares is None:
                count, mean, squares = take, fresh, spread
            else:
                jump = (fresh - mean).detach()
                squares = squares + spread + jump**2 * (count * take / (count + take))
                mean = mean * (count / (count + take)) + fresh * (take / (count + take))
                count += take
            error = (squares / max(1, count - 1) / count).sqrt()
            if samples is not None:
                if count >= samples:
                    break
                chunk = samples - count
                continue
            if count >= max_samples or bool((~(error > standard_error)).all()):
                break
            need = float((error / standard_error).nan_to_num().max()) ** 2 * count
            chunk = max(4096, int(1.05 * need) - count)
    return Estimate(mean, error, "monte_carlo")


def _values(f: Callable[[Tensor, Tensor], Tensor], p: Any, q: Any, count: int) -> Tensor:
    x, pathwise = draw(p, count)
    log_p, log_q = p.log_prob(x), log_density(q, x)
    values = f(log_p, log_q)
    if not pathwise and log_p.requires_grad:
        # d/dp E_p[f] = E_p[f dlog p] + E_p[df]: the factor below is 0 in value and dlog p in gradient
        values = values + values.detach() * (log_p - log_p.detach())
    return values


def log_density(q: Any, x: Tensor) -> Tensor:
    """q.log_prob(x), and -inf outside of q's support, where torch raises or answers nonsense."""
    try:
        inside: Tensor = q.support.check(x)
    except NotImplementedError:
        return q.log_prob(x)
    if bool(inside.all()):
        return q.log_prob(x)
    shape = torch.broadcast_shapes(inside.shape, x.shape[: x.dim() - len(q.event_shape)])
    inside = inside.expand(shape)
    mask = inside.reshape(*shape, *(1 for _ in q.event_shape))
    safe = torch.where(mask, x, q.sample().detach())
    return torch.where(inside, q.log_prob(safe), -torch.inf)
