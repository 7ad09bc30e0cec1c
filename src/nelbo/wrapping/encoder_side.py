"""The encoder of a foreign model, inferred by running it: a mean and a spread on some scale, or a distribution."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from nelbo.wrapping import encoding
from nelbo.wrapping.answers import is_diagonal_normal, part
from nelbo.wrapping.encoding import LOG_STD, WORDS, Entries, Layout, Spread, scale_of
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import Function, describe, in_float, in_mode, restoring
from nelbo.wrapping.sampling import DrawnInsideError, Sampling, as_scale, measure_sampling


@dataclass(frozen=True)
class EncoderSide:
    """The calls of encode, and the reading of its answer."""

    function: Function
    layout: Layout | None
    """None: it returns a distribution that is not a diagonal normal."""
    scale: Spread
    latent_shape: torch.Size
    flatten: bool
    condition: Tensor | None = None
    """(batch, \\*condition), of a conditional model."""

    def call(self, x: Tensor) -> Any:
        """The answer of encode for x."""
        given = () if self.condition is None else (self.condition,)
        return self.function(x.flatten(1) if self.flatten else x, *given)

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x), batch shape (batch,), event shape (latent,); nothing is clamped."""
        output = self.call(x)
        if self.layout is not None:
            mean, spread = (in_float(part).flatten(1) for part in self.layout.read(output))
            units = Normal(mean, LOG_STD[self.scale](spread).exp(), validate_args=False)
            return Independent(units, 1, validate_args=False)
        if not isinstance(output, Distribution):
            raise ValueError("encode gave a distribution when it was wrapped, but not now; wrap the model again")
        return encoding.as_distribution(output, len(x))


class Encoded(NamedTuple):
    """The inferred encoder."""

    side: EncoderSide
    mean: Tensor
    sampling: Sampling | None
    notes: list[Conclusion]


def infer(
    encode: Function,
    x: Tensor,
    latent: int | None,
    scale: Spread | None,
    decode: Function,
    modules: tuple[nn.Module, ...],
    forwards: Sequence[Callable[[Tensor], Any]],
    c: Tensor | None = None,
) -> Encoded:
    """Run encode on x, and the model with it, and infer what encode gives.

    Raises:
        ValueError: something does not fit or cannot be known; the message says what to write.
    """
    given = () if c is None else (c,)
    output, flatten = _run_encode(encode, x, given)
    notes = [Conclusion("x", "given to encode as vectors", "it does not take images")] if flatten else []
    if isinstance(output, Distribution) and not is_diagonal_normal(output):
        qz = encoding.as_distribution(output, len(x))
        notes.append(Conclusion("q(z|x)", type(qz).__name__, "encode returns this distribution"))
        mean = _mean_of(qz)
        return Encoded(EncoderSide(encode, None, "std", mean.shape[1:], flatten, c), mean, None, notes)
    again = encode(x.flatten(1) if flatten else x, *given)
    by_decode = encoding.halved(output, (decode,), given) if latent is None else None
    layout, why = encoding.find_layout(output, again, len(x), latent or by_decode)
    if by_decode is not None:
        why = f"encode gives one tensor, {2 * by_decode} wide along its second axis, of which decode takes half"
    if isinstance(layout, Entries) and layout.follows:
        with restoring(modules), in_mode(modules, training=True), suppress(Exception):
            first, second = (encode(x.flatten(1) if flatten else x, *given) for _ in range(2))
            layout = layout.where_still(first, second)
    mean, spread = layout.read(output)
    if mean.shape != spread.shape or len(mean) != len(x):
        raise ValueError(
            f"encode gives a mean of shape {tuple(mean.shape)} and a spread of shape {tuple(spread.shape)} for x of "
            f"shape {tuple(x.shape)}, expected ({len(x)}, latent) both; end its two heads with nn.Linear(..., latent)"
        )
    if not bool(torch.isfinite(mean).all() & torch.isfinite(spread).all()):
        notes.append(
            Conclusion("q(z|x)", "not finite", "encode gives NaN or infinite numbers on x: nelbo.diagnose says why")
        )
    sampling, failure = _sampling(x, encode, decode, layout, spread, modules, forwards, flatten)
    if by_decode is not None and (sampling is None or sampling.training == "other"):
        raise ValueError(encoding.one_tensor(output))  # such as what two layers make the mean and the spread of
    _refuse_off(sampling, scale)
    scale, reason = _scale(scale, layout, spread, sampling, _parameter_name(modules))
    notes.append(Conclusion("q(z|x)", f"the mean and {WORDS[scale]}", f"{why}; {reason}"))
    drawn = ("how the model draws it is not known", failure) if sampling is None else _in_words(sampling, scale)
    if sampling is None and isinstance(layout, Entries):
        drawn = _within(layout, output, scale) or drawn
    notes.append(Conclusion("z", *drawn))
    return Encoded(EncoderSide(encode, layout, scale, mean.shape[1:], flatten, c), mean, sampling, notes)


def _mean_of(qz: Distribution) -> Tensor:
    try:
        return qz.mean
    except NotImplementedError as error:
        raise ValueError(
            f"encode gives a {type(qz).__name__} without a mean, which stands for z where one point is shown; return a "
            "subclass of it with a property mean of shape (batch, latent), such as the mean of some draws"
        ) from error


def _run_encode(encode: Function, x: Tensor, given: tuple[Tensor, ...]) -> tuple[Any, bool]:
    """Encode's output, and whether it takes vectors."""
    try:
        return encode(x, *given), False
    except Exception as error:
        if x.dim() > 2:
            try:
                return encode(x.flatten(1), *given), True
            except Exception:
                pass  # the first error says more
        raise ValueError(f"encode {failed(x, error)}") from error


def failed(x: Tensor, error: Exception) -> str:
    """What a user can do where encode fails on x."""
    line = "Give it x as the model was trained on, or adapt it, such as encode=lambda x: model.encode(x.flatten(1))"
    if isinstance(error, TypeError) and "missing" in str(error):
        line = (
            "It takes more than x: where that is a condition of each example, such as its class, write "
            "nelbo.wrap(model, x=x, c=c) with c of shape (batch, ...); where it is the same for all, such as the edges "
            "of a graph, bind it, encode=lambda x: model.encode(x, edges)"
        )
    return f"fails on x of shape {tuple(x.shape)}: {type(error).__name__}: {error}. {line}"


def _sampling(
    x: Tensor,
    encode: Function,
    decode: Function,
    layout: Layout,
    spread: Tensor,
    modules: tuple[nn.Module, ...],
    forwards: Sequence[Callable[[Tensor], Any]],
    flatten: bool,
) -> tuple[Sampling | None, str]:
    """The way the model draws z, or the reason why that is not known."""
    runs = forwards or [m for m in modules if m is not encode and m is not decode]
    if not runs:
        return None, "there is not one module to run; forward= would name what runs the whole model"
    reason = ""
    for run in runs:
        for inputs in (x, x.flatten(1)) if flatten else (x,):
            try:
                sampling = measure_sampling(
                    run, inputs, encode=encode, decode=decode, layout=layout, modules=modules, spread=spread
                )
                return sampling, ""
            except DrawnInsideError as error:
                return None, str(error)
            except Exception as error:
                reason = reason or f"running {describe(run)} to see it fails: {error}"
    return None, reason


def _refuse_off(sampling: Sampling | None, scale: Spread | None) -> None:
    """A ValueError where sigma is no scale of the spread on x, such as one with a bound or an offset."""
    if sampling is None or sampling.off is None or scale is not None:
        return
    drawn = as_scale(sampling.training)
    assert drawn is not None  # else there is nothing that it is off from
    value, got, expected = sampling.off
    raise ValueError(
        f"z is drawn with {WORDS[drawn]} where the spread is 0.5 and 1.5, but where it is "
        f"{value:.3g}, as on x, with standard deviation {got:.3g} in place of {expected:.3g}: sigma has a bound or "
        "an offset besides. Let encode return sigma itself, such as encode=lambda x: (mu, sigma) with scale='std', or "
        f"write scale={drawn!r} if the KL of the loss takes it for that"
    )


def _within(layout: Entries, output: Any, scale: Spread) -> tuple[str, str] | None:
    """How z is drawn by an encode that draws it itself, in words; None where it does not."""
    mean, spread = layout.read(output)
    for path in layout.follows:
        noise = (part(output, path) - mean).double() / LOG_STD[scale](spread.double()).exp()
        if not noise.any():
            continue
        size, error = float(noise.square().mean().sqrt()), (2 * noise.numel()) ** -0.5
        because = f"encode draws z itself, and its distance from the mean is {size:.3g} ± {error:.1g} sigma"
        return ("drawn from this q(z|x)" if abs(size - 1) < 5 * error else "not drawn from this q(z|x)"), because
    return None


def _in_words(sampling: Sampling, scale: Spread) -> tuple[str, str]:
    small, large = sampling.standard_deviations
    because = (
        f"given a spread of 0.5 and of 1.5, it hands its decoder draws with standard deviations {small:.3g} and "
        f"{large:.3g}, ± {100 * sampling.standard_error:.0f} % each"
    )
    if sampling.training == "mean":
        return "nothing is drawn: the decoder sees the mean while training", because
    if sampling.training == scale:
        return "drawn from this q(z|x)", because
    drawn = as_scale(sampling.training)
    words = "not drawn from this q(z|x)" if drawn is None else f"drawn as if the spread were {WORDS[drawn]}"
    return words, because


def _parameter_name(modules: tuple[nn.Module, ...]) -> str | None:
    """The name of the second argument of the model's own reparameterize(mean, spread)."""
    for module in modules:
        for name in dir(type(module)):
            if name.lower().startswith("repar"):
                arguments = list(inspect.signature(getattr(type(module), name)).parameters)[1:]
                if len(arguments) >= 2 and scale_of(arguments[1]) is not None:
                    return arguments[1]
    return None


def _scale(
    scale: Spread | None, layout: Layout, spread: Tensor, sampling: Sampling | None, parameter: str | None
) -> tuple[Spread, str]:
    """The scale of the spread, and why."""
    low, high = float(spread.min()), float(spread.max())
    if layout.of_normal:
        return "std", "a distribution knows its own standard deviation"
    name = layout.name or parameter
    named = scale_of(name) if name else None
    if scale is None and layout.implied is not None and named not in (None, layout.implied):
        raise ValueError(
            f"the spread is called {name!r}, that is {WORDS[named]}, but what encode gives beside it takes it for "
            f"{WORDS[layout.implied]}. One of the two is a fault: write scale={named!r} if the name is right, or "
            f"scale={layout.implied!r} if the other is"
        )
    named = named or layout.implied
    drawn = None if sampling is None else as_scale(sampling.training) or as_scale(sampling.evaluation)
    if scale is not None:
        reason = f"scale={scale!r} says so"
    elif named is not None and drawn is not None and named != drawn:
        raise ValueError(
            f"the spread is called {name!r}, that is {WORDS[named]}, but the model draws z with {WORDS[drawn]}. One of "
            f"the two is a fault: if the name is right, write scale={named!r} (and correct the line that draws z); if "
            f"the draw is right, write scale={drawn!r} (and check the line of the KL)"
        )
    elif drawn is not None:
        scale, reason = drawn, "the model draws z so"
    elif named is not None:
        scale, reason = named, f"it is called {name}" if name else "what encode gives beside it says so"
    else:
        options: list[Spread] = [s for s in LOG_STD if low >= 0 or s not in ("std", "variance")]
        lines = " or ".join(f"scale={option!r} ({WORDS[option]})" for option in options)
        raise ValueError(
            f"the second tensor that encode gives lies between {low:.3g} and {high:.3g}, which does not tell what it "
            f"is; write {lines}"
        )
    if scale in ("std", "variance") and low <= 0:
        raise ValueError(
            f"{reason}: the second tensor is {WORDS[scale]}, which must be positive, but it goes down to {low:.3g} on "
            "x; write scale='logvar' or scale='log_std' if it is a logarithm"
        )
    return scale, f"{reason} (it lies between {low:.3g} and {high:.3g})"
