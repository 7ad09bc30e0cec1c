"""Tensors that are not finite, told by their name, layer and place."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.devices import uncompiled
from nelbo.objectives import Terms


class NonFiniteError(ArithmeticError):
    """Training met a NaN or an infinity; the message names the first tensor, its layer and the batch."""


class NonFiniteFound(Exception):  # noqa: N818  (a signal between the watch and the replay, not an error of the user)
    """The first tensor that is not finite."""


@contextmanager
def watch(model: nn.Module) -> Generator[None]:
    """Within, the first module whose output, or whose output's gradient, is not finite raises NonFiniteFound."""
    handles: list[Any] = []
    passed = ["the loss"]  # by the gradient on its way back, unharmed

    def backward_hook(where: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            examine(gradient, f"the gradient at the output of {where}, on its way back from {passed[-1]},")
            passed.append(where)

        return hook

    def forward_hook(where: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                examine(output, f"the output of {where}")
                if output.requires_grad:
                    # a hook of the tensor, for a module's own backward hooks forbid activations in place
                    output.register_hook(backward_hook(where))

        return hook

    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(forward_hook(f"{name} ({type(module).__name__})")))
    try:
        # hooks that come after the compilation are not part of the compiled code
        with uncompiled():
            yield
    finally:
        for handle in handles:
            handle.remove()


def examine(tensor: Tensor, name: str) -> None:
    """Raise NonFiniteFound, naming the tensor and its first bad place, unless every value is finite."""
    finite = torch.isfinite(tensor)
    if bool(finite.all()):
        return
    place = tuple(int(i) for i in (~finite).nonzero()[0])
    bad = tensor.numel() - int(finite.sum())
    raise NonFiniteFound(
        f"{name} is {float(tensor[place].detach())} at {place} ({bad} of {tensor.numel()} values are not finite)"
    )


def examine_data(x: Tensor) -> None:
    """Raise NonFiniteFound where a batch, as the model sees it, is not finite."""
    examine(x, "the data x")


def examine_terms(terms: Terms, *, kl: bool) -> None:
    """Raise NonFiniteFound for the first term that is not finite; the infinite KL of an autoencoder is left out."""
    examine(terms.loss.reconstruction_error, "the reconstruction error")
    if kl:
        examine(terms.loss.kl, "the KL")
    examine(terms.value, "the objective")
    examine(terms.surrogate, "the loss")


def examine_gradients(model: nn.Module) -> None:
    """Raise NonFiniteFound for the first parameter whose gradient is not finite, nearest the output first."""
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None:
            examine(parameter.grad, f"the gradient of {name}")


def examine_weights(model: nn.Module) -> None:
    """Raise NonFiniteFound for the first weight that is not finite."""
    for name, parameter in model.named_parameters():
        examine(parameter, f"the weight {name}")


def weights_are_finite(model: nn.Module) -> bool:
    """Whether a training can go on from these weights; buffers may be infinite on purpose, as masks are."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
