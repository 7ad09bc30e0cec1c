"""What decode gives, concluded by running it: the parameters of p(x|z) on some scale, or a finished distribution."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.foreign import decoding
from nelbo.foreign.conclusion import Conclusion
from nelbo.foreign.decoding import Place
from nelbo.foreign.given import GivenLikelihood
from nelbo.foreign.modules import Function
from nelbo.likelihoods import Likelihood, Scale, fitting
from nelbo.likelihoods.likelihood import AS_PARAMETERS

_SHARE = 0.05  # nats per feature by which one reading of decode must explain x better than the other to contradict


@dataclass(frozen=True)
class DecoderSide:
    """How to call decode and read what it returns."""

    function: Function
    place: Place
    output: str
    scale: Scale | None
    """None: it returns a finished distribution."""
    latent_shape: torch.Size
    event: torch.Size
    """Of the parameters; of x where a distribution is returned."""

    def call(self, z: Tensor) -> Any:
        """What decode returns for z of shape (n, latent)."""
        return self.function(z.reshape(-1, *self.latent_shape))

    def parameters(self, output: Any) -> Tensor:
        """The parameters of p(x|z), (n, \\*event)."""
        if self.scale is None:
            raise TypeError("decode returns a distribution, which has no one tensor of parameters")
        value = self.place.read(output)
        return self.scale.to_parameters(value).reshape(len(value), *self.event)


class Decoded(NamedTuple):
    """What was found out about decode."""

    side: DecoderSide
    likelihood: Likelihood
    notes: list[Conclusion]


def conclude(decode: Function, x: Tensor, mean: Tensor, likelihood: Likelihood | None, output: str | None) -> Decoded:
    """Run decode on the means of q(z|x) and on draws, and conclude what it gives.

    Raises:
        TypeError: likelihood is no likelihood.
        ValueError: something does not fit or cannot be known; the message says what to write.
    """
    event, latent_shape = x.shape[1:], mean.shape[1:]
    try:
        first = decode(mean)
    except Exception as error:
        raise ValueError(
            f"decode fails on z of shape {tuple(mean.shape)}: {type(error).__name__}: {error}. Adapt it, such as "
            "decode=lambda z: model.decode(z).view(len(z), -1)"
        ) from error
    features = event.numel()
    if isinstance(first, Distribution):
        px = decoding.as_distribution(first, len(x), event)
        side = DecoderSide(decode, Place(), "distribution", None, latent_shape, event)
        family = likelihood if likelihood is not None else GivenLikelihood(px.support, px.event_shape)
        return Decoded(side, family, [Conclusion("p(x|z)", str(px), "decode returns this distribution")])
    likelihood = _family(likelihood, x)
    numbers = features * likelihood.parameters_per_feature
    place = decoding.find_place(first, len(x), numbers)
    value = place.read(first)
    if value.numel() != len(x) * numbers:
        _misfit(value, x, likelihood)
    parameters = torch.Size(likelihood.decoder_event(event))

    def decoded(z: Tensor) -> Tensor:
        return place.read(decode(z))

    scale_name, scale, why = _scale(decoded, mean, x, likelihood, output, place)
    side = DecoderSide(decode, place, scale_name, scale, latent_shape, parameters)
    family = type(likelihood).__name__
    notes = [Conclusion("p(x|z)", f"{family}, of which decode gives the {scale_name}", why)]
    if tuple(value.shape[1:]) != tuple(parameters):
        notes.append(
            Conclusion("x", f"decode's {tuple(value.shape[1:])} is seen as {tuple(parameters)}", "examples of x are so")
        )
    return Decoded(side, likelihood, notes)


def _family(likelihood: Any, x: Tensor) -> Likelihood:
    if isinstance(likelihood, Likelihood):
        return likelihood
    if likelihood is not None:
        line = f"{likelihood.__name__}()" if inspect.isclass(likelihood) else "Bernoulli()"
        raise TypeError(
            f"likelihood must be a nelbo likelihood, got {likelihood!r}; write likelihood=nelbo.likelihoods.{line}"
        )
    suggestion = fitting(x)
    raise ValueError(
        "what decode gives does not say which p(x|z) the model was trained with; write "
        "likelihood=nelbo.likelihoods.Bernoulli() for binary cross-entropy, or Normal(sigma) for a squared error: "
        f"Normal(1.0) for half of it. {suggestion.summary.sentence} What fits x: {suggestion.line}"
    )


def _misfit(value: Tensor, x: Tensor, likelihood: Likelihood) -> None:
    outputs = tuple(likelihood.decoder_event(x.shape[1:]))
    raise ValueError(
        f"decode gives {tuple(value.shape)} for {len(x)} examples of shape {tuple(x.shape[1:])}, expected "
        f"({len(x)}, {', '.join(map(str, outputs))}) for {type(likelihood).__name__}; give wrap() the x that the model "
        f"was trained on, or end the decoder with {torch.Size(outputs).numel()} outputs for each z"
    )


def _scale(
    decoded: Callable[[Tensor], Tensor],
    mean: Tensor,
    x: Tensor,
    likelihood: Likelihood,
    output: str | None,
    place: Place,
) -> tuple[str, Scale, str]:
    """The reading of what decode gives: the bounded one if all z respect its bounds and x is not against it."""
    scales = likelihood.readings or {"parameters": AS_PARAMETERS}
    if output is not None and output not in scales:
        raise ValueError(
            f"output={output!r} is not what a decoder gives for {type(likelihood).__name__}; write output="
            + " or output=".join(map(repr, scales))
        )
    probes = [mean, torch.randn_like(mean), 10 * torch.randn_like(mean)]
    values = torch.cat([decoded(z).flatten() for z in probes])
    reach = (
        f"for {sum(len(z) for z in probes)} z, near and far, it lies between {float(values.min()):.3g} and "
        f"{float(values.max()):.3g}"
    )
    possible = {name: s for name, s in scales.items() if s.holds is None or bool(s.holds(values).all())}
    if (output is not None and output not in possible) or not possible:
        name = output or next(iter(scales))
        line = "".join(f"; write output={other!r}" for other in list(possible)[:1])
        raise ValueError(f"output={name!r} must lie in {scales[name].domain}, but {reach}{line}")
    if output is not None:
        return output, scales[output], f"output={output!r} says so"
    name, *others = possible
    if len(scales) == 1:
        return name, scales[name], "the likelihood takes them as they are"
    if not others:
        outside = next(s.domain for other, s in scales.items() if other not in possible)
        return name, scales[name], f"{reach}, outside {outside}"
    explained = {name: _explained(decoded(mean), x, likelihood, scale) for name, scale in possible.items()}
    other = place.key if place.key in others else max(others, key=explained.__getitem__)
    gain = explained[name] - explained[other]
    if gain < -_SHARE or other == place.key:
        raise ValueError(
            f"{reach}, so decode may give {name}, but read as {other} it explains x better by {-gain:.2g} nats per "
            f"feature; write output={name!r} or output={other!r}"
        )
    return name, scales[name], reach


def _explained(value: Tensor, x: Tensor, likelihood: Likelihood, scale: Scale) -> float:
    """Mean log p(x|z) for each feature, in nats."""
    event = likelihood.decoder_event(x.shape[1:])
    parameters = scale.to_parameters(value).reshape(len(x), *event)
    log_px = likelihood(parameters, len(event)).log_prob(x)
    return float(log_px.mean()) / x.shape[1:].numel()
