"""Likelihoods with several numbers for each feature: every layout and scale gives the numbers of plain PyTorch."""

import re

import pytest
import torch
from torch.distributions import NegativeBinomial, Normal
from torch.nn import functional as F

import nelbo
from tests.wrapping.models import LATENT, Script

N, L, V = 80, 6, 4
G = torch.Generator().manual_seed(0)
IDS = torch.randint(0, V, (N, L), generator=G)
REAL = torch.randn(N, L, generator=G)
COUNTS = torch.poisson(torch.full((N, L), 4.0), generator=G)


class Plain(Script):
    """Decodes to k numbers of each of L features, (n, L, k), in the way of a form."""

    def __init__(self, k, form):
        super().__init__(event=(L,), squash=False)
        self.k, self.form = k, form
        self.several = torch.nn.Linear(LATENT, L * k)

    def raw(self, z):
        return self.several(z).view(-1, L, self.k)

    def decode(self, z):
        return self.form(self.raw(z))


def log_px(family, model, x, **arguments):
    """By the view, and the raw numbers at the same z."""
    vae = nelbo.wrap(model, x=x, scale="logvar", likelihood=family, **arguments)
    z = torch.randn(N, LATENT, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return vae.likelihood(z).log_prob(x), model.raw(z)


CATEGORIES = {
    "(n, V, L) logits": lambda raw: raw.transpose(1, 2),
    "(n, L, V) logits": lambda raw: raw,
    "(n, V, L) probabilities": lambda raw: raw.transpose(1, 2).softmax(1),
    "(n, L, V) probabilities": lambda raw: raw.softmax(-1),
    "(n, L, V) log probabilities": lambda raw: raw.log_softmax(-1),
    "flat probabilities": lambda raw: raw.softmax(-1).flatten(1),
    "in a dictionary": lambda raw: {"logits": raw, "hidden": raw.sum((1, 2))},
}


@pytest.mark.parametrize("form", CATEGORIES)
def test_categories(form):
    got, raw = log_px(nelbo.likelihoods.Categorical(V), Plain(V, CATEGORIES[form]), IDS.float())
    expected = -F.cross_entropy(raw.transpose(1, 2), IDS, reduction="none").sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


WRONG = {
    "of the features": (lambda raw: raw.softmax(1), rf"over the {L} features, .* Write softmax\(..., dim=-1\)"),
    "of the batch": (lambda raw: raw.softmax(0), rf"over the {N} examples of a batch, .*dim=-1"),
    "of all": (lambda raw: raw.flatten(1).softmax(1).view_as(raw), "over a whole example, not over the 4 classes"),
    "class axis first": (lambda raw: raw.transpose(1, 2).softmax(2), r"Write softmax\(..., dim=1\)"),
    "logarithms": (lambda raw: raw.log_softmax(1), r"logarithms of numbers in .* Write log_softmax\(..., dim=-1\)"),
}


@pytest.mark.parametrize("form", WRONG)
def test_a_softmax_along_the_wrong_axis_is_not_taken_for_logits(form):
    decode, message = WRONG[form]
    with pytest.raises(ValueError, match=message):
        log_px(nelbo.likelihoods.Categorical(V), Plain(V, decode), IDS.float())
    got, raw = log_px(nelbo.likelihoods.Categorical(V), Plain(V, decode), IDS.float(), output="logits")
    given = decode(raw) if form == "class axis first" else decode(raw).transpose(1, 2)
    expected = -F.cross_entropy(given, IDS, reduction="none").sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_a_flat_answer_that_may_be_two_things_is_asked_about():
    family = nelbo.likelihoods.Categorical(V)
    model = Plain(V, lambda raw: 1e-3 * raw.flatten(1))
    with pytest.raises(ValueError, match=r"axis='first' or axis='last'"):
        log_px(family, model, IDS.float())
    got, raw = log_px(family, model, IDS.float(), axis="last")
    expected = -F.cross_entropy(1e-3 * raw.transpose(1, 2), IDS, reduction="none").sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


PARTS = {
    "one behind the other": lambda mean, spread: torch.cat([mean, spread], 1),
    "first axis": lambda mean, spread: torch.stack([mean, spread], 1),
    "last axis": lambda mean, spread: torch.stack([mean, spread], -1),
    "tuple": lambda mean, spread: (mean, spread),
}
SIGMA = {
    "logvar": lambda h: (h, torch.exp(0.5 * h)),
    "log_std": lambda h: (h, torch.exp(h)),
    "std": lambda h: (F.softplus(h), F.softplus(h)),
    "variance": lambda h: (F.softplus(h), F.softplus(h).sqrt()),
    "softplus": lambda h: (h, F.softplus(h)),
}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("scale", SIGMA)
def test_mean_and_spread(parts, scale):
    model = Plain(2, lambda raw: PARTS[parts](raw[..., 0], SIGMA[scale](raw[..., 1])[0]))
    got, raw = log_px(nelbo.likelihoods.Normal("decoded"), model, REAL, output=scale)
    expected = Normal(raw[..., 0], SIGMA[scale](raw[..., 1])[1]).log_prob(REAL).sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_a_spread_is_told_by_the_residuals_of_a_trained_decoder_and_else_asked_for():
    family, x = nelbo.likelihoods.Normal("decoded"), 0.1 * REAL
    model = Plain(2, lambda raw: torch.cat([0 * raw[..., 0], 0 * raw[..., 1] + 2 * torch.tensor(0.1).log()], 1))
    vae = nelbo.wrap(model, x=x, scale="logvar", likelihood=family)
    assert vae.decoding.output == "logvar"
    assert "standard deviations from the mean" in str(vae)
    with pytest.raises(ValueError, match=r"output='logvar' .* or output='log_std'"):
        nelbo.wrap(model, x=10 * x, scale="logvar", likelihood=family)


NUMBERS = {
    "logs": lambda raw: torch.cat([raw[..., 0], raw[..., 1]], 1),
    "mean and r": lambda raw: torch.cat([raw[..., 0].exp(), raw[..., 1].exp()], 1),
    "mean and r, last axis": lambda raw: raw.exp(),
    "mean and r, tuple": lambda raw: (raw[..., 0].exp(), raw[..., 1].exp()),
    "mean and r, by name": lambda raw: {"px_r": raw[..., 1].exp(), "px_rate": raw[..., 0].exp()},
}


@pytest.mark.parametrize("form", NUMBERS)
def test_counts(form):
    output = "log_rates" if form == "logs" else "rates"
    got, raw = log_px(nelbo.likelihoods.NegativeBinomial(), Plain(2, NUMBERS[form]), COUNTS, output=output)
    log_mean, log_r = raw.unbind(-1)
    expected = NegativeBinomial(log_r.exp(), logits=log_mean - log_r).log_prob(COUNTS).sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["logits", "probs"])
def test_odds_are_not_taken_for_a_mean(name):
    """As torch's own distribution has them: its mean is total_count * exp(logits)."""
    model = Plain(2, lambda raw: {"total_count": raw[..., 0].exp(), name: raw[..., 1].sigmoid()})
    with pytest.raises(ValueError, match="wants a mean and a dispersion") as error:
        log_px(nelbo.likelihoods.NegativeBinomial(), model, COUNTS)
    advised = eval(re.search(r"write likelihood=(.*)", str(error.value))[1])  # the line as it stands
    got, raw = log_px(advised, model, COUNTS)
    expected = NegativeBinomial(raw[..., 0].exp(), **{name: raw[..., 1].sigmoid()}).log_prob(COUNTS).sum(1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_names_that_do_not_say_which_is_the_mean():
    model = Plain(2, lambda raw: {"a": raw[..., 0].exp(), "b": raw[..., 1].exp()})
    with pytest.raises(ValueError, match=r"do not say which is the mean; return them as a tuple"):
        log_px(nelbo.likelihoods.NegativeBinomial(), model, COUNTS)


def test_a_spread_by_its_name_is_part_of_the_family_that_is_assumed():
    model = Plain(2, lambda raw: {"mean": raw[..., 0], "logvar": raw[..., 1]})
    vae = nelbo.wrap(model, x=REAL, scale="logvar")
    z = torch.randn(N, LATENT, generator=torch.Generator().manual_seed(1))
    mean, logvar = model.raw(z).unbind(-1)
    expected = Normal(mean, torch.exp(0.5 * logvar)).log_prob(REAL).sum(1)
    torch.testing.assert_close(vae.likelihood(z).log_prob(REAL), expected, rtol=1e-4, atol=1e-4)
    vae = nelbo.wrap(Plain(2, lambda raw: {"mean": raw[..., 0], "other": raw[..., 1]}), x=REAL, scale="logvar")
    assert "other of what decode gives not read" in str(vae)


@pytest.mark.parametrize("scale", ["logvar", "std"])
def test_the_loss_of_a_decoded_sigma_weighs_one(scale):
    model = Plain(2, lambda raw: torch.cat([raw[..., 0], SIGMA[scale](raw[..., 1])[0]], 1))
    to_sigma = {"logvar": lambda h: torch.exp(0.5 * h), "std": lambda h: h}[scale]

    def loss(x):
        mu, logvar = model.encode(x)
        mean, spread = model.decode(model.draw(mu, logvar)).chunk(2, 1)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
        return (kl - Normal(mean, to_sigma(spread)).log_prob(x).sum()) / len(x)

    vae = nelbo.wrap(model, x=REAL, scale="logvar", likelihood=nelbo.likelihoods.Normal("decoded"), output=scale)
    weighed = nelbo.diagnosis.effective_beta(loss, vae, REAL)
    assert float(weighed.beta) == pytest.approx(1, rel=1e-3)
    assert weighed.reconstruction == "declared"
