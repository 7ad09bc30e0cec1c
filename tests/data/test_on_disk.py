import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from scipy import stats

from nelbo.data import InMemory, OnDisk, as_data, load, rebuild, tables

N, F = 10_000, 4
X = np.arange(N * F, dtype=np.float32).reshape(N, F)
SMALL = "64KiB"  # the 160 kB of X take many buffers


@pytest.fixture(params=["npy", "parquet"])
def path(request, tmp_path, monkeypatch):
    # the metadata of toy row groups outweigh their rows; test_memory_is_bounded counts them at full size
    monkeypatch.setattr(tables, "_BYTES_A_COLUMN_CHUNK", 0)
    path = tmp_path / f"x.{request.param}"
    if request.param == "npy":
        np.save(path, X)
    else:
        table = pa.table({f"c{j}": X[:, j] for j in range(F)} | {"kind": np.arange(N) % 7})
        parquet.write_table(table, path, row_group_size=150)
    return path


def on_disk(path, **options):
    label = {"label": "kind"} if path.suffix == ".parquet" else {}
    return load(path, on_disk=True, **{"memory": SMALL, **label, **options})


def test_storage_order_is_that_of_the_file(path):
    data = on_disk(path, validation=0)
    assert isinstance(data.train, OnDisk)
    assert np.array_equal(torch.cat([b.x for b in data.train.batches(64)]).numpy(), X)


@pytest.mark.parametrize("batch_size", [7, 128, 5000, 20_000])
def test_a_resumed_epoch_gives_what_was_left(path, batch_size):
    train = on_disk(path, validation=0).train
    whole = list(train.batches(batch_size, order=3))
    assert all(len(b) == batch_size for b in whole[:-1])
    assert torch.equal(torch.cat([b.x for b in whole])[:, 0].sort().values, torch.from_numpy(X[:, 0]))
    for start in (0, 1, 2, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 3):
        rest = list(train.batches(batch_size, order=3, start=start))
        assert len(rest) == max(0, len(whole) - start)
        assert all(torch.equal(a.x, b.x) for a, b in zip(rest, whole[start:], strict=True))


def test_the_order_depends_on_its_seed_alone(path):
    a, b = on_disk(path, validation=0).train, on_disk(path, validation=0).train
    first, again, other = (
        torch.cat([b.x for b in d.batches(s, order=o)]) for d, s, o in ((a, 64, 1), (b, 100, 1), (a, 64, 2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rows_mix_across_the_file(path):
    """Over epochs, where a row comes is uniform and uncorrelated with where it lies and with where it came
    before."""
    train = on_disk(path, validation=0).train
    assert len(train._groups(0)) >= 8
    places = []
    for order in range(40):
        row = torch.cat([b.x for b in train.batches(500, order=order)])[:, 0].long().numpy() // F
        place = np.empty(N)
        place[row] = np.arange(N)
        places.append(place)
    places = np.array(places)
    # rows of one piece share a buffer, so an epoch has as many independent places as the file has pieces
    pieces = len(train.file.edges) - 1
    for i, place in enumerate(places):
        assert abs(np.corrcoef(place, np.arange(N))[0, 1]) < 5 / np.sqrt(pieces)
        assert i == 0 or abs(np.corrcoef(place, places[i - 1])[0, 1]) < 5 / np.sqrt(pieces)
    # one row of each piece: its place is uniform over epochs
    some = places[:, train.file.edges[:-1]] / N
    assert stats.kstest(some[:, :: max(1, pieces // 20)].ravel(), "uniform").pvalue > 1e-6
    # a batch holds rows of many pieces, and neighbours in the file are no neighbours in the batch
    batch = next(train.batches(64, order=0)).x[:, 0].long().numpy() // F
    assert len(np.unique(np.searchsorted(train.file.edges, batch, side="right"))) >= 5
    assert (np.abs(np.diff(batch)) == 1).mean() < 0.1


def test_rows_within_a_buffer_are_mixed_evenly(path):
    """Which piece of the buffer a place draws from is independent of the place."""
    train = on_disk(path, validation=0).train
    group = train._groups(5)[0]
    n = sum(span.rows for span in group)
    rows = torch.cat([b.x for b in train.batches(n, order=5)])[:n, 0].long().numpy() // F
    piece = np.searchsorted(train.file.edges, rows, side="right")
    halves = np.array([[(piece[: n // 2] == p).sum(), (piece[n // 2 :] == p).sum()] for p in np.unique(piece)])
    assert stats.chi2_contingency(halves).pvalue > 1e-6


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("order", [None, 2])
@pytest.mark.parametrize("validation", [0, 0.1])
def test_lanes_divide_an_epoch_and_can_be_read_alone(path, order, start, validation):
    """Each row once; what a process takes are its lanes of the batches of all, whatever it shares them with."""
    train = on_disk(path, validation=validation).train
    size, lanes = 60, 4
    whole = list(train.batches(size, order=order, start=start, lanes=lanes))
    alone = [list(train.batches(size, order=order, start=start, lanes=lanes, taken=[lane])) for lane in range(lanes)]
    pair = list(train.batches(size, order=order, start=start, lanes=lanes, taken=[2, 3]))
    for i, batch in enumerate(whole):
        parts = [each[i] for each in alone if i < len(each)]
        assert torch.equal(batch.x, torch.cat([part.x for part in parts]))
        assert torch.equal(batch.rows, torch.cat([part.rows for part in parts]))
        assert i + 1 == len(whole) or torch.equal(pair[i].x, torch.cat([part.x for part in parts[2:]]))
    rows = torch.cat([batch.rows for batch in whole])
    assert len(rows.unique()) == len(rows) == len(train) - start * size
    assert [len(batch) for batch in whole[:-1]] == [size] * (len(whole) - 1)


def test_a_lane_reads_its_own_pieces_alone(path, monkeypatch):
    train = on_disk(path, validation=0).train
    read = []
    real = type(train.file).read
    monkeypatch.setattr(
        type(train.file), "read", lambda self, piece, *a, **k: (read.append(piece), real(self, piece, *a, **k))
    )
    list(train.batches(60, order=2, lanes=4, taken=[1]))
    pieces = len(train.file.edges) - 1
    assert len(read) <= pieces / 4 + 2


def test_a_buffer_is_read_in_the_order_of_the_file(path, monkeypatch):
    """So that a folder's files are opened once each; where a row comes does not depend on it."""
    train = on_disk(path, validation=0).train
    read = []
    real = type(train.file).read
    monkeypatch.setattr(
        type(train.file), "read", lambda self, piece, *a, **k: (read.append(piece), real(self, piece, *a, **k))
    )
    group = train._groups(3)[0]
    x = train._fill(group, np.empty((sum(span.rows for span in group), F), np.float32))
    assert len(group) == len(read) > 5
    assert read == sorted(read) != [span.piece for span in group]
    expected = [train.file.piece(span.piece)[span.start : span.stop] for span in group]
    assert np.array_equal(x, np.concatenate(expected))


def test_a_split_of_a_file(path):
    data = on_disk(path, validation=0.3)
    assert isinstance(data.validation, OnDisk)
    seen = [torch.cat([b.x for b in d.batches(64, order=1)])[:, 0].long() // F for d in (data.train, data.validation)]
    assert torch.equal(seen[0].sort().values, data.train.source_rows)
    assert torch.equal(seen[1].sort().values, data.validation.source_rows)
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(N))
    in_memory = as_data(X, validation=0.3)
    assert set(in_memory.validation.source_rows.tolist()) == set(data.validation.source_rows.tolist())
    for d in (data.train, data.validation):
        assert torch.equal(d.take([0, 5, -1]), torch.from_numpy(X)[d.source_rows[[0, 5, -1]]])
        if d.labels is not None:
            assert torch.equal(d.labels, d.source_rows % 7)


@pytest.mark.parametrize("order", [None, 1])
@pytest.mark.parametrize("batch_size", [64, 5000])
def test_a_batch_carries_what_belongs_to_its_examples(path, order, batch_size):
    data = on_disk(path, validation=0.3)
    train = data.train
    train.c = train.source_rows[:, None] * 2.0
    for batch in train.batches(batch_size, order=order, start=1):
        source = train.source_rows[batch.rows]
        assert torch.equal(batch.x, torch.from_numpy(X)[source])
        assert torch.equal(batch.c[:, 0], source * 2.0)
        assert (batch.labels is None) == (train.labels is None)
        if batch.labels is not None:
            assert torch.equal(batch.labels, source % 7)


def test_a_small_validation_set_is_held_in_memory(path):
    data = on_disk(path, validation=100)
    assert isinstance(data.validation, InMemory)
    in_memory = as_data(X, validation=100)
    assert torch.equal(data.validation.take(100), in_memory.validation.take(100))
    assert torch.equal(data.validation.source_rows, in_memory.validation.source_rows)
    if data.validation.labels is not None:
        assert torch.equal(data.validation.labels, data.validation.source_rows % 7)
    limited = on_disk(path, limit=200, validation=50)
    assert isinstance(limited.train, InMemory)
    assert (len(limited.train), len(limited.validation)) == (150, 50)


def test_standardized_alike_on_disk_and_in_memory(path):
    a, b = on_disk(path, standardize=True).preparation, as_data(X, standardize=True).preparation
    assert np.allclose(a.mean, b.mean, rtol=1e-12)
    assert np.allclose(a.std, b.std, rtol=1e-12)


def test_rebuilt_from_its_origin(path):
    data = on_disk(path, validation=0.2)
    again = rebuild(data.origin)
    assert isinstance(again.train, OnDisk)
    for a, b in zip(data.train.batches(100, order=4), again.train.batches(100, order=4), strict=True):
        assert torch.equal(a.x, b.x)


@pytest.mark.parametrize("options", [{"binarize": "dynamic"}, {"dequantize": True}, {"binarize": "static"}])
def test_fixed_draws_of_a_file_are_those_of_memory(tmp_path, options):
    x = np.random.default_rng(0).integers(0, 256, (3000, 5, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    disk = load(tmp_path / "x.npy", on_disk=True, memory="32KiB", validation=0, **options)
    memory = as_data(x, validation=0, **options)
    assert disk.event_shape == memory.event_shape == (3, 5, 4)
    expected = memory.train.take(3000, seed=2)
    rows = [2999, 3, 1500]
    assert torch.equal(disk.train.take(rows, seed=2), expected[rows])
    frozen = disk.train.fixed(seed=2)
    assert torch.equal(torch.cat([frozen.prepare(b).x for b in frozen.batches(70)]), expected)
    assert frozen.preparation == memory.train.fixed(seed=2).preparation
    shuffled = torch.cat([frozen.prepare(b).x for b in frozen.batches(70, order=1)])
    assert torch.equal(shuffled.sum((1, 2, 3)).sort().values, expected.sum((1, 2, 3)).sort().values)


def test_file_types_are_read_as_they_are(tmp_path):
    for dtype in ("u2", ">f8", "?", "i1", "f2"):
        x = (np.arange(600).reshape(100, 6) % 2).astype(dtype)
        np.save(tmp_path / "x.npy", x)
        data = load(tmp_path / "x.npy", on_disk=True, memory="4KiB", validation=0)
        assert np.array_equal(torch.cat([b.x for b in data.train.batches(9)]).numpy().astype(float), x.astype(float))


def test_columns_first_are_refused_with_the_line_to_write(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    with pytest.raises(ValueError, match="ascontiguousarray"):
        load(tmp_path / "x.npy", on_disk=True)


def test_row_groups_too_large_for_the_memory(tmp_path):
    parquet.write_table(pa.table({"a": X[:, 0]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"row groups of up to 10,000 rows.*row_group_size=\d+\)"):
        load(tmp_path / "x.parquet", on_disk=True, memory="64KiB")


def test_metadata_too_large_for_the_memory(tmp_path):
    parquet.write_table(pa.table({"a": X[:, 0]}), tmp_path / "x.parquet", row_group_size=10)
    with pytest.raises(ValueError, match=r"must hold 3\.9 MiB, twice the metadata.*memory='7\.8 MiB'"):
        load(tmp_path / "x.parquet", on_disk=True, memory="1MiB", validation=0)


def test_nan_deep_in_a_file_is_found_before_training(tmp_path):
    x = X.copy()
    x[7777, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=r"1 NaN .* in example 7777, position \(2,\)"):
        load(tmp_path / "x.npy", on_disk=True, memory=SMALL)


def test_an_error_of_the_reading_thread_is_raised_in_the_caller(tmp_path):
    np.save(tmp_path / "x.npy", X)
    train = on_disk(tmp_path / "x.npy", validation=0).train
    batches = train.batches(64, order=0)
    next(batches)
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ValueError, match="cut short"):
        list(batches)


def test_leaving_early_leaves_no_thread(path):
    train = on_disk(path, validation=0).train
    batches = train.batches(64, order=0)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("nelbo-data")]


def test_the_next_buffer_is_read_while_this_one_is_gone_through(tmp_path):
    np.save(tmp_path / "x.npy", X)
    train = on_disk(tmp_path / "x.npy", validation=0).train
    fill, filled = train._fill, []
    started = threading.Event()

    def watched(pieces, buffer):
        filled.append(threading.current_thread())
        if len(filled) == 2:
            started.set()
        return fill(pieces, buffer)

    train._fill = watched
    batches = train.batches(64, order=0)
    next(batches)
    assert started.wait(600)  # although nobody has asked for a row of the second buffer
    batches.close()
    assert threading.main_thread() not in filled


PEAK = """
import re, sys, torch, numpy as np
from pathlib import Path
from nelbo.data import load

def peak():  # of this program: ru_maxrss would be inherited from the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
path, memory = sys.argv[1:]
if not path.endswith("npy"):
    import nelbo.data.tables, pyarrow.parquet
warm = load("digits", standardize=True)
warm.train.prepare(next(warm.train.batches(4, order=0)))
before = peak()
data = load(path, on_disk=True, memory=memory, validation=0.1, standardize=True)
for epoch in range(2):
    for batch in data.train.batches(256, order=epoch):
        data.train.prepare(batch)
bounded = peak() - before
load(path, on_disk=False, validation=0)
print(len(data.train), bounded, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "kind",
    ["npy", "parquet", "folder"],
)
def test_memory_is_bounded_in_a_process_of_its_own(tmp_path, kind):
    """360 MB on disk, gone through twice, raise the peak by no more than memory= and 24 bytes a row.

    A folder of many files takes up to a seventh more, for arrow does not give back all that an open file took.
    """
    n, f, memory = 900_000, 100, 64 << 20
    path = tmp_path / f"x.{kind}"
    g = np.random.default_rng(0)
    if kind == "npy":
        x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, f))
        for i in range(0, n, 50_000):
            x[i : i + 50_000] = g.normal(size=(50_000, f))
        x.flush()
        del x
    else:
        (path if kind == "folder" else tmp_path).mkdir(exist_ok=True)
        files = [path / f"{i:02}.parquet" for i in range(18)] if kind == "folder" else [path]
        for file in files:
            with parquet.ParquetWriter(file, pa.schema([(f"c{j}", pa.float32()) for j in range(f)])) as out:
                for _ in range(0, n // len(files), 50_000):
                    x = g.normal(size=(50_000, f)).astype(np.float32)
                    out.write_table(pa.table({f"c{j}": x[:, j] for j in range(f)}), row_group_size=10_000)
    assert sum(each.stat().st_size for each in (path, *path.glob("*"))) > 5 * memory
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), str(memory)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    trained, bounded, unbounded = map(int, run.stdout.split())
    print(f"\n{kind}: peak grew by {bounded / 2**20:.0f} MiB; in memory by {unbounded / 2**20:.0f} MiB")
    assert trained == 810_000
    assert bounded < memory * (8 / 7 if kind == "folder" else 1) + 24 * n
    assert n * f * 4 < unbounded < 1.5 * n * f * 4  # and the measure does see what is in memory
