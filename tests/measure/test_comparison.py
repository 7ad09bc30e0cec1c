"""Runs side by side."""

import json

import pytest
import torch

from nelbo import data as nelbo_data
from nelbo import measure, recipes
from nelbo.measure import elbo_terms
from nelbo.report.terminal import as_text, row_table
from nelbo.runs import Run
from nelbo.training import fit

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
SETTINGS = {"effort": "quick", "examples": 40}


@pytest.fixture(scope="module")
def compared(runs):
    return measure.compare(runs, **SETTINGS)


def row(compared, name):
    return compared[name]


def test_differences_are_paired(compared, runs, digits):
    rows = torch.randperm(len(digits.validation), generator=torch.Generator().manual_seed(0))[:40]
    x = digits.validation.take(rows)
    first, second = (-elbo_terms(run.model, x).elbo.value for run in runs[:2])
    difference = row(compared, "nelbo").differences[runs[1].name]
    assert float(difference) == pytest.approx(float((second - first).mean()))
    assert difference.error == pytest.approx(float((second - first).std()) / 40**0.5)
    one, other = (row(compared, "nelbo").values[run.name] for run in runs[:2])
    assert float(difference) == pytest.approx(float(other) - float(one))
    # what makes an example hard is hard for both
    assert difference.error < (one.error**2 + other.error**2) ** 0.5


def test_an_autoencoder_beside_vaes(compared, runs):
    name = runs[2].name
    nelbo = row(compared, "nelbo")
    assert float(nelbo.values[name]) == float("inf")
    assert name not in nelbo.differences
    assert name in row(compared, "log_evidence").differences
    information = row(compared, "mutual_information")
    assert name not in information.values
    assert information.missing == {name: "not defined: q(z|x) is a point"}
    assert "not defined: q(z|x) is a point" in compared.to_html()
    assert "not defined:" in as_text(row_table(compared.rows), width=200)


def test_the_example_shown_is_the_one_that_they_differ_on(compared, runs, digits):
    rows = torch.randperm(len(digits.validation), generator=torch.Generator().manual_seed(0))[:40]
    errors = torch.stack(
        [elbo_terms(run.model, digits.validation.take(rows)).reconstruction_error.value for run in runs]
    )
    assert compared.settings["index"] == int(rows[(errors.max(0).values - errors.min(0).values).argmax()])
    assert measure.compare(runs[:2], index=3, **SETTINGS).settings["index"] == 3


def test_sentences_say_who_is_better(compared, runs):
    nelbo = row(compared, "nelbo")
    better = float(nelbo.differences[runs[1].name]) < 0
    sentence = next(s for s in str(compared).splitlines() if s.startswith("NELBO") and runs[1].name in s)
    assert ("better" in sentence) == better
    assert ("worse" in sentence) == (not better)


def test_a_run_against_itself_does_not_differ(runs):
    same = measure.compare([runs[0], runs[0]], names=["a", "b"], **SETTINGS)
    assert float(row(same, "nelbo").differences["b"]) == 0
    assert "differ by less than two standard errors" in str(same).splitlines()[0]


def test_json_and_page(compared, runs, tmp_path):
    names = [run.name for run in runs]
    rows = json.loads(compared.to_json())["sections"][0]["rows"]
    assert list(rows[0]["values"]) == names
    assert list(rows[0]["differences"]) == names[1:]
    page = compared.save_page(tmp_path / "both.html").read_text("utf-8")
    assert page.count("<svg ") == 2
    assert all(name in page for name in names)


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


def test_another_split_of_standardized_data_is_called_a_split_and_each_run_by_a_name_of_its_own():
    def trained(seed):
        data = nelbo_data.load(X, standardize=True, seed=seed)
        return fit(recipes.vae((3,), hidden=(4,), likelihood="normal"), data, epochs=1, progress=False)

    with pytest.raises(ValueError, match=r"vae \(1\) and vae \(2\) hold out different examples.*'seed': 0.*'seed': 1"):
        measure.compare([trained(0), trained(1)])


def test_other_bytes_are_refused_unless_data_are_named(runs):
    x = torch.ones(50, 1, 8, 8)
    run = fit(recipes.vae((1, 8, 8), hidden=(8,)), x, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"trained on different data; name the data to compare them on"):
        measure.compare([runs[0], run])
    found = measure.compare([runs[0], run], runs[0].data, **SETTINGS)
    assert float(row(found, "nelbo").differences[run.name]) > 0


def test_the_line_to_write_is_that_of_the_shell_where_the_runs_have_folders(runs, tmp_path):
    x = torch.ones(50, 1, 8, 8)
    run = fit(recipes.vae((1, 8, 8), hidden=(8,)), x, epochs=1, progress=False, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"nelbo compare \S+ \S+ --data DATA") as found:
        measure.compare([runs[0], run])
    assert f"nelbo compare {runs[0].path} {run.path} --data DATA" in str(found.value)


def test_mistakes(runs):
    with pytest.raises(ValueError, match="compare needs two or more runs, got 1"):
        measure.compare(runs[:1])
    with pytest.raises(ValueError, match="index must be between 0 and 99"):
        measure.compare(runs[:2], index=100, **SETTINGS)
    with pytest.raises(ValueError, match="names must have one name for each of the 2 runs, got 1"):
        measure.compare(runs[:2], names=["a"], **SETTINGS)
    assert isinstance(runs[0], Run)


def test_how_many_examples_are_flagged_stands_beside_log_evidence(runs, monkeypatch):
    from nelbo.measure import context

    measured = context.log_evidence

    def doubtful(model, x, **options):
        found = measured(model, x, **options)
        return found.doubted((torch.arange(len(found.value)) < 10, lambda: "nothing is certain"))

    assert "flagged" not in [row.id for row in measure.compare(runs[:2], **SETTINGS).rows]
    monkeypatch.setattr(context, "log_evidence", doubtful)
    found = measure.compare(runs[:2], **SETTINGS)
    names = [run.name for run in runs[:2]]
    assert [round(float(row(found, "flagged").values[name]), 3) for name in names] == [0.25, 0.25]
    assert "25.0 ± 6.9 %" in as_text(row_table(found.rows), width=200)
    assert any("examples nothing is certain" in note for note in found.sections[0].notes)
