"""The suites of planted faults; a few cases at each commit, all of them in make slow and make diagnose-suite."""

import pytest

from nelbo.diagnosis.registry import CHECKS
from tests.planted.suite import cases, examine

FAST = (
    "collapse_dense",
    "light_kl_dense",
    "gray_dense",
    "spike_dense",
    "nan_in_the_data",
    "statistics_that_never_adapt",
    "dense_16",
)
FAST_WILD = ("half_forgotten_of_a_class", "loss_inside")


def judge(planted):
    outcome = examine(planted)
    assert outcome.right, f"expected {planted.finding or 'nothing severe'}, found {outcome.said}\n{outcome.findings}"


@pytest.mark.parametrize("name", FAST + FAST_WILD)
def test_the_fault_is_named_first(name):
    judge(cases([name])[0])


EVERY = [planted.name for wild in (False, True) for planted in cases(wild=wild)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EVERY if name not in FAST + FAST_WILD])
def test_every_other_fault_is_named_first(name):
    judge(cases([name])[0])


@pytest.mark.parametrize("wild", [False, True])
def test_health_comes_in_twelve_kinds(wild):
    assert sum(planted.finding is None for planted in cases(wild=wild)) >= 12


def test_wild_models_are_faulty_in_25_ways_and_written_in_eight_styles():
    assert sum(planted.finding is not None for planted in cases(wild=True)) >= 25
    assert len({planted.network for planted in cases(wild=True)}) >= 8


@pytest.mark.parametrize("finding", list(CHECKS))
def test_every_finding_is_planted_in_two_kinds_of_data_and_of_networks(finding):
    planted = [case for case in cases() if case.finding == finding]
    assert len({case.data for case in planted}) >= 2
    assert len({case.network for case in planted}) >= 2
