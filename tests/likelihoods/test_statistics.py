"""Log p(x|z) by products is that of the distributions themselves."""

import pytest
import torch

from nelbo import likelihoods
from nelbo.likelihoods.statistics import linear, log_prob_without_gradient, softplus_sum
from tests.measure.models import binary


@pytest.mark.parametrize("features", [3, 64, 200])
def test_softplus_sums_at_any_size_of_logits(features):
    logits = torch.randn(50, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits *= torch.logspace(-3, 3, 50, dtype=torch.float64)[:, None]
    kept = logits.clone()
    exact = torch.logaddexp(logits, torch.zeros_like(logits)).sum(-1)
    torch.testing.assert_close(softplus_sum(logits), exact, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(softplus_sum(logits.float()), exact.float(), rtol=1e-6, atol=2e-5)
    assert torch.equal(logits, kept)


@pytest.mark.parametrize("likelihood", [likelihoods.Bernoulli(), likelihoods.Normal(0.3)])
@pytest.mark.parametrize("shape", [(100,), (1, 10, 10)])
def test_own_points_and_shared_points(likelihood, shape):
    x = binary(5, features=100).reshape(5, *shape).double()
    parameters = torch.randn(7, 5, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    px = likelihood(parameters, len(shape))
    torch.testing.assert_close(log_prob_without_gradient(px, x), px.log_prob(x))
    shared = likelihood(parameters[:, :1], len(shape))
    form = linear(shared, x)
    torch.testing.assert_close(form.rows @ form.coefficients.T + form.offset, shared.log_prob(x).T)
