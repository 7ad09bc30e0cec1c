"""Averages over draws, until the standard error is small enough."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.divergences.internals import broadcast_shapes, log_prob
from nelbo.divergences.supports import batch_shape, constraint, device
from nelbo.estimate import Estimate
from nelbo.randomness import as_seed, own_randomness, seed_noise

Method = Literal["auto", "closed_form", "exact_sum", "quadrature", "monte_carlo"]


class Options(NamedTuple):
    """The options that all divergences share.

    Attributes:
        method: "auto" for the first that applies.
        samples: the number of draws; None draws until `standard_error` or `max_samples` is reached.
        standard_error: the wanted error of the worst batch element.
        max_samples: the most draws to spend on it.
        seed: of the draws; None uses torch's global generator.
    """

    method: Method = "auto"
    samples: int | None = None
    standard_error: float = 0.01
    max_samples: int = 1_000_000
    seed: int | None = None


def expectation(f: Callable[[Tensor, Tensor], Tensor], p: Any, q: Any, options: Options) -> Estimate:
    """E_p[f(log p(x), log q(x))] with its standard error, shape batch_shape.

    The gradient is the pathwise one where p has rsample, else the score-function one; both are unbiased.
    """
    shape = batch_shape(p, q)
    if torch.Size(p.batch_shape) != shape:
        p = p.expand(shape)  # draws shared between elements would correlate their errors
    elements = shape.numel() * max(1, p.event_shape.numel())
    return average(lambda count: _values(f, p, q, count), elements, options, device(p, q))


def average(values: Callable[[int], Tensor], elements: int, options: Options, on: torch.device) -> Estimate:
    """The mean over draws of values(count) -> (count, *batch), in chunks of bounded memory.

    Args:
        values: of so many fresh draws.
        elements: how many numbers one draw has.
        options: how many draws, and from which seed.
        on: the device that draws.
    """
    _, samples, wanted, max_samples, seed = options
    if samples is not None and samples < 2:
        raise ValueError(f"samples must be at least 2, got {samples!r}: their spread gives the standard error.")
    most, chunk = samples or max_samples, samples or 4096
    largest_chunk = max(256, (1 << 22) // max(1, elements))
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    with nullcontext() if seed is None else own_randomness(on):
        if seed is not None:
            seed_noise(on, as_seed(seed))
        while True:
            take = min(chunk, largest_chunk, most - count)
            drawn = values(take)
            fresh, spread = drawn.mean(0), (drawn.detach() - drawn.detach().mean(0)).pow(2).sum(0)
            jump = (fresh - mean).detach()
            squares = squares + spread + jump**2 * (count * take / (count + take))
            mean = mean * (count / (count + take)) + fresh * (take / (count + take))
            count += take
            error = (squares / max(1, count - 1) / count).sqrt()
            if count >= most or (samples is None and not bool((error > wanted).any())):
                return Estimate(mean, error, "monte_carlo")
            if samples is None:
                need = float((error / wanted).nan_to_num().max()) ** 2 * count
                chunk = max(4096, int(1.05 * need) - count)


def _values(f: Callable[[Tensor, Tensor], Tensor], p: Any, q: Any, count: int) -> Tensor:
    x = (p.rsample if p.has_rsample else p.sample)(torch.Size([count]))
    log_p, log_q = log_prob(p, x), log_density(q, x)
    values = f(log_p, log_q)
    if not p.has_rsample and log_p.requires_grad:
        # d/dp E_p[f] = E_p[f dlog p] + E_p[df]: the factor below is 0 in value and dlog p in gradient
        values = values + values.detach() * (log_p - log_p.detach())
    return values


def log_density(q: Distribution, x: Tensor) -> Tensor:
    """q.log_prob(x), and -inf outside of q's support, where torch raises or answers nonsense."""
    support = constraint(q)
    if support is None:
        return log_prob(q, x)
    inside: Tensor = support.check(x)
    if bool(inside.all()):
        return log_prob(q, x)
    shape = broadcast_shapes(inside.shape, x.shape[: x.dim() - len(q.event_shape)])
    inside = inside.expand(shape)
    mask = inside.reshape(*shape, *(1 for _ in q.event_shape))
    safe = torch.where(mask, x, q.sample().detach())
    return torch.where(inside, log_prob(q, safe), -torch.inf)
