"""TF32 and bfloat16: where they hold and where not, and what they do to the ELBO, against a computation by hand."""

import json
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import nelbo
from nelbo import devices, likelihoods
from nelbo.evaluation import Evaluation
from nelbo.objectives import ELBO, Objective
from nelbo.training.precision import change_of_elbo
from tests.second_device import rounded_to_tf32
from tests.training.simple import binary, by_hand, quick, same, small, weights

X = binary(110)


@pytest.fixture
def in_tf32(tensor_cores, device):
    if not devices.has_tf32(device):
        pytest.skip("this accelerator has no TF32")


def numbers(run):
    return [{name: value for name, value in line.items() if "second" not in name} for line in run.history]


# --- where TF32 holds -------------------------------------------------------------------------------------------------


@pytest.mark.device
@pytest.mark.parametrize("settings", [{"capture": False}, {"capture": True}, {"shards": 2}], ids=str)
def test_all_of_a_step_is_in_tf32_and_nothing_that_is_measured(settings, in_tf32):
    """As a training in float32 while torch itself is set to TF32, whose validation is in float32."""
    settings = {"epochs": 2, **settings}
    run, plain = quick(small(), X, precision="tf32", **settings), quick(small(), X, **settings)
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("high")
    switched = quick(small(), X, **settings)
    assert torch.get_float32_matmul_precision() == "high"
    assert same(weights(run.model), weights(switched.model))
    assert not same(weights(run.model), weights(plain.model))
    assert numbers(run) == numbers(switched)
    assert run.record.get("steps") == plain.record.get("steps")
    assert set(run.record["precision"]) == {"used", "elbo_change", "standard_error", "over"}
    assert 0 < abs(run.record["precision"]["elbo_change"]) < 1e-2
    assert "precision" not in switched.record


@pytest.mark.device
def test_a_run_in_tf32_goes_on_in_tf32(in_tf32, tmp_path):
    def stop(line):
        raise KeyboardInterrupt

    whole = quick(small(), X, precision="tf32")
    with pytest.raises(KeyboardInterrupt):
        quick(small(), X, precision="tf32", out=tmp_path, callback=stop)
    resumed = nelbo.resume(tmp_path, data=X, progress=False)
    assert same(weights(whole.model), weights(resumed.model))
    assert json.loads((tmp_path / "run.json").read_text())["precision"] == whole.record["precision"]


class Fails(Objective):
    def terms(self, model, batch, progress):
        if model.training:
            raise ArithmeticError(torch.get_float32_matmul_precision())
        return ELBO().terms(model, batch, progress)


@pytest.mark.device
def test_torch_is_set_as_before_after_an_error_too(in_tf32):
    model = by_hand()
    with pytest.raises(ArithmeticError, match="high"):
        quick(model, X, objective=Fails(), precision="tf32", capture=False)
    assert torch.get_float32_matmul_precision() == "highest"
    assert model.network_precision == "float32"


def switches():
    cudnn = torch.backends.cudnn
    parts = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, torch.backends.mkldnn.matmul]
    found = [torch.get_float32_matmul_precision(), *(part.fp32_precision for part in parts)]
    try:
        return [*found, cudnn.allow_tf32]
    except RuntimeError:  # it has no word for what the newer ones say
        return [*found, None]


@pytest.fixture
def as_at_first():
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has the older switches only")
@pytest.mark.parametrize("found", ["highest", "high", "medium", "newer"])
def test_switches_are_put_back_when_the_last_thread_is_done(found, as_at_first, monkeypatch):
    monkeypatch.setattr(devices, "has_tf32", lambda device: True)
    if found == "newer":
        torch.backends.cudnn.conv.fp32_precision = "ieee"
    else:
        torch.set_float32_matmul_precision(found)
    before = switches()
    first, second = ExitStack(), ExitStack()
    first.enter_context(devices.products_in_tf32(devices.CPU, True))
    assert switches() == ["high", "tf32", "tf32", "tf32", "tf32", True]
    second.enter_context(devices.products_in_tf32(devices.CPU, False))  # which is exact for both
    assert switches() == ["highest", "ieee", "ieee", "ieee", "ieee", False]
    first.close()
    assert switches()[0] == "highest"
    with pytest.raises(ZeroDivisionError), second:
        _ = 1 / 0
    assert switches() == before


# --- where there is none ----------------------------------------------------------------------------------------------


def test_elsewhere_it_is_float32_and_says_so(tmp_path, capsys):
    plain = quick(small(), X, device="cpu")
    run = quick(small(), X, device="cpu", precision="tf32", out=tmp_path, progress=True)
    sentence = "precision='tf32' changes nothing on cpu, which has no TF32: training runs in float32"
    assert capsys.readouterr().err.count(sentence) == 1
    assert same(weights(run.model), weights(plain.model))
    assert json.loads((tmp_path / "run.json").read_text())["precision"] == {"used": "float32", "why": sentence}
    nelbo.resume(tmp_path, epochs=4, data=X)
    assert sentence in capsys.readouterr().err


# --- what it does to the ELBO -----------------------------------------------------------------------------------------


def test_tf32_has_ten_bits_to_the_nearest():
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-30, 1.0, 1e30, -1.0]).repeat(
        2500
    )
    half = torch.tensor([1 + 2**-11, -1 - 2**-11, 1 + 3 * 2**-11, 0.0, torch.inf, -torch.inf])  # ties, away from zero
    assert rounded_to_tf32(half).tolist() == [1 + 2**-10, -1 - 2**-10, 1 + 2**-9, 0.0, torch.inf, -torch.inf]
    fraction, exponent = np.frexp(x.double().numpy())
    expected = np.ldexp(np.sign(fraction) * np.floor(np.abs(fraction) * 2**11 + 0.5) / 2**11, exponent)
    assert np.array_equal(rounded_to_tf32(x).double().numpy(), expected)
    assert ((rounded_to_tf32(x) - x).abs() <= 2**-11 * x.abs()).all()


@contextmanager
def emulated(model):
    """Linear layers as tensor cores compute them: the factors rounded, the sum and the bias in float32."""
    layers = [part for part in model.modules() if isinstance(part, nn.Linear)]
    exact = [layer.weight.data for layer in layers]
    handles = [layer.register_forward_pre_hook(lambda _, inputs: (rounded_to_tf32(inputs[0]),)) for layer in layers]
    try:
        for layer in layers:
            layer.weight.data = rounded_to_tf32(layer.weight.data)
        yield
    finally:
        for layer, weight, handle in zip(layers, exact, handles, strict=True):
            layer.weight.data = weight
            handle.remove()


def test_the_change_of_the_elbo_is_that_by_hand(monkeypatch):
    """Of a linear model, in float64 from q(z|x) to the sum over features, by the same draws."""
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    model = nelbo.VAE(nn.Linear(5, 4), nn.Linear(2, 5), latent=2, likelihood=likelihoods.Normal(0.3))
    data = nelbo.data.as_data(x, validation=0.5)
    quick(model, data, epochs=20, learning_rate=0.01, device="cpu")
    monkeypatch.setattr("nelbo.training.precision.products_in_tf32", lambda device, wanted: emulated(model))
    got = change_of_elbo(model, data.validation, "tf32", seed=3)

    known = Evaluation(model, nelbo.data.as_batch(data.validation.take(200)), seed=3)
    normal = known.qz.base_dist
    noise = ((known.z - normal.loc) / normal.scale).double()

    def elbo(rounded):
        def linear(layer, inputs):
            return rounded(inputs).double() @ rounded(layer.weight).double().T + layer.bias.double()

        mean, log_var = linear(model.encoder, known.x).chunk(2, dim=1)
        z = mean + (0.5 * log_var).exp() * noise
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        error = known.x.double() - linear(model.decoder, z.float())
        return -(0.5 * (error / 0.3).square() + np.log(0.3) + 0.5 * np.log(2 * np.pi)).sum(1) - kl

    with torch.no_grad():
        change = elbo(rounded_to_tf32) - elbo(lambda x: x)
    assert abs(change.mean()) > 1e-4
    assert float(got) == pytest.approx(float(change.mean()), rel=0.02)
    assert got.error == pytest.approx(float(change.std() / len(change) ** 0.5), rel=0.02)


def test_a_training_in_bfloat16_states_its_change_of_the_elbo(tmp_path, capsys):
    run = quick(small(), X, precision="bfloat16", device="cpu", out=tmp_path, progress=True, validation=60)
    stated = json.loads((tmp_path / "run.json").read_text())["precision"]
    assert stated["used"] == "bfloat16"
    assert stated["over"] == "mean over 60 examples held out"
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("nelbo: bfloat16 instead of float32 changes the ELBO by ")
    assert line.endswith(" nats (mean over 60 examples held out)")
    means = []
    for precision in ("float32", "bfloat16"):  # by other draws, 512 of each example
        run.model.network_precision = precision
        means.append(float(nelbo.measure.elbo_terms(run.model, run.data.validation, samples=512).elbo.value.mean()))
    assert abs(stated["elbo_change"] - (means[1] - means[0])) < 5 * stated["standard_error"]


def test_without_held_out_examples_it_is_that_of_training():
    run = quick(small(), X, precision="bfloat16", device="cpu", validation=0)
    assert run.record["precision"]["over"] == "mean over 110 examples of training"
    assert "precision" not in quick(small(), X, device="cpu").record
