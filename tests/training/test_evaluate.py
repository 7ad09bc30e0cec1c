"""evaluate(): numpy on the same draws."""

import math

import numpy as np
import pytest
import torch
from nelbo.training.evaluate import evaluate

import nelbo
from nelbo.data import InMemory
from nelbo.objectives import ELBO, MMD, Beta, BetaTC, ImportanceWeighted, Progress
from nelbo.randomness import derive, seed_noise
from tests.training.simple import binary, by_hand, small


def draws(model, dataset, objective, batch_size, seed=0, progress=Progress()):
    """Each example's terms, (4, n): the batches one by one, with the seeds that evaluate documents."""
    rows = []
    with torch.random.fork_rng([]), torch.no_grad():
        for i, raw in enumerate(dataset.batches(batch_size)):
            seed_noise(torch.device("cpu"), derive(seed, "validation", i))
            terms = objective(model.eval(), dataset.prepare(raw).x, progress)
            rows.append(torch.stack([*terms.loss, terms.value]).double().numpy())
    return np.concatenate(rows, axis=1)


@pytest.mark.parametrize("objective", [ELBO(), Beta(4.0), ImportanceWeighted(3), BetaTC()])
@pytest.mark.parametrize("batch_size", [64, 100, 7])
def test_mean_and_standard_error_are_numpy_s(objective, batch_size):
    """101 = 64 + 37: an unequal last batch weighs what it holds."""
    model, dataset = by_hand(), InMemory(binary(103))
    got = evaluate(model, dataset, objective, batch_size=batch_size, seed=5)
    table = draws(model, dataset, objective, batch_size, seed=5)
    assert table.shape == (4, 103)
    for name, row in zip(("reconstruction_error", "kl", "nelbo", "objective"), table, strict=True):
        assert got[name] == pytest.approx(row.mean(), rel=1e-12)
        assert got[f"{name}_standard_error"] == pytest.approx(row.std(ddof=1) / math.sqrt(103), rel=1e-9)


def test_repeated_calls_are_identical_and_the_seed_counts():
    data = nelbo.data.as_data(torch.rand(90, 1, 4, 4), binarize="dynamic", validation=0)
    model = small(event=(1, 4, 4)).model
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = evaluate(model, data.train, ELBO(), batch_size=20)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    assert first == evaluate(model, data.train, ELBO(), batch_size=20)
    assert first != evaluate(model, data.train, ELBO(), batch_size=20, seed=1)


def test_the_model_s_mode_and_buffers_stay():
    model, dataset = small("sigma_vae").model.train(), InMemory(torch.randn(50, 6))
    sigma = model.px_family.mean_square.clone()
    evaluate(model, dataset, ELBO())
    assert model.training
    assert torch.equal(sigma, model.px_family.mean_square)
    evaluate(model.eval(), dataset, ELBO())
    assert not model.training


def test_no_example_is_left_alone():
    """Objectives that compare the examples of a batch: 41 = 2 * 20 + 1."""
    assert math.isfinite(evaluate(by_hand(), InMemory(binary(41)), MMD(), batch_size=20)["objective"])
    assert math.isfinite(evaluate(by_hand(), InMemory(binary(41)), ELBO(), batch_size=1)["objective"])


def test_an_autoencoder_and_a_single_example():
    got = evaluate(small("autoencoder").model, InMemory(binary(30)), nelbo.objectives.Reconstruction())
    assert got["kl"] == got["nelbo"] == math.inf
    assert math.isnan(got["kl_standard_error"])
    assert got["objective"] == got["reconstruction_error"] > 0
    one = evaluate(by_hand(), InMemory(binary(1)), ELBO())
    assert math.isfinite(one["nelbo"])
    assert math.isnan(one["nelbo_standard_error"])  # one example says nothing about their spread
