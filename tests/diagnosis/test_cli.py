"""nelbo diagnose and nelbo explain as a user meets them."""

import json
import shutil

import numpy as np
import pytest

from nelbo.cli import main

pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["fit", "digits", "--binarize", "static", "--epochs", "8", "--hidden", "32", "--limit", "600"]
    assert main([*arguments, "--out", str(out)]) == 0
    return out


def test_it_prints_and_writes_findings(run, capsys):
    assert main(["diagnose", str(run), "--examples", "300"]) == 0
    said = capsys.readouterr().out
    assert "checks on 300 examples" in said
    written = json.loads((run / "findings.json").read_text())
    assert {"verdict", "findings", "passed", "skipped"} <= written.keys()


def test_json_is_the_same_as_the_file_and_strict_is_an_exit_status(run, capsys):
    status = main(["diagnose", str(run), "--json", "--strict", "--examples", "300"])
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((run / "findings.json").read_text())
    assert status == int(not printed["healthy"])


def test_explain_lists_and_explains(capsys):
    assert main(["explain"]) == 0
    assert "posterior-collapse" in capsys.readouterr().out
    assert main(["explain", "posterior-collapse"]) == 0
    assert "## What to change" in capsys.readouterr().out
    assert main(["explain", "collapse"]) == 1
    assert "There are: " in capsys.readouterr().err


def as_left(run, out, status):
    """The run as a training leaves it that has not ended: without its final weights."""
    shutil.copytree(run, out)
    (out / "weights.safetensors").unlink()
    (out / "findings.json").unlink(missing_ok=True)
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"status": status}))
    return out


def test_other_data_take_the_place_of_what_was_held_out(run, tmp_path, capsys):
    (run / "findings.json").unlink(missing_ok=True)
    noise = (np.random.default_rng(0).random((200, 1, 8, 8)) < 0.5).astype("float32")
    np.save(tmp_path / "noise.npy", noise)
    arguments = ["diagnose", str(run), str(tmp_path / "noise.npy"), "--examples", "200", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "there")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "another-binarization" in {finding["id"] for finding in printed["findings"]}
    assert json.loads((tmp_path / "there" / "findings.json").read_text()) == printed
    # what is said of other data does not take the place of what is said of the run
    assert main(arguments[:-1]) == 0
    assert "Not written" in capsys.readouterr().out
    assert not (run / "findings.json").exists()


def test_data_of_another_shape_are_refused(run, tmp_path, capsys):
    np.save(tmp_path / "wide.npy", np.zeros((60, 1, 9, 9), dtype="float32"))
    assert main(["diagnose", str(run), str(tmp_path / "wide.npy")]) == 1
    assert "shape (1, 8, 8), as the run was trained on, got an array of shape (60, 1, 9, 9)" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["training", "interrupted"])
def test_a_run_that_has_not_ended_is_measured_as_it_stands(run, tmp_path, status, capsys):
    stopped = as_left(run, tmp_path / "stopped", status)
    assert main(["diagnose", str(stopped), "--examples", "100", "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert len(notes) == 1
    assert "last checkpoint, after" in notes[0]
    assert "of 8 epochs" in notes[0]


def test_a_run_that_ended_in_a_nan_has_its_cause_first(tmp_path, capsys):
    out = tmp_path / "nan"
    fit = ["fit", "digits", "--binarize", "static", "--epochs", "3", "--hidden", "8", "--limit", "300"]
    assert main([*fit, "--learning-rate", "1e18", "--out", str(out)]) == 1
    stopped = json.loads((out / "run.json").read_text())["error"]
    capsys.readouterr()
    assert main(["diagnose", str(out), "--examples", "100", "--json", "--strict"]) == 1
    first = json.loads(capsys.readouterr().out)["findings"][0]
    assert first["id"] == "not-finite"
    assert stopped.removeprefix("training stopped ") in first["meaning"]


def test_what_is_no_run_of_a_vae_is_told_what_to_write(run, tmp_path, capsys):
    assert main(["diagnose", str(tmp_path / "nowhere")]) == 1
    assert "is not a directory" in capsys.readouterr().err
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    weights = damaged / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main(["diagnose", str(damaged)]) == 1
    assert "weights.safetensors" in capsys.readouterr().err
    out = tmp_path / "autoencoder"
    fit = ["fit", "digits", "--binarize", "static", "--recipe", "autoencoder", "--epochs", "1", "--limit", "200"]
    assert main([*fit, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["diagnose", str(out)]) == 1
    said = capsys.readouterr().err
    assert "autoencoder" in said
    assert "nelbo measure" in said
