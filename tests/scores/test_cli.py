"""nelbo score: one file in, one file out, and the threshold that a run keeps."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.csv import read_csv, write_csv
from pyarrow.parquet import read_table

import nelbo
from nelbo.cli import main

# importance sampling is at its worst where the anomalies are
pytestmark = pytest.mark.filterwarnings(r"ignore:for \d+ of \d+ examples log p\(x\)")

COLUMNS = ["id", "log_px", "standard_error", "method", "reconstruction_error"]
COLUMNS += ["reconstruction_error_se", "kl", "kl_se", "ess", "pareto_k"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    random = np.random.default_rng(0)
    z = random.normal(size=600)
    table = {"a": z, "b": -z + 0.1 * random.normal(size=600), "c": 100 + 5 * random.normal(size=600)}
    write_csv(pa.table(table), folder / "train.csv")
    new = {name: values[:20] for name, values in table.items()}
    new["c"] = np.where(np.arange(20) == 4, 130.0, new["c"])
    write_csv(pa.table({name: new[name] for name in ("c", "a", "b")}), folder / "new.csv")
    line = ["fit", str(folder / "train.csv"), "--standardize", "--recipe", "linear_vae", "--epochs", "30"]
    assert main([*line, "--validation", "0.5", "--out", str(folder / "run")]) == 0
    return folder


def test_a_file_goes_in_and_a_file_comes_out(folder, capsys):
    line = ["score", str(folder / "run"), str(folder / "new.csv"), "--contributions"]
    assert main([*line, "--out", str(folder / "s.csv")]) == 0
    table = read_csv(folder / "s.csv")
    assert table.column_names == [*COLUMNS, "contribution_a", "contribution_b", "contribution_c"]
    columns = table.to_pydict()
    assert columns["id"] == list(range(20))
    assert int(np.argmin(columns["log_px"])) == 4
    parts = {name: columns[f"contribution_{name}"][4] for name in "abc"}
    assert max(parts, key=parts.get) == "c"
    assert sum(parts.values()) == pytest.approx(columns["reconstruction_error"][4], rel=1e-5)
    run = nelbo.load(folder / "run")
    same = nelbo.measure.score_samples(run, str(folder / "new.csv"))
    assert columns["log_px"] == same.value.tolist()
    assert columns["reconstruction_error_se"] == same.reconstruction_error.standard_error.tolist()
    assert columns["kl_se"] == [0] * 20  # in closed form
    assert "20 scores by importance, mean" in capsys.readouterr().out


def test_the_elbo_is_named_a_bound_in_file_and_line(folder, capsys):
    line = ["score", str(folder / "run"), str(folder / "new.csv"), "--method", "elbo"]
    assert main([*line, "--out", str(folder / "s.parquet")]) == 0
    table = read_table(folder / "s.parquet").to_pydict()
    assert set(table["method"]) == {"elbo, a lower bound of log p(x)"}
    assert table["ess"] == [None] * 20
    assert "20 scores by elbo, a lower bound of log p(x)" in capsys.readouterr().out


def test_a_threshold_is_kept_in_the_run_and_used_again(folder, capsys):
    line = ["score", str(folder / "run"), str(folder / "new.csv"), "--method", "elbo", "--out", str(folder / "f.csv")]
    (folder / "run" / "threshold.json").unlink(missing_ok=True)
    assert main([*line, "--flag"]) == 1
    assert "write --contamination 0.01" in capsys.readouterr().err
    assert main([*line, "--contamination", "0.01"]) == 0
    kept = json.loads((folder / "run" / "threshold.json").read_text())
    assert (kept["split"], kept["examples"], kept["contamination"]) == ("validation", 300, 0.01)
    assert kept["standard_error"] > 0
    assert "0.01 of 300 validation examples score below it" in capsys.readouterr().out
    first = read_csv(folder / "f.csv").to_pydict()
    assert first["anomaly"][4] is True
    assert [value < kept["value"] for value in first["log_px"]] == first["anomaly"]
    assert main([*line, "--flag"]) == 0
    assert read_csv(folder / "f.csv").to_pydict() == first
    capsys.readouterr()
    assert main([*line, "--flag", "--samples", "20"]) == 1
    assert "is that of scores with samples None; take it again: --contamination 0.01" in capsys.readouterr().err


def test_a_format_that_is_not_written_is_refused_first(folder, capsys):
    assert main(["score", str(folder / "run"), "--out", "x.npy"]) == 1
    assert "--out must end in .csv or .parquet, got 'x.npy'" in capsys.readouterr().err
