"""A VAE as people write it in plain PyTorch: nothing here knows nelbo, and nothing is wrong with it."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class PlainVAE(nn.Module):
    """Encoder and decoder, dense or convolutional (8x8 images); encode gives (mu, logvar), decode raw outputs."""

    def __init__(self, event, latent=4, *, kind="dense", hidden=64, outputs=1):
        super().__init__()
        self.event, self.latent, self.outputs = tuple(event), latent, outputs
        features = math.prod(event)
        if kind == "dense":
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.ReLU())
            self.decoder = nn.Sequential(
                nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, outputs * features), nn.Unflatten(1, self.shape)
            )
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
                nn.Linear(32 * 2 * 2, hidden), nn.ReLU(),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(latent, 32 * 2 * 2), nn.ReLU(), nn.Unflatten(1, (32, 2, 2)),
                nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, outputs, 4, 2, 1),
            )  # fmt: skip
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)

    @property
    def shape(self):
        return (self.outputs * self.event[0], *self.event[1:])

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def draw(self, mu, logvar):
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.draw(mu, logvar)), mu, logvar


class Log1p(nn.Module):
    """Counts as an encoder likes them."""

    def forward(self, x):
        return torch.log1p(x)


def kl_terms(mu, logvar):
    """(batch, latent) KL(N(mu, exp(logvar)) || N(0, 1))."""
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


def bernoulli(out, x):
    return F.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(1)


def continuous_bernoulli(out, x):
    px = torch.distributions.ContinuousBernoulli(logits=out, validate_args=False)
    return -px.log_prob(x).flatten(1).sum(1)


def poisson(out, x):
    return (out.exp() - x * out + torch.lgamma(x + 1)).flatten(1).sum(1)


def gaussian(sigma):
    """-log N(x; out, sigma^2)."""

    def error(out, x):
        return (0.5 * ((x - out) / sigma) ** 2 + math.log(sigma) + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    return error


def gaussian_decoded(out, x):
    """As a normal whose log sigma the decoder gives too."""
    mean, log_sigma = out.chunk(2, dim=1)
    error = 0.5 * ((x - mean) / log_sigma.exp()) ** 2 + log_sigma + 0.5 * math.log(2 * math.pi)
    return error.flatten(1).sum(1)


def negative_binomial(out, x):
    """With the decoder's (log mean, log dispersion), both in one tensor."""
    log_mean, log_count = out.chunk(2, dim=1)
    px = torch.distributions.NegativeBinomial(log_count.exp(), logits=log_mean - log_count, validate_args=False)
    return -px.log_prob(x).flatten(1).sum(1)


def negative_elbo(error, *, beta=1.0):
    """The loss to differentiate: the mean over the batch of sums; beta may be a function of the epoch."""

    def loss(out, x, mu, logvar, epoch=math.inf):
        weight = beta(epoch) if callable(beta) else beta
        return (error(out, x) + weight * kl_terms(mu, logvar).sum(1)).mean()

    return loss


def train(model, x, held_out, loss, error, *, epochs=30, lr=2e-3, batch=64, validate=None, schedule=None):
    """Train, and return the history: honest terms of both parts in nats, and the loss that was differentiated.

    loss(out, x, mu, logvar, epoch) is differentiated, validate in its place for the validation loss; error(out, x) is
    the honest reconstruction error; schedule(epoch) is a factor on the learning rate.
    """
    steps = torch.optim.Adam(model.parameters(), lr=lr)
    history = []
    for epoch in range(epochs):
        model.train()
        for group in steps.param_groups:
            group["lr"] = lr * (schedule(epoch) if schedule else 1.0)
        sums = torch.zeros(3)
        order = torch.randperm(len(x))
        norm = 0.0
        for start in range(0, len(x), batch):
            part = x[order[start : start + batch]]
            out, mu, logvar = model(part)
            value = loss(out, part, mu, logvar, epoch + start / len(x))
            steps.zero_grad()
            value.backward()
            norm = max(norm, float(sum(p.grad.norm() ** 2 for p in model.parameters() if p.grad is not None)) ** 0.5)
            steps.step()
            with torch.no_grad():
                terms = torch.stack([error(out, part).mean(), kl_terms(mu, logvar).sum(1).mean(), value.detach()])
                sums += terms * len(part)
        row = dict(zip(("train_recon", "train_kl", "train_loss"), (sums / len(x)).tolist(), strict=True))
        model.eval()
        with torch.no_grad():
            out, mu, logvar = model(held_out)
            kl = kl_terms(mu, logvar).sum(1)
            nelbo = error(out, held_out) + kl
            row |= {
                "val_recon": float((nelbo - kl).mean()),
                "val_kl": float(kl.mean()),
                "val_loss": float((validate or loss)(out, held_out, mu, logvar, epoch + 1)),
                "grad_norm": norm,
            }
        history.append(row)
    return history
