"""Networks as steps and plain arrays, so that a browser computes them itself: dense and convolutional ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from nelbo.nn import MLP, ChannelsLast, ConvDecoder, ConvEncoder, Log1p, ResidualBlock
from nelbo.vae import Model

LARGEST = 1_500_000
"""Weights of a network that are worth sending: 6 MB."""
MOST_WORK = 16_000_000
"""Multiplications for one example that a page may take: some 10 ms."""

_ACTIVATIONS: dict[type[Any], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.LeakyReLU: "leaky_relu",
    nn.Softplus: "softplus",
    nn.Sigmoid: "sigmoid",
    Log1p: "log1p",
}
_NO_SETTINGS = ("training", "inplace")

Shape = tuple[int, ...]
Step = dict[str, Any]


@final
@dataclass(eq=False)
class Network:
    """What network.js of the inspector computes.

    Args:
        steps: what happens to an example, in order, ready for JSON.
        weights: float32, in the order in which the steps take them.
        work: multiplications for one example.
    """

    steps: list[Step] = field(default_factory=list[Step])
    weights: list[Tensor] = field(default_factory=list[Tensor])
    work: int = 0

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(weight.numel() for weight in self.weights)

    def take(self, step: Step, layer: Any = None, work: int = 0, outputs: int = 0) -> None:
        """Add a step, with the weights and the bias of a layer, which may have none."""
        self.steps.append(step)
        self.work += work
        if layer is not None:
            bias = torch.zeros(outputs) if layer.bias is None else layer.bias
            self.weights += [weight.detach().cpu().float().contiguous() for weight in (layer.weight, bias)]


class _UnknownLayerError(Exception):
    """A layer that a page does not compute."""


def network(module: nn.Module | None, inputs: Sequence[int]) -> Network | None:
    """The module as a page computes it, for one example of shape inputs.

    None where it holds a layer that the page does not know, or is larger than `LARGEST` or `MOST_WORK`.
    """
    found = Network()
    try:
        _add(found, module, tuple(inputs))
    except _UnknownLayerError:
        return None
    return found if found.weights and found.size <= LARGEST and found.work <= MOST_WORK else None


def encoder_of(model: Model, event: Sequence[int]) -> Network | None:
    """The encoder, where a page can take q(z|x) of an example from it."""
    return network(getattr(model, "encoder", None), event) if _is_plain(model) and posterior_form(model) else None


def decoder_of(model: Model) -> Network | None:
    """The decoder, where a page can take p(x|z) from it."""
    plain = _is_plain(model) and model.px_family.browser_form() is not None
    return network(getattr(model, "decoder", None), (model.latent,)) if plain else None


def posterior_form(model: Model) -> dict[str, Any] | None:
    """The formula by which a page gets q(z|x) from the encoder's output, ready for JSON; None where Python has to."""
    if model.deterministic:
        return {"family": "point"}
    family = getattr(model, "qz_family", None)
    return None if family is None else family.browser_form()


def _is_plain(model: Model) -> bool:
    """Whether the model is its two networks and the families on top of them, in single precision."""
    return not model.foreign and model.network_precision == "float32"


def _add(into: Network, module: nn.Module | None, shape: Shape) -> Shape:
    """Add what a module does to an example of a shape; returns the shape of the result.

    Raises:
        _UnknownLayerError: the page does not know this type of module: a subclass may do anything.
    """
    rule = _RULES.get(type(module))
    if rule is None or any(vars(module)[hooks] for hooks in ("_forward_pre_hooks", "_forward_hooks")):
        raise _UnknownLayerError
    return rule(into, module, shape)


def _mlp(into: Network, module: MLP, shape: Shape) -> Shape:
    _add(into, module.layers, (math.prod(shape),))
    return module.outputs


def _convolutional(into: Network, module: ConvEncoder | ConvDecoder, shape: Shape) -> Shape:
    return _add(into, module.layers, shape)


def _sequence(into: Network, module: nn.Sequential, shape: Shape) -> Shape:
    for part in module:
        shape = _add(into, part, shape)
    return shape


def _dense(into: Network, layer: nn.Linear, shape: Shape) -> Shape:
    outputs, inputs = layer.weight.shape
    if shape != (inputs,):
        raise _UnknownLayerError
    into.take({"kind": "dense", "inputs": inputs, "outputs": outputs}, layer, inputs * outputs, outputs)
    return (outputs,)


def _conv(into: Network, layer: nn.Conv2d, shape: Shape) -> Shape:
    channels, kernel, stride, padding = _window(layer, shape)
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)]
    to = (channels, *size)
    work = shape[0] * math.prod(kernel) * math.prod(to)
    into.take(_described("conv", layer, shape, to), layer, work, channels)
    return to


def _conv_transpose(into: Network, layer: nn.ConvTranspose2d, shape: Shape) -> Shape:
    channels, kernel, stride, padding = _window(layer, shape)
    sides = zip(shape[1:], kernel, stride, padding, layer.output_padding, strict=True)
    to = (channels, *((n - 1) * s - 2 * p + k + extra for n, k, s, p, extra in sides))
    work = channels * math.prod(kernel) * math.prod(shape)
    into.take(_described("conv_transpose", layer, shape, to), layer, work, channels)
    return to


def _window(layer: nn.Conv2d | nn.ConvTranspose2d, shape: Shape) -> tuple[int, Shape, Shape, Shape]:
    """Output channels, kernel, stride and padding of a convolution without groups and dilation."""
    plain = layer.groups == 1 and tuple(layer.dilation) == (1, 1) and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str) or len(shape) != 3 or shape[0] != layer.in_channels:
        raise _UnknownLayerError
    return layer.out_channels, layer.kernel_size, layer.stride, layer.padding


def _described(kind: str, layer: nn.Conv2d | nn.ConvTranspose2d, shape: Shape, to: Shape) -> Step:
    window = {name: list(getattr(layer, name)) for name in ("stride", "padding")}
    return {"kind": kind, "from": list(shape), "to": list(to), "kernel": list(layer.kernel_size), **window}


def _group_norm(into: Network, layer: nn.GroupNorm, shape: Shape) -> Shape:
    if len(shape) != 3 or not layer.affine:
        raise _UnknownLayerError
    step = {"kind": "group_norm", "of": list(shape), "groups": layer.num_groups, "eps": layer.eps}
    into.take(step, layer, 2 * math.prod(shape))
    return shape


def _residual(into: Network, block: ResidualBlock, shape: Shape) -> Shape:
    inner = Network()
    _add(inner, block.f, shape)
    into.take({"kind": "residual", "of": list(shape), "steps": inner.steps}, work=inner.work)
    into.weights += inner.weights
    return shape


def _flatten(into: Network, layer: nn.Flatten, shape: Shape) -> Shape:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise _UnknownLayerError
    return (math.prod(shape),)


def _unflatten(into: Network, layer: nn.Unflatten, shape: Shape) -> Shape:
    sizes: Any = layer.unflattened_size
    whole = isinstance(sizes, tuple | list) and all(type(size) is int and size > 0 for size in sizes)
    if layer.dim != 1 or len(shape) != 1 or not whole:
        raise _UnknownLayerError
    return tuple(sizes)


def _same(into: Network, layer: nn.Module, shape: Shape) -> Shape:
    return shape  # the order of the numbers stays


def _activation(into: Network, layer: nn.Module, shape: Shape) -> Shape:
    if _settings(layer) != _settings(type(layer)()):
        raise _UnknownLayerError
    into.take({"kind": _ACTIVATIONS[type(layer)]})
    return shape


def _settings(activation: nn.Module) -> dict[str, Any]:
    """What an activation was made with, apart from where it writes: a browser knows only the defaults."""
    return {name: value for name, value in vars(activation).items() if name[0] != "_" and name not in _NO_SETTINGS}


_RULES: dict[type[Any], Callable[[Network, Any, Shape], Shape]] = {
    MLP: _mlp,
    ConvEncoder: _convolutional,
    ConvDecoder: _convolutional,
    nn.Sequential: _sequence,
    nn.Linear: _dense,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.GroupNorm: _group_norm,
    ResidualBlock: _residual,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.Identity: _same,
    ChannelsLast: _same,
    **dict.fromkeys(_ACTIVATIONS, _activation),
}
