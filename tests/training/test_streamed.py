"""Training on what a function of the epoch yields: stopped and resumed to the same bits, or a clear error."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import nelbo
from nelbo.data import ChangedError, InMemory, Streamed, as_data
from nelbo.runs import WEIGHTS, read_history, read_record
from nelbo.training import Interrupted, NonFiniteError
from tests.training.simple import binary, by_hand, quick, same, small, untimed, weights

X, HELD = binary(), binary(40, seed=1)


def stream(epoch):
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    return (X[rows] for rows in order.split(50))


def loader(epoch):
    return DataLoader(TensorDataset(X, torch.arange(len(X))), batch_size=50, shuffle=True)


def stopping(batches, at=1, after=2):
    """The same, and at the first time a request to stop, as by Ctrl-C, once so many of an epoch's batches were read."""
    state = {"armed": False}

    def stopped(epoch):
        for number, batch in enumerate(batches(epoch)):
            if epoch == at and number == after and state["armed"]:
                state["armed"] = False
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    stopped.state = state
    return stopped


def interrupted(out, batches=stream, make=small, **settings):
    """A run that was stopped in the middle of epoch 1, at batch 4 of 7."""
    data = stopping(batches)
    data.state["armed"] = True
    with pytest.raises(Interrupted, match=r"stopped at epoch 2, batch 4 of 7 and saved"):
        quick(make(), data, out=out, **settings)


@pytest.mark.parametrize(
    ("batches", "name", "settings"),
    [
        (stream, "vae", {"validation": HELD, "patience": 5, "ema": 0.9}),
        (loader, "vae", {"schedule": "cosine"}),
        (stream, "sigma_vae", {"shards": 4, "validation": (HELD, torch.arange(40))}),
        (stream, "beta_tc_vae", {}),
    ],
)
def test_stopped_in_an_epoch_and_resumed_is_the_undisturbed_run(batches, name, settings, tmp_path, capsys):
    out, whole = tmp_path / "run", quick(small(name), batches, out=tmp_path / "whole", **settings)
    interrupted(out, batches, lambda: small(name), **settings)
    torch.manual_seed(99)
    capsys.readouterr()
    run = nelbo.resume(out, data=batches, validation=settings.get("validation"))
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert untimed(read_history(out)) == untimed(whole.history) == untimed(run.history)
    assert read_record(out)["replayed"] == [{"epoch": 1, "batches": 4}]
    assert "batches(1) is gone through again, and the 4 batches that the run had seen" in capsys.readouterr().err
    assert "replayed" not in whole.record


def test_the_steps_are_those_on_the_same_examples_in_memory():
    def in_order(epoch):
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(InMemory(X).order_of(epoch, seed=0)))
        return iter([X[order]])

    assert same(weights(quick(small(), in_order).model), weights(quick(small(), InMemory(X)).model))


def test_a_run_resumed_between_two_epochs_replays_nothing(tmp_path):
    quick(small(), stream, out=tmp_path, epochs=2)
    run = nelbo.resume(tmp_path, data=stream, epochs=3, progress=False)
    assert "replayed" not in run.record
    assert same(weights(run.model), weights(quick(small(), stream).model))


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        (
            lambda epoch: (b for n, b in enumerate(stream(epoch)) if not epoch or n < 1),
            r"batches\(1\) ended after 50 of 200",
        ),
        (lambda epoch: () if epoch else stream(0), r"batches\(1\) ended after 0 of 200 examples, and each epoch must"),
        (
            lambda epoch: (b[:, :5] if epoch else b for b in stream(epoch)),
            r"batches\(1\) must yield examples of shape \(6,\)",
        ),
        (lambda epoch: (b[:, :5] for b in stream(epoch)), r"the examples had shape \(6,\), and the data have shape"),
        (lambda epoch: (1 - b for b in stream(epoch)), "values or labels are not"),
        (lambda epoch: [], r"batches\(0\) must yield batches of examples, and yielded none"),
    ],
)
def test_what_no_longer_fits_is_named_and_loses_nothing(batches, words, tmp_path):
    interrupted(tmp_path)
    state = (tmp_path / "checkpoint/state.safetensors").read_bytes()
    with pytest.raises(ValueError, match=words):
        nelbo.resume(tmp_path, data=batches, progress=False)
    assert (tmp_path / "checkpoint/state.safetensors").read_bytes() == state
    run = nelbo.resume(tmp_path, data=stream, progress=False)
    assert same(weights(run.model), weights(quick(small(), stream).model))


def test_what_was_trained_is_kept_where_an_epoch_ends_early_or_fails(tmp_path):
    def early(epoch):
        return (batch for number, batch in enumerate(stream(epoch)) if epoch < 2 or number < 3)

    def failing(epoch):
        yield from early(epoch)
        if epoch == 2:
            raise OSError("the network failed")

    with pytest.raises(
        ChangedError, match=r"ended after 150 of 200 .*The last good state is kept in .*, after 18 steps"
    ):
        quick(small(), early, out=tmp_path / "early")
    with pytest.raises(OSError, match="the network failed"):
        quick(small(), failing, out=tmp_path / "failing")
    whole = weights(quick(small(), stream).model)
    for name in ("early", "failing"):
        assert read_record(tmp_path / name)["status"] == "failed"
        run = nelbo.resume(tmp_path / name, data=stream, progress=False)
        assert run.record["replayed"] == [{"epoch": 2, "batches": 4}]
        assert same(weights(run.model), whole)


def test_what_must_be_given_again_is_named(tmp_path):
    interrupted(tmp_path, validation=HELD)
    with pytest.raises(
        ValueError, match=r"data given in memory.*examples given to validate on.*data=x, validation=x_held"
    ):
        nelbo.resume(tmp_path)
    with pytest.raises(ValueError, match=r"pass the same again: validation=x"):
        nelbo.resume(tmp_path, data=stream, validation=1 - HELD)
    data = as_data(Streamed(stream, examples=200), validation=HELD)
    assert nelbo.resume(tmp_path, data=data, progress=False).record["status"] == "finished"
    assert len(nelbo.load(tmp_path, data=data).data.validation) == 40
    with pytest.raises(ValueError, match="as_data"):
        nelbo.load(tmp_path, data=stream)
    quick(small(), stream, out=tmp_path / "without", epochs=1)
    with pytest.raises(ValueError, match="was given no examples to validate on; leave out validation="):
        nelbo.resume(tmp_path / "without", data=stream, validation=HELD, epochs=2)


def test_an_array_takes_no_examples_to_validate_on_when_it_goes_on(tmp_path):
    quick(small(), X, out=tmp_path, epochs=1)
    with pytest.raises(ValueError, match="the run held out a part of its data; leave it out"):
        nelbo.resume(tmp_path, data=X, validation=HELD, epochs=2)


def test_a_nan_within_a_stream_is_replayed_and_named():
    def broken(epoch):
        return (batch / (0 if epoch == 1 and number == 2 else 1) for number, batch in enumerate(stream(epoch)))

    with pytest.raises(NonFiniteError, match=r"in epoch 2, batch 4 of 7 .*the data x"):
        quick(small("vae", likelihood="normal"), broken, checkpoint_every=1e9)


@pytest.mark.slow
def test_a_run_on_a_stream_is_diagnosed_and_measured():
    run = quick(by_hand(), stream, epochs=1, validation=HELD)
    nelbo.measure.report(run, effort="quick")
    assert nelbo.diagnose(run).findings is not None
