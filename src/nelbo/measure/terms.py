"""The ELBO's terms of each example with their errors, and means over examples with theirs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo import latents
from nelbo.data import Dataset
from nelbo.divergences import Delta, closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.vae import Model

_AT_ONCE = 1 << 23  # features decoded together: 32 MB of float32 and as much again for their log-probabilities
_BATCH = 1000


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """What the negative ELBO of each example is made of; each an Estimate of shape (batch,), in nats.

    Attributes:
        reconstruction_error: -E_q[log p(x|z)].
        kl: KL(q(z|x) || p(z)); infinite for an autoencoder.
        elbo: -(reconstruction_error + kl), a lower bound of log p(x).
    """

    reconstruction_error: Estimate
    kl: Estimate
    elbo: Estimate


def elbo_terms(model: Model, x: Tensor, *, samples: int = 16, seed: int = 0) -> ElboTerms:
    """The ELBO of each example and its two terms, over many draws of z, with standard errors over the draws.

    ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)). The KL is in closed form where there is one.

    Args:
        model: a VAE, an autoencoder, or anything with prior, posterior and likelihood.
        x: (batch, \\*event).
        samples: draws of z for each example, at least 2.
        seed: of the draws; torch's generators are left as they were.

    Returns:
        ElboTerms of float64 Estimates of shape (batch,) on the CPU. Of an autoencoder kl is inf and elbo -inf.

    Raises:
        ValueError: fewer than 2 samples, or data that do not fit the model.

    Source: Kingma & Welling 2014, eq. 7.
    """
    if samples < 2:
        raise ValueError(f"samples is at least 2, for a standard error; got {samples}")
    parts: list[Tensor] = []
    with evaluation_mode(model, seed) as device:
        pz = model.prior
        step = max(1, _AT_ONCE // (samples * max(1, math.prod(x.shape[1:]))))
        for batch in x.split(min(step, _BATCH)):
            on_device = batch.to(device=device)
            qz = model.posterior(on_device)
            kl = closed_form(qz, pz)
            draws = 2 if isinstance(qz, Delta) else samples  # every draw of a point is that point
            z, log_qz = latents.draw_with_log_prob(qz, draws)
            error = -model.log_likelihood(on_device, z).double()
            drawn = (log_qz - pz.log_prob(z)).double() if kl is None else kl.double().expand_as(error)
            own = torch.stack([error, drawn, -(error + drawn)])
            # an infinite KL has no spread, and inf - inf would say nan
            spread = torch.where(own.isfinite().all(1), own.std(1) / math.sqrt(draws), 0.0)
            parts.append(torch.cat([own.mean(1), spread]).cpu())
    values = torch.cat(parts, dim=1)
    method = f"monte_carlo ({samples} draws of z)"
    exact = bool((values[4] == 0).all())
    return ElboTerms(
        Estimate(values[0], values[3], method),
        Estimate(values[1], values[4], "closed_form" if exact else method),
        Estimate(values[2], values[5], method),
    )


def over_examples(values: Tensor | Estimate, method: str | None = None) -> Estimate:
    """The mean over examples with its standard error, s / sqrt(n).

    The spread s over the examples holds the errors of the single values too, where those are independent: nothing
    needs to be added for them.

    Args:
        values: (n, \\*rest), one for each example, or an Estimate of that shape.
        method: how the values were found; of an Estimate, its own.

    Returns:
        Estimate of shape (\\*rest,), float64.
    """
    if isinstance(values, Estimate):
        values, method = values.value, method or values.method
    values = values.detach().double()
    n = len(values)
    mean = values.mean(0)
    error = values.std(0) / math.sqrt(n) if n > 1 else torch.full_like(mean, torch.nan)
    # the mean of infinite values is infinite for certain
    error = torch.where(mean.isinf(), 0.0, error)
    return Estimate(mean, error, f"{method}, mean over {n:,} examples" if method else f"mean over {n:,} examples")


def batches_of(x: Tensor | Dataset, *, seed: int = 0, batch_size: int = _BATCH) -> Iterator[Tensor]:
    """What the model sees of x, in batches; a Dataset's random draws are made once, by ``seed``."""
    if isinstance(x, Tensor):
        yield from x.split(batch_size)
        return
    fixed = x.fixed(seed=seed)
    for raw in fixed.batches(batch_size):
        yield fixed.prepare(raw).x
