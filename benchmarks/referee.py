"""Who reached what: one judge for all peers, so that nobody wins by training less.

The negative ELBO in nats, one draw of z for each test image and the same draws for all, from the weights alone. Of the
dense network the weights are ``enc1``, ``mu``, ``log_sigma``, ``dec1``, ``dec2``, each with ``_w`` (inputs,
outputs) and ``_b``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def nelbo_mlp(weights: Mapping[str, Any], x: NDArray[np.uint8], *, seed: int = 0) -> float:
    """Mean negative ELBO of x under a Bernoulli on [0, 1] values."""
    rng = np.random.default_rng(seed)
    total = 0.0
    for part in np.array_split(x, 10):
        pixels = part.astype(np.float64) / 255
        h = _relu(_dense(weights, "enc1", pixels))
        mu, log_sigma = _dense(weights, "mu", h), _dense(weights, "log_sigma", h)
        z = mu + np.exp(log_sigma) * rng.standard_normal(mu.shape)
        logits = _dense(weights, "dec2", _relu(_dense(weights, "dec1", z)))
        total += _nelbo(pixels, logits, mu, log_sigma)
    return total / len(x)


def _nelbo(x: Array, logits: Array, mu: Array, log_sigma: Array) -> float:
    error = np.logaddexp(0, logits) - x * logits
    kl = 0.5 * (mu**2 + np.exp(2 * log_sigma) - 1) - log_sigma
    return float(error.sum() + kl.sum())


def _dense(weights: Mapping[str, Any], layer: str, x: Array) -> Array:
    return x @ weights[f"{layer}_w"].astype(np.float64) + weights[f"{layer}_b"]


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def nelbo_conv(weights: Mapping[str, Any], x: NDArray[np.uint8], *, seed: int = 0) -> float:
    """The same for the convolutional network, with torch's convolutions: layers 0 to 3 encode, 4 to 7 decode."""
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(seed)
    w = [torch.from_numpy(weights[f"{i}_w"]) for i in range(8)]
    b = [torch.from_numpy(weights[f"{i}_b"]) for i in range(8)]
    total = 0.0
    for part in np.array_split(x, 10):
        pixels = part.astype(np.float64) / 255
        h = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28)
        for i in (0, 1):
            h = F.relu(F.conv2d(h, w[i], b[i], stride=2, padding=1))
        h = F.linear(F.relu(F.linear(h.flatten(1), w[2], b[2])), w[3], b[3])
        mu, log_sigma = (half.double().numpy() for half in h.chunk(2, dim=1))
        z = mu + np.exp(log_sigma) * rng.standard_normal(mu.shape)
        h = torch.from_numpy(z).float()
        for i in (4, 5):
            h = F.relu(F.linear(h, w[i], b[i]))
        h = F.relu(F.conv_transpose2d(h.reshape(-1, 64, 7, 7), w[6], b[6], stride=2, padding=1))
        logits = F.conv_transpose2d(h, w[7], b[7], stride=2, padding=1)
        total += _nelbo(pixels, logits.flatten(1).double().numpy(), mu, log_sigma)
    return total / len(x)
