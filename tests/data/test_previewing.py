"""What a table holds, before it is trained on: nelbo.data.preview and `nelbo data`."""

import json
import shlex

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from nelbo import data as nd
from nelbo.cli import main

N = 60
G = np.random.default_rng(0)
MESSY = pa.table(
    {
        "": np.arange(N),
        "patient_id": G.permutation(5000)[:N],
        "age": G.integers(18, 90, N),
        "height": pa.array([None if i % 9 == 0 else v for i, v in enumerate(G.normal(1.7, 0.1, N).round(3))]),
        "income": G.normal(5e4, 1e4, N).round(2),
        "smokes": G.random(N) < 0.3,
        "town": ["Bern", "Rome", "Oslo"] * (N // 3),
        "seen": [f"{1 + i % 28:02d}.05.2021" for i in range(N)],
        "share": [f"{i} %" for i in range(N)],
        "remark": [f"patient {i} went home again" for i in range(N)],
        "unit": [7] * N,
    }
)


@pytest.fixture(params=["csv", "parquet"])
def path(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write = csv.write_csv if request.param == "csv" else parquet.write_table
    write(MESSY, f"t.{request.param}")
    return f"t.{request.param}"


def test_every_column_is_described(path):
    found = nd.preview(path)
    assert (found.rows, found.looked_at, len(found.columns)) == (N, N, MESSY.num_columns)
    by_name = {column.name: column for column in found.columns}
    assert found.names("left out") == [""]
    assert found.names("feature") == ["patient_id", "age", "height", "income", "smokes", "unit"]
    assert found.names("refused") == ["town", "seen", "share", "remark"]
    assert by_name["height"].missing == pytest.approx(np.mean([i % 9 == 0 for i in range(N)]))
    assert (by_name["age"].summary.minimum, by_name["age"].summary.kind) == (min(MESSY["age"].to_pylist()), "counts")
    assert by_name["smokes"].summary.kind == "binary"
    assert by_name["town"].texts == {"Bern": 20, "Rome": 20, "Oslo": 20}
    assert "id" in by_name["patient_id"].note
    assert by_name["unit"].note == "constant"
    for name, what in {"seen": "dates", "share": "percentages", "remark": "free text", "town": "text"}.items():
        assert by_name[name].note.startswith(what)
    assert [c.name for c in found.columns if c.could_be_label] == ["town"]
    json.dumps(found.to_dict(), allow_nan=False)
    assert str(found).count("\n") == MESSY.num_columns + 2


def test_options_change_what_a_column_becomes(path):
    found = nd.preview(path, label="town", columns=["age", "unit"])
    assert (found.names("label"), found.names("feature"), found.names("refused")) == (["town"], ["age", "unit"], [])


def test_the_line_to_write_next_loads(path, capsys):
    assert main(["data", path]) == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("Train on it:"))
    assert shlex.split(line)[3:] == shlex.split(f"nelbo fit {path} --columns all")
    assert main(["data", *shlex.split(line)[5:]]) == 0  # the line itself goes through, unchanged
    assert line in capsys.readouterr().out
    assert main(["data", path, "--types", "town=categorical", "unit=real", "--label", "smokes"]) == 0
    assert f"nelbo fit {path} --label smokes --types town=categorical unit=real" in capsys.readouterr().out
    assert main(["data", path, "--types", "town"]) == 1
    assert "--types takes COLUMN=KIND" in capsys.readouterr().err


def test_of_a_mixed_table_each_column_is_shown_with_what_it_becomes(path, capsys):
    assert main(["data", path]) == 0
    rows = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["town"].endswith("feature: categorical")
    assert "categorical:3" in rows["town"]
    assert rows["height"].endswith("feature: real")
    for name in ("patient_id", "seen", "share", "remark", "unit"):
        assert "left out" in rows[name]


def test_a_table_of_numbers_is_offered_as_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    csv.write_csv(MESSY.select(["age", "income"]), "t.csv")
    assert main(["data", "t.csv"]) == 0
    said = capsys.readouterr().out
    assert "columns differ in scale" in said
    assert "nelbo fit t.csv --standardize\n" in said


def test_json_holds_the_same(path, capsys):
    assert main(["data", path, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["table"]["columns"][2]["name"] == "age"
    assert record["data"]["event_shape"] == [5]
    assert record["likelihood"] == {
        "age": "normal",
        "height": "normal",
        "income": "normal",
        "smokes": "bernoulli",
        "town": "categorical:3",
    }
    assert record["problem"] is None
    assert record["fit"].startswith(f"nelbo fit {path} --columns all")


def test_arrays_and_named_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", G.normal(size=(50, 4)))
    assert main(["data", "x.npy"]) == 0
    assert "nelbo fit x.npy --standardize" in capsys.readouterr().out
    assert main(["data", "digits"]) == 0
    said = capsys.readouterr().out
    assert "(1, 8, 8)" in said
    assert "--likelihood continuous_bernoulli" in said


def test_what_cannot_be_trained_on_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(9))
    assert main(["data", "x.npy"]) == 1
    assert "It cannot be trained on as it is: the data have shape (9,)" in capsys.readouterr().out
    assert main(["data", "y.csv"]) == 1
    assert "there is no set and no path 'y.csv'" in capsys.readouterr().err


def test_a_long_parquet_file_is_described_by_its_first_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("nelbo.data.previewing._ROWS", 20)
    monkeypatch.setattr("nelbo.data.previewing.CELLS", 10)
    parquet.write_table(MESSY, tmp_path / "t.parquet")
    found = nd.preview(tmp_path / "t.parquet")
    assert (found.rows, found.looked_at) == (N, 20)
    assert "the first 20" in found.heading


def test_columns_that_differ_in_scale_are_named_where_it_matters():
    x = G.normal(size=(200, 3)) * [1e4, 1, 1]

    def notes(values, **options):
        return [n for n in nd.load(values, **options).origin["notes"] if "differ in scale" in n]

    (note,) = notes(x)
    assert "of column 0, so that" in note
    assert "standardize=True" in note
    assert not notes(x, standardize=True)
    assert not notes(x * [1e-3, 1, 1])  # by a factor of 10
    assert not notes(G.poisson([1e5, 1.0, 1.0], (200, 3)))  # counts have a rate each
    assert not notes(np.concatenate([x[:, 1:], np.ones((200, 1))], axis=1))  # a constant one has no scale
