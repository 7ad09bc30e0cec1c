"""Randomness as a pure function of (seed, purpose, position): what makes a run repeat and resume bit for bit.

Before each step the generators are seeded from the step's number, so a checkpoint needs no generator state, a resumed
run draws what the uninterrupted one drew, and a failed step can be replayed.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch

_PURPOSES = ("weights", "order", "noise", "validation", "figure")


def derive(seed: int, purpose: str, position: int = 0) -> int:
    """A 63-bit seed for one purpose at one position, unrelated to all others (two rounds of SplitMix64).

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 17.
    """
    state = (_PURPOSES.index(purpose) + 1) * 0x9E3779B97F4A7C15
    for part in (seed, position):
        state = (state + part * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed the generator that draws on this device."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every backend, ten times the cost
    else:
        torch.manual_seed(seed)


@contextmanager
def own_randomness(device: torch.device) -> Generator[None]:
    """Leave the caller's random state, on the CPU and on this device, as it was found."""
    if device.type in ("cuda", "mps", "xpu"):
        with torch.random.fork_rng([device.index or 0], device_type=device.type):
            yield
    else:
        with torch.random.fork_rng([]):
            yield


@contextmanager
def seeded_weights(seed: int) -> Generator[None]:
    """Within, new modules draw their weights by this seed; the caller's random state is left as it was."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive(seed, "weights"))
        yield
