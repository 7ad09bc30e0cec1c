"""Seeds derived from (seed, purpose, position)."""

import numpy as np
import pytest
import torch

from nelbo.randomness import derive, own_randomness, seed_noise, seeded_weights

PINNED = (8580387380343249550, 5094391568160748067)


def test_no_two_places_share_a_seed():
    seeds = [
        derive(s, p, i) for s in range(10) for p in ("weights", "order", "noise", "validation") for i in range(500)
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)


def test_neighbours_differ_in_half_of_their_bits():
    flips = [bin(derive(0, "noise", i) ^ derive(0, "noise", i + 1)).count("1") for i in range(2000)]
    # 63 fair bits: mean 31.5, standard deviation of the mean of 2000 is 0.089
    assert np.mean(flips) == pytest.approx(31.5, abs=5 * np.sqrt(63 / 4 / 2000))
    flips = [bin(derive(i, "noise", 0) ^ derive(i + 1, "noise", 0)).count("1") for i in range(2000)]
    assert np.mean(flips) == pytest.approx(31.5, abs=5 * np.sqrt(63 / 4 / 2000))


def test_is_what_it_was():
    """A run of an earlier release goes on with the draws that it began with."""
    assert derive(0, "order", 0) == PINNED[0]
    assert derive(-1, "noise", 10**12) == PINNED[1]


def test_the_caller_s_randomness_is_restored():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    with own_randomness(torch.device("cpu")):
        seed_noise(torch.device("cpu"), 9)
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(3), inside)


def test_weights_by_seed():
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    with seeded_weights(1):
        a = torch.rand(3)
    with seeded_weights(1):
        b = torch.rand(3)
    with seeded_weights(2):
        c = torch.rand(3)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.random.get_rng_state(), before)
