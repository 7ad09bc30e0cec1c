"""Draws against their exact distributions; tolerances are 5 standard errors, or p > 1e-6 for a whole test."""

import numpy as np
import pytest
import torch
from scipy import stats

from nelbo.data.draws import (
    _holds_255,
    _words_without_255,
    bernoulli_of_bytes,
    fixed_uniform,
    hash_rows,
    shuffled,
)


def test_bytes_are_one_with_probability_value_over_255():
    torch.manual_seed(1)
    n = 40_000
    raw = torch.arange(256, dtype=torch.uint8).repeat(n, 1)
    x = bernoulli_of_bytes(raw)
    assert x.dtype == torch.float32
    assert set(x.unique().tolist()) == {0.0, 1.0}
    p = np.arange(256) / 255
    ones = x.sum(0).double().numpy()
    assert ones[0] == 0
    assert ones[255] == n
    z = (ones[1:-1] - n * p[1:-1]) / np.sqrt(n * p[1:-1] * (1 - p[1:-1]))
    # 254 z-scores of a binomial: their squares sum to a chi-squared variable
    assert stats.chi2.sf((z**2).sum(), len(z)) > 1e-6
    assert np.abs(z).max() < 5


def test_bytes_tell_v_over_255_from_v_over_256():
    """The shortcut that takes bytes as they are would be off by 12 standard errors here."""
    torch.manual_seed(2)
    n, v = 4_000_000, 250
    mean = bernoulli_of_bytes(torch.full((n,), v, dtype=torch.uint8)).double().mean().item()
    error = np.sqrt(v / 255 * (1 - v / 255) / n)
    assert abs(mean - v / 255) < 5 * error
    assert abs(mean - v / 256) > 12 * error


def test_words_hold_no_255_and_are_uniform_below():
    torch.manual_seed(3)
    assert _words_without_255(1, torch.device("cpu")).shape == (1,)
    values = _words_without_255(200_000, torch.device("cpu")).view(torch.uint8)
    counts = torch.bincount(values.long(), minlength=256).numpy()
    assert counts[255] == 0
    assert stats.chisquare(counts[:255]).pvalue > 1e-6
    # neighbours in a word are independent
    pairs = np.histogram2d(values[::8].numpy() // 16, values[1::8].numpy() // 16, bins=16)[0]
    assert stats.chi2_contingency(pairs).pvalue > 1e-6


def test_the_bit_trick_finds_exactly_the_bytes_of_255():
    torch.manual_seed(4)
    words = torch.empty(300_000, dtype=torch.int64).random_(-(2**63), None)
    found = _holds_255(words) != 0
    assert torch.equal(found, words.view(torch.uint8).view(-1, 8).eq(255).any(1))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 1, 5, 5), (0, 4), (128, 784)])
def test_any_shape(shape):
    assert bernoulli_of_bytes(torch.full(shape, 255, dtype=torch.uint8)).eq(1).all()
    assert bernoulli_of_bytes(torch.zeros(shape, dtype=torch.uint8)).eq(0).all()


def test_fixed_uniforms_are_uniform_and_independent():
    u = fixed_uniform(np.arange(2000), 500, seed=7)
    assert u.shape == (2000, 500)
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-6
    for other in (np.roll(u, 1, axis=0), np.roll(u, 1, axis=1), fixed_uniform(np.arange(2000), 500, seed=8)):
        r = np.corrcoef(u.ravel(), other.ravel())[0, 1]
        assert abs(r) < 5 / np.sqrt(u.size)
    stream = fixed_uniform(np.arange(2000), 500, seed=7, stream=1)
    assert abs(np.corrcoef(u.ravel(), stream.ravel())[0, 1]) < 5 / np.sqrt(u.size)


def test_a_fixed_uniform_depends_on_its_row_alone():
    u = fixed_uniform(np.arange(100), 30, seed=3)
    rows = np.array([99, 4, 4, 17])
    assert np.array_equal(fixed_uniform(rows, 30, seed=3), u[rows])


def test_splitmix_reference_values():
    """Published first outputs of SplitMix64 started at 1234567 (Rosetta Code, from Vigna's C source)."""
    from nelbo.data.draws import _GOLDEN, _mix

    state = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * _GOLDEN
    assert _mix(state).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_shuffled_is_a_permutation_without_pattern():
    order = shuffled(10_000, seed=0)
    assert sorted(order.tolist()) == list(range(10_000))
    assert not np.array_equal(order, shuffled(10_000, seed=1))
    assert abs(stats.spearmanr(order, np.arange(10_000)).statistic) < 5 / 100
    assert len(np.unique(hash_rows(np.arange(10_000), seed=0))) == 10_000


def test_negative_and_large_seeds():
    rows = np.arange(5)
    keys = {tuple(hash_rows(rows, seed=s).tolist()) for s in (-1, 0, 1, 2**63, 2**64 - 2)}
    assert len(keys) == 5
