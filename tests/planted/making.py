"""From data and options to a trained subject: what healthy and faulty cases share."""

import warnings

import torch
from torch import nn

import nelbo
from tests.missing.holes import with_holes
from tests.planted import plain
from tests.planted.cases import Subject

ERRORS = {
    "bernoulli": plain.bernoulli,
    "continuous_bernoulli": plain.continuous_bernoulli,
    "normal_decoded": plain.gaussian_decoded,
    "poisson": plain.poisson,
    "negative_binomial": plain.negative_binomial,
}


def error_of(likelihood):
    """The honest reconstruction error of a likelihood's name."""
    if likelihood.startswith("normal:"):
        return plain.gaussian(float(likelihood.partition(":")[2]))
    return ERRORS[likelihood]


def make(
    data, likelihood, *, latent=4, kind="dense", hidden=64, beta=1.0, declared=None, alter=None, loss=None, **training
):
    """A plain VAE, trained.

    beta weighs the KL in the loss; declared is what its user says about it. alter(model) changes the model before the
    training; loss(out, x, mu, logvar, epoch) takes the place of the negative ELBO.
    """
    x, held_out = data
    outputs = 2 if likelihood in ("normal_decoded", "negative_binomial") else 1
    model = plain.PlainVAE(x.shape[1:], latent, kind=kind, hidden=hidden, outputs=outputs)
    if "poisson" in likelihood or "negative" in likelihood:
        model.encoder.insert(0, plain.Log1p())
    if alter is not None:
        alter(model)
    error = error_of(likelihood)
    loss = plain.negative_elbo(error, beta=beta) if loss is None else loss
    history = plain.train(model, x, held_out, loss, error, **({"epochs": 40} | training))

    def at_the_end(recon_x, x, mu, logvar):
        return loss(recon_x, x, mu, logvar, len(history))

    return Subject(model, x, held_out, likelihood, history, beta=declared, differentiated=at_the_end)


def deepen(model):
    """One more layer in encoder and decoder."""
    width = model.mu.in_features
    model.encoder.extend([nn.Linear(width, width), nn.ReLU()])
    model.decoder.insert(2, nn.Linear(width, width)).insert(3, nn.ReLU())


def normalized(**options):
    """Alter a plain model: a BatchNorm behind the first layer of the encoder and behind one of the decoder."""

    def alter(model):
        if isinstance(model.encoder[0], nn.Flatten):
            width = model.mu.in_features
            model.encoder.insert(2, nn.BatchNorm1d(width, **options))
            model.decoder.insert(1, nn.BatchNorm1d(width, **options))
        else:
            model.encoder.insert(1, nn.BatchNorm2d(16, **options))
            model.decoder.insert(4, nn.BatchNorm2d(16, **options))

    return alter


def optimal_sigma(data, *, start=0.5, rounds=3, **options):
    """A normal likelihood whose sigma is the residuals': trained, measured, trained again with what was measured."""
    sigma = start
    for _ in range(rounds):
        subject = make(data, f"normal:{sigma}", **(options | {"epochs": 15}))
        with torch.no_grad():
            sigma = round(float((subject.model(data[0])[0] - data[0]).square().mean().sqrt()), 4)
    return make(data, f"normal:{sigma}", **options)


def in_pieces(data, likelihood, encoder, decoder, *, latent, shards, **settings):
    """The run of a VAE of one's own networks, whose batches of 64 were cut into pieces."""
    x, held_out = data
    vae = nelbo.VAE(encoder, decoder, latent=latent, likelihood=nelbo.likelihoods.named(likelihood))
    run = nelbo.fit(vae, x, validation=0, batch_size=64, shards=shards, progress=False, **settings)
    return Subject(run, x, held_out, likelihood, run.history)


class ZerosForHoles(nn.Module):
    """An encoder that takes NaN by putting 0 in its place, and says nothing of it to its network."""

    takes_missing = True

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.nan_to_num(nan=0.0))


def with_missing(data, *, told, hidden, latent=3):
    """A VAE of nelbo's, trained on a table of which a quarter is missing; told: the encoder sees the mask."""
    x, held_out = (with_holes(part, 0.25, seed=seed) for seed, part in enumerate(data))
    features = x.shape[1]
    encoder = nelbo.nn.MLP(features * (1 + told), 2 * latent, hidden=hidden)
    encoder = nelbo.nn.WithMask(encoder) if told else ZerosForHoles(encoder)
    decoder = nelbo.nn.MLP(latent, 2 * features, hidden=hidden)
    vae = nelbo.VAE(encoder, decoder, latent=latent, likelihood=nelbo.likelihoods.Normal("decoded"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "values are missing")  # fit says it too
        run = nelbo.fit(vae, x, validation=0, epochs=40, batch_size=64, progress=False)
    return Subject(run.model, x, held_out, "normal_decoded", run.history)
