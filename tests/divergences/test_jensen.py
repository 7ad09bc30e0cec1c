import math

import pytest
import torch
import torch.distributions as D
from torch import tensor

from nelbo.divergences import elbo_chain, jensen, kl


def t(x, **k):
    return tensor(x, dtype=torch.float64, **k)


@pytest.mark.parametrize(
    ("f", "x", "mean_of_f", "f_of_mean"),
    [
        (torch.exp, D.Normal(t(0.3), t(0.7)), math.exp(0.3 + 0.245), math.exp(0.3)),
        (torch.square, D.Laplace(t(1.0), t(2.0)), 9.0, 1.0),
        (lambda x: -x.log(), D.Uniform(t(1.0), t(3.0)), -(3 * math.log(3) - 2) / 2, -math.log(2)),
        (lambda x: -x.log(), D.Gamma(t(2.0), t(1.0)), -(1 - 0.5772156649015329), -math.log(2)),
        (torch.square, D.Poisson(t(3.0)), 12.0, 9.0),
        (lambda x: 2 * x + 1, D.Exponential(t(2.0)), 2.0, 2.0),
    ],
)
def test_both_sides(f, x, mean_of_f, f_of_mean):
    found = jensen(f, x)
    assert float(found.mean_of_f) == pytest.approx(mean_of_f, rel=1e-10)
    assert float(found.f_of_mean) == pytest.approx(f_of_mean, rel=1e-10)
    assert float(found.gap) >= -1e-10


def test_the_gap_of_minus_log_is_kl():
    """With X = q/p under p, E[-log X] - (-log E[X]) = KL(p || q)."""
    p, q = D.Normal(t(0.0), t(1.0)), D.Normal(t(0.5), t(1.0))
    log_ratio = D.Normal(t(-0.125), t(0.5))  # of q/p under p
    assert float(jensen(lambda r: -r, log_ratio).mean_of_f) == pytest.approx(float(kl(p, q)))
    assert float(jensen(torch.exp, log_ratio).mean_of_f) == pytest.approx(1.0)


def test_chain_is_exact():
    g = torch.Generator().manual_seed(0)
    m, s = (
        torch.randn(50, generator=g, dtype=torch.float64),
        torch.rand(50, generator=g, dtype=torch.float64) + 0.1,
    )
    chain = elbo_chain(1.7, D.Normal(m, s), weight=0.8, noise=0.5)
    assert (chain.elbo <= chain.log_evidence).all()
    assert torch.allclose(chain.log_evidence - chain.elbo, chain.gap_to_posterior, atol=1e-12)
    assert torch.allclose(chain.log_evidence, D.Normal(0.0, t(0.89).sqrt()).log_prob(t(1.7)))
    z = D.Normal(m[0], s[0]).sample((200_000,))
    by_draws = -D.Normal(0.8 * z, 0.5).log_prob(t(1.7))
    assert abs(float(by_draws.mean() - chain.reconstruction_error[0])) < 5 * float(by_draws.std()) / 200_000**0.5
    best = elbo_chain(1.7, D.Normal(t(0.8 * 1.7 / 0.89), t(0.5 / 0.89**0.5)), weight=0.8, noise=0.5)
    assert float(best.gap_to_posterior) == pytest.approx(0, abs=1e-15)


def test_errors():
    with pytest.raises(ValueError, match="univariate"):
        jensen(torch.exp, D.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    with pytest.raises(ValueError, match="positive"):
        elbo_chain(1.0, D.Normal(0.0, 1.0), noise=-1.0)
