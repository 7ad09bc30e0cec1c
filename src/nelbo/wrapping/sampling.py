"""The draws of z that a model's decoder sees, measured by replacing its q(z|x) and listening at its decoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nelbo.randomness import own_randomness, seed_noise
from nelbo.wrapping.encoding import LOG_STD, Layout, Spread
from nelbo.wrapping.modules import Function, Kept, first_tensor, in_mode, intercepted, restoring

Draws = Literal["mean", "logvar", "log_std", "std", "variance", "softplus", "other"]

PROBES = (0.5, 1.5)  # values of the spread at which no two readings of it give standard deviations within 10 %
_MEAN = 3.0
_CENTERED = 6.0  # standard errors
_SPREADS = 0.02, 0.5, 0.98  # quantiles of the spreads on x that are tried too
_ROUNDED = 300.0  # roundings of 1: draws about the mean 3 show a smaller standard deviation wrongly
_VALUES = 4096  # draws of one coordinate: a standard deviation to 1.1 %
_CALLS = 64
ROWS = 64
"""Examples that a model is run on; vectors are repeated if there are fewer, as they cost little."""


@dataclass(frozen=True)
class Sampling:
    """The way z is drawn, in training and in evaluation mode.

    Attributes:
        training: ``"mean"``: z is the mean, nothing is drawn; a scale of the spread: z has the standard deviation that
            the encoder's second output stands for on that scale; ``"other"``: neither.
        evaluation: the same in evaluation mode.
        standard_deviations: of z in training mode, at a spread of 0.5 and of 1.5.
        standard_error: of these, relative.
        means: of z in training mode over that of q(z|x), at a spread of 0.5 and of 1.5; 1 where it lies about it, and
            anything where a flow moves it after it is drawn.
        off: a spread that the encoder gives on x at which z has another standard deviation than that scale says, the
            standard deviation, and the one expected; None where there is none.
    """

    training: Draws
    evaluation: Draws
    standard_deviations: tuple[float, float]
    standard_error: float
    means: tuple[float, float] = (1.0, 1.0)
    off: tuple[float, float, float] | None = None


class DrawnInsideError(ValueError):
    """Z is drawn within encode, so that what encode is made to answer does not reach the decoder."""


def measure_sampling(
    run: Callable[[Tensor], Any],
    x: Tensor,
    *,
    encode: Function,
    decode: Function,
    layout: Layout,
    modules: tuple[nn.Module, ...],
    callers: tuple[Any, ...] = (),
    spread: Tensor | None = None,
) -> Sampling:
    """Run the whole model with an encoder that answers (3, 0.5), then (3, 1.5), and see what reaches the decoder.

    Args:
        run: runs the whole model on x.
        x: (batch, \\*event).
        encode: the function whose answer is replaced.
        decode: the function that is listened to.
        layout: where the answer stands in what encode returns.
        modules: put back afterwards as they were.
        callers: the user's functions in which encode and decode are looked up; ``run`` if none are given.
        spread: that the encoder gives on x, where its scale is to hold too.

    Raises:
        ValueError: the model did not call encode and decode, so that nothing can be known.
        DrawnInsideError: it did, and its draws have nothing to do with what encode was made to answer.
    """
    x = x[torch.arange(ROWS if x.dim() < 3 else min(ROWS, len(x))) % len(x)]
    at = partial(_draws, run, x, encode, decode, layout, callers or (run,))
    with torch.no_grad(), own_randomness(x.device), restoring(modules):
        seed_noise(x.device, 0)
        moments: dict[bool, tuple[float, ...]] = {}
        means: dict[bool, list[float]] = {}
        count, off = 1, None
        for training in (True, False):
            kept = Kept(), Kept()  # of the first run: the networks need not run again for answers that are not used
            with in_mode(modules, training=training):
                drawn = [at(kept, value) for value in PROBES]
                count = min(len(values) for values in drawn)
                if _unmoved(*drawn):
                    raise DrawnInsideError("encode draws z itself, so no other q(z|x) can be put in its place")
                shifts = max(abs(float(values.mean()) - _MEAN) / float(values.std() + 0.1) for values in drawn)
                moments[training] = (shifts, *(float(values.std()) for values in drawn))
                means[training] = [float(values.mean()) / _MEAN for values in drawn]
                if training and spread is not None:
                    off = _off(partial(at, kept), spread, _kind(moments[True], count))
    small, large = moments[True][1:]
    draws: dict[bool, Draws] = {training: _kind(values, count) for training, values in moments.items()}
    first, second = means[True]
    return Sampling(draws[True], draws[False], (small, large), _error(count), (first, second), off)


def _off(at: Callable[[float], Tensor], spread: Tensor, kind: Draws) -> tuple[float, float, float] | None:
    """Where z has another standard deviation than its scale says, at spreads that the encoder gives; see Sampling."""
    scale = as_scale(kind)
    if scale is None or not bool(torch.isfinite(spread).all()):
        return None
    least = _ROUNDED * torch.finfo(spread.dtype).eps if spread.is_floating_point() else 1.0
    values = spread.flatten()
    some = values[:: 1 + len(values) // _VALUES].float().cpu()  # quantile takes no more than 16 million
    for value in some.quantile(torch.tensor(_SPREADS)).tolist():
        expected = float(LOG_STD[scale](torch.tensor(value)).exp())
        if least < expected < 1 / least:
            z = at(value)
            got = float(z.std())
            if abs(got / expected - 1) > 5 * _error(len(z)):
                return value, got, expected
    return None


def _error(count: int) -> float:
    """The relative standard error of a standard deviation of so many draws."""
    return 1 / math.sqrt(2 * count)


def _draws(
    run: Callable[[Tensor], Any],
    x: Tensor,
    encode: Function,
    decode: Function,
    layout: Layout,
    callers: tuple[Any, ...],
    kept: tuple[Kept, Kept],
    value: float,
) -> Tensor:
    """The z that reaches the decoder while q(z|x) has the mean 3 and this spread everywhere."""
    seen: list[Tensor] = []

    def answer(args: tuple[Any, ...], output: Any) -> Any:
        kept[0].take(args, output)
        mean, spread = layout.read(output)
        return layout.write(output, torch.full_like(mean, _MEAN), torch.full_like(spread, value))

    def listen(args: tuple[Any, ...], output: Any) -> Any:
        z = first_tensor(args)
        if z is not None:
            seen.append(z.flatten())
        kept[1].take(args, output)
        return output

    with (
        intercepted(encode, answer, callers, known=kept[0].known) as encoded,
        intercepted(decode, listen, callers, known=kept[1].known) as decoded,
    ):

        def draw() -> Tensor:
            first = not kept[1].taken
            seen.clear()
            run(x)
            if not (encoded and decoded):
                raise ValueError("running the model calls no encode and decode of these")
            if first:
                use(True)
            return torch.cat(seen)

        def use(used: bool) -> None:
            for part in kept:
                part.used = used

        drawn: list[Tensor] = []
        for _ in range(_CALLS):
            if sum(z.numel() for z in drawn) >= _VALUES:
                break
            again = kept[1].used
            try:
                z = draw()
            except Exception:  # such as of an attribute that only a run of the network sets
                if not again:
                    raise
                use(False)
                continue
            if again and drawn and torch.equal(z, drawn[-1]) and float(z.std()) > 0:
                use(False)  # encode draws z itself: it must run for another
            else:
                drawn.append(z)
    return torch.cat(drawn).double()


def _unmoved(first: Tensor, second: Tensor) -> bool:
    """Whether draws are the same for both answers and lie elsewhere than either: they come from somewhere else."""
    error = 5 / math.sqrt(2 * min(len(first), len(second)))
    away = all(abs(float(z.mean()) - _MEAN) > 0.5 for z in (first, second))
    return away and abs(float(first.std()) - float(second.std())) <= error * float(first.std() + second.std())


def _kind(values: tuple[float, ...], count: int) -> Draws:
    shift, *deviations = values
    if shift > _CENTERED / math.sqrt(count):
        return "other"
    if max(deviations) < 1e-6:
        return "mean"
    for scale, log_std in LOG_STD.items():
        expected = [float(log_std(torch.tensor(value)).exp()) for value in PROBES]
        if all(abs(got / sigma - 1) < 5 * _error(count) for got, sigma in zip(deviations, expected, strict=True)):
            return scale
    return "other"


def as_scale(draws: Draws) -> Spread | None:
    """The scale of the spread under which the model draws so."""
    return None if draws in ("mean", "other") else draws
