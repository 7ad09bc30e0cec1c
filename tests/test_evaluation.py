"""One evaluation of a model on examples: every number in chunks, at conditions, whatever q(z|x) is."""

import pytest
import torch
from torch import nn
from torch.distributions import AffineTransform, Gamma, Independent, Normal, TransformedDistribution

import nelbo
from nelbo import latents, likelihoods
from nelbo.data import Batch, as_data
from nelbo.evaluation import Evaluation, evaluate, mode
from nelbo.evaluation.evaluation import fingerprint
from nelbo.objectives import ELBO, ImportanceWeighted, loss
from nelbo.vae import VAE, Autoencoder, Model
from tests.cases import EVENT, LATENT, POSTERIORS, PRIORS, binary, each, make_vae
from tests.linear_gaussian import LinearGaussian

pytestmark = pytest.mark.device

X = binary(40)


def values(evaluation):
    """Everything that an evaluation knows, as tensors (n, ...)."""
    terms = evaluation.terms(4)
    everything = {
        "embedding": evaluation.embedding,
        "mean": evaluation.moments.mean,
        "covariance": evaluation.moments.covariance,
        "reconstruction": evaluation.reconstruction,
        "error": evaluation.error_at_embedding,
        "elbo": terms.elbo.value,
        "elbo_error": terms.elbo.standard_error,
        "kl_drawn": terms.kl.value,
        "rec": terms.reconstruction_error.value,
    }
    for name in ("kl", "kl_per_unit"):
        if getattr(evaluation, name) is not None:
            everything[name] = getattr(evaluation, name)
    return everything


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


class GammaVAE(Model):
    """A user's own model whose q(z|x) nelbo has no rule for."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)
        self.latent, self.px_family = 2, likelihoods.Bernoulli()

    @property
    def prior(self):
        return Independent(Gamma(torch.ones(2), torch.ones(2)), 1)

    def posterior(self, x):
        concentration, rate = nn.functional.softplus(self.encoder(x)).chunk(2, -1)
        return Independent(Gamma(1 + concentration, rate), 1)

    def likelihood(self, z):
        return self.px_family(self.decoder(z), 1)


def autoencoder():
    return Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latent=2, likelihood=likelihoods.Bernoulli())


MODELS = {name: lambda name=name: make_vae(posterior=name) for name in POSTERIORS}
MODELS |= {f"prior_{name}": lambda name=name: make_vae(prior=name) for name in PRIORS if name != "standard_normal"}
MODELS |= {"autoencoder": autoencoder, "gamma": GammaVAE}


@pytest.mark.parametrize("name", **each(MODELS))
def test_chunks_neighbours_and_order_change_nothing(name, monkeypatch):
    model = MODELS[name]()
    whole = values(evaluate(model, X))
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    close({key: value[order] for key, value in whole.items()}, values(evaluate(model, X[order])))
    close({key: value[5:9] for key, value in whole.items()}, values(evaluate(model, X[5:9])))
    picked = evaluate(model, X)[[3, 1]]
    close({key: value[[3, 1]] for key, value in whole.items()}, values(picked))
    monkeypatch.setattr(mode, "BUDGET", 50)
    close(whole, values(evaluate(model, X)))


def test_equal_rows_have_equal_scores_and_seeds_differ():
    x = X.clone()
    x[7] = x[30]
    elbo = evaluate(make_vae(), x).terms(4).elbo.value
    assert elbo[7] == elbo[30]
    assert not torch.equal(elbo, evaluate(make_vae(), x, seed=1).terms(4).elbo.value)


@pytest.mark.parametrize("name", **each(MODELS))
def test_evaluating_has_no_side_effects(name):
    model = MODELS[name]().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    values(evaluate(model, X))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(part.training for part in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_terms_are_those_of_the_exact_elbo():
    model = LinearGaussian.random()
    vae, x = model.vae(error=0.2), model.sample(100)
    terms = evaluate(vae, x).terms(400)
    exact = -model.exact_nelbo(vae, x)
    assert ((terms.elbo.value - exact).abs() < 6 * terms.elbo.standard_error).all()
    torch.testing.assert_close(terms.elbo.value, -(terms.kl.value + terms.reconstruction_error.value))
    assert (terms.kl.method, terms.kl.standard_error.max()) == ("closed_form", 0)


def test_an_autoencoder_has_no_bound_and_errors_without_noise():
    model = autoencoder()
    evaluation = evaluate(model, X)
    terms = evaluation.terms(4)
    assert evaluation.is_point
    assert torch.isinf(terms.kl.value).all()
    torch.testing.assert_close(terms.reconstruction_error.value.float(), evaluation.error_at_embedding)
    with torch.no_grad():
        torch.testing.assert_close(evaluation.error_at_embedding, -model.likelihood(model.encode(X)).log_prob(X))


def test_a_data_set_is_taken_in_the_order_of_the_seed_and_encoded_once():
    model, data = make_vae(), as_data(X, validation=0).train
    calls = []
    model.encoder.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    few, all_of_them = evaluate(model, data, n=10), evaluate(model, data)
    assert torch.equal(few.x, all_of_them.x[:10])
    torch.testing.assert_close(few.terms(4).elbo.value, all_of_them.terms(4).elbo.value[:10])
    assert sum(calls) == len(X)
    evaluate(model, data).terms(8)
    assert sum(calls) == len(X)
    with torch.no_grad():
        model.encoder.layers[0].weight.add_(1.0)
    changed = evaluate(model, data).embedding
    assert sum(calls) == 2 * len(X)
    assert not torch.equal(changed, all_of_them.embedding)


# --- conditions -------------------------------------------------------------------------------------------------------


class Conditional(Model):
    """q(z|x, c) and p(x|z, c): a model that one condition per example is given to."""

    def __init__(self, shift=None):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)
        self.latent, self.px_family, self.shift = 2, likelihoods.Bernoulli(), shift

    def given(self, c):
        twin = Conditional(c)
        twin.encoder, twin.decoder = self.encoder, self.decoder
        return twin

    @property
    def prior(self):
        return Independent(Normal(torch.zeros(2), torch.ones(2)), 1)

    def posterior(self, x):
        mu, log_scale = self.encoder(x).chunk(2, -1)
        return Independent(Normal(mu + self.shift, log_scale.exp()), 1)

    def likelihood(self, z):
        return self.px_family(self.decoder(z + self.shift), 1)


C = torch.linspace(-2, 2, len(X))[:, None]


def test_a_condition_is_sliced_with_x(monkeypatch):
    model, batch = Conditional(), Batch(X, c=C)
    whole = values(evaluate(model, batch))
    one_by_one = [values(evaluate(model, Batch(X[i : i + 1], c=C[i : i + 1]))) for i in range(len(X))]
    close(whole, {key: torch.cat([one[key] for one in one_by_one]) for key in whole})
    order = torch.arange(len(X)).flip(0)
    close({key: value[order] for key, value in whole.items()}, values(evaluate(model, batch[order])))
    monkeypatch.setattr(mode, "BUDGET", 50)
    close(whole, values(evaluate(model, batch)))
    assert not torch.allclose(whole["elbo"], values(evaluate(model, Batch(X, c=-C)))["elbo"])


@pytest.mark.parametrize("objective", [ELBO(), ELBO(3), ImportanceWeighted(3, "dreg")])
def test_a_condition_reaches_every_objective(objective):
    model, batch = Conditional(), Batch(X, c=C)
    torch.manual_seed(0)
    expected = objective(model.given(C), X).value
    torch.manual_seed(0)
    torch.testing.assert_close(objective(model, batch).value, expected)


def test_a_model_that_takes_no_condition_says_so():
    for call in (lambda batch: loss(make_vae(), batch), lambda batch: evaluate(make_vae(), batch).terms(2)):
        with pytest.raises(ValueError, match=r"VAE does not take a condition, .* c of shape \(40, 1\); leave c out"):
            call(Batch(X, c=C))


def test_keys_give_a_batch_its_own_draws():
    model, batch = make_vae(), Batch(X)
    keyed = batch.with_keys(Evaluation(model, batch).keys("validation"))
    before = torch.random.get_rng_state()
    a, b = ELBO()(model, keyed).value, ELBO()(model, keyed[10:20]).value
    assert torch.equal(before, torch.random.get_rng_state())
    torch.testing.assert_close(a[10:20], b)


@pytest.mark.parametrize("features", [6, 1 << 14])
def test_a_likelihood_and_its_density_are_decoded_once_and_are_those_of_the_density_alone(monkeypatch, features):
    """In one chunk and in several."""
    rows = []
    vae = nelbo.recipes.vae((features,), latent=LATENT, hidden=(8,))
    vae.decoder.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    x = torch.bernoulli(torch.full((40, features), 0.5), generator=torch.Generator().manual_seed(0))
    alone = evaluate(vae, x).log_px
    rows.clear()
    both = evaluate(vae, x)
    px, log_px = both.px, both.log_px
    assert sum(rows) == 40
    assert len(rows) == (1 if features == 6 else 3)
    assert (px.batch_shape, px.event_shape) == ((40,), (features,))
    assert torch.equal(log_px, alone)
    torch.testing.assert_close(px.log_prob(x), log_px)


def test_shapes():
    evaluation = evaluate(make_vae(), X)
    assert evaluation.latent == LATENT
    assert evaluation.reconstruction.shape == (len(X), *EVENT)
    assert evaluation.log_likelihood(latents.draw(evaluation.qz, 3, evaluation.keys("a"))).shape == (3, len(X))
    assert isinstance(evaluation.model, VAE)
    with pytest.raises(ValueError, match="samples must be at least 2"):
        evaluation.terms(1)


# --- what a run gives -------------------------------------------------------------------------------------------------


def test_a_run_encodes_decodes_reconstructs_and_samples(monkeypatch):
    from nelbo.runs import Run

    model = make_vae(likelihood="normal_fixed").train()
    run, data = Run(model, []), as_data(X, validation=0).train
    state = torch.random.get_rng_state()
    for budget in (mode.BUDGET, 50):
        monkeypatch.setattr(mode, "BUDGET", budget)
        with torch.no_grad():
            torch.testing.assert_close(run.encode(X), model.encode(X))
            torch.testing.assert_close(run.encode(data), model.encode(X))  # in the data set's own order
            torch.testing.assert_close(run.encode(X.numpy()), model.encode(X))
            torch.testing.assert_close(run.decode(run.encode(X)), model.reconstruct(X))
            torch.testing.assert_close(run.reconstruct(Batch(X)), model.reconstruct(X))
        means, draws = run.sample(200, mean=True, seed=3), run.sample(200, seed=3)
        assert means.shape == draws.shape == (200, *EVENT)
        assert torch.equal(draws, run.sample(200, seed=3))
        assert not torch.equal(draws, run.sample(200, seed=4))
        # of the same z: what is left is the likelihood's noise, of standard deviation 0.5
        noise = draws - means
        assert abs(float(noise.mean())) < 5 * 0.5 / noise.numel() ** 0.5
        assert abs(float(noise.std()) - 0.5) < 5 * 0.5 / (2 * noise.numel()) ** 0.5
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert not run.encode(X).requires_grad
    with pytest.raises(ValueError, match="n must be a positive integer, got 0"):
        run.sample(0)


class Duck(nn.Module):
    """Not one of nelbo's models: only its three distributions."""

    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 3), nn.Linear(3, 6)

    def posterior(self, x):
        return Independent(Normal(self.encoder(x), 1.0), 1)

    def likelihood(self, z):
        return Independent(Normal(self.decoder(z), 1.0), 1)


class Doubled(Duck):
    """Its q(z|x) is a normal that was doubled, of a family whose parameters torch does not state."""

    def posterior(self, x):
        transforms = [AffineTransform(0.0, 2.0, event_dim=1)]
        return TransformedDistribution(Independent(Normal(self.encoder(x), 1.0), 1), transforms)


class PerExample(Duck):
    """Its q(z|x) cannot be picked: the transform itself differs between examples."""

    def posterior(self, x):
        shift = self.encoder(x)
        base = Independent(Normal(torch.zeros_like(shift), 1.0), 1)
        return TransformedDistribution(base, [AffineTransform(shift, 2.0, event_dim=1)])


def test_a_posterior_that_cannot_be_picked_is_drawn_whole():
    terms = nelbo.measure.elbo_terms(PerExample(), torch.randn(12, 6))
    assert terms.elbo.value.isfinite().all()
    assert len(terms.elbo.value.unique()) == 12


@pytest.mark.parametrize("model", [Duck, Doubled])
def test_a_model_that_is_not_ours_is_measured_on_any_form_of_examples(model):
    torch.manual_seed(0)
    model, x = model(), torch.randn(30, 6)
    terms = nelbo.measure.elbo_terms(model, x)
    data = nelbo.data.InMemory(x)
    order = evaluate(model, data).batch.rows
    torch.testing.assert_close(
        nelbo.measure.elbo_terms(model, data).elbo.value, terms.elbo.value[order], rtol=1e-5, atol=1e-5
    )
    columns_first = x.T.contiguous().T  # as of a data frame
    torch.testing.assert_close(nelbo.measure.elbo_terms(model, columns_first).elbo.value, terms.elbo.value)
    joined = evaluate(model, x[:10]) + evaluate(model, x[10:])
    torch.testing.assert_close(joined.terms().elbo.value, terms.elbo.value, rtol=1e-5, atol=1e-5)


def test_a_model_of_ones_own_states_three_distributions_and_no_more():
    class Own(nelbo.Model):
        prior = Duck.prior

        def __init__(self):
            super().__init__()
            self.network = nn.Linear(6, 3)

        posterior = lambda self, x: Independent(Normal(self.network(x), 1.0), 1)  # noqa: E731
        likelihood = lambda self, z: Independent(Normal(z @ self.network.weight, 1.0), 1)  # noqa: E731

        def given(self, c):
            return self

    own, x = Own(), torch.randn(20, 6)
    assert own.latent == 3
    assert nelbo.loss(own, x).nelbo.isfinite().all()
    labelled = Batch(x, c=torch.arange(20))  # a condition of one number for each example
    assert nelbo.measure.elbo_terms(own, labelled).elbo.value.isfinite().all()
    with pytest.raises(ValueError, match="c of a Batch must have an entry for each of 20 examples, got 1"):
        nelbo.loss(own, Batch(x, c=torch.zeros(1, 6)))


def test_encodings_are_not_kept_beyond_what_they_depend_on():
    encoder = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 6))
    encoder.register_buffer("shift", torch.zeros(()), persistent=False)
    vae = nelbo.VAE(encoder, nelbo.nn.MLP(3, 6), latent=3, likelihood=nelbo.likelihoods.Normal())
    data = nelbo.data.InMemory(torch.randn(40, 6))
    before = evaluate(vae, data).embedding
    assert fingerprint(vae.train()) == fingerprint(vae.eval())  # a mode changes nothing that is measured
    encoder[1] = nn.Tanh()
    after = evaluate(vae, data)
    assert not torch.equal(after.embedding, before)
    torch.testing.assert_close(after.embedding, vae.encode(after.x).detach())
    with pytest.raises(ValueError, match="Evaluation of another model"):
        nelbo.measure.elbo_terms(nelbo.recipes.vae((6,), latent=3, likelihood="normal"), after)


def test_a_sum_keeps_independent_draws_and_one_position_is_an_evaluation():
    x = X[:1].expand(10, -1)  # equal examples, which only their positions keep apart
    whole = evaluate(make_vae(), x).independent()
    assert len(whole.z.unique(dim=0)) == 10
    joined = whole[:4] + whole[4:]
    assert torch.equal(joined.z, whole.z)
    assert torch.equal(whole[2].z, whole.z[2:3])
    assert torch.equal(whole[-1].x, x[-1:])
    with pytest.raises(ValueError, match=r"only one of the two .* write a\.independent\(\) \+ b\.independent\(\)"):
        whole + evaluate(whole.model, x)
    with pytest.raises(IndexError):
        whole[10]
