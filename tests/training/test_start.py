"""The output bias that a training starts with."""

import copy
import itertools

import pytest
import torch
from torch import nn

import nelbo
from nelbo.training.start import _rows_of, far_from_mean, init_output_bias
from tests.training.simple import small


@pytest.fixture(scope="module")
def data():
    return nelbo.data.load("digits", binarize="static", limit=500)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_an_untrained_decoder_starts_at_the_mean_of_the_data(data, network):
    vae = nelbo.recipes.vae(data.event_shape, network=network)
    assert not vae.decoder.output_bias.any()
    init_output_bias(vae, data.train)
    x = data.train.take(len(data.train))
    mean = x.mean(0) if network == "mlp" else x.mean((0, 2, 3))
    torch.testing.assert_close(vae.decoder.output_bias.sigmoid(), mean.flatten().clamp(1e-3, 1 - 1e-3))


def test_fit_starts_there_and_never_goes_back(data):
    recipe = nelbo.recipes.vae(data.event_shape, hidden=(16,))
    nelbo.fit(recipe, data, epochs=1, progress=False)
    trained = recipe.decoder.output_bias.detach().clone()
    init_output_bias(recipe, data.train)
    assert torch.equal(recipe.decoder.output_bias, trained)


def test_somebody_s_own_decoder_starts_as_it_is(data):
    decoder = nn.Sequential(nelbo.nn.MLP(2, data.event_shape))
    vae = nelbo.VAE(nelbo.nn.MLP(data.event_shape, 4), decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    init_output_bias(vae, data.train)
    assert not decoder[0].output_bias.any()


def test_it_is_worth_nats(data):
    """Against the same weights without it, on data whose pixels are mostly off."""
    last = []
    for wrap in (nn.Identity, nn.Sequential):
        torch.manual_seed(0)
        vae = nelbo.recipes.vae(data.event_shape, hidden=(32,))
        vae.decoder = vae.decoder if wrap is nn.Identity else wrap(vae.decoder)
        last.append(nelbo.fit(vae, data, epochs=3, progress=False).history[-1]["validation_nelbo"])
    assert last[0] < last[1] - 3


def own(last):
    torch.manual_seed(0)
    decoder = nn.Sequential(
        nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 64), nn.Unflatten(1, (1, 8, 8)), *copy.deepcopy(last)
    )
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    return nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Normal(1.0))


@pytest.mark.parametrize("last", [(), (nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3, padding=1))], ids=["dense", "conv"])
def test_a_decoder_of_one_s_own_that_starts_far_away_is_told_the_line_that_brings_it_near(last, capsys):
    data = nelbo.data.load("digits", scale=1.0, limit=300)
    model, x = own(last), data.train.take(len(data.train))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    note = far_from_mean(model, data.train)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    line = note.partition("write before fit: ")[2]
    head, _, body = line.partition(": ")
    exec(f"{head}:\n    {body}", {"torch": torch, "model": model, "x": x})
    assert far_from_mean(model, data.train) is None
    start = model.eval().decode(torch.zeros(1, 2))[0]
    torch.testing.assert_close(start.mean(), x.mean(), atol=2.0, rtol=0)
    run = nelbo.fit(own(last), data, epochs=1)
    assert run.record["start"] in capsys.readouterr().err
    silent = nelbo.fit(own(last), data, epochs=1, progress=False)
    assert silent.record["start"] == run.record["start"] == note
    assert not capsys.readouterr().err
    assert "start" not in nelbo.fit(model, data, epochs=1).record
    assert "standard deviations" not in capsys.readouterr().err


def test_nothing_is_said_of_decoders_that_start_near_or_cannot_be_told_how(data):
    assert far_from_mean(nelbo.recipes.vae(data.event_shape), data.train) is None
    spread = nelbo.data.load(20 * torch.randn(200, 1, 8, 8), validation=0)
    assert far_from_mean(own(()), spread.train) is None
    raw = nelbo.data.load("digits", scale=1.0, limit=300)
    assert far_from_mean(own((nn.Sigmoid(),)), raw.train) is None  # its last bias is not what comes out


def test_what_a_step_takes_is_said_before_it_is_spent(data, monkeypatch):
    wide = nelbo.recipes.vae(data.event_shape, hidden=(64,))
    weights = sum(parameter.numel() for parameter in wide.parameters())
    settings = {"epochs": 2, "batch_size": 100, "progress": False}
    nelbo.fit(wide, data, **settings)  # says nothing: it would be an error here
    monkeypatch.setattr("nelbo.training.start._MUCH_MEMORY", 20 * weights)
    monkeypatch.setattr("nelbo.training.start._seconds_of", lambda step, few: step(few) or 0.2 * len(few))
    said = r"each step takes about .* KiB of memory .* all 10 of the training .* 2 of its 100 examples.*batch_size=25"
    with pytest.warns(UserWarning, match=said):
        nelbo.fit(wide, data, **settings)


def test_a_machine_that_is_busy_with_others_does_not_make_a_step_costly(data, monkeypatch):
    clock = itertools.count(step=60)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))  # a minute goes by between two looks at it
    nelbo.fit(nelbo.recipes.vae(data.event_shape, hidden=(8,)), data, epochs=1, progress=False)  # a warning is an error


def test_what_a_step_takes_however_few_its_examples_is_not_multiplied(monkeypatch):
    """A trial of 17 ms on 2 of 1,024 examples was said to mean 26 seconds a step, and three hours of training."""
    data = nelbo.data.as_data(torch.randn(2000, 3), validation=0)
    clock = itertools.count()
    monkeypatch.setattr("time.thread_time", lambda: 0.017 * next(clock))
    model = small("vae", event=(3,), likelihood="normal")
    nelbo.fit(model, data, epochs=1, batch_size=1024, progress=False)  # a warning is an error


def test_few_examples_stand_for_all_where_many_would_fill_the_memory(monkeypatch, data):
    assert _rows_of(data.train) == len(data.train)
    monkeypatch.setattr("nelbo.training.start._BYTES_OF_ROWS", 4 * 64 * 10)
    assert _rows_of(data.train) == 10
    assert _rows_of(nelbo.data.load(torch.ones(1, 9999), validation=0).train) == 1


def test_what_is_odd_about_data_is_said_before_training(capsys):
    """Field report: a NELBO of 3e11 nats without a hint."""
    x = torch.randn(100, 3) * torch.tensor([1e5, 1.0, 1e-3])
    nelbo.fit(small("vae", event=(3,), likelihood="normal"), x, epochs=1)
    said = capsys.readouterr().err
    assert said.startswith("nelbo: columns differ in scale")
    assert "standardize=True" in said
    nelbo.fit(small("vae", event=(3,), likelihood="normal"), x, epochs=1, progress=False)
    assert not capsys.readouterr().err
