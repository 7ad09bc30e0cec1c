"""Batches cut into pieces: the same weights by any number of processes."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

import nelbo
from nelbo.runs import WEIGHTS, read_history, read_record
from nelbo.training.checkpoint import Keeper
from nelbo.training.fit import check_alike, prepare
from nelbo.training.replay import explain
from nelbo.training.settings import Settings
from nelbo.workers import OtherFailedError, Workers, any_number, working_together
from tests.training.simple import quick, small, table_file, untimed, weights
from tests.training.together import TRAININGS, X, train


def started(processes: int, *command: str) -> list[subprocess.Popen[str]]:
    """Processes of one training, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(processes)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Return code and output of each."""
    outputs = [process.communicate(timeout=600) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    table_file(folder)
    results = ended(started(2, "-W", "error", "-m", "tests.training.together", str(folder), *TRAININGS))
    assert all(code == 0 for code, _, _ in results), results
    return folder


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_end_in_the_bits_of_one(by_two, name):
    one = train(name, by_two, by_two / "one" / name)
    assert (one.path / WEIGHTS).read_bytes() == (by_two / "two" / name / WEIGHTS).read_bytes()
    assert untimed(read_history(one.path)) == untimed(read_history(by_two / "two" / name))


def test_a_run_of_two_processes_goes_on_in_one(by_two):
    whole = train("dynamic", by_two, by_two / "longer", epochs=4)
    on = nelbo.resume(by_two / "two" / "dynamic", data=np.abs(np.tanh(X)), epochs=4, progress=False)
    assert (whole.path / WEIGHTS).read_bytes() == (on.path / WEIGHTS).read_bytes()


def test_without_noise_pieces_change_rounding_alone():
    """One step on all examples: the sum of the pieces' gradients is the gradient of the batch."""
    x = torch.from_numpy(X)
    one, four = (
        quick(small("autoencoder", event=(5,), likelihood="normal:1.0"), x, shards=shards, batch_size=204, epochs=1,
              validation=0, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
        for shards in (1, 4)
    )  # fmt: skip
    before = weights(small("autoencoder", event=(5,), likelihood="normal:1.0"))
    for name, value in weights(one.model).items():
        assert torch.allclose(value, weights(four.model)[name], atol=1e-6, rtol=0), name
    assert any(not torch.equal(value, before[name]) for name, value in weights(one.model).items())
    error = "train_reconstruction_error"
    assert one.history[0][error] == pytest.approx(four.history[0][error], rel=1e-6)


def test_each_piece_has_noise_of_its_own():
    """Equal examples in two pieces: with the same noise, the sum would be twice the gradient of one piece."""
    x = torch.ones(2, 6)
    runs = [quick(small(), x[:n], shards=n, batch_size=n, epochs=1, validation=0) for n in (1, 2)]
    assert runs[0].history[0]["train_reconstruction_error"] != runs[1].history[0]["train_reconstruction_error"]


def in_threads(size: int, task: Callable[[Workers], Any]) -> list[Any]:
    """What the processes of a training return, with threads in their place, which meet where they exchange tensors."""
    barrier, sent = threading.Barrier(size), dict[int, torch.Tensor]()

    def run(rank: int) -> Any:
        def gathered(tensor: torch.Tensor) -> list[torch.Tensor]:
            sent[rank] = tensor
            barrier.wait(60)
            got = [sent[each].clone() for each in range(size)]
            barrier.wait(60)
            return got

        workers = Workers(rank, size)
        object.__setattr__(workers, "_gathered", gathered)
        return task(workers)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


@pytest.mark.parametrize("pieces", [2, 3, 4, 6, 12])
def test_a_sum_has_the_same_bits_by_any_number_of_processes(pieces):
    vectors = torch.randn(pieces, 5, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-6, 4, 2)
    alone = Workers().sum_over(pieces, lambda piece: vectors[piece].clone())
    assert torch.allclose(alone.double(), vectors.double().sum(0), rtol=1e-5)
    for size in range(2, pieces + 1):  # that do not divide them as well, for Ray takes the machines that are left
        for total in in_threads(size, lambda workers: workers.sum_over(pieces, lambda piece: vectors[piece].clone())):
            assert torch.equal(total, alone)


def test_what_processes_say_reaches_all():
    def task(workers):
        rank = workers.rank
        return (
            workers.any(rank == 1, False),
            workers.texts("ä" * rank),
            workers.joined(torch.tensor([*workers.share(7)]), 7).tolist(),
        )

    assert in_threads(3, task) == [([True, False], ["", "ä", "ää"], [*range(7)])] * 3


def test_an_error_of_one_process_ends_all():
    def task(workers):
        try:
            with workers.together():
                if workers.rank == 1:
                    raise ValueError("no such column")
        except (ValueError, OtherFailedError) as error:
            return type(error), str(error)

    said = "process 1 of 2 could not go on: ValueError: no such column"
    assert in_threads(2, task) == [(OtherFailedError, said), (ValueError, "no such column")]


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [
        (2, {}, "shards must be a multiple of the number of processes, 2, for each computes as many, got 1; write "
            "shards=2"),
        (4, {"shards": 6, "batch_size": 24}, "got 6; write shards=8, or start a number of processes that divides 6"),
        (1, {"shards": 3, "batch_size": 32}, "batch_size must be a multiple of shards=3, got 32; write batch_size=33"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_divide_are_refused_before_anything_is_done(monkeypatch, tmp_path, size, settings, message):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("WORLD_SIZE", str(size))
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=re.escape(message)):
        nelbo.fit(small(), torch.ones(9, 6), out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("n", "settings", "message"),
    [
        (70, {"batch_size": 32, "shards": 4}, "70 examples in batches of 32 leave a last piece of one: 'encoder.1 "),
        (65, {"batch_size": 32}, "65 examples in batches of 32 leave a last batch of one: .*; write batch_size=31"),
        (72, {"batch_size": 32, "shards": 4}, None),
    ],
)
def test_a_batch_norm_that_would_see_one_example_is_named_before_the_first_step(n, settings, message, tmp_path):
    encoder = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 4))
    vae = nelbo.VAE(encoder, torch.nn.Linear(2, 6), latent=2, likelihood=nelbo.likelihoods.Normal(1.0))
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    settings = {"epochs": 1, "validation": 0, "progress": False, "out": tmp_path / "run", **settings}
    if message is None:
        assert nelbo.fit(vae, torch.randn(n, 6), **settings).history
        return
    with pytest.raises(ValueError, match=message):
        nelbo.fit(vae, torch.randn(n, 6), **settings)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vae.state_dict().items())
    assert not (tmp_path / "run").exists()
    fitting = int(re.search(r"batch_size=(\d+)", str(_error_of(vae, n, settings)))[1])
    assert nelbo.fit(vae, torch.randn(n, 6), **(settings | {"batch_size": fitting})).history


def _error_of(vae, n, settings):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (its message is read)
        nelbo.fit(vae, torch.randn(n, 6), **settings)
    return caught.value


def test_an_engine_may_take_a_number_that_does_not_divide(monkeypatch):
    def size_of(pieces, size):
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda: size)
        monkeypatch.setattr(distributed, "get_rank", lambda: 0)
        return working_together(pieces).size

    with any_number():
        assert size_of(4, 3) == 3
        with pytest.raises(ValueError, match="shards must be a multiple of the number of processes, 5"):
            size_of(4, 5)
    with pytest.raises(ValueError, match="shards must be a multiple of the number of processes, 3"):
        size_of(4, 3)


def test_processes_that_were_given_different_things_are_told(by_two):
    def task(workers):
        record = dict(by_two_record, data={**by_two_record["data"], "sha256": f"hash {workers.rank}"})
        with pytest.raises(ValueError, match="data sha256 is hash 0 in process 0 and hash 1 in process 1") as caught:
            check_alike(workers, record)
        return caught.type

    by_two_record = read_record(by_two / "two" / "sigma")
    in_threads(2, task)


def test_a_nan_is_named_by_each_process_without_the_others():
    """The replay does not wait for a process that has stopped already, and sees the pieces of all."""
    x = torch.full((64, 6), 0.5)
    x[3, 2] = torch.inf
    data, model = nelbo.data.Data(nelbo.data.InMemory(x), None, None, {}), small(likelihood="normal:1.0")
    run = quick(small(likelihood="normal:1.0"), x[4:], shards=4, batch_size=64, epochs=1)
    settings = Settings.of_record(run.record["training"])
    updates = prepare(model, nelbo.objectives.ELBO(), data, settings, torch.device("cpu"), None, Workers(0, 2))
    keeper = Keeper(updates.state, None)
    keeper.keep()
    updates.state.position.step = 1  # which this process and the other one saw fail
    assert "the data x is inf at" in str(explain(updates, keeper))
    assert updates.workers == Workers(0, 2)
