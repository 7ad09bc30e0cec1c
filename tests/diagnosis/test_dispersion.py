"""The line that the dispersion check proposes depends on the family and on the side."""

import pytest
import torch
from torch import nn
from torch.distributions import Binomial, NegativeBinomial

import nelbo
from nelbo import likelihoods


def of_constant_output(family, *parameters):
    """A model whose decoder gives the same parameters for every z."""
    decoder = nn.Linear(1, 4 * len(parameters))
    nn.init.zeros_(decoder.weight)
    decoder.bias.data = torch.tensor(parameters).repeat_interleave(4)
    return nelbo.VAE(nelbo.nn.MLP(4, 2, hidden=()), decoder, latent=1, likelihood=family)


MEAN = torch.tensor(3.0).log().item()
WIDE = NegativeBinomial(torch.tensor(0.5), logits=torch.tensor(6.0).log())
NARROW = Binomial(4, torch.tensor(0.75))


@pytest.mark.parametrize(
    ("family", "parameters", "data", "proposed", "not_proposed"),
    [
        (likelihoods.Poisson(), (MEAN,), WIDE, "likelihoods.NegativeBinomial()", "Categorical"),
        (likelihoods.Poisson(), (MEAN,), NARROW, "likelihoods.Categorical(", "NegativeBinomial"),
        (likelihoods.NegativeBinomial(), (MEAN, 4.0), WIDE, "nelbo.resume(run", "likelihoods.NegativeBinomial"),
        (likelihoods.NegativeBinomial(), (MEAN, 4.0), NARROW, "likelihoods.Categorical(", "NegativeBinomial"),
    ],
)
def test_the_proposed_family_is_another_one(family, parameters, data, proposed, not_proposed):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        x = data.sample((500, 4))
    model = of_constant_output(family, *parameters)
    (finding,) = nelbo.diagnose(model, x, only=["dispersion"])
    assert proposed in finding.change
    assert not_proposed not in finding.change
