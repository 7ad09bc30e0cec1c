"""Scores of examples against a model whose log p(x) is known, and their bits."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import nelbo
from nelbo.measure import score_samples, threshold
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import autoencoder, random_vae

pytestmark = pytest.mark.filterwarnings(r"ignore:for [\d,]+ of [\d,]+ examples log p\(x\)")


@pytest.fixture(scope="module")
def exact():
    return LinearGaussian.random(features=5, latent=2)


def test_log_px_is_within_its_error_and_all_parts_add_up_to_it(exact):
    x = exact.sample(60)
    scores = score_samples(exact.vae(error=0.05), x, contributions=True)
    true = exact.evidence().log_prob(x)
    assert ((scores.value - true).abs() < 5 * scores.standard_error).all()
    assert scores.method == "importance"
    assert (scores.ess > 100).all()
    assert (scores.pareto_k < 0.7).all()
    total = scores.contributions.sum(1)
    assert torch.allclose(total, scores.reconstruction_error.value, atol=1e-9)
    assert torch.allclose(total + scores.kl.value - scores.gap, -scores.value, atol=1e-9)


def test_the_elbo_is_named_a_bound(exact):
    x, vae = exact.sample(40), exact.vae(full=False)
    scores = score_samples(vae, x, method="elbo", samples=64)
    assert "lower bound" in scores.method
    assert ((scores.value + exact.exact_nelbo(vae, x)).abs() < 5 * scores.standard_error).all()
    assert torch.allclose(scores.gap, torch.zeros(40, dtype=torch.float64), atol=1e-9)
    assert scores.ess.isnan().all()


@pytest.mark.parametrize(("method", "samples"), [("elbo", None), ("importance", None), ("mixture", 100)])
def test_a_row_scores_the_same_bits_whatever_stands_beside_it(method, samples):
    vae, x = random_vae(latent=3, likelihood=nelbo.likelihoods.Normal(0.5)), torch.randn(40, 16)
    options = {"method": method, "samples": samples}
    whole = score_samples(vae, x, contributions=True, **options)
    order = torch.randperm(40)
    turned = score_samples(vae, x[order], contributions=True, **options)
    alone = score_samples(vae, x[7:8], **options)
    few = score_samples(vae, x[3:30], **options)
    assert torch.equal(turned.value, whole.value[order])
    assert torch.equal(turned.contributions, whole.contributions[order])
    assert torch.equal(alone.value, whole.value[7:8])
    assert torch.equal(few.value, whole.value[3:30])
    assert torch.equal(few.reconstruction_error.value, whole.reconstruction_error.value[3:30])


def test_a_dataset_scores_as_its_rows(exact):
    x = exact.sample(50).float()
    run = nelbo.fit(nelbo.recipes.linear_vae((5,)), x, epochs=1, progress=False)
    some = run.data.validation
    assert torch.equal(
        score_samples(run, some, method="elbo").value, score_samples(run, some.take(5), method="elbo").value
    )


def test_missing_values_contribute_nothing():
    vae, x = nelbo.recipes.missing_vae((3,), hidden=(8,)), torch.tensor([[0.5, torch.nan, 1.0]])
    scores = score_samples(vae, x, method="elbo", contributions=True)
    assert scores.contributions[0, 1] == 0
    assert torch.allclose(scores.contributions.sum(1), scores.reconstruction_error.value, atol=1e-5)


def test_an_autoencoder_has_a_log_px_but_no_elbo():
    x = torch.bernoulli(torch.full((2, 6), 0.5))
    assert score_samples(autoencoder(), x).method == "quadrature"
    with pytest.raises(ValueError, match="q\\(z\\|x\\) is a point here"):
        score_samples(autoencoder(), x, method="elbo")


class _Mixed(nelbo.likelihoods.Likelihood):
    """Two normals of all features together."""

    support = "real numbers"

    def forward(self, parameters, event_dims):
        means = torch.stack([parameters, parameters + 1], -event_dims - 1)
        weights = Categorical(logits=torch.zeros(means.shape[:-event_dims]))
        return MixtureSameFamily(weights, Independent(Normal(means, 1.0), event_dims))

    def accepts(self, x):
        return True


def test_features_that_depend_on_one_another_have_no_contributions():
    vae = nelbo.recipes.vae((3,), likelihood=_Mixed(), hidden=(4,))
    with pytest.raises(ValueError, match="write contributions=False"):
        score_samples(vae, torch.zeros(2, 3), method="elbo", contributions=True)


def test_bad_arguments_are_named(exact):
    with pytest.raises(ValueError, match="method"):
        score_samples(exact.vae(), exact.sample(2), method="elb")
    for share in (0.0, 0.6, -1):
        with pytest.raises(ValueError, match=r"contamination must be a share above 0 and at most 0\.5"):
            threshold(torch.randn(100), share)
    with pytest.raises(ValueError, match=r"give at least 100 examples, or write contamination=0\.1"):
        threshold(torch.randn(10), 0.01)


def test_a_threshold_is_the_quantile_and_its_error_that_of_repeated_samples():
    values = torch.randn(400, 1000, generator=torch.Generator().manual_seed(0))
    found = [threshold(row, 0.05) for row in values]
    assert float(found[0]) == pytest.approx(np.quantile(values[0].double().numpy(), 0.05), abs=1e-12)
    spread = np.std([float(one) for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.1)
    assert abs(np.mean([float(one) for one in found]) + 1.6449) < 0.02
