"""The output bias that a training starts with."""

import pytest
import torch
from torch import nn

import nelbo
from nelbo.training.start import init_output_bias


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
