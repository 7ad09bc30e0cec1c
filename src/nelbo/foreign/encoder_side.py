"""What encode gives, concluded by running it: a mean, and a spread on some scale, or a finished distribution."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.foreign import encoding
from nelbo.foreign.conclusion import Conclusion
from nelbo.foreign.encoding import LOG_SIGMA, WORDS, Layout, Second, kind_of
from nelbo.foreign.given import GivenNormal, GivenPosterior
from nelbo.foreign.modules import Function, describe
from nelbo.foreign.sampling import Sampling, as_kind, measure_sampling
from nelbo.posteriors import FullCovarianceNormal, Posterior


@dataclass(frozen=True)
class EncoderSide:
    """How to call encode and read what it returns."""

    function: Function
    layout: Layout | None
    """None: it returns a finished distribution."""
    second: Second
    latent_shape: torch.Size
    flatten: bool

    def call(self, x: Tensor) -> Any:
        """What encode returns for x."""
        return self.function(x.flatten(1) if self.flatten else x)

    def numbers(self, output: Any) -> Tensor:
        """The mean and the log standard deviation, (batch, 2 * latent), or all of a multivariate normal's numbers."""
        if self.layout is None:
            numbers = encoding.full_covariance(output)
            return output.mean if numbers is None else numbers
        mean, spread = self.layout.read(output)
        return torch.cat([mean.flatten(1), LOG_SIGMA[self.second](spread).flatten(1)], dim=-1)


@dataclass(frozen=True)
class Encoded:
    """What was found out about encode."""

    side: EncoderSide
    mean: Tensor
    family: Callable[[int], Posterior]
    sampling: Sampling | None
    notes: list[Conclusion]


def conclude(
    encode: Function,
    x: Tensor,
    latent: int | None,
    second: Second | None,
    decode: Function,
    modules: tuple[nn.Module, ...],
    forward: Callable[[Tensor], Any] | None,
) -> Encoded:
    """Run encode on x, and the model with it, and conclude what encode gives.

    Raises:
        ValueError: something does not fit or cannot be known; the message says what to write.
    """
    output, flatten = _run_encode(encode, x)
    seen = [Conclusion("x", "given to encode as vectors", "it takes no images")] if flatten else []
    qz = encoding.as_distribution(output, len(x))
    if qz is not None:
        full = encoding.full_covariance(qz) is not None
        side = EncoderSide(encode, None, "sigma", qz.mean.shape[1:], flatten)
        note = Conclusion("q(z|x)", type(qz).__name__, "encode returns this distribution")
        family = FullCovarianceNormal if full else GivenPosterior
        return Encoded(side, qz.mean, family, None, [*seen, note])
    again = encode(x.flatten(1) if flatten else x)
    layout, why = encoding.find_layout(output, again, len(x), latent)
    mean, spread = layout.read(output)
    if mean.shape != spread.shape or len(mean) != len(x):
        raise ValueError(
            f"encode gives a mean of shape {tuple(mean.shape)} and a spread of shape {tuple(spread.shape)} for x of "
            f"shape {tuple(x.shape)}, expected ({len(x)}, latent) both; end its two heads with nn.Linear(..., latent)"
        )
    if not bool(torch.isfinite(mean).all() & torch.isfinite(spread).all()):
        seen.append(
            Conclusion("q(z|x)", "not finite", "encode gives NaN or infinite numbers on x: nelbo.diagnose says why")
        )
    sampling, failure = _sampling(x, encode, decode, layout, modules, forward, flatten)
    kind, reason = _kind(second, layout, spread, sampling, _parameter_name(modules))
    side = EncoderSide(encode, layout, kind, mean.shape[1:], flatten)
    notes = [*seen, Conclusion("q(z|x)", f"the mean and {WORDS[kind]}", f"{why}; {reason}")]
    drawn = Conclusion("z", "how the model draws it is not known", failure)
    if sampling is not None:
        drawn = Conclusion("z", *_in_words(sampling, kind))
    return Encoded(side, mean, GivenNormal, sampling, [*notes, drawn])


def _run_encode(encode: Function, x: Tensor) -> tuple[Any, bool]:
    """Encode's output, and whether it takes vectors."""
    try:
        return encode(x), False
    except Exception as error:
        if x.dim() > 2:
            try:
                return encode(x.flatten(1)), True
            except Exception:
                pass  # the first error says more
        raise ValueError(
            f"encode fails on x of shape {tuple(x.shape)}: {type(error).__name__}: {error}. Give it x as the model was "
            "trained on, or adapt it, such as encode=lambda x: model.encode(x.flatten(1))"
        ) from error


def _sampling(
    x: Tensor,
    encode: Function,
    decode: Function,
    layout: Layout,
    modules: tuple[nn.Module, ...],
    forward: Callable[[Tensor], Any] | None,
    flatten: bool,
) -> tuple[Sampling | None, str]:
    """How the model draws z, or why that is not known."""
    runs = [forward] if forward is not None else [m for m in modules if m is not encode and m is not decode]
    if not runs:
        return None, "there is no one module to run; forward= would name what runs the whole model"
    reason = ""
    for run in runs:
        for inputs in (x, x.flatten(1)) if flatten else (x,):
            try:
                return measure_sampling(run, inputs, encode=encode, decode=decode, layout=layout, modules=modules), ""
            except Exception as error:
                reason = f"running {describe(run)} to see it fails: {error}"
    return None, reason


def _in_words(sampling: Sampling, kind: Second) -> tuple[str, str]:
    small, large = sampling.standard_deviations
    because = (
        f"given a spread of 0.5 and of 1.5, it hands its decoder draws with standard deviations {small:.3g} and "
        f"{large:.3g}, ± {100 * sampling.standard_error:.0f} % each"
    )
    if sampling.training == "mean":
        return "nothing is drawn: the decoder sees the mean while training", because
    if sampling.training == kind:
        return "drawn from this q(z|x)", because
    drawn = as_kind(sampling.training)
    words = "not drawn from this q(z|x)" if drawn is None else f"drawn as if the spread were {WORDS[drawn]}"
    return words, because


def _parameter_name(modules: tuple[nn.Module, ...]) -> str | None:
    """What the model's own reparameterize(mean, spread) calls its second argument."""
    for module in modules:
        for name in dir(type(module)):
            if name.lower().startswith("repar"):
                arguments = list(inspect.signature(getattr(type(module), name)).parameters)[1:]
                if len(arguments) >= 2 and kind_of(arguments[1]) is not None:
                    return arguments[1]
    return None


def _kind(
    second: Second | None, layout: Layout, spread: Tensor, sampling: Sampling | None, parameter: str | None
) -> tuple[Second, str]:
    """On which scale the spread is, and why."""
    low, high = float(spread.min()), float(spread.max())
    if isinstance(layout, encoding.FromNormal):
        return "sigma", "a distribution knows its own standard deviation"
    name = getattr(layout, "name", None) or parameter
    named = kind_of(name) if name else None
    drawn = None if sampling is None else as_kind(sampling.training) or as_kind(sampling.evaluation)
    if second is not None:
        kind, reason = second, f"second={second!r} says so"
    elif named is not None and drawn is not None and named != drawn:
        raise ValueError(
            f"the spread is called {name!r}, that is {WORDS[named]}, but the model draws z with {WORDS[drawn]}. One of "
            f"the two is a fault: if the name is right, write second={named!r} (and mend the line that draws z); if "
            f"the draw is right, write second={drawn!r} (and check the line of the KL)"
        )
    elif drawn is not None:
        kind, reason = drawn, "the model draws z so"
    elif named is not None:
        kind, reason = named, f"it is called {name}"
    else:
        options: list[Second] = [kind for kind in LOG_SIGMA if low >= 0 or kind in ("logvar", "log_sigma", "softplus")]
        lines = " or ".join(f"second={kind!r} ({WORDS[kind]})" for kind in options)
        raise ValueError(
            f"the second tensor that encode gives lies between {low:.3g} and {high:.3g}, which does not tell what it "
            f"is; write {lines}"
        )
    if kind in ("sigma", "variance") and low <= 0:
        raise ValueError(
            f"{reason}: the second tensor is {WORDS[kind]}, but it goes down to {low:.3g} on x, and neither can be 0 "
            "or less; write second='logvar' or second='log_sigma' if it is a logarithm"
        )
    return kind, f"{reason} (it lies between {low:.3g} and {high:.3g})"
