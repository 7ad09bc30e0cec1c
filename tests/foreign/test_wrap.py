"""Anyone's model: what is concluded is what was built, and what cannot be known is asked for."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

import nelbo
from nelbo.foreign import Wrapped
from nelbo.foreign.modules import modules_behind
from tests.foreign.models import EVENT, FEATURES, LATENT, Script, binary

BERNOULLI = nelbo.likelihoods.Bernoulli
X = binary(event=(FEATURES,))


def wrap(model, **arguments):
    given = {"encode": model.encode, "decode": model.decode, "x": X, "likelihood": BERNOULLI()}
    return nelbo.wrap(**(given | arguments))


def exact_terms(model, x, sigma, seed=3):
    """The terms of the negative ELBO by torch alone, with the draws that nelbo.loss makes after this seed."""
    mu, _ = model.encode(x)
    torch.manual_seed(seed)
    z = Normal(mu, sigma).rsample()
    p = model.decode(z) if model.squash else torch.sigmoid(model.decode(z))
    error = -Bernoulli(p, validate_args=False).log_prob(x).sum(1)
    return error, torch.distributions.kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(1)


SIGMA = {
    "logvar": lambda h: torch.exp(0.5 * h),
    "log_sigma": torch.exp,
    "sigma": lambda h: h,
    "variance": torch.sqrt,
}


@pytest.mark.parametrize("squash", [True, False], ids=["probabilities", "logits"])
@pytest.mark.parametrize("gives", list(SIGMA))
def test_scale_and_output_are_found_out_and_the_loss_is_exact(gives, squash):
    model = Script(gives=gives, squash=squash)
    vae = wrap(model)
    assert vae.encoding.second == gives
    assert vae.decoding.output == ("probabilities" if squash else "logits")
    assert vae.sampling.training == vae.sampling.evaluation == gives
    error, kl = exact_terms(model, X, SIGMA[gives](model.encode(X)[1]))
    torch.manual_seed(3)
    loss = nelbo.loss(vae, X)
    torch.testing.assert_close(loss.reconstruction_error, error, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loss.kl, kl, rtol=1e-4, atol=1e-4)
    assert any(c.about == "q(z|x)" for c in vae.conclusions)
    assert "because" in repr(vae)


class Named(NamedTuple):
    z_mean: torch.Tensor
    z_log_var: torch.Tensor


FORMS = {
    "list": list,
    "dict": lambda out: {"mu": out[0], "logvar": out[1], "features": torch.zeros(len(out[0]), 9)},
    "object": lambda out: SimpleNamespace(embedding=out[0], log_covariance=out[1]),
    "named tuple": lambda out: Named(*out),
    "with a draw": lambda out: (*out, out[0] + torch.randn_like(out[0])),
    "draw first": lambda out: (out[0] + torch.randn_like(out[0]), *out),
    "distribution": lambda out: Normal(out[0], torch.exp(0.5 * out[1])),
    "independent": lambda out: Independent(Normal(out[0], torch.exp(0.5 * out[1])), 1),
    "full covariance": lambda out: MultivariateNormal(out[0], torch.diag_embed(out[1].exp())),
    "halves": lambda out: torch.cat(out, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_answer_means_the_same(form):
    model = Script()
    arguments = {"latent": LATENT} if form == "halves" else {}
    if form in ("list", "with a draw", "draw first", "halves"):
        arguments["second"] = "logvar"
    vae = wrap(model, encode=lambda x: FORMS[form](model.encode(x)), **arguments)
    plain = wrap(model)
    assert vae.networks == (model,)
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, X).kl, nelbo.loss(plain, X).kl)
        torch.testing.assert_close(vae.encode(X), model.encode(X)[0])


def test_images_and_vectors_are_matched():
    model = Script(event=(FEATURES,))
    images = X.reshape(-1, *EVENT)
    vae = wrap(model, x=images, second="logvar")
    assert vae.reconstruct(images).shape == images.shape
    assert vae.sample(5).shape == (5, *EVENT)
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, images).kl, nelbo.loss(wrap(model), X).kl)


def test_spatial_latents_are_flattened_and_given_back_as_they_were():
    encoder = nn.Conv2d(1, 4, 2, 2)
    decoder = nn.ConvTranspose2d(2, 1, 2, 2)
    images = X.reshape(-1, *EVENT)
    vae = nelbo.wrap(
        encode=lambda x: encoder(x).chunk(2, dim=1), decode=decoder, x=images, second="logvar", likelihood=BERNOULLI()
    )
    assert vae.latent == 2 * 2 * 2
    assert nelbo.loss(vae, images, samples=3).nelbo.shape == (len(images),)


def test_a_decoder_that_returns_a_distribution_needs_no_likelihood():
    model = Script(squash=False)
    images = X.reshape(-1, *EVENT)

    def decode(z):
        return Independent(Bernoulli(logits=model.out(z).reshape(-1, *EVENT)), 3)

    vae = nelbo.wrap(encode=lambda x: model.encode(x.flatten(1)), decode=decode, x=images, second="logvar")
    other = wrap(model)
    for samples in (1, 4):
        torch.manual_seed(1)
        ours = nelbo.loss(vae, images, samples=samples)
        torch.manual_seed(1)
        torch.testing.assert_close(ours.nelbo, nelbo.loss(other, X, samples=samples).nelbo)
    assert vae.sample(3).shape == (3, *EVENT)


def test_rates_of_counts():
    counts = torch.poisson(torch.full((50, 5), 4.0), generator=torch.Generator().manual_seed(0))
    model = Script(event=(5,), squash=False)
    nn.init.constant_(model.out[2].bias, 1.4)  # a rate of about 4, as a trained decoder gives
    poisson = nelbo.likelihoods.Poisson()
    rates = wrap(model, x=counts, decode=lambda z: model.decode(z).exp(), likelihood=poisson, second="logvar")
    assert rates.decoding.output == "rates"
    same = wrap(model, x=counts, likelihood=poisson, second="logvar")
    assert same.decoding.output == "log_rates"
    z = torch.zeros(3, LATENT)
    torch.testing.assert_close(same.likelihood(z).mean, rates.likelihood(z).mean)


def test_a_prior_of_ones_own():
    pz = Independent(Normal(torch.full((LATENT,), 2.0), torch.full((LATENT,), 0.5)), 1)
    model = Script()
    mu, h = model.encode(X)
    exact = torch.distributions.kl_divergence(Normal(mu, torch.exp(0.5 * h)), Normal(2.0, 0.5)).sum(1)
    torch.testing.assert_close(nelbo.loss(wrap(model, prior=pz), X).kl, exact)


def test_dropout_and_batch_norm_are_evaluated_and_everything_is_put_back():
    model = Script(layers=(nn.Dropout(0.5), nn.BatchNorm1d(8)))
    model.body[2].eval()  # a part that its user keeps frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    vae = wrap(model)
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert not model.body[2].training
    assert any("Dropout" in c.because or "BatchNorm1d" in c.because for c in vae.conclusions)
    assert torch.equal(vae.encode(X), vae.encode(X))
    vae.eval()
    assert model.training
    vae.train()
    model.body[2].train()
    assert not torch.equal(vae.encode(X), vae.encode(X))
    vae.eval()
    after = {n: v for n, v in model.state_dict().items() if "running" not in n and "tracked" not in n}
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_how_z_is_drawn_is_measured():
    assert wrap(Script(draws="mean"), second="logvar").sampling.training == "mean"
    assert wrap(Script(draws="logvar squared"), second="logvar").sampling.training == "log_sigma"
    # without a model to run, nothing is claimed
    model = Script()
    assert wrap(model, encode=lambda x: model.encode(x + 0), second="logvar").sampling is None


def test_the_view_is_a_vae_with_the_models_own_weights():
    model = Script()
    vae = wrap(model)
    assert isinstance(vae, Wrapped)
    assert isinstance(vae, nelbo.VAE)
    assert {id(p) for p in vae.parameters()} == {id(p) for p in model.parameters()}
    nelbo.loss(vae, X).nelbo.mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    terms = nelbo.objectives.ImportanceWeighted(4)(vae, X)
    assert terms.value.shape == (len(X),)


def test_modules_are_found_behind_functions():
    model = Script()
    assert modules_behind(model.encode, model.decode) == (model,)
    assert modules_behind(lambda x: model.encode(x + 0)) == (model,)
    assert modules_behind(model.body, model.encode) == (model,)
    assert modules_behind(torch.sigmoid) == ()


model_ = Script(draws="mean")
ERRORS = {
    "scale unknown": ({}, "second='logvar'"),
    "contradiction": ({"encode": None}, "One of the two is a fault"),
    "negative sigma": ({"second": "sigma"}, "second='logvar'"),
    "wrong latent": ({"second": "logvar", "latent": 7}, "latent=3, not 7"),
    "no likelihood": ({"second": "logvar", "likelihood": None}, r"likelihood=nelbo.likelihoods.Bernoulli\(\)"),
    "class for instance": (
        {"second": "logvar", "likelihood": BERNOULLI},
        r"likelihood=nelbo.likelihoods.Bernoulli\(\)",
    ),
    "unknown second": ({"second": "std"}, "'logvar', 'log_sigma'"),
    "unknown output": ({"second": "logvar", "output": "rates"}, "output='probabilities' or output='logits'"),
    "one example": ({"x": X[0]}, r"expected \(batch, \*event\)"),
    "other width": ({"x": X[:, :5]}, "encode fails on x of shape"),
    "device": ({"x": X.to("meta")}, r"write x.to\('cpu'\)"),
    "whole numbers": ({"x": X.long()}, r"write x.float\(\)"),
    "a draw alone": ({"encode": lambda x: torch.randn(len(x), LATENT)}, "a draw of z"),
    "one tensor": ({"encode": lambda x: model_.encode(x)[0]}, "latent=1"),
    "decoder too small": ({"second": "logvar", "decode": lambda z: z}, "expected \\(60, 16\\) for Bernoulli"),
    "decoder fails": ({"second": "logvar", "decode": nn.Linear(5, 5)}, "decode fails on z of shape"),
    "not callable": ({"encode": 3}, "encode is a function"),
    "prior shape": ({"second": "logvar", "prior": Normal(0.0, 1.0)}, r"expected \(3,\)"),
    "prior kind": ({"second": "logvar", "prior": "normal"}, "StandardNormal"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_write(case):
    arguments, message = ERRORS[case]
    model = model_
    if case == "contradiction":

        class Repara(Script):
            def reparameterize(self, mu, logvar):
                return self.draw(mu, logvar)

        model, arguments = Repara(draws="logvar squared"), {}
    with pytest.raises((ValueError, TypeError), match=message):
        wrap(model, **arguments)


def test_a_model_whose_answer_is_ambiguous_is_asked_about():
    """Decoded values within [0, 1] that explain x much better as logits than as probabilities."""
    ones = torch.ones(20, FEATURES)
    model = Script()
    with pytest.raises(ValueError, match="output='probabilities' or output='logits'"):
        wrap(model, x=ones, decode=lambda z: 0.02 + 0 * model.decode(z), second="logvar")


def test_an_optimal_sigma_is_that_of_the_model_s_residuals():
    model = Script(squash=False)
    given = nelbo.likelihoods.Normal("optimal")
    vae = wrap(model, likelihood=given)
    torch.manual_seed(0)
    residual = (X - vae.likelihood(vae.posterior(X).sample()).mean).detach()
    sigma = float(vae.likelihood(torch.zeros(1, LATENT)).stddev.max())
    assert sigma == pytest.approx(float(residual.square().mean().sqrt()), rel=0.05)
    assert float(given.mean_square) == 1.0
    assert "sigma = " in repr(vae)


def test_a_draw_within_encode_cannot_be_stood_in_for_and_is_no_fault():
    """As Keras' examples have it: encode gives the mean, the log variance and z."""

    class Keras(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Script()

        def encode(self, x):
            mu, h = self.inner.encode(x)
            return mu, h, self.inner.draw(mu, h)

        def decode(self, z):
            return self.inner.decode(z)

        def forward(self, x):
            mu, h, z = self.encode(x)
            kl = -0.5 * (1 + h - mu**2 - h.exp()).sum()
            return (nn.functional.binary_cross_entropy(self.decode(z), x, reduction="sum") + kl) / len(x)

    model = Keras()
    vae = wrap(model, second="logvar")
    assert vae.sampling is None
    assert "encode draws z itself" in repr(vae)
    found = nelbo.diagnose(vae, X, loss=model, examples=50, only=["no-sampling", "sample-with-variance"])
    assert not len(found)
    assert {"no-sampling", "sample-with-variance"} <= set(found.skipped)


def test_the_first_cause_of_a_nan_is_named_as_its_owner_names_it():
    model = Script(layers=(nn.Linear(8, 8),))
    vae = wrap(model, second="logvar", output="probabilities")

    def cause():
        return nelbo.diagnose(vae, X, examples=50)[0].meaning

    with torch.no_grad():
        model.body[2].weight[3, 4] = torch.nan
        assert "the weight body.2.weight is nan at (3, 4)" in cause()
        model.body[2].weight[3, 4] = 0.0
        model.h.bias[1] = 1e4
        assert "the standard deviation of q(z|x) is inf at (0, 1)" in cause()
    model.h = nn.Sequential(model.h, Logarithm())
    assert "the output of h.1 (Logarithm) is nan" in cause()


class Logarithm(nn.Module):
    """Of what may be negative."""

    def forward(self, x):
        return torch.log(-x.abs())
