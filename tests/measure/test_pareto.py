"""The tail of importance weights against draws whose tail is known."""

import math

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from scipy import stats

from nelbo.measure import log_evidence
from nelbo.measure.importance import Weights, pareto_k, tail_length, threshold
from tests.measure.models import binary, random_vae


@pytest.mark.parametrize("k", [-0.3, 0.0, 0.3, 0.7, 1.2])
def test_the_shape_of_generalized_pareto_draws_is_found(k):
    """Within five asymptotic standard errors (1 + k) / sqrt(tail), after the pull of the prior towards 1/2."""
    draws, tail = 200, 1000
    excess = stats.genpareto(k).rvs((tail, draws), random_state=0)
    log_w = torch.from_numpy(excess + 1.0).log()
    largest = torch.cat([torch.zeros(1, draws, dtype=torch.float64), log_w])
    found = pareto_k(largest)
    expected = (tail * k + 5) / (tail + 10)
    assert float(found.mean()) == pytest.approx(expected, abs=5 * (1 + abs(k)) / math.sqrt(tail * draws) + 0.01)
    assert float(found.std()) < 2 * (1 + abs(k)) / math.sqrt(tail)


def test_weights_of_a_student_t_target_under_a_normal_proposal_have_a_heavy_tail_and_the_converse_is_harmless():
    generator = torch.Generator().manual_seed(0)
    n = 20_000
    z = torch.randn(n, 20, generator=generator, dtype=torch.float64)
    t, normal = torch.distributions.StudentT(3.0), torch.distributions.Normal(0.0, 1.0)
    heavy = Weights(20, n)
    heavy.add(t.log_prob(z) - normal.log_prob(z))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        z = t.sample((n, 20)).double()
    light = Weights(20, n)
    light.add(normal.log_prob(z) - t.log_prob(z))
    assert float(pareto_k(heavy.tail).median()) > 0.6
    assert float(pareto_k(light.tail).max()) < 0.5


def fitted_by_arviz(log_w):
    """Of the largest weights and the threshold below them, (tail + 1,)."""
    weights = np.sort(np.exp(log_w - log_w.max()))
    return array_stats._gpdfit(weights[1:] - weights[0])[0]


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0, 10.0])
def test_the_shape_is_that_of_arviz(scale):
    log_w = scale * torch.randn(101, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = [fitted_by_arviz(column.numpy()) for column in log_w.T]
    np.testing.assert_allclose(pareto_k(log_w), expected, rtol=1e-9)


@pytest.mark.parametrize("zero", [False, True])
def test_a_tail_that_is_tied_at_its_lower_end_has_no_shape(zero):
    """With a quarter of 40 weights tied the quartile of the excess is 0, and the fit divides by it."""
    log_w = torch.linspace(0.5, 3.0, 41, dtype=torch.float64)[:, None].repeat(1, 3)
    log_w[:12, 0] = -torch.inf if zero else 0.5
    log_w[:6, 1] = 0.5
    k = pareto_k(log_w)
    assert k.isnan().tolist() == [True, False, False]
    assert k[1:].abs().max() < 3


def test_a_weight_beyond_all_others_has_a_tail_that_is_too_heavy():
    log_w = torch.linspace(0.0, 1.0, 41, dtype=torch.float64)[:, None]
    log_w[-1] = 900.0
    assert pareto_k(log_w).tolist() == [torch.inf]


def test_a_tied_tail_is_named():
    """q(z|x) is the prior, and p(x|z) takes two values: the weights do too."""
    vae = random_vae(latent=3)
    vae.decoder, vae.encoder = Steps(), Zeros()
    with pytest.warns(UserWarning, match="for 2 of 2 examples the tail of the importance weights is tied"):
        evidence = log_evidence(vae, binary(2), method="importance", samples=100)
    assert evidence.pareto_k.isnan().all()


class Zeros(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 6)


class Steps(torch.nn.Module):
    def forward(self, z):
        return (z[:, :1] > 1.6).float() * torch.linspace(-1, 1, 16)


def test_equal_weights_and_short_tails():
    assert pareto_k(torch.full((50, 3), -7.0)).tolist() == [0.0, 0.0, 0.0]
    assert pareto_k(torch.randn(5, 3)).isnan().all()
    assert (tail_length(100), tail_length(10_000)) == (20, 300)
    assert threshold(100) == pytest.approx(0.5)
    assert threshold(10**6) == 0.7


def test_streamed_sums_are_those_of_all_weights_at_once():
    generator = torch.Generator().manual_seed(0)
    log_w = 300 * torch.randn(1000, 7, generator=generator, dtype=torch.float64) - 1000
    log_w[:, 0] = -torch.inf
    log_w[:500, 1] = -torch.inf
    streamed, whole = Weights(7, 1000), Weights(7, 1000)
    whole.add(log_w)
    for part in log_w.split(130):
        streamed.add(part)
    for name in ("log_mean", "standard_error", "ess"):
        torch.testing.assert_close(getattr(streamed, name), getattr(whole, name), rtol=1e-10, atol=0)
    torch.testing.assert_close(pareto_k(streamed.tail)[1:], pareto_k(whole.tail)[1:])
    torch.testing.assert_close(whole.log_mean, torch.logsumexp(log_w, 0) - math.log(1000))
    w = log_w[:, 2:].sub(log_w[:, 2:].amax(0)).exp()
    torch.testing.assert_close(whole.ess[2:], w.sum(0) ** 2 / w.square().sum(0))
    torch.testing.assert_close(whole.standard_error[2:], w.std(0) / w.mean(0) / math.sqrt(1000))
