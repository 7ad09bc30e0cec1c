"""Faults of the training."""

import torch
from torch import nn

from tests.planted import plain, sets
from tests.planted.cases import plant
from tests.planted.making import in_pieces, make, normalized


def digits(**options):
    return make(sets.binary_digits(), "bernoulli", **options)


def few(data, n):
    return data[0][:n], data[1]


@plant("not-converged", "binary digits", "dense")
def stopped_dense():
    return digits(epochs=10, lr=2e-4)


@plant("not-converged", "binary digits", "conv")
def stopped_conv():
    return digits(epochs=10, lr=2e-4, kind="conv")


@plant("not-converged", "table", "dense")
def stopped_table():
    return make(sets.table(), "normal:0.6", epochs=12, lr=1e-4)


@plant("overfit", "binary digits", "dense")
def overfit_dense():
    return make(few(sets.binary_digits(), 100), "bernoulli", latent=8, hidden=256, epochs=400)


@plant("overfit", "binary digits", "conv")
def overfit_conv():
    return make(few(sets.binary_digits(), 100), "bernoulli", latent=8, kind="conv", hidden=256, epochs=400)


@plant("overfit", "table", "dense")
def overfit_table():
    return make(few(sets.table(), 80), "normal:0.3", latent=4, hidden=256, epochs=500)


def rising(last):
    """A warm-up of the KL over that many epochs."""
    return lambda epoch: min(1.0, epoch / last)


def warming(subject, last):
    """The history says which beta each epoch had, as careful people log it."""
    for epoch, row in enumerate(subject.history):
        row["beta"] = rising(last)(epoch + 1)
    return subject


@plant("warm-up-unfinished", "binary digits", "dense")
def long_warm_up_dense():
    return warming(digits(beta=rising(400)), 400)


@plant("warm-up-unfinished", "binary digits", "conv")
def long_warm_up_conv():
    return warming(digits(beta=rising(400), kind="conv"), 400)


@plant("warm-up-unfinished", "table", "dense")
def long_warm_up_table():
    return warming(make(sets.table(), "normal:0.4", beta=rising(200)), 200)


# no fault: what people take for one, and shall be told is none


@plant("kl-rises-early", "binary digits", "dense")
def rising_kl():
    return digits(epochs=60, lr=1e-3)


@plant("kl-rises-early", "binary digits", "conv")
def rising_kl_conv():
    return digits(epochs=60, lr=1e-3, latent=8, kind="conv")


@plant("kl-rises-early", "counts", "dense")
def rising_kl_counts():
    return make(sets.counts(), "poisson", epochs=60, lr=1e-3)


@plant("validation-beta", "binary digits", "dense")
def validation_dense():
    return digits(validate=plain.negative_elbo(plain.bernoulli, beta=0.0))


@plant("validation-beta", "binary digits", "conv")
def validation_conv():
    return digits(validate=plain.negative_elbo(plain.bernoulli, beta=4.0), kind="conv")


@plant("validation-beta", "table", "dense")
def validation_table():
    error = plain.gaussian(0.4)
    return make(sets.table(), "normal:0.4", validate=plain.negative_elbo(error, beta=0.1))


def leaky(model):
    """Units that cannot die, so that a high learning rate shows in the loss."""
    for network in (model.encoder, model.decoder):
        for position, layer in enumerate(network):
            if isinstance(layer, nn.ReLU):
                network[position] = nn.LeakyReLU(0.1)


@plant("learning-rate", "gray digits", "conv")
def fast_conv():
    return make(sets.gray_digits(), "normal:0.15", lr=0.03, batch=32, kind="conv", alter=leaky)


@plant("learning-rate", "table", "dense")
def fast_table():
    return make(sets.table(), "normal:0.3", lr=0.06, batch=32, alter=leaky)


def spike(epoch):
    """A slip in the schedule: for one epoch the learning rate is 100 times what it should be."""
    return 100.0 if epoch == 20 else 1.0


@plant("gradient-explosion", "binary digits", "dense")
def spike_dense():
    return digits(schedule=spike)


@plant("gradient-explosion", "binary digits", "conv")
def spike_conv():
    return digits(schedule=spike, kind="conv")


@plant("gradient-explosion", "table", "dense")
def spike_table():
    return make(sets.table(), "normal:0.4", schedule=spike)


def dying(layer):
    """Biases so far below zero that most of the layer's ReLUs never open."""

    def alter(model):
        bias = getattr(model, layer)[{"encoder": -2, "decoder": 0}[layer]].bias
        with torch.no_grad():
            bias[: int(0.95 * len(bias))] = -20.0

    return alter


@plant("dead-units", "binary digits", "dense")
def dead_dense():
    return digits(alter=dying("encoder"))


@plant("dead-units", "binary digits", "conv")
def dead_conv():
    return digits(alter=dying("decoder"), kind="conv")


@plant("dead-units", "table", "dense")
def dead_table():
    return make(sets.table(), "normal:0.4", alter=dying("decoder"))


@plant("not-finite", "table with a NaN", "dense")
def nan_in_the_data():
    subject = make(sets.table(), "normal:0.4", epochs=20)
    subject.x = subject.x.clone()
    subject.x[250, 3] = torch.nan
    return subject


@plant("not-finite", "binary digits", "conv")
def overflow_conv():
    """A weight of the decoder overflowed when the checkpoint was written in half precision."""
    subject = digits(epochs=5, kind="conv")
    with torch.no_grad():
        weight = subject.model.decoder[0].weight
        weight[3, 1] = (weight[3, 1] * 1e7).half().float()
    return subject


@plant("batch-norm-pieces", "binary digits", "conv")
def batch_norm_in_pieces():
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 16),
    )  # fmt: skip
    decoder = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))
    return in_pieces(sets.binary_digits(), "bernoulli", encoder, decoder, latent=8, shards=4, epochs=40)


@plant("batch-norm-pieces", "counts", "deep")
def batch_norm_in_pieces_counts():
    encoder = nn.Sequential(
        plain.Log1p(), nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)
    )
    decoder = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20))
    settings = {"epochs": 40, "schedule": "cosine"}
    return in_pieces(sets.counts(), "poisson", encoder, decoder, latent=4, shards=2, **settings)


@plant("batch-norm-statistics", "binary digits", "dense")
def statistics_that_never_adapt():
    return digits(alter=normalized(momentum=0.0))


@plant("batch-norm-statistics", "binary digits", "conv")
def statistics_that_adapt_too_slowly():
    return digits(alter=normalized(momentum=1e-4), kind="conv")


@plant("batch-norm-statistics", "binary digits", "dense")
def statistics_that_are_not_kept():
    return digits(alter=normalized(track_running_stats=False))


@plant("batch-norm-statistics", "table", "dense")
def weights_loaded_without_buffers():
    subject = make(sets.table(), "normal:0.5", alter=normalized())
    for layer in subject.model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
    return subject
