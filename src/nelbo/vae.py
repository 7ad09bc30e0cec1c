"""The models: q(z|x), p(z) and p(x|z) joined into one module that returns distributions."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo import latents
from nelbo.data import Batch, as_batch
from nelbo.data.loading import seen_by
from nelbo.devices import accelerator, check_weights, device_of
from nelbo.divergences import Delta
from nelbo.likelihoods import Likelihood, Observed, check_likelihood
from nelbo.likelihoods.given import GivenLikelihood
from nelbo.posteriors import DiagonalNormal, Posterior
from nelbo.priors import Prior, StandardNormal

if TYPE_CHECKING:
    import nelbo


class Model(nn.Module, ABC):
    """A latent variable model as everything in nelbo takes it: three distributions, and what follows from them.

    :class:`VAE`, :class:`Autoencoder` and the view that :func:`nelbo.wrap` makes of a foreign model are such models.
    What they return lies where their weights do; x and z from another device are moved there.
    One of your own needs ``prior``, ``posterior`` and ``likelihood``; the rest follows.

    Attributes:
        px_family: the family of p(x|z), which knows what is known about it.
        latent: number of latent units.
        objective: what a recipe trains the model on; None for a model put together by hand.
        recipe: name and arguments of the recipe that made the model, or None.
        takes_missing: whether x may hold NaN, which means not observed. Then ``posterior(x)`` takes it, and
            ``likelihood(z)`` goes through :meth:`over_observed`.
        mechanism: p(s|x), why values are missing, such as :class:`nelbo.likelihoods.SelfMasking`; it joins the
            likelihood, and log p(x_observed) becomes log p(x_observed, s). None where it can be ignored.
        codes: (latent,) where z are the numbers of codes, how many of them each unit has; None where z are real.
    """

    px_family: Likelihood
    latent: int
    objective: Any = None
    recipe: Mapping[str, Any] | None = None
    takes_missing: bool = False
    mechanism: nn.Module | None
    codes: Tensor | None = None
    network_precision: str = "float32"
    _draw_weights: "Callable[[], Model] | None" = None

    @property
    @abstractmethod
    def prior(self) -> Distribution:
        """p(z), with empty batch shape and event shape (latent,)."""

    @abstractmethod
    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x), with batch shape (batch,) and event shape (latent,), for x of shape (batch, *event)."""

    @abstractmethod
    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z), with batch shape (*samples, batch) and event shape of x, for z of shape (*samples, batch, latent)."""

    def given(self, c: Tensor) -> "Model":
        """The model at a condition, under the same protocol.

        The one rule: c holds a condition for each example, and is sliced along with x.

        Args:
            c: (batch, *condition).

        Raises:
            ValueError: the model takes no condition.
        """
        raise ValueError(
            f"{type(self).__name__} does not take a condition, but the batch carries c of shape {tuple(c.shape)}; "
            "leave c out, or define given(c) in a Model of your own"
        )

    @property
    def conditional(self) -> bool:
        """Whether the model takes a condition; it may do without."""
        return type(self).given is not Model.given

    @property
    def deterministic(self) -> bool:
        """Whether q(z|x) is a point, as in an autoencoder: then there is no KL and no bound on log p(x)."""
        return False

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The modules whose layers and weights have the names that the user gave them: the model, if it is nelbo's."""
        return (self,)

    @property
    def foreign(self) -> bool:
        """Whether the model is built of other parts than nelbo's, so that advice must name those."""
        return True

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x), (batch, latent): where the examples lie in latent space; differentiable.

        Of a flow, whose mean has no closed form, the place to which it takes the mean of its normal.
        """
        return latents.center(self.posterior(x))

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), (*samples, batch, *event) for z of shape (*samples, batch, latent); differentiable.

        Of categories, whose mean stands for nothing, the most probable one.
        """
        return self.px_family.point_estimate(self.likelihood(z))

    def forward(self, x: Tensor) -> Tensor:
        """Decode the mean of q(z|x): x as the model gives it back, (batch, *event); differentiable, without draws."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Each example as the decoder gives it back from the mean of q(z|x), (batch, *event), without gradients."""
        return self(x)

    @torch.no_grad()
    def sample(self, n: int, *, mean: bool = False) -> Tensor:
        """New examples: z ~ p(z), then x ~ p(x|z).

        Args:
            n: number of examples.
            mean: return the mean of p(x|z) instead of a draw, as figures in papers do.

        Returns:
            (n, *event).
        """
        px = self.likelihood(self.prior.sample((n,)))
        return self.px_family.point_estimate(px) if mean else px.sample()

    def impute(
        self, x: Any, *, draws: int | None = None, samples: int = 1000, seed: int = 0
    ) -> "nelbo.measure.Imputation":
        """E[x_missing|x_observed], where NaN in x is what is missing, and draws of it: :func:`nelbo.measure.impute`.

        Args:
            x: (batch, \\*event).
            draws: multiple imputations.
            samples: draws of z for each example.
            seed: of the draws.
        """
        import nelbo

        return nelbo.measure.impute(self, x, draws=draws, samples=samples, seed=seed)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Log p(x|z) in nats, (*samples, batch), for z of shape (*samples, batch, latent).

        Raises:
            ValueError: p(x|z) is not a distribution over examples of the shape of x.
        """
        return log_prob_of(self, self.likelihood(z), x)

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that says what to write when this model and the data x do not fit.

        Args:
            x: (batch, *event), a few examples.
        """
        if x.dim() < 2:
            raise ValueError(f"x must have shape (batch, *event), got {tuple(x.shape)}; for one example write x[None]")
        self.check_values(x)
        with torch.no_grad():
            fits(self.likelihood(self.encode(x)), x, self.px_family.parameters_per_feature)

    def check_values(self, x: Tensor) -> None:
        """Raise a ValueError where x lies outside the likelihood's support, or is NaN and the model does not take it.

        Args:
            x: (batch, \\*event).
        """
        family = self.px_family
        family.check(torch.where(x.isnan(), family.filler_like(x), x) if self.takes_missing else x)

    def over_observed(self, px: Distribution) -> Distribution:
        """p(x|z) that sums over the observed features of x, where the model takes missing values; else px as it is."""
        if not self.takes_missing:
            return px
        mechanism = getattr(self, "mechanism", None)
        return Observed(px, self.px_family.filler) if mechanism is None else mechanism(px)

    # a recipe's weights are drawn when they are first used

    def weights_drawn_by(self, make: "Callable[[], Model]") -> Self:
        """Let the weights be drawn when they are first used, by making the model once more.

        Until then they are placeholders. Reading the weights or running a network is a use; a change of device,
        precision or mode is not.

        Args:
            make: the same model, with fresh weights from torch's global generator.
        """
        self._draw_weights = make
        return self

    @property
    def unused(self) -> bool:
        """Whether the weights were never used, so that they are still to be drawn."""
        return self._draw_weights is not None

    @torch.no_grad()
    def draw_weights(self) -> None:
        """Draw the weights now, from torch's global generator, if they were never used."""
        if self._draw_weights is None:
            return
        make, self._draw_weights = self._draw_weights, None
        fresh = make().state_dict()
        for name, tensor in super().state_dict(keep_vars=True).items():
            tensor.copy_(fresh[name])

    def __setattr__(self, name: str, value: Any) -> None:
        if self._draw_weights is not None and isinstance(value, nn.Module | Tensor):
            self.draw_weights()  # a network is replaced: the others keep what they draw now
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        self.draw_weights()  # a copy has the weights of the original
        return self.__dict__.copy()

    def __getattr__(self, name: str) -> Any:
        try:
            value = super().__getattr__(name)
        except AttributeError:  # of a user's own model, which need not state them
            if name == "px_family":
                return _UNSTATED
            if name == "latent":
                return self.prior.event_shape.numel()
            raise
        if self._draw_weights is not None and isinstance(value, nn.Module):
            self.draw_weights()
        return value

    def named_modules(self, *args: Any, **options: Any) -> Any:
        """All modules, as torch gives them; reading their weights is a use."""
        self.draw_weights()
        return super().named_modules(*args, **options)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """The weights, as torch gives them; reading them is a use."""
        self.draw_weights()
        return super().state_dict(*args, **options)

    def named_children(self) -> Any:
        """The networks and families, as torch gives them; reaching for them is a use."""
        self.draw_weights()
        return super().named_children()

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as torch does, which is not a use."""
        with self._as_placeholders():
            return super().train(mode)

    def _apply(self, *args: Any, **options: Any) -> Any:
        with self._as_placeholders():  # another device or precision is not a use
            return super()._apply(*args, **options)

    @contextmanager
    def _as_placeholders(self) -> Generator[None]:
        make, self._draw_weights = self._draw_weights, None
        try:
            yield
        finally:
            self._draw_weights = make

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Take weights over, as torch does; of a whole set of weights, none are drawn before."""
        if not super().state_dict().keys() <= state_dict.keys():
            self.draw_weights()  # those that are missing
        with self._as_placeholders():
            result = super().load_state_dict(state_dict, *args, **options)
        self._draw_weights = None
        return result

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self.draw_weights()  # within a larger module, whose weights may be some of these
        super()._load_from_state_dict(*args, **options)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Call fn on all modules, as torch does, once their weights are drawn."""
        self.draw_weights()
        return super().apply(fn)


@final
class VAE(Model):
    """A variational autoencoder: an encoder for q(z|x), a prior p(z), a decoder for p(x|z).

    >>> import torch, nelbo
    >>> encoder, decoder = nelbo.nn.MLP(784, 4), nelbo.nn.MLP(2, 784)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> x = torch.zeros(5, 784)
    >>> vae.posterior(x).mean.shape, vae.prior.event_shape, vae.likelihood(torch.zeros(5, 2)).event_shape
    (torch.Size([5, 2]), torch.Size([2]), torch.Size([784]))

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes".

    Args:
        encoder: (batch, \\*event) to (batch, posterior.encoder_outputs); for the default posterior, 2 * latent outputs:
            the means, then the log variances.
        decoder: (batch, latent) to (batch, parameters_per_feature * c, \\*rest) for data of shape (batch, c, \\*rest).
        latent: number of latent dimensions.
        likelihood: family of p(x|z).
        prior: family of p(z); standard normal if None.
        posterior: family of q(z|x); diagonal normal if None.
        mechanism: p(s|x), why values are missing, of an encoder that takes NaN; None where that can be ignored, since
            it depends on what was observed at most (missing at random).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent: int,
        likelihood: Likelihood,
        prior: Prior | None = None,
        posterior: Posterior | None = None,
        mechanism: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.latent, self.mechanism = latent, mechanism
        self.encoder = _network(encoder, "encoder")
        self.decoder = _network(decoder, "decoder")
        check_likelihood(likelihood)
        self.px_family = likelihood
        self.pz_family = StandardNormal(latent) if prior is None else prior
        self.qz_family = DiagonalNormal(latent) if posterior is None else posterior
        _check_family(self.pz_family, Prior, "prior", "nelbo.priors.StandardNormal", latent)
        _check_family(self.qz_family, Posterior, "posterior", "nelbo.posteriors.DiagonalNormal", latent)
        for name, family in (("prior", self.pz_family), ("posterior", self.qz_family)):
            if family.latent != latent:
                raise ValueError(
                    f"the {name} has {family.latent} latent dimensions and the VAE latent={latent}; "
                    f"write {type(family).__name__}({latent}, ...)"
                )

    @property
    def foreign(self) -> bool:
        return False

    @property
    def takes_missing(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _takes_missing(self)

    def posterior(self, x: Tensor) -> Distribution:
        outputs = f"{type(self.qz_family).__name__}({self.latent})"
        return self.qz_family(encoded(self, x, self.qz_family.encoder_outputs, outputs))

    @property
    def prior(self) -> Distribution:
        return self.pz_family(self.posterior)

    def likelihood(self, z: Tensor) -> Distribution:
        return decoded(self, z)


@final
class Autoencoder(Model):
    """The deterministic limit of a VAE: q(z|x) is a point, so there is no sampling and no KL term to train on.

    Its KL to any prior is infinite, and so is its NELBO: an autoencoder gives no bound on log p(x). Samples from
    its prior, a standard normal, land where no code ever was. Train it on the reconstruction error alone.

    Args:
        encoder: (batch, \\*event) to (batch, latent).
        decoder: as for :class:`VAE`.
        latent: number of latent dimensions.
        likelihood: family of p(x|z).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, latent: int, likelihood: Likelihood) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = _network(encoder, "encoder")
        self.decoder = _network(decoder, "decoder")
        check_likelihood(likelihood)
        self.px_family = likelihood
        self.pz_family = StandardNormal(latent)

    @property
    def deterministic(self) -> bool:
        return True

    @property
    def foreign(self) -> bool:
        return False

    @property
    def takes_missing(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _takes_missing(self)

    @property
    def prior(self) -> Distribution:
        return self.pz_family(self.posterior)

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) as a point, :class:`nelbo.divergences.Delta`."""
        return Delta(encoded(self, x, self.latent, f"an autoencoder of latent={self.latent}"))

    def likelihood(self, z: Tensor) -> Distribution:
        return decoded(self, z)


def _takes_missing(model: nn.Module) -> bool:
    # past the attribute, reading which would be a use of the weights
    return bool(getattr(model._modules["encoder"], "takes_missing", False))  # pyright: ignore[reportPrivateUsage]


def encoded(model: Any, x: Tensor, outputs: int, owner: str) -> Tensor:
    """The encoder's numbers for x, (batch, outputs), or a ValueError that says how to end the encoder."""
    h = _through(model.encoder, x, model.network_precision)
    expected = (len(x), outputs)
    if not isinstance(h, Tensor) or h.shape != expected:
        raise ValueError(
            f"the encoder maps x of shape {tuple(x.shape)} to {_got(h)}, expected {expected} for {owner}; "
            f"end it with nn.Linear(..., {outputs})"
        )
    return h


def decoded(model: Any, z: Tensor) -> Distribution:
    """p(x|z) from the decoder's parameters, or a ValueError that says how to end the decoder."""
    if z.shape[-1] != model.latent:
        raise ValueError(f"z must have shape (..., batch, {model.latent}), got {tuple(z.shape)}")
    codes = z.reshape(-1, model.latent)
    parameters = _through(model.decoder, codes, model.network_precision)
    if not isinstance(parameters, Tensor) or parameters.dim() < 2 or len(parameters) != len(codes):
        raise ValueError(
            f"the decoder maps z of shape {tuple(codes.shape)} to {_got(parameters)}, expected one tensor "
            f"({len(codes)}, *event) of the parameters of {type(model.px_family).__name__} (logits, not "
            "probabilities); end it with nn.Linear(..., features) or nn.Unflatten(1, event)"
        )
    event = parameters.shape[1:]
    family = model.px_family
    family.check_parameters(parameters, len(event))
    try:
        return model.over_observed(family(parameters.reshape(*z.shape[:-1], *event), len(event)))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch speaks of sizes, and names neither the family nor the decoder
        raise ValueError(
            f"{type(family).__name__} cannot take a decoder's output of shape {tuple(parameters.shape)}: {error}. Set "
            f"its parameters_per_feature, which is {family.parameters_per_feature}, to the number k of parameters for "
            "each feature, and end the decoder with k * c outputs for data with c features (or channels)"
        ) from error


def _through(network: nn.Module, inputs: Tensor, precision: str) -> Any:
    """The network's output; in mixed precision, only what happens inside the network is rounded.

    A KL near zero or a sum over pixels in bfloat16's eight bits would be noise.
    """
    if precision != "bfloat16":
        return _run(network, inputs)
    with torch.autocast(inputs.device.type, torch.bfloat16):
        outputs = _run(network, inputs)
    return outputs.to(inputs.dtype) if isinstance(outputs, Tensor) else outputs


def _run(network: nn.Module, inputs: Tensor) -> Any:
    try:
        return _moved(network, inputs, network)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch speaks of matrices, and says neither which network nor which input
        raise ValueError(
            f"a {type(network).__name__} cannot take an input of shape {tuple(inputs.shape)}, {inputs.dtype} on "
            f"{inputs.device}: {error}. Build it for inputs of shape (batch, "
            f"{', '.join(map(str, inputs.shape[1:]))}), or reshape the data"
        ) from error


def _moved(run: Callable[[Tensor], Any], values: Tensor, module: nn.Module) -> Any:
    """What a function gives of values; where it fails because the module lies elsewhere, of them on its device.

    Tried first as it is: to look for the module's device costs a training step more than the rest of what nelbo adds.
    """
    try:
        return run(values)
    except RuntimeError:
        device = device_of(module)
        if device is None or device == values.device:
            raise
        return run(values.to(device))


_UNSTATED = GivenLikelihood()  # of a model that does not state its family


@final
class Adapted(Model):
    """Any object with ``prior``, ``posterior(x)`` and ``likelihood(z)``, as a :class:`Model`.

    Args:
        source: the object; its modules stay its own.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source

    @property
    def prior(self) -> Distribution:
        return self.source.prior

    def posterior(self, x: Tensor) -> Distribution:
        return self.source.posterior(x)

    def likelihood(self, z: Tensor) -> Distribution:
        return self.source.likelihood(z)

    def given(self, c: Tensor) -> Model:
        return Adapted(self.source.given(c)) if self.conditional else super().given(c)

    @property
    def conditional(self) -> bool:
        return hasattr(self.source, "given")


def as_model(model: Any) -> Model:
    """The model that a public function is given: a Model, a run, or any object with the three distributions.

    Raises:
        TypeError: none of these; the message says how to make one.
    """
    if isinstance(model, Model):
        return model
    trained = getattr(model, "model", None)
    if isinstance(trained, Model):  # a Run
        return trained
    missing = [name for name in ("prior", "posterior", "likelihood") if not hasattr(model, name)]
    if missing or isinstance(model, type):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        if callable(model) and not isinstance(model, nn.Module | type):
            got = "a function; call it with the shape of one example"
        raise TypeError(
            f"model must be a nelbo.VAE, a run, or have prior, posterior and likelihood, got {got}. Write "
            "nelbo.recipes.vae((784,)), nelbo.VAE(encoder, decoder, latent=2, "
            "likelihood=nelbo.likelihoods.Bernoulli()), or nelbo.wrap(encode=..., decode=..., x=x) around a model of "
            "your own"
        )
    return Adapted(model)


def place_of(model: Model) -> Tensor | None:
    """A tensor of the device and the precision that the model computes in, or None where it has no weights."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)


def on_model(model: Any, x: Any) -> tuple[Model, Batch]:
    """What a public function is given, as a model and a batch that lies where the model does, in its precision.

    Args:
        model: as :func:`as_model` takes it.
        x: as :func:`nelbo.data.as_batch` takes it; for a run also a path, the name of a set or a table.

    Raises:
        TypeError: either is of another type.
        ValueError: x is empty, has no batch axis, or holds values outside of the likelihood's support; or the model's
            weights have no values.
    """
    model, batch = as_model(model), as_batch(seen_by(model, x))
    model.check_values(batch.x)
    batch = beside(model, batch)
    if batch.x.is_inference():  # of which no slope can be taken
        with torch.inference_mode(False):
            batch = batch.with_x(batch.x.clone())
    return model, batch


def placed(model: Model, batch: Batch) -> Batch:
    """The batch where the model lies, in its precision.

    Raises:
        ValueError: the model's weights have no values.
    """
    check_weights(model)
    weight = place_of(model)
    if weight is None:
        return batch if batch.x.is_floating_point() else batch.with_x(batch.x.to(torch.get_default_dtype()))
    moved = batch.to(weight.device, weight.dtype)
    return moved if moved.x.is_floating_point() else moved.with_x(moved.x.to(weight.dtype))


def beside(model: Model, batch: Batch) -> Batch:
    """The batch where the model computes, in its precision: of one that shows no weights, where its q(z|x) lies."""
    batch = placed(model, batch)
    return batch if place_of(model) is not None else batch.to(_answers_on(model, batch))


@torch.no_grad()
def _answers_on(model: Model, batch: Batch) -> torch.device:
    """Where q(z|x) of a model lies that shows no weights; it is asked on the accelerator too, if x is refused here."""
    there = accelerator()
    if there is None:
        return batch.x.device
    try:
        return _answer(model, batch[:1])
    except RuntimeError:  # as where devices mix
        if batch.x.device == there:
            raise
        return _answer(model, batch[:1].to(there))


def _answer(model: Model, one: Batch) -> torch.device:
    return latents.center(at_condition(model, one).posterior(one.x)).device


def at_condition(model: Model, batch: Batch) -> Model:
    """The model at the batch's condition, or the model itself where there is none."""
    return model if batch.c is None else model.given(batch.c)


class NoConditionError(ValueError):
    """A conditional model was run without a condition."""

    def __init__(self, model: Model, why: object) -> None:
        super().__init__(
            f"{type(model).__name__} takes a condition, and none was given: {why}. Pass nelbo.data.Batch(x, c=c) in "
            "place of x, or model.given(c) in place of the model"
        )


@contextmanager
def conditioned(model: Model, c: Tensor | None) -> Generator[Model]:
    """The model at a condition, or itself where there is none; within, an error for want of a condition says so.

    Raises:
        ValueError: c was given and the model takes none, or the reverse.
    """
    if c is not None or not model.conditional:
        yield model if c is None else model.given(c)
        return
    try:
        yield model  # which may do without, or be at a condition already
    except NoConditionError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise NoConditionError(model, error) from error


def log_prob_of(model: Model, px: Distribution, x: Tensor) -> Tensor:
    """Log p(x|z) in nats, (*samples, batch), of a p(x|z) that the model has given; see :meth:`Model.log_likelihood`."""
    fits(px, x, model.px_family.parameters_per_feature)
    return _moved(px.log_prob, x, model)


def fits(px: Distribution, x: Tensor, parameters_per_feature: int = 1) -> None:
    """Raise a ValueError when px is not a distribution over examples of the shape of x."""
    got, expected = tuple(px.event_shape), tuple(x.shape[1:])
    if got == expected:
        return
    separate = (*px.batch_shape, *got)[-len(expected) :] == expected and len(got) < len(expected)
    if separate:
        raise ValueError(
            f"p(x|z) has event_shape {got}, expected {expected}, the shape of an example: its features are a batch of "
            f"separate {type(px).__name__} distributions. End the likelihood's forward(parameters, event_dims) with "
            "return torch.distributions.Independent(px, event_dims)"
        )
    outputs = (parameters_per_feature * expected[0], *expected[1:]) if expected else ()
    if math.prod(got) == math.prod(expected) and expected:
        line = f"end the decoder with nn.Unflatten(1, {outputs}), or reshape the data with x.reshape(len(x), "
        line += f"{', '.join(map(str, got))})"
    else:
        line = f"end the decoder with nn.Linear(..., {math.prod(outputs)})"
        line += f" and nn.Unflatten(1, {outputs})" if len(outputs) > 1 else ""
    raise ValueError(
        f"the decoder gives p(x|z) over examples of shape {got}, but x holds examples of shape {expected} "
        f"(x: {tuple(x.shape)}); {line}"
    )


def _network(value: Any, name: str) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise TypeError(
            f"the {name} must be an nn.Module, got a {type(value).__name__}: weights inside it would not be trained. "
            "Write class Network(nn.Module): ..., or pass the network itself"
        )
    return value


def _check_family(value: Any, kind: type, name: str, default: str, latent: int) -> None:
    if isinstance(value, kind):
        return
    is_class = isinstance(value, type)
    got = f"the class {value.__name__}" if is_class else repr(value) if isinstance(value, str) else _got(value)
    make = value.__name__ if is_class and issubclass(value, kind) else default
    raise TypeError(
        f"{name} must be an instance of {kind.__module__}.{kind.__name__}, got {got}; write {name}={make}({latent})"
    )


def _got(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
