"""Tables: detectors that are fitted, Lightning modules with a training step, decoders that give their spread."""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

import nelbo
from tests.planted import sets
from tests.planted.cases import Subject
from tests.planted.wild.styles import handed_over, train, wild


def noisy_table(n=2400, features=12):
    """Three hidden numbers, and as much noise as signal: once standardized, of variance 1/2."""
    g = torch.Generator().manual_seed(20)
    signal = torch.randn(n, 3, generator=g) @ torch.randn(3, features, generator=g)
    x = signal / signal.std(0) + torch.randn(n, features, generator=g)
    x = (x - x.mean(0)) / x.std(0)
    return x[:2000], x[2000:]


class DetectorNetwork(nn.Module):
    """As detectors of outliers have it: Sequential parts, and forward gives x_recon, z_mu and z_logvar."""

    def __init__(self, features, latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(features, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1))
        self.encoder_mu, self.encoder_logvar = nn.Linear(32, latent), nn.Linear(32, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, features))

    def encode(self, x):
        h = self.encoder(x)
        return self.encoder_mu(h), self.encoder_logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        z_mu, z_logvar = self.encode(x)
        return self.decode(self.reparameterize(z_mu, z_logvar)), z_mu, z_logvar


class Detector:
    """Holds its network under ``model`` once it is fitted."""

    def __init__(self, latent=4, epochs=30):
        self.latent, self.epochs = latent, epochs

    def fit(self, x, loss):
        self.model = DetectorNetwork(x.shape[1], self.latent)

        def of_batch(part):
            x_recon, z_mu, z_logvar = self.model(part)
            return loss(part, x_recon, z_mu, z_logvar)

        train(self.model, of_batch, x, epochs=self.epochs)
        self.model.eval()
        return self


def kl_of(z_mu, z_logvar):
    return -0.5 * torch.sum(1 + z_logvar - z_mu.pow(2) - z_logvar.exp(), dim=1)


def detected(loss, data, sigma, beta=None, **settings):
    detector = Detector(**settings).fit(data[0], loss)
    return Subject(detector, *data, loss=loss, beta=beta, extra={"likelihood": nelbo.likelihoods.Normal(sigma)})


@wild(None, "noisy table", "fitted detector")
def detector():
    def loss(x, x_recon, z_mu, z_logvar):
        return F.mse_loss(x_recon, x) * x.shape[1] + kl_of(z_mu, z_logvar).mean()

    return detected(loss, noisy_table(), math.sqrt(0.5))


@wild("reconstruction-mean", "noisy table", "fitted detector")
def means_of_both_as_in_keras():
    def loss(x, x_recon, z_mu, z_logvar):
        kl = -0.5 * torch.mean(1 + z_logvar - z_mu.pow(2) - z_logvar.exp())
        return F.mse_loss(x_recon, x) + kl

    return detected(loss, noisy_table(), math.sqrt(0.5))


@wild("effective-beta", "table", "fitted detector")
def capacity_that_is_never_raised():
    def loss(x, x_recon, z_mu, z_logvar, capacity=0.0):
        error = F.mse_loss(x_recon, x) * x.shape[1] / (2 * 0.3**2)
        return error + kl_of(z_mu, z_logvar).mean().clamp(0.0, capacity)

    return detected(loss, sets.table(), 0.3)


@wild("no-sampling", "table", "fitted detector")
def reparameterized_in_evaluation_alone():
    class Mean(DetectorNetwork):
        def reparameterize(self, mu, logvar):
            return mu if self.training else super().reparameterize(mu, logvar)

    model = Mean(12, 4)

    def loss(x):
        x_recon, z_mu, z_logvar = model(x)
        return ((x_recon - x).pow(2).sum(1) / (2 * 0.3**2) + kl_of(z_mu, z_logvar)).mean()

    return handed_over(model, loss, sets.table(), likelihood=nelbo.likelihoods.Normal(0.3))


# a training step


class StepModule(nn.Module):
    """A module with a training step, whose encode gives a distribution."""

    def __init__(self, features=12, latent=4, sigma=0.3):
        super().__init__()
        self.sigma = sigma
        self.encoder = nn.Sequential(nn.Linear(features, 64), nn.ELU(), nn.Linear(64, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.ELU(), nn.Linear(64, features))
        self.logged = {}

    def log(self, name, value):
        self.logged[name] = value

    def encode(self, x):
        mu, h = self.encoder(x).chunk(2, dim=-1)
        return Normal(mu, F.softplus(h) + 1e-3)

    def forward(self, x):
        return self.decoder(self.encode(x).rsample())

    def training_step(self, batch, batch_idx):
        x, _ = batch
        q = self.encode(x)
        error = -Normal(self.decoder(q.rsample()), self.sigma).log_prob(x).sum(-1)
        loss = self.joined(error, q)
        self.log("train_loss", loss.detach())
        return loss

    def joined(self, error, q):
        return (error + kl_divergence(q, Normal(0.0, 1.0)).sum(-1)).mean()


def stepped(model, data=None):
    def loss(x):
        return model.training_step((x, torch.zeros(len(x))), 0)

    family = nelbo.likelihoods.Normal(model.sigma)
    return handed_over(model, loss, data or sets.table(), given=model.training_step, likelihood=family)


@wild(None, "table", "training step")
def training_step():
    return stepped(StepModule())


@wild("effective-beta", "table", "training step")
def kl_summed_over_the_batch():
    class Summed(StepModule):
        def joined(self, error, q):
            return error.mean() + kl_divergence(q, Normal(0.0, 1.0)).sum()

    return stepped(Summed())


@wild("kl-of-variance", "table", "training step")
def standard_deviation_taken_for_the_variance():
    class Confused(StepModule):
        def joined(self, error, q):
            mu, var = q.loc, q.scale
            return (error + 0.5 * (mu**2 + var - 1 - var.log()).sum(-1)).mean()

    return stepped(Confused())


# decoders that give their spread


class SpreadDecoder(nn.Module):
    """Decode gives a mean and a log variance for each column."""

    def __init__(self, features=12, latent=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(features, 64), nn.SiLU(), nn.Linear(64, 2 * latent))
        self.hidden = nn.Sequential(nn.Linear(latent, 64), nn.SiLU())
        self.x_mean, self.x_logvar = nn.Linear(64, features), nn.Linear(64, features)

    def encode(self, x):
        mu, logvar = self.encoder(x).chunk(2, 1)
        return {"mu": mu, "logvar": logvar}

    def decode(self, z):
        h = self.hidden(z)
        return {"mean": self.x_mean(h), "logvar": self.x_logvar(h)}

    def forward(self, x):
        q = self.encode(x)
        z = q["mu"] + torch.exp(0.5 * q["logvar"]) * torch.randn_like(q["mu"])
        return self.decode(z), q


def spread(nll, **extra):
    model = SpreadDecoder()

    def loss(x):
        px, q = model(x)
        return (nll(px, x).sum(1) + kl_of(q["mu"], q["logvar"])).mean()

    return handed_over(model, loss, sets.uneven_table(), **({"training": {"epochs": 30}} | extra))


@wild(None, "uneven table", "decoder with its spread")
def decoded_log_variance():
    return spread(lambda px, x: F.gaussian_nll_loss(px["mean"], x, px["logvar"].exp(), reduction="none", full=True))


@wild("loss-likelihood", "uneven table", "decoder with its spread")
def log_variance_of_x_taken_for_log_sigma():
    def nll(px, x):
        return -Normal(px["mean"], px["logvar"].exp()).log_prob(x)

    return spread(nll)


@wild("one-sigma", "uneven table", "training step")
def one_sigma_for_uneven_columns():
    return stepped(StepModule(sigma=0.5, latent=3), sets.uneven_table())
