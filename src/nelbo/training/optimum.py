"""Parameters of p(x|z) with a closed-form optimum, set to it for the weights as they are."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.data import Dataset
from nelbo.evaluation.mode import evaluation_mode, rows_at_once
from nelbo.likelihoods import Likelihood
from nelbo.objectives import Objective, Progress
from nelbo.randomness import example_keys
from nelbo.vae import Model, place_of

ROWS = 10_000  # training examples at most
_AT_ONCE, _PASSES = 1000, 8  # examples, and memory budgets: fewer of large images
_VALUES, _DRAWS = 50_000, 64  # squared residuals whose mean is within half a percent, and draws of z at most
_CLOSE, _ROUNDS = 5e-3, 20
_SHARE, _FEW = 10, 1000  # of the examples at a validation, which shall not take long beside an epoch


def settle(
    model: Model, objective: Objective, dataset: Dataset, progress: Progress, *, seed: int, roughly: bool = False
) -> int | None:
    """Set what has a closed-form optimum, such as sigma of ``Normal("optimal")``, to that of the training examples.

    Their draws depend on the seed and their values alone. Where the weights of an objective's draws depend on the
    parameter themselves, as in importance weighting, it is found again until it stays the same.

    Args:
        model: in any mode; it is evaluated in evaluation mode.
        objective: of the training.
        dataset: the training set, of which `ROWS` examples are taken, in blocks spread over it.
        progress: where the training stands.
        seed: of the draws.
        roughly: by a tenth of the examples, but a thousand at least, and one draw of z for each, for a validation.

    Returns:
        The number of examples, or None for a family without such a parameter.
    """
    family = model.px_family
    if type(family).optimum is Likelihood.optimum:
        return None
    n = len(dataset)
    rows = dataset.spread(min(ROWS, max(_FEW, n // _SHARE)) if roughly else ROWS)
    needed = math.ceil(_VALUES / (len(rows) * math.prod(dataset.event_shape)))
    draws = 1  # for the way there; the last round has them all
    for _ in range(1 if roughly else _ROUNDS):
        each, weighed = _optima(model, objective, dataset, rows, progress, seed=seed, draws=range(draws))
        while each and draws > 1 and len(rows) < _FEW and len(each) < _DRAWS and _error(each) > _CLOSE:
            more = range(len(each), min(_DRAWS, 2 * len(each)))
            each += _optima(model, objective, dataset, rows, progress, seed=seed, draws=more)[0]
        found = torch.stack(each).mean(0) if each else None
        if found is None or not bool(torch.isfinite(found).all()):
            return None
        before = family.state_dict()
        before = {name: tensor.clone() for name, tensor in before.items() if tensor.is_floating_point()}
        family.settle(found)
        moved = [float(((family.state_dict()[name] - old) / old).abs().max()) for name, old in before.items()]
        close = not weighed or max(moved, default=0.0) < _CLOSE
        least = 2 if len(rows) < _FEW and not roughly else 1
        all_draws = min(_DRAWS, max(least, math.ceil(needed / max(1, weighed))))
        if close and draws == all_draws:
            break
        draws = all_draws if close else 1
    return len(rows)


def _error(each: list[Tensor]) -> float:
    """The largest relative standard error of the mean of optima by single draws."""
    draws = torch.stack(each).double()
    return float((draws.std(0) / draws.mean(0)).abs().max()) / math.sqrt(len(draws))


def _optima(
    model: Model,
    objective: Objective,
    dataset: Dataset,
    rows: Tensor,
    progress: Progress,
    *,
    seed: int,
    draws: range,
) -> tuple[list[Tensor], int]:
    """By each draw the mean of the optima of batches, by their sizes; and how many draws were weighed at a time."""
    family, weight = model.px_family, place_of(model)
    noted: list[Distribution] = []

    def note(module: nn.Module, inputs: object, px: Distribution) -> None:
        noted[:] = [px]

    totals: dict[int, Tensor] = {}
    weighed = 0
    handle = family.register_forward_hook(note)
    try:
        with evaluation_mode(model, seed) as device:
            at_once = min(_AT_ONCE, max(2, rows_at_once(math.prod(dataset.event_shape), passes=_PASSES)))
            # some objectives compare the examples of a batch: none may be left alone in the last one
            for part in rows.split(at_once + (len(rows) % at_once == 1)):
                batch = dataset.examples(part, seed=seed).to(device, None if weight is None else weight.dtype)
                for draw in draws:
                    keys = example_keys(batch.x, batch.c, seed=seed, purpose=f"optimum {draw}")
                    terms = objective.terms(model, batch.with_keys(keys), progress)
                    optimum = family.optimum(model.over_observed(noted[-1]), batch.x, terms.weights)
                    if optimum is None:
                        return [], 0
                    share = len(part) / len(rows) * optimum
                    totals[draw] = totals[draw] + share if draw in totals else share
                    weighed = 0 if terms.weights is None else len(terms.weights)
    finally:
        handle.remove()
    return list(totals.values()), weighed
