"""Random numbers as functions: of (seed, step) in training, of an example's own content where it is measured.

Training seeds the device's generator before each step from (seed, step, piece), so a checkpoint needs no generator
state, a resumed run draws what the uninterrupted one drew, and a failed step can be replayed.

Whatever is measured draws per example, from (seed, purpose, hash of the example's values, number of the draw), by a
counter-based generator: integer arithmetic on tensors. A draw then depends on neither the example's position, its
neighbours, the size of a chunk, the device's memory nor the number of processes, and equal examples get equal draws.

Sources: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"; Steele, Lea & Flood 2014,
"Fast splittable pseudorandom number generators" (SplitMix64); Lemire & Kaser 2014, "Strongly universal string hashing
is fast" (multilinear hashing).
"""

import math
import operator
import zlib
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from nelbo import devices

_GOLDEN, _PART = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_ALL = (1 << 64) - 1


def _mixed(state: int) -> int:
    """SplitMix64's finalizer on a Python integer."""
    state = ((state ^ (state >> 30)) * _FIRST) & _ALL
    state = ((state ^ (state >> 27)) * _SECOND) & _ALL
    return state ^ (state >> 31)


def derive(seed: int, purpose: str, *positions: int) -> int:
    """A 63-bit seed for one purpose at one position (a step, and a piece of it), unrelated to all others.

    Raises:
        TypeError: seed is not an integer.
    """
    state = (zlib.crc32(purpose.encode()) + 1) * _GOLDEN
    for part in (as_seed(seed), *(positions or (0,))):
        state = _mixed((state + part * _PART + _GOLDEN) & _ALL)
    return state >> 1


def as_seed(seed: int) -> int:
    """Any integer as a seed of 64 bits without a sign, which torch's and numpy's generators take.

    Raises:
        TypeError: seed is not an integer.
    """
    try:
        return operator.index(seed) & _ALL
    except TypeError:
        raise TypeError(f"seed must be an integer, got {seed!r}; write seed=0") from None


def generator(seed: int) -> torch.Generator:
    """A generator of torch on the CPU, seeded by any integer; a TypeError for anything else."""
    return torch.Generator().manual_seed(as_seed(seed))


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed the generator that draws on this device, and that of the CPU."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every backend, ten times the cost
    if device.type not in ("cpu", "meta"):
        devices.seed_on(device, seed)


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """A context that leaves the caller's random state, on the CPU and on this device, as it was found."""
    if device.type in ("cpu", "meta"):
        return torch.random.fork_rng([])
    return torch.random.fork_rng([devices.indexed(device).index], device_type=device.type)


@contextmanager
def seeded_weights(seed: int) -> Generator[None]:
    """Within, new modules draw their weights by this seed; the caller's random state is left as it was."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive(seed, "weights"))
        yield


def example_keys(*values: Tensor | None, seed: int = 0, purpose: str) -> Tensor:
    """A 64-bit key for each example, from the seed, the purpose and the example's values alone.

    Args:
        *values: (batch, \\*event) each, such as x and its condition; None is left out.
        seed: another seed, other keys.
        purpose: for which draws are made; two purposes draw independently.

    Returns:
        (batch,) int64, on the device of the values: equal values have equal keys.
    """
    present = [value for value in values if value is not None]
    key = torch.full((len(present[0]),), _signed(derive(seed, purpose)), dtype=torch.int64, device=present[0].device)
    for value in present:
        # adding 0.0 makes -0.0 the 0.0 that it is equal to, and NaN has many patterns of bits
        flat = (value.detach().reshape(len(value), -1).to(torch.float32) + 0.0).contiguous()
        flat = flat.masked_fill(flat.isnan(), torch.nan)
        if flat.shape[1] % 2:
            flat = torch.nn.functional.pad(flat, (0, 1))
        words = flat.view(torch.int64)
        key = _mix(key + (words * _multipliers(words.shape[1], words.device)).sum(1))
    return key


@lru_cache(maxsize=32)
def _multipliers(n: int, device: torch.device) -> Tensor:
    return _mix(torch.arange(1, n + 1) * _signed(_GOLDEN)).to(device) | 1


def folded(keys: Tensor, number: int | Tensor) -> Tensor:
    """Keys of another stream for the same examples, as for each step of a Markov chain; number may be (batch,)."""
    return _mix(keys + (_signed((number + 1) * _PART) if isinstance(number, int) else (number + 1) * _signed(_PART)))


def normal(keys: Tensor, draws: int, size: int, *, start: int = 0) -> Tensor:
    """Standard normal numbers, (draws, batch, size) float32, a function of (key, number of the draw, place).

    Args:
        keys: (batch,) int64, of :func:`example_keys`.
        draws: of each example.
        size: numbers of each draw.
        start: number of the first draw: draws from 0 on, cut in any way, are the same draws.

    Source: Box & Muller 1958, "A note on the generation of random normal deviates".
    """
    pairs = (size + 1) // 2
    words = _words(keys, draws, 2 * pairs, start)
    # of the first half 31 bits and a half, so that the logarithm is never that of 0
    radius = (words[..., :pairs] & 0x7FFFFFFF).float().add_(0.5).mul_(2.0**-31).log_().mul_(-2.0).sqrt_()
    angle = words[..., pairs:].float().mul_(math.pi * 2.0**-31)
    return torch.cat([radius * torch.cos(angle), radius.mul_(angle.sin_())], -1)[..., :size]


def uniform(keys: Tensor, draws: int, size: int, *, start: int = 0) -> Tensor:
    """Numbers in the open interval (0, 1), (draws, batch, size) float32, as :func:`normal`."""
    positive = (_words(keys, draws, size, start) & 0x7FFFFFFF).float()
    return positive.add_(0.5).mul_(2.0**-31).clamp_(max=1 - 2.0**-24)


def _words(keys: Tensor, draws: int, words: int, start: int) -> Tensor:
    """Random 32-bit words, (draws, batch, words) int32.

    SplitMix64 makes a key for each draw; its two halves key a 32-bit finalizer, whose products a processor computes
    eight at a time (constants by C. Wellons's search for low bias).
    """
    number = torch.arange(start + 1, start + draws + 1, device=keys.device)[:, None] * _signed(_PART)
    halves = _mix(keys + number).view(torch.int32).unflatten(-1, (-1, 2))
    state = halves[..., :1] + torch.arange(1, words + 1, dtype=torch.int32, device=keys.device) * -0x61C88647
    state ^= (state >> 16).bitwise_and_(0xFFFF)
    state *= 0x7FEB352D
    state ^= halves[..., 1:]
    state ^= (state >> 15).bitwise_and_(0x1FFFF)
    state *= -0x7B935975
    state ^= (state >> 16).bitwise_and_(0xFFFF)
    return state


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's finalizer on int64 tensors, whose products wrap and whose shifts keep the sign."""
    state = state.bitwise_xor((state >> 30) & (_ALL >> 30)).mul_(_signed(_FIRST))
    state = state.bitwise_xor_((state >> 27) & (_ALL >> 27)).mul_(_signed(_SECOND))
    return state.bitwise_xor_((state >> 31) & (_ALL >> 31))


def _signed(value: int) -> int:
    """The same 64 bits as a signed integer."""
    value &= _ALL
    return value - (1 << 64) if value >> 63 else value
