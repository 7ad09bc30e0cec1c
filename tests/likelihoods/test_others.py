"""Values of the other likelihoods against scipy and by summing over the support."""

import numpy as np
import pytest
import scipy.stats
import torch

from nelbo.likelihoods import Categorical, DiscretizedLogistic, NegativeBinomial, Normal, Poisson
from nelbo.likelihoods.normal import IndependentNormal
from nelbo.likelihoods.ranges import CutNormal


def decoded(*rows):
    return torch.tensor([rows], dtype=torch.float64)


def test_poisson_is_scipy_s():
    for log_rate in (-30.0, -2.0, 0.0, 3.0, 9.0):
        for x in (0.0, 1.0, 7.0, 9000.0):
            got = float(Poisson()(decoded(log_rate), 1).log_prob(decoded(x)))
            assert got == pytest.approx(scipy.stats.poisson.logpmf(x, np.exp(log_rate)), rel=1e-9)


def test_negative_binomial_is_scipy_s():
    for log_mean in (-3.0, 0.0, 4.0):
        for log_count in (-2.0, 0.0, 3.0):
            r, m = np.exp(log_count), np.exp(log_mean)
            for x in (0.0, 1.0, 30.0):
                got = float(NegativeBinomial()(decoded(log_mean, log_count), 1).log_prob(decoded(x)))
                assert got == pytest.approx(scipy.stats.nbinom.logpmf(x, r, r / (r + m)), rel=1e-8)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_discretized_logistic_sums_to_one_and_is_the_logistic_s_mass(levels):
    x = torch.arange(levels, dtype=torch.float64)[:, None] / (levels - 1)
    for mean, log_scale in ((0.0, -1.0), (0.97, -4.0), (-3.0, 0.5), (0.2, -7.0)):
        px = DiscretizedLogistic(levels)(decoded(mean, log_scale), 1)
        mass = px.log_prob(x).exp()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-9)
        logistic = scipy.stats.logistic(mean, np.exp(log_scale))
        k = levels // 2
        edges = [2 * (k + half) / (levels - 1) - 1 for half in (-0.5, 0.5)]
        if k < levels - 1:
            exact = logistic.cdf(edges[1]) - logistic.cdf(edges[0])
            assert float(mass[k]) == pytest.approx(exact, rel=1e-6, abs=1e-12)
        assert float(px.mean) == pytest.approx(float((mass[:, None] * x).sum()), abs=1e-9)


def test_categorical_is_log_softmax():
    logits = torch.randn(4, 3 * 5)
    x = torch.randint(0, 3, (4, 5))
    got = Categorical(3)(logits, 1).log_prob(x.float())
    exact = scipy.special.log_softmax(logits.reshape(4, 3, 5).numpy(), axis=1)
    expected = np.take_along_axis(exact, x.numpy()[:, None], 1).sum((1, 2))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)


def test_normal_in_every_parametrization_is_scipy_s():
    x, mean = torch.randn(3, 4), torch.randn(3, 4)
    exact = scipy.stats.norm(mean.numpy(), 0.3).logpdf(x.numpy()).sum(1)
    log_sigma = torch.full((3, 4), float(np.log(0.3)))
    optimal = Normal("optimal")
    optimal.mean_square.fill_(0.09)
    for px in (
        Normal(0.3)(mean, 1),
        Normal(torch.full((4,), 0.3))(mean, 1),
        Normal("decoded")(torch.cat([mean, log_sigma], 1), 1),
        optimal(mean, 1),
    ):
        np.testing.assert_allclose(px.log_prob(x).detach().numpy(), exact, rtol=1e-5)


def test_optimal_sigma_goes_to_the_root_mean_squared_residual():
    """The closed form is the maximum: no other sigma gives these residuals a higher likelihood."""
    torch.manual_seed(0)
    family, mean = Normal("optimal"), torch.zeros(500, 4)
    x = 0.25 * torch.randn(500, 4)
    for _ in range(3):
        family.adapt(family.optimum(family(mean, 1), x))
    best = float(x.square().mean().sqrt())
    assert float(family(mean, 1).base_dist.scale[0, 0]) == pytest.approx(best, rel=1e-5)
    others = [float(Normal(best * factor)(mean, 1).log_prob(x).sum()) for factor in (0.95, 1.05)]
    assert float(family(mean, 1).log_prob(x).sum()) > max(others)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Normal(0.0), "must be greater than 0, got 0.0"),
        (lambda: Normal("learned"), r"Normal\(torch.ones\(event_shape\)\)"),
        (lambda: Categorical(1), "classes must be at least 2, got 1"),
        (lambda: DiscretizedLogistic(1), "levels must be at least 2, got 1"),
        (lambda: Normal(torch.ones(3))(torch.zeros(2, 4), 1), r"write Normal\(torch.ones\(\(4,\)\)\)"),
        (lambda: Normal("decoded")(torch.zeros(2, 5), 1), r"multiple of 2; got shape \(2, 5\)"),
    ],
)
def test_mistakes(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("event", [(5,), (2, 3, 4)])
@pytest.mark.parametrize("scale", ["number", "of the last dimension", "of each feature", "of each value"])
def test_normal_is_torch_s(event, scale):
    """Where sigma stands once for many values, its logarithm is taken once; torch's distribution is the judge."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shape = {"number": (), "of the last dimension": event[-1:], "of each feature": event, "of each value": (3, *event)}
    mean, log_sigma, x = drawn(3, *event).requires_grad_(), drawn(*shape[scale]).requires_grad_(), drawn(2, 3, *event)
    found = IndependentNormal(mean, log_sigma.exp(), len(event))
    expected = torch.distributions.Independent(torch.distributions.Normal(mean, log_sigma.exp()), len(event))
    assert found.log_prob(x).shape == (2, 3)
    torch.testing.assert_close(found.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(found.expand((2, 3)).log_prob(x), expected.log_prob(x))
    by_hand, slopes = (
        torch.autograd.grad(px.log_prob(x).square().sum(), (mean, log_sigma)) for px in (expected, found)
    )
    torch.testing.assert_close(slopes, by_hand)


@pytest.mark.parametrize("scale", [np.exp(-5.0), 0.1, 3.0])
@pytest.mark.parametrize("loc", [-1.0, -0.05, 0.01, 0.5, 0.97, 1.05, 2.0])
def test_draws_within_0_and_1_are_scipy_s_however_far_the_mean_lies_outside(loc, scale):
    """150 standard deviations outside the probability of the interval is no number: all draws were at the other end."""
    cut = CutNormal(torch.tensor([loc]), torch.tensor([float(scale)]))
    u = torch.linspace(0.001, 0.999, 333)[:, None]
    exact = scipy.stats.truncnorm(-loc / scale, (1 - loc) / scale, loc, scale)
    np.testing.assert_allclose(cut.icdf(u)[:, 0].double(), exact.ppf(u[:, 0].numpy()), rtol=2e-3, atol=2e-7)
    assert float(cut.mean) == pytest.approx(exact.mean(), rel=2e-3, abs=2e-7)
