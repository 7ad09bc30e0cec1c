"""What is imputed, against p(x_missing|x_observed) in closed form."""

import warnings

import pytest
import torch

import nelbo
from nelbo import likelihoods
from nelbo.evaluation import mode
from nelbo.measure import impute
from nelbo.nn import MLP, WithMask
from tests.linear_gaussian import LinearGaussian
from tests.missing.holes import exact_imputation, vae_of, with_holes
from tests.missing.test_observed import vae_for


@pytest.mark.parametrize("latent", [1, 3])
def test_the_mean_is_that_of_the_exact_conditional(latent):
    model = LinearGaussian.random(features=7, latent=latent)
    x = with_holes(model.sample(200))
    found = impute(vae_of(model, error=0.3), x)
    scores = []
    for i, row in enumerate(x):
        mean, _ = exact_imputation(model, row)
        missing = row.isnan()
        scores.append((found.value[i][missing] - mean) / found.standard_error[i][missing])
    t = torch.cat(scores)
    assert len(t) > 100
    assert float(t.abs().max()) < 4.5
    assert 0.7 < float(t.square().mean()) < 1.2  # the errors are as large as they say
    assert torch.equal(found.value[~x.isnan()], x[~x.isnan()])
    assert bool((found.standard_error[~x.isnan()] == 0).all())
    assert bool((found.ess[x.isnan().any(1)] > 100).all())
    assert not bool(found.flagged.any())


def test_multiple_imputations_cover_what_is_missing():
    """The truth is one more draw from p(x_missing|x_observed): of 39 intervals between the extremes, 38 hold it."""
    model = LinearGaussian.random(features=6, latent=2)
    x = model.sample(1000)
    holes = with_holes(x)
    draws = impute(vae_of(model, error=0.2), holes, draws=39).draws
    missing = holes.isnan()
    low, high = draws.amin(0)[missing], draws.amax(0)[missing]
    inside = (low < x[missing]) & (x[missing] < high)
    assert len(inside) > 1500
    assert 0.93 < float(inside.double().mean()) < 0.97
    # mean and covariance of the draws themselves, of one example
    row = next(row for row in holes if int(row.isnan().sum()) == 3)
    mean, covariance = exact_imputation(model, row)
    drawn = impute(vae_of(model, error=0.2), row[None], draws=1500, samples=4000).draws[:, 0, row.isnan()]
    error = (covariance.diagonal() / 1000).sqrt()  # the draws come from 4,000 weighted z, some of them twice
    assert bool(((drawn.mean(0) - mean).abs() < 4 * error).all())
    torch.testing.assert_close(drawn.T.cov(), covariance, rtol=0.2, atol=0.07)


def test_an_example_is_imputed_alike_whatever_stands_beside_it_and_however_much_is_computed_at_once(monkeypatch):
    model = LinearGaussian.random(features=6, latent=3)
    x = with_holes(model.sample(20))
    x[4] = 1.0  # complete
    x[7] = torch.nan  # not observed at all
    vae = vae_of(model, error=0.2)
    state = torch.get_rng_state()
    whole = impute(vae, x, draws=3)
    assert torch.equal(torch.get_rng_state(), state)
    some = impute(vae, x[[9, 4, 7]], draws=3)
    monkeypatch.setattr(mode, "BUDGET", 1 << 14)
    parts = impute(vae, x, draws=3)
    for name in ("value", "draws", "standard_error", "ess"):
        values, few, cut = (getattr(result, name) for result in (whole, some, parts))
        picked = values[:, [9, 4, 7]] if name == "draws" else values[[9, 4, 7]]
        torch.testing.assert_close(few, picked, rtol=1e-6, atol=1e-8, equal_nan=True)
        torch.testing.assert_close(cut, values, rtol=1e-6, atol=1e-8, equal_nan=True)
    assert bool(whole.ess[4].isnan())
    assert not bool(whole.value.isnan().any())
    other = impute(vae, x, draws=3, seed=1)
    assert not torch.equal(other.draws, whole.draws)


@pytest.mark.parametrize("name", ["bernoulli", "normal_decoded", "categorical", "poisson", "continuous_bernoulli"])
def test_what_is_imputed_lies_in_the_support(name):
    vae, x = vae_for(name)
    holes = with_holes(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = impute(vae.eval(), holes, draws=2, samples=200)
    family = vae.px_family
    assert family.accepts(found.draws.flatten(0, 1))
    assert found.value.dtype == found.draws.dtype == x.dtype
    assert torch.equal(found.value[~holes.isnan()], holes[~holes.isnan()])
    if name == "categorical":
        assert family.accepts(found.value)
    assert bool(found.standard_error.isfinite().all())


def test_categories_and_bits_are_drawn_with_their_probabilities():
    """A decoder that ignores z: each value is drawn with the probability that the decoder gives."""
    x = torch.full((1, 2), torch.nan)
    for family, outputs in ((likelihoods.Categorical(3), 6), (likelihoods.Bernoulli(), 2)):
        vae = nelbo.VAE(WithMask(MLP(4, 2, hidden=())), MLP(1, outputs, hidden=()), latent=1, likelihood=family)
        with torch.no_grad():
            for parameter in vae.decoder.parameters():
                parameter.zero_()
            vae.decoder.output_bias.copy_(torch.linspace(-1, 1, outputs))
        base = vae.likelihood(torch.zeros(1, 1)).base_dist
        drawn = impute(vae, x, draws=600, samples=100).draws[:, 0]
        probability = base.probs[0] if outputs == 6 else torch.stack([1 - base.probs[0], base.probs[0]], -1)
        for k in range(probability.shape[-1]):
            share = (drawn == k).double().mean(0)
            assert bool(((share - probability[:, k]).abs() < 4 * (0.25 / 600) ** 0.5).all())


def test_runs_and_models_impute():
    model = LinearGaussian.random(features=4, latent=2)
    x = with_holes(model.sample(8))
    vae = vae_of(model)
    found = vae.impute(x, draws=2)
    run = nelbo.Run(vae, [])
    assert torch.equal(run.impute(x, draws=2).draws, found.draws)
    assert "8 examples" in repr(found)
    complete = vae.impute(found.value)
    assert torch.equal(complete.value, found.value)
    assert bool(complete.ess.isnan().all())


def test_what_cannot_be_imputed_says_what_to_write():
    x = with_holes(torch.randn(4, 3))
    plain = nelbo.VAE(MLP(3, 4), MLP(2, 3), latent=2, likelihood=likelihoods.Normal())
    with pytest.raises(ValueError, match="WithMask"):
        plain.impute(x)
    points = nelbo.recipes.autoencoder((3,), likelihood="normal", takes_missing=True)
    with pytest.raises(ValueError, match="q\\(z\\|x\\) is a point"):
        points.impute(x)
    vae = nelbo.recipes.missing_vae((3,))
    with pytest.raises(ValueError, match="samples must be at least 100, got 5"):
        vae.impute(x, samples=5)
    with pytest.raises(ValueError, match="draws must be a positive integer or None, got 0"):
        vae.impute(x, draws=0)


def test_weights_that_are_not_to_be_relied_on_are_flagged():
    model = LinearGaussian.random(features=7, latent=3, sigma=0.01)
    x = with_holes(model.sample(4))
    vae = vae_of(model, error=3.0)
    vae.decoder = Detached(vae.decoder)  # nothing can be fitted to p(z|x): z comes from q(z|x) and the prior
    with pytest.warns(UserWarning, match="Pareto k is above"):
        found = impute(vae, x)
    assert bool(found.flagged.any())
    assert found.notes


class Detached(torch.nn.Module):
    """A decoder without a slope in z."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, z):
        return self.network(z).detach()
