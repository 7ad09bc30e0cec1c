"""Learning-rate schedules: pure functions of the time in epochs."""

import math
from typing import Literal, get_args

Schedule = Literal["constant", "cosine", "exponential", "burda"]


def factor(schedule: Schedule, epoch: float, epochs: int, warm_up: float = 0.0) -> float:
    """What the learning rate is multiplied by.

    Args:
        schedule: ``"constant"``; ``"cosine"``, down to 0 (Loshchilov & Hutter 2017, eq. 5); ``"exponential"``, down to
            1/100; ``"burda"``, 10^(-i/7) in stages i = 0 ... 7 of 3^i passes, stretched to the length of the training
            (Burda et al. 2016, section 5).
        epoch: time since the start.
        epochs: length of the training.
        warm_up: epochs over which it first rises from 0.
    """
    rise = min(1.0, (epoch + 1e-3) / warm_up) if warm_up > 0 else 1.0
    done = min(epoch / epochs, 1.0)
    if schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "exponential":
        return rise * 100.0**-done
    if schedule == "burda":
        total = 3280  # = sum of 3^i for i = 0 ... 7; stage i starts after (3^i - 1) / 2 passes
        stage = next(i for i in range(7, -1, -1) if done * total >= (3**i - 1) / 2 - 1e-9)
        return rise * 10 ** (-stage / 7)
    return rise


def check(schedule: str) -> None:
    """Raise a ValueError for a name that is no schedule."""
    if schedule not in get_args(Schedule):
        raise ValueError(f"schedule is one of {', '.join(get_args(Schedule))}; got {schedule!r}")
