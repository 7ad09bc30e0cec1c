"""Random numbers as functions of an example's content, and of (seed, step) in training."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Laplace, Normal

import nelbo
from nelbo import randomness
from nelbo.evaluation import evaluate
from nelbo.randomness import derive, example_keys, folded, normal, own_randomness, seeded_weights, uniform


def rows(n, features=5, seed=0):
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed))


KEYS = example_keys(rows(400), purpose="test")


def near(values, expected, sigma):
    """Whether the mean of independent values lies within five standard errors of the expected one."""
    return abs(float(values.double().mean()) - expected) < 5 * sigma / math.sqrt(values.numel())


def test_normal_numbers_have_the_moments_and_the_distribution_of_a_normal():
    z = normal(KEYS, 500, 3)
    assert z.shape == (500, 400, 3)
    assert near(z, 0.0, 1.0)
    assert near(z.square(), 1.0, math.sqrt(2))
    assert near(z**3, 0.0, math.sqrt(15))
    assert near(z**4, 3.0, math.sqrt(96))
    for threshold in (-3.0, -1.0, 0.0, 0.5, 2.0):
        p = 0.5 * (1 + math.erf(threshold / math.sqrt(2)))
        assert near((z < threshold).float(), p, math.sqrt(p * (1 - p)))
    assert near((z.abs() > 4.5).float(), 6.795e-6, math.sqrt(6.795e-6))


def test_uniform_numbers_are_uniform_and_inside_the_open_interval():
    u = uniform(KEYS, 500, 3)
    assert float(u.min()) > 0
    assert float(u.max()) < 1
    counts = torch.histc(u, 20, 0, 1)
    expected = u.numel() / 20
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert chi2 < 19 + 5 * math.sqrt(2 * 19)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 3])
def test_draws_examples_and_places_are_independent(axis, lag):
    z = normal(KEYS, 300, 6)
    size = z.shape[axis]
    a, b = z.narrow(axis, 0, size - lag), z.narrow(axis, lag, size - lag)
    assert near(a * b, 0.0, 1.0)
    assert near((a * b).square(), 1.0, math.sqrt(8))


def test_keys_of_almost_equal_rows_are_unrelated():
    x = torch.zeros(400, 5)
    x[:, 2] = torch.arange(400) * 2.0**-20
    a = normal(example_keys(x, purpose="test"), 100, 2)
    assert near(a[:, 1:] * a[:, :-1], 0.0, 1.0)
    assert near(a.mean(0).square() * 100, 1.0, math.sqrt(2))


def test_a_draw_depends_on_the_example_s_values_alone():
    x = rows(40)
    keys = example_keys(x, purpose="elbo")
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(example_keys(x[order], purpose="elbo"), keys[order])
    assert torch.equal(example_keys(x[7:9], purpose="elbo"), keys[7:9])
    x[3] = x[20]
    assert example_keys(x, purpose="elbo")[3] == keys[20]
    assert len(keys.unique()) == 40


def test_signs_of_zero_and_integers_are_equal_values():
    x = torch.tensor([[0.0, 1.0, -0.0]])
    assert torch.equal(example_keys(x, purpose="a"), example_keys(torch.tensor([[-0.0, 1.0, 0.0]]), purpose="a"))
    assert torch.equal(example_keys(x, purpose="a"), example_keys(torch.tensor([[0, 1, 0]]), purpose="a"))
    assert torch.equal(example_keys(x.double(), purpose="a"), example_keys(x, purpose="a"))


@pytest.mark.parametrize("features", [1, 2, 7, 784])
def test_one_changed_value_changes_the_key(features):
    x = rows(1, features)
    for place in {0, features // 2, features - 1}:
        other = x.clone()
        other[0, place] += 1e-3
        assert example_keys(x, purpose="a") != example_keys(other, purpose="a")


def test_seeds_purposes_conditions_and_folds_draw_differently():
    x, c = rows(300), rows(300, 2, seed=9)
    key_sets = [
        example_keys(x, purpose="elbo"),
        example_keys(x, purpose="elbo", seed=1),
        example_keys(x, purpose="moments"),
        example_keys(x, c, purpose="elbo"),
        folded(example_keys(x, purpose="elbo"), 0),
        folded(example_keys(x, purpose="elbo"), 1),
    ]
    assert torch.equal(key_sets[0], example_keys(x, None, purpose="elbo"))
    draws = [normal(keys, 50, 2) for keys in key_sets]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert near(a * b, 0.0, 1.0)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_draws_cut_in_any_way_are_the_same_draws(draw):
    whole = draw(KEYS, 50, 3)
    assert torch.equal(torch.cat([draw(KEYS, 17, 3), draw(KEYS, 33, 3, start=17)]), whole)
    assert torch.equal(torch.cat([draw(KEYS[:11], 50, 3), draw(KEYS[11:], 50, 3)], 1), whole)


def test_torch_s_generators_are_not_touched():
    before = torch.random.get_rng_state()
    normal(example_keys(rows(3), purpose="a"), 2, 3)
    uniform(KEYS, 2, 3)
    with seeded_weights(3):
        torch.nn.Linear(3, 3)
    with own_randomness(torch.device("cpu")):
        randomness.seed_noise(torch.device("cpu"), 5)
        torch.randn(3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_derived_seeds_differ_in_every_part():
    seeds = {
        derive(seed, purpose, step, piece)
        for seed in (0, 1, 2**40)
        for purpose in ("noise", "order")
        for step in range(20)
        for piece in range(3)
    }
    assert len(seeds) == 3 * 2 * 20 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "noise") == derive(0, "noise", 0)


def test_seeded_weights_are_those_of_the_seed():
    def weights(seed):
        with seeded_weights(seed):
            return torch.nn.Linear(3, 3).weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize("seed", [-3, 2**63, 2**70, -(2**70), np.int64(3)])
def test_any_integer_is_a_seed(seed):
    x = torch.bernoulli(torch.full((30, 6), 0.4))
    vae, data = nelbo.recipes.vae((6,), hidden=(8,)), nelbo.data.InMemory(x)
    first, second = (evaluate(vae, data, seed=seed) for _ in range(2))
    assert torch.equal(first.z, second.z)
    nelbo.kl(Normal(0.0, 1.0), Laplace(0.0, 1.0), method="monte_carlo", seed=seed, samples=100)
    a, b = torch.randn(40, 2), torch.randn(40, 2)
    nelbo.divergences.kl_from_samples(a, b, seed=seed)
    nelbo.divergences.mmd_test(a, b, seed=seed, permutations=10)
    nelbo.divergences.classifier_test(a, b, seed=seed)
    nelbo.measure.aggregate_match(vae, data, draws=20, seed=seed)
    nelbo.data.load(x, seed=seed)


def test_anything_else_is_an_error():
    vae, data = nelbo.recipes.vae((6,), hidden=(8,)), nelbo.data.InMemory(torch.ones(30, 6))
    for seed in (1.5, "1", None):
        with pytest.raises(TypeError, match=r"seed must be an integer, got .*; write seed=0"):
            evaluate(vae, data, seed=seed)
