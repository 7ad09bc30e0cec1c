"""Decoders that give a distribution, or mean and spread as two tensors: read as one tensor of both would be."""

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Laplace, Normal
from torch.nn import functional as F

import nelbo
from nelbo.diagnosis import effective_beta
from tests.wrapping.models import FEATURES, LATENT, Script

X = torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0))
DECODED = nelbo.likelihoods.Normal("decoded")
GIVES = {
    "log_std": lambda h: h,
    "logvar": lambda h: 2 * h,
    "std": torch.exp,
    "variance": lambda h: torch.exp(2 * h),
    "softplus": lambda h: torch.log(torch.expm1(h.exp())),
}


class TwoHeads(Script):
    """A decoder of mean and log sigma."""

    def __init__(self):
        super().__init__(squash=False)
        self.spread = nn.Linear(LATENT, FEATURES)

    def decode(self, z):
        return self.out(z), 0.3 * torch.tanh(self.spread(z))


def wrap(model, decode, **arguments):
    given = {"encode": model.encode, "decode": decode, "x": X[:60], "likelihood": DECODED, "scale": "logvar"}
    return nelbo.wrap(**(given | arguments))


@pytest.fixture(scope="module")
def model():
    return TwoHeads()


@pytest.fixture(scope="module")
def expected(model):
    """What the same decoder gives as one tensor."""
    return wrap(model, lambda z: torch.cat(model.decode(z), 1), output="log_std")


def log_px(vae):
    z = torch.randn(3, 200, LATENT, generator=torch.Generator().manual_seed(1))
    return vae.likelihood(z).log_prob(X)


class Two(NamedTuple):
    mean: torch.Tensor
    logvar: torch.Tensor


@pytest.mark.parametrize("scale", GIVES)
def test_a_pair_of_mean_and_spread_on_any_scale(scale, model, expected):
    def decode(z):
        mean, h = model.decode(z)
        return mean, GIVES[scale](h)

    vae = wrap(model, decode, output=scale)
    torch.testing.assert_close(log_px(vae), log_px(expected), rtol=1e-4, atol=1e-4)
    assert "second tensor" in str(vae)


NAMED = {
    "dictionary": lambda mean, h: {"x_hat": mean, "logvar": 2 * h, "hidden": torch.zeros(len(h), 7)},
    "turned around": lambda mean, h: {"sigma": h.exp(), "mu": mean},
    "named tuple": lambda mean, h: Two(mean, 2 * h),
}


@pytest.mark.parametrize("name", NAMED)
def test_names_say_what_the_two_are(name, model, expected):
    vae = wrap(model, lambda z: NAMED[name](*model.decode(z)))
    torch.testing.assert_close(log_px(vae), log_px(expected), rtol=1e-4, atol=1e-4)


def test_a_spread_without_a_name_is_asked_for(model):
    with pytest.raises(ValueError, match=r"output='logvar' .* or output='log_std'"):
        wrap(model, model.decode)


def test_the_loss_of_such_a_model_is_weighed(model):
    def loss(x):
        mu, logvar = model.encode(x)
        mean, log_std = model.decode(model.draw(mu, logvar))
        error = 0.5 * ((x - mean) / log_std.exp()) ** 2 + log_std
        return error.sum() / len(x) - 0.5 * 3 * (1 + logvar - mu**2 - logvar.exp()).sum() / len(x)

    weighed = effective_beta(loss, wrap(model, model.decode, output="log_std"), X)
    assert float(weighed.beta) == pytest.approx(3.0, rel=1e-3)
    assert weighed.reconstruction == "declared"


FAMILIES = {
    "normal": lambda t: Normal(t, 5.0),
    "independent": lambda t: Independent(Normal(t, 5.0), 1),
    "laplace": lambda t: Independent(Laplace(t, torch.ones(())), 1),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("event", [(FEATURES,), (1, 4, 4)])
def test_a_distribution_has_the_shape_of_x_and_its_own_family(name, event):
    model, make = Script(squash=False), FAMILIES[name]
    x = X.reshape(-1, *event)
    vae = nelbo.wrap(
        encode=lambda x: model.encode(x.flatten(1)), decode=lambda z: make(model.decode(z)), x=x[:60], scale="logvar"
    )
    z = torch.randn(3, 200, LATENT, generator=torch.Generator().manual_seed(1))
    px = vae.likelihood(z)
    assert px.batch_shape == (3, 200)
    assert px.event_shape == event
    inner = make(model.decode(z))
    wanted = (inner.base_dist if isinstance(inner, Independent) else inner).log_prob(X).sum(-1)
    torch.testing.assert_close(px.log_prob(x), wanted)
    assert type(px.base_dist) is type(inner.base_dist if isinstance(inner, Independent) else inner)


@pytest.mark.parametrize("event", [(FEATURES,), (1, 4, 4)])
def test_what_is_known_of_a_family_is_diagnosed_of_a_distribution_too(event):
    model = Script(squash=False)
    x = X.reshape(-1, *event)

    def look(make, x):
        vae = nelbo.wrap(
            encode=lambda x: model.encode(x.flatten(1)),
            decode=lambda z: make(model.decode(z)),
            x=x[:60],
            scale="logvar",
        )
        only = ["sigma-too-large", "one-sigma", "gray-bernoulli"]
        return {finding.id for finding in nelbo.diagnose(vae, x, examples=200, only=only)}

    assert look(lambda t: Independent(Normal(t, 5.0), 1), x) == {"sigma-too-large"}
    assert look(lambda t: Independent(Normal(t, 1.0), 1), x) <= {"sigma-too-small"}
    assert look(lambda t: Independent(Bernoulli(logits=t, validate_args=False), 1), F.sigmoid(x)) == {"gray-bernoulli"}
