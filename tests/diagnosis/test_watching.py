"""nelbo.watch: what it measures, that a training does not notice it, and what it costs."""

import copy
import random
import sys
import types
from collections import defaultdict, deque
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from nelbo.diagnosis import watching as module

X = torch.bernoulli(
    torch.rand(300, 1, generator=torch.Generator().manual_seed(0)).expand(300, 12),
    generator=torch.Generator().manual_seed(1),
)
COUNTED = {"calls": 0}
LOGGED = []


class VAE(nn.Module):
    """Everything that a look at it could disturb: statistics, a frozen weight, a counter, generators of its own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.ReLU())
        self.mean, self.logvar = nn.Linear(16, 2), nn.Linear(16, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 12), nn.Sigmoid())
        self.decoder[0].weight.requires_grad_(False)
        self.steps = 0
        self.seen, self.own = defaultdict(deque), torch.Generator().manual_seed(3)
        self.numbers, self.python = np.random.default_rng(3), random.Random(3)

    def encode(self, x):
        h = self.body(x)
        return self.mean(h), self.logvar(h)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        self.steps += 1
        self.seen["rows"].append(len(x))
        mu, logvar = self.encode(x)
        self.python.random(), self.numbers.random()
        noise = torch.randn_like(mu) + 1e-3 * torch.randn(mu.shape, generator=self.own)
        return self.decode(mu + (0.5 * logvar).exp() * noise), mu, logvar


def loss_of(model, x):
    """Averaged over the pixels, and so with a beta of 12; it counts, and draws from the other generators."""
    COUNTED["calls"] += 1
    random.random(), np.random.rand()
    recon_x, mu, logvar = model(x)
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
    return F.binary_cross_entropy(recon_x, x) + kl.mean()


def train(*, watch=None, steps=8, **options):
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    COUNTED["calls"] = 0
    model = VAE()
    view = nelbo.wrap(model, x=X[:100], likelihood=nelbo.likelihoods.Bernoulli())
    lines = []
    watching = None
    if watch:
        watching = nelbo.watch(view, X, loss=lambda x: loss_of(model, x), show=lines.append, **options)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, X[torch.randint(len(X), (32,))]).backward()
        optimizer.step()
        if watching:
            watching()
    return model, watching, lines


@pytest.fixture(scope="module")
def both():
    states = []
    for watch in (False, True):
        model, watching, lines = train(watch=watch, every=4)
        noise = torch.rand(3), random.random(), np.random.rand()
        states.append((model, watching, lines, noise, dict(COUNTED)))
    return states


def test_the_training_does_not_notice_it(both):
    (alone, _, _, noise, calls), (model, watching, _, other_noise, other_calls) = both
    assert [row["step"] for row in watching.rows] == [0, 4, 8]
    for (name, tensor), other in zip(alone.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name
    for parameter, other in zip(alone.parameters(), model.parameters(), strict=True):
        assert parameter.requires_grad == other.requires_grad
        assert (parameter.grad is None) == (other.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, other.grad)
    assert torch.equal(noise[0], other_noise[0])
    assert noise[1:] == other_noise[1:]
    assert (alone.steps, calls, alone.seen) == (model.steps, other_calls, model.seen)
    assert (alone.python.random(), alone.numbers.random()) == (model.python.random(), model.numbers.random())
    assert all(part.training for part in model.modules())


def test_a_row_is_what_plain_pytorch_computes(both):
    model, watching, *_ = both[1]
    model = copy.deepcopy(model).eval()
    row = watching.rows[-1]
    x = watching.examples.x
    with torch.no_grad():
        mu, logvar = model.encode(x)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
        z = mu + (0.5 * logvar).exp() * torch.randn(400, *mu.shape, generator=torch.Generator().manual_seed(3))
        errors = F.binary_cross_entropy(model.decode(z), x.expand(400, *x.shape), reduction="none").sum(-1).mean(0)
    assert row["step"] == 8
    assert row["kl"] == pytest.approx(float(kl.mean()), rel=1e-5)
    # 16 draws of z for each of 300 examples, against 400: both averages are over the same examples
    assert row["reconstruction_error"] == pytest.approx(float(errors.mean()), abs=0.02)
    assert row["nelbo"] == pytest.approx(row["reconstruction_error"] + row["kl"], rel=1e-9)
    assert row["nelbo_standard_error"] == pytest.approx(float((errors + kl).std()) / 300**0.5, rel=0.05)
    assert row["active_units"] == int((mu.var(0) > 0.01).sum())
    assert row["beta"] == pytest.approx(12.0, rel=1e-3)


def test_a_finding_is_shown_when_it_first_appears(both):
    _, watching, lines, *_ = both[1]
    named = [line for line in lines if line.endswith("nelbo explain reconstruction-mean")]
    assert len(named) == 1
    assert named[0].startswith("severe: ")
    assert all("reconstruction-mean" in row["findings"] for row in watching.rows)
    assert lines[0].startswith("step 0: rec. error ")
    assert ", beta 12, reconstruction-mean" in lines[0]
    # of what a training changes, nothing is said before it has begun
    assert "posterior-collapse" not in watching.rows[0]["findings"]


def test_every_follows_from_what_a_row_costs(monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock["now"])

    def measured(self, case):
        clock["now"] += 1.0 + 0.3 * random.Random(self.steps).random()
        return {"step": self.steps}, []

    monkeypatch.setattr(module.Watch, "_measured", measured)
    monkeypatch.setattr(module.Watch, "_case", lambda self: None)
    watching = nelbo.watch(nelbo.recipes.vae((12,), latent=2, hidden=(4,)), X)
    for step in range(60_000):
        clock["now"] += 0.01 if step < 30_000 else 0.005  # half-way the steps become faster
        watching()
    training = 30_000 * 0.01 + 30_000 * 0.005
    shares = [row["share"] for row in watching.rows[1:]]
    assert len(shares) >= 6
    assert max(shares) < 0.03
    assert watching.share == pytest.approx(watching.seconds / training, rel=0.01)
    first = watching.rows[1]["step"]
    assert 0.9 < first / (watching.rows[0]["seconds"] / 0.02 / 0.01) < 1.1


def test_callbacks_of_trainers():
    class Handler:
        """As that of transformers' Trainer."""

        def __init__(self, callbacks):
            self.callbacks = callbacks

        def call(self, event):
            for callback in self.callbacks:
                assert getattr(callback, event)("args", "state", "control", model=None, optimizer=None) is None

    vae, got = nelbo.recipes.vae((12,), latent=2, hidden=(4,)), []
    watching = nelbo.watch(vae, X, every=2, show=got.append)
    handler = Handler([watching])
    handler.call("on_train_begin")
    for _ in range(2):
        handler.call("on_step_begin")
        handler.call("on_step_end")
    handler.call("on_train_end")
    assert [row["step"] for row in watching.rows] == [0, 2]
    with pytest.raises(AttributeError, match="no attribute 'step_end'"):
        _ = watching.step_end
    on_train_batch_end = watching  # LambdaCallback of Lightning calls it so
    on_train_batch_end("trainer", "module", {"loss": torch.ones(())}, (X, None), 0)
    assert watching.steps == 3


def test_epochs_of_nelbo_fit():
    vae, sent = nelbo.recipes.vae((12,), latent=2, hidden=(4,)), []
    watching = nelbo.watch(vae, X, every=1, callback=sent.append, show=lambda line: None)
    nelbo.fit(vae, X, epochs=2, validation=0, progress=False, callback=watching)
    assert sent == watching.rows
    assert [row["step"] for row in sent] == [0, 1, 2]


def test_a_tracker_takes_rows(monkeypatch):
    logged, active = [], Mock()
    fake = types.SimpleNamespace(
        active_run=lambda: active, log_metrics=lambda numbers, step: logged.append((step, numbers))
    )
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    vae = nelbo.recipes.vae((12,), latent=2, hidden=(4,))
    watching = nelbo.watch(vae, X, every=1, callback=nelbo.track("mlflow"), show=lambda line: None)
    watching()
    assert [step for step, _ in logged] == [0, 1]
    assert {"nelbo", "kl", "active_units"} <= set(logged[1][1])
    assert not {"findings", "step", "beta"} & set(logged[1][1])  # no number, the step, and None


def test_what_cannot_be_weighed_takes_one_line():
    model, lines = VAE(), []
    view = nelbo.wrap(model, x=X[:100], likelihood=nelbo.likelihoods.Bernoulli())
    watching = nelbo.watch(view, X, loss=lambda x: x.sum(), every=1, show=lines.append)
    watching()
    reasons = [line for line in lines if line.startswith("not checked, because ")]
    assert len(reasons) == 1
    assert "never calls the" in reasons[0]
    assert watching.rows[-1]["beta"] is None
    assert watching.rows[-1]["nelbo"] > 0


def test_weights_that_become_nan():
    model, lines = VAE(), []
    view = nelbo.wrap(model, x=X[:100], likelihood=nelbo.likelihoods.Bernoulli())
    watching = nelbo.watch(view, X, every=1, show=lines.append)
    with torch.no_grad():
        model.mean.weight.fill_(torch.nan)
    watching()
    assert any(line.startswith("severe: ") and line.endswith("not-finite") for line in lines)


def test_several_processes(monkeypatch):
    vae, lines = nelbo.recipes.vae((12,), latent=2, hidden=(4,)), []
    monkeypatch.setattr(module, "is_sharded", lambda part: True)
    watching = nelbo.watch(vae, X, every=1, show=lines.append)
    watching()
    assert lines == ["not checked, because the weights lie in parts in several processes"]
    assert [row["nelbo"] for row in watching.rows] == [None, None]
    for name, value in (("is_initialized", True), ("get_rank", 1)):
        monkeypatch.setattr(module.distributed, name, lambda value=value: value)
    watching()
    other = nelbo.watch(vae, X, every=1, show=lines.append)
    other()
    assert (len(watching.rows), other.rows, len(lines)) == (2, [], 1)


def test_sigma_follows_the_training():
    """A sigma at its optimum is that of the model of the moment, and the view keeps its own."""
    x = X @ torch.randn(12, 12, generator=torch.Generator().manual_seed(2))
    encoder, decoder = nn.Linear(12, 4), nn.Linear(2, 12)
    view = nelbo.wrap(encode=lambda x: encoder(x).chunk(2, 1), decode=decoder, x=x, scale="logvar",
                      likelihood=nelbo.likelihoods.Normal("optimal"))  # fmt: skip
    before = view.px_family.sigma
    watching = nelbo.watch(view, x, every=1, show=lambda line: None)
    with torch.no_grad():
        decoder.weight.zero_()
        decoder.bias.copy_(x.mean(0))
    watching()
    residual = x - x.mean(0)
    expected = 12 * 0.5 * (float(residual.square().mean().log()) + np.log(2 * np.pi) + 1)
    assert watching.rows[-1]["reconstruction_error"] == pytest.approx(expected, rel=1e-5)
    assert view.px_family.sigma == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ValueError, "every must be a number of steps, at least 1, got 0; write every=100"),
        ({"every": True}, ValueError, "every must be"),
        ({"loss": 3}, TypeError, "loss must be a function, got int"),
        ({"callback": "mlflow"}, TypeError, "callback must be a function, got str"),
        ({"show": False}, TypeError, "show must be a function, got bool"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        nelbo.watch(nelbo.recipes.vae((12,), latent=2, hidden=(4,)), X, **options)


def test_bad_models_and_examples():
    with pytest.raises(ValueError, match=r"50 or more examples, got shape \(20, 12\); write x\[:500\]"):
        nelbo.watch(nelbo.recipes.vae((12,), latent=2, hidden=(4,)), X[:20])
    with pytest.raises(TypeError, match="model must be an nn.Module"):
        nelbo.watch("model", X)


class Lightning(VAE):
    """What a LightningModule does: training_step logs, to the trainer that runs."""

    def log(self, name, value):
        LOGGED.append(name)

    def training_step(self, batch, batch_idx):
        loss = loss_of(self, batch[0])
        self.log("loss", loss)
        return loss


@pytest.mark.parametrize("loss", ["method", "lambda"])
def test_a_running_trainer_hears_nothing_of_it(loss):
    model = Lightning()
    view = nelbo.wrap(model, x=X[:100], likelihood=nelbo.likelihoods.Bernoulli())
    LOGGED.clear()
    function = model.training_step if loss == "method" else lambda x: model.training_step((x,), 0)
    watching = nelbo.watch(view, X, loss=function, show=lambda line: None)
    assert watching.rows[0]["beta"] == pytest.approx(12.0, rel=1e-3)
    assert LOGGED == []
    assert "log" not in vars(model)
