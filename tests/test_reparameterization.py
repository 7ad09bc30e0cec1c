import pytest
import torch
from torch import nn

import nelbo
from nelbo import reparameterization
from tests.cases import binary, make_vae


def linear_gaussian():
    """x = z + noise with sigma 1: f(z) = -(x - z)^2 / 2 + c, every gradient known."""
    encoder = nn.Linear(2, 4)
    vae = nelbo.VAE(encoder, nn.Identity(), latent=2, likelihood=nelbo.likelihoods.Normal(1.0))
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.copy_(torch.tensor([0.5, -1.0, 0.0, -1.0]))
    return vae


def test_means_equal_the_exact_gradients_and_variances_the_exact_variances():
    x = torch.tensor([[1.0, 2.0]])
    result = reparameterization.compare(linear_gaussian(), x, samples=20_000)
    mu, sigma = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.0, -0.5]]).exp()
    # E[f] = -((x - mu)^2 + sigma^2) / 2
    for estimate, exact in (
        (result.pathwise_mu, x - mu),
        (result.score_mu, x - mu),
        (result.pathwise_sigma, -sigma),
        (result.score_sigma, -sigma),
    ):
        assert ((estimate.mean - exact).abs() < 5 * estimate.standard_error).all()
    # d/dmu f = x - z has variance sigma^2
    torch.testing.assert_close(result.pathwise_mu.variance, sigma**2, rtol=0.05, atol=0)


def test_both_estimators_agree_and_the_pathwise_varies_less():
    result = reparameterization.compare(make_vae(), binary(4), samples=20_000)
    assert result.largest_disagreement < 5
    assert result.variance_ratio_mu > 1
    assert result.variance_ratio_sigma > 1
    assert "times the variance of the pathwise one for mu" in str(result)


def test_an_unknown_baseline_is_refused():
    vae = make_vae()
    with pytest.raises(ValueError, match="baseline must be one of 'mean', 'none'; got 'median'"):
        reparameterization.compare(vae, binary(2), samples=2, baseline="median")


def test_a_baseline_lowers_the_variance_of_the_score_function_and_keeps_its_mean():
    vae, x = make_vae(), binary(4)
    plain = reparameterization.compare(vae, x, samples=20_000, baseline="none").score_mu
    better = reparameterization.compare(vae, x, samples=20_000).score_mu
    assert better.variance.mean() < plain.variance.mean()
    assert ((plain.mean - better.mean).abs() < 5 * (plain.standard_error + better.standard_error)).all()


def test_repeats_and_leaves_the_random_state_alone():
    vae, x = make_vae(), binary(4)
    before = torch.get_rng_state()
    first, again = (reparameterization.compare(vae, x, samples=10) for _ in range(2))
    assert torch.equal(first.score_mu.mean, again.score_mu.mean)
    assert torch.equal(before, torch.get_rng_state())


def test_refuses_what_it_cannot_measure():
    with pytest.raises(ValueError, match="samples must be at least 2, for a variance; got 1"):
        reparameterization.compare(make_vae(), binary(4), samples=1)
    with pytest.raises(ValueError, match=r"posteriors\.DiagonalNormal.*got ConditionalFlow"):
        reparameterization.compare(make_vae(posterior="flow"), binary(4))
