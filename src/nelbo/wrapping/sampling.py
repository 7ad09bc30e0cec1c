"""The draws of z that a model's decoder sees, measured by replacing its q(z|x) and listening at its decoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nelbo.randomness import own_randomness, seed_noise
from nelbo.wrapping.encoding import LOG_STD, Layout, Spread
from nelbo.wrapping.modules import Function, Kept, first_tensor, in_mode, intercepted, restoring

Draws = Literal["mean", "logvar", "log_std", "std", "variance", "softplus", "other"]

PROBES = (0.5, 1.5)  # values of the spread at which no two readings of it give standard deviations within 10 %
_MEAN = 3.0
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
    """

    training: Draws
    evaluation: Draws
    standard_deviations: tuple[float, float]
    standard_error: float


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

    Raises:
        ValueError: the model did not call encode and decode, so that nothing can be known.
        DrawnInsideError: it did, and its draws have nothing to do with what encode was made to answer.
    """
    x = x[torch.arange(ROWS if x.dim() < 3 else min(ROWS, len(x))) % len(x)]
    with torch.no_grad(), own_randomness(x.device), restoring(modules):
        seed_noise(x.device, 0)
        moments: dict[bool, tuple[float, ...]] = {}
        count = 1
        for training in (True, False):
            with in_mode(modules, training=training):
                kept = Kept(), Kept()  # of the first run: networks need not run again for answers that are not used
                drawn = [_draws(run, x, encode, decode, layout, value, callers or (run,), kept) for value in PROBES]
            count = min(len(values) for values in drawn)
            if _unmoved(*drawn):
                raise DrawnInsideError("encode draws z itself, so no other q(z|x) can be put in its place")
            shifts = max(abs(float(values.mean()) - _MEAN) / float(values.std() + 0.1) for values in drawn)
            moments[training] = (shifts, *(float(values.std()) for values in drawn))
    error = 1 / math.sqrt(2 * count)
    draws: dict[bool, Draws] = {training: _kind(values, count, error) for training, values in moments.items()}
    return Sampling(draws[True], draws[False], (moments[True][1], moments[True][2]), error)


def _draws(
    run: Callable[[Tensor], Any],
    x: Tensor,
    encode: Function,
    decode: Function,
    layout: Layout,
    value: float,
    callers: tuple[Any, ...],
    kept: tuple[Kept, Kept],
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


def _kind(values: tuple[float, ...], count: int, error: float) -> Draws:
    shift, *deviations = values
    if shift > 6 / math.sqrt(count):
        return "other"
    if max(deviations) < 1e-6:
        return "mean"
    for scale, log_std in LOG_STD.items():
        expected = [float(log_std(torch.tensor(value)).exp()) for value in PROBES]
        if all(abs(got / sigma - 1) < 5 * error for got, sigma in zip(deviations, expected, strict=True)):
            return scale
    return "other"


def as_scale(draws: Draws) -> Spread | None:
    """The scale of the spread under which the model draws so."""
    return None if draws in ("mean", "other") else draws
