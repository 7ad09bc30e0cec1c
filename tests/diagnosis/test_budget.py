"""A diagnosis of a slow model ends in time, and says what it left out; that of others does not depend on the clock."""

import importlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from nelbo.diagnosis.budget import Budget, pace_of
from nelbo.evaluation import evaluate


class Spatial(nn.Module):
    """An autoencoder with maps as latents and posterior objects, that counts what it encodes and decodes."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)
        # in arrays, which nelbo does not put back as it does numbers
        self.encoded, self.decoded = np.zeros((), int), np.zeros((), int)

    def encode(self, x):
        self.encoded += len(x)
        mean, logvar = self.down(x).chunk(2, 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))

    def decode(self, z):
        self.decoded += len(z)
        return SimpleNamespace(sample=self.up(z))

    def forward(self, x):
        q = self.encode(x).latent_dist
        return self.decode(q.mean + (0.5 * q.logvar).exp() * torch.randn_like(q.mean))


def loss_of(model):
    def loss(x):
        q = model.encode(x).latent_dist
        z = q.mean + (0.5 * q.logvar).exp() * torch.randn_like(q.mean)
        kl = 0.5 * (q.mean**2 + q.logvar.exp() - 1 - q.logvar).sum((1, 2, 3)).mean()
        return F.mse_loss(model.decode(z).sample, x) + 1e-6 * kl

    return loss


@pytest.fixture
def images():
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Spatial()


def decodings(vae):
    return int(vae.networks[0].decoded)


def test_what_fits_is_not_touched_by_the_clock():
    assert Budget(60, 1e-4).at_most(1000, "examples", share=0.5, pairs=5) == 1000
    assert Budget(None, 100.0).at_most(1000, "examples", share=0.5, pairs=5) == 1000


def test_what_does_not_fit_is_cut_to_a_power_of_two_and_told():
    budget = Budget(60, 0.1)
    assert budget.at_most(1000, "examples", share=0.5, pairs=5) == 32  # 60 fit
    assert budget.at_most(100, "draws", share=0.001, pairs=5, least=16) == 16
    (note,) = budget.notes
    assert "0.1 s to encode and decode an example" in note
    assert "32 of 1,000 examples, 16 of 100 draws" in note


def test_what_a_call_costs_by_itself_is_not_the_pace(monkeypatch, model, images):
    """As on a device that takes a tenth of a second for a call, of however many examples."""
    now = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(now))
    monkeypatch.setattr(importlib.import_module("nelbo.diagnosis.budget"), "time", clock)
    assert pace_of(evaluate(nelbo.wrap(model, x=images), images)) == pytest.approx(0.1 / 64)


@pytest.mark.parametrize("late", range(1, 10))
def test_a_call_that_waited_for_the_machine_is_not_the_model_s_pace(monkeypatch, model, images, late):
    """Of the calls that are timed, each takes a hundredth of a second, and one of them a third: everything fits."""
    now = itertools.count()

    def clock():
        at = next(now)
        return 0.01 * at + (0.3 if at == 2 * late + 1 else 0.0)

    monkeypatch.setattr(importlib.import_module("nelbo.diagnosis.budget"), "time", SimpleNamespace(perf_counter=clock))
    assert pace_of(evaluate(nelbo.wrap(model, x=images), images)) == 0


def test_a_model_that_takes_seconds_for_an_example_is_timed_on_no_more(monkeypatch, model, images):
    """The first call also does what is done once, such as to compile."""
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    times = iter([0.0, 40.0, 50.0, 53.0])
    clock = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr(importlib.import_module("nelbo.diagnosis.budget"), "time", clock)
    before = decodings(vae)
    assert pace_of(evaluate(vae, images)) == 3.0
    assert decodings(vae) - before == 2


def test_wrap_runs_a_model_on_few_large_images(model):
    large = torch.randn(40, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    nelbo.wrap(model, x=large, likelihood=nelbo.likelihoods.Normal(1.0))
    assert int(model.encoded + model.decoded) <= 5 * 15


def test_a_slow_model_is_measured_within_its_time(monkeypatch, model, images):
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    before = decodings(vae)
    findings = nelbo.diagnose(vae, images, loss=loss_of(model), seconds=None)
    every, before = decodings(vae) - before, decodings(vae)
    assert findings.examples == 64
    assert not findings.notes
    monkeypatch.setattr(importlib.import_module("nelbo.diagnosis.diagnose"), "pace_of", lambda evaluation: 0.2)
    findings = nelbo.diagnose(vae, images, loss=loss_of(model))
    assert findings.examples == 16
    assert "16 of 64 examples" in findings.notes[-1]
    assert decodings(vae) - before < min(every / 2, 60 / (0.2 / 2))  # half of the time goes into encoding
    assert "effective-beta" in findings


@pytest.mark.parametrize("pace", [0.2, 0.8])
def test_all_that_is_encoded_and_decoded_fits_into_the_time(monkeypatch, model, images, pace):
    """With held-out examples and reported numbers too; beside the least of what no check does without."""
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    monkeypatch.setattr(importlib.import_module("nelbo.diagnosis.diagnose"), "pace_of", lambda evaluation: pace)
    model.encoded[...] = model.decoded[...] = 0
    given = {"held_out": images.flip(0), "loss": loss_of(model), "reported": {"nelbo": 70.0, "nll": 70.0, "samples": 9}}
    findings = nelbo.diagnose(vae, images, **given)
    pairs = int(model.encoded + model.decoded) / 2
    least = 6 * 2 * 16  # a few for each of the 16 examples of two sets
    assert pairs <= max(60 / pace, least)
    assert len(findings.notes) == 1


def test_a_sampling_is_measured_without_running_the_networks_each_time(model, images):
    before = int(model.encoded + model.decoded)
    sampling = nelbo.wrap(model, x=images[:16], likelihood=nelbo.likelihoods.Normal(1.0)).sampling
    assert sampling.training == sampling.evaluation == "logvar"
    assert sampling.standard_error < 0.02
    assert int(model.encoded + model.decoded) - before <= 16 * 15


@pytest.mark.parametrize("where", ["encode", "attribute"])
def test_a_z_that_encode_draws_is_drawn_anew_in_each_run(images, where):
    class Drawing(Spatial):
        """Its encode draws z, and gives it beside mean and log variance, or keeps it."""

        def encode(self, x):
            mean, logvar = super().encode(x).latent_dist.__dict__.values()
            z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
            self.z = z.detach()
            return (mean, logvar, z) if where == "encode" else (mean, logvar)

        def decode(self, z):
            return super().decode(z).sample

        def forward(self, x):
            answer = self.encode(x)
            return self.decode(answer[2] if where == "encode" else self.z)

    model = Drawing()
    view = nelbo.wrap(model, x=images[:8], likelihood=nelbo.likelihoods.Normal(1.0), scale="logvar")
    assert view.sampling is None or view.sampling.training == "logvar"


def test_the_numbers_do_not_depend_on_a_time_that_is_enough(model, images):
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    with_time, without = (nelbo.diagnose(vae, images, seconds=seconds) for seconds in (1e6, None))
    assert with_time.to_dict() == without.to_dict()


def test_a_time_that_is_none_is_refused(model, images):
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    with pytest.raises(ValueError, match=r"seconds must be a positive number or None, got 0; write seconds=60"):
        nelbo.diagnose(vae, images, seconds=0)


def test_a_loss_is_weighed_without_running_the_networks_each_time(model, images):
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    calls = []
    model.down.register_forward_hook(lambda *_: calls.append("encode"))
    model.up.register_forward_hook(lambda *_: calls.append("decode"))
    weighed = nelbo.diagnosis.effective_beta(loss_of(model), vae, images)
    assert float(weighed.beta) == pytest.approx(1e-6 * 64 / 2, rel=1e-3)
    assert weighed.evaluations == 100
    assert len(calls) <= 20


def test_networks_that_leave_something_for_the_loss_run_each_time(images):
    class Leaving(Spatial):
        """Its decode leaves a number that the loss reads, of this very call."""

        def decode(self, z):
            self.size = z.abs().mean()
            return super().decode(z)

    model = Leaving()
    vae = nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0))
    plain, calls = loss_of(model), []
    model.up.register_forward_hook(lambda *_: calls.append("decode"))
    nelbo.diagnosis.effective_beta(lambda x: plain(x) + 0.01 * model.size, vae, images)
    assert len(calls) > 100


def test_of_large_images_few_tell_what_a_model_answers():
    model, images = Spatial(), torch.rand(64, 1, 128, 128)
    assert nelbo.wrap(model, x=images, likelihood=nelbo.likelihoods.Normal(1.0)).sampling.training == "logvar"
    assert model.encoded + model.decoded <= 24 * 8
