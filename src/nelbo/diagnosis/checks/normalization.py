"""Layers that normalize an example by others: by which, and whether they do so with statistics that fit."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import z_critical
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation
from nelbo.wording import listed
from nelbo.wrapping.modules import BatchNorm, batch_norms

_LEAST = 32  # examples whose mean and variance are to be compared with running ones
_WARNING, _SEVERE = 0.005, 0.02
"""Nats per feature that running statistics cost; at least those of 200 features."""


@check("batch-norm-pieces")
def batch_norm_pieces(case: Case) -> Verdict:
    if not case.settings:
        raise NotApplicable("needs a run of nelbo.fit, which records into how many pieces a batch was cut")
    layers = batch_norms(case.networks)
    if not layers:
        raise NotApplicable("needs a network with BatchNorm")
    batch_size, shards = int(case.settings["batch_size"]), int(case.settings["shards"])
    rows = measured("examples that BatchNorm normalizes by", batch_size // shards, unit="")
    if shards == 1:
        return passed(rows)
    return found(
        "note",
        rows,
        measured("examples in a batch", batch_size, unit=""),
        meaning=f"{listed(layers)} saw {batch_size // shards} examples at a time in training, one of {shards} "
        f"pieces of a batch of {batch_size}, and normalized by their mean and variance. The running statistics that "
        "the model is evaluated with are those of the first piece of each batch alone.",
    )


@check("batch-norm-statistics")
def batch_norm_statistics(case: Case) -> Verdict:
    layers = batch_norms(case.networks)
    if not layers:
        raise NotApplicable("needs a network with BatchNorm")
    without = [name for name, layer in layers.items() if layer.running_mean is None]
    if without:
        return found(
            "warning",
            measured("layers of BatchNorm without running statistics", len(without), unit=""),
            measured("layers of BatchNorm", len(layers), unit=""),
            meaning=f"{listed(without)} normalize by the examples that stand beside one, also in evaluation mode: "
            "reconstruction, loss and score of an example depend on its neighbours, and on how many there are.",
        )
    rows = case.budget.at_most(min(500, len(case.train)), "examples for BatchNorm", share=0.05, pairs=2, least=_LEAST)
    if rows < _LEAST:
        raise NotApplicable(f"needs {_LEAST} examples, to compare their statistics with those of BatchNorm")
    part = case.train[:rows]
    nelbo = part.nelbo
    try:
        with _by_the_batch(layers) as seen:
            cost = Estimate.mean_of(nelbo - Evaluation(case.model, part.batch, seed=case.seed).independent().nelbo)
    except ValueError as error:  # one value of a channel has no variance
        raise NotApplicable(f"needs several values for each channel of BatchNorm: {error}") from error
    cost = cost.named("NELBO in evaluation mode, minus that by the statistics of the examples")
    apart = {name: _apart(seen[name], layer) for name, layer in layers.items() if name in seen}
    if not apart:
        raise NotApplicable("no BatchNorm runs when an example is encoded and decoded")
    name, far = max(apart.items(), key=lambda item: item[1])
    numbers = (
        cost,
        measured(f"distance of the running mean of {name} from the examples', over their spread", far, unit=""),
    )
    size = max(200, part.features)
    if cost.t <= z_critical() or float(cost) < _WARNING * size:
        return passed(*numbers)
    severity = "severe" if float(cost) >= _SEVERE * size else "warning"
    never = [name for name, layer in layers.items() if _as_made(layer)]
    meaning = (
        f"{listed(never)} never adapted: the running mean is 0 and the variance 1, as they were made. In evaluation "
        "mode the model is another one than was trained."
        if never
        else ""
    )
    return found(severity, *numbers, cost=cost, meaning=meaning)


Statistics = tuple[Tensor, Tensor]
"""Mean and variance of each channel."""


@contextmanager
def _by_the_batch(layers: dict[str, BatchNorm]) -> Generator[dict[str, Statistics]]:
    """Within, the layers normalize by the examples that they are given, as in training.

    Yields:
        The statistics of what each layer was given first; it fills while the model runs.
    """
    seen: dict[str, Statistics] = {}

    def listen(name: str) -> Callable[..., None]:
        def hook(layer: Any, inputs: tuple[Tensor, ...]) -> None:
            if name not in seen:
                variance, mean = torch.var_mean(inputs[0].movedim(1, -1).flatten(0, -2), 0, correction=0)
                seen[name] = mean, variance

        return hook

    kept = [(layer, layer.running_mean, layer.running_var) for layer in layers.values()]
    handles = [layer.register_forward_pre_hook(listen(name)) for name, layer in layers.items()]
    try:
        for layer, _, _ in kept:
            layer.running_mean = layer.running_var = None
        yield seen
    finally:
        for layer, mean, variance in kept:
            layer.running_mean, layer.running_var = mean, variance
        for handle in handles:
            handle.remove()


def _apart(seen: Statistics, layer: BatchNorm) -> float:
    """Root mean square, over the channels, of the distance of the running mean, in standard deviations."""
    mean, variance = seen
    assert layer.running_mean is not None
    return float(((mean - layer.running_mean).square() / (variance + layer.eps)).mean().sqrt())


def _as_made(layer: BatchNorm) -> bool:
    """Whether no batch ever moved its statistics."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return bool((layer.running_mean == 0).all()) and bool((layer.running_var == 1).all())
