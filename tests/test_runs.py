"""Runs on disk: what is in the folder, what load gives back, what is wrong with a folder."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import nelbo
from nelbo.files import DamagedFileError
from nelbo.runs import append_history, load_weights, read_history, write_history
from tests.training.simple import binary, by_hand, bytes_file, quick, same, small, table_file, weights


@pytest.fixture
def run(tmp_path):
    return quick(small(), binary(), out=tmp_path / "runs" / "mine", objective=nelbo.objectives.Beta(2.0), seed=7)


def test_the_folder_is_readable_without_nelbo(run):
    from safetensors.torch import load_file

    record = json.loads((run.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["recipe"]["name"] == "vae"
    assert record["recipe"]["arguments"]["event"] == [6]
    assert record["recipe"]["arguments"]["latent"] == 2  # a default, named all the same
    assert record["objective"] == {"name": "Beta", "beta": 2.0, "samples": 1}
    assert record["training"]["seed"] == 7
    assert record["training"]["epochs"] == 3
    assert len(record["data"]["sha256"]) == 64
    assert record["versions"]["torch"] == torch.__version__
    assert record["format"] == 2
    machine = {"step": 0, "device": nelbo.training.pick_device("auto").type, "threads": 1, "dtype": "float32"}
    assert machine.items() <= record["machines"][0].items()
    assert record["machines"][0]["instructions"] == torch.backends.cpu.get_cpu_capability()
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert lines == run.history
    assert {"train_reconstruction_error", "train_kl", "train_nelbo", "validation_nelbo", "examples_per_second"} <= set(
        lines[0]
    )
    assert same(load_file(run.path / "weights.safetensors"), weights(run.model))


def test_load_gives_the_run_back(run):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    loaded = nelbo.load(run.path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not loaded.model.training
    assert loaded.name == "mine"
    assert loaded.history == run.history
    assert loaded.record == json.loads((run.path / "run.json").read_text())
    x = binary()
    assert torch.equal(loaded.model.encode(x), run.model.encode(x))
    assert "3 epochs" in repr(loaded)
    assert f"validation_nelbo {run.history[-1]['validation_nelbo']:.2f} nats" in repr(loaded)
    assert nelbo.load(str(run.path)).path == run.path


def test_names_of_runs_in_memory():
    assert quick(small("beta_vae"), binary()).name == "beta_vae"
    assert quick(by_hand(), binary()).name == "run"


def test_the_data_of_a_run(tmp_path):
    path = bytes_file(tmp_path)
    made = quick(small(event=(1, 6, 6)), nelbo.data.load(path, binarize="threshold", validation=30), out=tmp_path / "r")
    loaded = nelbo.load(tmp_path / "r")
    assert torch.equal(loaded.data.validation.take(30), made.data.validation.take(30))
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ValueError, match=r"images\.npy has changed"):
        _ = nelbo.load(tmp_path / "r").data
    with pytest.raises(ValueError, match=r"data given in memory.*nelbo\.load\(.*data='table.csv'\)"):
        _ = nelbo.load(quick(small(), binary(), out=tmp_path / "m").path).data


def test_a_model_built_by_hand(tmp_path):
    run = quick(by_hand(), binary(), out=tmp_path / "r")
    with pytest.raises(
        ValueError, match=r"built by hand \(VAE, latent 2, .*encoder MLP.*nelbo\.load\('.*', model=vae\)"
    ):
        nelbo.load(run.path)
    assert same(weights(nelbo.load(run.path, model=by_hand(seed=5)).model), weights(run.model))


def test_damaged_and_foreign_folders(run, tmp_path):
    with pytest.raises(DamagedFileError, match=rf"is not a directory; pass .*Runs near it: {run.path}"):
        nelbo.load(run.path.parent / "min")
    with pytest.raises(
        DamagedFileError, match=rf"has no run\.json, so it is not a run of nelbo\. Runs near it: {run.path}"
    ):
        nelbo.load(run.path.parent)
    (run.path / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(DamagedFileError, match=r"weights\.safetensors is not a whole safetensors file"):
        nelbo.load(run.path)
    (run.path / "weights.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"has no weights\.safetensors, .* write them again: nelbo\.resume"):
        nelbo.load(run.path)
    (run.path / "run.json").write_text("[]")
    with pytest.raises(DamagedFileError, match="it has no 'training'"):
        nelbo.load(run.path)


def test_an_older_writer_s_recipe_that_no_longer_fits(run):
    record = json.loads((run.path / "run.json").read_text())
    record["recipe"]["arguments"]["widths"] = [3]
    (run.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match=r"run\.json: its recipe cannot be built: vae has no argument 'widths'"):
        nelbo.load(run.path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_named_with_the_file(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        append_history(tmp_path, {"epoch": 1})
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")


def test_settings_that_are_missing_or_of_another_type(run):
    record = json.loads((run.path / "run.json").read_text())
    for training in ({}, {**record["training"], "epochs": "20"}):
        (run.path / "run.json").write_text(json.dumps({**record, "training": training}))
        with pytest.raises(DamagedFileError, match="its 'training' must have 'epochs' of type int"):
            nelbo.load(run.path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 70 + "]" * 70, '{"training": ' + "9" * 5000 + "}"])
def test_json_that_is_too_deep_or_too_long_names_its_file(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"run\.json is not JSON"):
        nelbo.load(tmp_path)


def test_history_line_by_line(tmp_path):
    write_history(tmp_path, [{"epoch": 1, "kl": math.inf}])
    append_history(tmp_path, {"epoch": 2, "kl": 0.5})
    assert read_history(tmp_path) == [{"epoch": 1, "kl": None}, {"epoch": 2, "kl": 0.5}]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "kl"')  # a crash cut this one short
    assert len(read_history(tmp_path)) == 2
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("\n")
        file.write('{"epoch": 4, "kl": 0.25}\n')
    with pytest.warns(UserWarning, match=r"metrics\.jsonl: 1 of its 4 lines do not hold .* left out \(line 3\)"):
        assert [line["epoch"] for line in read_history(tmp_path)] == [1, 2, 4]
    assert read_history(tmp_path / "elsewhere") == []


def test_weights_of_another_model():
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"another model: missing \['bias'\], unexpected \['shift'\]"):
        load_weights(model, {"weight": torch.zeros(2, 3), "shift": torch.zeros(2)})
    before = weights(model)
    with pytest.raises(ValueError, match=r"'weight' has shape \(2, 3\) in this model and \(3, 2\) in the file"):
        load_weights(model, {"bias": torch.zeros(2), "weight": torch.zeros(3, 2)})
    assert same(before, weights(model))  # nothing was loaded in part


def test_a_run_that_was_started_on_real_values(tmp_path):
    run = quick(small("sigma_vae", event=(5,)), table_file(tmp_path), out=tmp_path / "r")
    loaded = nelbo.load(run.path)
    assert float(loaded.model.px_family.mean_square) == float(run.model.px_family.mean_square) != 1.0
    assert run.record["versions"]["nelbo"] == nelbo.__version__
