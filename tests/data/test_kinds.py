"""Mixed tables: what each column holds, told from its values, stored, changed, and given back."""

import json
import math
import re
import warnings

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from nelbo.data import load, rebuild
from nelbo.data.features import as_table
from nelbo.data.loading import prepared_like

N = 400


def people(n=N, *, seed=0, holes=True):
    """Columns of a messy table, as lists of cells."""
    r = np.random.default_rng(seed)
    job = r.choice(["nurse", "teacher", "clerk"], n)
    empty = (r.random((3, n)) < 0.1) & holes
    return {
        "id": list(range(1000, 1000 + n)),
        "job": [" NA " if gone else str(name) for name, gone in zip(job, empty[0], strict=True)],
        "age": [None if gone else int(a) for a, gone in zip(r.integers(18, 80, n), empty[1], strict=True)],
        "income": [None if gone else float(v) for v, gone in zip(np.exp(r.normal(10, 0.8, n)), empty[2], strict=True)],
        "visits": [int(v) for v in r.poisson(3.0, n)],
        "smokes": [bool(v) for v in r.random(n) < 0.3],
        "share": [float(v) for v in r.beta(2, 5, n)],
        "height": [float(v) for v in r.normal(170, 9, n)],
        "zip": [int(v) for v in r.choice([8001, 3000, 9500], n)],
        "born": [f"19{y}-03-01" for y in r.integers(40, 99, n)],
        "remark": [f"came on day {i} and left" for i in range(n)],
        "constant": [1] * n,
        "nothing": [None] * n,
    }


KINDS = {
    "job": "categorical",
    "age": "real",
    "income": "positive",
    "visits": "count",
    "smokes": "binary",
    "share": "bounded",
    "height": "real",
    "zip": "categorical",
}
LEFT_OUT = ("id", "born", "remark", "constant", "nothing")


@pytest.fixture(params=[".csv", ".parquet", "in memory"])
def table(request, tmp_path):
    columns = pa.table(people())
    if request.param == "in memory":
        return columns
    path = tmp_path / f"people{request.param}"
    (csv.write_csv if request.param == ".csv" else parquet.write_table)(columns, path)
    return path


def test_the_kind_of_each_column_is_told_and_what_is_left_out_is_named(table):
    data = load(table, columns="all", validation=0)
    assert {name: kind.kind for name, kind in data.kinds.items()} == KINDS
    assert data.origin["features"] == list(KINDS)
    (note,) = [note for note in data.origin["notes"] if note.startswith("left out: '")]
    for name in LEFT_OUT:
        assert repr(name) in note
    assert data.kinds["job"].categories == ("clerk", "nurse", "teacher")
    assert data.kinds["zip"].categories == (3000, 8001, 9500)
    assert "job: categorical (" in str(data)
    json.dumps(data.origin)
    assert data.missing == sum(v is None or v == " NA " for name in ("job", "age", "income") for v in people()[name])


def test_columns_are_scaled_one_by_one_and_come_back(table):
    data = load(table, columns="all", validation=0)
    x = data.train.take(N, seed=0)
    given = people()
    known = ~x.isnan()
    for name, place in (("age", 1), ("height", 6)):
        values = x[:, place][known[:, place]]
        assert abs(float(values.mean())) < 1e-4
        assert abs(float(values.std(correction=0)) - 1) < 1e-4
        assert name in given
    assert float(x[:, 2][known[:, 2]].mean()) == pytest.approx(1.0, abs=1e-4)
    ordered = as_table(data.origin, data.train.preparation(data.train.stored(torch.arange(N))))
    for name in KINDS:
        expected = [None if v == " NA " else v for v in given[name]]
        for got, wanted in zip(ordered[name].tolist(), expected, strict=True):
            if wanted is None:
                assert got is None or got != got
            else:
                assert got == wanted if isinstance(wanted, str) else got == pytest.approx(wanted, rel=1e-5)


def test_the_same_table_is_read_again_from_its_record(table, tmp_path):
    data = load(table, columns="all", types={"visits": "categorical"}, seed=3)
    again = rebuild(json.loads(json.dumps(data.origin)), table)
    assert torch.equal(again.train.take(50, seed=0).nan_to_num(-9), data.train.take(50, seed=0).nan_to_num(-9))
    assert again.kinds == data.kinds


def test_a_label_whose_kind_is_given_is_modelled_too(table):
    data = load(table, label="zip", types={"zip": "categorical"}, validation=0)
    assert {name: kind.kind for name, kind in data.kinds.items()} == KINDS
    codes, values = data.train.take(N)[:, list(KINDS).index("zip")].long(), torch.tensor(data.kinds["zip"].categories)
    assert torch.equal(values[codes], data.train.labels)
    again = rebuild(json.loads(json.dumps(data.origin)), table)
    assert again.kinds == data.kinds
    assert again.train.labels is not None
    assert "zip" not in load(table, label="zip", columns="all", validation=0).kinds  # by itself it stays apart
    some = load(table, label="zip", columns=["age", "zip"], types={"zip": "categorical"}, missing="observed")
    assert list(some.kinds) == ["age", "zip"]


def test_kinds_can_be_chosen():
    data = load(people(), columns="all", types={"zip": "real", "born": "categorical", "age": "count"}, validation=0)
    kinds = {name: kind.kind for name, kind in data.kinds.items()}
    assert (kinds["zip"], kinds["born"], kinds["age"]) == ("real", "categorical", "count")
    only = load(people(), columns=["job", "age"], types={"age": "positive"}, missing="observed", validation=0)
    assert {name: kind.kind for name, kind in only.kinds.items()} == {"job": "categorical", "age": "positive"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"types": {"job": "number"}}, r"types\['job'\] must be one of 'real'.*got 'number'"),
        ({"types": {"jobb": "real"}}, "no such column, did you mean 'job'"),
        ({"types": {"job": "real"}}, "'job'.*cannot be a feature: text, which cannot be real"),
        ({"types": {"height": "count"}}, "'height'.*numbers from .* which cannot be count"),
        ({"columns": ["job", "born"], "types": {}}, "'born'.*cannot be a feature: dates"),
        ({"columns": "all", "binarize": "threshold"}, "column by column, and does not take binarize='threshold'"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_why(options, said):
    with pytest.raises(ValueError, match=said):
        load(people(), **options)


def test_new_tables_are_matched_by_name_and_coded_alike():
    data = load(people(), columns="all", validation=0)
    new = people(50, seed=1)
    shuffled = {name: new[name] for name in reversed(new)}
    with pytest.warns(UserWarning, match="left out, on which the run was not trained"):
        x = prepared_like(data.origin, shuffled).train
    table = as_table(data.origin, x.take(50, seed=0))
    assert sorted(map(str, table["job"])) == sorted("None" if v == " NA " else v for v in new["job"])


@pytest.mark.filterwarnings("ignore:.*left out, on which")
def test_a_category_that_was_not_there_is_an_error_or_not_observed():
    new = people(50, seed=1) | {"job": ["pilot"] * 2 + ["clerk"] * 48}
    trained = load(people(), columns="all", validation=0)
    with pytest.warns(UserWarning, match=r"'job' of .* holds 'pilot' in 2 rows.*not observed"):
        x = prepared_like(trained.origin, new).train.take(50, seed=0)
    assert int(x[:, 0].isnan().sum()) == 2
    complete = load(people(holes=False), columns="all", validation=0)
    with pytest.raises(ValueError, match=r"'job' of .* holds 'pilot' in 2 rows, and the run was trained on 'clerk'"):
        prepared_like(complete.origin, new | {"age": [30] * 50, "income": [1.0] * 50})


def test_a_column_that_changed_its_type_is_an_error():
    data = load(people(), columns="all", validation=0)
    with pytest.raises(ValueError, match=r"must hold numbers.*'height' \(string\)"):
        prepared_like(data.origin, people(50) | {"height": ["tall"] * 50})


def test_a_table_of_numbers_is_read_as_before_unless_asked():
    numbers = {"a": [0.5, 1.5, 2.0], "b": [1.0, 2.0, 4.0]}
    assert load(numbers, validation=0).origin["kinds"] is None


def test_samples_have_the_types_and_ranges_of_the_table_and_its_holes():
    data = load(people(), columns="all", validation=0)
    x = torch.tensor([[1.0, 9.0, 0.5, 3, 1, 0.25, -20.0, 2]]).expand(2000, 8)
    table = as_table(data.origin, x)
    assert table["job"][0] == "nurse"
    assert table["zip"][0] == 9500
    assert table["age"].dtype == np.int64  # beyond the oldest, so the oldest
    assert table["age"][0] == max(a for a in people()["age"] if a is not None)
    assert table["height"][0] == pytest.approx(min(people()["height"]))
    assert table["visits"][0] == 3
    holes = as_table(data.origin, x, empty=0)
    share = np.mean([v is None for v in holes["job"]])
    assert share == pytest.approx(data.kinds["job"].missing, abs=5 * 0.3 / 2000**0.5)
    assert not np.isnan(holes["height"]).any()


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_mixed_parquet_file_may_stay_on_disk(tmp_path, on_disk):
    parquet.write_table(pa.table(people()), tmp_path / "t.parquet", row_group_size=100)
    data = load(tmp_path / "t.parquet", columns="all", on_disk=on_disk, validation=0)
    assert {name: kind.kind for name, kind in data.kinds.items()} == KINDS
    assert float(data.train.take(N, seed=0)[:, 0].nansum()) == sum(
        data.kinds["job"].categories.index(v) for v in people()["job"] if v != " NA "
    )


@pytest.mark.parametrize(
    ("cells", "part"),
    [
        (["True", "False", "unknown"], ["False", "True"]),
        (["None", "low", "high"], ["None", "None"]),
        (["01", "02", "A7"], ["02", "01"]),
        (["2020-01-01", "2020-01-02", "later"], ["2020-01-02", "2020-01-01"]),
        (["1.50", "x", "y"], ["1.50", "1.50"]),
    ],
)
def test_a_category_is_read_as_in_training_whatever_stands_beside_it(tmp_path, cells, part):
    """A file of a part of the rows alone looks to arrow like truth values, an empty column, numbers or dates."""
    path, new = tmp_path / "t.csv", tmp_path / "part.csv"
    path.write_text("k , x\n" + "".join(f"{cells[i % 3]},{i / 4}\n" for i in range(60)))
    new.write_text("k , x\n" + "".join(f"{cell},{i / 4}\n" for i, cell in enumerate(part)))
    data = load(path, types={"k": "categorical"}, columns="all", missing="observed", validation=0)
    assert data.kinds["k"].categories == tuple(sorted(cells))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = prepared_like(data.origin, new)
    codes = as_table(data.origin, again.train.take(2))["k"]
    assert codes.tolist() == part
    assert len(rebuild(data.origin).train) == 60


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["9929,44 €", "12,50 €", "1.250,00 €"], [9929.44, 12.5, 1250.0]),
        (["9\u202f929,44\xa0€", "12,50\xa0€", "7,00\xa0€"], [9929.44, 12.5, 7.0]),
        (["1.250 €", "850 €", "12.500 €"], [1250.0, 850.0, 12500.0]),
        (["$1,250.00", "$12.50", "$7.00"], [1250.0, 12.5, 7.0]),
        (["3,13 %", "2 %", "-1,5 %"], [0.0313, 0.02, -0.015]),
        (["3.125 %", "2.5%", "1%"], [0.03125, 0.025, 0.01]),
        (["9'929.44", "1.25", "10'000"], [9929.44, 1.25, 10000.0]),
        (["9 929,44", "1,25", "10 000"], [9929.44, 1.25, 10000.0]),
        (["1,25", "0,5", "2"], [1.25, 0.5, 2.0]),
        (["1.25", "2.5", "#DIV/0!"], [1.25, 2.5, math.nan]),
        (["1,25", "2,5", "N.A."], [1.25, 2.5, math.nan]),
        (["1.25", "2.5", "—"], [1.25, 2.5, math.nan]),
    ],
)
def test_numbers_that_are_left_out_come_with_the_line_that_mends_them(cells, numbers):
    pd = pytest.importorskip("pandas")
    table = {"x": cells * 20, "k": ["u", "v", "w"] * 20}
    (note,) = [n for n in load(pa.table(table), columns="all", validation=0).origin["notes"] if "left out" in n]
    line = re.search(r"write (table\[.*?)(, which|;)", note)[1]
    frame = pd.DataFrame(table)
    exec(line, {"table": frame, "pd": pd})
    assert frame["x"].to_list() == pytest.approx(numbers * 20, nan_ok=True)
