"""The answer of a foreign encode: where the mean and the spread of q(z|x) stand, and on which scale the spread is.

People return (mu, logvar), (mu, sigma), (mu, variance), a dict, an object with fields, one tensor of two halves, or a
distribution. A layout reads the two tensors, and can also put others in their place.
"""

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from nelbo.latents import Expandable
from nelbo.wrapping.answers import Path, is_diagonal_normal, leaves, name_of, part, replaced, shown

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


class Layout(ABC):
    """The places of the mean and the spread in the answer of encode."""

    name: str | None = None
    """The user's name for the spread, if it has one."""
    implied: Spread | None = None
    """The scale of the spread that the rest of the answer implies, such as a std beside it that is exp(h / 2)."""
    of_normal: bool = False
    """Whether they are those of a normal distribution, which knows its own standard deviation."""

    @abstractmethod
    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        """(mean, spread), each (batch, \\*latent)."""

    @abstractmethod
    def write(self, output: Any, mean: Tensor, spread: Tensor, scale: Spread | None = None) -> Any:
        """The same kind of thing as ``output``, with these in it, and with all that follows from them.

        A draw of z in the answer moves too where the scale of the spread is given; else it stays.
        """


@final
class Halves(Layout):
    """One tensor (batch, 2 \\* latent): the means, then the spreads."""

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        mean, spread = output.chunk(2, dim=1)
        return mean, spread

    def write(self, output: Any, mean: Tensor, spread: Tensor, scale: Spread | None = None) -> Any:
        return torch.cat([mean, spread], dim=1)


class Derived(NamedTuple):
    """A part of the answer that is a function of the mean and the spread, h."""

    path: Path
    value: Callable[[Tensor, Tensor], Tensor]
    words: str
    read: Spread | None = None
    """The scale of h under which the part is what its name says; None where that tells nothing."""


@final
@dataclass(frozen=True)
class Entries(Layout):
    """Two parts of a tuple, list, mapping, object or normal distribution, at any depth.

    Attributes:
        mean: its path.
        spread: its path.
        name: of the spread.
        derived: what else of the answer follows from them.
        follows: copies of the mean, or draws of z, as the mode of the model has it.
        implied: the scale of the spread that the derived parts imply.
        of_normal: whether they are those of a normal distribution.
    """

    mean: Path
    spread: Path
    name: str | None = None
    derived: tuple[Derived, ...] = ()
    follows: tuple[Path, ...] = ()
    implied: Spread | None = None
    of_normal: bool = False

    def read(self, output: Any) -> tuple[Tensor, Tensor]:
        return part(output, self.mean), part(output, self.spread)

    def write(self, output: Any, mean: Tensor, spread: Tensor, scale: Spread | None = None) -> Any:
        values = {derived.path: derived.value(mean, spread) for derived in self.derived}
        old, old_spread = self.read(output)
        for path in self.follows:
            z = part(output, path)
            if torch.equal(z, old):
                values[path] = mean
            elif scale is not None:
                noise = (z - old) / LOG_STD[scale](old_spread).exp()
                values[path] = mean + noise * LOG_STD[scale](spread).exp()
        return replaced(output, values | {self.mean: mean, self.spread: spread})

    def where_still(self, first: Any, second: Any) -> "Entries":
        """With the mean at a copy of it that two calls in training mode do not change, where the mean moves.

        A z that is the mean in evaluation mode is drawn in training mode.
        """
        still = [path for path in (self.mean, *self.follows) if _same_values(part(first, path), part(second, path))]
        if not still or self.mean in still:
            return self
        follows = (self.mean, *(path for path in self.follows if path != still[0]))
        return replace(self, mean=still[0], follows=follows)


def as_distribution(output: Distribution, batch: int, event: torch.Size | None = None) -> Distribution:
    """The distribution with batch shape (batch,) and the rest as its event.

    Args:
        output: what encode or decode returned.
        batch: number of examples.
        event: the shape of one x, of which p(x|z) must have the entries; None for q(z|x), over one axis of latents.

    Raises:
        ValueError: its shapes do not fit.
    """
    if not output.batch_shape and not output.event_shape and event is not None:
        output = Elementwise(output)
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


@final
class Elementwise(Expandable):
    """A distribution that states no shape but gives a log-probability for each element of x, with that shape."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, base: Distribution) -> None:
        self.base = base
        super().__init__(base.mean.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        return self.base.variance

    @property
    def support(self) -> Any:
        return self.base.support

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.base.sample(sample_shape)

    def __repr__(self) -> str:
        return type(self.base).__name__


def find_layout(output: Any, again: Any, batch: int, latent: int | None) -> tuple[Layout, str]:
    """The layout of encode's output, and why, from two calls on the same x: what changes between them is a draw of z.

    Raises:
        ValueError: no two tensors of one shape stand out; the message says what to return instead.
    """
    if isinstance(output, Tensor):
        return _layout_of_tensor(output, again, batch, latent)
    found, changing = _rows(output, batch), _rows(again, batch)
    drawn = {path for path in found if path not in changing or not _same_values(found[path], changing[path])}
    tensors = {path: t for path, t in found.items() if path not in drawn}
    pairs, by_name = _named_pairs(output, tensors), True
    if not pairs:
        pairs, by_name = _unnamed_pairs(output, tensors), False
    if latent is not None and len(pairs) > 1:
        pairs = [pair for pair in pairs if tensors[pair[0]][0].numel() == latent] or pairs
    if len(pairs) != 1:
        listed = ", ".join(f"{shown(p)}: {tuple(t.shape)}{' (a draw)' if p in drawn else ''}" for p, t in found.items())
        several = f": they may be {' or '.join(f'{shown(m)} and {shown(s)}' for m, s in pairs)}" if pairs else ""
        raise ValueError(
            f"encode returns a {type(output).__name__} with the tensors {{{listed}}}, in which the mean and the spread "
            f"of q(z|x) do not stand out{several}; return just the two, such as "
            "encode=lambda x: (lambda out: (out.mu, out.logvar))(model.encode(x))"
        )
    mean, spread = pairs[0]
    shape = tensors[mean].shape
    rest = {path: t for path, t in tensors.items() if path not in (mean, spread)}
    derived = [d for path, t in rest.items() if (d := _derived(output, path, t, tensors[mean], tensors[spread]))]
    known = {d.path for d in derived}
    copies = [path for path, t in rest.items() if path not in known and _same_values(t, tensors[mean])]
    draws = [path for path in drawn if found[path].shape == shape]
    names = name_of(output, mean), name_of(output, spread)
    of_normal = is_diagonal_normal(part(output, spread[:-1]) if spread else None)
    implied: Spread | None = next((d.read for d in derived if d.read is not None), None)
    if of_normal:
        why = f"encode gives a normal distribution{f' as {shown(spread[:-1])}' if spread[:-1] else ''}"
    elif by_name:
        where = f", in {shown(spread[:-1])}" if spread[:-1] else ""
        why = f"encode names them {names[0]} and {names[1]}{where}"
    else:
        why = f"encode gives two tensors of shape {tuple(shape)}"
    if derived:
        why += "; " + ", ".join(f"{shown(d.path)} = {d.words}" for d in derived) + ": moved along"
    if draws:
        why += f" ({' and '.join(map(shown, draws))} changes from call to call: it is a draw of z)"
    layout = Entries(mean, spread, names[1] or None, tuple(derived), (*copies, *draws), implied, of_normal)
    return layout, why


def _named_pairs(output: Any, tensors: Mapping[Path, Tensor]) -> list[tuple[Path, Path]]:
    """(mean, spread) by their names, best of one holder; pairs of the same numbers count once."""
    names = {path: name_of(output, path) for path in tensors if not _of_prior(path)}
    means = [path for path, name in names.items() if is_mean(name)]
    spreads = [path for path, name in names.items() if scale_of(name)]
    pairs = [(m, s) for m in means for s in spreads if tensors[m].shape == tensors[s].shape]
    pairs = [pair for pair in pairs if pair[0][:-1] == pair[1][:-1]] or pairs
    # a distribution knows its own standard deviation
    pairs.sort(key=lambda pair: not is_diagonal_normal(part(output, pair[1][:-1])))
    return _distinct(output, pairs, tensors)


def _unnamed_pairs(output: Any, tensors: Mapping[Path, Tensor]) -> list[tuple[Path, Path]]:
    """Two tensors of one shape in a tuple or list, of which all others of that shape follow."""
    by_shape: dict[torch.Size, list[Path]] = {}
    for path, tensor in tensors.items():
        if isinstance(path[-1], int):
            by_shape.setdefault(tensor.shape, []).append(path)
    pairs: list[tuple[Path, Path]] = []
    for paths in by_shape.values():
        for mean, spread in itertools.combinations(paths, 2):
            rest = (path for path in paths if path not in (mean, spread))
            if all(_follows(output, path, tensors[path], tensors[mean], tensors[spread]) for path in rest):
                before = paths[: paths.index(spread)]
                copies = [path for path in before if _same_values(tensors[path], tensors[mean])]
                pairs.append((copies[-1], spread))  # of (z, mu, h) where z is mu, mu
                break
    return pairs


def _distinct(output: Any, pairs: list[tuple[Path, Path]], tensors: Mapping[Path, Tensor]) -> list[tuple[Path, Path]]:
    """The pairs that do not follow from an earlier one: std and var beside logvar are one spread three times."""
    kept: list[tuple[Path, Path]] = []
    for mean, spread in pairs:
        if not any(
            _follows(output, mean, tensors[mean], tensors[m], tensors[s])
            and (spread == s or _follows(output, spread, tensors[spread], tensors[m], tensors[s]))
            for m, s in kept
        ):
            kept.append((mean, spread))
    return kept


def _follows(output: Any, path: Path, tensor: Tensor, mean: Tensor, spread: Tensor) -> bool:
    """Whether a tensor is the mean, or a function of both."""
    return _same_values(tensor, mean) or _derived(output, path, tensor, mean, spread) is not None


def _derived(output: Any, path: Path, tensor: Tensor, mean: Tensor, spread: Tensor) -> Derived | None:
    """The function of mean and spread h that gives this tensor, or None."""
    if tensor.shape == (len(mean), 2 * mean.shape[1], *mean.shape[2:]):
        return Derived(path, _both, "both, one behind the other") if _close(tensor, _both(mean, spread)) else None
    if tensor.shape != spread.shape:
        return None
    if _same_values(tensor, spread):
        return Derived(path, _second, "h")
    called = "std" if is_diagonal_normal(part(output, path[:-1])) else scale_of(name_of(output, path))
    fitting = [pair for pair in _CONVERSIONS if _close(tensor, _converted(*pair, mean, spread))]
    if not fitting:
        return None
    fitting = [pair for pair in fitting if pair[1] == called] or fitting
    read, given = fitting[0]
    told = len({read for read, _ in fitting}) == 1
    return Derived(path, partial(_converted, read, given), f"{given} of a {read}", read if told else None)


_CONVERSIONS: list[tuple[Spread, Spread]] = [(read, given) for read in LOG_STD for given in LOG_STD if read != given]


def _converted(read: Spread, given: Spread, mean: Tensor, spread: Tensor) -> Tensor:
    return FROM_LOG_STD[given](LOG_STD[read](spread))


def _both(mean: Tensor, spread: Tensor) -> Tensor:
    return torch.cat([mean, spread], 1)


def _second(mean: Tensor, spread: Tensor) -> Tensor:
    return spread


def _close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors differ by rounding alone."""
    error = 64 * torch.finfo(a.dtype).eps
    return a.shape == b.shape and bool(torch.isclose(a, b.to(a.dtype), rtol=error, atol=error / 64).all())


def _of_prior(path: Path) -> bool:
    """Whether the names on the path say that this is of the prior."""
    return any(isinstance(key, str) and (key.lower() in ("p", "pz") or "prior" in key.lower()) for key in path)


def _layout_of_tensor(output: Tensor, again: Any, batch: int, latent: int | None) -> tuple[Layout, str]:
    if not _same_values(output, again):
        raise ValueError(
            f"encode gives one tensor of shape {tuple(output.shape)} that changes from call to call: a draw of z, from "
            "which q(z|x) cannot be known; let it return the mean and the spread, such as encode=model.encode with "
            "return mu, logvar"
        )
    if latent is None:
        raise ValueError(one_tensor(output))
    if output.dim() < 2 or output.shape[1] % 2 or 2 * latent not in (output.shape[1], output[0].numel()):
        raise ValueError(
            f"encode gives one tensor of shape {tuple(output.shape)}, expected ({batch}, {2 * latent}) or ({batch}, "
            f"{2 * latent}, ...) for latent={latent}: the means, then the spreads; let it return (mu, logvar)"
        )
    return Halves(), f"encode gives one tensor of shape {tuple(output.shape)}, twice latent={latent}"


def one_tensor(output: Any) -> str:
    """What a user can do where encode gives one tensor, of which nothing tells what it is."""
    return (
        f"encode gives one tensor of shape {tuple(output.shape)}: both halves of a q(z|x), or a code without any "
        f"spread? For two halves (means, then spreads) write latent={output[0].numel() // 2}; else let it return "
        "(mu, logvar). For a plain autoencoder use nelbo.Autoencoder"
    )


def halved(output: Any, decodes: Iterable[Callable[..., Any]], given: tuple[Tensor, ...]) -> int | None:
    """The number of latents, or channels, where encode's one tensor is twice what decode takes; None elsewhere.

    Args:
        output: of encode.
        decodes: what may be decode.
        given: its arguments beside z.
    """
    if not isinstance(output, Tensor) or output.dim() < 2 or output.shape[1] % 2:
        return None
    half = output.shape[1] // 2
    told = any(_runs(decode, output[:, :half], given) and not _runs(decode, output, given) for decode in decodes)
    return half if told else None


def _runs(function: Callable[..., Any], z: Tensor, given: tuple[Tensor, ...]) -> bool:
    try:
        function(z, *given)
    except Exception:
        return False
    return True


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN counting as one value."""
    return a.shape == b.shape and bool(torch.isclose(a, b, rtol=0.0, atol=0.0, equal_nan=True).all())


def _rows(output: Any, batch: int) -> dict[Path, Tensor]:
    """The float tensors in encode's output that hold one row for each example."""
    return {path: t for path, t in leaves(output).items() if t.dim() >= 2 and len(t) == batch}
