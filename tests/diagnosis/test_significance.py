"""Each test statistic under the null: no more false alarms than stated; and against scipy and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from nelbo.diagnosis import significance
from nelbo.diagnosis.significance import ALPHA
from nelbo.estimate import Estimate


def generator(seed):
    return torch.Generator().manual_seed(seed)


def allowed(repetitions, rate):
    """The count of alarms that a test with this rate exceeds once in ten thousand suites."""
    return int(stats.binom.isf(1e-4, repetitions, rate))


def alarms(one, repetitions=1000):
    return sum(one(generator(seed)) for seed in range(repetitions))


def test_the_mean_of_nothing_is_called_positive_at_the_stated_rate():
    """At the level 0.05, where a thousand repetitions see it; the critical value of ALPHA is scipy's."""
    critical = significance.z_critical(0.05)
    found = alarms(lambda g: Estimate.mean_of(torch.randn(300, generator=g)).t > critical)
    assert allowed(1000, 0.05) >= found >= 1000 * 0.05 - 5 * math.sqrt(1000 * 0.05)
    assert significance.z_critical() == pytest.approx(stats.norm.isf(ALPHA))


def test_mean_of_is_that_of_numpy():
    x = torch.randn(50, generator=generator(1))
    mean = Estimate.mean_of(x)
    assert float(mean) == pytest.approx(float(x.mean()), abs=1e-6)
    assert mean.error == pytest.approx(float(np.std(x.numpy(), ddof=1) / math.sqrt(50)), rel=1e-5)


@pytest.mark.parametrize("features", [5, 30])
def test_no_factors_are_found_among_independent_features(features):
    def one(g):
        gain = significance.factor_gain(torch.randn(200, features, generator=g), 4)
        return gain.t > significance.z_critical()

    assert alarms(one, 300) <= allowed(300, ALPHA)


def test_nor_among_independent_rare_bits():
    """Pixels that are hardly ever on are as far from normal as it gets."""

    def one(g):
        return (
            significance.factor_gain((torch.rand(200, 40, generator=g) < 0.02).float(), 4).t > significance.z_critical()
        )

    assert alarms(one, 300) <= allowed(300, ALPHA)


def test_the_gain_of_factors_is_that_of_the_true_model():
    """For x = z w + noise the gain tends to what the features know of each other, -1/2 log det of the correlations."""
    g = generator(3)
    w = torch.tensor([2.0, -1.0, 1.5, 0.5, 1.0])
    x = torch.randn(20000, 1, generator=g) * w + torch.randn(20000, 5, generator=g)
    gain = significance.factor_gain(x, 1)
    # pPCA assumes the same noise in each standardized feature: it gains a little less than the exact model
    covariance = w[:, None] * w + torch.eye(5)
    correlation = covariance / covariance.diagonal().sqrt()[:, None] / covariance.diagonal().sqrt()
    exact = -0.5 * float(torch.logdet(correlation))
    values = torch.linalg.eigvalsh(correlation.double()).flip(0)
    ppca = -0.5 * float(values[0].log() + 4 * values[1:].mean().log())
    assert ppca <= exact
    assert abs(float(gain) - ppca) < 5 * gain.error + 0.01


def test_noise_that_is_alike_gains_nothing_by_a_sigma_for_each_feature():
    """Heavy tails are no difference between features: Student's t with four degrees of freedom."""

    def one(g):
        normal = torch.randn(200, 20, generator=g)
        squares = torch.randn(4, 200, 20, generator=g).square().mean(0)
        return significance.scale_gain(normal / squares.sqrt()).t > significance.z_critical()

    assert alarms(one, 500) <= allowed(500, ALPHA)


def test_the_gain_of_own_sigmas_is_that_of_the_true_ones():
    sigma = torch.tensor([0.5, 1.0, 2.0, 1.5])
    gain = significance.scale_gain(sigma * torch.randn(20000, 4, generator=generator(5)))
    exact = 0.5 * float((sigma.square().mean() / sigma.square()).log().sum())
    assert abs(gain.value - exact) < 5 * gain.standard_error
    # what never varies counts as if it had a tenth of the common sigma
    still = significance.scale_gain(torch.tensor([0.0, 1.0]) * torch.randn(20000, 2, generator=generator(6)))
    assert 0.5 * math.log(100) < still.value < 0.5 * math.log(100) + 1


@pytest.mark.parametrize("d", [2, 8])
def test_the_moments_of_the_prior_do_not_drift(d):
    found = alarms(lambda g: significance.moment_drift(torch.randn(400, d, generator=g)).p_value < 0.05)
    # Wilks' theorem is a limit: at n = 50 d the rate may be a tenth too high
    assert found <= allowed(1000, 0.055)


def test_a_drift_is_its_kl():
    z = 2.0 + 3.0 * torch.randn(5000, 2, generator=generator(4))
    drift = significance.moment_drift(z)
    exact = 2 * 0.5 * (9 + 4 - 1 - math.log(9))
    assert abs(drift.value - exact) < 5 * drift.standard_error
    assert drift.p_value < 1e-100


def test_a_level_course_has_no_slope_at_the_stated_rate():
    rng = np.random.default_rng(0)
    found = sum(significance.slope_of(rng.normal(size=8), 1.0).p_value < 0.05 for _ in range(2000))
    assert abs(found - 100) < 5 * math.sqrt(95)


def test_a_slope_is_that_of_scipy():
    values = np.random.default_rng(1).normal(size=12) - 0.3 * np.arange(12)
    assert float(significance.slope_of(values, 1.0)) == pytest.approx(stats.linregress(np.arange(12), values).slope)


def test_roughness_is_the_noise_about_a_line():
    noise = np.random.default_rng(2).normal(size=4000) * 0.7 + 0.1 * np.arange(4000)
    assert significance.roughness(noise) == pytest.approx(0.7, rel=0.05)
    assert significance.roughness(5.0 - 0.1 * np.arange(20)) < 1e-12


def test_a_ratio_s_error_is_what_repetition_shows():
    def ratio(seed):
        a = torch.randn(500, generator=generator(seed)) + 3
        return significance.ratio_of(2 * a + 0.5 * torch.randn(500, generator=generator(seed + 10_000)), a)

    ratios = [ratio(seed) for seed in range(300)]
    spread = float(np.std([float(r) for r in ratios]))
    assert spread == pytest.approx(float(np.mean([r.error for r in ratios])), rel=0.15)
    assert math.isnan(float(significance.ratio_of(torch.ones(9), torch.zeros(9))))


def test_binomial_excess_is_scipy_s():
    assert significance.binomial_excess(30, 1000, 0.02) == pytest.approx(
        stats.binomtest(30, 1000, 0.02, alternative="greater").pvalue
    )
