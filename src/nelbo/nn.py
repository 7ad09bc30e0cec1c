"""Encoders and decoders for vectors and images of any size: networks without hidden sigmoids or resizing.

Any ``nn.Module`` can take their place. An encoder maps ``(batch, *event)`` to ``(batch, posterior.encoder_outputs)``; a
decoder maps ``(batch, latent)`` to ``(batch, parameters_per_feature * c, *rest)`` for data of shape
``(batch, c, *rest)``.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast, final

import torch
from torch import Tensor, nn

from nelbo.data.sizes import check_fits
from nelbo.registry import check_choice

__all__ = [
    "MLP",
    "ChannelsLast",
    "ConvDecoder",
    "ConvEncoder",
    "Log1p",
    "OneHot",
    "ResidualBlock",
    "WithMask",
    "activate",
]

_LARGE = 1 << 28  # bytes of a layer that are worth asking how much memory there is

Activation = Literal["relu", "tanh", "silu", "gelu", "elu", "leaky_relu", "softplus"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
}


@final
class MLP(nn.Module):
    """Dense layers between two shapes: an encoder from an event, or a decoder to one.

    Args:
        inputs: shape of one input, or its length.
        outputs: shape of one output, or its length.
        hidden: widths of the hidden layers.
        activation: between the layers.
    """

    def __init__(
        self,
        inputs: int | Sequence[int],
        outputs: int | Sequence[int],
        *,
        hidden: Sequence[int] = (400,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = _shape(inputs), _shape(outputs)
        widths = [math.prod(self.inputs), *hidden, math.prod(self.outputs)]
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            layers += [activate(activation)] if i else []
            layers += [_dense(fan_in, fan_out)]
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(self.output_bias)

    @property
    def output_bias(self) -> Tensor:
        """What every output starts from, (prod(outputs),); 0 until it is trained, or set to the data's mean by fit."""
        return self.layers[-1].bias  # pyright: ignore[reportReturnType]

    def forward(self, x: Tensor) -> Tensor:
        _fits(self, x, self.inputs)
        return self.layers(x.flatten(1)).reshape(-1, *self.outputs)


@final
class ConvEncoder(nn.Module):
    """Convolutions that halve an image, then dense layers: (batch, c, height, width) to (batch, outputs).

    Args:
        event: (c, height, width), any size that can be halved once per entry of ``channels``.
        outputs: numbers per image, ``posterior.encoder_outputs``.
        channels: output channels of each halving.
        hidden: width of the dense layer.
        residual: residual blocks after each halving.
        activation: between the layers.
    """

    def __init__(
        self,
        event: Sequence[int],
        outputs: int,
        *,
        channels: Sequence[int] = (32, 64),
        hidden: int = 256,
        residual: int = 0,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.event = tuple(event)
        sizes = _halvings(self.event, channels)
        layers: list[nn.Module] = []
        for before, after in zip([self.event[0], *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), activate(activation)]
            layers += [ResidualBlock(after, activation) for _ in range(residual)]
        flat = channels[-1] * math.prod(sizes[-1])
        layers += [nn.Flatten(), _dense(flat, hidden), activate(activation), nn.Linear(hidden, outputs)]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        _fits(self, x, self.event)
        return self.layers(x.contiguous(memory_format=torch.channels_last))


@final
class ConvDecoder(nn.Module):
    """Dense layers, then convolutions that double up to the exact size: (batch, latent) to (batch, c, height, width).

    Args:
        latent: number of latent dimensions.
        event: (c, height, width) of the output: ``likelihood.decoder_event(event_shape)``.
        channels: those of the encoder; used from the last to the first.
        hidden: width of the dense layer.
        residual: residual blocks before each doubling.
        activation: between the layers.
    """

    def __init__(
        self,
        latent: int,
        event: Sequence[int],
        *,
        channels: Sequence[int] = (32, 64),
        hidden: int = 256,
        residual: int = 0,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.latent = (latent,)
        sizes = _halvings(tuple(event), channels)
        start = (channels[-1], *sizes[-1])
        layers: list[nn.Module] = [nn.Linear(latent, hidden), activate(activation)]
        layers += [
            _dense(hidden, math.prod(start)),
            activate(activation),
            nn.Unflatten(1, start),
            ChannelsLast(),
        ]
        ups = list(zip([event[0], *channels], channels, sizes, sizes[1:], strict=False))[::-1]
        for i, (after, before, target, size) in enumerate(ups):
            layers += [activate(activation)] if i else []
            layers += [ResidualBlock(before, activation) for _ in range(residual)]
            # doubling gives 2 * size; an odd target lost its last row when it was halved, and gets it back
            extra = (target[0] - 2 * size[0], target[1] - 2 * size[1])
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, output_padding=extra)]
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(self.output_bias)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @property
    def output_bias(self) -> Tensor:
        """What every pixel starts from, (channels,); 0 until it is trained, or set to the data's mean by fit."""
        return self.layers[-1].bias  # pyright: ignore[reportReturnType]

    def forward(self, z: Tensor) -> Tensor:
        _fits(self, z, self.latent)
        return self.layers(z)


@final
class ResidualBlock(nn.Module):
    """x + f(x), with f two normalized 3x3 convolutions that start as zero: a deep stack starts as the identity.

    Source: He et al. 2016, "Identity mappings in deep residual networks" (pre-activation), with group normalization,
    which treats each example alone and so is the same while training and measuring.
    """

    def __init__(self, channels: int, activation: Activation = "relu") -> None:
        super().__init__()
        groups = math.gcd(8, channels)
        self.f = nn.Sequential(
            nn.GroupNorm(groups, channels),
            activate(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            activate(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        for parameter in self.f[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@final
class Log1p(nn.Module):
    """log(1 + x): brings counts to a range that dense layers like."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log1p(x)


@final
class Log(nn.Module):
    """log(x) of values greater than 0; 0 stands for what was not observed, and stays 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 1.0).log()


@final
class OneHot(nn.Module):
    """Category numbers (batch, c, \\*rest) to indicators (batch, c * classes, \\*rest).

    Args:
        classes: of each feature; or of a vector one number for each of its features, side by side.
    """

    def __init__(self, classes: int | Sequence[int]) -> None:
        super().__init__()
        self.classes = classes
        if not isinstance(classes, int):
            codes = torch.cat([torch.arange(number) for number in classes])
            self.register_buffer("codes", codes, persistent=False)
            self.register_buffer(
                "features", torch.arange(len(classes)).repeat_interleave(torch.tensor(classes)), persistent=False
            )

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.classes, int):
            features, codes = cast("tuple[Tensor, Tensor]", (self.features, self.codes))
            return (x.index_select(1, features) == codes).to(x.dtype)
        hot = nn.functional.one_hot(x.long(), self.classes).movedim(-1, 2)
        return hot.to(torch.get_default_dtype()).flatten(1, 2)


@final
class WithMask(nn.Module):
    """An encoder of examples with missing values: NaN becomes 0, and a mask stands beside the values.

    A model with such an encoder takes NaN in x for values that were not observed. A network that takes NaN by itself
    says so by an attribute ``takes_missing = True``.

    >>> encoder = WithMask(MLP(2 * 5, 4))
    >>> encoder(torch.full((3, 5), torch.nan)).shape
    torch.Size([3, 4])

    Args:
        network: (batch, 2 * c, \\*rest) to (batch, posterior.encoder_outputs), for x of shape (batch, c, \\*rest). The
            first c features, or channels, are the values; the others are 1 where x was observed, and 0 where not.
        transform: a first layer that sees the values alone, such as :class:`Log1p` of counts.
    """

    takes_missing = True

    def __init__(self, network: nn.Module, transform: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.transform = network, transform

    def forward(self, x: Tensor) -> Tensor:
        missing = x.isnan()
        values = x.masked_fill(missing, 0.0)
        values = values if self.transform is None else self.transform(values)
        return self.network(torch.cat([values, (~missing).to(values.dtype)], dim=1))


@final
class ChannelsLast(nn.Module):
    """The same images, laid out channels last in memory: convolutions on a CPU run up to 1.5 times as fast."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


def activate(name: Activation) -> nn.Module:
    """The activation of that name."""
    check_choice("activation", name, _ACTIVATIONS)
    # in place where the gradient needs only the output: one activation less in memory
    return nn.ReLU(inplace=True) if name == "relu" else _ACTIVATIONS[name]()


def _dense(fan_in: int, fan_out: int) -> nn.Linear:
    """A dense layer, or a MemoryError where it would take more memory than there is."""
    size = 4 * fan_in * fan_out
    if size > _LARGE:
        what = f"a dense layer from {fan_in:,} to {fan_out:,} units has {fan_in * fan_out:,} weights"
        instead = (
            "Write network='conv' for images (each of channels= halves them), a smaller hidden=, or smaller examples"
        )
        check_fits(2 * size, what, instead)  # twice: a recipe's placeholders, and what is drawn
    return nn.Linear(fan_in, fan_out)


def _shape(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


def _halvings(event: tuple[int, ...], channels: Sequence[int]) -> list[tuple[int, int]]:
    """The (height, width) of an image before and after each halving."""
    if len(event) != 3:
        raise ValueError(
            f"a convolutional network needs images of shape (channels, height, width), got {event}; "
            "use network='mlp' for vectors"
        )
    sizes = [(event[1], event[2])]
    for _ in channels:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    if min(sizes[-1]) < 1 or not channels:
        possible = int(math.log2(max(1, min(event[1:]))))
        line = f"channels={tuple(channels)[:possible] or (32,)}" if possible else "network='mlp'"
        raise ValueError(
            f"an image of {event[1]}x{event[2]} can be halved {possible} times, got {len(channels)} entries in "
            f"channels={tuple(channels)}; write {line}"
        )
    return sizes


def _fits(module: nn.Module, x: Tensor, event: tuple[int, ...]) -> None:
    if tuple(x.shape) == event:
        raise ValueError(f"one example of shape {event} has no batch axis; write x[None]")
    if tuple(x.shape[1:]) != event:
        raise ValueError(
            f"{type(module).__name__} was built for inputs of shape (batch, {', '.join(map(str, event))}), "
            f"got {tuple(x.shape)}; build it with {tuple(x.shape[1:])} instead, or reshape the data"
        )


def __dir__() -> list[str]:
    return sorted(__all__)
