"""Every divergence beside KL: against scipy's quadrature, against draws, and where supports do not meet."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.distributions as D
from scipy import integrate as scipy_integrate
from scipy import stats
from torch import tensor

from nelbo import divergences as V


def t(x, **kwargs):
    return tensor(x, dtype=torch.float64, **kwargs)


PAIRS = {
    "normal": (D.Normal(t(0.0), t(1.0)), D.Normal(t(1.0), t(1.3)), stats.norm(0, 1), stats.norm(1, 1.3)),
    "gamma": (
        D.Gamma(t(2.0), t(1.0)),
        D.Gamma(t(2.5), t(0.8)),
        stats.gamma(2),
        stats.gamma(2.5, scale=1 / 0.8),
    ),
    "beta": (D.Beta(t(2.0), t(1.5)), D.Beta(t(3.0), t(1.5)), stats.beta(2, 1.5), stats.beta(3, 1.5)),
    "exponential": (D.Exponential(t(1.0)), D.Exponential(t(0.7)), stats.expon(), stats.expon(scale=1 / 0.7)),
    "student": (D.StudentT(t(4.0)), D.StudentT(t(5.0), t(0.5)), stats.t(4), stats.t(5, 0.5)),
    "laplace": (
        D.Laplace(t(0.0), t(1.0)),
        D.Gumbel(t(0.2), t(1.5)),
        stats.laplace(),
        stats.gumbel_r(0.2, 1.5),
    ),
    "mixture": (
        D.MixtureSameFamily(D.Categorical(t([0.5, 0.5])), D.Normal(t([-1.0, 1.0]), t([0.5, 1.0]))),
        D.Normal(t(0.0), t(1.0)),
        None,
        stats.norm(),
    ),
}
SLOW = {"student", "laplace", "mixture"}  # their references take scipy seconds
QUICK = [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in PAIRS]
POINTWISE = {
    "jensen_shannon": (
        V.jensen_shannon,
        lambda p, q: 0.5 * (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))),
        lambda v: v,
    ),
    "renyi_half": (
        lambda p, q, **o: V.renyi(p, q, 0.5, **o),
        lambda p, q: math.sqrt(p * q),
        lambda v: -2 * math.log(v),
    ),
    "renyi_1.2": (
        lambda p, q, **o: V.renyi(p, q, 1.2, **o),
        lambda p, q: p * (p / q) ** 0.2,
        lambda v: math.log(v) / 0.2,
    ),
    "chi_squared": (V.chi_squared, lambda p, q: (p - q) ** 2 / q, lambda v: v),
    "hellinger": (V.hellinger, lambda p, q: 0.5 * (math.sqrt(p) - math.sqrt(q)) ** 2, math.sqrt),
    "total_variation": (V.total_variation, lambda p, q: 0.5 * abs(p - q), lambda v: v),
}


class _Mixed:
    """scipy has no mixtures."""

    def pdf(self, x):
        return (math.exp(-2 * (x + 1) ** 2) + 0.5 * math.exp(-0.5 * (x - 1) ** 2)) / math.sqrt(2 * math.pi)

    def cdf(self, x):
        return 0.25 * (math.erfc(-(x + 1) * math.sqrt(2)) + math.erfc(-(x - 1) / math.sqrt(2)))

    def support(self):
        return -np.inf, np.inf


def reference(p, q, f):
    a, b = p.support()
    a, b = max(a, -1e4), min(b, 1e4)
    np.seterr(over="ignore")  # scipy's gumbel_r far on the left
    value, _ = scipy_integrate.quad(
        lambda x: f(max(p.pdf(x), 1e-290), max(q.pdf(x), 1e-290)),
        a,
        b,
        limit=500,
        epsabs=1e-11,
        epsrel=1e-11,
        points=sorted(
            {x for x in (0.0, 0.5, 1.0, 2.0, -1.0, -4.0, 4.0, 12.0, 40.0, -12.0, -40.0, -1000.0, 1000.0) if a < x < b}
        ),
    )
    return value


@pytest.mark.parametrize("pair", QUICK)
@pytest.mark.parametrize("which", POINTWISE)
def test_pointwise_divergences(pair, which):
    p, q, sp, sq = PAIRS[pair]
    sp = sp or _Mixed()
    f, integrand, finish = POINTWISE[which]
    if pair == "laplace" and which in ("chi_squared", "renyi_1.2"):
        pytest.skip("the left tail of Gumbel falls doubly exponentially: infinite, see the test below")
    exact = finish(reference(sp, sq, integrand))
    auto = f(p, q)
    assert float(auto) == pytest.approx(exact, abs=3e-7 if which == "total_variation" else 3e-9)
    line = f(p, q, method="quadrature")
    assert abs(float(line) - float(auto)) <= float(line.standard_error) + 1e-12
    draws = f(p, q, method="monte_carlo", samples=40_000, seed=3)
    # p/q has no fourth moment for some pairs: the draws' own error is then too small, and 8 of it are allowed
    assert abs(float(draws) - exact) < (8 if which == "chi_squared" else 5) * float(draws.standard_error) + 1e-9


def test_laplace_against_gumbel_is_infinite():
    p, q, *_ = PAIRS["laplace"]
    assert torch.isinf(V.chi_squared(p, q).value)
    assert torch.isfinite(V.hellinger(p, q).value)


def test_renyi_tends_to_kl():
    p, q, *_ = PAIRS["gamma"]
    for alpha in (1 - 1e-5, 1 + 1e-5):
        assert float(V.renyi(p, q, alpha)) == pytest.approx(float(V.kl(p, q)), rel=1e-4)
    assert float(V.renyi(p, q, 1)) == float(V.kl(p, q))


INDEPENDENT = D.Independent(D.StudentT(t([3.0, 4.0])), 1), D.Independent(D.StudentT(t([5.0, 2.0])), 1)


@pytest.mark.parametrize("f", [V.jeffreys, lambda p, q: V.renyi(p, q, 0.5), lambda p, q: V.renyi(p, q, 1.2)])
def test_independent_coordinates_add_up(f):
    p, q = INDEPENDENT
    parts, whole = f(p.base_dist, q.base_dist), f(p, q)
    assert whole.method == "quadrature"
    assert float(whole) == pytest.approx(float(parts.value.sum()), rel=1e-12)


def test_mass_outside_of_q_is_infinite_element_by_element():
    p, q = D.Uniform(t([0.0, 0.5]), t([1.0, 1.5])), D.Uniform(t(0.0), t(1.2))
    for e in (V.kl(p, q), V.chi_squared(p, q), V.renyi(p, q, 2.0)):
        assert e.value.isinf().tolist() == [False, True]
        assert e.standard_error[1] == 0


def test_jeffreys_is_both_directions():
    p, q, *_ = PAIRS["normal"]
    assert float(V.jeffreys(p, q)) == float(V.kl(p, q)) + float(V.kl(q, p))


@pytest.mark.parametrize("method", ["auto", "monte_carlo"])
def test_disjoint_supports(method):
    p, q = D.Uniform(t(0.0), t(1.0)), D.Uniform(t(2.0), t(3.0))
    options = {"method": method, "samples": 1000, "seed": 0}
    assert float(V.jensen_shannon(p, q, **options)) == pytest.approx(math.log(2), rel=1e-12)
    assert float(V.total_variation(p, q, **options)) == pytest.approx(1, rel=1e-12)
    assert float(V.hellinger(p, q, **options)) == pytest.approx(1, rel=1e-12)
    assert float(V.chi_squared(p, q, **options)) == math.inf
    assert float(V.wasserstein(p, q)) == 2


@pytest.mark.parametrize("which", [*POINTWISE])
def test_counts(which):
    f, integrand, finish = POINTWISE[which]
    p, q = stats.poisson(2.0), stats.poisson(2.6)
    exact = finish(math.fsum(integrand(p.pmf(k), q.pmf(k)) for k in range(60)))
    for method in ("auto", "exact_sum"):
        assert float(f(D.Poisson(t(2.0)), D.Poisson(t(2.6)), method=method)) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("pair", QUICK)
def test_distances_on_the_line(pair):
    p, q, sp, sq = PAIRS[pair]
    sp = sp or _Mixed()
    np.seterr(over="ignore")  # scipy's gumbel_r far on the left
    low, high = (max(sp.support()[0], -2000), min(sp.support()[1], 2000))
    edges = sorted(
        {
            low,
            high,
            *(x for x in (-100.0, -10.0, -3.0, -1.0, 0.0, 0.3, 0.7, 1.0, 3.0, 10.0, 100.0) if low < x < high),
        }
    )

    def area(power):
        return sum(
            scipy_integrate.quad(lambda x: abs(sp.cdf(x) - sq.cdf(x)) ** power, a, b, epsabs=1e-12, limit=300)[0]
            for a, b in pairwise(edges)
        )

    assert float(V.wasserstein(p, q, order=1)) == pytest.approx(area(1), abs=2e-6 if pair == "student" else 1e-8)
    assert float(V.energy_distance(p, q)) == pytest.approx(math.sqrt(2 * area(2)), abs=1e-7)
    draws = V.energy_distance(p, q, method="monte_carlo", samples=40_000, seed=1)
    assert abs(float(draws) - math.sqrt(2 * area(2))) < 5 * float(draws.standard_error)


@pytest.mark.parametrize("pair", [k for k in PAIRS if k != "mixture"])
def test_wasserstein_2_by_equal_quantiles(pair):
    p, q, sp, sq = PAIRS[pair]
    exact = math.sqrt(
        sum(
            scipy_integrate.quad(lambda u: (sp.ppf(u) - sq.ppf(u)) ** 2, a, b, limit=400)[0]
            for a, b in ((0, 1e-6), (1e-6, 0.01), (0.01, 0.99), (0.99, 1 - 1e-6), (1 - 1e-6, 1))
        )
    )
    found = V.wasserstein(p, q, order=2)
    assert float(found) == pytest.approx(exact, rel=5e-3 if pair == "student" else 1e-6)


def test_wasserstein_of_vectors():
    A = t([[2.0, 0.5], [0.5, 1.0]])
    p, q = (
        D.MultivariateNormal(t([0.0, 1.0]), A),
        D.MultivariateNormal(t([1.0, -1.0]), torch.eye(2, dtype=torch.float64)),
    )
    w, U = np.linalg.eigh(A.numpy())
    root = U @ np.diag(np.sqrt(w)) @ U.T
    assert float(V.wasserstein(p, q)) == pytest.approx(math.sqrt(5 + np.trace(A.numpy() + np.eye(2) - 2 * root)))
    assert float(V.wasserstein(p, p)) < 1e-7
    with pytest.raises(ValueError, match="energy_distance"):
        V.wasserstein(p, q, order=1)


def test_energy_distance_of_categories_by_draws():
    p, q = D.Categorical(t([0.2, 0.3, 0.5])), D.Categorical(t([0.5, 0.1, 0.4]))
    draws = V.energy_distance(p, q, method="monte_carlo", samples=40_000, seed=1)
    assert abs(float(draws) - float(V.energy_distance(p, q))) < 5 * float(draws.standard_error)


def test_independent_without_event_dimensions_keeps_its_batch():
    p, q = D.Normal(t([0.0, 1.0]), t(1.0)), D.Normal(t([2.0, 4.0]), t(1.0))
    assert V.wasserstein(D.Independent(p, 0), D.Independent(q, 0)).value.tolist() == [2.0, 3.0]


def test_wasserstein_of_counts_is_that_of_scipy():
    p, q = D.Binomial(6, t(0.3)), D.Poisson(t(2.5))
    x = np.arange(80)
    exact = stats.wasserstein_distance(x, x, stats.binom(6, 0.3).pmf(x), stats.poisson(2.5).pmf(x))
    assert float(V.wasserstein(p, q, order=1)) == pytest.approx(exact, rel=1e-9)
    assert float(V.wasserstein(p, q, order=2)) >= exact
    assert float(V.wasserstein(D.Categorical(t([1.0, 0.0, 0.0])), D.Categorical(t([0.5, 0.0, 0.5])))) == pytest.approx(
        math.sqrt(2)
    )


def test_mmd_of_normals_and_of_draws():
    p, q = (
        D.MultivariateNormal(t([0.0, 1.0]), t([[2.0, 0.5], [0.5, 1.0]])),
        D.Independent(D.Normal(t([0.5, 0.0]), t([1.0, 2.0])), 1),
    )
    exact = V.mmd(p, q, bandwidth=1.5)
    assert exact.method == "closed_form"
    draws = V.mmd(p, q, bandwidth=1.5, method="monte_carlo", samples=100_000, seed=2)
    assert abs(float(draws) - float(exact)) < 5 * float(draws.standard_error)
    assert float(V.mmd(p, p)) == 0
    counts = V.mmd(D.Poisson(t(2.0)), D.Poisson(t(3.0)))
    draws = V.mmd(D.Poisson(t(2.0)), D.Poisson(t(3.0)), method="monte_carlo", samples=100_000, seed=2)
    assert abs(float(draws) - float(counts)) < 5 * float(draws.standard_error)


@pytest.mark.parametrize(
    "f",
    [
        V.jeffreys,
        V.jensen_shannon,
        V.chi_squared,
        V.hellinger,
        V.total_variation,
        V.wasserstein,
        V.energy_distance,
        V.mmd,
    ],
)
def test_equal_distributions_are_at_zero(f):
    for p in (D.Normal(t(0.3), t(0.7)), D.Poisson(t(2.0)), D.Laplace(t(0.0), t(2.0))):
        if f is V.mmd and isinstance(p, D.Laplace):
            continue
        assert abs(float(f(p, p))) < 1e-12


@pytest.mark.parametrize(
    "f",
    [
        V.jensen_shannon,
        V.hellinger,
        V.total_variation,
        V.wasserstein,
        V.energy_distance,
        V.mmd,
        V.chi_squared,
    ],
)
def test_gradients(f):
    x = [t(v, requires_grad=True) for v in (0.0, 1.0, 0.7, 1.2)]
    assert torch.autograd.gradcheck(lambda a, b, c, d: f(D.Normal(a, b), D.Normal(c, d)).value, x, rtol=1e-3, atol=1e-5)


def test_mixture_bounds_enclose_the_truth():
    p = D.MixtureSameFamily(
        D.Categorical(t([[0.5, 0.5], [0.9, 0.1]])),
        D.Normal(t([[-1.0, 1.0], [0.0, 3.0]]), t([[0.5, 1.0], [1.0, 0.2]])),
    )
    q = D.MixtureSameFamily(D.Categorical(t([0.2, 0.3, 0.5])), D.Normal(t([-1.0, 0.5, 2.0]), t([1.0, 1.0, 1.0])))
    lower, upper = V.mixture_bounds(p, q)
    truth = V.kl(p, q).value
    assert lower.shape == (2,)
    assert (lower <= truth).all()
    assert (truth <= upper).all()
    lower, upper = V.mixture_bounds(p, p)
    assert (upper.abs() < 1e-9).all()


def test_mixture_of_vectors_by_draws_within_its_bounds():
    torch.manual_seed(0)
    p = D.MixtureSameFamily(
        D.Categorical(torch.ones(3)), D.Independent(D.Normal(torch.randn(3, 4), torch.rand(3, 4) + 0.5), 1)
    )
    q = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.MultivariateNormal(torch.randn(2, 4), torch.eye(4) * 2))
    estimate = V.kl(p, q, standard_error=0.02, seed=0)
    assert estimate.method == "monte_carlo"
    lower, upper = V.mixture_bounds(p, q)
    assert float(lower) <= float(estimate) + 4 * float(estimate.standard_error)
    assert float(estimate) - 4 * float(estimate.standard_error) <= float(upper)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda p, q: V.renyi(p, q, -1.0), "alpha must be a positive finite number, got -1.0"),
        (lambda p, q: V.mmd(p, q, bandwidth=0.0), "bandwidth must be a positive number, got 0.0"),
        (lambda p, q: V.wasserstein(p, q, order=3), "order must be 1 or 2, got 3"),
        (V.mixture_bounds, "mixture of normals"),
        (lambda p, q: V.hellinger(p, q, method="exact_sum"), "counts"),
        (lambda p, q: V.total_variation(p, q, method="closed_form"), "no closed form"),
        (
            lambda p, q: V.energy_distance(p, q, method="guess"),
            "energy_distance: method must be .*; got 'guess'",
        ),
        (lambda p, q: V.mmd(p, q, method="quadrature"), "mmd: .*monte_carlo"),
        (lambda p, q: V.wasserstein(p, q, method="monte_carlo"), "does not apply"),
        (lambda p, q: V.hellinger(p, D.Poisson(1.0)), "no mass in common"),
    ],
)
def test_errors(call, word):
    with pytest.raises(ValueError, match=word):
        call(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
