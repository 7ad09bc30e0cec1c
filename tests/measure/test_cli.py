"""nelbo measure, compare and sweep as a user meets them."""

import html
import json
import re
import shlex

import numpy as np
import pytest
import torch

import nelbo
from nelbo import measure
from nelbo.cli import main

FEW = ["--effort", "quick", "--examples", "30"]


@pytest.fixture
def folders(swept, monkeypatch):
    monkeypatch.chdir(swept.runs[0].path.parent)
    monkeypatch.setenv("COLUMNS", "100")
    return [run.path.name for run in swept.runs]


def test_measure_prints_a_table_and_writes_two_files(folders, capsys, tmp_path):
    assert main(["measure", folders[0], *FEW, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"log p\(x\) +−\d+\.\d+ ± \d\.\d+ +−\d+\.\d+ ± \d\.\d+ +nats", printed)
    assert "- Held-out data have log p(x) =" in printed
    assert "…" not in printed
    assert (tmp_path / "measure.json").exists()
    assert (tmp_path / "report.html").exists()


def test_json_alone_on_standard_output(folders, capsys, tmp_path):
    assert main(["measure", folders[0], *FEW, "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "measure.json").read_text())


def test_other_data_are_judged_beside_the_run_s_own(folders, capsys, tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((40, 8, 8), dtype=np.float32))
    assert main(["measure", folders[0], str(tmp_path / "mine.npy"), *FEW, "--json", "--out", str(tmp_path)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "mine.npy" in record["facts"]["data"]
    nelbo = record["sections"][0]["rows"][2]["values"]
    assert nelbo["held_out"]["value"] != nelbo["training"]["value"]


def test_other_data_are_standardized_with_the_run_s_own_figures(tmp_path, capsys):
    """Data far from what the model was trained on must look far to it: by their own mean they would look the same."""
    generator = np.random.default_rng(0)
    trained, other = generator.normal(5, 3, (200, 4)).astype("f4"), generator.normal(50, 7, (60, 4)).astype("f4")
    np.save(tmp_path / "trained.npy", trained)
    np.save(tmp_path / "other.npy", other)
    data = nelbo.data.load(tmp_path / "trained.npy", standardize=True, validation=40)
    model = nelbo.recipes.vae((4,), latent=1, hidden=(4,), likelihood="normal")
    run = nelbo.fit(model, data, epochs=1, out=tmp_path / "run", progress=False)
    seen = data.train.stored(range(160)).double().numpy()
    own = torch.from_numpy((other - seen.mean(0)) / seen.std(0)).float()
    assert main(["embed", str(tmp_path / "run"), str(tmp_path / "other.npy"), "--out", str(tmp_path / "z.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), run.model.encode(own).detach().cpu().numpy(), rtol=1e-4)
    capsys.readouterr()
    line = ["measure", str(tmp_path / "run"), str(tmp_path / "other.npy"), *FEW, "--json", "--out", str(tmp_path)]
    assert main(line) == 0
    record = json.loads(capsys.readouterr().out)
    error, training = (record["sections"][0]["rows"][0]["values"][part] for part in ("held_out", "training"))
    expected = measure.elbo_terms(run.model, own).reconstruction_error.value.mean()
    assert error["value"] == pytest.approx(float(expected), abs=5 * error["standard_error"])
    assert error["value"] > 10 * training["value"]


def shown_command(page):
    """The line under "How to repeat this"."""
    text = page.read_text("utf-8")
    return shlex.split(html.unescape(re.search(r"How to repeat this</h2>\n<pre>(.*?)</pre>", text)[1]))


def without_times(record):
    sections = [{name: part for name, part in section.items() if name != "seconds"} for section in record["sections"]]
    return record | {"sections": sections}


def test_the_line_that_repeats_a_measurement_does(folders, swept, capsys, tmp_path, monkeypatch):
    """From another directory, on other data, with every option changed."""
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "mine too.npy", (np.random.default_rng(0).random((60, 1, 8, 8)) < 0.3).astype("f4"))
    options = ["--effort", "quick", "--examples", "40", "--samples", "20", "--seed", "3", "--no-diagnose"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["measure", str(swept.runs[0].path), "mine too.npy", *options, "--out", str(first)]) == 0
    words = shown_command(first / "report.html")
    assert words[:2] == ["nelbo", "measure"]
    capsys.readouterr()
    assert main([*words[1:], "--out", str(second)]) == 0
    records = [json.loads((folder / "measure.json").read_text()) for folder in (first, second)]
    assert without_times(records[0]) == without_times(records[1])


def test_the_line_that_repeats_a_comparison_does(folders, capsys, tmp_path):
    options = ["--effort", "quick", "--examples", "30", "--samples", "20", "--seed", "3", "--index", "4", "--json"]
    page = tmp_path / "both.html"
    assert main(["compare", *folders[:2], *options, "--out", str(page)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*shown_command(page)[1:], "--json", "--out", str(page)]) == 0
    assert without_times(json.loads(capsys.readouterr().out)) == without_times(first)


def test_an_interrupted_measurement_keeps_its_sections(folders, capsys, tmp_path, monkeypatch):
    """Ctrl-C in the third section, as the signal raises it."""
    real = measure.sections

    def stopped(case, **options):
        for i, section in enumerate(real(case, **options)):
            if i == 2:
                raise KeyboardInterrupt
            yield section

    monkeypatch.setattr(measure, "sections", stopped)
    assert main(["measure", folders[0], *FEW, "--out", str(tmp_path)]) == 130
    record = json.loads((tmp_path / "measure.json").read_text())
    assert record["complete"] is False
    assert len(record["sections"]) == 2
    assert "The measurement was stopped before its end" in (tmp_path / "report.html").read_text()
    assert "stopped; the finished sections are in" in capsys.readouterr().err


def test_an_interrupted_measurement_says_what_is_lost(folders, capsys, tmp_path, monkeypatch):
    from nelbo.measure import reporting

    def stopped(case):
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "SECTIONS", (*reporting.SECTIONS[:1], ("log p(x)", stopped)))
    assert main(["measure", folders[0], *FEW, "--out", str(tmp_path / "one")]) == 130
    assert "the section in progress (log p(x)) is lost" in capsys.readouterr().err
    monkeypatch.setattr(reporting, "SECTIONS", (("log p(x)", stopped),))
    assert main(["measure", folders[0], *FEW, "--out", str(tmp_path / "none")]) == 130
    assert "stopped before anything was measured" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_compare_writes_a_page_beside_the_runs(folders, capsys, swept):
    assert main(["compare", *folders, *FEW, "--index", "4"]) == 0
    printed = capsys.readouterr().out
    assert "minus beta-1" in printed
    assert "held-out example 4 under each" in printed
    page = swept.runs[0].path.parent / "comparison.html"
    assert page.exists()
    assert main(["compare", *folders[:2], *FEW, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["runs"] == folders[:2]


def test_sweep_takes_the_flags_of_fit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "digits", "--binarize", "threshold", "--limit", "200", "--hidden", "8", "--epochs", "1"]
    assert main([*line, "--betas", "1", "3"]) == 0
    printed = capsys.readouterr().out
    assert "VAE (β = 1)" in printed
    assert "∞" in printed
    folder = tmp_path / "runs" / "digits-sweep"
    assert {path.name for path in folder.iterdir()} == {
        "autoencoder", "beta-1", "beta-3", "rate-distortion.png", "sweep.json",
    }  # fmt: skip
    assert main([*line, "--betas", "1", "3", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == json.loads((folder / "sweep.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure", "nowhere"], "nowhere is not a directory"),
        (["measure", "."], "has no run.json, so it is not a run of nelbo"),
        (["measure", "beta-1", "--split", "test"], "the data have no test part"),
        (["measure", "beta-1", "--examples", "2"], "examples must be at least 20"),
        (["compare", "beta-1"], "compare needs two or more runs, got 1"),
        (["compare", "beta-1", "beta-5", "--index", "100"], "index must be between 0 and 99"),
        (["sweep", "digits", "--betas", "-1"], "betas must be different positive numbers"),
    ],
)
def test_mistakes_end_in_a_sentence(folders, capsys, arguments, words):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error.replace("\n", " ")
    assert "Traceback" not in error


def test_a_damaged_run(folders, capsys, tmp_path, swept):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(swept.runs[0].path, copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["measure", str(copy)]) == 1
    assert "weights.safetensors is not a whole safetensors file" in capsys.readouterr().err
    assert not (copy / "report.html").exists()


def test_data_of_another_shape(folders, capsys, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((50, 12), dtype=np.float32))
    assert main(["measure", folders[0], str(tmp_path / "wide.npy")]) == 1
    said = "must hold examples of shape (1, 8, 8), as the run was trained on, got an array of shape (50, 12)"
    assert said in capsys.readouterr().err
