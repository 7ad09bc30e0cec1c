"""torchrun's variables: read in one place, and refused by name where they cannot be meant."""

import re
import threading
from pathlib import Path

import pytest

from nelbo import workers
from nelbo.cli import main
from nelbo.launcher import Launched, launched
from nelbo.workers import Workers, dealt, working_together

NAMES = ("MASTER_ADDR", "WORLD_SIZE", "RANK", "LOCAL_RANK")


def set_to(monkeypatch, values):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({}, Launched(0, 1, 0)),
        ({"WORLD_SIZE": "x", "RANK": "3"}, Launched(0, 1, 0)),  # of another program: nobody is named to meet
        ({"MASTER_ADDR": "a"}, Launched(0, 1, 0)),
        ({"MASTER_ADDR": "a", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, Launched(3, 4, 1)),
    ],
)
def test_the_place_of_a_process(values, place, monkeypatch):
    set_to(monkeypatch, values)
    assert launched() == place
    assert dealt(8) == (range(place.rank, 8, place.size), place.rank == 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be an integer from 1 on, and is 'two' in the environment"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be an integer from 1 on, and is '0'"),
        ({"WORLD_SIZE": "2"}, "RANK must be an integer from 0 to 1, below WORLD_SIZE=2, and is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK must be an integer from 0 to 1, below WORLD_SIZE=2, and is '2'"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK must be an integer from 0 to 1, below WORLD_SIZE=2, and is '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": ""}, "LOCAL_RANK must be an integer from 0 on, and is ''"),
    ],
)
def test_what_cannot_be_meant_is_named(values, message, monkeypatch, capsys):
    set_to(monkeypatch, {"MASTER_ADDR": "localhost", **values})
    for call in (launched, lambda: dealt(3), lambda: working_together(4)):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert main(["fit", "digits"]) == 1
    assert f"nelbo: {message}" in capsys.readouterr().err


def test_a_process_says_whom_it_waits_for(monkeypatch, capsys):
    set_to(monkeypatch, {"MASTER_ADDR": "10.0.0.7", "WORLD_SIZE": "4", "RANK": "3"})
    monkeypatch.setenv("MASTER_PORT", "29500")
    said, told = [], threading.Event()

    class Alarm(threading.Timer):
        def run(self):
            super().run()
            told.set()

    monkeypatch.setattr(workers.threading, "Timer", Alarm)
    monkeypatch.setattr(workers.devices, "take_one", lambda rank: None)
    monkeypatch.setattr(workers.atexit, "register", lambda function: None)
    monkeypatch.setattr(workers.distributed, "get_rank", lambda: 3)
    monkeypatch.setattr(workers.distributed, "init_process_group", lambda: None)
    for patience in (1000.0, 0.0):
        monkeypatch.setattr(workers, "_PATIENCE", patience)
        assert working_together(8) == Workers(3, 4)
        said.append(capsys.readouterr().err)
        monkeypatch.setattr(workers.distributed, "init_process_group", lambda: told.wait(60))
    message = "nelbo: process 3 of 4 (numbered from 0) waits for the others at 10.0.0.7:29500; stop it if one of them"
    assert said == ["", f"{message} failed\n"]


def test_no_other_file_reads_them():
    source = Path(__file__).parents[1] / "src"
    quoted = '"' + '"|"'.join(NAMES) + '"'
    readers = [path.name for path in source.rglob("*.py") if re.search(quoted, path.read_text("utf-8"))]
    assert readers == ["launcher.py"]
