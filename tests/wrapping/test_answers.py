"""Answers within each other, and what follows from the mean and the spread: nothing keeps its old numbers."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal

import nelbo
from nelbo.diagnosis import effective_beta
from tests.wrapping.models import FEATURES, LATENT, Script, binary

X = binary(120, event=(FEATURES,))
BETA = 3.0


class Posterior:
    """As in latent diffusion: everything is computed when it is made."""

    def __init__(self, mean, logvar):
        self.parameters = torch.cat([mean, logvar], 1)
        self.mean, self.logvar = mean, logvar
        self.std, self.var = torch.exp(0.5 * logvar), torch.exp(logvar)


@dataclass(frozen=True)
class Frozen:
    mu: torch.Tensor
    sigma: torch.Tensor
    log_var: torch.Tensor


def sigma(h):
    return torch.exp(0.5 * h)


# each gives (answer of encode, mean and std and log variance of it as a loss reads them)
FORMS = {
    "posterior": (Posterior, lambda q: (q.mean, q.std, q.var.log())),
    "posterior within": (
        lambda m, h: SimpleNamespace(latent_dist=Posterior(m, h)),
        lambda o: (o.latent_dist.mean, o.latent_dist.std, o.latent_dist.var.log()),
    ),
    "halves beside": (
        Posterior,
        lambda q: (q.parameters[:, :LATENT], q.std, q.parameters[:, LATENT:]),
    ),
    "dictionary": (
        lambda m, h: {"mu": m, "logvar": h, "std": sigma(h), "var": h.exp()},
        lambda d: (d["mu"], d["std"], d["var"].log()),
    ),
    "dictionary within": (
        lambda m, h: {"q": {"mu": m, "logvar": h}, "prior": {"mu": 0 * m, "logvar": 0 * h}},
        lambda d: (d["q"]["mu"], sigma(d["q"]["logvar"]), d["q"]["logvar"]),
    ),
    "tuple within": (lambda m, h: ((m, h), torch.ones(len(m), 7)), lambda t: (t[0][0], sigma(t[0][1]), t[0][1])),
    "three": (lambda m, h: (m, h, sigma(h)), lambda t: (t[0], t[2], t[1])),
    "std first": (lambda m, h: (m, sigma(h), h), lambda t: (t[0], t[1], t[2])),
    "distribution beside": (lambda m, h: (Normal(m, sigma(h)), h), lambda t: (t[0].mean, t[0].stddev, t[1])),
    "distribution and copies": (
        lambda m, h: {"qz": Normal(m, sigma(h)), "mean": m, "logvar": h},
        lambda d: (d["mean"], d["qz"].scale, d["logvar"]),
    ),
    "dataclass": (lambda m, h: Frozen(m, sigma(h), h), lambda q: (q.mu, q.sigma, q.log_var)),
}


class Answering(Script):
    """Its loss reads what follows from the spread, not the spread alone."""

    def __init__(self, form):
        super().__init__()
        self.make, self.read = FORMS[form]

    def encode(self, x):
        return self.make(*super().encode(x))

    def forward(self, x):
        mean, std, logvar = self.read(self.encode(x))
        recon = self.decode(mean + std * torch.randn_like(std))
        bce = torch.nn.functional.binary_cross_entropy(recon, x, reduction="sum")
        return (bce - BETA * 0.5 * (1 + logvar - mean**2 - std**2).sum()) / len(x)


@pytest.mark.parametrize("form", FORMS)
def test_a_correct_loss_is_weighed_right_whatever_it_reads(form):
    model = Answering(form)
    vae = nelbo.wrap(model, x=X)
    mu, h = Script.encode(model, X)
    exact = torch.distributions.kl_divergence(Normal(mu, sigma(h)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(nelbo.loss(vae, X).kl, exact, rtol=1e-5, atol=1e-5)
    assert vae.sampling.training == vae.encoding.scale
    weighed = effective_beta(model, vae, X)
    assert float(weighed.beta) == pytest.approx(BETA, rel=1e-4)
    assert weighed.kl == "declared"


def test_two_posteriors_are_asked_about():
    model = Script()

    def encode(x):
        mu, h = model.encode(x)
        return {"first": {"mu": mu, "logvar": h}, "second": {"mu": 2 * mu, "logvar": h + 1}}

    with pytest.raises(ValueError, match=r"may be first\.mu and first\.logvar or second\.mu and second\.logvar"):
        nelbo.wrap(model, encode=encode, x=X)


def test_a_std_that_contradicts_the_name_of_the_spread_is_a_fault():
    model = Script()

    def encode(x):
        mu, h = model.encode(x)
        return {"mu": mu, "logvar": h, "std": h.exp()}

    with pytest.raises(ValueError, match="One of the two is a fault"):
        nelbo.wrap(model, encode=encode, x=X)


def test_a_draw_beside_its_mean_and_spread_moves_with_them():
    """As in Keras' examples; in this loss the KL is of one draw."""

    class Drawing(Script):
        def encode(self, x):
            mu, logvar = super().encode(x)
            return {"z": self.draw(mu, logvar), "mu": mu, "logvar": logvar}

        def forward(self, x):
            q = self.encode(x)
            log_q = Normal(q["mu"], sigma(q["logvar"])).log_prob(q["z"])
            kl = (log_q - Normal(0.0, 1.0).log_prob(q["z"])).sum()
            recon = self.decode(q["z"])
            return (torch.nn.functional.binary_cross_entropy(recon, x, reduction="sum") + BETA * kl) / len(x)

    model = Drawing()
    vae = nelbo.wrap(model, x=X)
    assert "encode draws z itself" in str(vae)
    weighed = effective_beta(model, vae, X)
    assert float(weighed.beta) == pytest.approx(BETA, abs=5 * weighed.beta.error)
    assert weighed.beta.error < 0.5


ORDERS = {
    "before": lambda z, mu, h: (z, mu, h),
    "after": lambda z, mu, h: (mu, h, z),
    "between": lambda z, mu, h: (mu, z, h),
    "named": lambda z, mu, h: {"embedding": z, "mu": mu, "logvar": h},
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_z_that_is_the_mean_in_evaluation_mode_is_not_taken_for_it(order):
    class Drawing(Script):
        def encode(self, x):
            mu, h = super().encode(x)
            return ORDERS[order](self.draw(mu, h) if self.training else mu, mu, h)

    model, x = Drawing(), binary(event=(FEATURES,))
    bernoulli = nelbo.likelihoods.Bernoulli()
    vae = nelbo.wrap(encode=model.encode, decode=model.decode, x=x, scale="logvar", likelihood=bernoulli).train()
    q = vae.posterior(x).base_dist
    mu, h = Script.encode(model, x)
    torch.testing.assert_close(q.loc, mu)
    torch.testing.assert_close(q.scale, torch.exp(0.5 * h))
