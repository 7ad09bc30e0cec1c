"""``make reproduce``, in small: every step on real digits, then the arithmetic of its tables."""

import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nelbo
from benchmarks.reproduce import __main__ as program
from benchmarks.reproduce import job
from benchmarks.reproduce.figure import curves
from benchmarks.reproduce.plan import FULL, QUICK, load, make
from benchmarks.reproduce.table import END, START, Result, markdown, read, write
from nelbo.training import Interrupted

VAE, IWAE = QUICK.trainings[:2]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    x = nelbo.data.load("mnist5k", validation=0, scale=None).train.stored(range(2500)).numpy().reshape(-1, 28, 28)
    path = tmp_path_factory.mktemp("digits") / "mnist.npz"
    np.savez(path, x_train=x[:1500], x_test=x[1500:])
    return path


@pytest.fixture(scope="module")
def data(digits):
    return load(str(digits), QUICK)


@pytest.fixture(scope="module")
def done(digits, data, tmp_path_factory):
    """(what was printed, the folder): one model by the whole program in its own process, another one in this."""
    out = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(program, "QUICK", replace(QUICK, trainings=(VAE,)))
        patch.setattr("builtins.print", lambda text, **_: printed.append(text))
        assert program.main(["--quick", "--mnist", str(digits), "--out", str(out)]) == 0
    job.measure(job.train(IWAE, data, out), data, QUICK)
    return printed[-1], out


def test_the_program_prints_a_row_for_each_model(done):
    printed, out = done
    plan = replace(QUICK, trainings=QUICK.trainings[:3])
    both = markdown(plan, read(plan, out))
    for training, text in ((VAE, printed), (VAE, both), (IWAE, both)):
        row = next(line for line in text.splitlines() if line.startswith(f"| {training.title} |"))
        assert f"| {training.published:.2f} |" in row
        assert re.search(r"\*\*\d+\.\d\d ± \d+\.\d\d\*\*", row)
    assert "| L_5 instead of the ELBO |" in both
    third = next(line for line in both.splitlines() if line.startswith(f"| {plan.trainings[2].title} |"))
    assert "| not measured yet |" in third
    assert third.count("|") == row.count("|")


def test_what_is_measured_is_measured_once_and_repeats(done, data):
    _, out = done
    run = job.train(VAE, data, out)
    files = sorted((out / VAE.name / job.MEASURED).glob("L_*.json"))
    before = {file: (file.stat().st_mtime_ns, json.loads(file.read_text())["values"]) for file in files}
    files[0].unlink()
    job.measure(run, data, QUICK)
    for file, (time_of, values) in before.items():
        assert json.loads(file.read_text())["values"] == values
        assert (file.stat().st_mtime_ns == time_of) == (file != files[0])


def test_the_bounds_rise_with_their_draws(done):
    _, out = done
    for result in read(replace(QUICK, trainings=(VAE, IWAE)), out):
        elbo, few, more, many = result.bounds.values()
        assert len(elbo) == len(few) == len(more) == 1000
        assert len(many) == 100
        assert elbo.mean() < few.mean() < more.mean()
        assert more[::10].mean() < many.mean()
        # one epoch of 900 images: the mean image is learned, and little else
        assert 100 < result.log_evidence()[0] < 300


def test_a_stopped_training_goes_on_and_counts_all_its_time(data, tmp_path, monkeypatch):
    training = replace(VAE, epochs=3)
    counted = job.Clock.__call__

    def stopping(clock, epoch=None):
        counted(clock, epoch)
        if epoch is not None and epoch["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(job.Clock, "__call__", stopping)
    with pytest.raises(Interrupted):
        job.train(training, data, tmp_path)
    first = json.loads((tmp_path / VAE.name / job.SPENT).read_text())["cpu_seconds"]
    assert first > 0
    began = time.process_time()
    run = job.train(training, data, tmp_path)
    assert len(run.history) == 3
    both = json.loads((tmp_path / VAE.name / job.SPENT).read_text())["cpu_seconds"]
    assert first < both < first + time.process_time() - began


def test_the_decoder_begins_at_the_mean_image(data):
    model = make(IWAE, data)
    mean = data.train.stored(range(len(data.train))).float().mean(0) / 255
    torch.testing.assert_close(model.decoder.layers[-1].bias.sigmoid(), mean.clamp(0.001, 0.999))


def _result(training, *, elbo, few, hundred, many):
    return Result(
        training,
        {"ELBO": elbo, "L_5": few, "L_100": hundred, "L_5000": many},
        torch.zeros(10),
        10,
        20,
        1,
        60.0,
        90.0,
        30.0,
    )


def _made(shift_elbo=0.0, shift_few=0.0):
    draws = torch.Generator().manual_seed(0)
    hundred = -90 + 20 * torch.randn(100, generator=draws, dtype=torch.float64)
    gap = 1 + 0.1 * torch.randn(100, generator=draws, dtype=torch.float64)
    noise = 0.01 * torch.randn(100, generator=draws, dtype=torch.float64)
    return (
        {
            "elbo": hundred - 3 + shift_elbo + noise,
            "few": hundred - 1 + shift_few + noise,
            "hundred": hundred,
            "many": (hundred + gap)[::10],
        },
        hundred,
        gap,
    )


def test_log_evidence_is_the_mean_over_all_moved_by_what_a_tenth_gains():
    bounds, hundred, gap = _made()
    value, error = _result(VAE, **bounds).log_evidence()
    assert value == pytest.approx(-float(hundred.mean() + gap[::10].mean()))
    assert error == pytest.approx(float(gap[::10].std()) / 10**0.5)
    # and close to the mean that it stands for, where the tenth alone is nats away
    assert abs(value + float((hundred + gap).mean())) < 5 * error
    assert abs(float(bounds["many"].mean() - (hundred + gap).mean())) > 20 * error


@pytest.mark.parametrize(
    ("elbo", "few", "said"), [(-1.0, 1.0, "holds"), (1.0, 1.0, "does not hold"), (-1.0, -1.0, "does not hold")]
)
def test_the_pattern_is_judged_by_both_bounds(elbo, few, said):
    trained_by_elbo, trained_by_l5 = _result(VAE, **_made()[0]), _result(IWAE, **_made(elbo, few)[0])
    text = markdown(FULL, [trained_by_elbo, trained_by_l5])
    assert f"standard errors each, {said}." in text
    assert f"| L_5 instead of the ELBO | | **{'+' if elbo < 0 else '−'}1.00 ± 0.00** |" in text


def test_a_goal_is_held_against_what_was_found():
    bounds, *_ = _made()
    found = -float(bounds["hundred"].mean())
    for goal, said in ((found + 0.1, "yes"), (found - 0.1, "no")):
        training = replace(VAE, goal=goal)
        plan = replace(FULL, trainings=(training,))
        assert f"≤ {goal:.1f}: {said}" in markdown(plan, [_result(training, **bounds)])


def test_only_what_stands_between_the_markers_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write(page, "new")
    assert page.read_text() == f"before\n{START}\nnew\n{END}\nafter\n"


def test_the_page_holds_the_results_of_the_whole_plan():
    page = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text("utf-8")
    table = page.split(START)[1].split(END)[0]
    for training in FULL.trainings:
        row = next(line for line in table.splitlines() if line.startswith(f"| {training.title} |"))
        assert f"| {training.published:.2f} |" in row
        assert f"| {training.published_epochs:,}, {training.epochs:,} |" in row


def test_the_figure_has_a_line_for_each_run_in_both_panels():
    history = [{"epoch": i, "validation_nelbo": 100 - i, "validation_objective": 98 - i} for i in range(1, 6)]
    figure = curves([(training, history) for training in FULL.trainings], FULL)
    assert [len(axes.get_lines()) for axes in figure.axes] == [5, 5]
