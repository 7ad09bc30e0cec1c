"""Two samples, no densities; and log-ratios at draws."""

import math

import numpy as np
import pytest
import torch
import torch.distributions as D

from nelbo import divergences as V


def test_nearest_neighbours_find_the_kl_of_normals():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (4000, 2)), rng.normal(0.5, 1.5, (4000, 2))
    exact = 2 * float(V.kl(D.Normal(0.0, 1.0), D.Normal(0.5, 1.5)))
    found = V.kl_from_samples(x, y)
    assert 0 < float(found.standard_error) < 0.05
    assert abs(float(found) - exact) < 4 * float(found.standard_error) + 0.01
    one = V.kl_from_samples(torch.as_tensor(x[:, 0]), torch.as_tensor(x[::-1, 1].copy()))
    assert abs(float(one)) < 4 * float(one.standard_error)


def test_two_sample_tests_tell_and_do_not_tell():
    rng = np.random.default_rng(1)
    x, same, other = rng.normal(0, 1, (300, 3)), rng.normal(0, 1, (300, 3)), rng.normal(0.6, 1, (300, 3))
    for test in (V.mmd_test, V.classifier_test):
        assert test(x, other).p_value < 0.01
        assert test(x, same).p_value > 0.01
    assert 0.4 < float(V.classifier_test(x, same)) < 0.6


def test_a_test_result_is_an_estimate_with_a_p_value():
    rng = np.random.default_rng(4)
    result = V.classifier_test(rng.normal(size=60), rng.normal(size=60))
    assert isinstance(result, V.Estimate)
    assert result.to_dict()["p_value"] == result.p_value
    assert result.text == f"{100 * float(result):.1f} ± {100 * result.error:.1f} %"


@pytest.mark.parametrize(("shift", "most"), [(0.5, 1.3), (2.0, 1.3), (0.0, 2.0)])
def test_the_error_of_the_mmd_is_that_of_other_draws(shift, most):
    """Not the spread under relabelling, which is several times smaller where the two differ."""
    rng = np.random.default_rng(3)
    draws = lambda: (rng.normal(0, 1, (100, 2)), rng.normal(shift, 1, (80, 2)))  # noqa: E731
    results = [V.mmd_test(*draws(), bandwidth=1.0, permutations=1) for _ in range(100)]
    spread = np.std([float(result) for result in results])
    assert 0.8 < np.sqrt(np.mean([result.error**2 for result in results])) / spread < most


def test_mmd_statistic_is_the_unbiased_square():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (6, 2)), rng.normal(1, 1, (5, 2))
    k = lambda a, b: math.exp(-((a - b) ** 2).sum() / 2)  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert float(V.mmd_test(x, y, bandwidth=1.0, permutations=2)) == pytest.approx(xx + yy - 2 * xy)


def test_permutation_p_values_are_uniform():
    rng = np.random.default_rng(3)
    p_values = [
        V.mmd_test(rng.normal(size=30), rng.normal(size=30), permutations=99, seed=i).p_value for i in range(200)
    ]
    low = sum(p <= 0.1 for p in p_values)
    assert 6 <= low <= 36  # binomial(200, 0.1), about four standard deviations


def test_k_estimators():
    torch.manual_seed(0)
    p, q = (
        D.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double()),
        D.Normal(torch.tensor(0.1).double(), torch.tensor(1.0).double()),
    )
    x = p.sample((200_000,))
    r = p.log_prob(x) - q.log_prob(x)
    exact = float(V.kl(p, q))
    k1, k2, k3 = (V.kl_from_log_ratios(r, estimator=k) for k in ("k1", "k2", "k3"))
    assert abs(float(k1) - exact) < 5 * float(k1.standard_error)
    assert abs(float(k3) - exact) < 5 * float(k3.standard_error)
    assert abs(float(k2) - exact * (1 + exact / 2)) < 5 * float(
        k2.standard_error
    )  # E r^2 / 2 = KL + KL^2 / 2 for this pair
    assert float(k3.standard_error) < 0.2 * float(k1.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["monte_carlo", "k1", "k3"])
def test_intervals_cover(method):
    p, q = (
        D.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double()),
        D.Laplace(torch.tensor(0.3).double(), torch.tensor(1.0).double()),
    )
    if method == "k3":  # whose terms q/p need tails of q that are lighter than p's
        q = D.Normal(torch.tensor(0.3).double(), torch.tensor(0.9).double())
    exact = float(V.kl(p, q))
    hits = 0
    for seed in range(1000):
        if method == "monte_carlo":
            e = V.kl(p, q, method="monte_carlo", samples=400, seed=seed)
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                x = p.sample((400,))
            e = V.kl_from_log_ratios(p.log_prob(x) - q.log_prob(x), estimator=method)
        hits += abs(float(e) - exact) < 1.96 * float(e.standard_error)
    assert 930 <= hits <= 970


@pytest.mark.slow
def test_nearest_neighbour_intervals_cover():
    exact = float(V.kl(D.Normal(0.0, 1.0), D.Normal(0.5, 1.2)))
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(1000):
        e = V.kl_from_samples(rng.normal(0, 1, 600), rng.normal(0.5, 1.2, 600), bootstrap=30, seed=seed)
        hits += abs(float(e) - exact) < 1.96 * float(e.standard_error)
    assert 930 <= hits <= 970


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: V.kl_from_samples(np.zeros((3, 2)), np.zeros((30, 2))), "at least 12 rows"),
        (lambda: V.kl_from_samples(np.zeros((30, 2)), np.zeros((30, 3))), "features"),
        (lambda: V.kl_from_samples(np.zeros(30), np.zeros(30)), "discrete"),
        (lambda: V.kl_from_samples(np.full(30, np.nan), np.zeros(30)), "NaN"),
        (lambda: V.mmd_test(np.zeros((2, 2, 2)), np.zeros(30)), "reshape"),
        (lambda: V.kl_from_log_ratios(torch.zeros(1)), "2 draws"),
        (lambda: V.kl_from_log_ratios(torch.zeros(5), estimator="k4"), "k1"),
        (lambda: V.kl_from_log_ratios(torch.tensor([1.0, math.nan])), "NaN"),
    ],
)
def test_errors(call, word):
    with pytest.raises(ValueError, match=word):
        call()
