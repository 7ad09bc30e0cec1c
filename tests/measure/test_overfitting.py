"""The drop from training to held-out data, split in two."""

import pytest
import torch

from nelbo.estimate import Estimate
from nelbo.measure import elbo_terms, overfitting
from tests.linear_gaussian import LinearGaussian


def exact(value):
    return Estimate(value, torch.zeros_like(value), "exact")


def split(vae, model, train, held_out):
    elbos = [elbo_terms(vae, x, samples=200).elbo for x in (train, held_out)]
    return overfitting(*elbos, *(exact(model.evidence().log_prob(x)) for x in (train, held_out)))


def test_nothing_overfits_where_both_parts_are_alike():
    model = LinearGaussian.random()
    found = split(model.vae(full=False), model, model.sample(500, seed=1), model.sample(500, seed=2))
    assert found.verdict == "Neither encoder nor decoder overfits beyond two standard errors."
    assert float(found.total) == pytest.approx(float(found.decoder) + float(found.encoder))


def test_a_decoder_that_finds_held_out_data_less_probable():
    model = LinearGaussian.random()
    found = split(model.vae(), model, model.sample(500, seed=1), 1.3 * model.sample(500, seed=2))
    exact_drop = model.evidence().log_prob(model.sample(500, seed=1)).mean() - model.evidence().log_prob(
        1.3 * model.sample(500, seed=2)
    ).mean()  # fmt: skip
    assert float(found.decoder) == pytest.approx(float(exact_drop))
    assert abs(float(found.encoder)) < 4 * float(found.encoder.standard_error)  # the posterior is exact everywhere
    assert found.verdict.startswith("What overfits: the decoder by")


def test_an_encoder_that_is_worse_on_held_out_data():
    """The encoder knows only data near the origin: its means stop growing."""
    model = LinearGaussian.random()
    vae = model.vae()
    wrong = model.vae(error=0.3)
    x = model.sample(500, seed=1)
    train, held_out = elbo_terms(vae, x, samples=200).elbo, elbo_terms(wrong, x, samples=200).elbo
    log_p = exact(model.evidence().log_prob(x))
    found = overfitting(train, held_out, log_p, log_p)
    assert float(found.decoder) == 0
    assert "the encoder by" in found.verdict
    assert "decoder" not in found.verdict


def test_values_of_other_examples():
    a, b = exact(torch.zeros(5)), exact(torch.zeros(4))
    with pytest.raises(
        ValueError, match=r"the ELBO of the held-out examples has shape \(5,\) and their log p\(x\) \(4,\)"
    ):
        overfitting(a, a, a, b)
