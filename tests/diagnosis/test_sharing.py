"""A diagnosis and whatever else evaluates a model on its data share one pass of the encoder, on equal draws."""

import pytest
import torch

import nelbo
from nelbo.data import Batch
from nelbo.evaluation import evaluate
from tests.cases import LATENT, binary, make_vae

# examples that pass once more: under watch for a NaN, for dead units, and with a graph of their outputs
WATCHED, GRADIENTS, OUTPUTS = 100, 200, 200


@pytest.fixture
def data():
    return nelbo.data.as_data(binary(400), validation=100)


@pytest.fixture
def model():
    return make_vae()


@pytest.fixture
def rows(model):
    """The number of rows that the encoder has seen."""
    seen = []
    handle = model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    yield seen
    handle.remove()


def test_examples_that_are_encoded_already_are_not_encoded_again(model, data, rows):
    for part in (data.train, data.validation):
        assert len(evaluate(model, part, n=200).embedding) == min(200, len(part))
    assert sum(rows) == 300
    nelbo.diagnose(model, data, examples=200, seconds=None)
    assert sum(rows) == 300 + WATCHED + GRADIENTS + OUTPUTS
    assert len(evaluate(model, data.train, n=250).embedding) == 250
    assert sum(rows) == 300 + WATCHED + GRADIENTS + OUTPUTS + 50


def test_new_weights_are_seen(model, data):
    only = ["unused-units"]
    before = nelbo.diagnose(model, data, examples=200, only=only)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.zero_()
    after = nelbo.diagnose(model, data, examples=200, only=only)
    assert after.to_dict() != before.to_dict()


def test_a_wrapped_model_whose_weights_are_hidden_is_encoded_anew(data):
    hidden = {"mu": torch.zeros(6, LATENT), "out": torch.zeros(LATENT, 6)}
    vae = nelbo.wrap(
        encode=lambda x: (x @ hidden["mu"], x @ hidden["mu"]),
        decode=lambda z: z @ hidden["out"],
        x=data.train.take(50),
        scale="logvar",
        output="logits",
        likelihood=nelbo.likelihoods.Bernoulli(),
    )
    before = evaluate(vae, data.train, n=50).embedding
    hidden["mu"] = torch.ones(6, LATENT)
    assert not torch.equal(evaluate(vae, data.train, n=50).embedding, before)


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), Batch, nelbo.data.InMemory])
def test_every_kind_of_examples_is_taken(model, kind):
    x = binary(120)
    found = nelbo.diagnose(model, kind(x), held_out=kind(x.flip(0)), only=["posterior-collapse", "overfit"])
    assert found.examples == 120
    assert "overfit" not in found.skipped


def test_a_recipe_s_model_declares_its_beta():
    model = nelbo.recipes.beta_vae((6,), beta=4.0, latent=LATENT, hidden=(4,))
    found = nelbo.diagnose(model, binary(100), loss=nelbo.objectives.Beta(4.0), only=["effective-beta"])
    assert not len(found)
    other = nelbo.diagnose(model, binary(100), loss=nelbo.objectives.Beta(2.0), only=["kl-doubled", "effective-beta"])
    assert len(other) == 1


def test_one_nan_among_many_rows_is_found(model):
    x = binary(5000)
    x[4321, 2] = torch.nan
    assert nelbo.diagnose(model, x, examples=50)[0].id == "not-finite"
