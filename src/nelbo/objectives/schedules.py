"""Weights that change while training: pure functions of the time in epochs."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final


class Schedule(ABC):
    """A weight as a function of the time since the start, in (fractional) epochs."""

    epochs: float

    @abstractmethod
    def at(self, epoch: float) -> float:
        """The weight at that time; infinity stands for a finished training."""

    @property
    @abstractmethod
    def final(self) -> float:
        """The weight that the training ends with."""


@final
@dataclass(frozen=True)
class Linear(Schedule):
    """Rises from ``start`` to ``end`` over the first ``epochs`` epochs, then stays.

    Source: Bowman et al. 2016, "Generating sentences from a continuous space", section 3.1.
    """

    epochs: float
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _positive(self.epochs)

    def at(self, epoch: float) -> float:
        return self.start + (self.end - self.start) * min(epoch / self.epochs, 1.0)

    @property
    def final(self) -> float:
        return self.end


@final
@dataclass(frozen=True)
class Cyclical(Schedule):
    """Rises from ``start`` to ``end`` in each of ``cycles`` equal cycles, over the first ``rise`` of the cycle.

    After ``epochs`` epochs it stays at ``end``.

    Source: Fu et al. 2019, "Cyclical annealing schedule: a simple approach to mitigating KL vanishing", eq. 6.
    """

    epochs: float
    cycles: int = 4
    rise: float = 0.5
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _positive(self.epochs)
        if self.cycles < 1 or not 0 < self.rise <= 1:
            raise ValueError(
                f"cycles must be at least 1 and rise in (0, 1], got cycles={self.cycles}, rise={self.rise}; "
                "write Cyclical(epochs, cycles=4, rise=0.5)"
            )

    def at(self, epoch: float) -> float:
        if epoch >= self.epochs:
            return self.end
        done = epoch / self.epochs * self.cycles
        # a cycle begins at its start, also where rounding puts the epoch a hair before it
        phase = max(done - math.floor(done + 1e-9), 0.0)
        return self.start + (self.end - self.start) * min(phase / self.rise, 1.0)

    @property
    def final(self) -> float:
        return self.end


def _positive(epochs: float) -> None:
    if not epochs > 0:
        raise ValueError(
            f"epochs of a schedule must be greater than 0, got {epochs}; for a constant weight pass a number"
        )
