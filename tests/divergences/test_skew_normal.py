"""The skew-normal against scipy's."""

import pytest
import torch
from scipy import stats
from torch.distributions import Normal

import nelbo
from nelbo.divergences import SkewNormal

CASES = [(0.0, 1.0, 0.0), (1.0, 2.0, 4.0), (-3.0, 0.5, -1.5), (0.0, 1.0, 30.0)]


def doubles(*values):
    return [torch.tensor(v, dtype=torch.float64) for v in values]


@pytest.mark.parametrize("case", CASES)
def test_density_and_moments(case):
    loc, scale, skew = case
    ours, theirs = SkewNormal(*doubles(*case)), stats.skewnorm(skew, loc, scale)
    x = torch.linspace(loc - 5 * scale, loc + 5 * scale, 41, dtype=torch.float64)
    # scipy takes the logarithm of a density that is 0 far out
    near = torch.from_numpy(theirs.pdf(x.numpy())) > 1e-250
    assert torch.allclose(ours.log_prob(x)[near], torch.from_numpy(theirs.logpdf(x.numpy()))[near], rtol=1e-10)
    assert float(ours.mean) == pytest.approx(theirs.mean(), rel=1e-12, abs=1e-15)
    assert float(ours.variance) == pytest.approx(theirs.var(), rel=1e-12)


def test_draws_have_the_stated_mean_and_variance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        d = SkewNormal(*doubles(1.0, 2.0, 3.0))
        x = d.rsample((100_000,))
    assert abs(float(x.mean() - d.mean)) < 5 * float(d.variance / len(x)) ** 0.5
    assert float(x.var()) == pytest.approx(float(d.variance), rel=0.03)


def test_kl_by_quadrature_is_that_of_normals_without_skew_and_scipy_s_integral_with():
    p, q = SkewNormal(*doubles(0.0, 1.0, 0.0)), Normal(*doubles(1.0, 2.0))
    assert float(nelbo.kl(p, q)) == pytest.approx(0.4431471805599453, rel=1e-9)
    skewed = stats.skewnorm(3.0)
    expected = skewed.expect(lambda x: skewed.logpdf(x) - stats.norm(1, 2).logpdf(x), lb=-8, ub=12)
    assert float(nelbo.kl(SkewNormal(*doubles(0.0, 1.0, 3.0)), q)) == pytest.approx(expected, rel=1e-6)


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="scale"):
        SkewNormal(0.0, -1.0, 1.0)
