"""One look at all values before training: kind, range, broken values, and mean and spread of the training
set.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.looks import Looks

_BLOCK = 1 << 17  # values turned into float64 at a time


@dataclass
class Moments:
    """Mean, standard deviation and range of each feature (vectors) or channel (images), piece by piece.

    The pieces are merged as in Chan, Golub & LeVeque 1983, eq. 2.1: no difference of large sums is taken.
    """

    n: float = 0.0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    low: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    high: NDArray[Any] = field(default_factory=lambda: np.zeros(0))

    def add(self, x: NDArray[Any]) -> None:
        """More examples, (n, features) or (n, channels, ...)."""
        step = max(1, _BLOCK // max(1, x[:1].size))
        for i in range(0, len(x), step):
            self._merge(x[i : i + step].reshape(-1, x.shape[1], int(np.prod(x.shape[2:]))))

    def _merge(self, block: NDArray[Any]) -> None:
        low, high = block.min(axis=(0, 2)), block.max(axis=(0, 2))
        values = block.astype(np.float64)
        n = values.shape[0] * values.shape[2]
        mean = values.mean(axis=(0, 2))
        squares = ((values - mean[:, None]) ** 2).sum(axis=(0, 2))
        if not self.n:
            self.n, self.mean, self.squares, self.low, self.high = n, mean, squares, low, high
            return
        total = self.n + n
        off = mean - self.mean
        self.squares = self.squares + squares + off**2 * (self.n * n / total)
        self.mean = self.mean + off * (n / total)
        self.low, self.high, self.n = np.minimum(self.low, low), np.maximum(self.high, high), total

    @property
    def constant(self) -> list[int]:
        """Features whose values are all the same, told by their range: a rounded variance need not be 0."""
        return np.flatnonzero(self.low == self.high).tolist()

    def mean_and_std(self, *, noise: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of value (+ U[0, 1) if `noise`); std is 1 where values are constant."""
        variance = self.squares / self.n + (1 / 12 if noise else 0.0)
        std = np.sqrt(variance)
        if not noise:
            std[self.constant] = 1.0
        return tuple((self.mean + (0.5 if noise else 0.0)).tolist()), tuple(std.tolist())


def refuse_broken(looks: Looks, where: str) -> None:
    """Raise where values are NaN or infinite; `where` says which is the first."""
    if looks.nan or looks.inf:
        raise ValueError(
            f"the data hold {looks.nan:,} NaN and {looks.inf:,} infinite values among {looks.values:,}, the "
            f"first {where}; expected finite numbers. Drop those examples: x = "
            "x[np.isfinite(x.reshape(len(x), -1)).all(axis=1)], or fill them in: x = "
            "np.where(np.isfinite(x), x, np.nanmedian(x, axis=0))."
        )


def first_broken(x: NDArray[Any], names: tuple[str, ...] | None, *, offset: int = 0) -> str:
    """Where the first non-finite value is, in words; empty where there is none."""
    for i in range(0, len(x), 1024):
        bad = np.argwhere(~np.isfinite(x[i : i + 1024]))
        if len(bad):
            row, *place = bad[0].tolist()
            column = f"column {names[place[0]]!r}" if names else f"position {tuple(place)}"
            return f"in example {offset + i + row}, {column}"
    return ""
