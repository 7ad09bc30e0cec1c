"""Every likelihood in every layout: a wrapped model's numbers are those of plain PyTorch, for each example."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import distributions as D
from torch.nn import functional as F

import nelbo
from nelbo import likelihoods
from nelbo.evaluation import evaluate
from tests import cases

N, LATENT = 24, 2


def bernoulli(raw, x):
    return -F.binary_cross_entropy_with_logits(raw[0], x, reduction="none")


def discretized_logistic(raw, x):
    """The mass of a logistic on [-1, 1] between half a level below and above."""
    upper, lower = (torch.sigmoid((2 * x - 1 + half - raw[0]) / raw[1].exp()) for half in (1 / 255, -1 / 255))
    upper, lower = torch.where(x > 0.999, 1.0, upper), torch.where(x < 0.001, 0.0, lower)
    return (upper - lower).log()


def truncated_normal(raw, x):
    standard, mean, sigma = D.Normal(0.0, 1.0), 0.5 + 1.5 * torch.tanh(raw[0] / 1.5), raw[1].exp()
    mass = standard.cdf((1 - mean) / sigma) - standard.cdf(-mean / sigma)
    return D.Normal(mean, sigma).log_prob(x) - mass.log()


def columns(raw, x):
    real, counts, binary = zip(raw[0].split(2, 1), x.split(2, 1), strict=True)
    return torch.cat(
        [
            D.Normal(real[0], 0.5).log_prob(real[1]),
            D.Poisson(counts[0].exp()).log_prob(counts[1]),
            bernoulli(binary[:1], binary[1]),
        ],
        1,
    )


def two_of_each(*families):
    """Two columns of each family, by name."""
    return ((f"{family} {i}", family) for family in families for i in range(2))


def three_kinds(n, event):
    return torch.cat([cases.real(n, (2,)), cases.counts(n, (2,)), cases.binary(n, (2,))], 1)


# name -> (the family, data that fit it, numbers for each feature, what decode gives, log p(x|z) of each feature)
FAMILIES = {
    "bernoulli": (likelihoods.Bernoulli(), cases.binary, 1, "logits", bernoulli),
    "gray_bernoulli": (likelihoods.named("gray_bernoulli"), cases.unit, 1, "logits", bernoulli),
    "continuous_bernoulli": (
        likelihoods.ContinuousBernoulli(), cases.unit, 1, "logits",
        lambda raw, x: D.ContinuousBernoulli(logits=raw[0]).log_prob(x),
    ),
    "normal": (likelihoods.Normal(0.5), cases.real, 1, "mean", lambda raw, x: D.Normal(raw[0], 0.5).log_prob(x)),
    "normal_decoded": (
        likelihoods.Normal("decoded"), cases.real, 2, "log_std",
        lambda raw, x: D.Normal(raw[0], raw[1].exp()).log_prob(x),
    ),
    "discretized_logistic": (likelihoods.DiscretizedLogistic(), cases.levels, 2, None, discretized_logistic),
    "categorical": (
        likelihoods.Categorical(5), cases.categories, 5, "logits",
        lambda raw, x: D.Categorical(logits=raw.movedim(0, -1)).log_prob(x),
    ),
    "log_normal": (
        likelihoods.LogNormal(), cases.positive, 2, None, lambda raw, x: D.LogNormal(raw[0], raw[1].exp()).log_prob(x),
    ),
    "truncated_normal": (likelihoods.TruncatedNormal(), cases.unit, 2, None, truncated_normal),
    "poisson": (
        likelihoods.Poisson(), cases.counts, 1, "log_rates", lambda raw, x: D.Poisson(raw[0].exp()).log_prob(x),
    ),
    "negative_binomial": (
        likelihoods.NegativeBinomial(), cases.counts, 2, "log_rates",
        lambda raw, x: D.NegativeBinomial(raw[1].exp(), logits=raw[0] - raw[1]).log_prob(x),
    ),
    "columns": (
        likelihoods.Columns(dict(two_of_each("normal:0.5", "poisson", "bernoulli"))),
        three_kinds, 1, None, columns,
    ),
}  # fmt: skip
FLAT, IMAGE, CHANNEL_LAST, SEQUENCE = (6,), (2, 3, 4), (3, 4, 2), (5, 2)
# name -> (the shape of an example, how decode gives its raw numbers (k, n, *event), the axis of the k numbers)
LAYOUTS = {
    "flat": (FLAT, lambda raw: torch.cat(list(raw), 1), "first"),
    "image": (IMAGE, lambda raw: torch.cat(list(raw), 1), "first"),
    "image as vectors": (IMAGE, lambda raw: torch.cat(list(raw.flatten(2)), 1), "first"),
    "channel last": (CHANNEL_LAST, lambda raw: torch.cat(list(raw), 1), "first"),
    "sequence": (SEQUENCE, lambda raw: torch.cat(list(raw), 1), "first"),
    "numbers first": (IMAGE, lambda raw: raw.movedim(0, 1), "first"),
    "numbers second": (IMAGE, lambda raw: raw.movedim(0, 2), "second"),
    "numbers last": (FLAT, lambda raw: raw.movedim(0, -1), "last"),
    "numbers last, image": (IMAGE, lambda raw: raw.movedim(0, -1), "last"),
    "numbers last, sequence": (SEQUENCE, lambda raw: raw.movedim(0, -1), "last"),
    "dictionary": (IMAGE, lambda raw: {"hidden": raw[0, :, 0, 0, :1], "logits": raw.movedim(0, -1)}, "last"),
    "object": (IMAGE, lambda raw: SimpleNamespace(sample=torch.cat(list(raw), 1)), "first"),
    "tuple": (IMAGE, lambda raw: (torch.cat(list(raw), 1), raw[0, :, 0, 0, :1]), "first"),
    "tuple of both": (IMAGE, tuple, None),
    "dictionary of both": (SEQUENCE, lambda raw: {"theta": raw[1], "mean": raw[0]}, None),
}


def table():
    for family, (_, _, k, output, _) in FAMILIES.items():
        for layout, (_, _, axis) in LAYOUTS.items():
            pair = axis is None and k == 2 and (layout != "dictionary of both" or output != "log_std")
            one = axis == "first" or layout == "dictionary" or (axis is not None and k > 1)
            if (pair or one) and (family != "columns" or layout == "flat"):
                yield pytest.param(family, layout, id=f"{family}, {layout}")


def test_every_likelihood_stands_in_the_table():
    assert set(likelihoods.names()) <= set(FAMILIES)


@pytest.mark.filterwarnings("ignore:gray values under a Bernoulli")
@pytest.mark.parametrize(("family", "layout"), list(table()))
def test_numbers_by_hand(family, layout):
    px, data, k, output, by_hand = FAMILIES[family]
    event, form, axis = LAYOUTS[layout]
    x, g = data(N, event), torch.Generator().manual_seed(2)
    weights = torch.randn(LATENT, k * math.prod(event), generator=g) / 10  # no family clamps its spread
    heads = torch.randn(2, math.prod(event), LATENT, generator=g) / 9

    def encode(x):
        return tuple(x.flatten(1).tanh() @ heads)

    def raw(z):
        return (z @ weights).view(-1, k, *event).movedim(1, 0)

    def decode(z):
        return form(raw(z))

    vae = nelbo.wrap(
        encode=encode, decode=decode, x=x, scale="logvar", likelihood=px, output=output, axis=axis if k > 1 else None
    )
    measured = evaluate(vae, x)
    mu, logvar = encode(x)
    error = -by_hand(raw(measured.z).double(), x.double()).flatten(1).sum(1)
    kl = D.kl_divergence(D.Normal(mu, torch.exp(0.5 * logvar)), D.Normal(0.0, 1.0)).sum(1)
    close = {"rtol": 2e-5, "atol": 2e-5, "check_dtype": False}
    torch.testing.assert_close(-measured.log_px, error, **close)
    torch.testing.assert_close(measured.kl_estimate, kl, **close)
    torch.testing.assert_close(measured.nelbo, error + kl, **close)
    torch.testing.assert_close(nelbo.loss(vae, x).kl, kl, **close)
