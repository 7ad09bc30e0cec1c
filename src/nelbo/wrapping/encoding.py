"""The answer of a foreign encode: where the mean and the spread of q(z|x) stand, and on which scale the spread is.

People return (mu, logvar), (mu, sigma), (mu, variance), a dict, an object with fields, one tensor of two halves, or a
distribution. A layout reads the two tensors, and can also put others in their place.
"""

import copy
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

Spread = Literal["logvar", "log_std", "std", "variance", "softplus"]
"""The scale on which an encoder gives the spread of q(z|x)."""

LOG_STD: dict[Spread, Callable[[Tensor], Tensor]] = {
    "logvar": lambda h: 0.5 * h,
    "log_std": lambda h: h,
    "std": torch.log,
    "variance": lambda h: 0.5 * torch.log(h),
    "softplus": lambda h: torch.log(F.softplus(h)),
}
"""The logarithm of the standard deviation, from the encoder's second output on each scale."""

FROM_LOG_STD: dict[Spread, Callable[[Tensor], Tensor]] = {
    "logvar": lambda log_std: 2 * log_std,
    "log_std": lambda log_std: log_std,
    "std": torch.exp,
    "variance": lambda log_std: torch.exp(2 * log_std),
    "softplus": lambda log_std: torch.log(torch.expm1(log_std.exp())),
}
"""Its inverse."""

WORDS: dict[Spread, str] = {
    "logvar": "the log variance, sigma = exp(h / 2)",
    "log_std": "the log standard deviation, sigma = exp(h)",
    "std": "the standard deviation, sigma = h",
    "variance": "the variance, sigma = sqrt(h)",
    "softplus": "a number whose softplus is the standard deviation, sigma = log(1 + exp(h))",
}

_MEANS = {"mu", "mean", "loc", "means", "embedding", "location", "mus"}
_SPREADS: dict[Spread, str] = {
    "logvar": "logvar logvars lnvar logvariance logcovariance logsigma2 logsigmasq logsigmasquared",
    "log_std": "logsigma logstd logscale logstddev lnsigma",
    "std": "sigma std stddev scale stdev standarddeviation",
    "variance": "var variance sigma2 sigmasq covariance",
}
_SCALES: dict[str, Spread] = {name: scale for scale, names in _SPREADS.items() for name in names.split()}


def _plain(name: str) -> str:
    """A field's name without the usual decoration: ``z_log_var``, ``qz_logvar`` and ``logvar_z`` are one."""
    words = [word for word in re.split(r"_+", name.lower()) if word not in ("z", "q", "qz", "latent", "")]
    return "".join(words)


def is_mean(name: str) -> bool:
    """Whether a field of that name holds the means."""
    return _plain(name) in _MEANS


def scale_of(name: str) -> Spread | None:
    """The scale of the spread in a field of that name."""
    return _SCALES.get(_plain(name))


def entries_of(output: Any) -> dict[Any, Any]:
    """The entries of a tuple, list, mapping or object, by position, key or attribute."""
    if isinstance(output, Mapping):
        return dict(output)
    return dict(enumerate(output)) if isinstance(output, tuple | list) else dict(getattr(output, "__dict__", {}))


def replaced(output: Any, values: Mapping[Any, Any]) -> Any:
    """A copy of a tuple, list, mapping or object with other values for some entries."""
    if isinstance(output, tuple):
        entries = [values.get(position, value) for position, value in enumerate(output)]
        return getattr(type(output), "_make", type(output))(entries)
    result = copy.copy(output)
    for key, value in values.items():
        if isinstance(output, list | Mapping):
            result[key] = value
        else:
            setattr(result, key, value)
    return result


class Layout(ABC):
    """The places of the mean and the spread in the answer of encode."""

    name: str | None = None
    """The user's name for the spread, if it has one."""

    @abstractmethod
    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        """(mean, spread), each (batch, \\*latent)."""

    @abstractmethod
    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        """The same kind of thing as ``output``, with these in it."""


@final
class Halves(Layout):
    """One tensor (batch, 2 \\* latent): the means, then the spreads."""

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        mean, spread = output.chunk(2, dim=1)
        return mean, spread

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        return torch.cat([mean, spread], dim=1)


@final
@dataclass(frozen=True)
class Entries(Layout):
    """Two entries of a tuple, list, mapping or object."""

    mean: Any
    spread: Any
    name: str | None = None

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        entries = entries_of(output)
        return entries[self.mean], entries[self.spread]

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        return replaced(output, {self.mean: mean, self.spread: spread})


@final
class FromNormal(Layout):
    """A diagonal normal distribution."""

    name = "scale"

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        return output.mean, output.stddev

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        if isinstance(output, Independent):
            return Independent(Normal(mean, spread), output.reinterpreted_batch_ndims)
        return Normal(mean, spread)


def as_distribution(output: Distribution, batch: int, event: torch.Size | None = None) -> Distribution:
    """The distribution with batch shape (batch,) and the rest as its event.

    Args:
        output: what encode or decode returned.
        batch: number of examples.
        event: the shape of one x, of which p(x|z) must have the entries; None for q(z|x), over one axis of latents.

    Raises:
        ValueError: its shapes do not fit.
    """
    extra = len(output.batch_shape) - 1
    if extra > 0:
        output = Independent(output, extra)
    fits = len(output.event_shape) == 1 if event is None else output.event_shape.numel() == event.numel()
    if output.batch_shape != (batch,) or not fits:
        side, expected, axes = ("encode", "(latent,)", 1) if event is None else ("decode", tuple(event), len(event))
        raise ValueError(
            f"{side} gives a {type(output).__name__} with batch shape {tuple(output.batch_shape)} and event shape "
            f"{tuple(output.event_shape)}, expected ({batch},) and {expected}; wrap it in "
            f"torch.distributions.Independent(..., {axes})"
        )
    return output


def is_diagonal_normal(output: Any) -> bool:
    """Whether it is torch's Normal, plain or wrapped in Independent."""
    return isinstance(output, Normal) or (isinstance(output, Independent) and isinstance(output.base_dist, Normal))


def find_layout(output: Any, again: Any, batch: int, latent: int | None) -> tuple[Layout, str]:
    """The layout of encode's output, and why, from two calls on the same x: what changes between them is a draw of z.

    Raises:
        ValueError: no two tensors of one shape stand out; the message says what to return instead.
    """
    if is_diagonal_normal(output):
        return FromNormal(), f"encode gives a {type(output).__name__} distribution"
    if isinstance(output, Tensor):
        return _layout_of_tensor(output, again, batch, latent)
    leaves, changing = _leaves(output, batch), _leaves(again, batch)
    drawn = {key for key in leaves if key in changing and not _same_values(leaves[key], changing[key])}
    tensors = {key: t for key, t in leaves.items() if key not in drawn}
    names = {key: name for key, name in _names(output).items() if key in tensors}

    means = [key for key, name in names.items() if is_mean(name)]
    spreads = [key for key, name in names.items() if scale_of(name)]
    # an object that offers std and var beside logvar holds one spread three times: the first is as good as any
    if means and spreads and tensors[means[0]].shape == tensors[spreads[0]].shape:
        mean, spread = means[0], spreads[0]
        return Entries(mean, spread, names[spread]), f"encode names them {names[mean]} and {names[spread]}"
    by_shape: dict[tuple[int, ...], list[Any]] = {}
    for key, tensor in tensors.items():
        by_shape.setdefault(tuple(tensor.shape), []).append(key)
    pairs = {math.prod(shape[1:]): keys for shape, keys in by_shape.items() if len(keys) == 2}
    fitting = [pairs[latent]] if latent in pairs else list(pairs.values())
    if len(fitting) == 1 and isinstance(output, tuple | list):
        mean, spread = fitting[0]
        rest = " (another one changes from call to call: it is a draw of z)" if drawn else ""
        return Entries(mean, spread), f"encode gives two tensors of shape {tuple(tensors[mean].shape)}{rest}"
    shapes = ", ".join(f"{key}: {tuple(t.shape)}{' (a draw)' if key in drawn else ''}" for key, t in leaves.items())
    raise ValueError(
        f"encode returns a {type(output).__name__} with the tensors {{{shapes}}}, in which the mean and the spread of "
        "q(z|x) do not stand out; return just the two, such as "
        "encode=lambda x: (lambda out: (out.mu, out.logvar))(model.encode(x))"
    )


def _layout_of_tensor(output: Tensor, again: Any, batch: int, latent: int | None) -> tuple[Layout, str]:
    if not _same_values(output, again):
        raise ValueError(
            f"encode gives one tensor of shape {tuple(output.shape)} that changes from call to call: a draw of z, from "
            "which q(z|x) cannot be known; let it return the mean and the spread, such as encode=model.encode with "
            "return mu, logvar"
        )
    if latent is None:
        raise ValueError(
            f"encode gives one tensor of shape {tuple(output.shape)}: both halves of a q(z|x), or a code without any "
            f"spread? For two halves (means, then spreads) write latent={output.shape[-1] // 2}; else let it return "
            "(mu, logvar). For a plain autoencoder use nelbo.Autoencoder"
        )
    if output.dim() < 2 or output.shape[1] != 2 * latent:
        raise ValueError(
            f"encode gives one tensor of shape {tuple(output.shape)}, expected ({batch}, {2 * latent}) for "
            f"latent={latent}: the means, then the spreads; let it return (mu, logvar)"
        )
    return Halves(), f"encode gives one tensor of shape {tuple(output.shape)}, twice latent={latent}"


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN counting as one value."""
    return a.shape == b.shape and bool(torch.isclose(a, b, rtol=0.0, atol=0.0, equal_nan=True).all())


def _leaves(output: Any, batch: int) -> dict[Any, Tensor]:
    """The float tensors in encode's output that hold one row for each example."""
    return {
        key: value
        for key, value in entries_of(output).items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2 and len(value) == batch
    }


def _names(output: Any) -> dict[Any, str]:
    if isinstance(output, tuple | list):
        return dict(enumerate(getattr(output, "_fields", ())))
    return {key: key for key in entries_of(output) if isinstance(key, str)}
