"""Anyone's model: what is inferred is what was built, and what cannot be known is asked for."""

import functools
import pickle
import random
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

import nelbo
from nelbo.vae import Model
from nelbo.wrapping import Wrapped, modules
from nelbo.wrapping.modules import modules_behind, restoring
from tests.wrapping.models import EVENT, FEATURES, LATENT, Script, binary

pytestmark = pytest.mark.device

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
    "log_std": torch.exp,
    "std": lambda h: h,
    "variance": torch.sqrt,
}


@pytest.mark.parametrize("squash", [True, False], ids=["probabilities", "logits"])
@pytest.mark.parametrize("gives", list(SIGMA))
def test_scale_and_output_are_found_out_and_the_loss_is_exact(gives, squash):
    model = Script(gives=gives, squash=squash)
    vae = wrap(model)
    assert vae.encoding.scale == gives
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
        arguments["scale"] = "logvar"
    vae = wrap(model, encode=lambda x: FORMS[form](model.encode(x)), **arguments)
    plain = wrap(model)
    assert vae.networks == (model,)
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, X).kl, nelbo.loss(plain, X).kl)
        torch.testing.assert_close(vae.encode(X), model.encode(X)[0])


def test_images_and_vectors_are_matched():
    model = Script(event=(FEATURES,))
    images = X.reshape(-1, *EVENT)
    vae = wrap(model, x=images, scale="logvar")
    assert vae.reconstruct(images).shape == images.shape
    assert vae.sample(5).shape == (5, *EVENT)
    with torch.no_grad():
        torch.testing.assert_close(nelbo.loss(vae, images).kl, nelbo.loss(wrap(model), X).kl)


def test_spatial_latents_are_flattened_and_given_back_as_they_were():
    encoder = nn.Conv2d(1, 4, 2, 2)
    decoder = nn.ConvTranspose2d(2, 1, 2, 2)
    images = X.reshape(-1, *EVENT)
    vae = nelbo.wrap(
        encode=lambda x: encoder(x).chunk(2, dim=1), decode=decoder, x=images, scale="logvar", likelihood=BERNOULLI()
    )
    assert vae.latent == 2 * 2 * 2
    assert nelbo.loss(vae, images, samples=3).nelbo.shape == (len(images),)


def test_a_decoder_that_returns_a_distribution_needs_no_likelihood():
    model = Script(squash=False)
    images = X.reshape(-1, *EVENT)

    def decode(z):
        return Independent(Bernoulli(logits=model.out(z).reshape(-1, *EVENT)), 3)

    vae = nelbo.wrap(encode=lambda x: model.encode(x.flatten(1)), decode=decode, x=images, scale="logvar")
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
    rates = wrap(model, x=counts, decode=lambda z: model.decode(z).exp(), likelihood=poisson, scale="logvar")
    assert rates.decoding.output == "rates"
    same = wrap(model, x=counts, likelihood=poisson, scale="logvar")
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
    assert wrap(Script(draws="mean"), scale="logvar").sampling.training == "mean"
    assert wrap(Script(draws="logvar squared"), scale="logvar").sampling.training == "log_std"
    # without a model to run, nothing is claimed
    model = Script()
    assert wrap(model, encode=lambda x: model.encode(x + 0), scale="logvar").sampling is None


def test_the_view_is_a_vae_with_the_models_own_weights():
    model = Script()
    vae = wrap(model)
    assert isinstance(vae, Wrapped)
    assert isinstance(vae, Model)
    assert vae.foreign
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
    "scale unknown": ({}, "scale='logvar'"),
    "contradiction": ({"encode": None}, "One of the two is a fault"),
    "negative sigma": ({"scale": "std"}, "scale='logvar'"),
    "wrong latent": ({"scale": "logvar", "latent": 7}, "latent=3, not 7"),
    "no likelihood": ({"scale": "logvar", "likelihood": None}, r"likelihood=nelbo.likelihoods.Bernoulli\(\)"),
    "class for instance": (
        {"scale": "logvar", "likelihood": BERNOULLI},
        r"likelihood=nelbo.likelihoods.Bernoulli\(\)",
    ),
    "unknown scale": ({"scale": "sigma"}, "'logvar', 'log_std'"),
    "unknown output": ({"scale": "logvar", "output": "rates"}, "output='probabilities' or output='logits'"),
    "one example": ({"x": X[0]}, r"must have shape \(batch, \*event\)"),
    "other width": ({"x": X[:, :5]}, "encode fails on x of shape"),
    "whole numbers": ({"x": X.long()}, r"write x.float\(\)"),
    "a draw alone": ({"encode": lambda x: torch.randn(len(x), LATENT)}, "a draw of z"),
    "one tensor": ({"encode": lambda x: model_.encode(x)[0]}, "latent=1"),
    "decoder too small": ({"scale": "logvar", "decode": lambda z: z}, "expected \\(60, 16\\) for Bernoulli"),
    "decoder fails": ({"scale": "logvar", "decode": nn.Linear(5, 5)}, "decode fails on z of shape"),
    "not callable": ({"encode": 3}, "encode must be a function"),
    "prior shape": ({"scale": "logvar", "prior": Normal(0.0, 1.0)}, r"expected \(3,\)"),
    "prior kind": ({"scale": "logvar", "prior": "normal"}, "StandardNormal"),
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
        wrap(model, x=ones, decode=lambda z: 0.02 + 0 * model.decode(z), scale="logvar")


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
    vae = wrap(model, scale="logvar")
    assert vae.sampling is None
    assert "encode draws z itself" in repr(vae)
    found = nelbo.diagnose(vae, X, loss=model, examples=50, only=["no-sampling", "sample-with-variance"])
    assert not len(found)
    assert {"no-sampling", "sample-with-variance"} <= set(found.skipped)


def test_the_first_cause_of_a_nan_is_named_as_its_owner_names_it():
    model = Script(layers=(nn.Linear(8, 8),))
    vae = wrap(model, scale="logvar", output="probabilities")

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


# modules and functions in their usual disguises


@pytest.mark.parametrize("kind", ["partial", "compiled", "distributed"])
def test_functions_in_a_disguise_are_found_listened_to_and_weighed(kind, tmp_path):
    model = Script()
    shown, function = model, {"encode": model.encode, "decode": model.decode}
    if kind == "partial":
        function = {name: functools.partial(method) for name, method in function.items()}
    elif kind == "compiled":
        shown = torch.compile(model, backend="eager")
        function = {"encode": shown.encode, "decode": shown.decode}
    else:
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
        shown = nn.parallel.DistributedDataParallel(model)
        function = {"encode": shown.module.encode, "decode": shown.module.decode}
    try:
        vae = wrap(model, **function, forward=None if kind == "partial" else shown)
        assert vae.networks == (model,)
        assert vae.sampling.training == "logvar"

        def loss(x):
            recon, mu, logvar = shown(x)
            kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
            return (nn.functional.binary_cross_entropy(recon, x, reduction="sum") + 3 * kl) / len(x)

        weighed = nelbo.diagnosis.effective_beta(loss, vae, X)
        assert float(weighed.beta) == pytest.approx(3, rel=1e-3)
        assert not {"encode", "decode"} & set(vars(model))
    finally:
        if kind == "distributed":
            torch.distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_float32(dtype):
    model = Script()
    exact = nelbo.loss(wrap(model, scale="logvar"), X, samples=200)
    vae = wrap(model.to(dtype))
    assert vae.sampling.training == "logvar"
    assert vae.posterior(X).mean.dtype == vae.likelihood(torch.zeros(2, LATENT)).mean.dtype == torch.float32
    terms = nelbo.loss(vae, X, samples=200)
    torch.testing.assert_close(terms.kl.mean(), exact.kl.mean(), rtol=0.01, atol=0.01)
    torch.testing.assert_close(terms.reconstruction_error.mean(), exact.reconstruction_error.mean(), rtol=0.01, atol=0)


class Codec:
    """Functions on a class, which is what holds the module."""

    model = Script()

    @staticmethod
    def encode(x):
        return Codec.model.encode(x)

    @classmethod
    def decode(cls, z):
        return cls.model.decode(z)


def codec_of_closures():
    """Methods that find their module in the closure of their class."""
    inner = Script()

    class Closed:
        def encode(self, x):
            return inner.encode(x)

        def __call__(self, z):
            return inner.decode(z)

    return inner, Closed()


def test_modules_are_found_behind_classes_and_their_closures():
    assert modules_behind(Codec.encode) == modules_behind(Codec.decode) == (Codec.model,)
    inner, closed = codec_of_closures()
    assert modules_behind(closed.encode) == modules_behind(closed) == (inner,)
    assert wrap(inner, encode=closed.encode, decode=closed, scale="logvar").networks == (inner,)


class Stateful(Script):
    """Counts, remembers and moves its statistics whenever it runs, and then fails."""

    def __init__(self):
        super().__init__(layers=(nn.BatchNorm1d(8),))
        self.steps, self.losses, self.last = 0, [], None

    def forward(self, x):
        self.eval()
        self.steps += 1
        self.last = x.mean()
        self.losses.append(self.last)
        self.added = True
        self.train()
        self.encode(x)
        raise RuntimeError("in the middle of it")


def test_what_fails_in_the_middle_leaves_no_trace():
    model = Stateful()
    model.body[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = set(vars(model))
    with pytest.raises(RuntimeError, match="in the middle"), restoring([model]):
        model(X)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (model.steps, model.losses, model.last) == (0, [], None)
    assert set(vars(model)) == attributes
    assert model.training
    assert not model.body[2].training
    # wrap runs it too: what it learns is that this cannot be run
    random = torch.get_rng_state()
    vae = wrap(model, scale="logvar")
    assert "in the middle of it" in repr(vae)
    assert model.steps == 0
    assert torch.equal(random, torch.get_rng_state())
    with pytest.raises(ValueError, match="in the middle of it"):
        nelbo.diagnosis.effective_beta(model, vae, X)
    assert model.steps == 0
    assert not {"encode", "decode"} & set(vars(model))


def test_x_goes_where_the_model_is():
    model = Script().double()
    vae = wrap(model, scale="logvar")
    assert "read as torch.float64" in repr(vae)
    assert nelbo.loss(vae, X.numpy()).nelbo.dtype == torch.float64
    with pytest.raises(ValueError, match="8-bit images"):
        vae.posterior(X.to(torch.uint8))


def test_functions_without_modules_keep_the_precision_of_x():
    weight = torch.randn(FEATURES, LATENT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vae = nelbo.wrap(
        encode=lambda x: (x @ weight, x @ weight),
        decode=lambda z: z @ weight.T,
        x=X.double(),
        scale="logvar",
        output="logits",
        likelihood=BERNOULLI(),
    )
    assert vae.networks == ()
    assert nelbo.loss(vae, X).nelbo.dtype == torch.float64
    assert nelbo.diagnose(vae, X, examples=50, only=["not-finite"]).healthy


class Counting(Script):
    """It counts, keeps and draws in each run, with generators of its own; encode tells decode a shape."""

    def __init__(self):
        super().__init__()
        self.own, self.numbers, self.python = torch.Generator(), np.random.default_rng(0), random.Random(0)
        self.calls, self.seen, self.last, self.shape = 0, defaultdict(list), deque(maxlen=2), None
        self.fixed = Fixed(size=1)
        self.register_buffer("average", torch.zeros(LATENT))

    def encode(self, x):
        mu, h = super().encode(x)
        self.calls += 1
        self.seen["rows"].append(len(x)), self.last.append(len(x))
        self.average += mu.mean(0)
        self.shape, self.made = x.shape[1:], True
        return mu, h

    def decode(self, z):
        random.random(), np.random.rand(), self.python.random(), self.numbers.random()
        return super().decode(z).view(-1, *self.shape)

    def draw(self, mu, h):
        return mu + (0.5 * h).exp() * torch.randn(h.shape, generator=self.own, device="cpu").to(h)

    def state(self):
        ours = self.own.get_state().tolist(), self.numbers.bit_generator.state, self.python.getstate()
        kept = self.calls, dict(self.seen), list(self.last), self.average.tolist()
        return *ours, *kept, random.getstate(), np.random.get_state()[1:3]


class Fixed(dict):
    """A dictionary that cannot be changed, as a configuration."""

    def update(self, *args, **kwargs):
        raise TypeError


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_is_left_behind(whole):
    model = Counting()
    before = pickle.dumps(model.state())
    parts = {"model": model} if whole else {"encode": model.encode, "decode": model.decode}
    vae = nelbo.wrap(**parts, x=X, scale="logvar", likelihood=BERNOULLI())
    unchanged = pickle.dumps(model.state()) == before
    assert unchanged  # without a difference of long states
    assert vae.likelihood(torch.zeros(2, LATENT)).mean.shape == (2, FEATURES)  # of a shape that the first run leaves


def test_weights_that_the_first_run_makes():
    encoder, decoder = nn.LazyLinear(2 * LATENT), nn.LazyLinear(FEATURES)
    vae = nelbo.wrap(encode=encoder, decode=decoder, x=X, latent=LATENT, scale="logvar", likelihood=BERNOULLI())
    assert (encoder.in_features, decoder.in_features) == (FEATURES, LATENT)
    assert nelbo.loss(vae, X).nelbo.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((model_,), {}),
        ((model_.encode, X, model_.decode), {}),
        ((), {"encode": model_.encode, "decode": model_.decode}),
    ],
    ids=["a model alone", "positional", "without x"],
)
def test_a_call_without_its_arguments_is_shown_the_line_to_write(arguments, options):
    with pytest.raises(TypeError, match=r"write nelbo\.wrap\(encode=model\.encode, decode=model\.decode, x=x"):
        nelbo.wrap(*arguments, **options)


STEP = object()  # what the methods of a class of many instances read


def test_what_many_layers_share_is_looked_into_once():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            return self.linear(x), STEP

    model = nn.Sequential(*(Scaled() for _ in range(50)))
    # a loss of such a model is called a hundred times while it is weighed, each time in a world put back as it was
    found = [value for value, _ in modules._looked_up([model, *model.modules()])]
    assert sum(value is STEP for value in found) == 1


def test_an_optimal_sigma_is_that_of_all_examples_though_few_are_decoded_at_a_time():
    sizes = []

    class Images(nn.Module):
        def encode(self, x):
            return x.mean((2, 3)), torch.full((len(x), 3), -30.0)

        def decode(self, z):
            sizes.append(len(z))
            return z[:, :, None, None].expand(-1, -1, 64, 64)

    x = torch.randn(100, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x *= torch.arange(1, 101)[:, None, None, None] / 50  # examples differ in the size of their residuals
    view = nelbo.wrap(Images(), x=x, scale="logvar", likelihood=nelbo.likelihoods.Normal("optimal"), output="mean")
    expected = (x - x.mean((2, 3), keepdim=True)).square().mean().sqrt()
    assert float(view.px_family.sigma) == pytest.approx(float(expected), rel=1e-4)
    assert max(sizes) <= 8
