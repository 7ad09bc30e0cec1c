"""The decoder of a foreign model, inferred by running it: the parameters of p(x|z) on some scale, or a distribution."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from nelbo.divergences.internals import broadcast_shapes
from nelbo.latents import Expandable, UnknownFamilyError, base_of, rebuilt
from nelbo.likelihoods import (
    Bernoulli,
    Likelihood,
    NegativeBinomial,
    Normal,
    Poisson,
    Scale,
    check_likelihood,
    fitting,
)
from nelbo.likelihoods.given import GivenLikelihood
from nelbo.likelihoods.likelihood import AS_PARAMETERS
from nelbo.wrapping.answers import Path, distributions, leaves, name_of, part, replaced, shown
from nelbo.wrapping.encoding import (
    FROM_LOG_STD,
    LOG_STD,
    WORDS,
    Spread,
    as_distribution,
    scale_of,
)
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import Function, in_float

_SHARE = 0.05  # nats per feature by which one reading of decode must explain x better than the other to contradict
_OFF = 1e-2  # of probabilities, by which their sum may differ from 1
_CALIBRATED = 1.3  # a factor by which the residuals of a trained decoder may differ from its sigma
# fmt: off
_RECONSTRUCTIONS = (
    "reconstruction", "recon_x", "recon", "recons", "x_recon", "x_hat", "xhat", "reconstructed", "x_rec", "logits",
    "probs", "probabilities", "mean", "mu", "loc", "sample", "rate",
)
# fmt: on


@final
@dataclass(frozen=True)
class Place:
    """The place of the reconstruction in the answer of decode.

    Attributes:
        path: to it; () is the whole.
        order: of a tensor with several numbers for each feature.
        make: makes p(x|z) of the whole.
    """

    path: Path = ()
    order: "Order | None" = None
    make: Callable[[Any], Distribution] | None = None

    def read(self, output: Any) -> Any:
        """The reconstruction, with several numbers of a feature along the first axis of the event."""
        if self.make is not None:
            return self.make(output)
        value = part(output, self.path)
        return value if self.order is None else self.order.first(value)

    def write(self, output: Any, value: Tensor) -> Any:
        """The same kind of thing as ``output``, with this reconstruction in it."""
        value = value if self.order is None else self.order.back(value)
        return replaced(output, {self.path: value})


@final
@dataclass(frozen=True)
class Order:
    """The axes of a tensor with k numbers for each feature, as decode gives it.

    Attributes:
        name: "first", "second" or "last", where the k numbers stand.
        numbers: k.
        event: of x.
        shape: that decode gives.
    """

    name: str
    numbers: int
    event: torch.Size
    shape: torch.Size

    def first(self, value: Tensor) -> Tensor:
        """To (n, k \\* c, \\*rest)."""
        axis = {"first": 1, "second": 2, "last": -1}[self.name]
        whole = (*self.event[:1], self.numbers, *self.event[1:]) if self.name == "second" else None
        whole = whole or ((*self.event, self.numbers) if self.name == "last" else (self.numbers, *self.event))
        moved = value.reshape(len(value), *whole).movedim(axis, 1)
        return moved.reshape(len(value), self.numbers * self.event[0], *self.event[1:])

    def back(self, value: Tensor) -> Tensor:
        """The inverse."""
        axis = {"first": 1, "second": 2, "last": -1}[self.name]
        return value.reshape(len(value), self.numbers, *self.event).movedim(1, axis).reshape(len(value), *self.shape)


def _orders(shape: torch.Size, event: torch.Size, numbers: int) -> list[Order]:
    """The orders of axes that a shape of one answer may have; the first one is nelbo's own."""
    flat = (event.numel(),)
    fitting = {
        "first": [(numbers * event[0], *event[1:]), (numbers, *event), (numbers, *flat)],
        "second": [(event[0], numbers, *event[1:])] if len(event) > 1 else [],
        "last": [(*event, numbers), (*flat, numbers), (*event[:-1], event[-1] * numbers)],
    }
    if shape == (numbers * event.numel(),):  # a flat answer may have either order
        names = ["first", "last"] if numbers > 2 else ["first"]
    else:
        names = [name for name, shapes in fitting.items() if tuple(shape) in shapes]
    if len(event) == 1 and len(names) > 1 and shape == (numbers * event[0],) and numbers == 2:
        names = ["first"]
    return [Order(name, numbers, event, shape) for name in names]


@final
@dataclass(frozen=True)
class Pair:
    """The places of the two parameters of p(x|z), read as one tensor of both: (batch, 2 \\* c, \\*rest).

    Attributes:
        first: of the mean.
        second: of the spread, or of another parameter.
        scale: on which the spread is given; it is read as log sigma.
        path: (): neither is the whole.
    """

    first: Path
    second: Path
    scale: Spread = "log_std"
    path: Path = ()

    def read(self, output: Any) -> Any:
        """Both parameters, one behind the other."""
        return torch.cat([part(output, self.first), LOG_STD[self.scale](part(output, self.second))], dim=1)

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
    condition: Tensor | None = None
    """(batch, \\*condition), of a conditional model."""

    def call(self, z: Tensor) -> Any:
        """The answer of decode for z of shape (n, latent), n a multiple of the batch at a condition."""
        if self.condition is None:
            return self.function(z.reshape(-1, *self.latent_shape))
        c = self.condition
        if len(z) % len(c):
            raise ValueError(f"z must have a row for each of the {len(c)} conditions, got shape {tuple(z.shape)}")
        return self.function(z.reshape(-1, *self.latent_shape), c.repeat(len(z) // len(c), *(1,) * (c.dim() - 1)))

    def parameters(self, output: Any) -> Tensor:
        """The parameters of p(x|z), (n, \\*event)."""
        if self.scale is None:
            raise TypeError("decode returns a distribution, not one tensor of parameters")
        value = in_float(self.place.read(output))
        return self.scale.to_parameters(value).reshape(len(value), *self.event)

    def others(self, family: Likelihood) -> dict[str, Callable[[Any], Tensor]]:
        """The other readings that an answer of decode may be given, by name: its parameters if it were that."""
        if isinstance(self.place, Pair) and family.decodes_spread:
            places = {scale: replace(self.place, scale=scale) for scale in LOG_STD if scale != self.place.scale}
            return {scale: replace(self, place=place).parameters for scale, place in places.items()}
        readings = SPREADS if family.decodes_spread else family.readings
        return {name: replace(self, scale=scale).parameters for name, scale in readings.items() if name != self.output}

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


class Found(NamedTuple):
    """A reading of what decode gives."""

    name: str
    scale: Scale
    why: str


class Decoded(NamedTuple):
    """The inferred decoder."""

    side: DecoderSide
    likelihood: Likelihood
    notes: list[Conclusion]


def infer(
    decode: Function,
    x: Tensor,
    mean: Tensor,
    likelihood: Likelihood | Callable[[Any], Distribution] | None,
    output: str | None,
    *,
    axis: str | None = None,
    c: Tensor | None = None,
    assume: bool = False,
) -> Decoded:
    """Run decode on the means of q(z|x) and on draws, and infer what it gives.

    Raises:
        TypeError: likelihood is not a likelihood.
        ValueError: something does not fit or cannot be known; the message says what to write.
    """
    event, latent_shape = x.shape[1:], mean.shape[1:]

    def decoded(z: Tensor) -> Any:
        return decode(z) if c is None else decode(z, c)

    try:
        first = decoded(mean)
    except Exception as error:
        raise ValueError(
            f"decode fails on z of shape {tuple(mean.shape)}: {type(error).__name__}: {error}. Adapt it, such as "
            "decode=lambda z: model.decode(z).view(len(z), -1)"
        ) from error
    features = event.numel()
    if likelihood is not None and not isinstance(likelihood, Likelihood | type) and callable(likelihood):
        place, given, why = Place(make=likelihood), None, "likelihood= makes it of what decode gives"
    else:
        path = _find_distribution(first, len(x), event)
        place, given = None if path is None else Place(path), likelihood
        why = f"decode returns this distribution{f' as {shown(path)}' if path else ''}"
    if place is not None:
        px = as_distribution(place.read(first), len(x), event)
        side = DecoderSide(decode, place, "distribution", None, latent_shape, event, c)
        family = given if isinstance(given, Likelihood) else GivenLikelihood(_support(px), px.event_shape)
        return Decoded(side, family, [Conclusion("p(x|z)", _in_a_line(px), why)])
    notes: list[Conclusion] = []
    assumed = likelihood is None and assume
    if assumed:
        likelihood, why = _assumed(first, x)
        notes.append(Conclusion("p(x|z)", f"assumed to be {type(likelihood).__name__}", why))
    likelihood = _family(likelihood, x)
    numbers = features * likelihood.parameters_per_feature
    pair = _find_pair(first, len(x), features, likelihood, output)
    place, output = (
        (_find_place(first, len(x), numbers), output)
        if pair is None
        else (pair, None if likelihood.decodes_spread else output)
    )
    notes += _unread(first, place.path, x) if assumed and pair is None else []
    value = place.read(first)
    if value.numel() != len(x) * numbers:
        _misfit(value, x, likelihood)
    parameters = torch.Size(likelihood.decoder_event(event))

    @functools.cache
    def answers() -> list[Any]:
        return [first, decoded(torch.randn_like(mean)), decoded(10 * torch.randn_like(mean))]

    def read(at: Place | Pair) -> Found:
        return _scale(lambda: [in_float(at.read(answer)) for answer in answers()], x, likelihood, output, at)

    if isinstance(place, Place) and likelihood.parameters_per_feature > 1:
        place, found = _ordered(value, place.path, x, likelihood, axis, read)
        if output is None and any(scale.certain for scale in likelihood.readings.values()):
            _check_shares([in_float(place.read(answer)) for answer in answers()], likelihood, event, place.order)
    else:
        found = read(place)
    scale_name, scale, why = found
    side = DecoderSide(decode, place, scale_name, scale, latent_shape, parameters, c)
    notes.append(Conclusion("p(x|z)", f"{type(likelihood).__name__}, of which decode gives the {scale_name}", why))
    if isinstance(place, Place) and place.order is not None:
        k, why = likelihood.parameters_per_feature, f"decode gives {tuple(place.order.shape)} for each z"
        notes.append(Conclusion("p(x|z)", f"the {k} numbers of a feature stand on the {place.order.name} axis", why))
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


def _find_distribution(output: Any, batch: int, event: torch.Size) -> Path | None:
    """The path to a distribution over x in the answer of decode, or None where there is none."""
    if isinstance(output, Distribution):
        return ()
    found: list[Path] = []
    for path, px in distributions(output).items():
        try:
            as_distribution(px, batch, event)
        except ValueError:
            continue
        found.append(path)
    named = [path for path in found if path[-1] in ("px", "p_x", "likelihood", "distribution")]
    return (named or found or [None])[0]


def _support(px: Distribution) -> Any:
    try:
        return px.support
    except NotImplementedError:
        return None


def _in_a_line(px: Distribution) -> str:
    words = str(px)
    return words if len(words) < 200 and "\n" not in words else type(px).__name__


def _assumed(output: Any, x: Tensor) -> tuple[Likelihood, str]:
    """A family for a model that says none: by what x is, and by how many numbers decode gives for each feature."""
    summary, found = fitting(x).summary, leaves(output)
    names = [name_of(output, path) for path, t in found.items() if t.numel() == x.numel()]
    spreads = [name for name in names if scale_of(name)]
    doubled = not names and any(t.numel() == 2 * x.numel() for t in found.values())
    ask = "likelihood= was not given; write it if the model was trained with another one"
    if summary.kind == "binary":
        return Bernoulli(), f"x holds 0 and 1, and {ask}"
    if summary.kind == "counts":
        return NegativeBinomial() if doubled else Poisson(), f"x holds counts, and {ask}"
    if len(names) == 2 and len(spreads) == 1:
        return Normal("decoded"), f"decode gives {spreads[0]} beside a mean, and {ask}"
    if doubled:
        return Normal("decoded"), f"decode gives two numbers for each feature, and {ask}"
    return Normal("optimal"), f"with sigma at its optimum, its own scale: {ask}"


def _unread(output: Any, path: Path, x: Tensor) -> list[Conclusion]:
    """What decode gives beside the reconstruction that may be a parameter of p(x|z)."""
    if not path:
        return []
    found, taken = leaves(output), part(output, path)
    beside = [
        p for p, t in found.items() if t is not taken and (t.numel() == x.numel() or scale_of(name_of(output, p)))
    ]
    if not beside:
        return []
    why = f"{shown(path)} is taken for the reconstruction; if they are of p(x|z), write likelihood="
    return [Conclusion("p(x|z)", f"{', '.join(map(shown, beside))} of what decode gives not read", why)]


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
    if tuple(value.shape) == (len(x), len(x)):
        raise ValueError(
            f"decode gives a number for each pair of the {len(x)} rows, as that of a graph does: its rows are no "
            "independent examples, so there is no log p(x|z) of one. What can be measured is q(z|x): write "
            "nelbo.kl(Normal(mu, sigma), Normal(0.0, 1.0)) with what encode gives"
        )
    raise ValueError(
        f"decode gives {tuple(value.shape)} for {len(x)} examples of shape {tuple(x.shape[1:])}, expected "
        f"({len(x)}, {', '.join(map(str, outputs))}) for {type(likelihood).__name__}; give wrap() the x that the model "
        f"was trained on, or end the decoder with {torch.Size(outputs).numel()} outputs for each z"
    )


def _scale(
    answers: Callable[[], list[Tensor]],
    x: Tensor,
    likelihood: Likelihood,
    output: str | None,
    place: Place | Pair,
) -> Found:
    """The reading of what decode gives: the bounded one if all z respect its bounds and x is not against it."""
    scales = likelihood.readings or {"parameters": AS_PARAMETERS}
    if likelihood.decodes_spread and isinstance(place, Place):
        scales = SPREADS
    if output is not None and output not in scales:
        raise ValueError(
            f"output={output!r} is not what a decoder gives for {type(likelihood).__name__}; write output="
            + " or output=".join(map(repr, scales))
        )
    said = next(iter(scales)) if output is None and len(scales) == 1 else output
    because = "the likelihood takes them as they are" if output is None else f"output={output!r} says so"
    if said is not None and scales[said].holds is None:
        return Found(said, scales[said], because)
    at_means, *far = answers()
    values = torch.cat([at_means, *far])
    reach = (
        f"for {len(values)} z, near and far, it lies between {float(values.min()):.3g} and {float(values.max()):.3g}"
    )
    possible = {name: s for name, s in scales.items() if s.holds is None or bool(s.holds(values).all())}
    if (said is not None and said not in possible) or not possible:
        name = said or next(iter(scales))
        line = "".join(f"; write output={other!r}" for other in list(possible)[:1])
        raise ValueError(f"output={name!r} must lie in {scales[name].domain}, but {reach}{line}")
    if said is not None:
        return Found(said, scales[said], because)
    if scales is SPREADS:
        return _calibrated(at_means, x, likelihood, possible)
    # a reading within bounds is the more special one, if it is possible
    name, *others = sorted(possible, key=lambda name: possible[name].holds is None)
    if not others:
        outside = next(s.domain for other, s in scales.items() if other not in possible)
        return Found(name, scales[name], f"{reach}, outside {outside}")
    if scales[name].certain:
        return Found(name, scales[name], f"{reach}, in {scales[name].domain}")
    explained = {name: _explained(at_means, x, likelihood, scale) for name, scale in possible.items()}
    named = place.path[-1] if place.path else None
    other = named if named in others else max(others, key=explained.__getitem__)
    gain = explained[name] - explained[other]
    if gain < -_SHARE or other == named:
        raise ValueError(
            f"{reach}, so decode may give {name}, but read as {other} it explains x better by {-gain:.2g} nats per "
            f"feature; write output={name!r} or output={other!r}"
        )
    return Found(name, scales[name], reach)


def _check_shares(answers: list[Tensor], likelihood: Likelihood, event: torch.Size, order: Order | None) -> None:
    """A ValueError where probabilities, or their logarithms, sum to 1 along another axis than that of the classes."""
    k = likelihood.parameters_per_feature
    values = [answer.reshape(len(answer), k, *event) for answer in answers]
    logarithms = all(bool((part <= 0).all()) for part in values)
    shares = [part.exp() for part in values] if logarithms else values
    if not all(bool(((part >= 0) & (part <= 1)).all()) for part in shares):
        return

    def sum_to_one(*axes: int) -> bool:
        return all(bool(((part.sum(axes) - 1).abs() < _OFF).all()) for part in shares)

    places = {(0,): f"the {len(shares[0])} examples of a batch", tuple(range(1, shares[0].dim())): "a whole example"}
    for axis, size in enumerate(event):
        if size > 1:
            places[(2 + axis,)] = f"the {size} {'features' if len(event) == 1 else f'entries of axis {axis} of x'}"
    wrong = [over for axes, over in places.items() if sum_to_one(*axes)]
    if wrong and not sum_to_one(1):
        dim = {"first": 1, "second": 2, "last": -1}["first" if order is None else order.name]
        name, numbers = ("log_softmax", "logarithms of numbers") if logarithms else ("softmax", "numbers")
        raise ValueError(
            f"decode gives {numbers} in [0, 1] that sum to 1 over {wrong[0]}, not over the {k} classes of each "
            f"feature: a {name} along the wrong axis. Write {name}(..., dim={dim}) in decode, or output='logits' if "
            "they are logits all the same"
        )


def _spread_scale(spread: Spread) -> Scale:
    """The reading of (mean, spread), one behind the other, with the spread on a scale."""

    def to(value: Tensor) -> Tensor:
        mean, h = value.chunk(2, 1)
        return torch.cat([mean, LOG_STD[spread](h)], 1)

    def back(parameters: Tensor) -> Tensor:
        mean, log_std = parameters.chunk(2, 1)
        return torch.cat([mean, FROM_LOG_STD[spread](log_std)], 1)

    if spread not in ("std", "variance"):
        return Scale(to, back)

    def positive(value: Tensor) -> Tensor:
        return value.chunk(2, 1)[1] > 0

    return Scale(to, back, positive, "(0, infinity) for the second of the two")


SPREADS = {spread: _spread_scale(spread) for spread in LOG_STD}
"""The readings of one tensor of means and spreads."""


def _calibrated(value: Tensor, x: Tensor, likelihood: Likelihood, possible: Mapping[str, Scale]) -> Found:
    """The one reading under which x lies about one standard deviation from the mean, as a trained decoder has it.

    Raises:
        ValueError: none or several do.
    """
    sizes: dict[str, float] = {}
    for name, scale in possible.items():
        event = likelihood.decoder_event(x.shape[1:])
        px = likelihood(scale.to_parameters(value).reshape(len(x), *event), len(event))
        sizes[name] = float(((x - px.mean) / px.stddev).square().mean().sqrt())
    fitting = [name for name, size in sizes.items() if 1 / _CALIBRATED < size < _CALIBRATED]
    if len(fitting) == 1:
        name = fitting[0]
        why = f"x lies {sizes[name]:.2f} standard deviations from the mean, and in no other reading about 1"
        return Found(name, possible[name], why)
    words = ", ".join(f"{size:.3g} as {name}" for name, size in sizes.items())
    lines = " or ".join(f"output={name!r} ({WORDS[name]})" for name in LOG_STD if name in possible)
    raise ValueError(
        f"decode gives means and spreads, and x lies this many standard deviations from the mean: {words}. That does "
        f"not tell on which scale the spread is; write {lines}"
    )


def _ordered(
    value: Tensor,
    path: Path,
    x: Tensor,
    likelihood: Likelihood,
    axis: str | None,
    read: Callable[[Place], Found],
) -> tuple[Place, Found]:
    """The order of the axes of a tensor with several numbers for each feature, and its reading.

    Raises:
        ValueError: there is none, or several that x does not tell apart.
    """
    event, shape = x.shape[1:], value.shape[1:]
    orders = _orders(shape, event, likelihood.parameters_per_feature)
    if axis is not None:
        orders = [order for order in orders if order.name == axis]
    if not orders:
        _misfit(value, x, likelihood)
    found: dict[Order, tuple[Place, Found, float]] = {}
    for order in orders:
        plain = order.name == "first" and tuple(shape) == tuple(likelihood.decoder_event(event))
        place = Place(path, None if plain else order)
        if len(orders) == 1:
            return place, read(place)
        reading = read(place)
        found[order] = (
            place,
            reading,
            _explained(in_float(place.order.first(value)) if place.order else value, x, likelihood, reading.scale),
        )
    best, second = sorted(found.values(), key=lambda entry: -entry[2])[:2]
    bounded = [entry for entry in found.values() if entry[1].scale.holds is not None]
    if len(bounded) == 1:  # the axis along which probabilities sum to 1
        return bounded[0][:2]
    if best[2] - second[2] > _SHARE:
        return best[:2]
    names = " or ".join(f"axis={order.name!r}" for order in orders)
    raise ValueError(
        f"decode gives {tuple(shape)} for each z, {likelihood.parameters_per_feature} numbers for each feature of "
        f"{tuple(event)}, and x does not tell on which axis they stand; write {names}"
    )


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
    found = {path: t for path, t in leaves(output).items() if t.dim() > 1 and t.numel() == batch * features}
    names = {path: name_of(output, path) for path in found}
    spreads = [path for path, name in names.items() if scale_of(name)]
    means = [path for path in found if path not in spreads]
    if not likelihood.decodes_spread:
        return Pair(*_center_first(output, names, likelihood)) if len(found) == 2 else None
    if len(spreads) == 1 and len(means) == 1:
        return Pair(means[0], spreads[0], scale_of(names[spreads[0]]) or "log_std")
    if len(found) != 2:
        return None
    mean, spread = found
    low = float(found[spread].min())
    options: dict[str, Spread] = {scale: scale for scale in LOG_STD if low > 0 or scale not in ("std", "variance")}
    scale = options.get(said or "")
    if scale is None:
        lines = " or ".join(f"output={option!r} ({WORDS[option]})" for option in options.values())
        raise ValueError(
            f"decode gives two tensors for {type(likelihood).__name__}, a mean and a spread; write {lines}"
        )
    return Pair(mean, spread, scale)


_CENTERS = ("mu", "mean", "means", "loc", "location", "rate", "rates", "m")
_BESIDE = ("theta", "r", "dispersion", "totalcount", "count", "scale", "sigma", "std", "s")
_DECORATION = ("log", "ln", "inverse", "x", "px", "")


def _center_first(output: Any, names: Mapping[Path, str], likelihood: Likelihood) -> tuple[Path, Path]:
    """The places of a mean and of the parameter beside it, by their names, or in a tuple by their order.

    Raises:
        ValueError: nothing tells which is which.
    """
    plain = {path: "".join(w for w in name.lower().split("_") if w not in _DECORATION) for path, name in names.items()}
    plain = {path: name.removeprefix("log") for path, name in plain.items()}
    first, second = names
    odds = [path for path, name in names.items() if name.lower() in ("logits", "probs")]
    if odds:
        name = odds[0][-1]
        raise ValueError(
            f"decode gives {shown(first)} and {shown(second)}, and {type(likelihood).__name__} wants a mean and a "
            "dispersion; write likelihood=lambda out: torch.distributions.Independent(torch.distributions."
            f"{type(likelihood).__name__}(out[{next(p for p in names if p not in odds)[-1]!r}], "
            f"{names[odds[0]].lower()}=out[{name!r}]), 1)"
        )
    centers, beside = ([path for path in names if plain[path] in words] for words in (_CENTERS, _BESIDE))
    if centers == [second] or beside == [first]:
        return second, first
    ordered = all(isinstance(part(output, path[:-1]), tuple | list) for path in names)
    if ordered or centers == [first] or beside == [second]:
        return first, second
    raise ValueError(
        f"decode gives {shown(first)} and {shown(second)}, two tensors for {type(likelihood).__name__}, and their "
        "names do not say which is the mean; return them as a tuple with the mean first, such as decode=lambda z: "
        f"(model.decode(z)[{second[-1]!r}], model.decode(z)[{first[-1]!r}])"
    )


def _find_place(output: Any, batch: int, numel: int) -> Place:
    """The place of the reconstruction: all of the output, or the one tensor with ``numel`` values for each z.

    Raises:
        ValueError: none or several fit.
    """
    if isinstance(output, Tensor | Distribution):
        return Place()
    found = leaves(output)
    fitting = [path for path, t in found.items() if t.numel() == batch * numel]
    names = {name_of(output, path): path for path in reversed(fitting)}
    named = [names[name] for name in _RECONSTRUCTIONS if name in names]
    if len(fitting) == 1 or named:
        return Place(named[0] if named else fitting[0])
    shapes = {shown(path): tuple(t.shape) for path, t in found.items()}
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
class Reshaped(Expandable):
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
        shape = broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
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
