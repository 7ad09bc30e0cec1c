"""Checks of the loss and of the evaluation: silent where nothing is wrong, at the rate they state."""

import math

import pytest
import torch
from torch.nn import functional as F

import nelbo
from tests.wrapping.models import FEATURES, LATENT, Script, binary

LOSS = [
    "reconstruction-mean", "kl-mean", "kl-sign", "kl-doubled", "kl-of-variance", "kl-formula", "effective-beta",
    "loss-likelihood", "loss-not-elbo", "no-sampling", "sample-with-variance",
]  # fmt: skip
EVALUATION = [
    "surrogate-for-bound", "too-few-samples", "bits-for-nats", "train-and-test-mixed", "another-binarization",
    "another-scale",
]  # fmt: skip
X, HELD_OUT = binary(500, event=(FEATURES,)).split([300, 200])


def wrapped(model, **arguments):
    return nelbo.wrap(
        encode=model.encode, decode=model.decode, x=X[:60], likelihood=nelbo.likelihoods.Bernoulli(), **arguments
    )


def kl_of(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def loss_function(recon_x, x, mu, logvar):
    return (F.binary_cross_entropy(recon_x, x, reduction="sum") + kl_of(mu, logvar)) / len(x)


def weights(model, x, samples):
    with torch.no_grad():
        mu, logvar = model.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn(samples, *mu.shape)
        log_px = -F.binary_cross_entropy(model.decode(z), x.expand(samples, -1, -1), reduction="none").sum(-1)
        return log_px + (-0.5 * z**2 + 0.5 * (z - mu) ** 2 / logvar.exp() + 0.5 * logvar).sum(-1)


def bound(model, samples):
    return float((math.log(samples) - torch.logsumexp(weights(model, HELD_OUT, samples), 0)).mean())


def ids(findings):
    return [finding.id for finding in findings]


def test_an_honest_loss_and_honest_numbers_are_passed_with_their_numbers():
    model = Script()
    torch.manual_seed(0)
    found = nelbo.diagnose(
        wrapped(model),
        X,
        held_out=HELD_OUT,
        loss=loss_function,
        reported={"nll": bound(model, 50), "samples": 50},
        only=LOSS + EVALUATION,
    )
    assert not ids(found)
    # sixteen numbers are no image
    assert {check.id for check in found.passed} >= {*LOSS, *EVALUATION} - {"another-binarization"}
    assert "another-binarization" in found.skipped
    assert all(check.evidence for check in found.passed)


def test_a_beta_that_is_declared_is_no_fault():
    def loss(recon_x, x, mu, logvar):
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return (F.binary_cross_entropy(recon_x, x, reduction="sum") + 4 * kl) / len(x)

    vae = wrapped(Script())
    assert ids(nelbo.diagnose(vae, X, loss=loss, only=LOSS)) == ["effective-beta"]
    declared = nelbo.diagnose(vae, X, loss=loss, objective=nelbo.objectives.Beta(4.0), only=LOSS)
    assert not ids(declared)


def test_a_mean_over_latents_that_is_declared_as_its_beta_is_no_fault():
    def loss(recon_x, x, mu, logvar):
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
        return F.binary_cross_entropy(recon_x, x, reduction="sum") / len(x) + kl.mean()

    vae = wrapped(Script())
    assert ids(nelbo.diagnose(vae, X, loss=loss, only=LOSS)) == ["kl-mean"]
    declared = nelbo.diagnose(vae, X, loss=loss, objective=nelbo.objectives.Beta(1 / LATENT), only=LOSS)
    assert not ids(declared)


def test_a_squared_error_that_is_an_elbo_of_another_sigma_names_that_sigma():
    """A mean over features and a small weight of the KL, as AntixK's: with this sigma, nothing is wrong."""
    model = Script(squash=False)
    x = torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0))

    def loss(recons, x, mu, log_var):
        kld = -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1).mean()
        return F.mse_loss(recons, x) + 0.02 * kld

    def look(sigma):
        vae = nelbo.wrap(encode=model.encode, decode=model.decode, x=x, likelihood=nelbo.likelihoods.Normal(sigma))
        return nelbo.diagnose(vae, x, loss=loss, only=[*LOSS, "sigma-too-large"])

    sigma = (0.02 * FEATURES / 2) ** 0.5
    found = look(1.0)
    assert ids(found)[0] == "effective-beta"
    assert f"Normal({sigma:.4g})" in found[0].change
    assert not ids(look(sigma))


def test_held_out_examples_that_were_trained_on_are_found():
    assert ids(nelbo.diagnose(wrapped(Script()), X, held_out=X[:100], only=["train-and-test-mixed"]))


@pytest.mark.parametrize("reported", [{"nll": 3.0}, {"elbo": 3.0}, {"samples": 5}])
def test_reported_numbers_that_cannot_be_meant(reported):
    with pytest.raises(ValueError, match="'nelbo'|'samples'"):
        nelbo.diagnose(wrapped(Script()), X, reported=reported, only=EVALUATION)


def test_how_the_loss_draws_counts_and_not_how_forward_does():
    model = Script(gives="logvar")
    vae = nelbo.wrap(model, x=X[:60], likelihood=nelbo.likelihoods.Bernoulli())
    assert vae.sampling.training == "logvar"

    def loss(x):
        mu, logvar = model.encode(x)
        return loss_function(model.decode(mu), x, mu, logvar)

    assert ids(nelbo.diagnose(vae, X, loss=loss, only=LOSS)) == ["no-sampling"]
    assert not ids(nelbo.diagnose(vae, X, loss=lambda x: 1 / 0, only=["no-sampling"]))  # then forward's is all there is


def test_held_out_data_on_another_scale_are_found():
    model = Script(squash=False)
    x = torch.randn(500, FEATURES, generator=torch.Generator().manual_seed(0)) + torch.arange(FEATURES)
    vae = nelbo.wrap(model, x=x[:60], scale="logvar", likelihood=nelbo.likelihoods.Normal(1.0))
    for held_out, wrong in ((x[300:], False), (2 * x[300:], True), (x[300:] - 3, True), (1.1 * x[300:], False)):
        assert bool(ids(nelbo.diagnose(vae, x[:300], held_out=held_out, only=["another-scale"]))) is wrong


@pytest.mark.device
def test_held_out_data_may_lie_elsewhere_than_what_was_trained_on(device):
    x = torch.randn(500, FEATURES, generator=torch.Generator().manual_seed(0))
    vae = nelbo.wrap(Script(squash=False), x=x[:60], scale="logvar", likelihood=nelbo.likelihoods.Normal(1.0))
    found = [
        nelbo.diagnose(vae, x[:300].to(one), held_out=x[300:].to(other), only=["another-scale"]).to_dict()
        for one, other in (("cpu", "cpu"), ("cpu", device), (device, "cpu"), (device, device))
    ]
    assert found[1:] == found[:1] * 3


class Several(Script):
    """Gives several numbers for each feature."""

    def __init__(self, numbers, form):
        super().__init__(squash=False)
        self.several, self.form, self.numbers = torch.nn.Linear(LATENT, FEATURES * numbers), form, numbers

    def decode(self, z):
        return self.form(self.several(z).view(-1, FEATURES, self.numbers))


@pytest.mark.parametrize("kind", ["softmax twice", "log variance for log sigma"])
def test_a_likelihood_that_takes_the_decoder_for_something_else_is_named(kind):
    form, family, error = {
        "softmax twice": (
            lambda raw: raw.softmax(-1), nelbo.likelihoods.Categorical(2),
            lambda out, x: F.cross_entropy(out.transpose(1, 2), x.long(), reduction="sum"),
        ),
        "log variance for log sigma": (
            lambda raw: {"mean": raw[..., 0], "logvar": raw[..., 1]}, nelbo.likelihoods.Normal("decoded"),
            lambda out, x: -torch.distributions.Normal(out["mean"], out["logvar"].exp()).log_prob(x).sum(),
        ),
    }[kind]  # fmt: skip
    model = Several(2, form)
    vae = nelbo.wrap(model, x=X, likelihood=family, scale="logvar")

    def loss(x):
        mu, logvar = model.encode(x)
        return (error(model.decode(model.draw(mu, logvar)), x) + kl_of(mu, logvar)) / len(x)

    found = nelbo.diagnose(vae, X, loss=loss, only=LOSS)
    assert ids(found) == ["loss-likelihood"]
    assert "takes what decode gives for the" in found[0].meaning


def test_what_a_longer_training_mends_is_a_warning_where_the_loss_is_right():
    model = Script()
    with torch.no_grad():
        model.h.bias -= 6.0  # far from its optimum
    for given, severity in ((None, "severe"), (loss_function, "warning")):
        (found,) = nelbo.diagnose(wrapped(model, scale="logvar"), X, loss=given, only=["under-regularized"])
        assert found.severity == severity


def test_no_beta_is_compared_with_that_of_a_loss_that_has_none():
    def bent(recon_x, x, mu, logvar):
        return F.binary_cross_entropy(recon_x, x, reduction="sum") / len(x) + (kl_of(mu, logvar) / len(x)).clamp(min=4)

    model = Script()
    with torch.no_grad():
        model.h.bias -= 6.0
    found = nelbo.diagnose(wrapped(model, scale="logvar"), X, loss=bent, only=["under-regularized", "loss-not-elbo"])
    assert ids(found) == ["loss-not-elbo"]
    assert "no one weight" in found.skipped["under-regularized"]
