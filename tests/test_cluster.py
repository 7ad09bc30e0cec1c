"""Trainings, sweeps and scores by a Ray cluster: the bytes of one process, whatever is lost on the way."""

import functools
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import nelbo
from nelbo import cluster
from nelbo.cli import main, results
from nelbo.files import check_storage
from nelbo.launcher import versions
from nelbo.measure import sweep
from nelbo.runs import WEIGHTS, read_history
from nelbo.training.by_ray import check_shards, train_by_ray
from tests.training.simple import small, untimed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")  # of Ray about itself
ROWS, GROUP = 700, 100
COMMON = {"shards": 4, "batch_size": 48, "epochs": 3, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def ray():
    """A cluster of two CPUs on this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table in row groups, and a run on it."""
    folder = tmp_path_factory.mktemp("cluster")
    r = np.random.default_rng(0)
    x = r.normal(size=(ROWS, 2)) @ r.normal(size=(2, 5)) + 0.3 * r.normal(size=(ROWS, 5))
    parquet.write_table(pa.table({f"c{i}": x[:, i] for i in range(5)}), folder / "table.parquet", row_group_size=GROUP)
    train(folder, "one", progress=False)
    return folder


def train(folder, name, **more):
    data = nelbo.data.load(folder / "table.parquet", standardize=True)
    model = nelbo.recipes.sigma_vae((5,), latent=2, hidden=(8,))
    return nelbo.fit(model, data, out=folder / name, **(COMMON | more))


def same(one, other):
    assert (one / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert untimed(read_history(one)) == untimed(read_history(other))


def once(marker, *pids):
    """Kill processes the first time this is called; all share the marker's file system."""
    if not marker.exists():
        marker.touch()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_workers_end_in_the_bits_of_one_process(ray, folder):
    run = train(folder, "two", ray=2)
    same(folder / "one", run.path)
    assert run.record["status"] == "finished"
    assert run.record["weights"] == "drawn by the seed"
    assert not (run.path / ".ray").exists()


@pytest.mark.slow
def test_one_worker_goes_on_where_a_process_stopped(ray, folder):
    run = train(folder, "shorter", progress=False)
    longer = nelbo.resume(run.path, epochs=4, ray=1, progress=False)
    same(train(folder, "longer", epochs=4, progress=False).path, longer.path)


@pytest.mark.slow
def test_what_a_worker_raises_reaches_the_caller_at_once(ray, tmp_path):
    x = np.ones((20, 5), dtype=np.float32)
    with pytest.raises(ValueError, match="of shape"):
        nelbo.fit(small(event=(6,)), x, ray=1, out=tmp_path / "run", progress=False)


def _killed_once(marker: Path, value: int) -> int:
    if value == 1:
        once(marker, os.getpid())
    return value


def test_tasks_give_results_in_order_and_a_lost_one_is_started_again(ray, tmp_path):
    looks = []
    tasks = [functools.partial(_killed_once, tmp_path / "killed", value) for value in range(4)]
    assert cluster.side_by_side(tasks, 2, look=lambda *seen: looks.append(seen)) == [0, 1, 2, 3]
    assert looks[-1] == (4, 1)
    with pytest.raises(ZeroDivisionError):
        cluster.side_by_side([lambda: 1 // 0], 1)


def test_workers_with_other_versions_are_refused(ray, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "versions", lambda: versions() | {"nelbo": "0.0.1"})
    message = re.escape("and the process that started it 0.0.1; install nelbo==0.0.1 on all its machines")
    with pytest.raises(ValueError, match=message):
        cluster.side_by_side([os.getpid], 1)
    with pytest.raises(ValueError, match=message):
        cluster.train_together(print, 1, folder=tmp_path)


def test_a_sweep_side_by_side_is_the_sweep_one_by_one(ray, tmp_path):
    data = nelbo.data.load(np.random.default_rng(0).integers(0, 2, (120, 6)).astype(np.float32), validation=20)
    common = {"betas": [2.0, 0.5], "model": {"latent": 2, "hidden": (8,)}, "epochs": 2, "threads": 1, "device": "cpu"}
    common |= {"progress": False}
    one, two = sweep(data, out=tmp_path / "one", **common), sweep(data, out=tmp_path / "two", ray=2, **common)
    assert one.to_dict() == two.to_dict()
    for before, after in zip(one.runs, two.runs, strict=True):
        same(before.path, after.path)


@pytest.mark.parametrize("command", [["score", "--method", "elbo"], ["embed"]])
def test_parts_by_two_processes_are_the_bytes_of_one(ray, folder, tmp_path, capsys, command):
    def ask(out, *more):
        name, *options = command
        line = [name, str(folder / "one"), str(folder / "table.parquet"), *options, "--device", "cpu", "--out", out]
        assert main([*map(str, line), *more]) == 0
        return capsys.readouterr().out

    said = ask(tmp_path / "one")
    assert ask(tmp_path / "two", "--ray", "2").replace(str(tmp_path / "two"), str(tmp_path / "one")) == said
    parts = sorted(tmp_path.glob("two/*.parquet"))
    assert len(parts) == ROWS // GROUP
    assert [path.read_bytes() for path in parts] == [
        path.read_bytes() for path in sorted(tmp_path.glob("one/*.parquet"))
    ]
    before = [path.stat().st_mtime_ns for path in parts]
    content = parts[3].read_bytes()
    parts[3].unlink()
    ask(tmp_path / "two", "--ray", "2")
    assert parts[3].read_bytes() == content
    assert [path.stat().st_mtime_ns == old for path, old in zip(parts, before, strict=True)].count(False) == 1


def test_a_cluster_without_room_is_refused_instead_of_waited_for(ray, tmp_path):
    message = "room for 2 processes of 1 CPUs each (2 CPUs on 1 machines), got ray=3; write ray=2, or let RAY_ADDRESS"
    with pytest.raises(ValueError, match=re.escape(message)):
        nelbo.fit(small(), np.ones((9, 6)), shards=3, batch_size=3, ray=3, out=tmp_path / "run", progress=False)


@pytest.mark.slow
def test_a_training_that_loses_workers_ends_in_the_bits_of_its_twin(ray, folder, tmp_path):
    def kill(epoch):
        """After the first epoch the first worker itself, after the second the other one."""
        if epoch["epoch"] == 1:
            once(tmp_path / "first", os.getpid())
        if epoch["epoch"] == 2:
            once(tmp_path / "other", *(pid for pid in _workers() if pid != os.getpid()))

    run = train(folder, "killed", ray=2, callback=kill, checkpoint_every=1e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "other"}
    same(folder / "one", run.path)
    assert run.record["status"] == "finished"


def _workers():
    """Numbers of the processes that train for Ray, below the same raylet."""
    stats = {int(path.name): path / "stat" for path in Path("/proc").glob("[0-9]*")}
    siblings = []
    for pid, path in stats.items():
        name = (path.parent / "cmdline").read_bytes().decode(errors="replace") if path.exists() else ""
        if "RayTrainWorker" in name and int(path.read_text().rpartition(")")[2].split()[1]) == os.getppid():
            siblings.append(pid)
    return siblings


# without Ray


@pytest.mark.parametrize(
    ("workers", "shards", "message"),
    [
        (3, 4, "ray=3 processes must divide shards=4, the pieces of a batch; write ray=2, or for a new run shards=6"),
        (8, 4, "ray=8 processes must divide shards=4, the pieces of a batch; write ray=4, or for a new run shards=8"),
        (0, 4, "ray must be a number of processes such as ray=2, got 0"),
    ],
)
def test_processes_that_do_not_divide_the_shards_are_refused(tmp_path, workers, shards, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_shards(workers, shards)
    with pytest.raises(ValueError, match=re.escape(message)):
        nelbo.fit(small(), np.ones((9, 6)), shards=shards, ray=workers, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_ray_needs_is_named(monkeypatch, tmp_path, folder, capsys):
    with pytest.raises(ValueError, match=re.escape("ray=2 needs a folder that all machines see; write out=")):
        nelbo.fit(small(), np.ones((9, 6)), ray=2)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=re.escape("ray=2 needs Ray: pip install 'nelbo[cluster]'")):
        nelbo.fit(small(), np.ones((9, 6)), ray=2, out=tmp_path / "run")
    assert "starting" not in capsys.readouterr().err
    assert main(["score", str(folder / "one"), "--ray", "2", "--out", str(tmp_path / "x.csv")]) == 1
    assert "--ray 2 processes share the files of a folder; write --out with a path without an ending" in (
        capsys.readouterr().err
    )
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="ray=2 starts the processes by itself; start one, without torchrun"):
        check_shards(2, 2)


@pytest.mark.parametrize(
    ("address", "where"), [(None, "a local Ray cluster"), ("10.0.0.1:6379", "the Ray cluster at 10.")]
)
def test_the_start_of_ray_is_said_at_once_and_when_it_is_over(address, where, monkeypatch, tmp_path, capsys):
    """Ray takes most of a minute to start, in which nothing else is shown."""
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    seen = []

    def train_together(task, workers, *, folder, threads, accelerated, hear):
        seen.append(capsys.readouterr().err)
        hear(1, workers, ("begin", 2, 3, 0))
        hear(2, workers, ("begin", 2, 3, 1))

    monkeypatch.setattr(cluster, "check_installed", lambda workers: None)
    monkeypatch.setattr(cluster, "train_together", train_together)
    train_by_ray(lambda progress: None, 8, tmp_path, threads=1, device="cpu", progress=True)
    assert f"nelbo: starting 8 workers on {where}" in seen[0]
    assert capsys.readouterr().err.count("nelbo: 8 workers began after 0 s") == 1


def test_scores_and_a_sweep_say_at_once_that_ray_starts(monkeypatch, folder, tmp_path, capsys):
    seen = []

    def side_by_side(tasks, at_once, **_):
        seen.append(capsys.readouterr().err)
        raise ConnectionError("lost too often")

    monkeypatch.setattr(cluster, "check_installed", lambda workers: None)
    monkeypatch.setattr(results, "side_by_side", side_by_side)
    monkeypatch.setattr(sys.modules["nelbo.measure.sweep"], "side_by_side", side_by_side)
    line = ["score", folder / "one", folder / "table.parquet", "--method", "elbo", "--out", tmp_path / "two"]
    assert main([*map(str, line), "--ray", "2"]) == 1
    line = ["sweep", folder / "table.parquet", "--betas", "1", "--out", tmp_path / "three"]
    assert main([*map(str, line), "--ray", "2"]) == 1
    assert ["nelbo: starting 2 workers on a local Ray cluster" in text for text in seen] == [True, True]


def test_storage_that_cannot_rename_is_refused(monkeypatch, tmp_path):
    def refuse(self, target):
        raise OSError(95, "Operation not supported", str(self))

    check_storage(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Operation not supported: this storage cannot rename a file"):
        cluster.train_together(lambda say: None, 1, folder=tmp_path)
