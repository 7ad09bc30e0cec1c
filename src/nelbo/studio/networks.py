"""Small dense networks as plain arrays, so that a browser decodes them itself, within a frame."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.nn import MLP, ChannelsLast, Log1p

LARGEST = 1_500_000
"""Weights of a network that are worth sending: 6 MB, some 3 ms a picture."""

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
_SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, ChannelsLast)


@dataclass(frozen=True, eq=False)
class Dense:
    """A network of dense layers: steps in order, each ``("dense", weight, bias)`` or ``("relu",)`` and so on."""

    steps: list[tuple[Any, ...]]

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return sum(part.numel() for step in self.steps for part in step[1:])


def dense(network: nn.Module | None) -> Dense | None:
    """The network as dense layers, or None where it is anything else, or larger than `LARGEST`."""
    steps = _steps(network)
    if steps is None or not any(step[0] == "dense" for step in steps):
        return None
    found = Dense(steps)
    return found if found.weights <= LARGEST else None


def _steps(network: nn.Module | None) -> list[tuple[Any, ...]] | None:
    if isinstance(network, MLP):
        return _steps(network.layers)
    if isinstance(network, nn.Sequential):
        parts = [_steps(part) for part in network]
        return None if any(part is None for part in parts) else [step for part in parts for step in part or []]
    if isinstance(network, nn.Linear):
        bias = torch.zeros(network.out_features) if network.bias is None else network.bias  # pyright: ignore[reportUnnecessaryComparison]
        return [("dense", _plain(network.weight), _plain(bias))]
    if isinstance(network, _SHAPES):
        return []  # the order of the numbers stays
    name = _ACTIVATIONS.get(type(network))
    return [(name,)] if network is not None and name and _settings(network) == _settings(type(network)()) else None


def _settings(activation: nn.Module) -> dict[str, Any]:
    """What an activation was made with, apart from where it writes: a browser knows only the defaults."""
    return {name: value for name, value in vars(activation).items() if name[0] != "_" and name not in _NO_SETTINGS}


def _plain(weights: Tensor) -> Tensor:
    return weights.detach().cpu().float().contiguous()
