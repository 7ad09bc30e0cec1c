"""The terms of an objective over a data set, with their standard errors."""

import math
from collections.abc import Callable, Mapping

import torch

from nelbo.data import Batch, Dataset
from nelbo.devices import check_weights
from nelbo.evaluation.mode import evaluation_mode
from nelbo.objectives import FINISHED, Progress, Terms
from nelbo.randomness import example_keys
from nelbo.vae import Model, place_of
from nelbo.workers import ALONE, Workers

TERMS = ("reconstruction_error", "kl", "nelbo", "objective")


def mean_terms(
    model: Model,
    dataset: Dataset,
    objective: Callable[[Model, Batch, Progress], Terms],
    *,
    progress: Progress = FINISHED,
    batch_size: int = 1000,
    seed: int = 0,
    workers: Workers = ALONE,
) -> Mapping[str, float]:
    """Mean over the data of each term in nats, and its standard error over the examples.

    A random preparation is drawn by ``seed`` and the example's position, z by ``seed`` and the example's values: two
    models, or one model at two times, are compared on the same draws, whatever the batch size.

    Args:
        model: in any mode; it is measured in evaluation mode.
        dataset: the examples.
        objective: whose terms; ``objective`` in the result is its own value.
        progress: where a training stands, for schedules.
        batch_size: examples at a time.
        seed: of the draws.
        workers: the processes that share the batches; each gets the same result, to the bit, as one alone.

    Returns:
        ``{"nelbo": ..., "nelbo_standard_error": ..., ...}`` for reconstruction_error, kl, nelbo and objective.
    """
    check_weights(model)
    n = len(dataset)
    # some objectives compare the examples of a batch: none may be left alone in the last one
    batch_size += n % batch_size == 1
    fixed, weight = dataset.fixed(seed=seed), place_of(model)
    blocks = math.ceil(n / batch_size)
    own = workers.share(blocks)
    found = torch.zeros(len(own), 2, len(TERMS), dtype=torch.float64)
    with evaluation_mode(model, seed) as device:
        batches = fixed.batches(batch_size, start=own.start, device=device)
        for place, raw in zip(found, batches, strict=False):
            batch = fixed.prepare(raw).to(dtype=None if weight is None else weight.dtype)
            keys = example_keys(batch.x, batch.c, seed=seed, purpose="validation")
            terms = objective(model, batch.with_keys(keys), progress)
            values = torch.stack([*terms.loss, terms.value]).cpu().double()
            place[:] = torch.stack([values.sum(1), values.square().sum(1)])
    totals = torch.zeros(2, len(TERMS), dtype=torch.float64)
    for sums in workers.joined(found, blocks):
        totals += sums
    result: dict[str, float] = {}
    for name, total, squares in zip(TERMS, *totals.tolist(), strict=True):
        mean = total / n
        variance = max(squares / n - mean * mean, 0.0) if math.isfinite(mean) and n > 1 else math.nan
        result[name] = mean
        result[f"{name}_standard_error"] = math.sqrt(variance / max(n - 1, 1))
    return result
