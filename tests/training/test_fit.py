"""fit(): repeats by its seed, leaves the process as found, refuses what cannot be meant."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import nelbo
from nelbo import likelihoods, objectives
from nelbo.objectives import ELBO, Beta, Cyclical, Linear, Objective, Terms
from nelbo.vae import VAE, encoded
from tests.training.simple import binary, by_hand, quick, same, small, untimed, weights


def test_the_same_seed_repeats_bit_for_bit_and_another_differs():
    x = binary()
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(runs))  # what the caller's generator holds changes nothing
        runs.append(quick(small(seed=1), x, seed=seed))
    first, again, other = runs
    assert same(weights(first.model), weights(again.model))
    assert untimed(first.history) == untimed(again.history)
    assert not same(weights(first.model), weights(other.model))


def test_a_run_on_disk_is_the_run_in_memory(tmp_path):
    x = binary()
    memory, disk = quick(small(), x, ema=0.9), quick(small(), x, ema=0.9, out=tmp_path / "run")
    assert same(weights(memory.model), weights(disk.model))
    loaded = nelbo.load(tmp_path / "run")
    assert same(weights(memory.model), weights(loaded.model))
    assert untimed(memory.history) == untimed(disk.history) == untimed(loaded.history)
    assert loaded.history == disk.history


def test_the_process_is_left_as_it_was_found(tmp_path):
    def found():
        return (
            torch.random.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.distributions.Distribution._validate_args,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
        )

    made, x = small(), binary()
    torch.manual_seed(5)
    before = found()
    quick(made, x, out=tmp_path / "run", precision="bfloat16")
    nelbo.load(tmp_path / "run")
    nelbo.resume(tmp_path / "run", data=x, epochs=4, progress=False)
    fresh = small()
    with torch.no_grad():
        assert quick(small(), x).history[-1]["train_nelbo"] > 0
    with torch.inference_mode():  # weights made within could never be trained
        quick(fresh, x)
    assert found() == before
    with pytest.raises(ValueError, match="epochs"):
        quick(small(), x, epochs=0)
    assert found() == before


def test_trains_outside_the_main_thread():
    done = []
    thread = threading.Thread(target=lambda: done.append(quick(small(), binary())))
    thread.start()
    thread.join()
    assert len(done[0].history) == 3


def test_every_recipe_trains_and_comes_back_from_disk(tmp_path):
    """Built, trained a step, rebuilt from run.json with the same answers."""
    for name in nelbo.recipes.RECIPES:
        extra = {"prior": "vamp:4"} if name == "vamp_vae" else {}
        long = {"cyclical_vae": 16, "capacity_vae": 15}.get(name, 1)
        x = binary(24)
        run = quick(small(name, **extra), x, epochs=long, out=tmp_path / name)
        loaded = nelbo.load(tmp_path / name)
        assert same(weights(run.model), weights(loaded.model)), name
        torch.testing.assert_close(run.model.reconstruct(x), loaded.model.reconstruct(x))
        assert all(np.isfinite(v) for k, v in run.history[-1].items() if k.endswith("objective")), name


def test_training_in_double_precision():
    model = by_hand().double()
    run = quick(model, binary())
    assert run.model.encoder.layers[0].weight.dtype == torch.float64
    assert run.history[-1]["validation_nelbo"] > 0


def test_the_model_is_in_evaluation_mode_and_trained_in_place():
    model = by_hand()
    before = weights(model)
    run = quick(model, binary())
    assert run.model is model
    assert not model.training
    assert not same(before, weights(model))


def test_metrics_are_means_over_the_examples(tmp_path):
    """With a learning rate of (nearly) nothing, the training means are those of the model itself."""
    model, x = by_hand(), nelbo.data.as_data(binary(150), validation=50)
    run = quick(model, x, learning_rate=1e-12, epochs=1, batch_size=32)  # 100 = 3 * 32 + 4: an unequal last batch
    with torch.no_grad():
        draws = torch.stack([nelbo.loss(model, x.train.take(100)).nelbo for _ in range(400)])
    spread = draws.var(0).sum().sqrt() / 100
    assert abs(run.history[0]["train_nelbo"] - draws.mean()) < 5 * spread
    assert run.history[0]["train_nelbo"] == pytest.approx(
        run.history[0]["train_reconstruction_error"] + run.history[0]["train_kl"]
    )


@pytest.mark.slow
def test_bfloat16_trains_about_as_well():
    x = nelbo.data.load("digits", binarize="threshold")
    settings = {"epochs": 15, "batch_size": 64, "learning_rate": 3e-3}
    full, half = (
        quick(small(event=x.event_shape, hidden=(64,)), x, precision=precision, **settings)
        for precision in ("float32", "bfloat16")
    )
    before, after = full.history[0]["validation_nelbo"], full.history[-1]["validation_nelbo"]
    assert after < before - 5
    assert abs(half.history[-1]["validation_nelbo"] - after) < 0.1 * (before - after)
    assert not same(weights(full.model), weights(half.model))
    assert half.model.network_precision == "float32"


def test_bfloat16_rounds_inside_the_networks_alone():
    """KL and log p(x|z) keep 24 bits: the terms of one step are those of the rounded networks, computed exactly."""
    model, x = by_hand(), binary(64)
    seen = []

    class Look(Objective):
        def terms(self, model, batch, progress):
            terms = ELBO().terms(model, batch, progress)
            h = encoded(model, batch.x, 4, "")
            seen.append((h.dtype, terms.loss.kl.dtype, model.encoder.layers[0](batch.x).dtype))
            qz = model.qz_family(h.double())
            exact = torch.distributions.kl_divergence(
                qz.base_dist, torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
            ).sum(-1)
            torch.testing.assert_close(terms.loss.kl, exact.float(), rtol=1e-4, atol=1e-6)
            return terms

    quick(model, x, objective=Look(), epochs=1, precision="bfloat16")
    assert all(entry == (torch.float32, torch.float32, torch.float32) for entry in seen)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
def test_compiled_networks_train_and_a_nan_in_them_is_named(tmp_path):
    x = binary(256)
    plain, compiled = quick(small(), x), quick(small(), x, compile=True)
    assert compiled.history[-1]["validation_nelbo"] == pytest.approx(plain.history[-1]["validation_nelbo"], abs=1e-3)
    with pytest.raises(nelbo.training.NonFiniteError, match=r"the output of (encoder|decoder)\.layers\.\d"):
        quick(small(), x, compile=True, learning_rate=1e30, epochs=5)


class Opaque(nn.Linear):
    def forward(self, x):
        torch._dynamo.graph_break()
        return super().forward(x)


@pytest.mark.slow
def test_a_step_that_cannot_be_compiled_as_one_trains_all_the_same():
    def made():
        torch.manual_seed(0)
        return VAE(nn.Sequential(Opaque(6, 4)), nn.Linear(2, 6), latent=2, likelihood=likelihoods.Bernoulli())

    x = binary(256)
    with pytest.warns(UserWarning, match="the step cannot be compiled as one"):
        compiled = quick(made(), x, compile=True)
    assert compiled.record["steps"].startswith("encoder and decoder compiled")
    assert compiled.history[-1]["train_nelbo"] == pytest.approx(quick(made(), x).history[-1]["train_nelbo"], abs=1e-3)


# --- what is refused --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Averaged(Objective):
    """An objective of a user who averaged over the batch."""

    def terms(self, model, batch, progress):
        terms = ELBO().terms(model, batch, progress)
        return Terms(terms.loss, terms.value.mean(), terms.surrogate.mean())


REFUSED = {
    "epochs": ({"epochs": 0}, ValueError, "epochs must be a positive integer, got 0"),
    "epochs_float": ({"epochs": 2.5}, ValueError, "epochs must be a positive integer, got 2.5"),
    "batch_size": ({"batch_size": -1}, ValueError, "batch_size must be a positive integer, got -1"),
    "learning_rate": ({"learning_rate": 0.0}, ValueError, "learning_rate must be a finite number > 0, got 0.0"),
    "learning_rate_nan": (
        {"learning_rate": float("nan")},
        ValueError,
        "learning_rate must be a finite number > 0, got nan",
    ),
    "weight_decay": ({"weight_decay": -0.1}, ValueError, "weight_decay must be a finite number >= 0, got -0.1"),
    "clip": ({"clip": 0}, ValueError, "clip must be a finite number > 0 or None, got 0"),
    "ema": ({"ema": 1.0}, ValueError, "ema must be a number between 0 and 1, such as 0.999, or None, got 1.0"),
    "patience": ({"patience": 0}, ValueError, "patience must be a positive integer or None, got 0"),
    "schedule": ({"schedule": "cosin"}, ValueError, "schedule must be one of 'constant', 'cosine', .*; got 'cosin'"),
    "warm_up": ({"learning_rate_warm_up": 4.0}, ValueError, "learning_rate_warm_up must be at most epochs=3, got 4"),
    "precision": (
        {"precision": "float16"},
        ValueError,
        "precision must be one of 'float32', 'bfloat16', 'tf32'; got 'float16'",
    ),
    "device": ({"device": "gpu"}, ValueError, "device must be 'auto' or one of .*'cpu', got 'gpu'"),
    "device_absent": ({"device": "cuda:99"}, ValueError, "is not on this machine; write device='auto'"),
    "seed": ({"seed": 1.5}, ValueError, "seed must be an integer, got 1.5"),
    "objective_class": ({"objective": ELBO}, TypeError, "objective must be a value such as nelbo.objectives.ELBO()"),
    "objective_mean": (
        {"objective": Averaged()},
        ValueError,
        r"must give value of shape \(2,\) for 2 examples, .*; got \(\)",
    ),
    "warm_up_of_beta": (
        {"objective": Beta(Linear(10))},
        ValueError,
        r"beta changes for 10 epochs, but the training ends after 3: it would end with beta=0\.3 instead of 1\. "
        r"Train for epochs=10 or more",
    ),
    "cycles_of_beta": (
        {"objective": Beta(Cyclical(12, cycles=4)), "epochs": 2},
        ValueError,
        r"changes for 12 epochs, but the training ends after 2: it would end before its last cycle\. Train for "
        r"epochs=12 or more, or shorten the schedule \(in a recipe, warm_up=2 or over=2\)",
    ),
    "optimizer": ({"optimizer": lambda p: "Adam"}, TypeError, "it returned a str. Write optimizer=lambda"),
    "last_batch_of_one": (
        {"objective": objectives.MMD(), "batch_size": 179},
        ValueError,
        "180 examples in batches of 179 leave a last batch of one: .* write batch_size=178",
    ),
    "batches_of_one": (
        {"objective": objectives.MMD(), "batch_size": 1},
        ValueError,
        "180 examples in batches of 1 leave a last batch of one: .* write batch_size=2",
    ),
    "pieces_of_one": (
        {"objective": objectives.MMD(), "batch_size": 88, "shards": 4},
        ValueError,
        "180 examples in batches of 88 leave a last piece of one: .* write batch_size=84",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(case, tmp_path):
    settings, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        quick(by_hand(), binary(), out=tmp_path / "run", **settings)
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("objective", [ELBO(), Beta(), objectives.FreeBits(), objectives.ImportanceWeighted(2)])
def test_an_autoencoder_has_no_elbo(objective):
    with pytest.raises(ValueError, match=r"infinite for an autoencoder.*objective=nelbo.objectives.Reconstruction\(\)"):
        quick(small("autoencoder"), binary(), objective=objective)


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"got a function; call it with the shape of one example"):
        quick(nelbo.recipes.vae, binary())
    with pytest.raises(TypeError, match=r"got (a )?Linear.*nelbo\.VAE\(encoder, decoder"):
        quick(nn.Linear(6, 2), binary())


def test_a_frozen_model_has_nothing_to_train():
    with pytest.raises(ValueError, match="nothing to train"):
        quick(by_hand().requires_grad_(False), binary())


def test_data_that_do_not_fit():
    with pytest.raises(ValueError, match=r"MLP was built for inputs of shape \(batch, 6\), got \(2, 5\)"):
        quick(by_hand(), binary(features=5))
    with pytest.raises(ValueError, match=r"in the training data, Bernoulli needs values in \{0, 1\}"):
        quick(by_hand(), nelbo.data.as_data(torch.rand(50, 6), validation=0))
    x = binary(100)
    held_out = torch.full((4, 6), 0.5)
    data = nelbo.data.Data(nelbo.data.InMemory(x), nelbo.data.InMemory(held_out), None, {})
    with pytest.raises(ValueError, match="in the validation data, Bernoulli needs"):
        quick(by_hand(), data)


def test_patience_needs_validation_data():
    with pytest.raises(ValueError, match=r"hold some out with validation=0\.1"):
        quick(small(), nelbo.data.as_data(binary(), validation=0), patience=2)


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    out = tmp_path / "run"
    quick(small(), binary(), out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(FileExistsError, match=r"holds a run already \(finished\).*nelbo fit --resume"):
        quick(small(), binary(), out=out)
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    (out / "run.json").unlink()
    with pytest.raises(FileExistsError, match=r"weights.safetensors of a run whose run.json is gone"):
        quick(small(), binary(), out=out)


def test_numbers_of_numpy_are_numbers(tmp_path):
    out = tmp_path / "run"
    quick(small(), binary(), out=out, epochs=np.int64(1), learning_rate=np.float32(1e-3), seed=np.int64(3))
    assert nelbo.load(out).record["training"]["learning_rate"] == pytest.approx(1e-3)


def test_checkpoints_may_be_as_rare_as_never(tmp_path):
    out = tmp_path / "run"
    x = binary()
    quick(small(), x, out=out, checkpoint_every=float("inf"))
    assert nelbo.resume(out, data=x, epochs=4, progress=False).history[-1]["epoch"] == 4


class PlainObjective(Objective):
    """Of a user, and no dataclass."""

    def __init__(self, weight: float) -> None:
        self.beta = Linear(2, end=weight)

    def terms(self, model, batch, progress):
        terms = ELBO().terms(model, batch, progress)
        value = terms.loss.reconstruction_error + self.beta.at(progress.epoch) * terms.loss.kl
        return Terms(terms.loss, value, value)


def test_an_objective_of_one_s_own(tmp_path):
    out, x = tmp_path / "run", binary()
    whole = quick(small(), x, objective=PlainObjective(2.0), epochs=4)
    quick(small(), x, objective=PlainObjective(2.0), out=out)
    with pytest.raises(ValueError, match=r"own .*PlainObjective.*; pass the same again: .*objective=Pl"):
        nelbo.resume(out, data=x, progress=False)
    run = nelbo.resume(out, data=x, objective=PlainObjective(2.0), epochs=4, progress=False)
    assert same(weights(run.model), weights(whole.model))
    with pytest.raises(ValueError, match="beta changes for 2 epochs, but the training ends after 1"):
        quick(small(), x, objective=PlainObjective(2.0), epochs=1)


def test_linear_vae_reaches_probabilistic_pca(tmp_path):
    """Lucas et al. 2019: the ELBO of a linear VAE has the maximum likelihood of probabilistic PCA as its optimum."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 2)) @ rng.normal(size=(2, 5)) + 0.5 * rng.normal(size=(500, 5))).astype("f4")
    x -= x.mean(0)
    expected = PCA(n_components=2).fit(x).score(x)
    data = nelbo.data.as_data(torch.from_numpy(x), validation=0)
    made = small("linear_vae", event=(5,), latent=2, hidden=())
    run = quick(made, data, epochs=120, batch_size=64, learning_rate=0.05, schedule="exponential")
    run.model.cpu()
    with torch.no_grad():
        draws = torch.stack([nelbo.loss(run.model, torch.from_numpy(x)).elbo.mean() for _ in range(50)])
        affine = run.model.decoder.layers[0]
        covariance = affine.weight @ affine.weight.T + run.model.px_family.mean_square * torch.eye(5)
        evidence = torch.distributions.MultivariateNormal(affine.bias, covariance).log_prob(torch.from_numpy(x)).mean()
    error = float(draws.std() / 50**0.5)
    assert expected - 0.01 < float(evidence) < expected + 1e-4  # no model of this kind has a higher likelihood
    assert float(evidence) - 0.01 - 5 * error < float(draws.mean()) < float(evidence) + 5 * error
