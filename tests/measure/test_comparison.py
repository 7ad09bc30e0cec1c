"""Runs side by side."""

import json

import pytest
import torch

from nelbo import data as nelbo_data
from nelbo import measure, recipes
from nelbo.measure import elbo_terms
from nelbo.runs import Run
from nelbo.training import fit

SETTINGS = {"effort": "quick", "examples": 40}


@pytest.fixture(scope="module")
def compared(runs):
    return measure.compare(runs, **SETTINGS)


def row(compared, name):
    return next(row for row in compared.rows if row.id == name)


def test_differences_are_paired(compared, runs, digits):
    rows = torch.randperm(len(digits.validation), generator=torch.Generator().manual_seed(0))[:40]
    x = digits.validation.take(rows)
    first, second = (-elbo_terms(run.model, x).elbo.value for run in runs[:2])
    difference = row(compared, "nelbo").differences[1]
    assert difference.value == pytest.approx(float((second - first).mean()))
    assert difference.standard_error == pytest.approx(float((second - first).std()) / 40**0.5)
    values = row(compared, "nelbo").values
    assert difference.value == pytest.approx(values[1].value - values[0].value)
    # what makes an example hard is hard for both
    assert difference.standard_error < (values[0].standard_error ** 2 + values[1].standard_error ** 2) ** 0.5


def test_an_autoencoder_beside_vaes(compared):
    nelbo = row(compared, "nelbo")
    assert nelbo.values[2].value == float("inf")
    assert nelbo.differences[2] is None
    assert row(compared, "log_evidence").differences[2] is not None
    assert row(compared, "mutual_information").values[2] is None


def test_the_example_shown_is_the_one_that_they_differ_on(compared, runs, digits):
    rows = torch.randperm(len(digits.validation), generator=torch.Generator().manual_seed(0))[:40]
    errors = torch.stack(
        [elbo_terms(run.model, digits.validation.take(rows)).reconstruction_error.value for run in runs]
    )
    assert compared.index == int(rows[(errors.max(0).values - errors.min(0).values).argmax()])
    assert measure.compare(runs[:2], index=3, **SETTINGS).index == 3


def test_sentences_say_who_is_better(compared):
    nelbo = row(compared, "nelbo")
    better = nelbo.differences[1].value < 0
    sentence = next(s for s in compared.findings if s.startswith("NELBO") and compared.names[1] in s)
    assert ("better" in sentence) == better
    assert ("worse" in sentence) == (not better)


def test_a_run_against_itself_does_not_differ(runs):
    same = measure.compare([runs[0], runs[0]], titles=["a", "b"], **SETTINGS)
    assert row(same, "nelbo").differences[1].value == 0
    assert "differ by no more than their error" in same.findings[0]


def test_json_and_page(compared, tmp_path):
    json.dumps(compared.to_dict(), allow_nan=False)
    assert set(compared.to_dict()["quantities"][0]["runs"]) == set(compared.names)
    page = compared.save(tmp_path / "both.html").read_text("utf-8")
    assert page.count("<svg ") == 2
    assert all(name in page for name in compared.names)


def other(digits, **changes):
    """A run on other data than those of the sweep."""
    options = {"binarize": "threshold", "limit": 400, "validation": 100} | changes
    data = nelbo_data.load("digits", **options)
    return fit(recipes.vae((1, 8, 8), hidden=(8,)), data, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"binarize": "static"}, "differently prepared"),
        ({"seed": 3}, "hold out different examples"),
    ],
)
def test_other_data_are_refused(runs, digits, changes, message):
    with pytest.raises(ValueError, match=message):
        measure.compare([runs[0], other(digits, **changes)])


def test_other_bytes_are_refused_unless_data_are_named(runs):
    x = torch.ones(50, 1, 8, 8)
    run = fit(recipes.vae((1, 8, 8), hidden=(8,)), x, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"trained on different data; name the data to compare them on"):
        measure.compare([runs[0], run])
    found = measure.compare([runs[0], run], runs[0].data, **SETTINGS)
    assert row(found, "nelbo").differences[1].value > 0


def test_mistakes(runs):
    with pytest.raises(ValueError, match="compare takes two or more runs, got 1"):
        measure.compare(runs[:1])
    with pytest.raises(ValueError, match="--index is from 0 to 99"):
        measure.compare(runs[:2], index=100, **SETTINGS)
    with pytest.raises(ValueError, match="titles holds 1 names for 2 runs"):
        measure.compare(runs[:2], titles=["a"], **SETTINGS)
    assert isinstance(runs[0], Run)
