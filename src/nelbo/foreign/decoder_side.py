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
from nelbo.foreign.decoding import Output, Place, Scale
from nelbo.foreign.given import GivenLikelihood
from nelbo.foreign.modules import Function
from nelbo.likelihoods import Likelihood, fitting

_SHARE = 0.05  # nats per feature by which one reading of decode must explain x better than the other to contradict


@dataclass(frozen=True)
class DecoderSide:
    """How to call decode and read what it returns."""

    function: Function
    place: Place
    output: Output
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


def conclude(
    decode: Function, x: Tensor, mean: Tensor, likelihood: Likelihood | None, output: Output | None
) -> Decoded:
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
    found = fitting(x)
    if likelihood is not None:
        made = f"{likelihood.__name__}()" if inspect.isclass(likelihood) else "Bernoulli()"
        raise TypeError(
            f"likelihood is a nelbo likelihood, got {likelihood!r}; write likelihood=nelbo.likelihoods.{made}"
        )
    raise ValueError(
        "what decode gives does not say which p(x|z) the model was trained with; write "
        "likelihood=nelbo.likelihoods.Bernoulli() for binary cross-entropy, or Normal(sigma) for a squared error: "
        f"Normal(1.0) for half of it. {found.looks.sentence} What fits x: {found.line}"
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
    output: Output | None,
    place: Place,
) -> tuple[Output, Scale, str]:
    """What decode gives: of two readings, the bounded one if all z respect its bounds and x is not against it."""
    scales = decoding.scales_of(likelihood)
    probes = [mean, torch.randn_like(mean), 10 * torch.randn_like(mean)]
    values = torch.cat([decoded(z).flatten() for z in probes])
    low, high = float(values.min()), float(values.max())
    reach = f"for {sum(len(z) for z in probes)} z, near and far, it lies between {low:.3g} and {high:.3g}"
    bounded: Output | None = next((name for name, scale in scales.items() if scale.holds is not None), None)
    inside = bounded is None or bool(scales[bounded].holds(values).all())  # pyright: ignore[reportOptionalCall]
    if output is not None:
        if output not in scales:
            raise ValueError(
                f"output={output!r} is nothing that a decoder gives for {type(likelihood).__name__}; write output="
                + " or output=".join(map(repr, scales))
            )
        if output == bounded and not inside:
            raise ValueError(
                f"output={output!r} must lie in {scales[output].domain}, but {reach}; "
                f"write output={next(n for n in scales if n != bounded)!r}"
            )
        return output, scales[output], f"output={output!r} says so"
    if bounded is None:
        name = next(iter(scales))
        return name, scales[name], "the likelihood takes them as they are"
    free: Output = next(name for name in scales if name != bounded)
    if not inside:
        return free, scales[free], f"{reach}, outside {scales[bounded].domain}"
    gain = _explained(decoded(mean), x, likelihood, scales[bounded]) - _explained(
        decoded(mean), x, likelihood, scales[free]
    )
    if gain < -_SHARE or place.key == free:
        raise ValueError(
            f"{reach}, so decode may give {bounded}, but read as {free} it explains x better by {-gain:.2g} nats per "
            f"feature; write output={bounded!r} or output={free!r}"
        )
    return bounded, scales[bounded], reach


def _explained(value: Tensor, x: Tensor, likelihood: Likelihood, scale: Scale) -> float:
    """Mean log p(x|z) for each feature, in nats."""
    event = likelihood.decoder_event(x.shape[1:])
    parameters = scale.to_parameters(value).reshape(len(x), *event)
    log_px = likelihood(parameters, len(event)).log_prob(x)
    return float(log_px.mean()) / x.shape[1:].numel()
