"""A folder of .parquet files is one table: that of one file with the same rows."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import fs, parquet

import nelbo
from nelbo.cli import main
from nelbo.data import ChangedError, OnDisk, load, preview, rebuild, tables

N, F = 3000, 4
G = np.random.default_rng(0)
X = G.normal(size=(N, F)).astype(np.float32)
NUMBERS = pa.table({f"c{j}": X[:, j] for j in range(F)} | {"kind": np.arange(N) % 7})
MIXED = pa.table(
    {
        "job": [None if i % 11 == 0 else str(v) for i, v in enumerate(G.choice(["nurse", "clerk", "cook"], N))],
        "age": pa.array([None if i % 9 == 0 else int(v) for i, v in enumerate(G.integers(18, 81, N))]),
        "visits": G.poisson(3, N),
        "smokes": G.random(N) < 0.3,
        "income": np.exp(G.normal(10, 1, N)),
    }
)
# name, first row, rows of a row group
PARTS = (("a.parquet", 0, 50), ("b/c=1/x.pq", 900, 35), ("b.parquet", 1500, 61))
SMALL = {"on_disk": True, "memory": "48KiB"}


@pytest.fixture(autouse=True)
def light_metadata(monkeypatch):
    # the metadata of toy row groups outweigh their rows
    monkeypatch.setattr(tables, "_BYTES_A_COLUMN_CHUNK", 0)


def write(folder, name, table, **how):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, **how)
    return path


def both(tmp_path, table):
    """A file, and a folder with the same rows in the same row groups, in the order of the paths."""
    folder, file = tmp_path / "DATA", tmp_path / "one.parquet"
    order = sorted(PARTS)
    ends = [*(first for _, first, _ in sorted(PARTS, key=lambda part: part[1])), N]
    with parquet.ParquetWriter(file, table.schema) as out:
        for name, first, size in order:
            part = table[first : ends[ends.index(first) + 1]]
            write(folder, name, part, row_group_size=size)
            out.write_table(part, row_group_size=size)
    for name in ("_SUCCESS", "_metadata", ".hidden.parquet", "_temporary/0/part.parquet", "a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no rows of the table")
    write(folder, "nothing.parquet", pa.table({"other": pa.array([], pa.string())}))
    return folder, file


def same(one, other, **how):
    pairs = itertools.zip_longest(one.batches(64, **how), other.batches(64, **how))
    return all(
        torch.equal(a.x, b.x)
        and torch.equal(a.rows, b.rows)
        and (a.labels is None if b.labels is None else torch.equal(a.labels, b.labels))
        for a, b in pairs
    )


@pytest.mark.parametrize("where", [SMALL, {"on_disk": False}, {}])
@pytest.mark.parametrize(
    ("table", "options"),
    [(NUMBERS, {"label": "kind", "standardize": True}), (MIXED, {"columns": "all"}), (MIXED, {"label": "visits"})],
)
def test_batches_are_those_of_one_file(tmp_path, where, table, options):
    if options == {"label": "visits"}:
        options |= {"columns": ["smokes", "age"], "missing": "observed"}
    one, other = (load(path, **options, **where) for path in both(tmp_path, table))
    assert isinstance(one.train, OnDisk) == ("memory" in where)
    assert (one.kinds, one.preparation) == (other.kinds, other.preparation)
    different = {"source", "sha256", "notes"}
    assert {k: v for k, v in one.origin.items() if k not in different} == {
        k: v for k, v in other.origin.items() if k not in different
    }
    assert one.origin["notes"] == ["'c' in the names of folders: not read as a column", *other.origin["notes"]]
    raw = [torch.nan_to_num(d.train.take(slice(None)), nan=-1e9) for d in (one, other)]
    assert torch.equal(*raw)
    if not one.missing:
        assert same(one.train, other.train)
        for order, lanes in itertools.product((1, 2), (1, 4)):
            assert same(one.train, other.train, order=order, lanes=lanes)
            assert same(one.train, other.train, order=order, lanes=lanes, taken=[lanes - 1], start=5)
    assert same(rebuild(one.origin).train, one.train, order=1) or one.missing


@pytest.mark.parametrize("shards", [1, 2])
def test_weights_and_measures_are_those_of_one_file_also_when_resumed(tmp_path, shards):
    settings = {"shards": shards, "batch_size": 500, "progress": False}
    runs = []
    paths = both(tmp_path, NUMBERS)
    for i, path in enumerate(paths):
        data = load(path, label="kind", validation=0.3, **SMALL)
        assert isinstance(data.validation, OnDisk)
        model = nelbo.recipes.sigma_vae((F,), latent=2, hidden=(8,))
        out = tmp_path / f"run{i}"
        runs.append(nelbo.fit(model, data, out=out, epochs=1 + i, **settings))
    # the one of the folder goes on to where that of the file went at once
    runs[0] = nelbo.resume(tmp_path / "run0", epochs=2, progress=False)
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    names = ("train_nelbo", "validation_nelbo")
    assert [[line.get(name) for name in names] for line in runs[0].history] == [
        [line.get(name) for name in names] for line in runs[1].history
    ]
    scores = [
        nelbo.measure.score_samples(run, path, method="elbo", samples=2) for run, path in zip(runs, paths, strict=True)
    ]
    assert torch.equal(scores[0].value, scores[1].value)


def test_a_run_refuses_a_folder_that_has_changed(tmp_path):
    folder, _ = both(tmp_path, NUMBERS)
    data = load(folder, label="kind")
    moved = folder.rename(tmp_path / "elsewhere")
    assert torch.equal(rebuild(data.origin, moved).train.x, data.train.x)
    moved.rename(folder)
    write(folder, "empty.parquet", NUMBERS[:0])  # has no rows, and so changes none
    rebuild(data.origin)
    (folder / "a.parquet").rename(folder / "z.parquet")
    with pytest.raises(ChangedError, match="DATA has changed since"):
        rebuild(data.origin)
    (folder / "z.parquet").rename(folder / "a.parquet")
    rebuild(data.origin)
    write(folder, "a.parquet", NUMBERS[100:1000], row_group_size=150)
    with pytest.raises(ChangedError, match="DATA has changed since"):
        rebuild(data.origin)
    with pytest.raises(ValueError, match=r"DATA has changed: its sha256"):
        load(folder, label="kind", sha256=data.origin["sha256"])


def test_the_hash_reads_the_metadata_alone(tmp_path):
    """Of a folder; a byte of a value changes the hash of a file, not that of its folder."""
    path = write(tmp_path / "DATA", "a.parquet", NUMBERS, compression="none", use_dictionary=False)
    before = [load(p, label="kind").origin["sha256"] for p in (path, path.parent)]
    content = path.read_bytes()
    at = content.index(X[5, 0].tobytes())
    path.write_bytes(content[:at] + X[6, 0].tobytes() + content[at + 4 :])
    after = [load(p, label="kind").origin["sha256"] for p in (path, path.parent)]
    assert before[0] != after[0]
    assert before[1] == after[1]


A, B = pa.array([1.5, 2.0, 7.0]), pa.array([3, 4, 6])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"a": A}, r"DATA must have the same columns.*DATA/2\.parquet lacks 'b', which DATA/1\.parquet has"),
        ({"a": A, "b": B, "d": B}, r"DATA/2\.parquet has 'd', which DATA/1\.parquet lacks; write columns=\['a', 'b'\]"),
        (
            {"a": A, "b": ["x", "y", "z"]},
            r"'b' is string in DATA/2\.parquet, and int64 in the.*columns=\['a'\] to leave",
        ),
        ({"a": A, "b": [True, False, True]}, r"'b' is bool in DATA/2\.parquet, and int64"),
        ({"a": A, "d": B}, r"lacks 'b'.*columns=\['a'\] to leave (it|them) out"),
    ],
)
def test_files_with_other_columns(tmp_path, second, message):
    write(tmp_path / "DATA", "1.parquet", pa.table({"a": A, "b": B}))
    write(tmp_path / "DATA", "2.parquet", pa.table(second))
    for options in ({}, {"columns": "all"}, {"columns": ["a", "b"]}):
        if options != {"columns": ["a", "b"]} or "has 'd'" not in message:
            with pytest.raises(ValueError, match=message):
                load(tmp_path / "DATA", validation=0, **options)
    data = load(tmp_path / "DATA", columns=["a"], validation=0)  # the line to write
    assert data.train.x[:, 0].tolist() == [1.5, 2.0, 7.0] * 2


def test_a_label_that_a_file_lacks(tmp_path):
    write(tmp_path / "DATA", "1.parquet", pa.table({"a": A, "b": B}))
    write(tmp_path / "DATA", "2.parquet", pa.table({"a": A}))
    with pytest.raises(ValueError, match=r"lacks 'b', which DATA/1\.parquet has; write the file again"):
        load(tmp_path / "DATA", columns=["a"], label="b")


def test_columns_are_matched_by_name_and_numbers_widened(tmp_path):
    kinds = ("int32", "float32", "int8", "uint64", "float64"), ("int64", "float64", "uint8", "int16", "int64")
    values = np.arange(6).reshape(2, 3) + 250
    values[:, :] %= 120
    names = "abcde"
    for i, order in enumerate((range(5), range(4, -1, -1))):
        table = pa.table({names[j]: pa.array(values[i] + j, kinds[i][j]) for j in order})
        write(tmp_path / "DATA", f"{i}.parquet", table)
    for on_disk in (True, False):
        data = load(tmp_path / "DATA", validation=0, on_disk=on_disk)
        assert data.origin["features"] == list(names)
        assert data.origin["types"] == ["int64", "double", "int16", "double", "double"]
        expected = values.reshape(-1, 1) + np.arange(5)
        assert np.array_equal(data.train.take(slice(None)), expected)


def test_texts_of_other_types_and_columns_without_a_value_go_together(tmp_path):
    some = pa.array(["x", "y"] * 30)
    for i, (text, number) in enumerate(
        [
            (some, pa.nulls(60)),
            (some.dictionary_encode(), pa.array(G.normal(size=60))),
            (some.cast(pa.large_string()), pa.array(G.normal(size=60), pa.float32())),
            (pa.nulls(60), pa.array(G.normal(size=60))),
        ]
    ):
        write(tmp_path / "DATA", f"{i}.parquet", pa.table({"text": text, "number": number}))
    data = load(tmp_path / "DATA", columns="all", validation=0)
    assert {name: kind.kind for name, kind in data.kinds.items()} == {"text": "categorical", "number": "real"}
    observed = ~torch.isnan(data.train.take(slice(None)))
    assert observed.reshape(4, 60, 2).all(dim=1).tolist() == [[1, 0], [1, 1], [1, 1], [0, 1]]


def test_one_file_is_open_at_a_time(tmp_path, monkeypatch):
    for i in range(300):
        write(tmp_path / "DATA", f"{i:03}.parquet", NUMBERS[10 * i : 10 * (i + 1)])
    inside, watched, opened = str(tmp_path / "DATA"), Path("/proc/self/fd"), []
    real = parquet.ParquetFile

    def counted(*args, **kwargs):
        file, there = real(*args, **kwargs), 0
        for link in watched.iterdir() if watched.exists() else ():
            with contextlib.suppress(OSError):
                there += str(link.readlink()).startswith(inside)
        opened.append(there)
        return file

    monkeypatch.setattr(parquet, "ParquetFile", counted)
    data = load(tmp_path / "DATA", label="kind", validation=0, **SMALL)
    assert len(data.train.file.edges) == 301
    seen = torch.cat([batch.x for batch in data.train.batches(64, order=0)])
    assert torch.equal(seen[:, 0].sort().values, torch.from_numpy(X[:, 0]).sort().values)
    assert len(opened) > 600
    assert max(opened) == (1 if watched.exists() else 0)


def test_row_groups_without_rows_do_not_shift_a_split(tmp_path):
    with parquet.ParquetWriter(tmp_path / "x.parquet", NUMBERS.schema) as out:
        for first in range(0, N, 50):
            out.write_table(NUMBERS[first : first + 50])
            out.write_table(NUMBERS[:0])
    assert parquet.read_metadata(tmp_path / "x.parquet").num_row_groups == 2 * N // 50
    data = load(tmp_path / "x.parquet", label="kind", validation=0.5, **SMALL)
    assert isinstance(data.train, OnDisk)
    rows = torch.cat([batch.x for batch in data.train.batches(100)])
    assert torch.equal(rows, torch.from_numpy(X)[data.train.source_rows])


def test_a_folder_that_is_no_table(tmp_path):
    from PIL import Image

    folder, _ = both(tmp_path, NUMBERS)
    Image.new("L", (8, 8)).save(folder / "b" / "cat.png")
    with pytest.raises(ValueError, match=r"images or \.parquet files, got both, such as b/cat\.png and a\.parquet"):
        load(folder)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"label='kind' applies to .*a folder of \.parquet files"):
        load(tmp_path / "images", label="kind")
    write(tmp_path / "none", "a.parquet", NUMBERS[:0])
    with pytest.raises(ValueError, match="the data are empty"):
        load(tmp_path / "none")


@pytest.mark.parametrize("keep", [0, 40, -30])
def test_a_damaged_file_is_named(tmp_path, keep):
    folder, _ = both(tmp_path, NUMBERS)
    path = folder / "b" / "c=1" / "x.pq"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"DATA/b/c=1/x\.pq cannot be read as a \.parquet file"):
        load(folder, label="kind")


def test_a_file_damaged_inside_and_a_row_group_too_large_are_named(tmp_path):
    folder, _ = both(tmp_path, NUMBERS)
    with pytest.raises(ValueError, match=r"DATA/b\.parquet must have row groups of at most .* up to 61 rows"):
        load(folder, label="kind", on_disk=True, memory="8KiB", validation=0)
    path = folder / "b.parquet"
    content = bytearray(path.read_bytes())
    content[2000:4000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"DATA/b\.parquet cannot be read as a \.parquet file"):
        load(folder, label="kind")


def test_a_category_that_was_not_there_names_its_file(tmp_path):
    folder, _ = both(tmp_path, MIXED)
    data = load(folder, columns=["job", "visits"], types={"job": "categorical"}, missing="observed")
    write(tmp_path / "new", "1.parquet", pa.table({"job": ["cook"], "visits": [1]}))
    write(tmp_path / "new", "2.parquet", pa.table({"job": ["pilot"], "visits": [1]}))
    with pytest.warns(UserWarning, match=r"'job' of new/2\.parquet holds 'pilot' in 1 rows"):
        nelbo.data.loading.prepared_like(data.origin, tmp_path / "new")


@pytest.mark.parametrize("folder", [True, False])
def test_an_address_is_read_as_a_path(tmp_path, monkeypatch, folder):
    path = both(tmp_path, NUMBERS)[0 if folder else 1]
    expected = load(path, label="kind", **SMALL)
    by_uri = load(path.as_uri(), label="kind", **SMALL)
    # a filesystem of another kind, of which every path is new to this machine
    system = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(nelbo.data.parquet, "_reached", lambda address: (system, address.removeprefix("s3://")))
    address = f"s3://{path.name}{'/' * folder}"
    elsewhere = load(address, label="kind", **SMALL)
    assert elsewhere.origin["source"] == address
    for data in (by_uri, elsewhere, rebuild(elsewhere.origin)):
        assert same(data.train, expected.train, order=3)
    assert by_uri.origin["sha256"] == elsewhere.origin["sha256"]
    assert (by_uri.origin["sha256"] == expected.origin["sha256"]) == folder
    assert preview(address).rows == N
    with pytest.raises(FileNotFoundError, match="there is no file and no folder s3://nowhere"):
        load("s3://nowhere")


def test_addresses_that_cannot_be_read():
    with pytest.raises(ValueError, match="must hold no password"):
        load("s3://me:secret@bucket/folder")
    with pytest.raises(ValueError, match=r"nosuch://x/y cannot be read.*Check the address"):
        load("nosuch://x/y")


def test_from_the_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    both(tmp_path, MIXED)
    found = preview("DATA")
    assert (found.name, found.rows, found.parts) == ("DATA", N, (3, 61))
    assert main(["data", "DATA/"]) == 0
    said = capsys.readouterr().out
    assert "DATA: 3,000 rows in 3 files and 61 row groups, 5 columns" in said
    assert "nelbo fit DATA/ --columns all" in said
    assert main(["fit", "DATA/", "--epochs", "1", "--hidden", "8", "--limit", "400", "--out", "run"]) == 0
    assert main(["score", "run", "DATA/", "--method", "elbo", "--samples", "2", "--out", "s.csv"]) == 0
    assert f"{N:,} scores" in capsys.readouterr().out
