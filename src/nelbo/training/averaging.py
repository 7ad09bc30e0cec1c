"""An exponential moving average of the weights, which generalizes better than the last step's (Polyak & Juditsky 1992).

Parameters are averaged, buffers are not: those of a normalization layer are running means already.
"""

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor, nn


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def move(average: dict[str, Tensor], model: nn.Module, *, decay: float, step: int) -> None:
    """Take the weights after ``step`` (from 0) into the average."""
    # early averages would remember the initialization: until 1 / (1 - decay) steps, a plain mean instead
    weight = max(1 - decay, 1 / (step + 1))
    for name, parameter in model.named_parameters():  # by name: a file gives them in another order
        average[name].lerp_(parameter, weight)


@torch.no_grad()
def put(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the model these weights."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


@contextlib.contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor] | None) -> Generator[None]:
    """Within, the model has its averaged weights, if there are any."""
    if average is None:
        yield
        return
    own = copied(model)
    put(model, average)
    try:
        yield
    finally:
        put(model, own)
