"""A conditional model of the user's own: conditions reach every batch, in training, validation and resume."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import nelbo
from nelbo.data import Batch, Data, InMemory
from nelbo.evaluation import evaluate
from nelbo.vae import Model
from tests.training.simple import quick, same, small, untimed, weights


class Conditional(Model):
    """p(x|z, c) and q(z|x, c), both linear, of which c holds one number for each example."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(3, 3)
        self.latent, self.px_family, self.c = 2, nelbo.likelihoods.Normal(0.5), None

    def given(self, c):
        twin = copy.copy(self)
        twin.c = c
        return twin

    @property
    def prior(self):
        return Independent(Normal(self.decoder.weight.new_zeros(2), self.decoder.weight.new_ones(2)), 1)

    def posterior(self, x):
        mean, log_scale = self.encoder(torch.cat([x, self.c], -1)).chunk(2, -1)
        return Independent(Normal(mean, log_scale.exp()), 1)

    def likelihood(self, z):
        c = self.c.expand(*z.shape[:-1], 1)
        return self.px_family(self.decoder(torch.cat([z, c], -1)), 1)


def examples(n=200, dtype=torch.float32):
    """x is its condition three times over, up to noise: a model that learned it expects nothing else."""
    source = torch.Generator().manual_seed(0)
    c = torch.randn(n, 1, generator=source)
    x = c * torch.tensor([1.0, 2.0, 3.0]) + 0.1 * torch.randn(n, 3, generator=source)
    return Batch(x, c=c.to(dtype), labels=torch.arange(n))


def learned(run, batch):
    """Whether the model was trained on each example's own condition: then another one's is a surprise."""
    nelbos = [
        evaluate(run, given).terms(8).elbo.value.mean().neg() for given in (batch, Batch(batch.x, c=batch.c.flip(0)))
    ]
    return nelbos[0] + 1.0 < nelbos[1]


def fit(model, data, **settings):
    return quick(model, data, **({"epochs": 40, "learning_rate": 0.05} | settings))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_batch_has_its_conditions(dtype):
    batch = examples(dtype=dtype)
    run = fit(Conditional(), batch, validation=0.25)
    data = run.data
    assert (len(data.train), len(data.validation)) == (150, 50)
    for dataset in (data.train, data.validation):
        rows = dataset.source_rows
        assert torch.equal(dataset.c, batch.c[rows])
        assert torch.equal(dataset.labels, batch.labels[rows])
    assert run.history[-1]["validation_nelbo"] < run.history[0]["train_nelbo"] - 1.0
    assert learned(run, batch)
    assert (run.reconstruct(batch).cpu() - batch.x).square().mean().sqrt() < 0.5
    assert run.encode(batch).shape == (200, 2)


def test_the_rest_takes_the_same_batch():
    batch = examples()
    run = fit(Conditional(), batch)
    assert nelbo.loss(run, batch).nelbo.shape == (200,)
    few = batch[:20]
    evidence = nelbo.measure.log_evidence(run, few, seed=0)
    assert evidence.value.shape == (20,)
    assert evidence.value.mean() > evaluate(run, few).terms(50).elbo.value.mean() - 0.2
    for data in (run.data.validation, batch):
        assert nelbo.diagnose(run.model, data).passed


def test_a_dataset_with_conditions():
    batch = examples()
    train, held_out = (InMemory(part.x, c=part.c, labels=part.labels) for part in (batch[:150], batch[150:]))
    assert learned(fit(Conditional(), Data(train, held_out, None, {})), batch)
    assert learned(fit(Conditional(), train), batch)


@pytest.mark.parametrize("kind", ["batch", "dataset"])
def test_resume(tmp_path, kind):
    batch = examples()
    data = batch if kind == "batch" else InMemory(batch.x, c=batch.c)
    whole = fit(Conditional(), data, epochs=4)
    fit(Conditional(), data, epochs=2, out=tmp_path / "run")
    run = nelbo.resume(tmp_path / "run", model=Conditional(), data=data, epochs=4, progress=False)
    assert same(weights(run.model), weights(whole.model))
    assert untimed(run.history) == untimed(whole.history)
    others = batch.c.flip(0)
    wrong = Batch(batch.x, c=others, labels=batch.labels) if kind == "batch" else InMemory(batch.x, c=others)
    with pytest.raises(ValueError, match="values or labels are not"):
        nelbo.resume(tmp_path / "run", model=Conditional(), data=wrong, epochs=5, progress=False)


def test_a_condition_that_is_missing_or_not_taken():
    batch = examples()
    missing = r"Conditional takes a condition, and none was given: .* Pass nelbo\.data\.Batch\(x, c=c\)"
    with pytest.raises(ValueError, match=missing):
        fit(Conditional(), batch.x)
    run = fit(Conditional(), batch, epochs=1)
    for use in (
        lambda: nelbo.loss(run, batch.x),
        lambda: nelbo.measure.log_evidence(run, batch.x),
        lambda: run.reconstruct(batch.x),
        lambda: run.encode(batch.x),
        lambda: run.decode(torch.zeros(3, 2)),
        lambda: run.sample(3),
    ):
        with pytest.raises(ValueError, match=missing):
            use()
    plain = small("vae", event=(3,), likelihood="normal")
    with pytest.raises(ValueError, match="VAE does not take a condition, but the batch carries c of shape"):
        fit(plain, batch)
    with pytest.raises(ValueError, match="VAE does not take a condition"):
        nelbo.loss(plain, batch)
