"""Long outputs in a folder: a file for each row group, nothing twice, nothing missing."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import nelbo
from nelbo.cli import main, results

ROWS, GROUP = 700, 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, a table of three row groups, and one with holes beside its own run."""
    folder = tmp_path_factory.mktemp("parts")
    r = np.random.default_rng(0)
    x = r.normal(size=(ROWS, 2)) @ r.normal(size=(2, 5)) + 0.3 * r.normal(size=(ROWS, 5))
    table = pa.table({f"c{i}": x[:, i] for i in range(5)})
    parquet.write_table(table, folder / "table.parquet", row_group_size=GROUP)
    x[r.random(x.shape) < 0.2] = np.nan
    holes = pa.table({f"c{i}": pa.array(x[:, i], from_pandas=True) for i in range(5)})
    parquet.write_table(holes, folder / "holes.parquet", row_group_size=GROUP)
    torch.manual_seed(0)
    settings = {"epochs": 2, "progress": False, "device": "cpu"}
    data = nelbo.data.load(folder / "table.parquet", standardize=True)
    nelbo.fit(
        nelbo.recipes.vae(data.event_shape, likelihood="normal", hidden=(16,)), data, out=folder / "run", **settings
    )
    data = nelbo.data.load(folder / "holes.parquet", standardize=True, missing="observed")
    nelbo.fit(nelbo.recipes.missing_vae(data.event_shape, hidden=(16,)), data, out=folder / "missing", **settings)
    return folder


COMMANDS = {
    "score": ["score", "run", "table.parquet", "--method", "elbo", "--contributions"],
    "embed": ["embed", "run", "table.parquet"],
    "reconstruct": ["reconstruct", "run", "table.parquet"],
    "impute": ["impute", "missing", "holes.parquet", "--samples", "400"],
    "sample": ["sample", "run", "-n", "150"],
}


def ask(folder, command, out):
    name, run, *rest = [str(folder / word) if (folder / word).exists() else word for word in COMMANDS[command]]
    return main([name, run, *rest, "--device", "cpu", "--out", str(out)])


def files(folder):
    return sorted(path.name for path in folder.glob("*.parquet"))


def read(paths):
    return pa.concat_tables([parquet.read_table(path).replace_schema_metadata(None) for path in paths])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_files_of_a_folder_hold_what_one_file_does(folder, tmp_path, command, monkeypatch):
    monkeypatch.setattr("nelbo.cli.outputs._BLOCK", 64)
    assert ask(folder, command, tmp_path / "out") == 0
    assert ask(folder, command, tmp_path / "one.parquet") == 0
    parts, whole = read(sorted((tmp_path / "out").glob("*.parquet"))), read([tmp_path / "one.parquet"])
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 3
    assert parts.schema == whole.schema
    if command == "impute":  # of other numbers of incomplete rows at a time
        for name in whole.column_names:
            np.testing.assert_allclose(parts[name].to_numpy(), whole[name].to_numpy(), rtol=1e-4)
    else:
        assert parts.equals(whole)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_restart_computes_what_is_missing_and_nothing_else(folder, tmp_path, command, monkeypatch, capsys):
    monkeypatch.setattr("nelbo.cli.outputs._BLOCK", 64)
    ask(folder, command, tmp_path)
    said = capsys.readouterr().out
    files = sorted(tmp_path.glob("*.parquet"))
    before = {path.name: path.read_bytes() for path in files}
    files[1].unlink()
    (tmp_path / ".part-00001.parquet.0badcafe.part").write_bytes(b"of a writer that was killed")
    written = []
    write = results.write_bytes
    monkeypatch.setattr(results, "write_bytes", lambda path, content: (written.append(path.name), write(path, content)))
    ask(folder, command, tmp_path)
    assert written == ["part-00001.parquet"]
    assert {path.name: path.read_bytes() for path in files} == before
    assert capsys.readouterr().out == said


def test_row_groups_too_large_to_mix_are_read_in_order(folder, tmp_path, monkeypatch):
    """pandas writes a million rows in one group; no setting of the command makes them smaller."""
    monkeypatch.setattr("nelbo.data.tables._PIECES_IN_A_ROW_GROUP", 0)
    with pytest.raises(ValueError, match="must have row groups of at most"):
        nelbo.data.load(folder / "table.parquet", on_disk=True)
    assert ask(folder, "score", tmp_path) == 0
    assert len(files(tmp_path)) == 3


def test_the_mean_over_all_parts_is_that_of_one_file(folder, tmp_path, capsys):
    ask(folder, "score", tmp_path / "one.csv")
    one = capsys.readouterr().out
    ask(folder, "score", tmp_path / "out")
    several = capsys.readouterr().out
    assert one.split("mean ")[1].split(":")[0] == several.split("mean ")[1].split(":")[0]
    assert "by elbo, a lower bound of log p(x)" in several
    assert "3 files in" in several


def test_flags_and_their_number(folder, tmp_path, capsys):
    shutil.copytree(folder / "run", tmp_path / "run")
    command = ["score", str(tmp_path / "run"), str(folder / "table.parquet"), "--method", "elbo", "--device", "cpu"]
    main([*command, "--contamination", "0.1", "--out", str(tmp_path / "out")])
    flagged = read(sorted((tmp_path / "out").glob("*.parquet")))["anomaly"].to_numpy().sum()
    assert 0 < flagged < ROWS / 2
    assert f"{flagged:,} are below the threshold" in capsys.readouterr().out


def test_processes_that_a_launcher_started_share_the_parts(folder, tmp_path, monkeypatch, capsys):
    ask(folder, "score", tmp_path / "alone")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("WORLD_SIZE", "2")
    names = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        before = set(files(tmp_path / "shared"))
        ask(folder, "score", tmp_path / "shared")
        names.append(sorted({*files(tmp_path / "shared")} - before))
    assert names == [["part-00000.parquet", "part-00002.parquet"], ["part-00001.parquet"]]
    assert "other processes are still writing" in capsys.readouterr().out
    for path in (tmp_path / "alone").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes()


def test_a_folder_of_another_task_is_left_alone(folder, tmp_path, capsys):
    ask(folder, "score", tmp_path / "out")
    task = json.loads((tmp_path / "out" / results.FILE).read_text())
    assert task["rows"] == ROWS
    assert (
        main(
            [*COMMANDS["embed"][:1], str(folder / "run"), str(folder / "table.parquet"), "--out", str(tmp_path / "out")]
        )
        == 1
    )
    assert "parts of another task" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert ask(folder, "score", tmp_path / "mine") == 1
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_folder_without_parts_takes_another_task(folder, tmp_path, capsys):
    command = ["sample", str(folder / "run"), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*command, "-n", "0"]) == 1
    assert "must be a positive integer, got 0" in capsys.readouterr().err
    assert main([*command, "-n", "5"]) == 0
    assert parquet.read_metadata(tmp_path / "out" / "part-00000.parquet").num_rows == 5


def test_ctrl_c_keeps_what_is_written_and_says_how_to_go_on(folder, tmp_path, monkeypatch, capsys):
    write, count = results.write_bytes, iter(range(9))

    def stop(path, content):
        if next(count) == 1:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(results, "write_bytes", stop)
    assert ask(folder, "score", tmp_path) == 130
    assert "stopped with 1 of 3 files" in capsys.readouterr().err
