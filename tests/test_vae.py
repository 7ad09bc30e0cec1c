"""The model: its parts, and an error for each way in which they do not fit."""

import copy
import pickle

import pytest
import torch
from torch import nn

import nelbo
from nelbo import likelihoods, objectives, posteriors, priors, recipes
from nelbo.nn import MLP
from nelbo.objectives import loss
from nelbo.vae import VAE, Autoencoder, as_model
from tests.cases import binary


def vae(encoder=None, decoder=None, **parts):
    parts = {"latent": 2, "likelihood": likelihoods.Bernoulli()} | parts
    return VAE(encoder or nn.Linear(6, 4), decoder or nn.Linear(2, 6), **parts)


def test_the_answers_are_distributions():
    model, x = vae(), binary(5)
    assert (model.posterior(x).batch_shape, model.posterior(x).event_shape) == ((5,), (2,))
    assert (model.prior.batch_shape, model.prior.event_shape) == ((), (2,))
    px = model.likelihood(torch.zeros(3, 5, 2))
    assert (px.batch_shape, px.event_shape) == ((3, 5), (6,))
    assert torch.equal(model(x), model.reconstruct(x))


def test_encode_and_decode_are_means_with_a_gradient():
    model, x = vae(), binary(5).requires_grad_()
    z = model.encode(x)
    torch.testing.assert_close(z, model.posterior(x).mean)
    torch.testing.assert_close(model.decode(z), torch.sigmoid(model.decoder(z)))
    torch.testing.assert_close(model(x), model.decode(z))
    assert torch.autograd.grad(model(x).sum(), x)[0].abs().sum() > 0
    torch.testing.assert_close(model.reconstruct(x), model(x).detach())
    assert not any(t.requires_grad for t in (model.reconstruct(x), model.sample(3), model.sample(3, mean=True)))


def test_samples_are_draws_of_the_model():
    torch.manual_seed(0)
    model = vae()
    x = model.sample(20_000)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    means = model.sample(20_000, mean=True)
    error = (x.var(0) / len(x) + means.var(0) / len(x)).sqrt()
    assert ((x.mean(0) - means.mean(0)).abs() < 5 * error).all()


def test_the_autoencoder_is_the_limit_of_a_vae():
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latent=2, likelihood=likelihoods.Bernoulli())
    x = binary(4)
    assert torch.equal(model.encode(x), model.encoder(x))
    narrow = vae(decoder=model.decoder)
    with torch.no_grad():
        narrow.encoder.weight[:2] = model.encoder.weight
        narrow.encoder.bias[:2] = model.encoder.bias
        narrow.encoder.weight[2:] = 0
        kls = []
        for log_sigma in (-1.0, -4.0, -8.0):
            narrow.encoder.bias[2:] = 2 * log_sigma
            terms = loss(narrow, x)
            kls.append(float(terms.kl.mean()))
    torch.testing.assert_close(terms.reconstruction_error, loss(model, x).reconstruction_error, rtol=1e-3, atol=1e-3)
    assert kls[0] + 4 < kls[1] < kls[2] - 4  # by two units, and without bound
    assert torch.isinf(loss(model, x).kl).all()


def test_mixed_precision_is_inside_the_networks():
    model, x = vae(nn.Sequential(nn.Linear(6, 4)), nn.Sequential(nn.Linear(2, 6))), binary(5)
    exact = model.encode(x)
    model.network_precision = "bfloat16"
    seen = []
    handle = model.encoder[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    rounded = model.encode(x)
    handle.remove()
    assert seen == [torch.bfloat16]
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.02, atol=0.02)
    assert model.likelihood(torch.zeros(5, 2)).base_dist.logits.dtype == torch.float32


class Two(nn.Module):
    def forward(self, x):
        return x, x


class Separate(likelihoods.Likelihood):
    """Forgets some of the axes of an example."""

    support = "real values"

    def __init__(self, kept=0):
        super().__init__()
        self.kept = kept

    def forward(self, parameters, event_dims):
        normal = torch.distributions.Normal(parameters, 1.0)
        return torch.distributions.Independent(normal, self.kept) if self.kept else normal

    def accepts(self, x):
        return True


class Halves(Separate):
    """Splits the decoder's output by itself."""

    def __init__(self, parameters_per_feature):
        super().__init__()
        self.parameters_per_feature = parameters_per_feature

    def forward(self, parameters, event_dims):
        mean, log_scale = parameters.chunk(2, dim=-event_dims)
        return torch.distributions.Independent(torch.distributions.Normal(mean, log_scale.exp()), event_dims)


X = binary(3)
MISTAKES = {
    "encoder_width": (
        lambda: vae(nn.Linear(6, 2)).check(X),
        ValueError,
        r"the encoder maps x of shape \(3, 6\) to shape \(3, 2\), expected \(3, 4\) for DiagonalNormal\(2\); "
        r"end it with nn\.Linear\(\.\.\., 4\)",
    ),
    "encoder_tuple": (lambda: vae(Two()).check(X), ValueError, r"the encoder maps .* to a tuple, expected \(3, 4\)"),
    "encoder_of_full_covariance": (
        lambda: vae(posterior=posteriors.FullCovarianceNormal(2)).check(X),
        ValueError,
        r"expected \(3, 5\) for FullCovarianceNormal\(2\)",
    ),
    "autoencoder_width": (
        lambda: Autoencoder(nn.Linear(6, 4), nn.Linear(2, 6), latent=2, likelihood=likelihoods.Bernoulli()).check(X),
        ValueError,
        r"expected \(3, 2\) for an autoencoder of latent=2; end it with nn\.Linear\(\.\.\., 2\)",
    ),
    "decoder_width": (
        lambda: vae(decoder=nn.Linear(2, 7)).check(X),
        ValueError,
        r"over examples of shape \(7,\), but x holds examples of shape \(6,\) \(x: \(3, 6\)\); "
        r"end the decoder with nn\.Linear\(\.\.\., 6\)$",
    ),
    "decoder_of_two_parameters": (
        lambda: vae(likelihood=likelihoods.Normal("decoded")).check(X),
        ValueError,
        r"over examples of shape \(3,\), but x holds examples of shape \(6,\).*nn\.Linear\(\.\.\., 12\)$",
    ),
    "decoder_odd": (
        lambda: vae(decoder=nn.Linear(2, 7), likelihood=likelihoods.Normal("decoded")).check(X),
        ValueError,
        r"Normal takes 2 numbers per feature.*got shape \(3, 7\)\. .*end the decoder with 2 \* c outputs",
    ),
    "decoder_flat": (
        lambda: vae(nn.Sequential(nn.Flatten(), nn.Linear(6, 4))).check(X.reshape(3, 1, 2, 3)),
        ValueError,
        r"end the decoder with nn\.Unflatten\(1, \(1, 2, 3\)\), or reshape the data with x\.reshape\(len\(x\), 6\)",
    ),
    "decoder_flat_of_two_parameters": (
        lambda: vae(
            nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), nn.Linear(2, 12), likelihood=likelihoods.Normal("decoded")
        ).check(X.reshape(3, 1, 2, 3)),
        ValueError,
        r"end the decoder with nn\.Unflatten\(1, \(2, 2, 3\)\)",
    ),
    "decoder_tuple": (
        lambda: vae(decoder=Two()).check(X),
        ValueError,
        r"the decoder maps z of shape \(3, 2\) to a tuple, expected one tensor \(3, \*event\) of the parameters of "
        r"Bernoulli \(logits, not probabilities\)",
    ),
    "decoder_batch": (
        lambda: vae(decoder=nn.Flatten(0, -1)).check(X),
        ValueError,
        r"maps z of shape \(3, 2\) to shape \(6,\), expected one tensor \(3, \*event\)",
    ),
    "decoder_other_batch": (
        lambda: vae(decoder=nn.Sequential(nn.Unflatten(0, (1, 3)), nn.Flatten(1))).check(X),
        ValueError,
        r"to shape \(1, 6\), expected one tensor \(3, \*event\)",
    ),
    "x_of_one_example": (lambda: vae().check(X[0]), ValueError, r"got \(6,\); for one example write x\[None\]"),
    "z": (
        lambda: vae().likelihood(torch.zeros(3, 5)),
        ValueError,
        r"z must have shape \(\.\.\., batch, 2\), got \(3, 5\)",
    ),
    "latent": (
        lambda: vae(prior=priors.Mixture(3)),
        ValueError,
        r"the prior has 3 latent dimensions and the VAE latent=2; write Mixture\(2, \.\.\.\)",
    ),
    "latent_of_posterior": (
        lambda: vae(posterior=posteriors.DiagonalNormal(5)),
        ValueError,
        r"the posterior has 5 latent dimensions .* write DiagonalNormal\(2, \.\.\.\)",
    ),
    "likelihood_by_name": (
        lambda: vae(likelihood="normal"),
        TypeError,
        r"likelihood must be an instance of nelbo\.likelihoods\.Likelihood, got 'normal'; write "
        r"likelihood=nelbo\.likelihoods\.named\('normal'\)$",
    ),
    "likelihood_by_unknown_name": (
        lambda: vae(likelihood="gaussian"),
        TypeError,
        r"got 'gaussian'; write likelihood=nelbo\.likelihoods\.named\(name\) with one of the names bernoulli, .*normal",
    ),
    "likelihood_class": (
        lambda: vae(likelihood=likelihoods.Categorical),
        TypeError,
        r"got the class Categorical; write likelihood=nelbo\.likelihoods\.Categorical\(\), with its arguments",
    ),
    "likelihood_of_torch": (
        lambda: vae(likelihood=torch.distributions.Normal(0.0, 1.0)),
        TypeError,
        r"got a Normal; write likelihood=nelbo\.likelihoods\.Normal\(\) for real values, .*Bernoulli\(\) for values in",
    ),
    "likelihood_of_wrap": (
        lambda: nelbo.wrap(
            encode=lambda x: (x[:, :2], x[:, 2:4]),
            decode=lambda z: z.repeat(1, 3),
            x=X,
            scale="logvar",
            likelihood="poisson:3",
        ),
        TypeError,
        r"got 'poisson:3'; write likelihood=nelbo\.likelihoods\.named\('poisson:3'\)",
    ),
    "likelihood_without_independent": (
        lambda: vae(likelihood=Separate()).check(X),
        ValueError,
        r"event_shape \(\), expected \(6,\), .* a batch of separate Normal distributions\. .* with "
        r"return torch\.distributions\.Independent\(px, event_dims\)",
    ),
    "likelihood_without_independent_of_images": (
        lambda: vae(
            nn.Sequential(nn.Flatten(), nn.Linear(6, 4)),
            nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (1, 2, 3))),
            likelihood=Separate(1),
        ).check(X.reshape(3, 1, 2, 3)),
        ValueError,
        r"event_shape \(3,\), expected \(1, 2, 3\), .* separate Independent distributions",
    ),
    "decoder_odd_of_a_family_that_splits": (
        lambda: vae(decoder=nn.Linear(2, 5), likelihood=Halves(2)).check(X),
        ValueError,
        r"Halves takes 2 numbers per feature.*got shape \(3, 5\)\. .*end the decoder with 2 \* c outputs",
    ),
    "decoder_odd_of_a_family_that_does_not_count": (
        lambda: vae(decoder=nn.Linear(2, 5), likelihood=Halves(1)).check(X),
        ValueError,
        r"Halves cannot take a decoder's output of shape \(3, 5\): .*Set its parameters_per_feature, which is 1, to "
        r"the number k of parameters .* end the decoder with k \* c outputs",
    ),
    "prior": (
        lambda: vae(prior=torch.distributions.Normal(0.0, 1.0)),
        TypeError,
        r"prior must be an instance of nelbo\.priors\.Prior, got a Normal; write "
        r"prior=nelbo\.priors\.StandardNormal\(2\)",
    ),
    "prior_by_name": (
        lambda: vae(prior="standard"),
        TypeError,
        r"got 'standard'; write prior=nelbo\.priors\.StandardNormal\(2\)",
    ),
    "posterior": (
        lambda: vae(posterior=posteriors.FullCovarianceNormal),
        TypeError,
        r"got the class FullCovarianceNormal; write posterior=FullCovarianceNormal\(2\)",
    ),
    "encoder_function": (
        lambda: vae(encoder=lambda x: x),
        TypeError,
        r"the encoder must be an nn\.Module, got a function: weights inside it would not be trained",
    ),
    "decoder_class": (lambda: vae(decoder=MLP), TypeError, r"the decoder must be an nn\.Module, got a type"),
    "data": (lambda: vae().check(X + 0.5), ValueError, r"Bernoulli needs values in \{0, 1\}"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_is_answered(case):
    call, kind, message = MISTAKES[case]
    with pytest.raises(kind, match=message):
        call()


def test_what_the_messages_say_to_write_works():
    x = X.reshape(3, 1, 2, 3)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    vae(encoder, nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (1, 2, 3)))).check(x)
    vae(encoder, nn.Linear(2, 6)).check(x.reshape(len(x), 6))
    vae(
        encoder,
        nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (2, 2, 3))),
        likelihood=likelihoods.Normal("decoded"),
    ).check(x)
    vae(decoder=nn.Linear(2, 12), likelihood=likelihoods.Normal("decoded")).check(X)


# --- weights that are drawn when they are first used ------------------------------------------------------------------

OWN = nn.Linear(2, 6)
USES = {
    "loss": lambda model: loss(model, X),
    "encode": lambda model: model.encode(X),
    "sample": lambda model: model.sample(2),
    "parameters": lambda model: list(model.parameters()),
    "state_dict": lambda model: model.state_dict(),
    "a_network": lambda model: model.encoder,
    "modules": lambda model: list(model.modules()),
    "apply": lambda model: model.apply(lambda module: None),
    "prior": lambda model: model.prior,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "replaced_network": lambda model: setattr(model, "decoder", OWN),
}


def fresh():
    return recipes.vae((6,), hidden=(8,))


@pytest.mark.parametrize("use", USES)
def test_a_first_use_draws_from_torch_s_global_generator(use):
    torch.manual_seed(0)
    model = fresh()
    assert model.unused
    torch.manual_seed(5)
    USES[use](model)
    assert not model.unused
    torch.manual_seed(5)
    expected = fresh()
    expected.draw_weights()
    assert torch.equal(model.encoder.layers[0].weight, expected.encoder.layers[0].weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss(model, X)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_making_a_model_draws_nothing_and_neither_do_device_precision_and_mode():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    model = fresh().eval().double().to("cpu").float()
    repr(model)
    assert torch.equal(before, torch.random.get_rng_state())
    assert model.unused
    assert not model.training
    model = fresh().double()
    assert model.encode(X.double()).dtype == torch.float64


def test_a_copy_has_the_weights_of_the_original():
    model = fresh()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(fresh()))):
        assert not twin.unused
    torch.testing.assert_close(copy.deepcopy(model).encode(X), model.encode(X), rtol=0, atol=0)


def test_loaded_weights_are_not_drawn_over():
    source, model = vae(MLP(6, 4, hidden=(8,)), MLP(2, 6, hidden=(8,))), fresh()
    model.load_state_dict(source.state_dict())
    assert not model.unused
    assert torch.equal(model.encode(X), source.encode(X))


def test_a_network_of_one_s_own_in_a_recipe_s_model_stays():
    model, own = fresh(), nn.Linear(2, 6)
    before = own.weight.detach().clone()
    model.decoder = own
    assert torch.equal(model.decode(torch.zeros(1, 2)), torch.sigmoid(own.bias)[None])
    assert torch.equal(own.weight, before)


def test_changes_before_the_first_use_are_changes_of_drawn_weights():
    model = fresh()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.5)
    loss(model, X)
    assert all((p == 0.5).all() for p in model.parameters())


# --- what a public function is given ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["optimal", "decoded", 0.5])
@pytest.mark.parametrize("grad", [True, False])
def test_the_loss_does_not_change_the_model(scale, grad):
    """A closed-form sigma is trained, not measured: in training mode too, each call gives the same number."""
    outputs = 12 if scale == "decoded" else 6
    model = vae(decoder=nn.Linear(2, outputs), likelihood=likelihoods.Normal(scale)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, values = 5 * torch.randn(20, 6), []
    with torch.set_grad_enabled(grad):
        for _ in range(2):
            torch.manual_seed(0)
            values.append(loss(model, x).nelbo)
    assert torch.equal(*values)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (X[0], ValueError, r"x must have shape \(batch, \*event\), got \(6,\); for one example write x\[None\]"),
        (X[:0], ValueError, r"x must hold at least one example"),
        (X[:, :5], ValueError, r"MLP was built for inputs of shape \(batch, 6\), got \(3, 5\)"),
        ([[0.0, 1.0]], TypeError, r"x must be a tensor or array \(batch, \*event\), a Batch or a Dataset, got list"),
    ],
)
def test_wrong_examples_are_answered(x, kind, message):
    model = vae(MLP(6, 4), MLP(2, 6))
    for call in (loss, objectives.ELBO()):
        with pytest.raises(kind, match=message):
            call(model, x)


def test_models_runs_and_the_forms_of_x_are_all_taken():
    from nelbo.data import Batch, as_data
    from nelbo.runs import Run

    model, expected = vae(), None
    data = as_data(X, validation=0).train
    forms = [X, X.numpy(), X.numpy().astype("u1"), Batch(X), data]
    # of an object with three distributions alone, nobody knows the precision
    for source, some in ((model, [*forms, X.double()]), (Run(model, []), forms), (Protocol(model), forms)):
        for x in some:
            torch.manual_seed(0)
            terms = loss(source, x)
            expected = terms if expected is None else expected
            torch.testing.assert_close(terms, expected, rtol=0, atol=0)


class Protocol:
    """Three distributions, and nothing else."""

    def __init__(self, model):
        self.posterior, self.likelihood, self.prior = model.posterior, model.likelihood, model.prior


def test_any_object_with_the_three_distributions_is_a_model():
    model = vae()
    view = as_model(Protocol(model))
    assert as_model(model) is model
    torch.testing.assert_close(view.encode(X), model.encode(X))
    torch.testing.assert_close(view.decode(view.encode(X)), model.decode(model.encode(X)))
    assert view.latent == 2
    assert view.sample(3).shape == (3, 6)


@pytest.mark.parametrize(
    ("thing", "got"),
    [
        (3, "int"),
        (VAE, "the class VAE"),
        (recipes.vae, "a function; call it with the shape of one example"),
        ("runs/a", "str"),
    ],
)
def test_what_is_not_a_model_is_answered(thing, got):
    with pytest.raises(TypeError, match=rf"model must be a nelbo\.VAE, a run, .* got {got}.*nelbo\.recipes\.vae"):
        as_model(thing)


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.vae = nelbo.recipes.vae((6,), latent=3, likelihood="normal")


def test_weights_that_are_loaded_through_a_parent_stay():
    first, second, x = Parent(), Parent(), torch.randn(4, 6)
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    assert torch.equal(first.vae.encode(x), second.vae.encode(x))


def test_a_load_that_fails_leaves_the_weights_to_be_drawn():
    models = [nelbo.recipes.vae((6,), latent=3) for _ in range(2)]
    for model in models:
        with pytest.raises(RuntimeError, match="Missing key"):
            model.load_state_dict({"x": torch.zeros(1)})
    weights = [next(model.parameters()) for model in models]
    assert not torch.equal(*weights)


def test_weights_that_are_set_through_children_stay():
    model = nelbo.recipes.vae((6,), latent=3)
    for child in model.children():
        for parameter in child.parameters():
            nn.init.ones_(parameter)
    assert all(bool((parameter == 1).all()) for parameter in model.decoder.parameters())
    assert nelbo.recipes.vae((6,), latent=3).double().eval().unused
