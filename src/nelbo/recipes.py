"""Published models as compositions of the axes: the only place with their names.

A recipe's signature is its own arguments and those of :func:`compose`. A run stores the recipe's name and arguments;
the command line reads its flags from them.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypedDict, Unpack, cast, get_args

import torch
from torch import nn

from nelbo import likelihoods, objectives, posteriors, priors
from nelbo.data import Data
from nelbo.nn import MLP, Activation, ConvDecoder, ConvEncoder, WithMask
from nelbo.objectives import Cyclical, Linear, Objective
from nelbo.registry import Registry, check_choice, did_you_mean
from nelbo.vae import VAE, Autoencoder, Model

__all__ = [
    "autoencoder",
    "beta_tc_vae",
    "beta_vae",
    "capacity_vae",
    "compose",
    "cyclical_vae",
    "flow_vae",
    "free_bits_vae",
    "info_vae",
    "iwae",
    "linear_vae",
    "make",
    "make_for",
    "missing_vae",
    "recipe",
    "sigma_vae",
    "table_vae",
    "vae",
    "vamp_vae",
    "wae",
]

Network = Literal["mlp", "conv", "residual"]
Mechanism = Literal["ignorable", "self_masking"]
P = ParamSpec("P")


class Axes(TypedDict, total=False):
    """The keywords of :func:`compose`, as editors and type checkers read them."""

    latent: int
    likelihood: str | Mapping[str, str] | likelihoods.Likelihood
    network: Network
    hidden: Sequence[int]
    channels: Sequence[int]
    activation: Activation
    prior: str
    posterior: str
    takes_missing: bool


POSTERIORS: Registry[posteriors.Posterior] = Registry(
    "posterior",
    {
        "diagonal_normal": posteriors.DiagonalNormal,
        "full_covariance_normal": posteriors.FullCovarianceNormal,
        "flow": posteriors.Flow,
    },
)


RECIPES: dict[str, Callable[..., Model]] = {}


def compose(
    event: Sequence[int],
    objective: Objective,
    *,
    latent: int = 2,
    likelihood: str | Mapping[str, str] | likelihoods.Likelihood = "bernoulli",
    network: Network = "mlp",
    hidden: Sequence[int] = (400,),
    channels: Sequence[int] = (32, 64),
    activation: Activation = "relu",
    prior: str = "standard_normal",
    posterior: str = "diagonal_normal",
    takes_missing: bool = False,
    deterministic: bool = False,
) -> Model:
    """Build a model from the names of its parts; it knows the objective it is trained on.

    Args:
        event: shape of one example: (features,) or (channels, height, width).
        objective: what it is trained on.
        latent: number of latent dimensions.
        likelihood: family of p(x|z), by a name in nelbo.likelihoods.names(), with a number where it takes one: normal
            has one optimal sigma, normal:0.1 a fixed one, categorical:10 has 10 classes; in Python also an object, such
            as nelbo.likelihoods.Normal(0.1), or one name for each column of a table, {"age": "normal", ...}.
        network: mlp, conv or residual (images only).
        hidden: widths of the encoder's dense layers; the decoder has them in reverse.
        channels: of the convolutions, one halving of the image each.
        activation: between the layers.
        prior: p(z): standard_normal, mixture:COMPONENTS, vamp:COMPONENTS or flow.
        posterior: q(z|x): diagonal_normal, full_covariance_normal or flow.
        takes_missing: x may hold NaN for what was not observed: the encoder is told where, and the likelihood is that
            of what was observed.
        deterministic: an autoencoder: q(z|x) is a point.
    """
    event, hidden, channels = _event(event), _widths("hidden", hidden), _widths("channels", channels)
    if not isinstance(latent, int) or latent < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"latent must be a positive integer, got {latent!r}")
    if not isinstance(likelihood, str | Mapping | likelihoods.Likelihood):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"likelihood must be a name or a nelbo Likelihood, got {likelihood!r}; write likelihood='bernoulli' or "
            "likelihood=nelbo.likelihoods.Bernoulli()"
        )
    px = likelihoods.named(likelihood) if isinstance(likelihood, str) else likelihood
    if isinstance(px, Mapping):
        px = likelihoods.Columns(px)
    qz = None if deterministic else POSTERIORS.named(posterior, latent)
    numbers = latent if qz is None else qz.encoder_outputs
    encoder, decoder = _networks(
        px, event, latent, numbers, network, hidden, channels, activation, takes_missing=takes_missing
    )
    if deterministic:
        if prior != "standard_normal" or posterior != "diagonal_normal":
            raise ValueError(
                f"an autoencoder does not take a prior or a posterior, got prior={prior!r} and "
                f"posterior={posterior!r}; leave them out, or take the recipe vae"
            )
        model: Model = Autoencoder(encoder, decoder, latent=latent, likelihood=px)
    else:
        pz = _prior(prior, latent, event, px)
        model = VAE(encoder, decoder, latent=latent, likelihood=px, prior=pz, posterior=qz)
    model.objective = objective
    return model


def recipe(function: Callable[P, Model]) -> Callable[P, Model]:
    """Register a recipe under its name, with the arguments of :func:`compose` added to its signature."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    shared = [
        p
        for p in inspect.signature(compose).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in {q.name for q in own} | {"deterministic"}
    ]
    signature = inspect.Signature([*own, *shared], return_annotation=Model)

    defaults = {p.name: p.default for p in signature.parameters.values() if p.default is not p.empty}

    @functools.wraps(function)
    def make(event: Sequence[int] | Data, **arguments: Any) -> Model:
        if isinstance(event, Data):
            return make_for(event, function.__name__, **arguments)[0]
        for name in arguments:
            if name not in signature.parameters:
                raise TypeError(
                    f"{function.__name__} has no argument {name!r}{did_you_mean(name, signature.parameters)} "
                    f"It has: {', '.join(list(signature.parameters)[1:])}"
                )
        build = functools.partial(function, event, **arguments)
        with torch.random.fork_rng([]):  # placeholders: the weights are drawn when they are first used
            model = build().weights_drawn_by(build)
            # defaults too: a later release may have others, and this run is to be built again as it was
            values = {"event": _event(event)} | defaults | arguments
            model.recipe = {"name": function.__name__, "arguments": {name: _recorded(v) for name, v in values.items()}}
        return model

    make.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    RECIPES[function.__name__] = make
    return cast("Callable[P, Model]", make)


@recipe
def vae(event: Sequence[int], **axes: Unpack[Axes]) -> Model:
    """The variational autoencoder (Kingma & Welling 2014)."""
    return compose(event, objectives.ELBO(), **axes)


@recipe
def autoencoder(event: Sequence[int], **axes: Unpack[Axes]) -> Model:
    """The plain autoencoder: a point instead of q(z|x), no KL."""
    return compose(event, objectives.Reconstruction(), deterministic=True, **axes)


@recipe
def beta_vae(event: Sequence[int], *, beta: float = 4.0, warm_up: float = 0.0, **axes: Unpack[Axes]) -> Model:
    """beta-VAE (Higgins et al. 2017), with a linear warm-up over the first epochs if asked for (Bowman et al. 2016).

    Args:
        event: shape of one example.
        beta: weight of the KL; above 1 the codes hold less of x, below 1 more.
        warm_up: epochs over which beta first rises from 0; 0 for none.
        axes: of :func:`compose`.
    """
    return compose(event, objectives.Beta(Linear(warm_up, end=beta) if warm_up else beta), **axes)


@recipe
def cyclical_vae(event: Sequence[int], *, cycles: int = 4, over: float = 16.0, **axes: Unpack[Axes]) -> Model:
    """A VAE whose beta goes from 0 to 1 in cycles over the first epochs (Fu et al. 2019).

    Args:
        event: shape of one example.
        cycles: how often beta rises from 0 to 1.
        over: epochs that all cycles take together; then beta stays 1.
        axes: of :func:`compose`.
    """
    return compose(event, objectives.Beta(Cyclical(over, cycles)), **axes)


@recipe
def capacity_vae(
    event: Sequence[int], *, capacity: float = 25.0, gamma: float = 30.0, over: float = 15.0, **axes: Unpack[Axes]
) -> Model:
    """beta-VAE whose KL is led to a growing capacity (Burgess et al. 2018).

    Args:
        event: shape of one example.
        capacity: nats of KL that it ends with.
        gamma: weight of the distance between the KL and the capacity.
        over: epochs over which the capacity grows from 0.
        axes: of :func:`compose`.
    """
    return compose(event, objectives.Capacity(Linear(over, end=capacity), gamma), **axes)


@recipe
def free_bits_vae(event: Sequence[int], *, floor: float = 0.1, **axes: Unpack[Axes]) -> Model:
    """A VAE whose latent units may each use some nats at no cost (Kingma et al. 2016).

    Args:
        event: shape of one example.
        floor: nats that each latent unit may use at no cost.
        axes: of :func:`compose`.
    """
    return compose(event, objectives.FreeBits(floor), **axes)


@recipe
def beta_tc_vae(event: Sequence[int], *, beta: float = 6.0, **axes: Unpack[Axes]) -> Model:
    """beta-TCVAE (Chen et al. 2018): only the total correlation of the latents is weighed.

    Args:
        event: shape of one example.
        beta: weight of the total correlation of the latents.
        axes: of :func:`compose`.
    """
    return compose(event, objectives.BetaTC(beta), **axes)


@recipe
def iwae(
    event: Sequence[int], *, samples: int = 5, gradient: objectives.Gradient = "dreg", **axes: Unpack[Axes]
) -> Model:
    """The importance-weighted autoencoder (Burda et al. 2016), with the DReG gradient (Tucker et al. 2019).

    Args:
        event: shape of one example.
        samples: importance samples k of each example: the more, the tighter the bound on log p(x).
        gradient: plain, stl (sticking-the-landing) or dreg (doubly reparameterized).
        axes: of :func:`compose`.
    """
    return compose(event, objectives.ImportanceWeighted(samples, gradient), **axes)


@recipe
def info_vae(event: Sequence[int], *, alpha: float = 0.0, mmd_weight: float = 10.0, **axes: Unpack[Axes]) -> Model:
    """MMD-InfoVAE (Zhao et al. 2019), with its lambda as mmd_weight.

    Args:
        event: shape of one example.
        alpha: weight of the mutual information between x and z, taken from the KL; at 1 no KL is left.
        mmd_weight: weight of the aggregate posterior's distance from the prior (MMD).
        axes: of :func:`compose`.
    """
    return compose(event, objectives.MMD(weight=alpha + mmd_weight - 1, kl_weight=1 - alpha), **axes)


@recipe
def wae(event: Sequence[int], *, mmd_weight: float = 100.0, **axes: Unpack[Axes]) -> Model:
    """The Wasserstein autoencoder with MMD (Tolstikhin et al. 2018), with its lambda as mmd_weight.

    Args:
        event: shape of one example.
        mmd_weight: weight of the codes' distance from the prior (MMD).
        axes: of :func:`compose`.
    """
    return compose(event, objectives.MMD(weight=mmd_weight), deterministic=True, **axes)


@recipe
def vamp_vae(event: Sequence[int], *, prior: str = "vamp:500", **axes: Any) -> Model:
    """A VAE with a VampPrior (Tomczak & Welling 2018)."""
    return compose(event, objectives.ELBO(), prior=prior, **axes)


@recipe
def flow_vae(event: Sequence[int], *, posterior: str = "flow", **axes: Any) -> Model:
    """A VAE whose posterior is a normalizing flow (Rezende & Mohamed 2015)."""
    return compose(event, objectives.ELBO(), posterior=posterior, **axes)


@recipe
def sigma_vae(event: Sequence[int], *, likelihood: str | likelihoods.Likelihood = "normal", **axes: Any) -> Model:
    """sigma-VAE (Rybkin et al. 2021): a normal likelihood whose one sigma is at its optimum."""
    return compose(event, objectives.ELBO(), likelihood=likelihood, **axes)


@recipe
def linear_vae(
    event: Sequence[int],
    *,
    likelihood: str | likelihoods.Likelihood = "normal",
    hidden: Sequence[int] = (),
    **axes: Any,
) -> Model:
    """The linear VAE (Lucas et al. 2019), whose optimum is probabilistic PCA: log p(x) is known exactly."""
    return compose(event, objectives.ELBO(), likelihood=likelihood, hidden=hidden, **axes)


@recipe
def missing_vae(
    event: Sequence[int],
    *,
    samples: int = 20,
    gradient: objectives.Gradient = "dreg",
    mechanism: Mechanism = "ignorable",
    likelihood: str | likelihoods.Likelihood = "normal",
    takes_missing: bool = True,
    **axes: Any,
) -> Model:
    """MIWAE (Mattei & Frellsen 2019): a VAE of data with missing values, trained on a bound on log p(x_observed).

    NaN in x means not observed. With mechanism="self_masking" it is not-MIWAE (Ipsen et al. 2021).

    Args:
        event: shape of one example.
        samples: importance samples k of each example: the more, the tighter the bound on log p(x_observed).
        gradient: plain, stl (sticking-the-landing) or dreg (doubly reparameterized).
        mechanism: why values are missing: ignorable, where that depends on what was observed at most (missing at
            random), or self_masking, where a value may be missing because of what it is, with a normal likelihood.
        likelihood: of :func:`compose`; nelbo fit chooses what fits the data.
        takes_missing: of :func:`compose`.
        axes: of :func:`compose`.
    """
    check_choice("mechanism", mechanism, get_args(Mechanism))
    objective = objectives.ImportanceWeighted(samples, gradient)
    model = compose(event, objective, likelihood=likelihood, takes_missing=takes_missing, **axes)
    if mechanism == "self_masking":
        model.mechanism = likelihoods.SelfMasking(_event(event))
        model.likelihood(torch.zeros(1, model.latent))  # of another family than the normal: an error now
    return model


@recipe
def table_vae(
    event: Sequence[int] | Data,
    *,
    samples: int = 5,
    gradient: objectives.Gradient = "dreg",
    likelihood: str | Mapping[str, str] | likelihoods.Likelihood = "normal",
    latent: int = 8,
    hidden: Sequence[int] = (128, 128),
    prior: str = "mixture:16",
    **axes: Any,
) -> Model:
    """A VAE of a mixed table, whose columns have a likelihood each, trained on the bound of Burda et al. 2016.

    Args:
        event: shape of one example, (columns,); or data of ``nelbo.data.load(path, columns="all")``, which tell the
            likelihood of each column.
        samples: importance samples k of each example: the more, the tighter the bound on log p(x).
        gradient: plain, stl (sticking-the-landing) or dreg (doubly reparameterized).
        likelihood: of :func:`compose`: one name for each column.
        latent: number of latent dimensions.
        hidden: widths of the encoder's dense layers; the decoder has them in reverse.
        prior: of :func:`compose`. Combinations of categories are clusters, which a mixture has and one normal has not.
            Trained on 20,000 rows of a known Bayesian network, held-out rows are within 0.01 nats of the truth.
        axes: of :func:`compose`.
    """
    objective = objectives.ImportanceWeighted(samples, gradient)
    shape = cast("Sequence[int]", event)  # of data, the decorator has taken it
    return compose(shape, objective, likelihood=likelihood, latent=latent, hidden=hidden, prior=prior, **axes)


def make(name: str, event: Sequence[int], **arguments: Any) -> Model:
    """The recipe of that name; an unknown one is a ValueError that lists them."""
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}{did_you_mean(name, RECIPES)} There are: {', '.join(RECIPES)}")
    return RECIPES[name](event, **arguments)


def make_for(data: Data, name: str = "vae", **arguments: Any) -> tuple[Model, likelihoods.Suggestion | None]:
    """The recipe of that name for some data, with the likelihood that fits them unless one is given or prescribed.

    Of data with missing values, a model that takes them.

    Args:
        data: whose shape and values the model gets.
        name: of the recipe.
        arguments: of the recipe.

    Returns:
        The model, and the likelihood that was chosen; None where it was given, or the recipe has its own.
    """
    suggestion = None
    if data.kinds:
        arguments.setdefault("likelihood", {column: kind.family for column, kind in data.kinds.items()})
    if data.missing:
        arguments.setdefault("takes_missing", True)
    if "likelihood" not in arguments and name in RECIPES:
        prescribed, usual = (inspect.signature(f).parameters["likelihood"].default for f in (RECIPES[name], compose))
        if prescribed == usual or name in ("missing_vae", "table_vae"):
            suggestion = likelihoods.fitting(data.train.take(min(len(data.train), 1000)))
            arguments["likelihood"] = suggestion.name
    return make(name, data.event_shape, **arguments), suggestion


def _recorded(value: Any) -> Any:
    """An argument as run.json holds it: a likelihood by its name, or as it prints where no name constructs it."""
    if isinstance(value, likelihoods.Columns):
        return {name: _recorded(family) for name, family in value.families.items()}
    if isinstance(value, likelihoods.Likelihood):
        return _name_of(value) or repr(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    return list(value) if isinstance(value, tuple) else value


def _name_of(px: likelihoods.Likelihood) -> str | None:
    """The name, with its number, that constructs the same likelihood."""
    numbers = [value for value in vars(px).values() if isinstance(value, int | float) and not isinstance(value, bool)]
    for name in likelihoods.LIKELIHOODS.constructors:
        for text in (name, *(f"{name}:{number}" for number in numbers)):
            with contextlib.suppress(TypeError, ValueError):
                if likelihoods.named(text).settings == px.settings:
                    return text
    return None


def _event(event: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(event, Sequence) or not all(n > 0 for n in event) or not event:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"event must be the shape of one example, such as (784,) or (1, 28, 28); got {event!r}")
    return tuple(int(n) for n in event)


def _widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(widths, Sequence) or not all(isinstance(n, int) and n > 0 for n in widths):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{name} must hold the width of each layer, such as {name}=(400, 200); got {widths!r}")
    return tuple(widths)


def _networks(
    px: likelihoods.Likelihood,
    event: tuple[int, ...],
    latent: int,
    encoder_outputs: int,
    network: Network,
    hidden: tuple[int, ...],
    channels: tuple[int, ...],
    activation: Activation,
    *,
    takes_missing: bool,
) -> tuple[nn.Module, nn.Module]:
    check_choice("network", network, get_args(Network))
    target, transform = px.decoder_event(event), px.encoder_transform(event)
    inputs = event if transform is None else tuple(transform(torch.zeros(1, *event)).shape[1:])
    inputs = (inputs[0] + event[0] * takes_missing, *inputs[1:])  # with a mask beside the values
    if network == "mlp":
        encoder: nn.Module = MLP(inputs, encoder_outputs, hidden=hidden, activation=activation)
        decoder: nn.Module = MLP(latent, target, hidden=hidden[::-1], activation=activation)
    else:
        options: dict[str, Any] = {
            "channels": channels,
            "hidden": hidden[0] if hidden else 256,
            "residual": 2 if network == "residual" else 0,
            "activation": activation,
        }
        encoder = ConvEncoder(inputs, encoder_outputs, **options)
        decoder = ConvDecoder(latent, target, **options)
    if takes_missing:
        return WithMask(encoder, transform), decoder
    return encoder if transform is None else nn.Sequential(transform, encoder), decoder


def _prior(text: str, latent: int, event: tuple[int, ...], px: likelihoods.Likelihood) -> priors.Prior:
    def vamp(components: int = 500) -> priors.Prior:
        start = px.pseudo_inputs(components, event)
        if start is None:
            raise ValueError(
                f"a VampPrior moves its pseudo-inputs by gradients, and the values of {type(px).__name__} have none; "
                "write prior='mixture:10'"
            )
        return priors.VampPrior(latent, start[0], bounds=start[1])

    def mixture(components: int = 10) -> priors.Prior:
        return priors.Mixture(latent, components=components)

    table: dict[str, Callable[..., priors.Prior]] = {
        "standard_normal": lambda: priors.StandardNormal(latent),
        "mixture": mixture,
        "vamp": vamp,
        "flow": lambda: priors.Flow(latent),
    }
    return Registry("prior", table).named(text)


def __dir__() -> list[str]:
    return sorted(__all__)
