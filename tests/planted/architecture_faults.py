"""Faults of the networks: activations where none belongs, two heads that are one, outputs that are not free."""

import torch
from torch import nn

from tests.planted import sets
from tests.planted.cases import plant
from tests.planted.making import make


def digits(**options):
    return make(sets.binary_digits(), "bernoulli", **options)


def tabular(**options):
    return make(sets.table(), "normal:0.5", **options)


def on_head(head, activation):
    """An activation behind one of the encoder's heads."""

    def alter(model):
        setattr(model, head, nn.Sequential(getattr(model, head), activation))

    return alter


def on_decoder(activation):
    """An activation behind the decoder."""

    def alter(model):
        model.decoder.append(activation)

    return alter


class Clamp(nn.Module):
    """Outputs held between two numbers, as against infinities."""

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, values):
        return values.clamp(self.low, self.high)


class Masked(nn.Module):
    """The last outputs are lost, as by a loop that ends too early: they are 0 whatever z is."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def forward(self, values):
        flat = values.flatten(1)
        lost = torch.zeros_like(flat[:, int(self.kept * flat.shape[1]) :])
        return torch.cat([flat[:, : flat.shape[1] - lost.shape[1]], lost], 1).reshape(values.shape)


@plant("encoder-activation", "binary digits", "dense")
def relu_on_the_mean():
    return digits(alter=on_head("mu", nn.ReLU()))


@plant("encoder-activation", "table", "dense")
def tanh_on_the_mean():
    return tabular(alter=on_head("mu", nn.Tanh()))


@plant("encoder-activation", "binary digits", "conv")
def softplus_on_the_mean():
    return digits(alter=on_head("mu", nn.Softplus()), kind="conv")


@plant("encoder-activation", "table", "dense")
def relu_on_the_log_variance():
    return tabular(alter=on_head("logvar", nn.ReLU()))


@plant("encoder-activation", "binary digits", "dense")
def tanh_on_the_log_variance():
    return digits(alter=on_head("logvar", nn.Tanh()))


@plant("decoder-activation", "binary digits", "dense")
def sigmoid_before_logits():
    return digits(alter=on_decoder(nn.Sigmoid()))


@plant("decoder-activation", "binary digits", "conv")
def sigmoid_before_logits_conv():
    return digits(alter=on_decoder(nn.Sigmoid()), kind="conv")


@plant("decoder-activation", "binary digits", "conv")
def relu_before_logits():
    return digits(alter=on_decoder(nn.ReLU()), kind="conv")


@plant("decoder-activation", "binary digits", "dense")
def clamped_logits():
    return digits(alter=on_decoder(Clamp(-1.0, 1.0)))


@plant("decoder-activation", "table", "dense")
def tanh_before_standardized_columns():
    return tabular(alter=on_decoder(nn.Tanh()))


@plant("decoder-activation", "counts", "dense")
def softplus_on_log_rates():
    return make(sets.counts(), "poisson", lr=1e-3, alter=on_decoder(nn.Softplus()))


def one_head(model):
    """The log-variance comes out of the layer of the means: a slip of copy and paste."""
    model.logvar = model.mu


@plant("shared-heads", "binary digits", "dense")
def one_head_dense():
    return digits(alter=one_head)


@plant("shared-heads", "binary digits", "conv")
def one_head_conv():
    return digits(alter=one_head, kind="conv")


@plant("shared-heads", "table", "dense")
def one_head_table():
    return tabular(alter=one_head)


class Twice(nn.Module):
    """The same numbers as mean and as log sigma."""

    def forward(self, values):
        return values.repeat(1, 2)


@plant("shared-heads", "table", "dense")
def one_head_of_the_decoder():
    def alter(model):
        model.decoder[2] = nn.Linear(model.decoder[2].in_features, 12)
        model.decoder[3] = Twice()

    return make(sets.table(), "normal_decoded", lr=1e-3, alter=alter)


@plant("constant-outputs", "binary digits", "dense")
def lost_outputs_dense():
    return digits(alter=on_decoder(Masked(0.6)))


@plant("constant-outputs", "binary digits", "conv")
def lost_outputs_conv():
    return digits(alter=on_decoder(Masked(0.6)), kind="conv")


@plant("constant-outputs", "table", "dense")
def lost_outputs_table():
    return tabular(alter=on_decoder(Masked(0.6)))
