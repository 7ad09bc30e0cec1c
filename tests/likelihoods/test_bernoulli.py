"""Values of the Bernoulli and the continuous Bernoulli against scipy, mpmath and quadrature."""

import mpmath
import numpy as np
import pytest
import scipy.special
import torch

from nelbo.likelihoods import Bernoulli, ContinuousBernoulli


@pytest.mark.parametrize("features", [1, 2, 13, 17, 49, 784])
@pytest.mark.parametrize("scale", [0.1, 4.0, 40.0])
def test_log_prob_is_scipy_s_to_float32_rounding(features, scale):
    generator = torch.Generator().manual_seed(features)
    logits = scale * torch.randn(20, features, generator=generator)
    x = torch.bernoulli(torch.full((20, features), 0.3), generator=generator)
    wide, target = logits.double().numpy(), x.double().numpy()
    exact = (scipy.special.xlogy(target, 1) + target * wide - np.logaddexp(0, wide)).sum(1)
    got = Bernoulli()(logits, 1).log_prob(x).numpy()
    # each term carries half a unit in the last place of the largest number it meets
    bound = 1.2e-7 * (np.abs(wide).sum(1) + features)
    assert (np.abs(got - exact) <= bound).all()


def test_gradient_is_x_minus_sigmoid():
    logits = torch.linspace(-50, 50, 21).reshape(1, -1).requires_grad_()
    x = (torch.arange(21) % 2).float().reshape(1, -1)
    Bernoulli()(logits, 1).log_prob(x).backward()
    torch.testing.assert_close(logits.grad, x - torch.sigmoid(logits.detach()), atol=1e-7, rtol=0)


def test_expanded_it_is_torch_s():
    logits, x = torch.tensor([[0.3, -1.0]]), torch.tensor([1.0, 0.0])
    expanded = Bernoulli()(logits, 1).expand((3, 1))
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(expanded.log_prob(x), expected.expand(3, 1))


def test_gradient_with_respect_to_the_data():
    logits = 20 * torch.randn(50, 99)
    x = torch.rand(50, 99, requires_grad=True)
    log_prob = Bernoulli(allow_gray=True)(logits, 1).log_prob(x)
    log_prob.sum().backward()
    torch.testing.assert_close(x.grad, logits)
    assert torch.equal(log_prob, Bernoulli()(logits, 1).log_prob(x.detach()))  # one way to the value


@pytest.mark.parametrize("logit", [0.0, 1e-9, -1e-5, 1e-3, -0.0101, 0.5, -3.0, 20.0, -90.0, 300.0])
def test_continuous_bernoulli_normalizer_and_mean_to_full_precision(logit):
    """Against 50 digits; torch's own float32 normalizer is off by whole nats beyond |logit| = 16."""
    with mpmath.workdps(50):
        exact = mpmath.log((mpmath.exp(logit) - 1) / logit) if logit else mpmath.mpf(0)
        mean = 1 / (1 - mpmath.exp(-logit)) - 1 / mpmath.mpf(logit) if logit else mpmath.mpf("0.5")
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        px = ContinuousBernoulli()(torch.tensor([[logit]], dtype=dtype), 1)
        assert float(px.log_prob(torch.zeros(1, 1, dtype=dtype))) == pytest.approx(
            -float(exact), rel=1e-6, abs=tolerance
        )
        assert float(px.mean) == pytest.approx(float(mean), abs=tolerance)


def test_continuous_bernoulli_integrates_to_one():
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)[:, None]
    for logit in (-12.0, 0.0, 0.3, 5.0):
        density = ContinuousBernoulli()(torch.full((1, 1), logit, dtype=torch.float64), 1).log_prob(x).exp()
        assert float(torch.trapezoid(density, x[:, 0])) == pytest.approx(1, abs=1e-8)


def test_gray_values_are_refused_unless_asked_for_and_then_warned_of():
    gray = torch.full((2, 4), 0.3)
    with pytest.raises(ValueError, match=r"ContinuousBernoulli.*binarize='dynamic'.*allow_gray=True"):
        Bernoulli().check(gray)
    with pytest.warns(UserWarning, match="not a log-likelihood"):
        Bernoulli(allow_gray=True).check(gray)
    with pytest.raises(ValueError, match=r"needs values in the interval \[0, 1\].*What fits") as refused:
        Bernoulli(allow_gray=True).check(gray + 1)
    assert "allow_gray" not in str(refused.value)


def test_gray_is_not_proposed_for_data_outside_of_the_unit_interval():
    with pytest.raises(ValueError, match=r"needs values in \{0, 1\}.*What fits: likelihoods.Normal") as refused:
        Bernoulli().check(torch.full((2, 4), -0.3))
    assert "allow_gray" not in str(refused.value)
