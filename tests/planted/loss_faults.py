"""Faults of the loss and of the draw, as people write them."""

import torch
from torch.nn import functional as F

from tests.planted import plain, sets
from tests.planted.cases import Subject, plant
from tests.planted.plain import PlainVAE, kl_terms


def trained(data, loss, error, likelihood, *, kind="dense", latent=4, model=None, epochs=8, **extra):
    """A model trained on this loss, and what its user would hand over."""
    x, held_out = data
    model = model if model is not None else PlainVAE(x.shape[1:], latent, kind=kind)
    history = plain.train(
        model, x, held_out, lambda out, x, mu, logvar, epoch: loss(out, x, mu, logvar), error, epochs=epochs
    )
    model.eval()
    return Subject(model, x, held_out, likelihood, history=history, loss=loss, differentiated=loss, extra=extra)


def binary(loss, **settings):
    return trained(sets.binary_digits(), loss, plain.bernoulli, "bernoulli", **settings)


def tabular(loss, **settings):
    return trained(sets.table(), loss, plain.gaussian(0.5), "normal:0.5", **settings)


def counted(loss, **settings):
    return trained(sets.counts(), loss, plain.poisson, "poisson", **settings)


def half_squares(out, x):
    """-log N(x; out, 1/4), without its constant."""
    return (2 * (x - out) ** 2).flatten(1).sum(1)


@plant("reconstruction-mean", "binary digits", "dense")
def bce_averaged_over_pixels():
    def loss(recon_x, x, mu, logvar):
        return F.binary_cross_entropy_with_logits(recon_x, x) + kl_terms(mu, logvar).sum(1).mean()

    return binary(loss)


@plant("reconstruction-mean", "binary digits", "conv")
def bce_averaged_over_pixels_conv():
    def loss(recon_x, x, mu, logvar):
        return F.binary_cross_entropy_with_logits(recon_x, x) + kl_terms(mu, logvar).sum() / len(x)

    return binary(loss, kind="conv")


@plant("reconstruction-mean", "counts", "dense")
def poisson_averaged_over_columns():
    def loss(recon_x, x, mu, logvar):
        return F.poisson_nll_loss(recon_x, x, full=False) + kl_terms(mu, logvar).sum(1).mean()

    return counted(loss)


@plant("kl-mean", "binary digits", "dense")
def kl_averaged_over_latents():
    def loss(recon_x, x, mu, logvar):
        return plain.bernoulli(recon_x, x).mean() + kl_terms(mu, logvar).mean()

    return binary(loss, latent=8)


@plant("kl-mean", "binary digits", "conv")
def kl_divided_by_pixels():
    def loss(recon_x, x, mu, logvar):
        return plain.bernoulli(recon_x, x).mean() + kl_terms(mu, logvar).sum() / (len(x) * x[0].numel())

    return binary(loss, kind="conv")


@plant("kl-sign", "binary digits", "dense")
def kl_subtracted():
    def loss(recon_x, x, mu, logvar):
        # the weight keeps the training from running off to infinity at once
        return plain.bernoulli(recon_x, x).mean() - 0.02 * kl_terms(mu, logvar).sum(1).mean()

    return binary(loss, epochs=4)


@plant("kl-sign", "table", "dense")
def kl_subtracted_table():
    def loss(recon_x, x, mu, logvar):
        return half_squares(recon_x, x).mean() - 0.02 * kl_terms(mu, logvar).sum(1).mean()

    return tabular(loss, epochs=4)


@plant("kl-doubled", "binary digits", "dense")
def half_forgotten():
    def loss(recon_x, x, mu, logvar):
        kl = -(1 + logvar - mu.pow(2) - logvar.exp()).sum()
        return (F.binary_cross_entropy_with_logits(recon_x, x, reduction="sum") + kl) / len(x)

    return binary(loss)


@plant("kl-doubled", "table", "dense")
def half_forgotten_table():
    def loss(recon_x, x, mu, logvar):
        return half_squares(recon_x, x).mean() + 2 * kl_terms(mu, logvar).sum(1).mean()

    return tabular(loss)


@plant("kl-of-variance", "binary digits", "dense")
def log_variance_taken_for_log_sigma():
    def loss(recon_x, x, mu, logvar):
        kl = 0.5 * (mu**2 + torch.exp(2 * logvar) - 1 - 2 * logvar).sum(1)
        return (plain.bernoulli(recon_x, x) + kl).mean()

    return binary(loss)


@plant("kl-of-variance", "table", "dense")
def log_variance_taken_for_log_sigma_table():
    def loss(recon_x, x, mu, logvar):
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(mu, logvar.exp()), torch.distributions.Normal(0.0, 1.0)
        )
        return (half_squares(recon_x, x) + kl.sum(1)).mean()

    return tabular(loss)


@plant("kl-formula", "binary digits", "dense")
def sign_inside_the_brackets():
    def loss(recon_x, x, mu, logvar):
        kl = -0.5 * (1 + logvar + mu.pow(2) - logvar.exp()).sum(1)
        return (plain.bernoulli(recon_x, x) + 0.1 * kl).mean()

    return binary(loss, epochs=3)


@plant("effective-beta", "binary digits", "conv")
def weight_left_in_the_code():
    def loss(recon_x, x, mu, logvar):
        return (plain.bernoulli(recon_x, x) + 5.3 * kl_terms(mu, logvar).sum(1)).mean()

    return binary(loss, kind="conv")


@plant("effective-beta", "table", "dense")
def kl_forgotten():
    def loss(recon_x, x, mu, logvar):
        return half_squares(recon_x, x).mean()

    return tabular(loss)


@plant("effective-beta", "counts", "dense")
def summed_and_averaged_over_the_batch():
    def loss(recon_x, x, mu, logvar):
        return plain.poisson(recon_x, x).mean() + kl_terms(mu, logvar).sum()

    return counted(loss)


@plant("loss-likelihood", "binary digits", "dense")
def squared_error_called_bernoulli():
    def loss(recon_x, x, mu, logvar):
        # sigma = 0.3, about what is left of a binary pixel
        squares = (torch.sigmoid(recon_x) - x).pow(2).flatten(1).sum(1) / (2 * 0.3**2)
        return (squares + kl_terms(mu, logvar).sum(1)).mean() * 0.3**2

    return binary(loss)


class Deterministic(PlainVAE):
    def draw(self, mu, logvar):
        return mu


class WithVariance(PlainVAE):
    def draw(self, mu, logvar):
        return mu + logvar.exp() * torch.randn_like(mu)


def honest(error):
    def loss(recon_x, x, mu, logvar):
        return (error(recon_x, x) + kl_terms(mu, logvar).sum(1)).mean()

    return loss


@plant("no-sampling", "binary digits", "dense")
def decoder_sees_the_mean():
    return binary(honest(plain.bernoulli), model=Deterministic((1, 8, 8)), scale="logvar")


@plant("no-sampling", "binary digits", "conv")
def decoder_sees_the_mean_conv():
    return binary(honest(plain.bernoulli), model=Deterministic((1, 8, 8), kind="conv"), scale="logvar")


@plant("no-sampling", "table", "dense")
def decoder_sees_the_mean_table():
    return tabular(honest(plain.gaussian(0.5)), model=Deterministic((12,)), scale="logvar")


@plant("sample-with-variance", "binary digits", "dense")
def drawn_with_the_variance():
    return binary(honest(plain.bernoulli), model=WithVariance((1, 8, 8)), scale="logvar")


@plant("sample-with-variance", "table", "dense")
def drawn_with_the_variance_table():
    return tabular(honest(plain.gaussian(0.5)), model=WithVariance((12,)), scale="logvar")


@plant("sample-with-variance", "binary digits", "conv")
def drawn_with_the_variance_conv():
    return binary(honest(plain.bernoulli), model=WithVariance((1, 8, 8), kind="conv"), scale="logvar")


@plant("kl-mean", "table", "dense")
def kl_averaged_over_latents_table():
    def loss(recon_x, x, mu, logvar):
        return half_squares(recon_x, x).mean() + kl_terms(mu, logvar).mean()

    return tabular(loss, latent=8)


@plant("kl-sign", "binary digits", "conv")
def kl_subtracted_conv():
    def loss(recon_x, x, mu, logvar):
        return plain.bernoulli(recon_x, x).mean() - 0.02 * kl_terms(mu, logvar).sum(1).mean()

    return binary(loss, kind="conv", epochs=3)


@plant("kl-doubled", "binary digits", "conv")
def half_forgotten_conv():
    def loss(recon_x, x, mu, logvar):
        return plain.bernoulli(recon_x, x).mean() + 2 * kl_terms(mu, logvar).sum(1).mean()

    return binary(loss, kind="conv")


@plant("kl-of-variance", "binary digits", "conv")
def log_variance_taken_for_log_sigma_conv():
    def loss(recon_x, x, mu, logvar):
        kl = 0.5 * (mu**2 + torch.exp(2 * logvar) - 1 - 2 * logvar).sum(1)
        return (plain.bernoulli(recon_x, x) + kl).mean()

    return binary(loss, kind="conv")


@plant("kl-formula", "table", "dense")
def turned_around():
    def loss(recon_x, x, mu, logvar):
        kl = 0.5 * (logvar + (1 + mu**2) * torch.exp(-logvar) - 1).sum(1)
        return (half_squares(recon_x, x) + kl).mean()

    return tabular(loss)


@plant("kl-formula", "binary digits", "conv")
def logarithm_forgotten():
    def loss(recon_x, x, mu, logvar):
        kl = 0.5 * (mu**2 + logvar.exp() - 1).sum(1)
        return (plain.bernoulli(recon_x, x) + kl).mean()

    return binary(loss, kind="conv")


@plant("loss-likelihood", "binary digits", "conv")
def squared_error_called_bernoulli_conv():
    def loss(recon_x, x, mu, logvar):
        squares = (torch.sigmoid(recon_x) - x).pow(2).flatten(1).sum(1)
        return (squares + 0.1 * kl_terms(mu, logvar).sum(1)).mean()

    return binary(loss, kind="conv")


@plant("loss-likelihood", "table", "dense")
def absolute_error_called_normal():
    def loss(recon_x, x, mu, logvar):
        return ((recon_x - x).abs().sum(1) / 0.4 + kl_terms(mu, logvar).sum(1)).mean()

    return tabular(loss)


@plant("loss-not-elbo", "binary digits", "dense")
def kl_clamped_unit_by_unit():
    def loss(recon_x, x, mu, logvar):
        return (plain.bernoulli(recon_x, x) + kl_terms(mu, logvar).clamp(min=0.5).sum(1)).mean()

    return binary(loss, epochs=30)


@plant("loss-not-elbo", "binary digits", "conv")
def kl_clamped_unit_by_unit_conv():
    def loss(recon_x, x, mu, logvar):
        return (plain.bernoulli(recon_x, x) + kl_terms(mu, logvar).clamp(min=0.5).sum(1)).mean()

    return binary(loss, kind="conv", epochs=40)


@plant("loss-not-elbo", "table", "dense")
def terms_multiplied():
    def loss(recon_x, x, mu, logvar):
        return half_squares(recon_x, x).mean() * (1 + 0.2 * kl_terms(mu, logvar).sum(1).mean())

    return tabular(loss, epochs=40)
