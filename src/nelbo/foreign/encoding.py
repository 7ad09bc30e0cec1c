"""What somebody's encode returns: where the mean and the spread of q(z|x) stand, and on which scale the spread is.

People return (mu, logvar), (mu, sigma), (mu, variance), a dict, an object with fields, one tensor of two halves, or a
distribution. A layout finds the two tensors, and can also put others in their place.
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
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.nn import functional as F

Second = Literal["logvar", "log_sigma", "sigma", "variance", "softplus"]


def _half(h: Tensor) -> Tensor:
    return 0.5 * h


def _same(h: Tensor) -> Tensor:
    return h


def _half_log(h: Tensor) -> Tensor:
    return 0.5 * torch.log(h)


def _log_softplus(h: Tensor) -> Tensor:
    return torch.log(F.softplus(h))


LOG_SIGMA: dict[Second, Callable[[Tensor], Tensor]] = {
    "logvar": _half,
    "log_sigma": _same,
    "sigma": torch.log,
    "variance": _half_log,
    "softplus": _log_softplus,
}
"""The logarithm of the standard deviation, from the encoder's second output read as each kind."""

WORDS: dict[Second, str] = {
    "logvar": "the log variance, sigma = exp(h / 2)",
    "log_sigma": "the log standard deviation, sigma = exp(h)",
    "sigma": "the standard deviation, sigma = h",
    "variance": "the variance, sigma = sqrt(h)",
    "softplus": "a number whose softplus is the standard deviation, sigma = log(1 + exp(h))",
}

_MEANS = {"mu", "mean", "loc", "means", "embedding", "location", "mus"}
_SECONDS: dict[str, Second] = {
    "logvar": "logvar",
    "logvars": "logvar",
    "lnvar": "logvar",
    "logvariance": "logvar",
    "logcovariance": "logvar",
    "logsigma2": "logvar",
    "logsigmasq": "logvar",
    "logsigmasquared": "logvar",
    "logsigma": "log_sigma",
    "logstd": "log_sigma",
    "logscale": "log_sigma",
    "logstddev": "log_sigma",
    "lnsigma": "log_sigma",
    "sigma": "sigma",
    "std": "sigma",
    "stddev": "sigma",
    "scale": "sigma",
    "stdev": "sigma",
    "standarddeviation": "sigma",
    "var": "variance",
    "variance": "variance",
    "sigma2": "variance",
    "sigmasq": "variance",
    "covariance": "variance",
}


def _plain(name: str) -> str:
    """A field's name without what people put around it: ``z_log_var``, ``qz_logvar`` and ``logvar_z`` are one."""
    words = [word for word in re.split(r"_+", name.lower()) if word not in ("z", "q", "qz", "latent", "")]
    return "".join(words)


def is_mean(name: str) -> bool:
    """Whether a field of that name holds the means."""
    return _plain(name) in _MEANS


def kind_of(name: str) -> Second | None:
    """On which scale a field of that name gives the spread."""
    return _SECONDS.get(_plain(name))


class Layout(ABC):
    """Where the mean and the spread stand in what encode returns."""

    name: str | None = None
    """What the user calls the spread, if it has a name."""

    @abstractmethod
    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        """(mean, spread), each (batch, \\*latent)."""

    @abstractmethod
    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        """The same kind of thing as ``output``, with these in it."""


@final
@dataclass(frozen=True)
class Halves(Layout):
    """One tensor (batch, 2 \\* latent): the means, then the spreads."""

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        mean, spread = output.chunk(2, dim=1)
        return mean, spread

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        return torch.cat([mean, spread], dim=1)


@final
@dataclass(frozen=True)
class Items(Layout):
    """Two entries of a tuple, list, named tuple or mapping."""

    mean: Any
    spread: Any
    name: str | None = None

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        return output[self.mean], output[self.spread]

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        if isinstance(output, tuple):
            values = [mean if i == self.mean else spread if i == self.spread else v for i, v in enumerate(output)]
            made = getattr(type(output), "_make", type(output))
            return made(values)
        result = copy.copy(output)
        result[self.mean], result[self.spread] = mean, spread
        return result


@final
@dataclass(frozen=True)
class Fields(Layout):
    """Two attributes of an object."""

    mean: str
    spread: str
    name: str | None = None

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        return getattr(output, self.mean), getattr(output, self.spread)

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        result = copy.copy(output)
        setattr(result, self.mean, mean)
        setattr(result, self.spread, spread)
        return result


@final
@dataclass(frozen=True)
class FromNormal(Layout):
    """A diagonal normal distribution."""

    name: str | None = "scale"

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        return output.mean, output.stddev

    def write(self, output: Any, mean: Tensor, spread: Tensor) -> Any:
        if isinstance(output, Independent):
            return Independent(Normal(mean, spread), output.reinterpreted_batch_ndims)
        return Normal(mean, spread)


def as_distribution(output: Any, batch: int) -> Distribution | None:
    """The output as q(z|x) with batch shape (batch,), where it is a distribution that is no diagonal normal."""
    if not isinstance(output, Distribution) or is_diagonal_normal(output):
        return None
    if output.batch_shape != (batch,) and not output.event_shape:
        output = Independent(output, len(output.batch_shape) - 1)
    if output.batch_shape != (batch,) or len(output.event_shape) != 1:
        raise ValueError(
            f"encode gives a {type(output).__name__} with batch shape {tuple(output.batch_shape)} and event shape "
            f"{tuple(output.event_shape)}, expected ({batch},) and (latent,); wrap it in "
            "torch.distributions.Independent(q, 1)"
        )
    return output


def is_diagonal_normal(output: Any) -> bool:
    """Whether it is torch's Normal, plain or wrapped in Independent."""
    return isinstance(output, Normal) or (isinstance(output, Independent) and isinstance(output.base_dist, Normal))


def full_covariance(output: Any) -> Tensor | None:
    """The numbers of nelbo's FullCovarianceNormal for a multivariate normal: mean, log diagonal, lower triangle."""
    if not isinstance(output, MultivariateNormal):
        return None
    cholesky, latent = output.scale_tril, output.mean.shape[-1]
    below = torch.tril_indices(latent, latent, offset=-1, device=cholesky.device)
    diagonal = torch.diagonal(cholesky, dim1=-2, dim2=-1).log()
    return torch.cat([output.mean, diagonal, cholesky[..., below[0], below[1]]], dim=-1)


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
    make = Items if isinstance(output, tuple | list | Mapping) else Fields

    means = [key for key, name in names.items() if is_mean(name)]
    spreads = [key for key, name in names.items() if kind_of(name)]
    # an object that offers std and var beside logvar holds one spread three times: the first is as good as any
    if means and spreads and tensors[means[0]].shape == tensors[spreads[0]].shape:
        mean, spread = means[0], spreads[0]
        return make(mean, spread, names[spread]), f"encode names them {names[mean]} and {names[spread]}"
    by_shape: dict[tuple[int, ...], list[Any]] = {}
    for key, tensor in tensors.items():
        by_shape.setdefault(tuple(tensor.shape), []).append(key)
    pairs = {math.prod(shape[1:]): keys for shape, keys in by_shape.items() if len(keys) == 2}
    fitting = [pairs[latent]] if latent in pairs else list(pairs.values())
    if len(fitting) == 1 and isinstance(output, tuple | list):
        mean, spread = fitting[0]
        rest = " (another one changes from call to call: it is a draw of z)" if drawn else ""
        return Items(mean, spread), f"encode gives two tensors of shape {tuple(tensors[mean].shape)}{rest}"
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
    if isinstance(output, Mapping):
        entries = list(output.items())
    elif isinstance(output, tuple | list):
        entries = list(enumerate(output))
    else:
        entries = list(vars(output).items()) if hasattr(output, "__dict__") else []
    return {
        key: value
        for key, value in entries
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2 and len(value) == batch
    }


def _names(output: Any) -> dict[Any, str]:
    if isinstance(output, tuple | list):
        return dict(enumerate(getattr(output, "_fields", ())))
    keys = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    return {key: key for key in keys if isinstance(key, str)}
