"""Trainings started by a page: real processes that train on the 8x8 digits."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import nelbo
from nelbo import load
from nelbo.studio.forms import form, read_settings
from nelbo.studio.session import Session
from nelbo.studio.train import Jobs
from nelbo.studio.wire import pack, unpack
from nelbo.training.checkpoint import Snapshot

SETTINGS = {"data": "digits", "binarize": "threshold", "limit": 200, "hidden": [16], "epochs": 3}


@pytest.fixture
def studio(tmp_path, monkeypatch):
    """A session in an empty folder, its events, and a way to wait for one."""
    monkeypatch.chdir(tmp_path)
    session = Session()
    heard, news = [], threading.Condition()

    def listen(reply):
        with news:
            heard.append((reply.content, reply.buffers))
            news.notify_all()

    session.listen(listen)

    def ask(kind, **content):
        return session.ask({"kind": f"train.{kind}", "id": 1, **content}).content

    def wait(what, nth=1):
        def there():
            return [content for content, _ in heard if content.get("what") == what][nth - 1 : nth]

        with news:
            assert news.wait_for(there, timeout=600), [c.get("what") for c, _ in heard]
            return there()[0]

    session.keep["heard"] = heard
    yield session, ask, wait
    session.close()


def test_a_training_started_in_the_page_ends_as_a_run(studio, tmp_path):
    session, ask, wait = studio
    started = ask("start", settings=SETTINGS, click="a")
    assert ask("start", settings=SETTINGS, click="a")["job"] == started["job"]  # a second click
    assert len(Jobs.of(session).jobs) == 1
    assert wait("end")["status"] == "finished"
    run = load(started["job"])
    assert [line["epoch"] for line in run.history] == [1, 2, 3]
    state = ask("state", run=started["job"])
    assert [line["epoch"] for line in state["history"]] == [1, 2, 3]
    assert state["snapshots"] == [0, 1, 2, 3]
    assert state["record"]["status"] == "finished"
    kept = session.ask({"kind": "train.snapshot", "id": 2, "run": started["job"], "epoch": 3})
    assert kept.content["names"] == ["kl_per_unit", "labels", "reconstruction", "samples", "x", "z"]
    assert [len(buffer) for buffer in kept.buffers] == [4 * n for n in (2, 20, 16 * 64, 25 * 64, 16 * 64, 40)]
    events = [content["what"] for content, _ in session.keep["heard"]]
    assert events.count("epoch") == 3
    assert [entry["run"] for entry in ask("list")["runs"]] == [started["job"]]


def test_pause_step_and_stop(studio):
    session, ask, wait = studio
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a studio that was started with nohup or &
    name = ask("start", settings={**SETTINGS, "epochs": 20_000})["job"]
    signal.signal(signal.SIGINT, before)
    wait("epoch")
    assert "error" not in ask("order", run=name, order="pause")
    wait("paused")  # then it says where it stands, and waits: an order to step goes on from there by one batch
    steps = []
    for i in range(3):
        ask("order", run=name, order="step")
        wait("paused", nth=i + 2)
        steps.append([c for c, _ in session.keep["heard"] if c["what"] == "step"])
    places = [made[-1]["at"] for made in steps]
    assert places[1:] == pytest.approx([places[0] + 0.5, places[0] + 1])  # 180 examples are two batches
    assert [len(more) - len(made) for made, more in pairwise(steps)] == [1, 1]  # in between, it stood still
    ask("order", run=name, order="stop")
    assert wait("end")["status"] == "interrupted"
    state = ask("state", run=name)
    assert state["record"]["status"] == "interrupted"
    assert "has ended" in ask("order", run=name, order="play")["error"]


def test_a_killed_process_is_said_and_its_run_can_go_on(studio):
    session, ask, wait = studio
    name = ask("start", settings={**SETTINGS, "epochs": 20_000})["job"]
    wait("epoch")
    os.kill(Jobs.of(session).jobs[name].process.pid, signal.SIGKILL)
    end = wait("end")
    assert end["status"] == "failed"
    assert "killed by signal 9" in end["message"]
    assert "go on from there" in end["message"]


def test_what_cannot_be_trained_is_said(studio):
    _, ask, _ = studio
    assert "no setting 'betta'" in ask("start", settings={"betta": 3})["error"]
    assert (
        "beta must be from 0 to 1e+06, got -1.0" in ask("start", settings={"recipe": "beta_vae", "beta": -1.0})["error"]
    )
    assert "epochs must be an integer, got 2.5" in ask("start", settings={"epochs": 2.5})["error"]
    assert "no run 'x' here" in ask("state", run="x")["error"]
    assert "an order is one of" in ask("order", run="x", order="dance")["error"]


def test_the_form_and_back():
    names = {field["name"]: field for field in form()}
    assert names["latent"]["kind"] == "whole"
    assert names["beta"]["recipes"] == ["beta_vae", "beta_tc_vae"]
    assert names["binarize"]["choices"] == [None, "dynamic", "static", "threshold"]
    assert names["network"]["choices"] == ["mlp", "conv", "residual"]
    assert all(field["kind"] in ("text", "choice", "flag", "widths", "whole", "number") for field in names.values())
    defaults = {name: field["default"] for name, field in names.items()}
    task = read_settings({**defaults, "recipe": "beta_vae", "beta": 0.0, "hidden": [400, 200]})
    assert task["arguments"]["beta"] == 0.0
    assert task["arguments"]["hidden"] == (400, 200)
    assert "likelihood" not in task["arguments"]  # auto
    assert "floor" not in task["arguments"]  # of another recipe
    json.dumps(form(), allow_nan=False)
    # the settings of a training have the limits that fit() checks
    training = [field for field in form() if field["group"] == "training"]
    assert [field["name"] for field in training][:3] == ["epochs", "learning_rate", "seed"]
    assert {field["name"]: field.get("limits") for field in training} == {
        "epochs": [1, 2**31 - 1],
        "learning_rate": [1e-8, 2**31 - 1],
        "seed": [-(2**31) + 1, 2**31 - 1],
        "batch_size": [1, 2**31 - 1],
        "schedule": None,
        "learning_rate_warm_up": [0, 2**31 - 1],
        "weight_decay": [0, 2**31 - 1],
        "clip": [1e-8, 2**31 - 1],
        "ema": [1e-8, 1 - 2**-53],
        "patience": [1, 2**31 - 1],
    }
    assert not next(field["more"] for field in training if field["name"] == "seed")
    assert next(field["more"] for field in training if field["name"] == "ema")


@pytest.mark.parametrize(
    "end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)], ids=["ctrl-c", "killed"]
)
def test_a_studio_that_ends_leaves_a_saved_run(end, tmp_path):
    """The whole studio as a process, a training started over its websocket, and the end of the studio."""
    client = pytest.importorskip("websockets.sync.client")
    program = "from nelbo.studio.server import serve; serve(port=0, open_browser=False)"
    where = {**os.environ, "PYTHONPATH": str(Path(nelbo.__file__).parents[1])}
    command = [sys.executable, "-c", program]
    studio = subprocess.Popen(command, cwd=tmp_path, env=where, stdout=subprocess.PIPE, text=True)
    try:
        port, token = re.search(r":(\d+)/\?token=(\S+)", studio.stdout.readline()).groups()
        origin = f"http://127.0.0.1:{port}"
        with client.connect(f"ws://127.0.0.1:{port}/ws?token={token}", origin=origin, max_size=None) as socket:
            settings = {**SETTINGS, "epochs": 100_000}
            socket.send(pack({"kind": "train.start", "id": 1, "settings": settings}))
            while unpack(socket.recv(timeout=600))[0].get("what") != "epoch":
                pass
        studio.send_signal(end)
        studio.wait(600)
        # the training inherits the pipe: it is at its end when both processes are
        studio.stdout.read()
    finally:
        studio.kill()
        studio.wait()
        studio.stdout.close()
    record = tmp_path / "runs/digits-vae/run.json"
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert Snapshot.load(tmp_path / "runs/digits-vae").position["step"] > 0
