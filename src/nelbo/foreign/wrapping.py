"""wrap(): look at somebody's encode and decode, conclude what they return, and make a view of them."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.foreign import decoding, encoding
from nelbo.foreign.decoding import Output, Place, Scale
from nelbo.foreign.encoding import LOG_SIGMA, WORDS, Layout, Second, kind_of
from nelbo.foreign.given import GivenLikelihood, GivenNormal, GivenPosterior, as_prior
from nelbo.foreign.modules import Function, describe, first_tensor, in_mode, modules_behind, noisy
from nelbo.foreign.sampling import Sampling, as_kind, measure_sampling
from nelbo.foreign.view import Conclusion, DecoderSide, EncoderSide, Wrapped, as_weights
from nelbo.likelihoods import Likelihood, fitting
from nelbo.posteriors import FullCovarianceNormal, Posterior
from nelbo.priors import Prior

_SHARE = 0.05  # nats per feature by which one reading of decode must explain x better than the other to contradict


def wrap(
    *,
    encode: Function,
    decode: Function,
    x: Tensor,
    likelihood: Likelihood | None = None,
    prior: Prior | Distribution | None = None,
    latent: int | None = None,
    second: Second | None = None,
    output: Output | None = None,
    module: nn.Module | Sequence[nn.Module] | None = None,
    forward: Callable[[Tensor], Any] | None = None,
) -> Wrapped:
    """A view of anyone's VAE as a :class:`nelbo.VAE`: nelbo.loss, measure, diagnose, compare and the studio take it.

    What encode and decode return is found out by running them on x and stated in ``.conclusions``; where it cannot be
    known, an error asks for the argument that says it. The model is not changed; it is run in evaluation mode, and
    its modules have their own mode back after each call.

    >>> import torch, nelbo
    >>> encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Sigmoid())
    >>> x = torch.bernoulli(torch.full((50, 6), 0.5))
    >>> vae = nelbo.wrap(
    ...     encode=lambda x: encoder(x).chunk(2, dim=1), decode=decoder, x=x, second="logvar",
    ...     likelihood=nelbo.likelihoods.Bernoulli(),
    ... )
    >>> nelbo.loss(vae, x).nelbo.shape
    torch.Size([50])

    Args:
        encode: x (batch, \\*event) to q(z|x): (mu, logvar), (mu, sigma), (mu, variance), a distribution, a dict, an
            object with fields, or one tensor of both halves. ``encode=model.encode`` is better than a lambda around
            it: then its loss can be weighed too.
        decode: z (n, latent) to p(x|z): probabilities, logits, means, rates, as images or vectors, or a distribution.
        x: (batch, \\*event), some examples as the model was trained on, 50 or more are best.
        likelihood: p(x|z), such as ``nelbo.likelihoods.Bernoulli()`` for binary cross-entropy or
            ``nelbo.likelihoods.Normal(1.0)`` for half the squared error; not needed where decode returns a
            distribution.
        prior: p(z); N(0, I) if None.
        latent: number of latent dimensions; asked for where encode returns one tensor.
        second: on which scale encode gives the spread: "logvar", "log_sigma", "sigma", "variance" or "softplus".
        output: what decode gives: "logits" or "probabilities", "log_rates" or "rates", "mean".
        module: the nn.Modules behind encode and decode, where they are hidden from it.
        forward: runs the whole model on x, to see how it draws z; the module itself if None.

    Returns:
        Wrapped: a nelbo.VAE with ``.conclusions``, ``.sampling`` and ``.networks``.

    Raises:
        TypeError: an argument is not what it should be.
        ValueError: the parts do not fit, or something cannot be known; the message says what to write.
    """
    _check(encode=encode, decode=decode, x=x, second=second, output=output)
    modules = (module,) if isinstance(module, nn.Module) else tuple(module or modules_behind(encode, decode))
    weight = first_tensor(p for m in modules for p in m.parameters())
    notes: list[Conclusion] = []
    if weight is not None:
        given = x.dtype
        x = as_weights(x, weight, "x")
        if x.dtype != given:
            notes.append(Conclusion("x", f"read as {x.dtype}", f"the weights are, and x holds {given}"))
    with torch.no_grad(), torch.random.fork_rng([]), in_mode(modules, training=False):
        torch.default_generator.manual_seed(0)
        encoded = _encoded(encode, x, latent, second, decode, modules, forward)
        latent_size = encoded.mean[0].numel()
        if latent is not None and latent != latent_size:
            raise ValueError(
                f"encode gives means of shape {tuple(encoded.mean.shape)}, so latent={latent_size}, not {latent}; "
                "leave latent= out"
            )
        family = as_prior(prior, latent_size)
        if family.latent != latent_size:
            raise ValueError(f"the prior is over {family.latent} latent dimensions and encode gives {latent_size}")
        decoded = _decoded(decode, x, encoded.mean, likelihood, output)
    because = "prior= was not given" if prior is None else "prior= says so"
    what = f"N(0, I) in {latent_size} dimensions" if prior is None else type(prior).__name__
    notes += [*encoded.notes, Conclusion("p(z)", what, because), *decoded.notes, *_modes(modules)]
    return Wrapped(
        encoded.side,
        decoded.side,
        modules=modules,
        latent=latent_size,
        likelihood=decoded.likelihood,
        prior=family,
        posterior=encoded.family(latent_size),
        conclusions=tuple(notes),
        sampling=encoded.sampling,
    )


def _check(*, encode: Any, decode: Any, x: Any, second: Any, output: Any) -> None:
    for name, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise TypeError(
                f"{name} is a function or a module, got {type(function).__name__}; write {name}=model.{name}"
            )
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a batch of examples as a tensor, got {type(x).__name__}; write x=torch.as_tensor(x)")
    if x.dim() < 2 or len(x) < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (batch, *event) with two or more examples")
    for name, value, options in (("second", second, tuple(LOG_SIGMA)), ("output", output, get_args(Output))):
        if value is not None and value not in options:
            raise ValueError(f"{name} is one of {', '.join(map(repr, options))}; got {value!r}")


def _modes(modules: tuple[nn.Module, ...]) -> list[Conclusion]:
    if not modules:
        return [Conclusion("mode", "the model is run as it is", "no module was found behind encode and decode")]
    layers = noisy(modules)
    if layers and any(module.training for module in modules):
        found = "the model is in training mode; the view runs it in evaluation mode and sets it back each time"
        return [Conclusion("mode", found, f"it holds {' and '.join(layers)}, by which its numbers would vary")]
    return []


@dataclass(frozen=True)
class _Encoded:
    side: EncoderSide
    mean: Tensor
    family: Callable[[int], Posterior]
    sampling: Sampling | None
    notes: list[Conclusion]


def _encoded(
    encode: Function,
    x: Tensor,
    latent: int | None,
    second: Second | None,
    decode: Function,
    modules: tuple[nn.Module, ...],
    forward: Callable[[Tensor], Any] | None,
) -> _Encoded:
    output, flatten = _run_encode(encode, x)
    seen = [Conclusion("x", "given to encode as vectors", "it takes no images")] if flatten else []
    qz = encoding.as_distribution(output, len(x))
    if qz is not None:
        full = encoding.full_covariance(qz) is not None
        side = EncoderSide(encode, None, "sigma", qz.mean.shape[1:], flatten)
        note = Conclusion("q(z|x)", type(qz).__name__, "encode returns this distribution")
        family = FullCovarianceNormal if full else GivenPosterior
        return _Encoded(side, qz.mean, family, None, [*seen, note])
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
    return _Encoded(side, mean, GivenNormal, sampling, [*notes, drawn])


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


class _Decoded(NamedTuple):
    side: DecoderSide
    likelihood: Likelihood
    notes: list[Conclusion]


def _decoded(
    decode: Function, x: Tensor, mean: Tensor, likelihood: Likelihood | None, output: Output | None
) -> _Decoded:
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
        return _Decoded(side, family, [Conclusion("p(x|z)", str(px), "decode returns this distribution")])
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
    return _Decoded(side, likelihood, notes)


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
