"""Healthy models of different kinds: nothing severe may be found in them."""

from torch import nn

from tests.planted import plain, sets
from tests.planted.cases import Subject, plant
from tests.planted.making import make, normalized, optimal_sigma, with_missing


@plant(None, "binary digits", "dense")
def dense_2():
    return make(sets.binary_digits(), "bernoulli", latent=2)


@plant(None, "binary digits", "dense")
def dense_16():
    return make(sets.binary_digits(), "bernoulli", latent=16)


@plant(None, "binary digits", "dense")
def dense_64():
    return make(sets.binary_digits(), "bernoulli", latent=64)


@plant(None, "binary digits", "conv")
def conv_2():
    return make(sets.binary_digits(), "bernoulli", latent=2, kind="conv")


@plant(None, "binary digits", "conv")
def conv_8():
    return make(sets.binary_digits(), "bernoulli", latent=8, kind="conv")


@plant(None, "binary digits", "dense")
def batch_norm_dense():
    return make(sets.binary_digits(), "bernoulli", latent=8, alter=normalized())


@plant(None, "gray digits", "conv")
def conv_normal():
    return optimal_sigma(sets.gray_digits(), start=0.2, latent=8, kind="conv")


@plant(None, "table", "dense")
def decoded_sigma():
    return make(sets.table(), "normal_decoded", latent=3, lr=1e-3, epochs=60)


@plant(None, "gray digits", "dense")
def continuous_bernoulli():
    return make(sets.gray_digits(), "continuous_bernoulli", latent=8)


@plant(None, "table", "dense")
def table_3():
    return optimal_sigma(sets.table(), latent=3)


@plant(None, "table", "dense")
def table_16():
    return optimal_sigma(sets.table(), latent=16)


@plant(None, "counts", "dense")
def counts_poisson():
    return make(sets.counts(), "poisson", latent=4, lr=1e-3)


@plant(None, "counts", "dense")
def counts_negative_binomial():
    data = sets.counts(dispersion=2.0)
    return make(data, "negative_binomial", latent=4, lr=1e-3)


@plant(None, "binary digits", "dense")
def beta_on_purpose():
    return make(sets.binary_digits(), "bernoulli", latent=8, beta=4.0, declared=4.0)


@plant(None, "table", "dense")
def small_beta_on_purpose():
    return optimal_sigma(sets.table(), latent=4, beta=0.3, declared=0.3)


@plant(None, "binary digits", "dense")
def dropout_and_batch_norm():
    x, held_out = sets.binary_digits()
    model = plain.PlainVAE(x.shape[1:], 8)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1))
    history = plain.train(model, x, held_out, plain.negative_elbo(plain.bernoulli), plain.bernoulli, epochs=40, lr=1e-3)
    model.train()  # left in training mode, as people do
    return Subject(model, x, held_out, "bernoulli", history)


@plant(None, "table with holes", "dense")
def told_of_holes():
    return with_missing(sets.table(), told=True, hidden=(64,))
