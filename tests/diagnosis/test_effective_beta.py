"""What a loss weighs: known by construction, found by measuring, for every form of loss that people write."""

import math
import re

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

import nelbo
from nelbo.data import Batch
from nelbo.diagnosis import effective_beta
from nelbo.diagnosis.reasons import recognized
from nelbo.vae import Model
from tests.wrapping.models import FEATURES, LATENT, Script, binary

X = binary(64, event=(FEATURES,))
D, L = FEATURES, LATENT


@pytest.fixture(scope="module")
def model():
    return Script()


@pytest.fixture(scope="module")
def vae(model):
    return nelbo.wrap(encode=model.encode, decode=model.decode, x=X, likelihood=nelbo.likelihoods.Bernoulli())


def kl(mu, logvar):
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())


def bce(recon_x, x):
    return F.binary_cross_entropy(recon_x, x, reduction="sum")


def squares(recon_x, x):
    return (recon_x - x).pow(2).sum()


# loss -> (beta, cause); sums over the batch unless said
def loss_of(error, penalty):
    """A loss in the usual form, from what it makes of the reconstruction and of the KL per unit."""

    def loss_function(recon_x, x, mu, logvar):
        return error(recon_x, x) + penalty(kl(mu, logvar))

    return loss_function


def of_units(penalty):
    """A loss whose KL term is something else than the KL."""

    def loss_function(recon_x, x, mu, logvar):
        return bce(recon_x, x) + penalty(mu, logvar).sum()

    return loss_function


def as_dict(recons, x, mu, log_var):
    return {"loss": bce(recons, x) + 3 * kl(mu, log_var).sum(), "KLD": 0.0}


def as_tuple(x_hat, target, mean, log_variance, *, unused=5):
    return bce(x_hat, target) + 5 * kl(mean, log_variance).sum(), 0


def per_example(recon_x, x):
    return bce(recon_x, x) / len(x)


# loss -> (beta, cause)
LOSSES = {
    "elbo": (loss_of(bce, torch.sum), 1, "nelbo"),
    "both divided": (loss_of(F.binary_cross_entropy, lambda k: k.sum() / (D * len(k))), 1, "nelbo"),
    "mean over features": (loss_of(F.binary_cross_entropy, lambda k: k.sum(1).mean()), D, "reconstruction averaged"),
    "mean over both": (loss_of(F.binary_cross_entropy, torch.mean), D / L, "reconstruction averaged"),
    "mean over latents": (loss_of(per_example, torch.mean), 1 / L, "kl averaged"),
    "kl over features": (loss_of(bce, lambda k: k.sum() / D), 1 / D, "kl averaged"),
    "doubled": (loss_of(bce, lambda k: 2 * k.sum()), 2, "kl doubled"),
    "subtracted": (loss_of(bce, lambda k: -k.sum()), -1, "kl sign"),
    "weighed": (loss_of(bce, lambda k: 0.37 * k.sum()), 0.37, "weight"),
    "batch": (loss_of(bce, lambda k: k.sum(1).mean()), 1 / 64, "batch"),
    "no kl": (loss_of(bce, lambda k: 0.0), 0, "kl missing"),
    "of log sigma": (of_units(lambda mu, h: kl(mu, 2 * h)), 1, "kl of another spread"),
    "of sigma": (of_units(lambda mu, h: kl(mu, 2 * h.abs().log())), 1, "kl of another spread"),
    "reversed": (of_units(lambda mu, h: 0.5 * (h + (1 + mu**2) * (-h).exp() - 1)), 1, "kl reversed"),
    "dict": (as_dict, 3, "weight"),
    "tuple": (as_tuple, 5, "weight"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_weights_and_causes(name, vae):
    loss, beta, cause = LOSSES[name]
    weighed = effective_beta(loss, vae, X)
    assert weighed.cause == cause
    assert float(weighed.beta) == pytest.approx(beta, rel=1e-3, abs=1e-4)
    assert abs(float(weighed.beta) - beta) < 6 * float(weighed.beta.standard_error) + 1e-4 * abs(beta)
    assert weighed.is_combination
    assert weighed.r2 > 0.9999
    assert weighed.reason


def test_the_usual_squared_error_with_a_small_weight(vae):
    """0.00025 * KL beside a mean over the features: a normal likelihood whose sigma is named."""

    def loss_function(recons, x, mu, log_var):
        return F.mse_loss(recons, x) + 0.00025 * kl(mu, log_var).sum(1).mean()

    weighed = effective_beta(loss_function, vae, X)
    assert weighed.reconstruction == "squared error"
    assert float(weighed.beta) == pytest.approx(0.00025 * D / 2, rel=1e-3)
    assert weighed.sigma == pytest.approx(math.sqrt(0.00025 * D / 2), rel=1e-3)
    assert weighed.cause == "weight"  # a mean over the features would make the KL heavy, and it is light
    assert "0.00025" in weighed.reason


def test_the_whole_squared_error_is_a_variance_of_one_half(vae):
    weighed = effective_beta(lambda recon_x, x, mu, logvar: squares(recon_x, x) + kl(mu, logvar).sum(), vae, X)
    assert weighed.cause == "fixed sigma"
    assert weighed.sigma == pytest.approx(math.sqrt(0.5), rel=1e-3)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_a_declared_sigma_makes_beta_one(sigma):
    model = Script(squash=False)
    vae = nelbo.wrap(encode=model.encode, decode=model.decode, x=X, likelihood=nelbo.likelihoods.Normal(sigma))

    def loss(recon_x, x, mu, logvar):
        return squares(recon_x, x) / (2 * sigma**2) + kl(mu, logvar).sum()

    weighed = effective_beta(loss, vae, X)
    assert weighed.cause == "nelbo"
    assert weighed.sigma == pytest.approx(sigma, rel=1e-3)


NONE = {
    "free bits": (loss_of(bce, lambda k: k.clamp(min=0.3).sum()), "multiple of a KL"),
    "capacity": (loss_of(bce, lambda k: (k.sum() - 90).abs()), "multiple of a KL"),
    "other error": (loss_of(lambda r, x: (r - x).pow(4).sum(), torch.sum), "declared likelihood"),
    "product": (lambda recon_x, x, mu, logvar: bce(recon_x, x) * (1 + kl(mu, logvar).mean()), "multiplied"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_combination_is_said_to_be_none(name, vae):
    loss, reason = NONE[name]
    weighed = effective_beta(loss, vae, X)
    assert not weighed.is_combination
    assert weighed.cause == "no combination"
    assert reason in weighed.reason


def test_a_wrong_sign_inside_the_kl(vae):
    def loss(recon_x, x, mu, logvar):
        return bce(recon_x, x) - 0.5 * (1 + logvar + mu.pow(2) - logvar.exp()).sum()

    weighed = effective_beta(loss, vae, X)
    assert weighed.cause == "kl formula"
    assert "-1 x half the squared means" in weighed.reason


class WithLoss(Script):
    """Loss inside the model, in the forms of forward, a Lightning step, and a function of the model."""

    weight = 0.5
    calls = 0

    def forward(self, x):
        mu, logvar = self.encode(x)
        recon = self.decode(self.draw(mu, logvar))
        self.calls += 1
        return {"loss": (bce(recon, x) + self.weight * kl(mu, logvar).sum()) / len(x)}

    def training_step(self, batch, batch_idx):
        (x,) = batch  # as TensorDataset(x) gives it
        loss = self(x)["loss"]
        self.log("loss", loss)
        return loss

    def log(self, name, value):
        raise RuntimeError("no trainer is running")


def parts_of(model):
    return nelbo.wrap(
        encode=model.encode, decode=model.decode, x=X, scale="logvar", likelihood=nelbo.likelihoods.Bernoulli()
    )


FORMS = {
    "module": lambda model: model,
    "function of x": lambda model: lambda x: model(x)["loss"],
    "function of model and x": lambda model: lambda model, x: model(x)["loss"],
    "training_step": lambda model: model.training_step,
}


@pytest.mark.parametrize("form", FORMS)
def test_losses_that_run_the_model(form):
    model = WithLoss(layers=(nn.BatchNorm1d(8), nn.Dropout(0.3)))
    vae = parts_of(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls, random = model.calls, torch.get_rng_state()
    weighed = effective_beta(FORMS[form](model), vae, X)
    assert float(weighed.beta) == pytest.approx(0.5, rel=1e-3)
    # nothing of the model or the caller has changed: statistics, counters, modes, methods, random state
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.calls == calls
    assert model.training
    assert "encode" not in vars(model)
    assert "log" not in vars(model)
    assert torch.equal(random, torch.get_rng_state())


def test_a_kl_by_sampling_is_weighed_within_its_noise(model, vae):
    def loss(x):
        mu, logvar = model.encode(x)
        z = model.draw(mu, logvar)
        log_q = (-0.5 * (z - mu) ** 2 / logvar.exp() - 0.5 * logvar).sum(1)
        return bce(model.decode(z), x) / len(x) + 3 * (log_q + 0.5 * (z**2).sum(1)).mean()

    betas = [effective_beta(loss, vae, X, seed=seed).beta for seed in range(6)]
    apart = torch.tensor([(float(b) - 3) / float(b.standard_error) for b in betas])
    assert apart.abs().max() < 4
    assert all(0 < float(b.standard_error) < 2 for b in betas)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_nelbos_own_objectives(beta):
    own = nelbo.recipes.vae((FEATURES,), latent=2, hidden=(8,))
    weighed = effective_beta(nelbo.objectives.Beta(beta), own, X)
    assert float(weighed.beta) == pytest.approx(beta, rel=1e-4)


class Conditional(nn.Module):
    """A network whose input is joined by a condition for each example."""

    def __init__(self, network, c):
        super().__init__()
        self.network, self.c = network, c

    def forward(self, x):
        return self.network(torch.cat([x, self.c], dim=1))


class ConditionalVAE(Model):
    """A VAE for a condition of two numbers."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.networks_of_both = nn.ModuleList([encoder, decoder])

    def given(self, c):
        encoder, decoder = (Conditional(network, c) for network in self.networks_of_both)
        return nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())

    posterior = likelihood = None
    prior = property(lambda self: Independent(Normal(torch.zeros(2), torch.ones(2)), 1))


def test_a_condition_is_sliced_and_given_to_the_model():
    model = ConditionalVAE(nelbo.nn.MLP(FEATURES + 2, 4), nelbo.nn.MLP(2 + 2, FEATURES))
    batch = Batch(X, c=torch.linspace(-1, 1, 2 * len(X)).reshape(len(X), 2))
    weighed = effective_beta(nelbo.objectives.Beta(3.0), model, batch)
    assert float(weighed.beta) == pytest.approx(3.0, rel=1e-4)
    assert weighed.is_combination


USUAL = ("reconstruction", "x", "mu", "spread")
ERRORS = {
    "no scalar": (lambda recon_x, x, mu, logvar: kl(mu, logvar).sum(1), {}, "return loss.mean()"),
    "unknown names": (lambda a, b, c: 0, {}, "arguments=('reconstruction', 'x', 'mu', 'spread')"),
    "no function": (3, {}, "without calling it"),
    "other model": (lambda x: x.mean(), {}, "never calls the encode that was wrapped"),
    "fails": (lambda recon_x, x, mu, logvar, weight: 0, {"arguments": USUAL}, "fails"),
    "NaN": (lambda recon_x, x, mu, logvar: (mu - mu).log().sum() * 0, {}, "NaN or infinite at harmless answers"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_write(case, vae):
    loss, arguments, message = ERRORS[case]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        effective_beta(loss, vae, X, **arguments)


def test_arguments_can_be_named(vae):
    def loss(a, b, c, d):
        return bce(b, a) + 7 * kl(c, d).sum()

    weighed = effective_beta(loss, vae, X, arguments=("x", "reconstruction", "mu", "spread"))
    assert float(weighed.beta) == pytest.approx(7, rel=1e-3)


def test_numbers_are_recognized():
    sizes = {"event": (784,), "tolerance": 1e-3}
    assert recognized(1 / 784, **sizes)[:2] == (1, "averaged over the 784 features")
    assert recognized(1 / 20, latent=(20,), **sizes).kind == "latent"
    assert recognized(2 / 784, (2.0,), **sizes).factor == 2
    assert recognized(2.5, **sizes) == (2.5, "", "")
    assert recognized(0.00025, latent=(20,), **sizes) == (0.00025, "", "")
    assert recognized(0.1, latent=(3,), event=(20,), tolerance=1e-3) == (0.1, "", "")  # and not 2 / 20
    assert recognized(1 / 16, latent=(2, 4, 4), **sizes)[:2] == (1, "averaged over the 16 positions of z")
    assert recognized(1 / 64, event=(3, 8, 8), tolerance=1e-3)[:2] == (1, "averaged over the 64 pixels")
