"""resume(): the very weights of the uninterrupted run, or an error that says what is wrong."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import nelbo
from nelbo.files import DamagedFileError, exclusive
from nelbo.objectives import Objective, from_dict
from nelbo.runs import METRICS, WEIGHTS, read_history
from nelbo.training import Interrupted, resuming
from nelbo.training.checkpoint import Snapshot
from tests.training.simple import binary, by_hand, quick, same, small, table_file, untimed, weights

STATE = "checkpoint/state.safetensors"


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def stop_at(epoch, number=signal.SIGINT):
    """A callback that asks the process to end, as Ctrl-C does."""

    def callback(metrics):
        if metrics["epoch"] == epoch:
            os.kill(os.getpid(), number)

    return callback


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "settings", [{}, {"ema": 0.9, "schedule": "cosine", "patience": 5}, {"optimizer": sgd, "clip": 0.5}]
)
def test_interrupted_and_resumed_is_the_uninterrupted_run(number, settings, tmp_path):
    out, x, handlers = tmp_path / "run", binary(), [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    settings = {"epochs": 4, **settings}
    whole = quick(small(), x, out=tmp_path / "whole", **settings)
    made = small()
    with pytest.raises(
        Interrupted, match=r"stopped at epoch 2, batch 1 of 6 and saved\. Go on with: nelbo fit --resume"
    ):
        quick(made, x, out=out, callback=stop_at(1, number), **settings)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert nelbo.runs.read_record(out)["status"] == "interrupted"
    assert not made.training
    with pytest.warns(UserWarning, match="the training was interrupted; these are the weights of its last checkpoint"):
        early = nelbo.load(out)
    assert early.unfinished.endswith("after 1 of 4 epochs")
    torch.manual_seed(99)  # what the new process draws changes nothing
    run = nelbo.resume(out, data=x, optimizer=settings.get("optimizer"), progress=False)
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert untimed(read_history(out)) == untimed(whole.history) == untimed(run.history)
    assert nelbo.runs.read_record(out)["status"] == "finished"
    assert (run.unfinished, nelbo.load(out).unfinished) == (None, None)
    assert early.unfinished  # its weights are still those of the checkpoint


def test_stopped_between_the_last_step_and_the_end_of_an_epoch(tmp_path):
    """Nothing is left to train in that epoch, and yet its line says what its steps were taken with."""
    settings = {"epochs": 4, "schedule": "cosine", "batch_size": 1000}
    whole = quick(small(), binary(), **settings)
    with pytest.raises(Interrupted, match="stopped at epoch 2, batch 1 of 1 and saved"):
        quick(small(), binary(), out=tmp_path, callback=stop_at(1), **settings)
    run = nelbo.resume(tmp_path, data=binary(), progress=False)
    assert untimed(run.history) == untimed(whole.history)


def test_interrupted_in_memory_keeps_the_weights():
    model = by_hand()
    before = weights(model)
    with pytest.raises(Interrupted, match=r"the model keeps its weights. With out='runs/NAME' a run can go on"):
        quick(model, binary(), callback=stop_at(1))
    assert not same(before, weights(model))


def test_interrupted_on_the_last_batch_of_an_epoch(tmp_path):
    """What is left of the epoch is its validation and its line; its speed is that of the steps."""
    out, x = tmp_path / "run", binary(100)
    whole = quick(small(), x)

    class StopsAtLastBatch(nelbo.objectives.Objective):
        def terms(self, model, batch, progress):
            if abs(progress.epoch - 5 / 3) < 1e-6:
                os.kill(os.getpid(), signal.SIGINT)
            return nelbo.objectives.ELBO().terms(model, batch, progress)

    with pytest.raises(Interrupted, match="epoch 2, batch 3 of 3"):
        quick(small(), x, out=out, objective=StopsAtLastBatch())
    run = nelbo.resume(out, data=x, objective=nelbo.objectives.ELBO(), progress=False)
    assert same(weights(run.model), weights(whole.model))
    assert untimed(run.history) == untimed(whole.history)
    assert all(epoch["examples_per_second"] > 0 for epoch in run.history)


def test_checkpoints_within_epochs_change_nothing(tmp_path):
    x = binary()
    plain, kept = quick(small(), x), quick(small(), x, out=tmp_path / "run", checkpoint_every=1e-9)
    assert same(weights(plain.model), weights(kept.model))
    assert untimed(plain.history) == untimed(kept.history)
    assert all(epoch["examples_per_second"] > 0 for epoch in kept.history)


def test_short_epochs_are_kept_all_the_same(tmp_path, monkeypatch):
    """The clock of the checkpoints runs on through epochs that are far shorter than its period."""
    out, now, kept = tmp_path / "run", [0.0], []
    monkeypatch.setattr("nelbo.training.checkpoint.perf_counter", lambda: now[0])

    def look(epoch):
        now[0] += 2.0  # seconds that the next epoch lasts
        kept.append(Snapshot.load(out).position["epoch"])

    quick(small(), nelbo.data.as_data(binary(40), validation=0), out=out, epochs=10, callback=look)
    # at most every 5 seconds: in the third epoch after the last one that was kept
    assert kept == [0, 0, 0, 4, 4, 4, 7, 7, 7, 10]


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"patience": 9}, {"ema": 0.9, "patience": 9}])
def test_more_epochs_are_the_longer_run(settings, tmp_path):
    """A finished run kept the weights as trained, not the averaged or best ones that it ended with."""
    out, x = tmp_path / "run", binary()
    whole = quick(small(), x, epochs=5, **settings)
    quick(small(), x, epochs=2, out=out, **settings)
    run = nelbo.resume(out, epochs=5, data=x, progress=False)
    assert same(weights(run.model), weights(whole.model))
    assert untimed(run.history) == untimed(whole.history)
    assert nelbo.runs.read_record(out)["training"]["epochs"] == 5


def test_a_finished_run_stays_as_it_is(tmp_path):
    out, x = tmp_path / "run", binary()
    quick(small(), x, out=out, ema=0.9)
    before = (out / WEIGHTS).read_bytes(), (out / METRICS).read_bytes()
    (out / WEIGHTS).unlink()
    nelbo.resume(out, data=x, progress=False)
    assert before == ((out / WEIGHTS).read_bytes(), (out / METRICS).read_bytes())


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    out, x = tmp_path / "run", binary()
    # weights that only get worse: the first epoch is the best
    run = quick(small(), x, out=out, epochs=20, patience=2, learning_rate=0.5)
    done = len(run.history)
    assert done < 20
    again = nelbo.resume(out, data=x, progress=False)
    assert again.history == run.history
    assert same(weights(again.model), weights(run.model))
    with pytest.raises(ValueError, match=rf"stopped by itself after {done} epochs, 2 of them without a better"):
        nelbo.resume(out, epochs=30, data=x, progress=False)
    assert nelbo.runs.read_record(out)["training"]["epochs"] == 20


CHILD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import nelbo
from tests.training.simple import binary, quick, small

class Interrupts(nelbo.objectives.Objective):
    def terms(self, model, batch, progress):
        if progress.epoch > 0:
            for _ in range(int(sys.argv[2])):
                os.kill(os.getpid(), signal.SIGINT)
            if sys.argv[2] == '2':
                os._exit(9)  # the second one was not obeyed at once
        return nelbo.objectives.ELBO().terms(model, batch, progress)

quick(small(), binary(), out=sys.argv[1], objective=Interrupts(), epochs=1000)
"""


@pytest.mark.parametrize(
    ("signals", "expected"),
    [(1, "nelbo.training.loop.Interrupted: stopped at epoch 1, batch 2 of 6 and saved"), (2, "\nKeyboardInterrupt")],
)
def test_ctrl_c_in_a_process_of_its_own(signals, expected, tmp_path):
    """One Ctrl-C is obeyed after the step; a second one at once, within it."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "run"), str(signals)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode in (1, 130, -signal.SIGINT), child.stderr
    assert expected in child.stderr
    assert nelbo.runs.read_record(tmp_path / "run")["status"] == "interrupted"


# --- the machine ------------------------------------------------------------------------------------------------------

IN_THREADS = """
import sys, torch, nelbo
from tests.training.simple import quick, small
number, folder, *tasks = sys.argv[1:]
torch.set_num_threads(int(number))
x = torch.randn(600, 784, generator=torch.Generator().manual_seed(0))
for task in tasks:
    name, _, epochs = task.partition(':')
    if epochs:
        made = small('sigma_vae', event=(784,))  # a mean of 78,400 squares, whose halves two threads add up
        quick(made, x, epochs=int(epochs), out=f'{folder}/{name}', batch_size=100, patience=9)
    else:
        nelbo.resume(f'{folder}/{name}', data=x, epochs=2, progress=False)
    assert torch.get_num_threads() == int(number)
"""


def in_threads(number, folder, *tasks):
    """In a process with so many threads: NAME:EPOCHS trains a run, NAME resumes it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IN_THREADS, str(number), str(folder), *tasks],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": str(number)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_of_two_threads_goes_on_with_two_in_a_process_that_has_one(tmp_path):
    in_threads(2, tmp_path, "whole:2", "cut:1")
    in_threads(1, tmp_path, "cut", "one:2")
    whole = (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == whole
    assert len(nelbo.runs.read_record(tmp_path / "cut")["machines"]) == 1
    assert (tmp_path / "one" / WEIGHTS).read_bytes() != whole  # or this test would show nothing


def test_another_machine_is_recorded_and_said(tmp_path, monkeypatch):
    out, x, threads = tmp_path / "run", binary(), torch.get_num_threads()
    quick(small(), x, out=out)
    with pytest.warns(UserWarning, match=r"another arithmetic \(threads 1 -> 2\): its weights will differ") as warned:
        nelbo.resume(out, data=x, epochs=4, threads=2, progress=False)
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)
    assert warned[0].filename == __file__
    assert torch.get_num_threads() == threads
    first, second = nelbo.runs.read_record(out)["machines"]
    assert (first["step"], first["threads"]) == (0, 1)
    assert (second["step"], second["threads"]) == (18, 2)
    nelbo.resume(out, data=x, epochs=5, progress=False)  # with two again, and nothing to say
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "of another processor")
    with pytest.warns(UserWarning, match="instructions .* -> of another processor"):
        nelbo.resume(out, data=x, epochs=6, progress=False)
    assert len(nelbo.runs.read_record(out)["machines"]) == 3
    assert nelbo.load(out).history[-1]["epoch"] == 6


def test_a_device_that_is_not_here_is_replaced(tmp_path):
    out, x = tmp_path / "run", binary()
    quick(small(), x, out=out)
    record = json.loads((out / "run.json").read_text())
    record["training"]["device"] = "cuda:99"
    record["machines"][0]["device"] = "cuda"
    (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"device='cuda:98' is not on this machine"):
        nelbo.resume(out, data=x, epochs=4, device="cuda:98", progress=False)
    with pytest.warns(UserWarning, match=r"device cuda -> cpu"):
        run = nelbo.resume(out, data=x, epochs=4, device="cpu", progress=False)
    assert run.record["training"]["device"] == "cpu"
    assert nelbo.resume(out, data=x, epochs=5, progress=False).record["machines"][-1]["device"] == "cpu"


def test_the_precision_of_the_weights_is_restored(tmp_path):
    out, x = tmp_path / "run", binary()
    whole = quick(by_hand().double(), x, epochs=4)
    quick(by_hand().double(), x, out=out)
    run = nelbo.resume(out, data=x, model=by_hand(), epochs=4, progress=False)
    assert same(weights(run.model), weights(whole.model))
    loaded = nelbo.load(out, model=by_hand()).model
    assert same(weights(loaded), weights(whole.model))
    quick(small().double(), x, out=tmp_path / "recipe")
    assert nelbo.load(tmp_path / "recipe").model.encoder.layers[0].weight.dtype == torch.float64


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A finished run on data in memory."""
    quick(small(), binary(), out=tmp_path / "run")
    return tmp_path / "run"


def resumed(folder, **more):
    return nelbo.resume(folder, **({"data": binary(), "progress": False} | more))


def test_a_damaged_checkpoint(run):
    state = run / STATE
    whole = state.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-1], b"", b"\x00" * 100):
        state.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"state\.safetensors is not a whole safetensors file"):
            resumed(run)
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    state.write_bytes(flipped)
    with pytest.raises(DamagedFileError, match=r"state\.safetensors .* values have changed since they were written"):
        resumed(run)
    state.write_bytes((run / WEIGHTS).read_bytes())
    with pytest.raises(DamagedFileError, match="it is not a checkpoint of nelbo"):
        resumed(run)
    state.unlink()
    with pytest.raises(DamagedFileError, match=r"state\.safetensors does not exist"):
        resumed(run)


def test_a_damaged_record(run):
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(record[:100])
    with pytest.raises(DamagedFileError, match=r"run\.json is not JSON .*cut short or edited"):
        resumed(run)
    for change, message in (
        ({"training": {}}, "'training' must have 'epochs' of type int, got None"),
        ({"training": []}, r"'training' must be an object of settings, got \[\]"),
        ({"objective": None}, "'objective' must be an object, got None"),
        ({"recipe": {"name": "va", "arguments": {"event": [6]}}}, "did you mean 'vae'"),
        ({"recipe": {"name": "vae", "arguments": {"event": [6], "laten": 3}}}, "did you mean 'latent'"),
        ({"format": 99}, "has format 99, and this version of nelbo reads format 2; train the run again"),
        ({"format": 1}, r"has format 1, and .* reads format 2; .* or read it with nelbo \d"),
        ({"format": None}, "has format None"),
        ({"machines": []}, r"'machines' must end with an object whose 'device' is of type str, got \[\]"),
        ({"machines": {}}, "'machines' must be a list, got {}"),
        ({"machines": [{"step": 0, "device": "cpu"}]}, "whose 'threads' is of type int"),
    ):
        (run / "run.json").write_text(json.dumps(json.loads(record) | change))
        with pytest.raises(DamagedFileError, match=message):
            resumed(run)


def paths(value, path=()):
    """The place of every entry of some JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in entries:
        yield (*path, key)
        yield from paths(each, (*path, key))


def test_every_entry_of_a_record_that_is_missing_or_of_another_type(run):
    """Damage is either of no consequence, or an error in words."""
    text, refused = (run / "run.json").read_text(), 0
    for path in paths(json.loads(text)):
        for change in ("gone", None, [1.5], {}):
            record = json.loads(text)
            at = functools.reduce(lambda value, key: value[key], path[:-1], record)
            if change == "gone":
                del at[path[-1]]
            else:
                at[path[-1]] = change
            (run / "run.json").write_text(json.dumps(record))
            for use in (nelbo.load, _checked):
                with contextlib.suppress(ValueError, FileNotFoundError):  # a KeyError would say nothing
                    use(run)
                    continue
                refused += 1
    assert refused > 100


def _checked(folder):
    """Read all that resume reads of run.json, without the training."""
    data = binary()
    record = nelbo.runs.read_record(folder)
    resuming._settings_and_machine(record, folder)
    resuming._check_given(record, folder, model=None, data=data, objective=None, optimizer=None)
    from_dict(record["objective"])
    resuming._same_data(record, data)
    nelbo.runs.rebuild_model(record, folder)


def test_what_must_be_passed_again_is_asked_for_at_once(tmp_path):
    out = tmp_path / "run"

    @dataclass(frozen=True)
    class Mine(Objective):
        def terms(self, model, batch, progress):
            return nelbo.objectives.ELBO().terms(model, batch, progress)

    quick(by_hand(), binary(), out=out, objective=Mine(), optimizer=sgd)
    line = r"model=vae, data=x, objective=Mine\(\.\.\.\), optimizer=lambda parameters: torch\.optim\.SGD\(parameters"
    with pytest.raises(ValueError, match=rf"built by hand.*in memory.*of your own.*nelbo\.resume\('{out}', {line}"):
        nelbo.resume(out)
    with pytest.raises(ValueError, match=r"objective=Mine\(\.\.\.\)\)$"):
        nelbo.resume(out, model=by_hand(), data=binary(), optimizer=sgd)
    again = {"model": by_hand(), "data": binary(), "objective": Mine(), "optimizer": sgd}
    assert len(nelbo.resume(out, **again, epochs=4, progress=False).history) == 4


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("damage", ["torn", "foreign", "deep", "gone"])
def test_damaged_metrics_do_not_keep_whole_weights_from_going_on(run, damage):
    first, *others = (run / METRICS).read_bytes().splitlines(keepends=True)
    line = {"torn": first[:20] + b"\n", "foreign": b"3\n", "deep": b"[" * 9999 + b"\n", "gone": b""}[damage]
    (run / METRICS).write_bytes(line + b"".join(others))
    with pytest.warns(UserWarning, match=r"metrics\.jsonl has 2 of the 3 lines that the checkpoint counts on.*goes on"):
        longer = resumed(run, epochs=4)
    assert [line["epoch"] for line in longer.history] == [2, 3, 4]
    assert [line["epoch"] for line in read_history(run)] == [2, 3, 4]
    assert len(resumed(run, epochs=5).history) == 4  # no second warning: what was lost is counted


def test_what_is_no_run(run, tmp_path):
    with pytest.raises(DamagedFileError, match=rf"is not a directory.*Runs near it: {run}"):
        resumed(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    with pytest.raises(DamagedFileError, match=r"has no run\.json, so it is not a run of nelbo"):
        resumed(tmp_path / "other")
    (tmp_path / "other" / "run.json").write_text('{"name": "of another program"}')
    with pytest.raises(DamagedFileError, match="it has no 'training'"):
        resumed(tmp_path / "other")


def test_data_of_a_file_that_changed(tmp_path):
    path, out = table_file(tmp_path), tmp_path / "run"
    quick(small("sigma_vae", event=(5,)), path, out=out)
    x = np.load(path)
    x[0, 0] += 1
    np.save(path, x)
    with pytest.raises(ValueError, match=r"table\.npy has changed since the run"):
        nelbo.resume(out, epochs=4, progress=False)


def test_data_in_memory(run):
    with pytest.raises(ValueError, match=rf"given in memory.*nelbo\.resume\('{run}', data=x\)"):
        resumed(run, data=None, epochs=4)
    with pytest.raises(ValueError, match="has changed since the run"):
        resumed(run, data=binary(seed=1))
    with pytest.raises(
        ValueError, match=r"must be what the run was trained on: its sizes .*'train': 180.* got .*'train': 200"
    ):
        resumed(run, data=nelbo.data.as_data(binary(), validation=0))
    assert len(resumed(run, data=nelbo.data.as_data(binary()), epochs=4).history) == 4


def test_a_model_built_by_hand(tmp_path):
    out = tmp_path / "run"
    quick(by_hand(), binary(), out=out)
    with pytest.raises(ValueError, match=rf"built by hand.*nelbo\.resume\('{out}', model=vae\)"):
        resumed(out)
    with pytest.raises(ValueError, match="these weights belong to another model"):
        resumed(out, model=by_hand(torch.nn.Linear(2, 6)))
    with pytest.raises(ValueError, match=r"has shape \(5,\) in this model and \(6,\) in the file"):
        resumed(out, model=by_hand(features=5))
    whole = quick(by_hand(), binary(), epochs=5)
    assert same(weights(resumed(out, model=by_hand(seed=7), epochs=5).model), weights(whole.model))


def test_an_optimizer_of_one_s_own(tmp_path, run):
    out = tmp_path / "sgd"
    quick(small(), binary(), out=out, optimizer=sgd)
    with pytest.raises(
        ValueError,
        match=r"own; pass the same again: .*optimizer=lambda parameters: torch\.optim\.SGD",
    ):
        resumed(out)
    with pytest.raises(ValueError, match="with the same settings, not with Adagrad"):
        resumed(out, optimizer=torch.optim.Adagrad)
    with pytest.raises(ValueError, match="trained with nelbo's Adam, not with SGD"):
        resumed(run, optimizer=sgd)


def test_epochs_that_cannot_be(run, tmp_path):
    for epochs in (2, 0, 2.5):
        with pytest.raises(ValueError, match=r"epochs must be an integer >= 3, where this run stands, got"):
            resumed(run, epochs=epochs)
    quick(small(), binary(), out=tmp_path / "cosine", schedule="cosine")
    with pytest.raises(ValueError, match="cosine schedule was laid out over 3 epochs"):
        resumed(tmp_path / "cosine", epochs=4)


def test_two_processes_do_not_train_one_run(run):
    with exclusive(run), pytest.raises(BlockingIOError, match="another process is training in"):
        resumed(run, epochs=4)
    assert len(resumed(run, epochs=4).history) == 4


def test_what_a_kill_left_half_written_is_swept_away(run):
    for place in (run, run / "checkpoint"):
        (place / ".run.json.12345678.part").write_text("{")
    resumed(run, epochs=4)
    assert not list(run.rglob("*.part"))
