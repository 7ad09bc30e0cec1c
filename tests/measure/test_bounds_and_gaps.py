"""The bounds below log p(x), the two gaps, the true posterior and bidirectional Monte Carlo, against exact answers."""

import importlib
import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

import nelbo
from nelbo import figures
from nelbo.divergences import Delta
from nelbo.evaluation import mode
from nelbo.measure import (
    Interrupted,
    bdmc,
    importance_bounds,
    inference_gap,
    log_evidence,
    posterior_kl,
    true_posterior,
)
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import Foreign, autoencoder, binary, random_vae


@pytest.fixture(scope="module")
def narrow():
    """A posterior at an angle, which a diagonal q cannot follow."""
    return LinearGaussian.random(features=6, latent=2, sigma=0.7)


def test_elbo_importance_weighted_bounds_and_log_evidence_stand_in_order_on_every_example(narrow):
    vae, x = narrow.vae(error=0.1), narrow.sample(30)
    found = importance_bounds(vae, x, samples=(1, 10, 100))
    values = [found.elbo.value, found.bounds[10].value, found.bounds[100].value]
    assert all((low <= high).all() for low, high in pairwise(values))
    exact = narrow.evidence().log_prob(x)
    assert (values[-1] <= exact + 5 * found.bounds[100].standard_error).all()
    elbo = -narrow.exact_nelbo(vae, x).detach()
    assert ((found.elbo.value - elbo).abs() < 5 * found.elbo.standard_error).all()
    assert (found.log_evidence.value - exact).abs().max() < 1e-3


def test_the_bounds_of_an_autoencoder_are_minus_infinity_and_its_evidence_is_not():
    found = importance_bounds(autoencoder(), binary(3, features=6), samples=(1, 10))
    assert (found.bounds[10].value == -torch.inf).all()
    assert found.log_evidence.value.isfinite().all()
    with pytest.raises(ValueError, match="autoencoder"):
        figures.bounds(found)


def test_the_bounds_are_drawn_below_log_evidence(narrow, tmp_path):
    found = importance_bounds(narrow.vae(error=0.1), narrow.sample(30), samples=(1, 10))
    figure = figures.bounds(found)
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    below = [float((found.bounds[k].value - found.log_evidence.value).mean()) for k in (1, 10)]
    assert line.get_ydata() == pytest.approx(below)
    assert figures.save(figure, tmp_path / "bounds.png").stat().st_size > 10_000


@pytest.mark.parametrize("samples", [(), (0, 1), (10, 1), (1, 1), (1.5, 2)])
def test_bad_numbers_of_draws_are_named(samples):
    with pytest.raises(ValueError, match="rising order"):
        importance_bounds(random_vae(), binary(2), samples=samples)


def test_gaps_of_a_diagonal_posterior_are_those_of_the_closed_form(narrow):
    """The best diagonal normal has the exact mean and the exact precisions' diagonal."""
    vae, x = narrow.vae(full=False, error=0.2), narrow.sample(12)
    found = inference_gap(vae, x, steps=400)
    gain, offset, covariance = narrow.posterior()
    exact = MultivariateNormal(x @ gain.T + offset, covariance)
    best = Independent(Normal(exact.mean, torch.linalg.inv(covariance).diagonal() ** -0.5), 1)
    best = MultivariateNormal(best.mean, torch.diag_embed(best.variance))
    approximation = kl_divergence(best, exact)
    total = narrow.evidence().log_prob(x) - (-narrow.exact_nelbo(vae, x).detach())
    within = 5 * found.approximation.standard_error + 0.02  # Adam stops a little short of the optimum
    assert ((found.approximation.value - approximation).abs() < within).all()
    assert ((found.total.value - total).abs() < 5 * found.total.standard_error).all()
    torch.testing.assert_close(found.approximation.value + found.amortization.value, found.total.value)


@pytest.mark.parametrize("latent", [2, 3])
def test_an_exact_posterior_has_no_gap(latent):
    model = LinearGaussian.random(latent=latent)
    found = inference_gap(model.vae(), model.sample(5), steps=50)
    for part in (found.approximation, found.amortization, found.total):
        assert part.value.abs().max() < 1e-3


@pytest.mark.parametrize("posterior", ["diagonal_normal", "full_covariance_normal", "flow"])
def test_the_optimized_q_is_never_worse_than_the_encoder_s_on_any_example(posterior):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,), posterior=posterior).eval()
    found = inference_gap(vae, binary(8, features=6), steps=30, samples=100)
    assert (found.amortization.value >= 0).all()
    assert found.amortization.value.max() > 0
    assert (found.approximation.value > -4 * found.approximation.standard_error - 0.01).all()


def test_gaps_of_a_foreign_model_and_of_an_autoencoder():
    vae, x = random_vae(), binary(3)
    mine, foreign = (inference_gap(model, x, steps=20) for model in (vae, Foreign(vae)))
    torch.testing.assert_close(mine.amortization.value, foreign.amortization.value, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="is a point"):
        inference_gap(autoencoder(), binary(3, features=6))


@pytest.mark.parametrize("latent", [1, 2])
def test_the_true_posterior_of_a_linear_gaussian_model(latent):
    model = LinearGaussian.random(features=6, latent=latent, sigma=0.2)
    vae, x = model.vae(error=0.3), model.sample(10)
    found = true_posterior(vae, x)
    gain, offset, covariance = model.posterior()
    torch.testing.assert_close(found.mean, x @ gain.T + offset, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.covariance, covariance.expand(10, -1, -1), atol=0, rtol=0.02)
    exact = MultivariateNormal(x @ gain.T + offset, covariance)
    z = vae.prior.sample((4, 10))
    torch.testing.assert_close(found.log_prob(z), exact.log_prob(z), atol=2e-3, rtol=1e-6)
    axes = (found.grid[:, 1:2] - found.grid[:, :1])[..., 0].flatten(1)[:, 0]
    cell = axes if latent == 1 else axes * (found.grid[:, 0, 1, 1] - found.grid[:, 0, 0, 1])
    torch.testing.assert_close(
        found.log_density.flatten(1).exp().sum(1) * cell, torch.ones(10).double(), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("full", [True, False])
def test_log_evidence_is_elbo_plus_the_kl_to_the_true_posterior(latent, full):
    model = LinearGaussian.random(features=6, latent=latent, sigma=0.3)
    vae, x = model.vae(full=full, error=0.2), model.sample(10)
    kl = posterior_kl(vae, x)
    elbo = -model.exact_nelbo(vae, x).detach()
    assert (elbo + kl.value - model.evidence().log_prob(x)).abs().max() < 1e-3


def test_the_identity_on_a_decoder_without_closed_form():
    """The ELBO by Gauss-Hermite quadrature over q, the KL from the true posterior's grid, log p(x) from its own."""
    vae, x = random_vae(), binary(10)
    qz = vae.posterior(x).base_dist
    nodes, weights = (torch.from_numpy(part).float() for part in np.polynomial.hermite_e.hermegauss(40))
    grid = torch.cartesian_prod(nodes, nodes)
    share = torch.cartesian_prod(weights, weights).prod(-1) / (2 * math.pi)
    z = qz.loc + qz.scale * grid[:, None]
    with torch.no_grad():
        log_w = vae.likelihood(z).log_prob(x) + vae.prior.log_prob(z) - vae.posterior(x).log_prob(z)
    elbo = (share[:, None] * log_w).double().sum(0)
    off = nelbo.measure.log_evidence(vae, x).value - elbo - posterior_kl(vae, x).value
    assert off.abs().max() < 1e-3


def test_kl_from_points_flows_and_mismatched_batches(monkeypatch):
    vae, x = random_vae(), binary(3)
    found = true_posterior(vae, x)
    assert (found.kl_from(Delta(torch.zeros(3, 2))).value == torch.inf).all()
    with pytest.raises(ValueError, match="batch shape"):
        found.kl_from(vae.posterior(binary(4)))
    with pytest.raises(ValueError, match="one or two latent dimensions"):
        true_posterior(random_vae(latent=3), x)
    with pytest.raises(ValueError, match="is a point"):
        posterior_kl(autoencoder(), binary(3, features=6))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        flow = nelbo.posteriors.Flow(2, context=4, hidden=(8,))
        q = flow(torch.randn(3, flow.encoder_outputs))
    drawn = q.sample((4000,))
    terms = (q.log_prob(drawn) - found.log_prob(drawn)).double()
    calls, log_prob = [], type(q).log_prob
    monkeypatch.setattr(type(q), "log_prob", lambda q, z: calls.append(z.shape) or log_prob(q, z))
    kl = found.kl_from(q, tolerance=0.02)
    tiles = sum(shape[1] for shape in calls)
    assert len(calls) < tiles / 10, "the networks of q are run for many tiles at once"
    assert ((kl.value - terms.mean(0)).abs() < 5 * terms.std(0) / len(drawn) ** 0.5 + 0.02).all()


def test_bidirectional_bounds_hold_around_the_exact_value():
    model = LinearGaussian.random(features=6, latent=3, sigma=0.5)
    found = bdmc(model.vae(), 24, temperatures=25, chains=8)
    assert f"too low by at most {found.gap.text} on average" in found.notes[0]
    exact = model.evidence().log_prob(found.x)
    for low, high in ((found.lower.value, exact), (exact, found.upper.value)):
        off = high - low
        assert float(off.mean()) > -3 * float(off.std()) / 24**0.5
    assert 0 < float(found.gap) < 1.5
    short = bdmc(model.vae(), 10, temperatures=5, chains=4)
    assert float(short.gap) > 0.5
    assert "write temperatures=20" in short.notes[1]
    longer = bdmc(model.vae(), 24, temperatures=100, chains=8)
    assert float(longer.gap) < 0.5 * float(found.gap)
    assert ((found.acceptance > 0.4) & (found.acceptance < 0.95)).all()


@pytest.mark.parametrize(
    ("start", "worth"), [("posterior", "may all miss what it misses"), ("prior", "on average too low")]
)
def test_a_value_from_one_start_says_what_it_is_worth(start, worth):
    vae, x = random_vae(), binary(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = log_evidence(vae, x, method="annealed", temperatures=10, chains=4, start=start, progress=False)
        two = log_evidence(vae, x, method="annealed", temperatures=10, chains=4, progress=False)
    assert worth in one.why
    assert "All chains" not in two.why


def test_bidirectional_bounds_repeat_and_name_bad_input():
    vae = random_vae()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = (bdmc(vae, 3, temperatures=10, chains=4, start="posterior") for _ in range(2))
    assert torch.equal(first.upper.value, second.upper.value)
    assert torch.equal(first.x, second.x)
    with pytest.raises(ValueError, match="at least 2"):
        bdmc(vae, 1)
    with pytest.raises(ValueError, match='start="prior"'):
        bdmc(autoencoder(), 3, temperatures=10, chains=4, start="posterior")


class Stop:
    """Ctrl-C at one of its calls, as the signal raises it."""

    def __init__(self, function, calls):
        self.function, self.left = function, calls

    def __call__(self, *arguments, **options):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return self.function(*arguments, **options)


@pytest.mark.parametrize(
    ("measured", "module", "name"),
    [
        (lambda vae, x: importance_bounds(vae, x, samples=(1, 10)), "importance_bounds", "log_weights"),
        (lambda vae, x: inference_gap(vae, x, steps=5, samples=20), "inference_gap", "_best"),
    ],
    ids=["bounds", "gap"],
)
def test_ctrl_c_keeps_the_examples_that_were_done(monkeypatch, measured, module, name):
    module = importlib.import_module(f"nelbo.measure.{module}")
    monkeypatch.setattr(mode, "BUDGET", 8 * 16)  # one example at a time
    whole = measured(random_vae(), binary(3))
    monkeypatch.setattr(module, name, Stop(getattr(module, name), 2))
    with pytest.raises(Interrupted, match="interrupted after 1 of 3") as stopped:
        measured(random_vae(), binary(3))
    partial = stopped.value.partial
    assert type(partial) is type(whole)
    assert partial.elbo.value.isfinite().tolist() == [True, False, False]
    assert partial.elbo.value[0] == whole.elbo.value[0]
    assert partial.log_evidence.value.isnan().all()


@pytest.mark.parametrize(
    ("measured", "module"),
    [
        (lambda vae, x: importance_bounds(vae, x, samples=(1, 10)), "importance_bounds"),
        (lambda vae, x: inference_gap(vae, x, steps=5, samples=20), "inference_gap"),
    ],
    ids=["bounds", "gap"],
)
def test_ctrl_c_during_log_evidence_keeps_the_bounds_of_all_examples(monkeypatch, measured, module):
    module = importlib.import_module(f"nelbo.measure.{module}")
    known = log_evidence(random_vae(), binary(3))
    known.value[1:] = torch.nan

    def stopped(*arguments, **options):
        raise Interrupted("interrupted after 1 of 3 examples", known)

    monkeypatch.setattr(module, "log_evidence", stopped)
    with pytest.raises(Interrupted, match="log p\\(x\\) was interrupted after 1 of 3") as found:
        measured(random_vae(), binary(3))
    assert found.value.partial.elbo.value.isfinite().all()
    assert found.value.partial.log_evidence is known
