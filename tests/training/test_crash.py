"""Killed at any moment, a run goes on to the very weights that the uninterrupted one has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nelbo.runs import METRICS, RECORD, WEIGHTS, read_history
from tests.training.scenarios import KILLS, SCENARIOS, start
from tests.training.simple import bytes_file, table_file, untimed

FAST = "dynamic_ema"  # with the most that a checkpoint holds
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")


@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=() if name == FAST else pytest.mark.slow) for name in SCENARIOS]
)
def test_a_run_killed_again_and_again_ends_as_if_nothing_had_been(scenario, tmp_path):
    """SIGKILL in the middle of writes (the first checkpoint, run.json, ...) and at moments of chance."""
    bytes_file(tmp_path)
    table_file(tmp_path)
    whole = start(scenario, tmp_path, tmp_path / "whole")
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            *("-m", "tests.training.scenarios", scenario, str(tmp_path), str(tmp_path / "killed"), "1"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    print(done.stdout)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert done.stdout.count("killed") >= 4, log
    assert done.stdout.count("killed training") >= 2, log
    assert f"{len(KILLS)} ended 0 finished" in done.stdout, log
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (whole.path / WEIGHTS).read_bytes(), log
    assert untimed(read_history(tmp_path / "killed")) == untimed(read_history(whole.path)), log
    left = {path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()}
    assert left == {RECORD, METRICS, WEIGHTS, "state.safetensors", ".lock"}
