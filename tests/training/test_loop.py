"""The loop: early stopping, averages, clipping, the learning rate, each against a computation apart from it."""

import itertools
import math

import pytest
import torch
from torch import nn

import nelbo
from nelbo.evaluation import mean_terms
from nelbo.objectives import ELBO, Beta, Linear, Objective, Terms
from nelbo.training.optimizers import factor_at
from tests.training.simple import binary, quick, same, small, weights


class Recorder(Objective):
    """The ELBO, noting the weights before each training step."""

    def __init__(self):
        self.seen = []

    def terms(self, model, batch, progress):
        if model.training:
            self.seen.append(weights(model))
        return ELBO().terms(model, batch, progress)


def test_the_average_is_that_of_a_reference():
    """A plain mean of the weights after each step while 1 / steps > 1 - decay, exponential from there on."""
    decay, recorder = 0.8, Recorder()
    data = nelbo.data.as_data(binary(96), validation=0)
    plain = quick(small(), data, objective=recorder, epochs=4, capture=False)  # a replayed step calls nothing
    steps = [*recorder.seen[1:], weights(plain.model)]
    assert len(steps) == 12
    expected = {name: torch.zeros_like(w) for name, w in steps[0].items()}
    for i, step in enumerate(steps):
        share = max(1 - decay, 1 / (i + 1))
        expected = {name: (1 - share) * expected[name] + share * step[name] for name in expected}
    run = quick(small(), data, epochs=4, ema=decay)
    for name, tensor in run.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
    five = quick(small(), data, epochs=1, ema=0.999)  # still a plain mean
    mean = torch.stack([step["decoder.layers.0.weight"] for step in steps[:3]]).mean(0)
    torch.testing.assert_close(five.model.decoder.layers[0].weight.detach(), mean)


def test_the_average_is_what_is_validated_and_training_goes_on_from_the_weights():
    data = nelbo.data.as_data(binary(128), validation=32)
    plain, averaged = quick(small(), data), quick(small(), data, ema=0.9)
    for a, b in zip(plain.history, averaged.history, strict=True):
        assert a["train_nelbo"] == b["train_nelbo"]
        assert a["validation_nelbo"] != b["validation_nelbo"]
    after = mean_terms(averaged.model, data.validation, ELBO().terms)
    assert after["nelbo"] == averaged.history[-1]["validation_nelbo"]


def test_early_stopping_ends_with_the_best_weights():
    data = nelbo.data.as_data(binary(128), validation=32)
    run = quick(small(), data, epochs=40, patience=3, learning_rate=0.2)
    values = [epoch["validation_nelbo"] for epoch in run.history]
    best = min(range(len(values)), key=values.__getitem__)
    assert len(values) == best + 1 + 3 < 40
    assert mean_terms(run.model, data.validation, ELBO().terms)["nelbo"] == values[best]
    exact = quick(small(), data, epochs=best + 1, learning_rate=0.2)
    assert same(weights(run.model), weights(exact.model))


class Worsens(Objective):
    """Validation values by a table; training does nothing of note."""

    def __init__(self, values, warm_up=0.0):
        self.values, self.evaluations = values, 0
        if warm_up:
            self.beta = Linear(warm_up)

    def terms(self, model, batch, progress):
        terms = ELBO().terms(model, batch, progress)
        if model.training or progress.epoch == 0:  # 0: the trial before the training
            return terms
        value = self.values[int(progress.epoch) - 1]
        exact = terms.loss._replace(nelbo=torch.full_like(terms.value, value))
        return Terms(exact, terms.value, terms.surrogate)


@pytest.mark.parametrize(
    ("values", "patience", "warm_up", "ends"),
    [
        ([5, 4, 3, 4, 3.5, 9, 9], 2, 0, 5),
        ([5, 4, 3, 4, 3, 9, 9], 2, 0, 5),  # as good as before is not better
        ([5, 4, 3, 4, 2, 9, 9], 2, 0, 7),
        ([1, 2, 3, 4, 5, 6, 7], 1, 0, 2),
        ([1, 2, 3, 4, 3, 6, 7], 2, 4, 7),  # the best of the warm-up does not count: from epoch 4 on 4, 3, 6, 7
        ([1, 2, 3, 4, 5, 6, 7], 2, 4, 6),
        ([7, 6, 5, 4, 3, 2, 1], 1, 0, 7),
    ],
)
def test_when_early_stopping_ends(values, patience, warm_up, ends):
    data = nelbo.data.as_data(binary(40), validation=10)
    run = quick(small(), data, objective=Worsens(values, warm_up), epochs=7, patience=patience)
    assert len(run.history) == ends


def test_clipping_bounds_each_step():
    """Under plain gradient descent, a step is the learning rate times the gradient."""

    def steps(clip):
        recorder = Recorder()
        data = nelbo.data.as_data(binary(96), validation=0)
        run = quick(
            small(),
            data,
            objective=recorder,
            clip=clip,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
            epochs=1,
            capture=False,
        )
        seen = [nn.utils.parameters_to_vector(w.values()) for w in (*recorder.seen, weights(run.model))]
        return [float((b - a).norm()) / 0.5 for a, b in itertools.pairwise(seen)]

    free, bounded = steps(None), steps(0.1)
    assert min(free) > 0.1
    assert bounded == pytest.approx([0.1] * 3, rel=1e-3)
    assert steps(1e9) == free


def test_a_gradient_below_the_bound_is_left():
    x = binary()
    assert same(weights(quick(small(), x, clip=1e9).model), weights(quick(small(), x).model))


def test_the_learning_rate_that_each_step_has():
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    def two_groups(parameters):
        return Watched([{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.02}], lr=0.1)

    data = nelbo.data.as_data(binary(96), validation=0)
    run = quick(small(), data, optimizer=two_groups, schedule="cosine", learning_rate_warm_up=1.0, epochs=2)
    expected = [factor_at("cosine", step / 3, 2, 1.0) for step in range(6)]
    assert [a for a, _ in seen] == pytest.approx([0.1 * f for f in expected])
    assert [b for _, b in seen] == pytest.approx([0.02 * f for f in expected])
    assert run.history[-1]["learning_rate"] == pytest.approx(0.1 * expected[-1])


def test_schedules_of_the_objective_see_the_fraction_of_the_epoch():
    seen = []

    class Noted(Objective):
        def terms(self, model, batch, progress):
            seen.append((model.training, round(progress.epoch, 6), progress.examples))
            return ELBO().terms(model, batch, progress)

    quick(small(), nelbo.data.as_data(binary(70), validation=6), objective=Noted(), epochs=2, capture=False)
    steps = [(True, 0.0, 64), (True, 0.5, 64), (False, 1.0, 64), (True, 1.0, 64), (True, 1.5, 64), (False, 2.0, 64)]
    assert seen[-6:] == steps


def test_the_same_validation_draws_in_every_epoch():
    """With a learning rate of nothing, dynamic binarization and z are drawn alike each time."""
    data = nelbo.data.as_data(torch.rand(100, 1, 4, 4), binarize="dynamic", validation=30)
    run = quick(small(event=(1, 4, 4)), data, learning_rate=1e-30)
    assert len({epoch["validation_nelbo"] for epoch in run.history}) == 1
    assert len({epoch["train_nelbo"] for epoch in run.history}) == 3


def test_the_callback_gets_each_line():
    lines = []
    run = quick(small(), binary(), callback=lines.append)
    assert lines == run.history
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_an_error_of_the_callback_leaves_a_run_that_can_go_on(tmp_path):
    def broken(epoch):
        raise OSError("disk of the callback")

    with pytest.raises(OSError, match="disk of the callback"):
        quick(small(), binary(), out=tmp_path / "run", callback=broken)
    assert nelbo.runs.read_record(tmp_path / "run")["status"] == "failed"
    run = nelbo.resume(tmp_path / "run", data=binary(), progress=False)
    assert same(weights(run.model), weights(quick(small(), binary()).model))


def test_the_bar_shows_the_terms(capsys):
    run = nelbo.fit(small(), binary(), epochs=2, progress=True)
    shown = capsys.readouterr().err
    last = run.history[-1]
    assert f"NELBO {last['validation_nelbo']:.1f} nats" in shown.replace("\n", " ")
    nelbo.fit(small("autoencoder"), binary(), epochs=1)
    assert "no KL" in capsys.readouterr().err


def test_beta_with_a_warm_up_trains_to_its_end():
    run = quick(small(), binary(), objective=Beta(Linear(2, end=3.0)))
    last = run.history[-1]
    assert last["validation_objective"] == pytest.approx(
        last["validation_reconstruction_error"] + 3 * last["validation_kl"]
    )
    assert math.isfinite(last["train_objective"])
