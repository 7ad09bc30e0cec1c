"""The numbers of each epoch in a tracker; the trackers are stood in for by objects that behave as those do."""

import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

import nelbo
from nelbo.cli import main
from tests.training.simple import quick, small

X = torch.ones(20, 6)


def expected(run):
    return {line["epoch"]: {k: v for k, v in line.items() if v is not None and k != "epoch"} for line in run.history}


class Kept:
    """A run of a tracker, as its package keeps it."""

    def __init__(self):
        self.numbers = {}


class Package:
    """A tracker that has one active run in a process; a subclass has its names, and keeps what the package keeps."""

    def __init__(self):
        self.runs, self.started = [], []
        self._active = None

    def _start(self, **options):
        assert self._active is None  # mlflow raises, and wandb goes on with the old run
        self.started.append(options)
        self._active = Kept()
        self.runs.append(self._active)
        return self._active

    def _end(self):
        self._active = None

    def _log(self, numbers, step):
        assert self._active is not None
        self._active.numbers.setdefault(step, {}).update(numbers)


class MLflow(Package):
    start_run, end_run = Package._start, Package._end

    def active_run(self):
        return self._active

    def log_metrics(self, numbers, *, step):
        self._log(numbers, step)


class Wandb(Package):
    """Version 0.31, which drops what comes at an earlier step than the last."""

    init, finish = Package._start, Package._end

    @property
    def run(self):
        return self._active

    def log(self, numbers, *, step):
        if not self._active.numbers or step >= max(self._active.numbers):
            self._log(numbers, step)


class Trackio(Package):
    """Version 0.43, which has a module `run`, and no default of a project."""

    run = sys.modules[__name__]
    finish = Package._end

    def __init__(self):
        super().__init__()
        self.context_vars = SimpleNamespace(current_run=SimpleNamespace(get=lambda: self._active))

    def init(self, project, **options):
        return self._start(project=project, **options)

    def log(self, numbers, *, step):
        if self._active is None:
            raise RuntimeError("Call trackio.init() before trackio.log().")
        self._log(numbers, step)


@pytest.fixture(params=[MLflow, Wandb, Trackio])
def tracker(request, monkeypatch):
    package = request.param()
    monkeypatch.setitem(sys.modules, request.param.__name__.lower(), package)
    return request.param.__name__.lower(), package


def test_one_run_is_started_at_the_first_epoch_and_gets_each(tracker):
    name, package = tracker
    callback = nelbo.track(name, project="digits")
    assert not package.runs  # a training that does not start leaves nothing there
    run = quick(small(), X, callback=callback)
    assert package.started == [{"project": "digits"}]
    assert package.runs[0].numbers == expected(run)
    assert "validation_nelbo" in expected(run)[1]


def test_a_run_that_is_active_is_used_and_never_ended(tracker):
    name, package = tracker
    theirs = package._start()
    for seed in (0, 1):
        quick(small(), X, callback=nelbo.track(name), seed=seed)
    assert package.runs == [theirs]
    assert package._active is theirs


@pytest.mark.parametrize("again", [True, False])
def test_the_next_training_has_a_run_of_its_own(tracker, again):
    name, package = tracker
    callback = nelbo.track(name)
    first = quick(small(), X, callback=callback)
    second = quick(small(), X, callback=callback if again else nelbo.track(name), seed=1)
    assert [run.numbers for run in package.runs] == [expected(first), expected(second)]


def test_a_training_that_is_resumed_goes_on_in_the_run_that_it_began(tracker, tmp_path):
    name, package = tracker
    quick(small(), X, epochs=2, out=tmp_path / "run", callback=nelbo.track(name))
    onward = {"model": small(), "data": X, "epochs": 4, "progress": False}
    run = nelbo.resume(tmp_path / "run", **onward, callback=nelbo.track(name))
    assert [run.numbers for run in package.runs] == [expected(run)]


def test_trackio_is_told_a_project(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", package := Trackio())
    nelbo.track("trackio")({"epoch": 1, "train_nelbo": 2.0})
    assert package.started == [{"project": "nelbo"}]


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
