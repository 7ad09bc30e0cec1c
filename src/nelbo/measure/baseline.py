"""What a model without a latent says: every feature by itself, as often as in the training data."""

import math

import torch
from torch import Tensor

from nelbo.data import summarize
from nelbo.estimate import Estimate


def independent_features(train: Tensor, x: Tensor) -> Estimate | None:
    """Log p(x) of each example, (batch,) in nats, where p makes the features independent.

    Binary features have the training data's frequency, (ones + 1/2) / (n + 1); real ones a normal of its mean and
    variance. This is the level that a collapsed VAE sinks to: what is gained above it came through the latent.

    Args:
        train: (n, \\*event), what the frequencies are counted on.
        x: (batch, \\*event).

    Returns:
        Estimate without error, or None for other kinds of data.
    """
    kind = summarize(train).kind
    known, new = train.flatten(1).double(), x.flatten(1).double()
    if kind == "binary":
        share = (known.sum(0) + 0.5) / (len(known) + 1)
        values = torch.where(new > 0.5, share.log(), (-share).log1p()).sum(1)
    elif kind == "real":
        variance = known.var(0).clamp(min=1e-12)
        values = -0.5 * ((new - known.mean(0)).square() / variance + variance.log() + math.log(2 * math.pi)).sum(1)
    else:
        return None
    return Estimate(values, torch.zeros_like(values), "independent features, frequencies of the training data")
