"""Schedules by tables."""

import math

import pytest

from nelbo.objectives import Cyclical, Linear, Progress


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [
        (Linear(10), 0, 0.0),
        (Linear(10), 2.5, 0.25),
        (Linear(10), 9.99, 0.999),
        (Linear(10), 10, 1.0),
        (Linear(10), 1e9, 1.0),
        (Linear(10), math.inf, 1.0),
        (Linear(4, start=1.0, end=5.0), 1, 2.0),
        (Linear(4, start=5.0, end=1.0), 3, 2.0),
        (Linear(0.5), 0.25, 0.5),
        # four cycles of 3 epochs, each rising over its first half
        (Cyclical(12), 0, 0.0),
        (Cyclical(12), 0.75, 0.5),
        (Cyclical(12), 1.5, 1.0),
        (Cyclical(12), 2.99, 1.0),
        (Cyclical(12), 3, 0.0),
        (Cyclical(12), 3.75, 0.5),
        (Cyclical(12), 6, 0.0),
        (Cyclical(12), 9, 0.0),
        (Cyclical(12), 11.9, 1.0),
        (Cyclical(12), 12, 1.0),
        (Cyclical(12), math.inf, 1.0),
        (Cyclical(10, cycles=2, rise=1.0, end=4.0), 4, 3.2),
        (Cyclical(10, cycles=2, rise=0.25, start=1.0, end=2.0), 5.625, 1.5),
        (3.0, 7, 3.0),
    ],
)
def test_by_table(schedule, epoch, expected):
    assert Progress(epoch).weight("beta", schedule) == pytest.approx(expected)


@pytest.mark.parametrize("epochs", range(1, 60))
def test_a_cycle_begins_at_its_start(epochs):
    """At whole cycles the weight is the start, not the end of the cycle before, whatever the rounding."""
    for cycles in (1, 3, 4, 7, 10):
        schedule = Cyclical(epochs, cycles=cycles)
        for cycle in range(cycles):
            assert schedule.at(epochs * cycle / cycles) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("make", [lambda: Linear(0), lambda: Linear(-1), lambda: Cyclical(0), lambda: Linear(math.nan)])
def test_a_schedule_lasts(make):
    with pytest.raises(ValueError, match="epochs of a schedule must be greater than 0"):
        make()


@pytest.mark.parametrize("settings", [{"cycles": 0}, {"rise": 0.0}, {"rise": 1.5}])
def test_cycles_that_cannot_be(settings):
    with pytest.raises(ValueError, match=r"write Cyclical\(epochs, cycles=4, rise=0\.5\)"):
        Cyclical(10, **settings)
