"""The suite of planted faults; a few cases at each commit, all of them in make slow and make diagnose-suite."""

import pytest

from tests.planted.suite import cases, examine

FAST = (
    "collapse_dense",
    "light_kl_dense",
    "another_prior_table",
    "gray_dense",
    "unit_sigma_dense",
    "overdispersed",
    "spike_dense",
    "nan_in_the_data",
    "dense_16",
    "dropout_and_batch_norm",
)


def judge(planted):
    outcome = examine(planted)
    assert outcome.right, f"expected {planted.finding or 'nothing severe'}, found {outcome.said}\n{outcome.findings}"


@pytest.mark.parametrize("name", FAST)
def test_the_fault_is_named_first(name):
    judge(cases([name])[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [planted.name for planted in cases() if planted.name not in FAST])
def test_every_other_fault_is_named_first(name):
    judge(cases([name])[0])


def test_the_suite_covers_every_finding_twice_and_health_in_twelve_ways():
    faults = [planted for planted in cases() if planted.finding is not None]
    assert len(cases()) - len(faults) >= 12
    for finding in {planted.finding for planted in faults}:
        kinds = {(planted.data, planted.network) for planted in faults if planted.finding == finding}
        assert len(kinds) >= 2, finding
