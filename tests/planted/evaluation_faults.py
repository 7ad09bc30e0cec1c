"""Healthy models that are judged wrongly: numbers that are not what they are called, data that are not held out."""

import math

import torch
from sklearn.datasets import load_digits

from tests.planted import sets
from tests.planted.cases import plant
from tests.planted.making import make
from tests.planted.plain import bernoulli, gaussian, kl_terms


def log_weights(subject, error, samples):
    """(samples, n) log p(x, z) - log q(z|x) of the held-out examples."""
    model, x = subject.model, subject.held_out
    model.eval()
    with torch.no_grad():
        mu, logvar = model.encode(x)
        rows = []
        for _ in range(samples):
            z = model.draw(mu, logvar)
            log_q = -0.5 * ((z - mu) ** 2 / logvar.exp() + logvar)
            rows.append(-error(model.decode(z), x) + (-0.5 * z**2 - log_q).sum(1))
    return torch.stack(rows)


def bound(log_w):
    return float((math.log(len(log_w)) - torch.logsumexp(log_w, 0)).mean())


def surrogate(log_w):
    return float(-(torch.softmax(log_w, 0) * log_w).sum(0).mean())


def nelbo(subject, error):
    with torch.no_grad():
        out, mu, logvar = subject.model(subject.held_out)
        return float((error(out, subject.held_out) + kl_terms(mu, logvar).sum(1)).mean())


def digits(kind="dense", latent=8):
    return make(sets.binary_digits(), "bernoulli", latent=latent, kind=kind)


def tabular():
    return make(sets.table(), "normal:0.4", latent=4)


@plant("surrogate-for-bound", "binary digits", "dense")
def weighted_sum_reported():
    subject = digits()
    subject.reported = {"nll": surrogate(log_weights(subject, bernoulli, 50)), "samples": 50}
    return subject


@plant("surrogate-for-bound", "table", "dense")
def weighted_sum_reported_table():
    subject = tabular()
    subject.reported = {"nll": surrogate(log_weights(subject, gaussian(0.4), 20)), "samples": 20}
    return subject


@plant("surrogate-for-bound", "binary digits", "conv")
def weighted_sum_reported_conv():
    subject = digits("conv")
    subject.reported = {"nll": surrogate(log_weights(subject, bernoulli, 20)), "samples": 20}
    return subject


@plant("too-few-samples", "binary digits", "dense")
def one_sample():
    subject = digits(latent=16)
    subject.reported = {"nll": bound(log_weights(subject, bernoulli, 1)), "samples": 1}
    return subject


@plant("too-few-samples", "binary digits", "conv")
def one_sample_conv():
    subject = digits("conv")
    subject.reported = {"nll": bound(log_weights(subject, bernoulli, 1)), "samples": 1}
    return subject


@plant("too-few-samples", "thresholded digits", "dense")
def one_sample_thresholded():
    subject = make(sets.thresholded_digits(), "bernoulli", latent=16)
    subject.reported = {"nll": bound(log_weights(subject, bernoulli, 1)), "samples": 1}
    return subject


@plant("bits-for-nats", "binary digits", "dense")
def bits_reported():
    subject = digits()
    subject.reported = {"nelbo": nelbo(subject, bernoulli) / math.log(2)}
    return subject


@plant("bits-for-nats", "table", "dense")
def mean_over_columns_reported():
    subject = tabular()
    subject.reported = {"nelbo": nelbo(subject, gaussian(0.4)) / 12}
    return subject


@plant("bits-for-nats", "binary digits", "conv")
def bits_per_pixel_reported():
    subject = digits("conv")
    subject.reported = {"nelbo": nelbo(subject, bernoulli) / (64 * math.log(2))}
    return subject


@plant("train-and-test-mixed", "binary digits", "dense")
def tested_on_training_examples():
    subject = digits()
    subject.held_out = torch.cat([subject.held_out[:150], subject.x[:150]])
    return subject


@plant("train-and-test-mixed", "table", "dense")
def tested_on_training_rows():
    subject = tabular()
    subject.held_out = torch.cat([subject.held_out[:250], subject.x[:50]])
    return subject


@plant("train-and-test-mixed", "binary digits", "conv")
def test_set_is_the_training_set():
    subject = digits("conv")
    subject.held_out = subject.x[:300]
    return subject


@plant("another-scale", "table", "dense")
def held_out_in_its_own_units():
    subject = tabular()
    subject.held_out = 3.0 * subject.held_out + 10.0
    return subject


@plant("another-scale", "gray digits", "conv")
def held_out_from_minus_1_to_1():
    subject = make(sets.gray_digits(), "continuous_bernoulli", kind="conv", latent=8)
    subject.held_out = 0.5 * subject.held_out + 0.5
    return subject


def held_out_gray():
    """The held-out digits before they were binarized."""
    x = torch.as_tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    return x[order[:300]]


@plant("another-binarization", "binary digits", "dense")
def thresholded_for_the_test():
    subject = digits()
    subject.held_out = (held_out_gray() > 0.5).float()
    return subject


@plant("another-binarization", "binary digits", "conv")
def thresholded_for_the_test_conv():
    subject = digits("conv")
    subject.held_out = (held_out_gray() > 0.5).float()
    return subject


@plant("another-binarization", "binary digits", "dense")
def gray_for_the_test():
    subject = digits()
    subject.held_out = held_out_gray()
    return subject


@plant("another-binarization", "blobs", "conv")
def thresholded_blobs():
    subject = make(sets.blobs(), "bernoulli", latent=4, kind="conv")
    subject.held_out = (sets.gray_blobs()[1] > 0.5).float()
    return subject
