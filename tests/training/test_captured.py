"""Replayed steps give the weights of steps that run, or are not taken, and run.json says why."""

from dataclasses import dataclass
from itertools import count

import pytest
import torch
from torch import nn

import nelbo
from nelbo import devices, likelihoods, recipes
from nelbo.nn import MLP
from nelbo.objectives import ELBO, Beta, Linear, Objective
from nelbo.training.captured import CapturedUpdates
from nelbo.vae import VAE
from tests.cases import LIKELIHOODS, OBJECTIVES, PAIRS, each, make_vae
from tests.training.simple import binary, by_hand, bytes_file, quick, small, table_file, weights

pytestmark = pytest.mark.device
X = binary(110)  # of which a tenth validates: four batches an epoch, of which the last is smaller


@pytest.fixture(autouse=True)
def graphs(device):
    if not devices.has_graphs(device):
        pytest.skip("this accelerator has no graphs")


def both(make, data=X, **settings):
    """A run whose steps may be replayed, which must equal one whose steps may not."""
    runs = []
    for capture in (False, True):
        torch.manual_seed(1)
        runs.append(quick(make(), data, capture=capture, **settings))
    one, replayed = runs
    for name, tensor in weights(one.model).items():
        assert torch.equal(tensor, weights(replayed.model)[name]), name
    assert [_numbers(line) for line in one.history] == [_numbers(line) for line in replayed.history]
    assert "steps" not in one.record
    return replayed


def _numbers(line):
    return {name: value for name, value in line.items() if "second" not in name}


def was_replayed(run):
    return run.record["steps"].startswith("replayed as a graph")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": "cosine", "learning_rate_warm_up": 1.0, "weight_decay": 0.1},
        {"clip": 0.1, "ema": 0.9},
        {"patience": 1, "validation": 0.2, "epochs": 6, "learning_rate": 0.05},
        {"precision": "bfloat16"},
        {"objective": Beta(Linear(2))},
    ],
    ids=lambda settings: "-".join(settings) or "default",
)
def test_replayed_steps_are_those_that_run(settings):
    run = both(small, **settings)
    assert run.record["steps"] == "replayed as a graph, bit for bit as they run without it"


@pytest.mark.parametrize("objective", **each(OBJECTIVES))
def test_every_objective_can_be_replayed(objective):
    assert was_replayed(
        both(by_hand, objective=OBJECTIVES[objective], epochs=12 if OBJECTIVES[objective].schedules() else 2)
    )


@pytest.mark.parametrize("name", **each(LIKELIHOODS, fast=("bernoulli", "normal_optimal", "columns")))
def test_every_likelihood_can_be_replayed(name):
    assert was_replayed(both(lambda: make_vae(name), LIKELIHOODS[name][1](110), epochs=2))


@pytest.mark.parametrize(
    ("posterior", "prior"), [pair for pair in PAIRS if "standard_normal" in pair or "diagonal_normal" in pair]
)
def test_every_posterior_and_prior_is_replayed_or_named(posterior, prior):
    run = both(lambda: make_vae("bernoulli", prior, posterior), epochs=2)
    assert was_replayed(run) or "flow" in prior, run.record["steps"]


@pytest.mark.parametrize("file", [bytes_file, table_file])
def test_data_that_stay_on_disk_are_replayed(tmp_path, file):
    path = file(tmp_path)
    data = nelbo.data.load(path, on_disk=True, **({"binarize": "dynamic"} if file is bytes_file else {}))
    shape = data.event_shape
    kind = "bernoulli" if file is bytes_file else "normal"
    assert was_replayed(both(lambda: recipes.vae(shape, latent=2, hidden=(8,), likelihood=kind), data))


def test_steps_of_both_lengths_are_replayed(monkeypatch):
    made = []
    monkeypatch.setattr(CapturedUpdates, "__post_init__", _noting(made, CapturedUpdates.__post_init__))
    both(small, epochs=4)
    (updates,) = made
    # of either length the first runs, and the second is tried
    assert updates.replayed == 4 * 4 - 2 - 2


def _noting(made, init):
    def post_init(self):
        init(self)
        made.append(self)

    return post_init


def test_a_run_goes_on_with_replayed_steps(tmp_path):
    whole = quick(small(), X, out=tmp_path / "whole", epochs=4)
    stops = count()

    def stop(line):
        if next(stops) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(small(), X, out=tmp_path / "run", epochs=4, callback=stop, checkpoint_every=1e-9)
    resumed = nelbo.resume(tmp_path / "run", data=X, model=small(), progress=False)
    assert was_replayed(whole)
    assert was_replayed(resumed)
    for name, tensor in weights(whole.model).items():
        assert torch.equal(tensor, weights(resumed.model)[name]), name


def test_a_nan_in_replayed_steps_is_named():
    with pytest.raises(nelbo.training.NonFiniteError, match=r"in epoch \d, batch \d.*(gradient|output|weight)"):
        quick(by_hand(), X, learning_rate=1e20, epochs=20)


# --- what cannot be replayed ------------------------------------------------------------------------------------------


class Reads(nn.Linear):
    def forward(self, x):
        return super().forward(x) * (1.0 if x.sum().item() > -1e30 else 2.0)


class Counts(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += self.training
        return super().forward(x) / self.calls


class Waits(nn.Linear):
    def forward(self, x):
        return super().forward(x)[torch.arange(len(x))]  # its index comes from the CPU


def of_layer(kind):
    torch.manual_seed(0)
    encoder = nn.Sequential(kind(6, 8), nn.Tanh(), nn.Linear(8, 4))
    return VAE(encoder, MLP(2, 6, hidden=(8,)), latent=2, likelihood=likelihoods.Bernoulli())


@pytest.mark.parametrize("kind", [Reads, Waits])
def test_a_network_that_waits_for_the_device_is_run(kind):
    assert "cannot be captured: called a synchronizing operation" in both(lambda: of_layer(kind)).record["steps"]


def test_a_network_that_counts_its_calls_is_run():
    run = quick(of_layer(Counts), X)
    assert "changes with something in Python" in run.record["steps"]


@dataclass(frozen=True)
class ByEpoch(Objective):
    """Its weight depends on the epoch, late, and not through a schedule."""

    def terms(self, model, batch, progress):
        terms = ELBO().terms(model, batch, progress)
        return terms._replace(surrogate=terms.surrogate * (1.0 if progress.epoch < 1.5 else 0.1))


def test_an_objective_that_reads_the_epoch_is_run():
    assert "reads progress.epoch" in both(small, objective=ByEpoch()).record["steps"]


@pytest.mark.parametrize("capturable", [False, True])
def test_an_own_optimizer_is_captured_where_it_says_that_it_can_be(capturable):
    run = both(small, optimizer=lambda parameters: torch.optim.Adam(parameters, capturable=capturable, foreach=False))
    assert ("but for the optimizer" in run.record["steps"]) == (not capturable)
    assert was_replayed(run)
    run = both(
        small, schedule="cosine", optimizer=lambda some: torch.optim.Adam(some, capturable=capturable, foreach=False)
    )
    assert "but for the optimizer" in run.record["steps"]  # its learning rate is a number of Python


def test_few_steps_are_run():
    assert both(small, X[:30], epochs=1).record["steps"].endswith("they were too few to capture one")
