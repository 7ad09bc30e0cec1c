"""The decoder of a foreign model, inferred by running it: the parameters of p(x|z) on some scale, or a distribution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from nelbo.latents import UnknownFamilyError, base_of, rebuilt
from nelbo.likelihoods import Likelihood, Scale, check_likelihood, fitting
from nelbo.likelihoods.given import GivenLikelihood
from nelbo.likelihoods.likelihood import AS_PARAMETERS
from nelbo.wrapping.encoding import (
    FROM_LOG_STD,
    LOG_STD,
    WORDS,
    Spread,
    as_distribution,
    entries_of,
    replaced,
    scale_of,
)
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import Function, in_float

_SHARE = 0.05  # nats per feature by which one reading of decode must explain x better than the other to contradict
# fmt: off
_RECONSTRUCTIONS = (
    "reconstruction", "recon_x", "recon", "recons", "x_recon", "x_hat", "xhat", "reconstructed", "x_rec", "logits",
    "probs", "probabilities", "mean", "mu", "loc", "sample", "rate",
)
# fmt: on


@final
@dataclass(frozen=True)
class Place:
    """The place of the reconstruction in the answer of decode; ``key`` None: it is the whole."""

    key: Any = None

    def read(self, output: Any) -> Any:
        """The reconstruction."""
        return output if self.key is None else entries_of(output)[self.key]

    def write(self, output: Any, value: Tensor) -> Any:
        """The same kind of thing as ``output``, with this reconstruction in it."""
        return value if self.key is None else replaced(output, {self.key: value})


@final
@dataclass(frozen=True)
class Pair:
    """The places of the two parameters of p(x|z), read as one tensor of both: (batch, 2 \\* c, \\*rest).

    Attributes:
        first: of the mean.
        second: of the spread, or of another parameter.
        scale: on which the spread is given; it is read as log sigma.
        key: None: neither is the whole.
    """

    first: Any
    second: Any
    scale: Spread = "log_std"
    key: None = None

    def read(self, output: Any) -> Any:
        """Both parameters, one behind the other."""
        entries = entries_of(output)
        return torch.cat([entries[self.first], LOG_STD[self.scale](entries[self.second])], dim=1)

    def write(self, output: Any, value: Tensor) -> Any:
        """The same kind of thing as ``output``, with these parameters in it."""
        first, second = value.chunk(2, dim=1)
        return replaced(output, {self.first: first, self.second: FROM_LOG_STD[self.scale](second)})


@dataclass(frozen=True)
class DecoderSide:
    """The calls of decode, and the reading of its answer."""

    function: Function
    place: Place | Pair
    output: str
    scale: Scale | None
    """None: it returns a distribution."""
    latent_shape: torch.Size
    event: torch.Size
    """Of the parameters; of x where a distribution is returned."""

    def call(self, z: Tensor) -> Any:
        """The answer of decode for z of shape (n, latent)."""
        return self.function(z.reshape(-1, *self.latent_shape))

    def parameters(self, output: Any) -> Tensor:
        """The parameters of p(x|z), (n, \\*event)."""
        if self.scale is None:
            raise TypeError("decode returns a distribution, not one tensor of parameters")
        value = in_float(self.place.read(output))
        return self.scale.to_parameters(value).reshape(len(value), *self.event)

    def likelihood(self, z: Tensor, family: Likelihood) -> Distribution:
        """p(x|z) of a family, with batch shape (\\*samples, batch), for z of shape (\\*samples, batch, latent)."""
        latent = self.latent_shape.numel()
        if z.shape[-1] != latent:
            raise ValueError(f"z must have shape (..., batch, {latent}), got {tuple(z.shape)}")
        codes = z.reshape(-1, latent)
        output = self.call(codes)
        if self.scale is not None:
            return family(self.parameters(output).reshape(*z.shape[:-1], *self.event), len(self.event))
        return _shown_as(as_distribution(self.place.read(output), len(codes), self.event), z.shape[:-1], self.event)


class Decoded(NamedTuple):
    """The inferred decoder."""

    side: DecoderSide
    likelihood: Likelihood
    notes: list[Conclusion]


def infer(decode: Function, x: Tensor, mean: Tensor, likelihood: Likelihood | None, output: str | None) -> Decoded:
    """Run decode on the means of q(z|x) and on draws, and infer what it gives.

    Raises:
        TypeError: likelihood is not a likelihood.
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
        px = as_distribution(first, len(x), event)
        side = DecoderSide(decode, Place(), "distribution", None, latent_shape, event)
        family = likelihood if likelihood is not None else GivenLikelihood(px.support, px.event_shape)
        return Decoded(side, family, [Conclusion("p(x|z)", str(px), "decode returns this distribution")])
    likelihood = _family(likelihood, x)
    numbers = features * likelihood.parameters_per_feature
    pair = _find_pair(first, len(x), features, likelihood, output)
    place, output = (_find_place(first, len(x), numbers), output) if pair is None else (pair, None)
    value = place.read(first)
    if value.numel() != len(x) * numbers:
        _misfit(value, x, likelihood)
    parameters = torch.Size(likelihood.decoder_event(event))

    def decoded(z: Tensor) -> Tensor:
        return in_float(place.read(decode(z)))

    scale_name, scale, why = _scale(decoded, mean, x, likelihood, output, place)
    side = DecoderSide(decode, place, scale_name, scale, latent_shape, parameters)
    family = type(likelihood).__name__
    notes = [Conclusion("p(x|z)", f"{family}, of which decode gives the {scale_name}", why)]
    if pair is not None and likelihood.decodes_spread:
        notes.append(
            Conclusion("p(x|z)", f"decode's second tensor is {WORDS[pair.scale]}", "its name or output= says so")
        )
    if tuple(value.shape[1:]) != tuple(parameters):
        notes.append(
            Conclusion(
                "x",
                f"decode's {tuple(value.shape[1:])} is read as {tuple(parameters)}",
                "that is the shape of an example",
            )
        )
    return Decoded(side, likelihood, notes)


def _family(likelihood: Any, x: Tensor) -> Likelihood:
    if isinstance(likelihood, Likelihood):
        return likelihood
    if likelihood is not None:
        check_likelihood(likelihood)
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
    place: Place | Pair,
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


def _find_pair(output: Any, batch: int, features: int, likelihood: Likelihood, said: str | None) -> Pair | None:
    """The places of two tensors that are the parameters of p(x|z), or None where decode does not give two.

    Raises:
        ValueError: the scale of a spread is not known.
    """
    if likelihood.parameters_per_feature != 2 or isinstance(output, Tensor):
        return None
    entries = entries_of(output)
    names = (
        dict(enumerate(getattr(output, "_fields", ()))) if isinstance(output, tuple) else {k: str(k) for k in entries}
    )
    keys = [k for k, v in entries.items() if isinstance(v, Tensor) and v.dim() > 1 and v.numel() == batch * features]
    spreads = [key for key in keys if scale_of(names.get(key, ""))]
    means = [key for key in keys if key not in spreads]
    if not likelihood.decodes_spread:
        return Pair(*keys) if len(keys) == 2 else None
    if len(spreads) == 1 and len(means) == 1:
        return Pair(means[0], spreads[0], scale_of(names[spreads[0]]) or "log_std")
    if len(keys) != 2:
        return None
    low = float(entries[keys[1]].min())
    options: dict[str, Spread] = {scale: scale for scale in LOG_STD if low > 0 or scale not in ("std", "variance")}
    scale = options.get(said or "")
    if scale is None:
        lines = " or ".join(f"output={option!r} ({WORDS[option]})" for option in options.values())
        raise ValueError(
            f"decode gives two tensors for {type(likelihood).__name__}, a mean and a spread; write {lines}"
        )
    return Pair(keys[0], keys[1], scale)


def _find_place(output: Any, batch: int, numel: int) -> Place:
    """The place of the reconstruction: all of the output, or the one tensor with ``numel`` values for each z.

    Raises:
        ValueError: none or several fit.
    """
    if isinstance(output, Tensor | Distribution):
        return Place()
    entries = entries_of(output)
    fitting = [k for k, v in entries.items() if isinstance(v, Tensor) and v.numel() == batch * numel]
    named = [name for name in _RECONSTRUCTIONS if name in fitting]
    if len(fitting) == 1 or named:
        return Place(named[0] if named else fitting[0])
    shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in entries.items()}
    raise ValueError(
        f"decode returns a {type(output).__name__} with {shapes}, in which the reconstruction ({numel} numbers for "
        f"each of {batch} examples) does not stand out; return just that, such as decode=lambda z: model.decode(z)[0], "
        "or a torch.distributions.Distribution of x"
    )


def _shown_as(px: Distribution, batch_shape: torch.Size, event_shape: torch.Size) -> Distribution:
    """A distribution of n examples with other shapes: of the same family where its features are independent."""

    def reshaped(values: list[Tensor]) -> Tensor:
        return values[0].reshape(*batch_shape, *event_shape)

    try:
        features = rebuilt(base_of(px), [], reshaped)
    except (UnknownFamilyError, RuntimeError):  # parameters that are not one for each feature
        return Reshaped(px, batch_shape, event_shape)
    if features.batch_shape != batch_shape + event_shape:
        return Reshaped(px, batch_shape, event_shape)
    return Independent(features, len(event_shape), validate_args=False)


@final
class Reshaped(Distribution):
    """A distribution of n examples, shown with another batch shape of n entries and another event shape.

    Args:
        base: batch shape (n,).
        batch_shape: the batch shape to show, of n entries.
        event_shape: the event shape to show, with as many entries as that of base.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, base: Distribution, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        self.base = base
        super().__init__(batch_shape, event_shape, validate_args=False)

    def _shown(self, values: Tensor, leading: tuple[int, ...] = ()) -> Tensor:
        return values.reshape(*leading, *self.batch_shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        leading = shape[: len(shape) - len(self.batch_shape) - len(self.event_shape)]
        inner = value.expand(shape).reshape(*leading, *self.base.batch_shape, *self.base.event_shape)
        return self.base.log_prob(inner).reshape(*leading, *self.batch_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self._shown(self.base.sample(torch.Size(sample_shape)), tuple(sample_shape))

    @property
    def mean(self) -> Tensor:
        return self._shown(self.base.mean)

    @property
    def variance(self) -> Tensor:
        return self._shown(self.base.variance)

    @property
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.base.support
