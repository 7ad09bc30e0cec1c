"""mean_terms(): numpy on the same draws."""

import math

import pytest
import torch

import nelbo
from nelbo.data import InMemory
from nelbo.evaluation import mean_terms
from nelbo.objectives import ELBO, MMD, Beta, ImportanceWeighted, Progress
from nelbo.randomness import example_keys
from tests.training.simple import binary, by_hand, small


def draws(model, dataset, objective, seed=0, progress=Progress()):
    """Each example's terms, (4, n): all at once, by the keys that mean_terms documents."""
    with torch.no_grad():
        batch = dataset.prepare(next(dataset.batches(len(dataset))))
        keys = example_keys(batch.x, seed=seed, purpose="validation")
        terms = objective.terms(model.eval(), batch.with_keys(keys), progress)
    return torch.stack([*terms.loss, terms.value]).double().numpy()


@pytest.mark.parametrize("objective", [ELBO(), Beta(4.0), ImportanceWeighted(3)])
@pytest.mark.parametrize("batch_size", [64, 100, 7])
def test_mean_and_standard_error_are_numpy_s(objective, batch_size):
    """101 = 64 + 37: an unequal last batch weighs what it holds."""
    model, dataset = by_hand(), InMemory(binary(103))
    got = mean_terms(model, dataset, objective.terms, batch_size=batch_size, seed=5)
    table = draws(model, dataset, objective, seed=5)
    assert table.shape == (4, 103)
    for name, row in zip(("reconstruction_error", "kl", "nelbo", "objective"), table, strict=True):
        assert got[name] == pytest.approx(row.mean(), rel=1e-6)  # rounded as its batch is
        assert got[f"{name}_standard_error"] == pytest.approx(row.std(ddof=1) / math.sqrt(103), rel=1e-6)


def test_repeated_calls_are_identical_and_the_seed_counts():
    data = nelbo.data.as_data(torch.rand(90, 1, 4, 4), binarize="dynamic", validation=0)
    model = small(event=(1, 4, 4))
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = mean_terms(model, data.train, ELBO().terms, batch_size=20)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    assert first == mean_terms(model, data.train, ELBO().terms, batch_size=20)
    assert first != mean_terms(model, data.train, ELBO().terms, batch_size=20, seed=1)


def test_the_model_s_mode_and_buffers_stay():
    model, dataset = small("sigma_vae").train(), InMemory(torch.randn(50, 6))
    sigma = model.px_family.mean_square.clone()
    mean_terms(model, dataset, ELBO().terms)
    assert model.training
    assert torch.equal(sigma, model.px_family.mean_square)
    mean_terms(model.eval(), dataset, ELBO().terms)
    assert not model.training


def test_no_example_is_left_alone():
    """Objectives that compare the examples of a batch: 41 = 2 * 20 + 1."""
    assert math.isfinite(mean_terms(by_hand(), InMemory(binary(41)), MMD().terms, batch_size=20)["objective"])
    assert math.isfinite(mean_terms(by_hand(), InMemory(binary(41)), ELBO().terms, batch_size=1)["objective"])


def test_an_autoencoder_and_a_single_example():
    got = mean_terms(small("autoencoder"), InMemory(binary(30)), nelbo.objectives.Reconstruction().terms)
    assert got["kl"] == got["nelbo"] == math.inf
    assert math.isnan(got["kl_standard_error"])
    assert got["objective"] == got["reconstruction_error"] > 0
    one = mean_terms(by_hand(), InMemory(binary(1)), ELBO().terms)
    assert math.isfinite(one["nelbo"])
    assert math.isnan(one["nelbo_standard_error"])  # one example says nothing about their spread
