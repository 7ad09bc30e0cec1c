"""Faults of the latent space, one in each model, by the bugs that people write."""

import torch
from torch import nn

from tests.planted import plain, sets
from tests.planted.cases import plant
from tests.planted.making import error_of, make, optimal_sigma

SIGMA = 0.4  # of the table's residuals


def cut_gradient(model):
    """A draw without gradient, as of Normal(mu, sigma).sample() in place of rsample()."""
    draw = model.draw
    model.draw = lambda mu, logvar: draw(mu, logvar).detach()


def table_normal(**options):
    return make(sets.table(), f"normal:{SIGMA}", **options)


def digits(**options):
    return make(sets.binary_digits(), "bernoulli", **options)


@plant("posterior-collapse", "binary digits", "dense")
def collapse_dense():
    return digits(alter=cut_gradient)


@plant("posterior-collapse", "binary digits", "conv")
def collapse_conv():
    return digits(alter=cut_gradient, kind="conv")


@plant("posterior-collapse", "table", "dense")
def collapse_table():
    return make(sets.table(), "normal:1.0", alter=cut_gradient)


def with_kl_target(likelihood, target=6.0):
    """|KL - target| in place of the KL: it can be met without saying anything."""
    error = error_of(likelihood)

    def loss(out, x, mu, logvar, epoch=None):
        return error(out, x).mean() + (plain.kl_terms(mu, logvar).sum(1).mean() - target).abs()

    return loss


def silent_encoder(model):
    """The encoder's last layers see a constant, as after a ReLU that died for all inputs; only their biases learn."""
    cut_gradient(model)
    for head in (model.mu, model.logvar):
        nn.init.zeros_(head.weight)
        head.weight.requires_grad_(False)


@plant("kl-without-information", "binary digits", "dense")
def kl_target_dense():
    return digits(alter=silent_encoder, loss=with_kl_target("bernoulli"))


@plant("kl-without-information", "binary digits", "conv")
def kl_target_conv():
    return digits(alter=silent_encoder, loss=with_kl_target("bernoulli"), kind="conv")


@plant("kl-without-information", "table", "dense")
def kl_target_table():
    return make(sets.table(), "normal:1.0", alter=silent_encoder, loss=with_kl_target("normal:1.0"))


def lose_first_layer(subject):
    """The decoder's first layer is lost on the way, as by load_state_dict(strict=False)."""
    nn.init.zeros_(subject.model.decoder[0].weight)
    return subject


@plant("decoder-ignores-z", "binary digits", "dense")
def deaf_dense():
    return lose_first_layer(digits())


@plant("decoder-ignores-z", "binary digits", "conv")
def deaf_conv():
    return lose_first_layer(digits(kind="conv"))


@plant("decoder-ignores-z", "table", "dense")
def deaf_table():
    return lose_first_layer(table_normal())


def first_units(n):
    """The decoder reads the first n units of z only: a slice that was left behind."""

    def alter(model):
        class Slice(nn.Module):
            def forward(self, z):
                return torch.cat([z[:, :n], torch.zeros_like(z[:, n:])], dim=1)

        model.decoder.insert(0, Slice())

    return alter


@plant("unused-units", "binary digits", "dense")
def slice_dense():
    return digits(alter=first_units(1), latent=8)


@plant("unused-units", "binary digits", "conv")
def slice_conv():
    return digits(alter=first_units(1), latent=8, kind="conv")


@plant("unused-units", "table", "dense")
def slice_table():
    return optimal_sigma(sets.table(), alter=first_units(1), latent=4)


@plant("over-regularized", "gray digits", "dense")
def heavy_kl_dense():
    return make(sets.gray_digits(), "normal:0.2", beta=4.0)


@plant("over-regularized", "binary digits", "conv")
def heavy_kl_conv():
    return digits(beta=2.8, kind="conv", epochs=60)


@plant("over-regularized", "table", "dense")
def heavy_kl_table():
    return table_normal(beta=6.0)


@plant("under-regularized", "binary digits", "dense")
def light_kl_dense():
    return digits(beta=1 / 64)


@plant("under-regularized", "binary digits", "conv")
def light_kl_conv():
    return digits(beta=1 / 20, kind="conv")


@plant("under-regularized", "table", "dense")
def light_kl_table():
    return optimal_sigma(sets.table(), beta=1 / 12)


def another_prior(likelihood, center=2.0):
    """The KL to N(center, 1), while samples are drawn from N(0, 1)."""
    error = error_of(likelihood)

    def loss(out, x, mu, logvar, epoch=None):
        return (error(out, x) + plain.kl_terms(mu - center, logvar).sum(1)).mean()

    return loss


@plant("aggregate-posterior", "binary digits", "dense")
def another_prior_dense():
    return digits(loss=another_prior("bernoulli"))


@plant("aggregate-posterior", "binary digits", "conv")
def another_prior_conv():
    return digits(loss=another_prior("bernoulli"), kind="conv")


@plant("aggregate-posterior", "table", "dense")
def another_prior_table():
    return table_normal(loss=another_prior(f"normal:{SIGMA}"))


@plant("holes", "clusters", "dense")
def clusters_2():
    return optimal_sigma(sets.clusters(), latent=2)


@plant("holes", "prototypes", "conv")
def prototypes_conv():
    return make(sets.prototypes(), "bernoulli", latent=2, kind="conv")


def clamped(low):
    """A clamp of the log-variance that the data would go beyond."""

    def alter(model):
        encode = model.encode

        def clamping(x):
            mu, logvar = encode(x)
            return mu, logvar.clamp(min=low)

        model.encode = clamping

    return alter


@plant("variance-clamp", "binary digits", "dense")
def clamp_dense():
    return digits(alter=clamped(-1.0), latent=2)


@plant("variance-clamp", "binary digits", "conv")
def clamp_conv():
    return digits(alter=clamped(-1.0), latent=2, kind="conv")


@plant("variance-clamp", "table", "dense")
def clamp_table():
    return table_normal(alter=clamped(-1.0), latent=3)
