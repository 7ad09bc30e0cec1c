"""The terms of the negative ELBO over a data set, with their standard errors."""

import math
from collections.abc import Mapping

import torch

from nelbo.data import Dataset
from nelbo.objectives import FINISHED, Objective, Progress
from nelbo.training.seeds import derive, own_randomness, seed_noise
from nelbo.vae import VAE

TERMS = ("reconstruction_error", "kl", "nelbo", "objective")


@torch.no_grad()
def evaluate(
    model: VAE,
    dataset: Dataset,
    objective: Objective,
    *,
    progress: Progress = FINISHED,
    batch_size: int = 1000,
    seed: int = 0,
    device: torch.device | None = None,
) -> Mapping[str, float]:
    """Mean over the data of each term in nats, and its standard error over the examples.

    The draws (binarization, z) depend on ``seed`` and the position in the data alone: two models, or one model at two
    times, are compared on the same draws.

    Returns:
        ``{"nelbo": ..., "nelbo_standard_error": ..., ...}`` for reconstruction_error, kl, nelbo and objective.
    """
    device = device or next(model.parameters()).device
    sums = torch.zeros(2, len(TERMS), dtype=torch.float64)
    training = model.training
    model.eval()
    try:
        with own_randomness(device):
            for position, raw in enumerate(dataset.batches(batch_size, device=device)):
                seed_noise(device, derive(seed, "validation", position))
                loss, value, _ = objective(model, dataset.prepare(raw), progress)
                terms = torch.stack([*loss, value]).double().cpu()
                sums += torch.stack([terms.sum(1), terms.square().sum(1)])
    finally:
        model.train(training)
    n = len(dataset)
    result: dict[str, float] = {}
    for name, total, squares in zip(TERMS, *sums.tolist(), strict=True):
        mean = total / n
        variance = max(squares / n - mean * mean, 0.0) if math.isfinite(mean) else math.nan
        result[name] = mean
        result[f"{name}_standard_error"] = math.sqrt(variance / max(n - 1, 1))
    return result
