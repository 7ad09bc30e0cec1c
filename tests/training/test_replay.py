"""A NaN or an infinity stops the training, and the message names where it first was."""

import math
import re

import pytest
import torch
from torch import nn

import nelbo
from nelbo.files import read_tensors
from nelbo.nn import MLP
from nelbo.objectives import ELBO, Objective, Terms
from nelbo.training import NonFiniteError
from tests.training.simple import binary, by_hand, quick, same, small, weights


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x)


class Root(nn.Module):
    """sqrt of numbers of which one is 0: finite forward, infinite backward."""

    def forward(self, x):
        return torch.sqrt(x * (torch.arange(x.shape[1], device=x.device) > 0))


class BreaksAt(nn.Module):
    """The identity, until its weight was moved so often; then it divides by zero."""

    def __init__(self, step):
        super().__init__()
        self.step = step
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training:
            self.steps += 1
        return x / (self.steps < self.step)


def stopped(message, model, x, **settings):
    """The error of a training that stops, with the model set back to weights that are finite."""
    with pytest.raises(NonFiniteError, match=message) as caught:
        quick(model, x, **settings)
    model = getattr(model, "model", model)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters()), caught.value
    assert not model.training
    return str(caught.value)


def test_in_the_data():
    """Beyond the rows that are looked at before a training."""
    x = torch.zeros(10_400, 3)
    x[10_300, 1] = math.nan
    made = small("sigma_vae", event=(3,))
    data = nelbo.data.Data(nelbo.data.InMemory(x), None, None, {})
    text = stopped(r"the data x is nan at \(\d+, 1\) \(1 of 3000 values", made, data, batch_size=1000, seed=0)
    # the batch that it names is the one that holds the row
    batch = int(re.search(r"epoch 1, batch (\d+) of 11", text)[1])
    from nelbo.randomness import derive

    order = list(data.train.batches(1000, order=derive(0, "order", 0)))
    assert [bool(b.x.isnan().any()) for b in order].index(True) == batch - 1


def test_in_the_validation_data():
    x = torch.zeros(12_400, 3)
    x[11_500, 2] = math.inf
    data = nelbo.data.Data(nelbo.data.InMemory(torch.randn(100, 3)), nelbo.data.InMemory(x), None, {})
    text = stopped("after epoch 1: in validation batch 12, the data x is inf at", small("sigma_vae", event=(3,)), data)
    assert "set back" in text


def test_in_an_activation():
    model = by_hand(nn.Sequential(MLP(2, 8, hidden=(8,)), Log(), nn.Linear(8, 6)))
    # the logarithm of negative numbers is refused by no check of shapes, and the first batch has some
    text = stopped(r"epoch 1, batch 1 of 6 \(step 1\): the output of decoder\.1 \(Log\) is nan at", model, binary())
    assert "after 0 steps" in text


def test_after_some_steps_it_names_that_batch(tmp_path):
    model = by_hand(nn.Sequential(nn.Linear(2, 8), BreaksAt(9), nn.Linear(8, 6)))
    out = tmp_path / "run"
    stopped(
        r"epoch 2, batch 3 of 6 \(step 9\): the output of decoder\.1 \(BreaksAt\) is (-?inf|nan)",
        model,
        binary(),
        out=out,
        checkpoint_every=1e-6,
    )
    tensors, position = read_tensors(out / "checkpoint" / "state.safetensors")
    assert position["step"] == 8
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
    assert same(weights(model), {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
    record = nelbo.runs.read_record(out)
    assert record["status"] == "not finite"
    assert "decoder.1" in record["error"]


@pytest.mark.parametrize("settings", [{}, {"clip": 1.0}, {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1)}])
def test_in_the_gradient_alone(settings, tmp_path):
    """The loss is finite at that step: the gradient's way back is watched too, before clipping spreads the NaN."""
    model = by_hand(nn.Sequential(nn.Linear(2, 8), nn.Softplus(), Root(), nn.Linear(8, 6)))
    text = stopped(
        r"epoch 1, batch 1 of 6 \(step 1\): the gradient at the output of decoder\.1 \(Softplus\), "
        r"on its way back from decoder\.2 \(Root\), is (nan|inf) at \(0, 0\)",
        model,
        binary(),
        out=tmp_path / "run",
        **settings,
    )
    assert str(tmp_path / "run") in text


def test_in_the_gradient_of_the_very_last_step(tmp_path):
    """There is no later loss to show it: the weights are looked at before they are kept."""

    class Counted(nn.Module):
        """Breaks in the third step, by a buffer: a replay sets it back."""

        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

        def forward(self, x):
            if self.training:
                self.calls += 1
            return Root()(x) if self.calls == 3 and self.training else x

    for out in (None, tmp_path / "run"):
        model = by_hand(nn.Sequential(nn.Linear(2, 8), nn.Softplus(), Counted(), nn.Linear(8, 6)))
        data = nelbo.data.as_data(binary(96), validation=0)
        stopped(r"epoch 1, batch 3 of 3 .*output of decoder\.1 \(Softplus\)", model, data, epochs=1, out=out)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_of_a_learning_rate_far_too_high(tmp_path):
    text = stopped(
        r"training stopped in epoch \d+, batch \d+ of 6 .* is (-?inf|nan)", small(), binary(), learning_rate=1e30
    )
    assert "Try a lower learning_rate=" in text


def test_in_the_loss_of_one_s_own():
    class Broken(Objective):
        def terms(self, model, batch, progress):
            terms = ELBO().terms(model, batch, progress)
            value = terms.value / (progress.epoch < 0.2)
            return Terms(terms.loss, value, value)

    stopped(r"epoch 1, batch 3 of 6 .*the objective is inf at", small(), binary(), objective=Broken())


def test_in_the_weights_that_it_begins_with():
    model = by_hand()
    with torch.no_grad():
        model.decoder.layers[0].weight[0, 1] = math.nan
    with pytest.raises(NonFiniteError, match=r"before the first step: the weight decoder\.layers\.0\.weight is nan"):
        quick(model, binary())


def test_a_mask_of_infinities_is_no_failure(tmp_path):
    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(2, 6)
            self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

        def forward(self, x):
            return super().forward(torch.softmax(x + self.mask, -1))

    assert len(quick(by_hand(Masked()), binary(), out=tmp_path / "run").history) == 3


def test_an_autoencoder_s_infinite_kl_is_no_failure(tmp_path):
    run = quick(small("autoencoder"), binary(), out=tmp_path / "run", patience=2)
    assert run.history[-1]["validation_kl"] is None
    assert run.history[-1]["validation_reconstruction_error"] > 0
    assert nelbo.load(tmp_path / "run").history == run.history
    stopped(r"is (nan|-?inf) at", small("autoencoder"), binary(), learning_rate=1e30)


def test_the_watch_leaves_no_hook_behind():
    model = by_hand()
    stopped("is", model, binary(), learning_rate=1e30)
    assert not any(module._forward_hooks for module in model.modules())
    quick(by_hand(), binary())
