"""Where a NaN or an infinity came from: the failed stretch is replayed step by step under watch."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class NonFiniteError(ArithmeticError):
    """Training met a NaN or an infinity; the message names the first tensor, its layer and the batch."""


class First(Exception):  # noqa: N818  (a signal between the watch and the replay, not an error of the user)
    """The first tensor that is not finite."""


@contextmanager
def watch(model: nn.Module) -> Generator[None]:
    """Within, the first module whose output or whose gradient is not finite raises First with its name."""
    handles: list[Any] = []

    def forward_hook(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                examine(output, f"the output of {name} ({type(module).__name__})")

        return hook

    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()):
            handles.append(module.register_forward_hook(forward_hook(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def examine(tensor: Tensor, name: str) -> None:
    """Raise First, naming the tensor and its first bad place, unless every value is finite."""
    finite = torch.isfinite(tensor)
    if bool(finite.all()):
        return
    place = tuple(int(i) for i in (~finite).nonzero()[0])
    bad = tensor.numel() - int(finite.sum())
    raise First(f"{name} is {float(tensor[place])} at {place} ({bad} of {tensor.numel()} values are not finite)")


def examine_gradients(model: nn.Module) -> None:
    """Raise First for the first parameter whose gradient is not finite, nearest the output first."""
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None:
            examine(parameter.grad, f"the gradient of {name}")


def examine_weights(model: nn.Module) -> None:
    """Raise First for the first weight that is not finite."""
    for name, parameter in model.named_parameters():
        examine(parameter, f"the weight {name}")
