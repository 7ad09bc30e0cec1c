"""wrap(): infer what a foreign model's encode and decode return, and make a view of it."""

import copy
import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, ParamSpec, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.data import Batch
from nelbo.likelihoods import Likelihood
from nelbo.likelihoods.likelihood import AS_PARAMETERS
from nelbo.posteriors import DiagonalNormal
from nelbo.priors import Prior
from nelbo.randomness import own_randomness, seed_noise
from nelbo.registry import check_choice
from nelbo.vae import Model, NoConditionError, as_model, place_of
from nelbo.wrapping import decoder, encoder_side
from nelbo.wrapping.decoder import DecoderSide, Place
from nelbo.wrapping.encoder_side import EncoderSide
from nelbo.wrapping.encoding import LOG_STD, Halves, Spread
from nelbo.wrapping.given import Conclusion, as_prior
from nelbo.wrapping.modules import (
    Function,
    Through,
    as_it_takes,
    describe,
    first_tensor,
    in_float,
    in_mode,
    modules_behind,
    noisy_layers,
    undisturbed,
    without_trace,
)
from nelbo.wrapping.parts import parts_of
from nelbo.wrapping.sampling import Sampling
from nelbo.wrapping.selftest import self_test

P = ParamSpec("P")


@final
class Wrapped(Model):
    """A view of any PyTorch VAE as a :class:`nelbo.vae.Model`; made by :func:`nelbo.wrap`.

    It holds no weights of its own, changes nothing about the model, and leaves its modules in the mode that they are
    in: while the view runs them they are in evaluation mode, or in training mode after ``wrapped.train()``.

    Attributes:
        encoding: how encode is called and its answer read.
        decoding: how decode is called and its answer read.
        conclusions: facts inferred about the model, and the reasons; ``print(wrapped)`` shows them.
        sampling: how the model itself draws z, as measured; None where it could not be run.
    """

    def __init__(
        self,
        encoding: EncoderSide,
        decoding: DecoderSide,
        *,
        modules: tuple[nn.Module, ...],
        likelihood: Likelihood,
        prior: Prior,
        conclusions: tuple[Conclusion, ...] = (),
        sampling: Sampling | None = None,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self._conditional = conditional
        self.encoding, self.decoding = encoding, decoding
        self.latent = encoding.latent_shape.numel()
        self.behind = nn.ModuleList(modules)
        self.px_family, self.pz_family = likelihood, prior
        self.conclusions, self.sampling = conclusions, sampling
        self.training = False

    @property
    def latent_shape(self) -> torch.Size:
        """The shape of z as encode gives it, such as (4, 32, 32), which q(z|x) has as a vector."""
        return self.encoding.latent_shape

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The modules behind the functions."""
        return tuple(self.behind)

    def train(self, mode: bool = True) -> "Wrapped":
        """Set the mode in which the view runs the model; the modules keep the mode that they are in by themselves."""
        self.training = mode
        return self

    @contextmanager
    def running(self) -> Generator[None]:
        """Within, the modules are in the view's mode."""
        with in_mode(self.behind, training=self.training):
            yield

    @property
    def prior(self) -> Distribution:
        return self.pz_family(self.posterior)

    @property
    def conditional(self) -> bool:
        return self._conditional

    def given(self, c: Tensor) -> "Wrapped":
        if not self.conditional:
            super().given(c)
        view = copy.copy(self)
        view.encoding = dataclasses.replace(self.encoding, condition=c)
        view.decoding = dataclasses.replace(self.decoding, condition=c)
        return view

    def posterior(self, x: Tensor) -> Distribution:
        self._check_condition()
        with self.running():
            return self.encoding.posterior(placed_as(x, place_of(self)))

    def likelihood(self, z: Tensor) -> Distribution:
        self._check_condition()
        with self.running():
            return self.decoding.likelihood(placed_as(z, place_of(self)), self.px_family)

    def _check_condition(self) -> None:
        if self._conditional and self.encoding.condition is None:
            raise NoConditionError(self, "it was wrapped with c")

    def settle(self, batch: Batch) -> None:
        """Set a sigma that is at its optimum to that for these examples, of :func:`placed`."""
        _settle(self, batch.x, batch.c)

    def __repr__(self) -> str:
        kinds = ", ".join(type(module).__name__ for module in self.behind) or "functions"
        return "\n".join([f"Wrapped({kinds}, latent={self.latent})", *(f"  {c}" for c in self.conclusions)])


def viewed(model: Any, batch: Batch) -> Model:
    """A model of nelbo's as it is, and of any other the view that :func:`wrap` makes with these examples."""
    if isinstance(model, Model) or all(hasattr(model, name) for name in ("prior", "posterior", "likelihood")):
        return as_model(model)
    with undisturbed([], 0):
        return wrap(model, x=batch.x, c=batch.c)


def placed_as(values: Tensor, weight: Tensor | None) -> Tensor:
    """The values where the weights lie, in their precision.

    Raises:
        ValueError: they are whole numbers, which may mean 8-bit images or counts.
    """
    if weight is None:
        return values
    if not values.is_floating_point():
        raise ValueError(
            f"x holds {values.dtype}, and the model computes with {weight.dtype}; write x.float() where its own code "
            "scales what it is given, or x.float() / 255 for 8-bit images that were scaled before the training"
        )
    return values.to(weight.device, weight.dtype)


def as_wrapped(model: Model, rows: int = 1) -> Wrapped:
    """A model whose encoder and decoder can be replaced: a wrapped one itself, or a view of a VAE's two networks.

    Args:
        model: any model.
        rows: the number of examples that it takes at once, for one at a condition.

    Raises:
        TypeError: it has no two networks, or its q(z|x) is not a diagonal normal.
    """
    if isinstance(model, Wrapped):
        return model
    family: Any = getattr(model, "qz_family", None)
    if not isinstance(family, DiagonalNormal):
        raise TypeError(
            f"model must be a VAE whose q(z|x) is a diagonal normal, or come from nelbo.wrap; got a "
            f"{type(model).__name__}. Write nelbo.wrap(encode=model.encode, decode=model.decode, likelihood=..., x=x)"
        )
    encode, decode, size = model.encoder, model.decoder, torch.Size((model.latent,))
    weight = place_of(model)
    zero = torch.zeros(rows, model.latent) if weight is None else weight.new_zeros(rows, model.latent)
    with torch.no_grad(), own_randomness(zero.device), in_mode((model,), training=False):
        event = torch.Size(decode(zero).shape[1:])
    return Wrapped(
        EncoderSide(encode, Halves(), "logvar", size, flatten=False),
        DecoderSide(decode, Place(), "parameters", AS_PARAMETERS, size, event),
        modules=(model,),
        likelihood=model.px_family,
        prior=model.pz_family,
    )


def _with_line_to_write(function: Callable[P, Wrapped]) -> Callable[P, Wrapped]:
    """Raise a TypeError that shows a complete call where an argument is missing, unknown or not given by name."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Wrapped:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"wrap() needs a model and x, or encode, decode and x, by name ({error}); write "
                "nelbo.wrap(model, x=x), or write nelbo.wrap(encode=model.encode, decode=model.decode, x=x, "
                "likelihood=nelbo.likelihoods.Bernoulli()), with x a batch of examples"
            ) from None
        with warnings.catch_warnings():
            # a model that takes a dictionary is tried with a tensor too
            warnings.filterwarnings("ignore", "Using a non-tuple sequence for multidimensional indexing")
            return function(*args, **kwargs)

    return call


@_with_line_to_write
def wrap(
    model: Any = None,
    *,
    encode: Function | None = None,
    decode: Function | None = None,
    x: Tensor,
    c: Tensor | None = None,
    likelihood: Likelihood | Callable[[Any], Distribution] | None = None,
    prior: Prior | Distribution | None = None,
    latent: int | None = None,
    scale: Spread | None = None,
    output: str | None = None,
    axis: Literal["first", "second", "last"] | None = None,
    module: nn.Module | Sequence[nn.Module] | None = None,
    forward: Callable[[Tensor], Any] | None = None,
) -> Wrapped:
    """View anyone's PyTorch VAE as a nelbo model: nelbo.loss, measure, diagnose, compare and the studio take it.

    ``nelbo.wrap(model, x=x)`` finds what encodes and decodes in a model: a module, one that is compiled or trained in
    parallel, or a fitted detector that holds one. wrap runs both on x to infer what they return, and states it with the
    evidence in ``.conclusions``; where that cannot be known, an error asks for the argument that tells. Then the
    model's own reconstruction and loss are compared with the view's. The model is not changed; it is run in evaluation
    mode, and its modules have their own mode back after each call.

    >>> import torch, nelbo
    >>> encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Sigmoid())
    >>> x = torch.bernoulli(torch.full((50, 6), 0.5))
    >>> vae = nelbo.wrap(
    ...     encode=lambda x: encoder(x).chunk(2, dim=1), decode=decoder, x=x, scale="logvar",
    ...     likelihood=nelbo.likelihoods.Bernoulli(),
    ... )
    >>> nelbo.loss(vae, x).nelbo.shape
    torch.Size([50])

    Args:
        model: the whole model, in place of encode and decode.
        encode: x (batch, \\*event) to q(z|x): (mu, logvar), (mu, sigma), (mu, variance), a distribution, a dict, an
            object with fields, any of them within others, or one tensor of both halves. Give the function that the
            loss calls, such as ``encode=model.encode``, and not one around it: then its loss can be weighed too.
        decode: z (n, latent) to p(x|z): probabilities, logits, means, rates, as images or vectors, or a distribution.
        x: (batch, \\*event), some examples as the model was trained on, 50 or more are best.
        c: (batch, \\*condition), what encode(x, c) and decode(z, c) of a conditional model take; the view then takes
            ``nelbo.data.Batch(x, c=c)`` in place of x.
        likelihood: p(x|z), such as ``nelbo.likelihoods.Bernoulli()`` for binary cross-entropy or
            ``nelbo.likelihoods.Normal(1.0)`` for half the squared error; not needed where decode returns a
            distribution. A function makes the distribution of what decode returns. Of a whole model that does not say
            it, a family that fits x is assumed, and said so.
        prior: p(z); N(0, I) if None.
        latent: number of latent dimensions, or of channels of a spatial z; needed where encode returns one tensor, and
            where decode takes any number.
        scale: of the spread that encode returns: "logvar", "log_std", "std", "variance" or "softplus" (its softplus is
            the standard deviation).
        output: what decode gives, by a name in ``likelihood.readings``: "logits" or "probabilities", "log_rates" or
            "rates", "mean"; for a pair of mean and spread under ``Normal("decoded")`` the scale of the spread, as
            ``scale`` has it.
        axis: "first", "second" or "last" of decode's, on which the several numbers of a feature stand.
        module: the nn.Modules behind encode and decode, where they are hidden from it.
        forward: runs the whole model on x, to see how it draws z; the module itself if None.

    Returns:
        Wrapped: a model with ``.conclusions``, ``.sampling`` and ``.networks``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the parts do not fit, or something cannot be known; the message says what to write.
    """
    notes: list[Conclusion] = []
    forwards: tuple[Callable[[Tensor], Any], ...] = () if forward is None else (forward,)
    own = encode, decode
    check_x(x)
    if model is not None:
        if encode is not None and decode is not None:
            raise TypeError("give a model, or encode and decode, not both; write nelbo.wrap(model, x=x)")
        few = _few(x)
        given = None if c is None else c[: len(few)]
        found = parts_of(model, _in_numbers(few, weight_of(model)), given, latent)
        encode, decode = encode or found.encode, decode or found.decode
        module, forwards = module or found.module, forwards or found.runs
        notes += found.notes
        if likelihood is None and found.configured is not None:
            likelihood, why = found.configured
            notes.append(why)
    encode, decode = _check(encode=encode, decode=decode, scale=scale)
    modules = (module,) if isinstance(module, nn.Module) else tuple(module or modules_behind(encode, decode))
    weight = first_tensor(p for m in modules for p in m.parameters())
    if weight is not None and x.is_floating_point() and x.dtype != weight.dtype:
        notes.append(Conclusion("x", f"read as {weight.dtype}", f"the weights are, and x holds {x.dtype}"))
    given_x, x = x, _in_numbers(x, weight)
    few = _few(x)
    given = None if c is None else c[: len(few)]
    behind = (encode, decode, *modules)
    with (
        torch.no_grad(),
        own_randomness(x.device),
        without_trace(*behind, first=True),
        in_mode(modules, training=False),
    ):
        seed_noise(x.device, 0)
        if own[0] is not None:  # a model's were run as they take x when they were found
            encode = as_it_takes(encode, few, given)
        if not (isinstance(encode, Through) and encode.whole):
            placed_as(given_x, weight)  # whole numbers that are no tokens are refused
        encoded = encoder_side.infer(encode, few, latent, scale, decode, modules, forwards, given)
        size = encoded.mean[0].numel()
        if latent is not None and latent not in (size, encoded.mean.shape[1]):  # units, or channels of a spatial z
            raise ValueError(
                f"encode gives means of shape {tuple(encoded.mean.shape)}, so latent={size}, not {latent}; leave "
                "latent= out"
            )
        family = as_prior(prior, size)
        if prior is None:
            family.to(x.device, in_float(x).dtype)
        if own[1] is not None:
            decode = as_it_takes(decode, encoded.mean, given)
        decoded = decoder.infer(
            decode, few, encoded.mean, likelihood, output, axis=axis, c=given, assume=own == (None, None)
        )
    notes += [note for function in (encode, decode) for note in _adapted(function)]
    because = "prior= was not given" if prior is None else "prior= says so"
    pz = f"N(0, I) in {size} dimensions" if prior is None else type(prior).__name__
    notes += [*encoded.notes, Conclusion("p(z)", pz, because), *decoded.notes, *modes_of(modules)]
    view = Wrapped(
        dataclasses.replace(encoded.side, condition=None),
        dataclasses.replace(decoded.side, condition=None),
        modules=modules,
        # its own copy: an optimal sigma is set to this model's residuals
        likelihood=copy.deepcopy(decoded.likelihood).to(x.device),
        prior=family,
        conclusions=tuple(notes),
        sampling=encoded.sampling,
        conditional=c is not None,
    )
    with without_trace(*behind, first=True):
        view.conclusions += settled(view, x, c)
        view.conclusions += self_test(view if given is None else view.given(given), forwards or modules, few)
    return view


def _in_numbers(x: Tensor, weight: Tensor | None) -> Tensor:
    """As :func:`placed_as`, of whole numbers too, which may be tokens."""
    return placed_as(x if x.is_floating_point() else x.to(torch.get_default_dtype()), weight)


def _adapted(function: Function) -> Iterator[Conclusion]:
    """What is said of the way in which a function takes its arguments."""
    if isinstance(function, Through):
        if function.whole:
            yield Conclusion("x", f"given to {describe(function)} as whole numbers", "it takes no others")
        if function.alone:
            yield Conclusion("c", f"not given to {describe(function)}", "it takes one argument")


def _settle(view: Model, x: Tensor, c: Tensor | None) -> None:
    """Set an optimal sigma to the mean of the optima of parts that fit into memory, by their sizes."""
    total, size = None, len(_few(x))
    with torch.no_grad(), own_randomness(x.device):
        seed_noise(x.device, 0)
        for start in range(0, len(x), size):
            part = x[start : start + size]
            model = view if c is None else view.given(c[start : start + size])
            optimum = view.px_family.optimum(model.likelihood(model.posterior(part).sample()), part)
            if optimum is None:
                return
            share = len(part) / len(x)
            total = share * optimum if total is None else total + share * optimum
    if total is not None:
        view.px_family.settle(total)


def settled(view: Model, x: Tensor, c: Tensor | None = None) -> tuple[Conclusion, ...]:
    """Set an optimal sigma of p(x|z), if there is one, to the residuals of x, and say so."""
    px = view.px_family
    if not px.adapted:
        _settle(view, x, c)
        if px.sigma is not None:
            because = "Normal('optimal') has the root mean square residual, here of x; Normal(sigma) gives another"
            return (Conclusion("p(x|z)", f"sigma = {px.sigma:.4g}", because),)
    return ()


def _check(*, encode: Any, decode: Any, scale: Any) -> tuple[Function, Function]:
    for name, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise TypeError(
                f"{name} must be a function or a module, got {type(function).__name__}; write {name}=model.{name}"
            )
    if scale is not None:
        check_choice("scale", scale, LOG_STD)
    return encode, decode


def _few(x: Tensor) -> Tensor:
    """As many of the examples as tell what a model answers: of large images few, whose encoding takes long.

    Vectors are left as they are: they may be the nodes of one graph.
    """
    return x if x.dim() < 3 else x[: max(_FEWEST, _NUMBERS // max(x[0].numel(), 1))]


_FEWEST, _NUMBERS = 5, 1 << 16  # examples, not as many as an image or a map has channels; and numbers of all of them


def check_x(x: Any) -> None:
    """A TypeError or ValueError where x is no batch of examples."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a batch of examples as a tensor, got {type(x).__name__}; write torch.as_tensor(x)")
    if x.dim() < 2 or len(x) < 2:
        raise ValueError(f"x must have shape (batch, *event) with two or more examples, got {tuple(x.shape)}")


def weight_of(model: Any) -> Tensor | None:
    """A weight of a module, or of the first that an object holds."""
    modules = [model] if isinstance(model, nn.Module) else vars(model).values() if hasattr(model, "__dict__") else []
    return first_tensor(p for m in modules if isinstance(m, nn.Module) for p in m.parameters())


def modes_of(modules: tuple[nn.Module, ...]) -> list[Conclusion]:
    """What is said of the modes of the modules behind a view."""
    if not modules:
        return [Conclusion("mode", "the model is run as it is", "no module was found behind encode and decode")]
    layers = noisy_layers(modules)
    fact = "the model is in training mode; the view runs it in evaluation mode and sets it back each time"
    because = f"it holds {' and '.join(layers)}, by which its numbers would vary"
    return [Conclusion("mode", fact, because)] if layers else []
