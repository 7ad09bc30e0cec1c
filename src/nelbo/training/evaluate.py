"""The terms of the negative ELBO over a data set, with their standard errors."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nelbo.data import Batch, Dataset
from nelbo.objectives import FINISHED, Progress, Terms
from nelbo.training.seeds import derive, own_randomness, seed_noise
from nelbo.vae import VAE

TERMS = ("reconstruction_error", "kl", "nelbo", "objective")


@torch.no_grad()
def evaluate(
    model: VAE,
    dataset: Dataset,
    objective: Callable[[VAE, Tensor, Progress], Terms],
    *,
    progress: Progress = FINISHED,
    batch_size: int = 1000,
    seed: int = 0,
    device: torch.device | None = None,
) -> Mapping[str, float]:
    """Mean over the data of each term in nats, and its standard error over the examples.

    The draws (binarization, z) depend on ``seed`` and the position in the data alone: two models, or one model at two
    times, are compared on the same draws.

    Args:
        model: in any mode; it is evaluated in evaluation mode.
        dataset: the examples.
        objective: whose terms; ``objective`` in the result is its own value.
        progress: where a training stands, for schedules.
        batch_size: examples at a time.
        seed: of the draws.
        device: where the model is; None asks it.

    Returns:
        ``{"nelbo": ..., "nelbo_standard_error": ..., ...}`` for reconstruction_error, kl, nelbo and objective.
    """
    device = device or next(model.parameters(), torch.empty(0)).device
    n = len(dataset)
    # some objectives compare the examples of a batch: none may be left alone in the last one
    batch_size += n % batch_size == 1
    sums = torch.zeros(2, len(TERMS), dtype=torch.float64)
    training = model.training
    model.eval()
    try:
        with own_randomness(device):
            for position, raw in enumerate(dataset.batches(batch_size, device=device)):
                seed_noise(device, derive(seed, "validation", position))
                terms = objective(model, as_seen(model, dataset, raw).x, progress)
                values = torch.stack([*terms.loss, terms.value]).cpu().double()
                sums += torch.stack([values.sum(1), values.square().sum(1)])
    finally:
        model.train(training)
    result: dict[str, float] = {}
    for name, total, squares in zip(TERMS, *sums.tolist(), strict=True):
        mean = total / n
        variance = max(squares / n - mean * mean, 0.0) if math.isfinite(mean) and n > 1 else math.nan
        result[name] = mean
        result[f"{name}_standard_error"] = math.sqrt(variance / max(n - 1, 1))
    return result


def as_seen(model: VAE, dataset: Dataset, raw: Batch) -> Batch:
    """A raw batch prepared, in the model's own precision."""
    return dataset.prepare(raw).to(dtype=model_dtype(model))


def model_dtype(model: VAE) -> torch.dtype:
    """The precision of the model's weights."""
    return next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), torch.float32)
