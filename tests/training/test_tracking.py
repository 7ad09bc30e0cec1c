"""The numbers of each epoch in a tracker; the trackers are stood in for by objects with the methods that are called."""

import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

import nelbo
from nelbo.cli import main
from tests.training.simple import quick, small

X = torch.ones(20, 6)


def sent(log):
    """What arrived, by its step."""
    return {call.kwargs["step"]: call.args[0] for call in log.call_args_list}


def expected(run):
    return {line["epoch"]: {k: v for k, v in line.items() if v is not None and k != "epoch"} for line in run.history}


def test_mlflow_gets_each_epoch_in_the_run_that_is_active_or_a_new_one(monkeypatch):
    mlflow = MagicMock()
    mlflow.active_run.side_effect = [None, "a run", "a run"]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    run = quick(small(), X, callback=nelbo.track("mlflow", run_name="first"))
    mlflow.start_run.assert_called_once_with(run_name="first")
    assert sent(mlflow.log_metrics) == expected(run)
    assert "validation_nelbo" in expected(run)[1]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_wandb_and_trackio_start_one_run_at_the_first_epoch(monkeypatch, name):
    module = SimpleNamespace(init=MagicMock(), log=MagicMock())
    monkeypatch.setitem(sys.modules, name, module)
    callback = nelbo.track(name, project="digits")
    module.init.assert_not_called()  # a training that does not start leaves nothing there
    run = quick(small(), X, callback=callback)
    module.init.assert_called_once_with(project="digits")
    assert sent(module.log) == expected(run)


def test_tensorboard_gets_a_curve_for_each_number(monkeypatch):
    module = MagicMock()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = quick(small(), X, callback=nelbo.track("tensorboard", log_dir="board"))
    module.SummaryWriter.assert_called_once_with(log_dir="board")
    writer = module.SummaryWriter.return_value
    got = {(name, step): value for name, value, step in (call.args for call in writer.add_scalar.call_args_list)}
    assert got == {(name, step): value for step, line in expected(run).items() for name, value in line.items()}
    assert writer.flush.call_count == 3


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert main(["fit", "digits", "--track", "trackio", "--out", str(tmp_path / "run")]) == 1
    assert "nelbo.track('trackio') needs trackio: pip install trackio" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="tracker must be one of 'tensorboard', .*; got 'comet'"):
        nelbo.track("comet")
