"""Latent usage and the aggregate posterior, where q(z) is known."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from nelbo.estimate import Estimate
from nelbo.measure import LatentUsage, aggregate_match, latent_usage
from nelbo.measure.aggregate import LEVEL
from nelbo.posteriors import FullCovarianceNormal
from tests.cases import PAIRS, binary, make_vae
from tests.measure.simple import given, normals, points

KNOWN = ("mutual_information", "total_correlation", "dimension_wise_kl")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_the_parts_add_up(posterior, prior):
    usage = latent_usage(make_vae(posterior=posterior, prior=prior), binary(60))
    assert float(usage.mutual_information) + float(usage.aggregate_kl) == pytest.approx(float(usage.sampled_kl))
    if usage.dimension_wise_kl is not None:
        assert sum(float(getattr(usage, part)) for part in KNOWN) == pytest.approx(float(usage.sampled_kl))
    error = math.hypot(float(usage.sampled_kl.standard_error), float(usage.kl.standard_error))
    assert abs(float(usage.sampled_kl) - float(usage.kl)) < 5 * error
    assert float(usage.mutual_information) <= usage.log_examples
    assert usage.variance_of_means.value.shape == (3,)
    assert (usage.dimension_wise_kl is None) == (posterior == "flow" or prior != "standard_normal")
    assert (usage.total_correlation is None) == (posterior == "flow")
    if posterior == "flow":
        assert any("no closed form" in note for note in usage.notes)


def test_mutual_information_is_that_of_quadrature():
    """Five posteriors in one dimension, each of 600 examples: I = mean of KL(q_i || q)."""
    means, sigmas = np.array([-2.0, -0.5, 0.0, 1.0, 2.5]), np.array([0.3, 1.0, 0.5, 0.2, 0.7])

    def mixture(z):
        return stats.norm.pdf(z, means, sigmas).mean()

    def integrand(i):
        return lambda z: (
            stats.norm.pdf(z, means[i], sigmas[i]) * (stats.norm.logpdf(z, means[i], sigmas[i]) - math.log(mixture(z)))
        )

    exact = np.mean([integrate.quad(integrand(i), -8, 9, limit=200, points=[means[i]])[0] for i in range(5)])
    rest = integrate.quad(lambda z: mixture(z) * (math.log(mixture(z)) - stats.norm.logpdf(z)), -8, 9, limit=200)[0]
    x = normals(torch.tensor(means)[:, None], torch.tensor(sigmas)[:, None]).repeat(600, 1)
    usage = latent_usage(given(1), x)
    information, other = usage.mutual_information, usage.aggregate_kl
    assert abs(float(information) - exact) < 4 * float(information.standard_error)
    assert abs(float(other) - rest) < 4 * float(other.standard_error)
    assert abs(float(usage.total_correlation)) < 1e-9  # one unit has nobody to correlate with
    assert float(information.standard_error) < 0.02


def test_independent_units_have_no_total_correlation():
    side = torch.linspace(-2, 2, 20)
    means = torch.cartesian_prod(side, 0.5 * side)
    usage = latent_usage(given(2), normals(means, 0.3))
    assert abs(float(usage.total_correlation)) < 1e-9
    assert float(usage.mutual_information) > 1


def test_correlation_within_a_posterior():
    """All examples have one posterior, N(0, S): no mutual information, and TC = -log(1 - rho^2) / 2."""
    rho = 0.8
    x = torch.tensor([[0.0, 0.0, 0.0, 0.5 * math.log(1 - rho**2), rho]]).double().repeat(3000, 1)
    usage = latent_usage(given(2, FullCovarianceNormal), x, draws=3000)
    assert abs(float(usage.mutual_information)) < 1e-6
    exact = -0.5 * math.log(1 - rho**2)
    assert abs(float(usage.total_correlation) - exact) < 4 * float(usage.total_correlation.standard_error)
    assert any("dependent units" in note for note in usage.notes)
    # the marginals are standard normal, so that all of the KL is dependence
    assert usage.kl_per_unit.value.abs().max() < 1e-6
    assert float(usage.kl) == pytest.approx(exact)


def test_distant_posteriors_hit_the_cap():
    x = normals(100.0 * torch.arange(50.0)[:, None], 0.1)
    usage = latent_usage(given(1), x)
    assert float(usage.mutual_information) == pytest.approx(math.log(50))
    assert any("within 1 nat of log N = 3.91" in note for note in usage.notes)


def test_active_units():
    """Unit 1 moves with the data, unit 2 a little, unit 3 not at all."""
    means = torch.randn(4000, 3, generator=generator()) * torch.tensor([1.0, 0.07, 0.0])
    usage = latent_usage(given(3), normals(means, 0.5), draws=50)
    assert usage.active_units() == 1
    assert usage.sensitivity() == {0.001: 2, 0.003: 2, 0.01: 1, 0.03: 1, 0.1: 1}
    variance = usage.variance_of_means
    assert abs(variance.value[0] - 1.0) < 5 * variance.standard_error[0]
    assert variance.standard_error[0] == pytest.approx(math.sqrt(2 / 4000), rel=0.1)
    assert usage.kl_per_unit.value.sum() == pytest.approx(float(usage.kl))


def test_of_a_flow_the_noise_of_draws_is_taken_off():
    """The prior as posterior has means that do not vary; draws alone would give 1/32 > 0.01 = active."""
    vae = make_vae(posterior="flow")
    same = binary(1).repeat(300, 1)
    usage = latent_usage(vae, same)
    assert usage.active_units() == 0


def test_a_data_set_is_passed_through_in_batches(digits, runs):
    model = runs[0].model
    whole = latent_usage(model, digits.train.take(len(digits.train)))
    streamed = latent_usage(model, digits.train)
    assert float(streamed.kl) == pytest.approx(float(whole.kl), rel=1e-6)
    assert float(streamed.mutual_information) == pytest.approx(float(whole.mutual_information), rel=1e-5)


def test_points_have_infinite_information():
    model, codes = points(torch.randn(30, 2, generator=generator()))
    usage = latent_usage(model, codes)
    assert float(usage.kl) == math.inf
    assert usage.mutual_information is None
    assert usage.active_units() == 2
    assert any("a point" in note for note in usage.notes)


def test_the_caller_s_randomness_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    x = binary(40)
    first = latent_usage(make_vae(), x, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert float(first.mutual_information) == float(latent_usage(make_vae(), x, seed=1).mutual_information)


def test_usage_of_one_example():
    with pytest.raises(ValueError, match="needs 2 or more examples and draws, got 1 and None"):
        latent_usage(make_vae(), binary(1))


def test_where_q_is_the_prior_nothing_is_found():
    means = torch.randn(2000, 2, generator=generator()) * math.sqrt(1 - 0.3**2)
    found = aggregate_match(given(2), normals(means, 0.3))
    assert found.mmd.p_value > 0.02
    assert found.classifier.p_value > 0.02
    assert abs(float(found.holes) - LEVEL) < 4 * float(found.holes.standard_error)


@pytest.mark.parametrize("point", [False, True])
def test_holes_are_the_mass_outside_of_the_region(point):
    """q(z) = N(0, 1/4): 98 % of it lie within 2.326 / 2, where q / p is highest, and of the prior 24.5 % outside."""
    codes = 0.5 * torch.randn(3000, 1, generator=generator())
    if point:
        model, x = points(codes)
    else:
        codes = codes * math.sqrt(1 - 0.4**2)
        model, x = given(1), normals(codes, 0.2)
    found = aggregate_match(model, x)
    exact = 2 * stats.norm.sf(stats.norm.isf(LEVEL / 2) / 2)
    assert abs(float(found.holes) - exact) < 4 * float(found.holes.standard_error)
    assert float(found.classifier) > 0.6
    assert found.mmd.p_value < 0.01


def test_match_needs_examples():
    with pytest.raises(ValueError, match="needs 20 or more examples, got 3"):
        aggregate_match(make_vae(), binary(3))


def test_of_a_map_the_active_share_is_counted_by_channel():
    one = Estimate.exactly
    variance = torch.zeros(2, 4, 4)
    variance[1, :1] = 0.5
    usage = LatentUsage(one(0.0), None, one(variance.flatten()), *[None] * 5, 10, 0, shape=(2, 4, 4))
    assert usage.active_per_channel().tolist() == [0.0, 0.25]
