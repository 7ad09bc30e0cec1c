"""What float32 does to log p(x) stands in its error."""

import copy
import warnings

import pytest
import torch
from torch.distributions import MultivariateNormal

import nelbo
from nelbo.evaluation import evaluate, mode
from nelbo.measure import (
    Interrupted,
    bdmc,
    importance_bounds,
    inference_gap,
    log_evidence,
    posterior_kl,
    true_posterior,
)
from nelbo.measure.rounding import rounding
from nelbo.progress import ProgressBar
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import Foreign, binary, random_vae


def wide(latent=2, sigma=0.3):
    """A linear model of 560 features, in float64 and in float32, and data that both see alike."""
    model = LinearGaussian.random(features=560, latent=latent, sigma=sigma)
    x = model.sample(24).float()
    vae = model.vae()
    return vae, copy.deepcopy(vae).float(), x


@pytest.mark.parametrize(
    ("method", "latent", "settings"),
    [
        ("quadrature", 2, {}),
        ("mixture", 3, {"samples": 200}),
        ("importance", 3, {"samples": 200}),
        ("annealed", 3, {"temperatures": 4, "chains": 4}),
    ],
)
def test_float32_is_within_the_stated_error_of_float64(method, latent, settings):
    double, single, x = wide(latent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = log_evidence(double, x, method=method, progress=False, **settings)
        found = log_evidence(single, x, method=method, progress=False, **settings)
    off = (found.value - exact.value).abs()
    error = (found.standard_error.square() + exact.standard_error.square()).sqrt()
    assert (off < 5 * error).all()
    assert (off / error).square().mean() < 3


def test_quadrature_states_more_than_it_is_off_on_every_image():
    double, single, x = wide()
    exact, found = (log_evidence(model, x, progress=False) for model in (double, single))
    off = (found.value - exact.value).abs()
    assert (off < 3 * found.standard_error).all()
    assert found.standard_error.max() < 2e-3
    assert exact.standard_error.max() < found.standard_error.max()


def test_bounds_hold_the_rounding_too():
    double, single, x = wide(3)
    exact, found = (
        importance_bounds(model, x, samples=(1, 10), evidence=log_evidence(model, x, samples=400), progress=False)
        for model in (double, single)
    )
    for k in (1, 10):
        off = (found.bounds[k].value - exact.bounds[k].value).abs()
        assert (off < 5 * found.bounds[k].standard_error + 1e-9).all()


def test_rounding_is_nothing_in_float64_and_something_where_a_copy_cannot_be_made():
    vae, x = random_vae(), binary(6)
    value = log_evidence(vae, x, progress=False).value
    known = rounding(evaluate(vae, x), value)
    assert (known > 0).all()
    assert (known < 1e-4).all()
    assert (rounding(evaluate(Foreign(vae), x), value) > 0).all()
    double = random_vae().double()
    assert (rounding(evaluate(double, x), value) == 0).all()


def test_what_is_not_computed_in_float64_is_not_taken_for_it():
    """Of functions that run the original a copy has the same, and where they cast, float32 passes for float64."""
    vae, x = random_vae(), binary(6)

    def encode(x):
        return vae.encoder(x.float()).chunk(2, 1)

    def decode(z):
        return vae.decoder(z.float()).double()

    given = {"scale": "logvar", "likelihood": nelbo.likelihoods.Bernoulli(), "x": x}
    assert evaluate(nelbo.wrap(encode=encode, decode=decode, output="logits", **given), x).rounding is None
    assert evaluate(vae, x).rounding is not None


def exact_in_float32(latent, sigma, features=560, error=0.0):
    """A linear model whose numbers float32 holds: the model, a VAE in float32, data, and log p(x) in closed form."""
    model = LinearGaussian.random(features=features, latent=latent, sigma=sigma)
    model.weight, model.bias = model.weight.float().double(), model.bias.float().double()
    x = model.sample(8).float()
    return model, model.vae(error=error).float(), x, model.evidence().log_prob(x.double())


def test_the_true_posterior_states_what_it_is_off():
    _, vae, x, exact = exact_in_float32(1, 1.0)
    found = true_posterior(vae, x).log_evidence
    off = (found.value - exact).abs()
    assert (off > 5 * found.change).any()  # the grid alone does not tell
    assert (off < 5 * found.standard_error).all()
    assert found.standard_error.max() < 1e-3


def test_the_kl_to_the_true_posterior_states_what_it_is_off():
    model, vae, x, exact = exact_in_float32(1, 0.0625, error=1e-3)
    q = vae.posterior(x)
    q = MultivariateNormal(q.mean.double(), scale_tril=q.scale_tril.double())
    found = posterior_kl(vae, x)
    off = found.value - exact - model.exact_nelbo_of(q, x.double())
    assert (off.abs() < 5 * found.standard_error).all()
    rounded = rounding(evaluate(vae, x), exact)
    assert (found.standard_error >= rounded).all()


def test_the_gaps_state_what_they_are_off():
    _, vae, x, exact = exact_in_float32(3, 0.0625)  # whose q(z|x) is p(z|x): all gaps are 0
    gap = inference_gap(vae, x, steps=1, samples=20, progress=False)
    wanted = {"elbo": exact, "optimized_elbo": exact, "log_evidence": exact, "total": 0, "approximation": 0}
    for name, truth in wanted.items():
        found = getattr(gap, name)
        assert ((found.value - truth).abs() < 5 * found.standard_error).all(), name
        assert found.standard_error.max() < 2e-3, name


def test_bidirectional_bounds_state_what_they_are_off():
    model, vae, _, _ = exact_in_float32(3, 0.0625)  # whose q(z|x) is p(z|x): all weights are p(x)
    found = bdmc(vae, 8, temperatures=2, chains=4, start="posterior", progress=False)
    exact = model.evidence().log_prob(found.x.double())
    for bound in (found.lower, found.upper):
        assert ((bound.value - exact).abs() < 5 * bound.standard_error).all()
        assert bound.standard_error.max() < 1e-2


@pytest.mark.parametrize(
    "measured",
    [
        lambda vae, x: log_evidence(vae, x, method="importance", samples=50, progress=False),
        lambda vae, x: importance_bounds(vae, x, samples=(1, 5), progress=False).elbo,
        lambda vae, x: inference_gap(vae, x, steps=1, samples=20, progress=False).elbo,
    ],
    ids=["evidence", "bounds", "gap"],
)
def test_what_ctrl_c_leaves_holds_the_rounding(measured, monkeypatch):
    _, vae, x, _ = exact_in_float32(3, 0.0625)

    def stop(self, amount):
        raise KeyboardInterrupt

    monkeypatch.setattr(mode, "BUDGET", 560)  # one example at a time
    monkeypatch.setattr(ProgressBar, "advance", stop)
    with pytest.raises(Interrupted) as stopped:
        measured(vae, x)
    partial = stopped.value.partial
    partial = getattr(partial, "elbo", partial)
    assert partial.standard_error.isnan().tolist() == [False] + 7 * [True]
    assert partial.standard_error[0] >= rounding(evaluate(vae, x[:1]), partial.value[:1])[0] > 0


def test_a_million_draws_leave_the_rounding():
    _, vae, x, exact = exact_in_float32(1, 0.0625, features=40, error=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = log_evidence(vae, x[:1], method="importance", samples=1_000_000, progress=False)
    off = (found.value - exact[:1]).abs()
    assert found.samples == 1_000_000
    assert off < 4 * found.standard_error < 1e-3


def test_what_float64_adds_is_computed_once(monkeypatch):
    vae, x = random_vae(), binary(6)
    made, copied = [], copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda *of: made.append(of[0]) or copied(*of))
    importance_bounds(vae, x, samples=(1, 5), progress=False)
    assert sum(of is vae for of in made) == 1
    assert torch.equal(rounding(evaluate(vae, x), torch.full((6,), torch.nan)).isnan(), torch.ones(6).bool())
