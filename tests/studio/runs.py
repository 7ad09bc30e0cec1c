"""Tiny runs for the studio's tests."""

import torch

from nelbo import Autoencoder, nn, recipes
from nelbo.data import Data, InMemory
from nelbo.runs import Run
from tests.cases import EVENT, LATENT, LIKELIHOODS, make_vae


def small_run(kind: str = "vae", *, likelihood: str = "bernoulli", prior: str = "standard_normal") -> Run:
    """An untrained model on 60 + 40 examples, in memory."""
    draw = LIKELIHOODS[likelihood][1]
    x = draw(100)
    labels = torch.arange(100) % 3
    data = Data(
        InMemory(x[:60], labels=labels[:60]), InMemory(x[60:], labels=labels[60:], stream=1), None, {"source": None}
    )
    if kind == "autoencoder":
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            encoder, decoder = nn.MLP(EVENT, LATENT, hidden=(8,)), nn.MLP(LATENT, EVENT, hidden=(8,))
        model = Autoencoder(encoder, decoder, latent=LATENT, likelihood=LIKELIHOODS[likelihood][0]())
    else:
        model = make_vae(likelihood, prior=prior)
    return Run(model.eval(), [], None, {"recipe": {"name": kind}, "data": {"source": None}}, data)


def many_examples(n: int) -> Run:
    """An untrained dense VAE with two latent units on n noisy copies of ten 8x8 patterns, in memory."""
    draws = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 64, generator=draws)
    labels = torch.arange(n) % 10
    x = (patterns[labels] + 0.25 * torch.randn(n, 64, generator=draws) > 0.5).float().reshape(-1, 1, 8, 8)
    data = Data(InMemory(x, labels=labels), None, None, {"source": None})
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = recipes.vae((1, 8, 8), latent=2, hidden=(32,))
        model(x[:2])
    return Run(model.eval(), [], None, {"recipe": {"name": "vae"}, "data": {"source": None}}, data)
