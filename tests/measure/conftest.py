"""Small runs that the tests of the report, the comparison and the command line share."""

import pytest

from nelbo import data as nelbo_data
from nelbo.measure import sweep


@pytest.fixture(scope="session")
def digits():
    return nelbo_data.load("digits", binarize="threshold", limit=400, validation=100)


@pytest.fixture(scope="session")
def swept(digits, tmp_path_factory):
    """A sweep: beta = 1, beta = 5 and the autoencoder."""
    return sweep(
        digits,
        out=tmp_path_factory.mktemp("sweep"),
        betas=(1.0, 5.0),
        model={"hidden": (32,)},
        epochs=10,
        progress=False,
    )


@pytest.fixture(scope="session")
def runs(swept):
    return swept.runs
