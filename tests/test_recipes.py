"""Recipes: all build and train, and each wrong word is answered with the right one."""

import copy
import inspect
import json
import math

import pytest
import torch

import nelbo
from nelbo import likelihoods, objectives, posteriors, priors, recipes
from nelbo.objectives import Progress
from nelbo.recipes import POSTERIORS, RECIPES, make
from nelbo.vae import VAE, Autoencoder
from tests import cases

EVENT = (2, 9, 7)
DATA = {
    "bernoulli": cases.binary,
    "gray_bernoulli": cases.binary,
    "continuous_bernoulli": cases.unit,
    "normal": cases.real,
    "normal_decoded": cases.real,
    "discretized_logistic": cases.levels,
    "categorical": cases.categories,
    "log_normal": cases.positive,
    "truncated_normal": cases.unit,
    "poisson": cases.counts,
    "negative_binomial": cases.counts,
}


def step(model, x):
    """One step of gradient descent; the objective's value before it."""
    terms = model.objective(model, x, Progress(0.0, 100))
    terms.surrogate.mean().backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimizer.step()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    return float(terms.value.detach().mean())


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("event", "network"), [((6,), "mlp"), ((1, 8, 8), "conv")])
def test_builds_trains_and_is_built_again(name, event, network):
    extra = {"prior": "vamp:5"} if name == "vamp_vae" else {}
    model = make(name, event, network=network, hidden=(8,), channels=(4,), **extra)
    before = [p.detach().clone() for p in model.parameters()]
    assert math.isfinite(step(model, cases.binary(8, event)))
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    record = json.loads(json.dumps(model.recipe))
    again = make(record["name"], **record["arguments"])
    assert again.objective == model.objective
    assert again.recipe == model.recipe
    shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (model, again)]
    assert shapes[0] == shapes[1]
    assert repr(model) == repr(again)


@pytest.mark.parametrize("name", RECIPES)
def test_the_record_names_every_argument(name):
    model = make(name, (6,))
    assert model.recipe["name"] == name
    assert set(model.recipe["arguments"]) == set(inspect.signature(RECIPES[name]).parameters)


@pytest.mark.parametrize("name", likelihoods.names())
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
@pytest.mark.filterwarnings("ignore:gray values")
def test_every_likelihood_with_every_network(name, network):
    x = DATA[name](6, EVENT)
    text = f"{name}:5" if name == "categorical" else name
    model = recipes.vae(EVENT, likelihood=text, network=network, hidden=(8,), channels=(4, 6))
    model.check(x)
    step(model, x)
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("prior", ["standard_normal", "mixture:3", "vamp:3", "flow"])
@pytest.mark.parametrize("likelihood", [n for n in likelihoods.names() if n not in ("gray_bernoulli", "categorical")])
def test_every_prior_starts_finite_for_every_kind_of_data(prior, likelihood):
    """Pseudo-inputs lie where the data do: log(1 + x) of a negative count would be NaN."""
    torch.manual_seed(0)
    model = recipes.vae((6,), likelihood=likelihood, prior=prior, hidden=(8,), latent=2)
    x = DATA[likelihood](8, (6,))
    for _ in range(5):
        assert math.isfinite(step(model, x))


@pytest.mark.parametrize("posterior", POSTERIORS.names())
def test_every_posterior(posterior):
    model = recipes.vae((6,), posterior=posterior, hidden=(8,))
    step(model, cases.binary(8, (6,)))


def test_what_the_names_stand_for():
    assert isinstance(recipes.autoencoder((6,)), Autoencoder)
    assert recipes.vae((6,)).objective == objectives.ELBO()
    assert recipes.beta_vae((6,), beta=3).objective == objectives.Beta(3)
    assert recipes.beta_vae((6,), beta=3, warm_up=5).objective == objectives.Beta(objectives.Linear(5, end=3))
    assert recipes.cyclical_vae((6,)).objective == objectives.Beta(objectives.Cyclical(16.0, 4))
    assert recipes.capacity_vae((6,)).objective == objectives.Capacity(objectives.Linear(15.0, end=25.0), 30.0)
    assert recipes.free_bits_vae((6,), floor=0.2).objective == objectives.FreeBits(0.2)
    assert recipes.beta_tc_vae((6,)).objective == objectives.BetaTC(6.0)
    assert recipes.iwae((6,), samples=7).objective == objectives.ImportanceWeighted(7, "dreg")
    assert recipes.wae((6,)).objective == objectives.MMD(100.0)
    assert isinstance(recipes.wae((6,)), Autoencoder)
    vamp = recipes.vamp_vae((6,)).pz_family
    assert isinstance(vamp, priors.VampPrior)
    assert vamp.pseudo_inputs.shape == (500, 6)
    assert isinstance(recipes.flow_vae((6,)).qz_family, posteriors.Flow)
    assert recipes.sigma_vae((6,)).px_family.scale == "optimal"
    assert recipes.vae((6,), likelihood="normal:0.1").px_family.scale == 0.1
    assert recipes.vae((6,), likelihood="discretized_logistic:16").px_family.levels == 16
    linear = recipes.linear_vae((6,))
    assert [type(m).__name__ for m in linear.modules()].count("Linear") == 2
    assert isinstance(recipes.vae((6,)), VAE)
    deep = recipes.vae((6,), hidden=(20, 10))
    assert [m.out_features for m in deep.encoder.layers if hasattr(m, "out_features")] == [20, 10, 4]
    assert [m.out_features for m in deep.decoder.layers if hasattr(m, "out_features")] == [10, 20, 6]


MISTAKES = {
    "recipe": (
        lambda: make("bta_vae", (6,)),
        ValueError,
        r"no recipe 'bta_vae', did you mean 'beta_vae'\? There are: vae, ",
    ),
    "recipe_far": (lambda: make("gan", (6,)), ValueError, r"no recipe 'gan'\. There are: vae, "),
    "argument": (
        lambda: recipes.vae((6,), laten=3),
        TypeError,
        r"vae has no argument 'laten', did you mean 'latent'\? It has",
    ),
    "argument_far": (lambda: recipes.vae((6,), zzz=3), TypeError, r"vae has no argument 'zzz'\. It has: latent, "),
    "deterministic": (lambda: recipes.vae((6,), deterministic=True), TypeError, "no argument 'deterministic'"),
    "event": (lambda: recipes.vae(784), TypeError, r"such as \(784,\) or \(1, 28, 28\); got 784"),
    "event_empty": (lambda: recipes.vae(()), TypeError, r"shape of one example.*got \(\)"),
    "event_zero": (lambda: recipes.vae((0,)), TypeError, r"shape of one example.*got \(0,\)"),
    "likelihood": (lambda: recipes.vae((6,), likelihood="bernouli"), ValueError, "did you mean 'bernoulli'"),
    "likelihood_class": (
        lambda: recipes.vae((6,), likelihood=likelihoods.Bernoulli),
        TypeError,
        r"likelihood must be a name or a nelbo Likelihood, .* or likelihood=nelbo\.likelihoods\.Bernoulli\(\)",
    ),
    "prior_object": (
        lambda: recipes.vae((6,), prior=priors.StandardNormal(2)),
        TypeError,
        r"prior must be a name, got StandardNormal\(.*; write prior='standard_normal', or build .* nelbo\.VAE",
    ),
    "classes": (
        lambda: recipes.vae((6,), likelihood="categorical"),
        ValueError,
        "needs a number after a colon, as in categorical:10",
    ),
    "classes_half": (
        lambda: recipes.vae((6,), likelihood="categorical:2.5"),
        ValueError,
        "classes must be an integer, got 2.5",
    ),
    "no_number": (lambda: recipes.vae((6,), likelihood="poisson:3"), ValueError, "poisson takes no number"),
    "not_a_number": (
        lambda: recipes.vae((6,), prior="mixture:ten"),
        ValueError,
        "expected a number after the colon, as in mixture:10, got 'ten'",
    ),
    "sigma": (
        lambda: recipes.vae((6,), likelihood="normal:-1"),
        ValueError,
        "standard deviation must be greater than 0",
    ),
    "components": (lambda: recipes.vae((6,), prior="mixture:0"), ValueError, "components must be a positive integer"),
    "pseudo_inputs": (
        lambda: recipes.vae((6,), prior="vamp:0"),
        ValueError,
        r"pseudo_inputs must have shape .* got \(0, 6\)",
    ),
    "prior": (lambda: recipes.vae((6,), prior="vmp"), ValueError, "no prior 'vmp', did you mean 'vamp'"),
    "posterior": (
        lambda: recipes.vae((6,), posterior="full"),
        ValueError,
        "There are: diagonal_normal, full_covariance_normal, flow",
    ),
    "vamp_of_categories": (
        lambda: recipes.vae((6,), likelihood="categorical:3", prior="vamp:5"),
        ValueError,
        "the values of Categorical have none; write prior='mixture:10'",
    ),
    "autoencoder_prior": (
        lambda: recipes.autoencoder((6,), prior="flow"),
        ValueError,
        "does not take a prior or a posterior",
    ),
    "wae_posterior": (lambda: recipes.wae((6,), posterior="flow"), ValueError, "does not take a prior or a posterior"),
    "network": (
        lambda: recipes.vae((6,), network="cnn"),
        ValueError,
        "network must be one of 'mlp', 'conv', 'residual'; got 'cnn'",
    ),
    "conv_of_vectors": (
        lambda: recipes.vae((6,), network="conv"),
        ValueError,
        r"got \(6,\); use network='mlp' for vectors",
    ),
    "too_small": (
        lambda: recipes.vae((1, 3, 3), network="conv"),
        ValueError,
        r"3x3 can be halved 1 times.*write channels=\(32,\)",
    ),
    "far_too_small": (
        lambda: recipes.vae((1, 1, 9), network="conv"),
        ValueError,
        "1x9 can be halved 0 times.*write network='mlp'",
    ),
    "no_channels": (
        lambda: recipes.vae((1, 8, 8), network="conv", channels=()),
        ValueError,
        r"got 0 entries in channels=\(\); write channels=\(32,\)",
    ),
    "activation": (
        lambda: recipes.vae((6,), activation="rellu"),
        ValueError,
        "activation must be one of 'relu', .*; got 'rellu', did you mean 'relu'",
    ),
    "latent": (
        lambda: recipes.vae((6,), latent=0),
        ValueError,
        "latent must be a positive integer, got 0",
    ),
    "latent_text": (
        lambda: recipes.vae((6,), latent="2"),
        ValueError,
        "latent must be a positive integer, got '2'",
    ),
    "hidden": (lambda: recipes.vae((6,), hidden=400), TypeError, r"such as hidden=\(400, 200\); got 400"),
    "beta": (lambda: recipes.beta_vae((6,), beta=-1), ValueError, "beta must be a finite number >= 0"),
    "gradient": (
        lambda: recipes.iwae((6,), gradient="path"),
        ValueError,
        "gradient must be one of 'plain', 'stl', 'dreg'",
    ),
}


class Unregistered(likelihoods.Likelihood):
    """A user's own family, which has no name."""

    support = "anything"

    def __init__(self, width=1.0):
        super().__init__()
        self.width = width

    def forward(self, parameters, event_dims):
        return torch.distributions.Independent(torch.distributions.Laplace(parameters, self.width), event_dims)

    def accepts(self, x):
        return True

    def extra_repr(self):
        return f"width={self.width}"


@pytest.mark.parametrize(
    ("likelihood", "recorded"),
    [
        (likelihoods.Bernoulli(), "bernoulli"),
        (likelihoods.Bernoulli(allow_gray=True), "gray_bernoulli"),
        (likelihoods.Normal(), "normal"),
        (likelihoods.Normal(0.1), "normal:0.1"),
        (likelihoods.Normal("decoded"), "normal_decoded"),
        (likelihoods.Categorical(3), "categorical:3"),
        (likelihoods.DiscretizedLogistic(16), "discretized_logistic:16"),
        (likelihoods.Normal(torch.ones(6)), "Normal("),
        (Unregistered(2.0), "Unregistered(width=2.0)"),
    ],
)
def test_a_likelihood_may_be_an_object(likelihood, recorded, tmp_path):
    model = recipes.vae((6,), likelihood=likelihood, hidden=(8,))
    assert model.px_family is likelihood
    text = model.recipe["arguments"]["likelihood"]
    assert text.startswith(recorded)
    json.dumps(model.recipe)
    run = nelbo.fit(model, cases.binary(60), epochs=1, progress=False, out=tmp_path / "run")
    if text == recorded and text.islower():
        again = nelbo.load(run.path).model
    else:
        with pytest.raises(ValueError, match=r"no likelihood .* import the module that registers .*model=vae\)"):
            nelbo.load(run.path)
        again = nelbo.load(run.path, model=recipes.vae((6,), likelihood=likelihood, hidden=(8,))).model
    x = cases.binary(4)
    assert torch.equal(again.encode(x), run.model.encode(x))


def test_a_name_that_is_not_registered_says_how_to_register_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(likelihoods.LIKELIHOODS.constructors, "mine", Unregistered)
        run = nelbo.fit(
            recipes.vae((6,), likelihood="mine"), cases.binary(60), epochs=1, out=tmp_path / "r", progress=False
        )
        assert recipes.vae((6,), likelihood=Unregistered(3.0)).recipe["arguments"]["likelihood"] == "mine:3.0"
    with pytest.raises(
        ValueError, match=r"no likelihood 'mine'.*; import the module that registers one of your own first"
    ):
        nelbo.load(run.path)


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_is_answered(case):
    call, kind, message = MISTAKES[case]
    with pytest.raises(kind, match=message):
        call()


# --- the seed of a training draws the weights (FIELD F14) -------------------------------------------------------------


def cell(model=None, seed=0):
    """A notebook's cell: make a model, train it."""
    x = cases.binary(60)
    model = recipes.vae((6,), hidden=(8,)) if model is None else model
    return nelbo.fit(model, x, epochs=1, seed=seed, progress=False)


def same_weights(a, b):
    return all(torch.equal(a.model.state_dict()[name], tensor) for name, tensor in b.model.state_dict().items())


def test_the_same_cell_run_twice_gives_the_same_bytes():
    torch.manual_seed(1)
    first = cell()
    torch.randn(3)
    second = cell()
    assert same_weights(first, second)
    assert not same_weights(first, cell(seed=1))
    assert first.record["weights"] == second.record["weights"] == "drawn by the seed"


def test_moving_a_model_is_not_a_use():
    assert same_weights(cell(), cell(recipes.vae((6,), hidden=(8,)).to("cpu").eval()))


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.encode(cases.binary(2)),
        lambda model: model.load_state_dict(model.state_dict()),
        lambda model: nelbo.loss(model, cases.binary(2)),
        lambda model: nelbo.fit(model, cases.binary(60), epochs=1, seed=5, progress=False),
    ],
    ids=["encoded", "loaded", "measured", "trained"],
)
def test_a_used_changed_or_trained_model_keeps_its_weights(use):
    model = recipes.vae((6,), hidden=(8,))
    use(model)
    run = cell(copy.deepcopy(model))
    assert run.record["weights"] == "as they were given"
    assert same_weights(run, cell(copy.deepcopy(model)))
    assert not same_weights(run, cell())


def test_a_fit_leaves_torch_s_global_generator_alone():
    before = torch.random.get_rng_state()
    cell()
    assert torch.equal(before, torch.random.get_rng_state())


def test_editors_read_the_arguments_of_compose():
    parameters = inspect.signature(recipes.compose).parameters.values()
    keywords = {p.name: p.annotation for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert recipes.Axes.__annotations__ == {name: keywords[name] for name in keywords if name != "deterministic"}
