"""The numbers of an example depend on the model, the example and the seed; on nothing else."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from nelbo import likelihoods, measure, recipes
from nelbo.data import Batch, InMemory
from nelbo.evaluation import evaluate, mode
from nelbo.measure import annealing
from nelbo.training import fit
from nelbo.vae import Model
from tests.cases import each
from tests.measure.models import Foreign, binary, random_vae

PLANE, SPACE = random_vae().double(), random_vae(latent=3).double()


def importance_bounds(model, x, **options):
    bounds = measure.importance_bounds(model, x, samples=(1, 5), progress=False, **options)
    return torch.stack([bounds.elbo.value, bounds.bounds[5].value, bounds.bounds[5].standard_error])


def inference_gap(model, x, **options):
    gap = measure.inference_gap(model, x, steps=5, samples=20, progress=False, **options)
    return torch.stack([gap.total.value, gap.amortization.value, gap.approximation.standard_error])


def elbo_terms(model, x, **options):
    terms = measure.elbo_terms(model, x, samples=3, **options)
    return torch.stack([terms.elbo.value, terms.kl.value, terms.elbo.standard_error])


def log_evidence(method, **settings):
    def value(model, x, **options):
        evidence = measure.log_evidence(model, x, method=method, progress=False, **settings, **options)
        return torch.stack([evidence.value, evidence.standard_error])

    return value


def true_posterior(model, x, seed=0):
    posterior = measure.true_posterior(model, x)
    return torch.cat([posterior.mean.T, posterior.covariance.flatten(1).T, posterior.log_density.flatten(1).T])


FUNCTIONS = {
    "quadrature": (PLANE, log_evidence("quadrature")),
    "importance": (SPACE, log_evidence("importance", samples=40)),
    "mixture": (SPACE, log_evidence("mixture", samples=60)),
    "mixture_target": (SPACE, log_evidence("mixture", target_standard_error=0.05)),
    "target": (SPACE, log_evidence("importance", target_standard_error=0.3)),
    "annealed": (SPACE, log_evidence("annealed", temperatures=3, chains=2)),
    "annealed_from_prior": (SPACE, log_evidence("annealed", temperatures=3, chains=2, start="prior")),
    "importance_bounds": (SPACE, importance_bounds),
    "inference_gap": (SPACE, inference_gap),
    "elbo_terms": (SPACE, elbo_terms),
    "from_embeddings": (SPACE, lambda model, x, seed=0: measure.from_embeddings(model, x, X).error.value[None]),
    "true_posterior": (PLANE, true_posterior),
    "posterior_kl": (PLANE, lambda model, x, seed=0: measure.posterior_kl(model, x).value[None]),
}
DRAWN = (
    "importance",
    "mixture",
    "target",
    "annealed",
    "annealed_from_prior",
    "importance_bounds",
    "inference_gap",
    "elbo_terms",
)
X = binary(7).double()
X[5] = X[2]


@pytest.fixture
def coarse(monkeypatch):
    """Annealing looks for its step sizes in a fourth of the moves: what is compared here does not depend on them."""
    monkeypatch.setattr(annealing, "_TUNING_LEAST", 1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("name", **each(FUNCTIONS))
def test_position_neighbours_chunks_and_number_change_nothing(name, monkeypatch):
    model, scores = FUNCTIONS[name]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    whole = scores(model, X)
    assert torch.equal(before, torch.get_rng_state())

    def same(other, expected):
        torch.testing.assert_close(other, expected, rtol=1e-5, atol=1e-5)

    same(whole[:, 5], whole[:, 2])
    order = torch.tensor([6, 2, 0, 3])
    same(scores(model, X[order]), whole[:, order])
    same(scores(model, X[3:4]), whole[:, 3:4])
    monkeypatch.setattr(mode, "BUDGET", 200)  # one to four examples at a time
    same(scores(model, X), whole)
    if name in DRAWN:
        assert not torch.equal(scores(model, X[:2], seed=1), whole[:, :2])


@pytest.mark.parametrize("far", [30.0, 1e4])
def test_an_encoder_that_is_far_off_on_one_example_changes_no_other(far):
    class Off(Foreign):
        def posterior(self, x):
            q = super().posterior(x)
            return Independent(Normal(q.mean + far * (x == X[6]).all(1, keepdim=True), 1.0), 1)

    expected = measure.log_evidence(Off(PLANE), X[:6], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evidence = measure.log_evidence(Off(PLANE), X, progress=False)
    torch.testing.assert_close(evidence.value[:6], expected.value, rtol=0, atol=1e-9)
    exact = measure.log_evidence(PLANE, X[6:], progress=False).value
    torch.testing.assert_close(evidence.value[6:], exact, rtol=0, atol=2e-3)


# --- what the functions are given -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("name", **each(FUNCTIONS))
def test_runs_arrays_batches_evaluations_and_foreign_objects(name):
    model, scores = FUNCTIONS[name]
    x = X[:3]
    expected = scores(model, x)
    for other in (x.numpy(), Batch(x), evaluate(model, x)):
        torch.testing.assert_close(scores(model, other), expected)
    torch.testing.assert_close(scores(Foreign(model), x), expected)


def test_a_run_and_its_data(digits, runs):
    few = digits.validation.take(20).numpy()
    for measured in (
        lambda model: measure.elbo_terms(model, few).elbo.value,
        lambda model: measure.log_evidence(model, few, progress=False).value,
        lambda model: measure.latent_usage(model, few).sampled_kl.value,
    ):
        assert torch.equal(measured(runs[0]), measured(runs[0].model))
    assert len(measure.elbo_terms(runs[0], digits.validation).elbo.value) == len(digits.validation)


WRONG = {
    "one_example": (torch.zeros(16), ValueError, r"x\[None\]"),
    "one_array": (np.zeros(16), ValueError, r"x\[None\]"),
    "width": (torch.zeros(3, 9), ValueError, r"built for inputs of shape \(batch, 16\), got \(3, 9\)"),
    "list": ([[0.0]], TypeError, "x must be a tensor or array"),
    "support": (np.full((3, 16), 0.5), ValueError, "Bernoulli needs"),
}


@pytest.mark.parametrize("name", **each(FUNCTIONS))
@pytest.mark.parametrize("wrong", **each(WRONG))
def test_every_function_says_what_to_write(name, wrong):
    model, scores = FUNCTIONS[name]
    x, kind, message = WRONG[wrong]
    with pytest.raises(kind, match=message):
        scores(model, x)
    with pytest.raises(TypeError, match=r"model must be a nelbo.VAE, a run, or have prior"):
        scores(nn.Linear(2, 2), X)


def test_a_decoder_of_another_width_and_a_prior_over_numbers():
    vae = random_vae()
    vae.decoder = nn.Linear(2, 9)
    with pytest.raises(ValueError, match=r"p\(x\|z\) over examples of shape \(9,\)"):
        measure.log_evidence(vae, binary(3))

    class Numbers(Foreign):
        @property
        def prior(self):
            return Normal(torch.zeros(2), torch.ones(2))

    with pytest.raises(ValueError, match=r"distributions.Independent\(prior, 1\)"):
        measure.log_evidence(Numbers(random_vae()), binary(3))


# --- conditions -------------------------------------------------------------------------------------------------------


class Shifted(Model):
    """z ~ N(c, I), x | z ~ N(W z + c, sigma^2 I): log p(x|c) = log N(x; W c + c, W W' + sigma^2 I)."""

    def __init__(self, latent=2, c=None, sigma=0.5):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.latent, self.c, self.sigma = latent, c, sigma
        self.weight = nn.Parameter(torch.randn(5, latent, generator=generator, dtype=torch.float64))
        self.px_family = likelihoods.Normal(sigma)

    def given(self, c):
        return Shifted(self.latent, c, self.sigma)

    @property
    def prior(self):
        loc = torch.zeros(self.latent).double() if self.c is None else self.c.expand(-1, self.latent)
        return Independent(Normal(loc, torch.ones_like(loc)), 1)

    def posterior(self, x):
        covariance = torch.linalg.inv(torch.eye(self.latent) + self.weight.T @ self.weight / self.sigma**2)
        mean = self.c + (x - self.c - self.c @ self.weight.sum(1)[None]) @ self.weight @ covariance / self.sigma**2
        return MultivariateNormal(mean + 0.1, 1.2 * covariance.expand(len(x), -1, -1))

    def likelihood(self, z):
        return self.px_family(z @ self.weight.T + self.c, 1)

    def exact(self, x, c):
        covariance = self.weight @ self.weight.T + self.sigma**2 * torch.eye(5)
        return MultivariateNormal(c.expand(-1, self.latent) @ self.weight.T + c, covariance).log_prob(x)


C = torch.tensor([-3.0, 1.5, 0.0, 1.5, 40.0]).double()[:, None]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("latent", "options"),
    [
        (2, {"method": "quadrature"}),
        (2, {"method": "importance", "samples": 2000}),
        (3, {"method": "importance", "samples": 2000}),
        (3, {"method": "annealed", "temperatures": 20}),
        (3, {"method": "annealed", "temperatures": 20, "start": "prior"}),
    ],
)
def test_log_evidence_of_each_example_at_its_condition(latent, options, monkeypatch):
    model = Shifted(latent)
    with torch.no_grad(), torch.random.fork_rng([]):
        torch.manual_seed(0)
        x = model.given(C).likelihood(model.given(C).prior.sample()).sample()
        exact = model.exact(x, C)
    monkeypatch.setattr(mode, "BUDGET", 2 * 5 * 2000)  # two examples at a time, for importance sampling
    evidence = measure.log_evidence(model, Batch(x, c=C), progress=False, **options)
    assert ((evidence.value - exact).abs() < 5 * evidence.standard_error + 1e-3).all()
    swapped = measure.log_evidence(model, Batch(x, c=C.roll(1, 0)), progress=False, **options)
    assert not torch.allclose(swapped.value, exact, atol=1.0)
    terms = measure.elbo_terms(model, Batch(x, c=C), samples=200)
    assert (terms.elbo.value < exact + 5 * terms.elbo.standard_error).all()
    gap = exact - terms.elbo.value
    torch.testing.assert_close(gap, gap[:1].expand(5), atol=float(8 * terms.elbo.standard_error.max()), rtol=0)


def test_the_posterior_at_a_condition():
    model = Shifted()
    x = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        q = model.given(C).posterior(x)
    posterior = measure.true_posterior(model, Batch(x, c=C))
    torch.testing.assert_close(posterior.mean, q.mean - 0.1, atol=2e-3, rtol=1e-5)
    kl = measure.posterior_kl(model, Batch(x, c=C)).value
    exact = torch.distributions.kl_divergence(q, MultivariateNormal(q.mean - 0.1, q.covariance_matrix / 1.2))
    torch.testing.assert_close(kl, exact, atol=2e-3, rtol=0)


def test_all_examples_of_a_flow_are_used(digits):
    run = fit(recipes.vae(digits.event_shape, hidden=(8,), posterior="flow"), digits, epochs=1, progress=False)
    many = InMemory(digits.train.take(torch.arange(240).repeat(5)))
    assert measure.latent_usage(run, many, draws=50).examples == 1200
