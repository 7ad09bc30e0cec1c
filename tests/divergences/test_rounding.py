"""What float32 does to a divergence stands in its error."""

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    Kumaraswamy,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Weibull,
    Wishart,
)

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
    "jeffreys of each": (jeffreys, *(Poisson(numbers(200, 0.1, 30.0, seed)) for seed in (1, 2))),
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


def covariances(seed):
    root = torch.randn(20, 5, 5, generator=torch.Generator().manual_seed(seed))
    return root @ root.mT + 0.001 * torch.eye(5)


DERIVED = {  # of which torch derives tensors from the parameters in the constructor
    "covariance": (nelbo.kl, lambda c: MultivariateNormal(c.new_zeros(7, 20, 5), covariance_matrix=c), covariances),
    "precision": (nelbo.kl, lambda c: MultivariateNormal(c.new_zeros(5), precision_matrix=c), covariances),
    "expanded": (
        nelbo.kl,
        lambda c: MultivariateNormal(c.new_zeros(5), covariance_matrix=c).expand((3, 20)),
        covariances,
    ),
    "wishart": (nelbo.kl, lambda c: Wishart(c.new_full((), 8.0), covariance_matrix=c), covariances),
    "weibull": (wasserstein, lambda k: Weibull(1.0 + 0 * k, k), lambda seed: numbers(9, 0.5, 3, seed)),
    "kumaraswamy": (wasserstein, lambda a: Kumaraswamy(a, 2 * a), lambda seed: numbers(9, 0.5, 3, seed)),
}


@pytest.mark.parametrize("case", DERIVED)
def test_what_torch_derives_from_the_parameters_is_derived_in_float64(case):
    f, make, parameter = DERIVED[case]
    a = parameter(1)
    for b in (parameter(2), a * (1 + 1e-3)):
        found, exact = f(make(a), make(b)), f(make(a.double()), make(b.double()))
        off = (found.value.double() - exact.value).abs()
        assert (off <= found.standard_error.double() * (1 + 1e-6) + exact.standard_error).all()


def test_gradients_reach_a_covariance_in_float32():
    c = covariances(1).requires_grad_()
    q = MultivariateNormal(torch.zeros(5), torch.eye(5))
    nelbo.kl(MultivariateNormal(torch.zeros(5), c), q).value.sum().backward()
    expected = 0.5 * (torch.eye(5).double() - torch.linalg.inv(c.detach().double()))
    assert c.grad.dtype == torch.float32
    torch.testing.assert_close(c.grad.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_covariance_that_only_float32_takes_as_positive_definite_has_a_kl():
    c = torch.tensor([[0.8074228167533875, 0.628982424736023], [0.628982424736023, 0.48997732996940613]])
    assert int(torch.linalg.cholesky_ex(c.double()).info) > 0
    p = MultivariateNormal(torch.zeros(2), covariance_matrix=c)
    assert float(nelbo.kl(p, MultivariateNormal(torch.zeros(2), torch.eye(2)))) > 1


@pytest.mark.parametrize("mean", [1e-4, 1e-2, 1.0, 500.0])
def test_half_precision_states_what_it_loses(mean):
    mean = torch.tensor(mean, dtype=torch.float16)
    one = torch.ones((), dtype=torch.float16)
    found = nelbo.kl(Normal(mean, one), Normal(0 * one, one))
    assert found.value.dtype == found.standard_error.dtype == torch.float16
    assert abs(float(found) - 0.5 * float(mean) ** 2) <= found.error * (1 + 1e-3)


def test_infinite_stays_certain_in_half_precision():
    zero, one = torch.tensor([0.0, 1.0], dtype=torch.float16)
    found = nelbo.kl(Poisson(one), Poisson(zero))
    assert float(found) == float("inf")
    assert found.error == 0


def test_a_kl_in_float32_makes_no_wide_copies_of_what_is_expanded():
    prior = double(Normal(0.0, 1.0).expand((1000, 1000)))
    assert prior.loc.shape == (1000, 1000)
    assert prior.loc.untyped_storage().nbytes() == 8


@pytest.mark.parametrize("shape", [(70_000,), (3, 70_000), (70_000, 3), (300, 3, 200)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_slice_by_slice(shape, dtype):
    draws = torch.Generator().manual_seed(0)
    mean, std = torch.randn(shape, generator=draws, dtype=dtype), 0.1 + torch.rand(shape[-1], generator=draws).to(dtype)
    p, q = Normal(mean, std), Normal(torch.zeros(shape[1:], dtype=dtype), 1.0)
    pieces = [nelbo.kl(Normal(m, std), q).value for m in mean[:: max(1, len(mean) // 3)]] if len(shape) > 1 else []
    found = nelbo.kl(p, q).value
    assert found.dtype == dtype
    assert found.shape == shape
    for piece, whole in zip(pieces, found[:: max(1, len(mean) // 3)], strict=False):
        torch.testing.assert_close(piece, whole, rtol=1e-6 if dtype == torch.float32 else 1e-13, atol=0)
    exact = 0.5 * (std.double() ** 2 + mean.double() ** 2 - 1) - std.double().log()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


def test_normals_in_float32_need_no_copies_in_float64():
    """The short way gives what float64 gives, also where the two are nearly or exactly equal."""
    torch.manual_seed(0)
    gaps = torch.tensor([0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 30]).repeat_interleave(200)
    m, s = torch.randn(2000), torch.rand(2000) + 0.1
    p = Normal(m, s)
    for q in (Normal(m + gaps, s), Normal(m, s * (1 + gaps)), Normal(m - gaps, s / (1 + gaps)), Normal(0.0, 1.0)):
        found = nelbo.kl(p, q)
        truth = nelbo.kl(*(Normal(d.loc.double(), d.scale.double()) for d in (p, q)))
        assert found.value.dtype == torch.float32
        off = (found.value.double() - truth.value).abs()
        assert bool((off <= 1.2 * found.standard_error.double() + 1e-45).all())
        assert bool((found.value[truth.value == 0] == 0).all())
    wide = Normal(m.double(), s.double()), Normal(m.double() + 1e-12, s.double())
    assert torch.equal(nelbo.kl(*wide).value, nelbo.divergences.closed_form(*wide))


def test_a_prior_without_axes_does_not_narrow_what_a_training_step_computes():
    s = 1 + torch.logspace(-5, -2, 50)
    found = nelbo.divergences.closed_form(Normal(torch.zeros(50), s), Normal(0.0, 1.0))
    truth = nelbo.divergences.closed_form(Normal(torch.zeros(50).double(), s.double()), Normal(0.0, 1.0))
    assert torch.allclose(found.double(), truth, rtol=1e-5, atol=0)
