"""What float32 does to a divergence stands in its error."""

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, Poisson, StudentT, Weibull

import nelbo
from nelbo.divergences import chi_squared, jeffreys, mmd, wasserstein
from nelbo.divergences.internals import double


def numbers(n, low, high, seed):
    return low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(seed))


def wide(family, low, high):
    """Two independent vectors of 560 features in float32."""
    return tuple(Independent(family(numbers(560, low, high, seed)), 1) for seed in (1, 2))


PAIRS = {
    "normal": (nelbo.kl, *(Independent(Normal(numbers(560, -99, 99, i), numbers(560, 0.01, 1, i)), 1) for i in (1, 2))),
    "poisson": (nelbo.kl, *wide(Poisson, 1.0, 900.0)),
    "student": (nelbo.kl, *wide(StudentT, 2.0, 9.0)),
    "one normal": (nelbo.kl, Normal(torch.tensor(1000.1), torch.tensor(0.01)), Normal(torch.tensor(0.1), 1.0)),
    "categories": (nelbo.kl, *(Categorical(logits=numbers((560, 9), -80.0, 80.0, seed)) for seed in (1, 2))),
    "jeffreys": (jeffreys, *wide(StudentT, 2.0, 9.0)),
    "chi squared": (chi_squared, *(Normal(numbers(9, -2, 2, seed), 1.0) for seed in (1, 2))),
    "wasserstein": (wasserstein, *(Weibull(numbers(9, 99, 999, seed), 2 * torch.ones(9)) for seed in (1, 2))),
    "mmd": (mmd, *(Normal(numbers(9, -2, 2, seed), 1.0) for seed in (1, 2))),
}


@pytest.mark.parametrize("case", PAIRS)
def test_float32_is_within_the_stated_error_of_float64(case):
    f, p, q = PAIRS[case]
    found, exact = f(p, q), f(double(p), double(q))
    assert found.value.dtype == found.standard_error.dtype == torch.float32
    assert exact.value.dtype == torch.float64
    off = (found.value.double() - exact.value).abs()
    assert (off <= found.standard_error.double() * (1 + 1e-6) + exact.standard_error).all()
    assert (found.standard_error <= 1e-7 * found.value.abs() + 1e-6).all()  # and no more than that


def test_a_mean_of_many_draws_holds_the_rounding():
    _, p, q = PAIRS["one normal"]
    found = nelbo.kl(p, q, method="monte_carlo", samples=1_000_000, seed=0)
    exact = nelbo.kl(double(p), double(q))
    assert abs(float(found) - float(exact)) < 4 * found.error


def test_gradients_reach_float32_parameters():
    mu = torch.tensor([1.0, -2.0], requires_grad=True)
    found = nelbo.kl(Independent(Normal(mu, 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1))
    found.value.backward()
    assert mu.grad.tolist() == [1.0, -2.0]
    assert not found.standard_error.requires_grad


def test_equal_parameters_are_exactly_zero():
    p = Normal(numbers(9, -1, 1, 0), 1.0)
    assert (nelbo.kl(p, p).value == 0).all()
    assert (nelbo.kl(p, p).standard_error == 0).all()
