"""The properties of ``make fuzz`` on a few inputs, the same in every run."""

import warnings

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS

FEW = {"data of fit": 25, "expressions of kl": 25, "folders of runs": 25, "messages to the studio": 120}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_comes_in_ends_in_a_traceback(name):
    check, inputs = TARGETS[name]
    few = settings(
        max_examples=FEW[name],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with warnings.catch_warnings():
        few(given(inputs)(check))()
