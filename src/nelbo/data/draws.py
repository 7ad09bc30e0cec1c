"""Random draws: fresh ones, fast and exact, and fixed ones, functions of (seed, row, feature) alone."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BYTES = 8  # in a 64-bit word
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 18  # elements hashed at a time: the temporaries stay in the cache


def bernoulli_of_bytes(raw: Tensor) -> Tensor:
    """One draw x ~ Bernoulli(raw / 255), exactly: P(x = 1) = raw / 255, with no float in between.

    u uniform on 0..254 gives P(u < raw) = raw / 255. Such bytes come from 64-bit words of torch's global generator of
    raw's device: eight bytes a word, and a word that holds a 255 is dropped as a whole (3 %), which leaves the bytes of
    the other words independent and uniform on 0..254.

    Args:
        raw: (batch, *event) uint8.

    Returns:
        (batch, *event) float32, 0 and 1.
    """
    below_255 = _words_without_255(-(-raw.numel() // _BYTES), raw.device).view(torch.uint8)
    ones = torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
    # writing the comparison as float saves a pass over it as bool
    return torch.lt(below_255[: raw.numel()].view(raw.shape), raw, out=ones)


def _words_without_255(n: int, device: torch.device) -> Tensor:
    """Draw n random 64-bit words, none with a byte of 255.

    Words to spare stand in for the dropped ones: moving all that are kept would cost more than drawing them.
    """
    spare = n // 20 + 32  # 12 standard deviations more than are dropped on average at n = 12,544 (128 x 784)
    words = torch.empty(n + spare, dtype=torch.int64, device=device).random_(-(2**63), None)
    dropped = _holds_255(words[:n]).nonzero().flatten()
    rest = words[n:]
    good = rest.masked_select(_holds_255(rest) == 0)
    if len(good) < len(dropped):
        good = torch.cat((good, _words_without_255(len(dropped) - len(good), device)))
    return words[:n].index_copy_(0, dropped, good[: len(dropped)])


def _holds_255(words: Tensor) -> Tensor:
    """Nonzero where a byte of a word is 255 (Warren, Hacker's Delight, 6-1, of the inverted word)."""
    inverted_less_ones = words.bitwise_not().sub_(0x0101010101010101)
    return inverted_less_ones.bitwise_and_(words).bitwise_and_(-0x7F7F7F7F7F7F7F80)


def _mix(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014, sect. 4; constants of Vigna), in place."""
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return h


def _key(seed: int, stream: int) -> NDArray[np.uint64]:
    start = np.array([seed & (2**64 - 1)], dtype=np.uint64)
    return _mix(_mix(start + _GOLDEN) + np.array([stream + 1], dtype=np.uint64) * _GOLDEN)


def hash_rows(rows: NDArray[np.int64], *, seed: int, stream: int = 0) -> NDArray[np.uint64]:
    """64 random bits for each row number: a pure function of (seed, stream, row), the same on every machine."""
    return _mix(_key(seed, stream) + (rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def shuffled(n: int, *, seed: int, stream: int = 0) -> NDArray[np.int64]:
    """A permutation of 0..n-1 that no release of numpy or torch can change: the order of the rows' hashes."""
    return np.argsort(hash_rows(np.arange(n, dtype=np.int64), seed=seed, stream=stream), kind="stable")


def fixed_uniform(rows: NDArray[np.int64], features: int, *, seed: int, stream: int = 0) -> NDArray[np.float64]:
    """Draw u ~ U[0, 1) of shape (rows, features), where u[i, j] depends on (seed, stream, rows[i], j) alone.

    So an example keeps its draw whichever other examples are asked for, in whatever order, from memory or from disk.
    """
    step = (np.arange(features, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    start = hash_rows(rows, seed=seed, stream=stream)
    bits = _mix(start[:, None] + step[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def blocks(rows: NDArray[np.int64], features: int) -> list[slice]:
    """Slices of `rows` of about `_BLOCK` elements each."""
    step = max(1, _BLOCK // max(1, features))
    return [slice(i, i + step) for i in range(0, len(rows), step)]


def as_rows(rows: Any) -> NDArray[np.int64]:
    """Row numbers as a numpy array."""
    return np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows, dtype=np.int64)
