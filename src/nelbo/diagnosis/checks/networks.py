"""Overfitting, dead units, and an encoder that is not told what is missing."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nelbo import latents
from nelbo.diagnosis.case import Case, log_weights
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import z_critical
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.randomness import example_keys
from nelbo.training.start import sees_no_mask
from nelbo.vae import at_condition


class _Bounds(NamedTuple):
    elbo: Tensor
    importance: Tensor
    """The importance-weighted bound."""


def _bounds(case: Case, evaluation: Evaluation) -> _Bounds:
    """The ELBO and the importance-weighted bound of the first examples, (n,) each, on the same draws."""
    first = evaluation[:300]
    samples = case.budget.at_most(64, "draws for overfitting", share=0.05, pairs=0.5 * len(first), least=2)
    weights = log_weights(first, samples, "overfit")
    return _Bounds(weights.mean(0), weights.logsumexp(0) - math.log(samples))


def _difference(a: Tensor, b: Tensor) -> Estimate:
    """mean(a) - mean(b) of two independent sets of examples."""
    return Estimate.mean_of(a) + Estimate.mean_of(b).scaled(-1)


@check("overfit")
def overfit(case: Case) -> Verdict:
    if case.held_out is None:
        raise NotApplicable("needs held_out=")
    train, held = _bounds(case, case.train), _bounds(case, case.held_out)
    gap, decoder = _difference(train.elbo, held.elbo), _difference(train.importance, held.importance)
    encoder = _difference(held.importance - held.elbo, train.importance - train.elbo)
    kl = case.kl
    numbers = (
        gap.named("ELBO on training data, minus held-out"),
        decoder.named("of this the decoder's"),
        encoder.named("of this the encoder's"),
        kl,
    )
    cost = _since_best(case)
    if gap.t < z_critical() or gap.value < 0.5 * kl.value:
        return passed(*numbers)
    # where training on has cost nothing on held-out data, the gap is that of few examples
    lost = case.history is None or (cost is not None and cost.t > z_critical())
    return found("severe" if gap.value > kl.value and lost else "warning", *numbers, cost=cost)


def _since_best(case: Case) -> Estimate | None:
    column = None if case.history is None else case.history.get("validation_nelbo")
    if column is None:
        return None
    finite = column[column == column]  # noqa: PLR0124  (NaN is not equal to itself)
    lost = float(finite[-1] - finite.min())
    errors = None if case.history is None else case.history.get("validation_nelbo_standard_error")
    error = float(errors[-1]) if errors is not None else 0.0
    return measured("since the best epoch", lost, error) if lost > 0 else None


@check("dead-units")
def dead_units(case: Case) -> Verdict:
    dead = _dead(case)
    if not dead:
        raise NotApplicable("no linear or convolutional layer with a bias that is trained")
    name, (share, width) = max(dead.items(), key=lambda item: item[1][0])
    worst = measured(f"dead units in the worst layer, {name}", share, unit="share")
    numbers = (worst, measured("units in that layer", float(width), unit=""))
    if share < 0.6:
        return passed(*numbers)
    try:
        left = case.structure_left
    except NotApplicable:
        return found("severe" if share > 0.85 else "note", *numbers)
    if left.t <= z_critical() or float(left) < 0.5:
        return found("note", *numbers, left)
    return found("severe" if share > 0.85 else "note", *numbers, left)


Gradients = tuple[Tensor | None, ...]  # None: the loss does not depend on it
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)  # pyright: ignore[reportPrivateUsage]


def _dead(case: Case) -> dict[str, tuple[float, int]]:
    """Layer -> (share of dead units, units)."""
    layers = {
        f"{name} ({type(module).__name__})": module
        for network in case.networks
        for name, module in network.named_modules()
        if isinstance(module, _LAYERS) and getattr(module.bias, "requires_grad", False)
    }
    if not layers:
        return {}
    biases: list[Tensor] = [module.bias for module in layers.values()]  # pyright: ignore[reportAssignmentType]
    closed = [torch.ones(len(bias), dtype=torch.bool, device=bias.device) for bias in biases]
    silent = [mask.clone() for mask in closed]

    def listen(mask: Tensor) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            units = output.detach().movedim(-1 if isinstance(module, nn.Linear) else 1, 0)
            mask.logical_and_((units <= 0).flatten(1).all(1))

        return hook

    handles = [module.register_forward_hook(listen(mask)) for module, mask in zip(layers.values(), closed, strict=True)]
    try:
        with torch.enable_grad():
            rows = min(500, len(case.train))
            rows = case.budget.at_most(rows, "examples for dead units", share=0.05, pairs=3, least=4)
            at_once = min(100, rows_at_once(case.train.features, on=case.train.device))
            for batch in case.train.batch[:rows].split(at_once):
                model = at_condition(case.model, batch)
                keys = example_keys(batch.x, batch.c, seed=case.seed, purpose="gradients")
                z = latents.draw(model.posterior(batch.x), None, keys)
                loss = -(model.log_likelihood(batch.x, z) + model.prior.log_prob(z)).sum()
                gradients = cast("Gradients", torch.autograd.grad(loss, biases, allow_unused=True))
                for mask, gradient in zip(silent, gradients, strict=True):
                    mask.logical_and_(torch.zeros_like(mask) if gradient is None else gradient == 0)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (float((a & b).double().mean()), len(a)) for name, a, b in zip(layers, silent, closed, strict=True)}


@check("mask-left-out")
def mask_left_out(case: Case) -> Verdict:
    if case.missing is None:
        raise NotApplicable("needs examples with missing values, and a model that takes them")
    share = measured("values that are missing", case.missing.double().mean(), unit="share")
    return found("warning", share) if sees_no_mask(case.model, case.train.batch) else passed(share)
