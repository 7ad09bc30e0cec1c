import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from nelbo.data import load, rebuild
from nelbo.data.columns import values_of

N = 40
TABLE = pa.table(
    {
        "age": np.arange(N),
        "height": np.linspace(1, 2, N),
        "smokes": np.arange(N) % 2 == 0,
        "city": ["Rome", "Bern", "Oslo", "Bern"] * (N // 4),
    }
)
NUMBERS = np.stack([np.arange(N), np.linspace(1, 2, N), np.arange(N) % 2 == 0], axis=1)


@pytest.mark.parametrize("cells", [[], [1, 0, 1], [1, None, 0], [None, None]], ids=str)
@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(),
     pa.decimal128(5, 2), pa.string()],
    ids=str,
)  # fmt: skip
def test_values_are_those_of_arrow(kind, cells):
    make = {pa.bool_(): bool, pa.string(): str}.get(kind, int)
    array = pa.array([None if v is None else make(v) for v in cells], type=kind)
    for column in (
        array,
        pa.concat_arrays([array, array])[1:],
        pa.chunked_array([array, array[:1]]),
        pa.chunked_array([array, array[:0]]),
        pa.chunked_array([], type=kind),
    ):
        np.testing.assert_array_equal(values_of(column), column.__array__())
        assert values_of(column).dtype == column.__array__().dtype


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    def to(table, **how):
        path = tmp_path / f"t.{request.param}"
        csv.write_csv(table, path) if request.param == "csv" else parquet.write_table(table, path, **how)
        return path

    return to


def test_numbers_become_features_and_a_column_labels(write):
    data = load(write(TABLE), label="city", validation=0)
    assert np.allclose(data.train.take(N).numpy(), NUMBERS.astype(np.float32))
    assert data.origin["features"] == ["age", "height", "smokes"]
    assert data.origin["label_names"] == ["Bern", "Oslo", "Rome"]
    assert data.train.labels[:4].tolist() == [2, 0, 1, 0]
    assert torch.equal(rebuild(data.origin).train.take(N), data.train.take(N))


def test_columns_are_taken_in_the_order_asked_for(write):
    data = load(write(TABLE), columns=("height", "age"), validation=0)
    assert np.allclose(data.train.take(N).numpy(), NUMBERS[:, [1, 0]].astype(np.float32))
    assert data.origin["options"]["columns"] == ["height", "age"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            r"column 'city' of t\.\w+ must hold.*got string.*label='city'.*columns=\['age', 'height', 'smokes'\]",
        ),
        ({"label": "town"}, "no column 'town'"),
        ({"label": "citty"}, "did you mean 'city'"),
        ({"columns": ["age", "hight"]}, "did you mean 'height'"),
        ({"columns": ["age"], "label": "age"}, r"tell the model the answer.*types=\{'age': "),
        ({"columns": []}, "no column left"),
    ],
)
def test_columns_that_cannot_be_meant(write, options, message):
    with pytest.raises(ValueError, match=message):
        load(write(TABLE), **options)


def test_empty_cells_are_named(write):
    table = pa.table({"a": [1.0, None, 3.0, 4.0], "b": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(ValueError, match=r"column 'a' .* 1 cells without one"):
        load(write(table))
    with pytest.raises(ValueError, match="label column 'a'"):
        load(write(table), label="a")


def test_nan_names_its_column(write):
    with pytest.raises(ValueError, match=r"NaN.* in example 2, column 'b'|column 'b'"):
        load(write(pa.table({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, float("nan")]})))


def test_constant_columns_are_named(write):
    data = load(write(pa.table({"a": np.arange(20.0), "b": np.full(20, 7.0)})), standardize=True)
    assert any("constant" in note and "b" in note for note in data.origin["notes"])


def test_the_type_holds_all_columns(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": np.arange(9, dtype=np.uint8), "b": np.arange(9, dtype=np.int16)}), path)
    assert load(path).train.x.dtype == torch.int16
    parquet.write_table(pa.table({"a": np.arange(9), "b": np.arange(9, dtype=np.float32)}), path)
    assert load(path).train.x.dtype == torch.float64


def test_a_csv_without_names(tmp_path):
    (tmp_path / "t.csv").write_text("1,2\n3,4\n5,6\n")
    data = load(tmp_path / "t.csv", validation=0)
    assert data.train.take(3).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert data.origin["features"] == ["f0", "f1"]
    assert any("first line" in note for note in data.origin["notes"])


def test_a_stray_word_among_numbers_is_shown(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,unknown\n")
    with pytest.raises(ValueError, match=r"'b' .* such as 'unknown'"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n3\n"])
def test_a_csv_that_is_no_table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="cannot be read as a table"):
        load(tmp_path / "t.csv")


def test_no_rows(write):
    with pytest.raises(ValueError, match="empty"):
        load(write(pa.table({"a": pa.array([], pa.float64())})), validation=0)


def test_a_parquet_file_cut_short(tmp_path):
    parquet.write_table(TABLE, tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data[:-30])
    with pytest.raises(ValueError, match="cut short"):
        load(tmp_path / "t.parquet")


def test_a_csv_cannot_stay_on_disk(tmp_path):
    csv.write_csv(TABLE, tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"applies to \.npy, \.parquet"):
        load(tmp_path / "t.csv", on_disk=True)


def test_lines_longer_than_a_block(tmp_path):
    names, values = ",".join(f"{i:0400}_" for i in range(3000)), ",".join(["1.25"] * 3000)
    (tmp_path / "wide.csv").write_text(f"{names}\n{values}\n{values}\n")
    assert load(tmp_path / "wide.csv", validation=0).event_shape == (3000,)


def test_a_table_that_promises_more_rows_than_can_be_split(tmp_path, monkeypatch):
    parquet.write_table(pa.table({"a": pa.array(np.zeros(100_000))}), tmp_path / "a.parquet")
    monkeypatch.setattr("nelbo.data.sizes.available_memory", lambda: 1 << 20)
    with pytest.raises(MemoryError, match=r"a\.parquet promises 100,000 rows.*which take 2\.3 MiB; 1\.0 MiB are"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_parquet_file_with_damaged_pages_is_named(tmp_path, at):
    table = pa.table({"a": np.arange(9000), "b": np.arange(9000) % 7})
    parquet.write_table(table, tmp_path / "a.parquet", compression="gzip")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    start = int(at * (len(content) - 2000))
    content[start : start + 500] = bytes(500)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a \.parquet file"):
        load(tmp_path / "a.parquet")


# --- values that were not observed ------------------------------------------------------------------------------------

HOLES = pa.table({"a": [1, None, 3, 4], "b": [1.0, 2.0, None, 4.0], "c": [True, False, None, True]})


def test_empty_cells_are_kept_where_asked_for(write):
    path = write(HOLES)
    with pytest.raises(ValueError, match="missing='observed'"):
        load(path)
    data = load(path, missing="observed", validation=0)
    expected = [[1, 1, 1], [np.nan, 2, 0], [3, np.nan, np.nan], [4, 4, 1]]
    assert np.array_equal(data.train.take(4), expected, equal_nan=True)
    assert any("3 of 12 values are missing" in note for note in data.origin["notes"])
    assert np.array_equal(rebuild(data.origin).train.take(4), expected, equal_nan=True)


def test_missing_cells_of_a_table_that_stays_on_disk(tmp_path):
    parquet.write_table(HOLES, tmp_path / "t.parquet", row_group_size=2)
    there, here = (load(tmp_path / "t.parquet", missing="observed", on_disk=where) for where in (True, False))
    assert np.array_equal(there.train.take(3), here.train.take(3), equal_nan=True)


def test_missing_values_are_left_out_of_mean_and_spread():
    x = np.random.default_rng(0).normal(3, [1, 2, 30], (200_000, 3))  # several blocks
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    data = load(x, missing="observed", standardize=True, validation=0)
    assert np.allclose(data.preparation.mean, np.nanmean(x, axis=0), rtol=1e-10)
    assert np.allclose(data.preparation.std, np.nanstd(x, axis=0), rtol=1e-10)
    assert any("no value at all" in note for note in data.origin["notes"])


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([[1.0, np.nan], [2.0, 3.0]], {}, "fill them in.*or write missing='observed'"),
        ([[1.0, np.inf], [2.0, 3.0]], {"missing": "observed"}, r"infinite.*example 0, position \(1,\)"),
        ([[1.0, np.nan], [2.0, np.nan]], {"missing": "observed"}, "got none of '1'"),
        ([[1.0, np.nan], [0.0, 1.0]], {"missing": "observed", "binarize": "threshold"}, "1 missing values.*drop"),
        ([[1.0, 2.0]], {"missing": "yes"}, "missing must be one of None, 'observed'"),
    ],
)
def test_what_missing_values_do_not_allow(x, options, message):
    with pytest.raises(ValueError, match=message):
        load(np.array(x), validation=0, **options)


# --- what numbers or names the rows -----------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(N, 2)).round(3)
SHUFFLED = np.random.default_rng(1).permutation(1000)[:N]


def csv_text(index, name="", rows=X):
    return "\n".join([f"{name},a,b", *(f"{i},{a},{b}" for i, (a, b) in zip(index, rows, strict=True))])


@pytest.mark.parametrize("index", [range(N), SHUFFLED, [f"row {i}" for i in range(N)], [i % 20 for i in range(N)]])
@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_first_column_without_a_name_is_no_feature(tmp_path, index, name):
    """What df.to_csv(path) writes, also of a sample or of joined frames, and R's write.csv."""
    (tmp_path / "t.csv").write_text(csv_text(index, name))
    data = load(tmp_path / "t.csv", validation=0)
    assert data.origin["features"] == ["a", "b"]
    assert np.allclose(data.train.take(N), X)
    assert any("row" in note and "columns=" in note for note in data.origin["notes"])
    assert torch.equal(rebuild(data.origin).train.take(N), data.train.take(N))
    if not isinstance(index[0], str):
        asked = load(tmp_path / "t.csv", columns=[name, "a"], validation=0)
        assert np.allclose(asked.train.take(N)[:, 0], list(index))


@pytest.mark.parametrize("recorded", ["__index_level_0__", "patient"])
def test_the_index_that_pandas_records_in_a_parquet_file_is_no_feature(tmp_path, recorded):
    table = pa.table({"a": X[:, 0], "b": X[:, 1], recorded: SHUFFLED})
    table = table.replace_schema_metadata({"pandas": json.dumps({"index_columns": [recorded]})})
    parquet.write_table(table, tmp_path / "t.parquet")
    for on_disk in (False, True):
        data = load(tmp_path / "t.parquet", validation=0, on_disk=on_disk)
        assert data.origin["features"] == ["a", "b"]
        assert any(f"{recorded!r}" in note for note in data.origin["notes"])
    assert load(tmp_path / "t.parquet", columns=["a", recorded]).origin["features"] == ["a", recorded]


@pytest.mark.parametrize("metadata", [b"no json", b"[1]", b'{"index_columns": [{"kind": "range"}]}', b"{}"])
def test_other_records_of_pandas_leave_no_column_out(tmp_path, metadata):
    parquet.write_table(
        pa.table({"a": X[:, 0], "b": X[:, 1]}).replace_schema_metadata({"pandas": metadata}), tmp_path / "t.parquet"
    )
    assert load(tmp_path / "t.parquet").origin["features"] == ["a", "b"]


def test_frames_of_pandas_lose_their_index(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b"])
    for i, some in enumerate([frame, frame.sample(30, random_state=0), frame[frame.a > 0], frame.set_index("a")]):
        some.to_parquet(tmp_path / f"{i}.parquet")
        some.to_csv(tmp_path / f"{i}.csv", index=i < 3)
        for kind in ("csv", "parquet"):
            data = load(tmp_path / f"{i}.{kind}", validation=0)
            assert np.allclose(data.train.take(len(data.train)), some.to_numpy())


@pytest.mark.parametrize(
    ("name", "values", "numbers_rows"),
    [
        ("n", np.arange(N), True),
        ("n", 3 * np.arange(N) + 7.0, True),
        ("n", SHUFFLED, False),  # may well be measured
        ("patient_id", SHUFFLED, True),
        ("patientId", SHUFFLED, True),
        ("paid", SHUFFLED, False),
        ("n", np.arange(N) // 2, False),
        ("n", np.arange(N) + 0.5, False),
    ],
)
def test_a_column_that_counts_is_kept_and_named(write, name, values, numbers_rows):
    data = load(write(pa.table({"a": X[:, 0], name: values})))
    assert data.origin["features"] == ["a", name]
    assert any(f"'{name}' holds a different whole number" in note for note in data.origin["notes"]) == numbers_rows


def test_an_empty_column_behind_a_comma_at_the_end_is_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,\n1.5,2,\n3,4,\n")
    assert load(tmp_path / "t.csv", validation=0).origin["features"] == ["a", "b"]
    (tmp_path / "t.csv").write_text("a,b,c\n1.5,2,\n3,4,\n")
    with pytest.raises(ValueError, match="column 'c' .* all its cells are empty"):
        load(tmp_path / "t.csv")


def test_decimal_numbers_are_numbers(tmp_path):
    table = pa.table({"a": pa.array([1, 2, None], pa.decimal128(9, 2)), "b": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", missing="observed", validation=0)
    assert np.array_equal(data.train.take(3), [[1, 1], [2, 2], [np.nan, 3]], equal_nan=True)


@pytest.mark.parametrize("mark", [-999, 9999, -99, 99999.9])
def test_numbers_that_stand_for_none_are_named(tmp_path, mark):
    x = np.random.default_rng(0).normal(size=(200, 3)).round(3)
    x[::7, 1] = mark
    x[0, 2] = -3.999
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(",".join(map(str, row)) + "\n" for row in x.tolist()))
    (note,) = (note for note in load(tmp_path / "t.csv", standardize=True).origin["notes"] if "far from" in note)
    assert note.startswith(f"{mark:g} in 'b': far from all other values")


def test_numbers_of_nines_among_others_are_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(100, 1000, 1)))
    assert not any("far from" in note for note in load(tmp_path / "t.csv").origin["notes"])


@pytest.mark.parametrize(("power", "options"), [(300, {}), (300, {"standardize": True}), (40, {})])
def test_numbers_beyond_what_a_model_can_see_are_refused(tmp_path, power, options):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i}.5e{power},{i % 7}\n" for i in range(60)))
    with pytest.raises(ValueError, match=f"got values up to 5.95e.{power + 1}; divide them") as error:
        load(tmp_path / "t.csv", **options)
    assert ("or write standardize=True" in str(error.value)) == (power == 40)
    if power == 40:
        assert float(load(tmp_path / "t.csv", standardize=True).train.take(9).abs().max()) < 3


def test_columns_of_one_name_are_refused_beside_words_too(tmp_path):
    (tmp_path / "twice.csv").write_text("a,a,k\n1,2,x\n3,4,y\n")
    for columns in (None, "all"):
        with pytest.raises(ValueError, match="columns of different names, got .a. more than once"):
            load(tmp_path / "twice.csv", columns=columns)
