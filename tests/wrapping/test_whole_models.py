"""nelbo.wrap(model, x=x): modules and holders in the style of other projects, without a word about their parts."""

import warnings
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, Poisson
from torch.nn import functional as F

import nelbo
from nelbo.diagnosis import effective_beta
from nelbo.wrapping import sampling
from tests.wrapping.models import FEATURES, LATENT, Script, binary
from tests.wrapping.test_answers import Posterior

X = binary(120, event=(FEATURES,))
IMAGES = torch.rand(96, 1, 4, 4, generator=torch.Generator().manual_seed(0))
G = torch.Generator().manual_seed(1)


def kl(mu, logvar):
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()


class Output(OrderedDict):
    """As transformers', diffusers' and pythae's outputs: keys are attributes too."""

    __getattr__ = OrderedDict.__getitem__


class LatentDiffusion(nn.Module):
    """Spatial latents, a posterior object within an output, a forward that takes the mode unless told to sample."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.config = {"scaling_factor": 0.18215}
        self.down, self.up = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

    def encode(self, x, return_dict=True):
        return Output(latent_dist=Posterior(*self.down(x).chunk(2, 1)))

    def decode(self, z, return_dict=True):
        return Output(sample=self.up(z))

    def forward(self, sample, sample_posterior=False):
        q = self.encode(sample).latent_dist
        z = q.mean + q.std * torch.randn_like(q.std) if sample_posterior else q.mean
        return Output(sample=self.decode(z).sample)


def test_spatial_latents_and_a_posterior_object():
    model = LatentDiffusion()
    vae = nelbo.wrap(model, x=IMAGES, likelihood=nelbo.likelihoods.Normal(1.0))
    assert vae.latent == 8
    assert vae.sampling.training == "logvar"
    assert "scaling factor 0.18215" in str(vae)
    assert "own reconstruction is what decode gives" in str(vae)
    q = model.encode(IMAGES).latent_dist
    exact = 0.5 * (q.mean**2 + q.var - 1 - q.logvar).flatten(1).sum(1)
    torch.testing.assert_close(nelbo.loss(vae, IMAGES).kl, exact)

    def loss(x):
        q = model.encode(x).latent_dist
        z = q.mean + q.std * torch.randn_like(q.std)
        return F.mse_loss(model.decode(z).sample, x) + 1e-2 * kl(q.mean, q.logvar) / len(x)

    weighed = effective_beta(loss, vae, IMAGES)
    assert float(weighed.beta) == pytest.approx(1e-2 * 16 / 2, rel=1e-3)


def test_one_spatial_tensor_of_means_and_log_variances():
    class Moments(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.encoder, self.decoder = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

        def forward(self, x):
            mu, h = self.encoder(x).chunk(2, 1)
            return self.decoder(mu + torch.exp(0.5 * h) * torch.randn_like(mu))

    model, normal = Moments(), nelbo.likelihoods.Normal(1.0)
    mu, h = model.encoder(IMAGES).chunk(2, 1)
    exact = 0.5 * (mu**2 + h.exp() - 1 - h).flatten(1).sum(1)
    for latent in (None, 2, 8):  # as decode takes them; channels, and units
        vae = nelbo.wrap(model, x=IMAGES, likelihood=normal, latent=latent)
        assert vae.sampling.training == "logvar"
        torch.testing.assert_close(nelbo.loss(vae, IMAGES).kl, exact)
    parts = nelbo.wrap(encode=model.encoder, decode=model.decoder, module=model, x=IMAGES, likelihood=normal)
    torch.testing.assert_close(nelbo.loss(parts, IMAGES).kl, exact)


@pytest.mark.parametrize("tells", [True, False])
def test_a_layer_twice_as_wide_as_z_is_not_taken_for_two_halves(tells):
    """An encoder of 4 features before the two layers that give the mean and the log variance of 2 latents."""

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.encoder, self.decoder = nn.Linear(16, 4), nn.Linear(2, 16)
            self.mu, self.var = nn.Linear(4, 2), nn.Linear(4, 2)

        def reparameterize(self, mu, logvar):
            return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

        def forward(self, x):
            mu, h = self.mu(self.encoder(x)), self.var(self.encoder(x))
            reconstruction = self.decoder(self.reparameterize(mu, h))
            return (reconstruction, mu, h) if tells else reconstruction

    model, x = Body(), IMAGES.flatten(1)[:, :16]
    if tells:
        vae = nelbo.wrap(model, x=x)
        torch.testing.assert_close(vae.encode(x), model.mu(model.encoder(x)))
        return
    with pytest.raises(ValueError, match="both halves of a q.z|x., or a code without any spread"):
        nelbo.wrap(model, x=x)
    with pytest.raises(ValueError, match="both halves of a q.z|x., or a code without any spread"):
        nelbo.wrap(encode=model.encoder, decode=model.decoder, x=x, likelihood=nelbo.likelihoods.Normal(1.0))


class Network(nn.Module):
    def __init__(self, name, *outputs):
        super().__init__()
        self.heads = nn.ModuleDict({key: nn.Linear(*shape) for key, shape in outputs})
        self.name = name

    def forward(self, values):
        return Output({key: head(values.flatten(1)) for key, head in self.heads.items()})


class Benchmark(nn.Module):
    """Networks with named outputs, a batch that is a dictionary, and an error named by the configuration."""

    def __init__(self, error):
        super().__init__()
        torch.manual_seed(0)
        self.model_config = SimpleNamespace(reconstruction_loss=error)
        self.encoder = Network("e", ("embedding", (FEATURES, LATENT)), ("log_covariance", (FEATURES, LATENT)))
        self.decoder = Network("d", ("reconstruction", (LATENT, FEATURES)))

    def forward(self, inputs, **kwargs):
        x = inputs["data"]
        q = self.encoder(x)
        z = q.embedding + torch.exp(0.5 * q.log_covariance) * torch.randn_like(q.embedding)
        recon = self.decoder(z)["reconstruction"]
        loss = (0.5 * (recon - x).square().sum() + kl(q.embedding, q.log_covariance)) / len(x)
        return Output(loss=loss, recon_x=recon, z=z)


def test_networks_with_named_outputs_and_an_error_in_the_configuration():
    model = Benchmark("mse")
    vae = nelbo.wrap(model, x=X)
    assert vae.px_family.sigma == 1.0
    said = "p(x|z): Normal with sigma = 1, because model_config.reconstruction_loss is 'mse'"
    assert said in str(vae)
    assert said not in str(nelbo.wrap(model, x=X, likelihood=nelbo.likelihoods.Normal(2.0)))
    assert "own loss is the negative ELBO, without the constants" in str(vae)
    weighed = effective_beta(lambda x: model({"data": x}), vae, X)
    assert weighed.cause == "nelbo"


def test_what_is_tried_in_vain_warns_of_nothing():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        nelbo.wrap(Benchmark("mse"), x=X)
    assert not shown


class Detector:
    """A fitted detector: it holds its network, and the mean and spread by which it standardizes."""

    def __init__(self, x):
        self.model = Script(squash=False)
        self.X_mean, self.X_std = x.mean(0).numpy(), x.std(0).numpy()

    def fit(self, x):
        return self


def test_a_fitted_detector_and_its_scale():
    x = 5 + 3 * torch.randn(90, FEATURES, generator=G)
    detector = Detector(x)
    with pytest.raises(ValueError, match=r"write x=\(x - torch.as_tensor\(detector.X_mean\)"):
        nelbo.wrap(detector, x=x)
    vae = nelbo.wrap(detector, x=(x - x.mean(0)) / x.std(0))
    assert vae.networks == (detector.model,)
    assert "assumed to be Normal" in str(vae)


class Synthesizer:
    """It keeps what decodes alone."""

    def __init__(self):
        self.decoder = nn.Linear(LATENT, FEATURES)


def test_a_holder_without_an_encoder_is_refused_with_what_is_missing():
    with pytest.raises(TypeError, match="holds only decoder: what encodes x is not kept"):
        nelbo.wrap(Synthesizer(), x=X)
    with pytest.raises(TypeError, match="write nelbo.wrap"):
        nelbo.wrap(object(), x=X)


class SingleCell(nn.Module):
    """Inference and generation by keywords, distributions in dictionaries, and no shapes in them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(FEATURES + 2, 2 * LATENT), nn.Linear(LATENT + 2, FEATURES)

    def inference(self, x, batch_index, n_samples=1):
        batch = F.one_hot(batch_index.squeeze(-1), 2)
        mean, h = self.encoder(torch.cat([x.log1p(), batch], 1)).chunk(2, 1)
        qz = Normal(mean, torch.exp(0.5 * h))
        return {"z": qz.rsample(), "qz": qz, "ql": None, "library": x.sum(1, keepdim=True).log()}

    def generative(self, z, library, batch_index):
        batch = F.one_hot(batch_index.squeeze(-1), 2)
        rates = self.decoder(torch.cat([z, batch], 1)).softmax(1) * library.exp()
        return {"px": Poisson(rates), "pl": None, "pz": Normal(torch.zeros_like(z), torch.ones_like(z))}

    def forward(self, tensors):
        q = self.inference(x=tensors["X"], batch_index=tensors["batch"])
        p = self.generative(z=q["z"], library=q["library"], batch_index=tensors["batch"])
        kl = torch.distributions.kl_divergence(q["qz"], p["pz"]).sum(1)
        return Output(loss=(kl - p["px"].log_prob(tensors["X"]).sum(1)).mean())


def cells():
    counts = torch.poisson(torch.full((100, FEATURES), 3.0), generator=G) + 1
    batch = torch.arange(100) % 2
    return counts, torch.stack([batch, counts.sum(1).log()], 1)


def test_single_cells_with_batch_and_library_size_as_the_condition():
    model = SimpleNamespace(module=SingleCell())
    counts, c = cells()
    vae = nelbo.wrap(model, x=counts, c=c)
    assert vae.conditional
    assert "own loss is the negative ELBO" in str(vae)
    assert "encode draws z itself" in str(vae)
    half = nelbo.data.Batch(counts[:50], c=c[:50])
    terms = nelbo.loss(vae, half, samples=3)
    mean, h = model.module.encoder(torch.cat([counts[:50].log1p(), F.one_hot(c[:50, 0].long(), 2)], 1)).chunk(2, 1)
    exact = torch.distributions.kl_divergence(Normal(mean, torch.exp(0.5 * h)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(terms.kl, exact)

    def loss(x, c):
        return model.module({"X": x, "batch": c[:, :1].long()})

    assert float(effective_beta(loss, vae, nelbo.data.Batch(counts, c=c)).beta) == pytest.approx(1, rel=1e-3)
    with pytest.raises(ValueError, match="batch and the library size"):
        nelbo.wrap(model, x=counts)


class Conditional(Script):
    def __init__(self):
        super().__init__()
        self.of_class, self.to_class = nn.Linear(2, 8), nn.Linear(2, FEATURES)

    def encode(self, x, c):
        body = torch.tanh(self.body[0](x) + self.of_class(c))
        return self.mu(body), self.h(body)

    def decode(self, z, c):
        return torch.sigmoid(self.out(z) + self.to_class(c))

    def forward(self, x, c):
        mu, logvar = self.encode(x, c)
        recon = self.decode(self.draw(mu, logvar), c)
        return (F.binary_cross_entropy(recon, x, reduction="sum") + 2 * kl(mu, logvar)) / len(x)


def test_a_conditional_model():
    model = Conditional()
    c = F.one_hot(torch.arange(len(X)) % 2, 2).float()
    vae = nelbo.wrap(model, x=X, c=c)
    assert vae.sampling.training == "logvar"
    rows = torch.arange(10, 40)
    terms = nelbo.loss(vae, nelbo.data.Batch(X[rows], c=c[rows]), samples=200)
    mu, h = model.encode(X[rows], c[rows])
    exact = torch.distributions.kl_divergence(Normal(mu, torch.exp(0.5 * h)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(terms.kl, exact)
    z = torch.randn(4, 30, LATENT, generator=G)
    p = vae.given(c[rows]).likelihood(z).mean
    torch.testing.assert_close(p, torch.stack([model.decode(part, c[rows]) for part in z]))
    weighed = effective_beta(model.forward, vae, nelbo.data.Batch(X, c=c))
    assert float(weighed.beta) == pytest.approx(2, rel=1e-3)
    for use in (nelbo.loss, nelbo.measure.latent_usage, nelbo.measure.latent_scale, nelbo.diagnose):
        with pytest.raises(
            ValueError, match=r"^Wrapped takes a condition, and none was given: it was wrapped with c\."
        ):
            use(vae, X)  # as many rows as wrap() had conditions
    with pytest.raises(ValueError, match=r"nelbo.wrap\(model, x=x, c=c\)"):
        nelbo.wrap(model, x=X)


class Graph(nn.Module):
    """A graph's autoencoder: one big input, and a number for each pair of nodes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(FEATURES, 2 * LATENT)

    def encode(self, x):
        mu, h = self.body(x).chunk(2, 1)
        return mu, h

    def decode(self, z):
        return torch.sigmoid(z @ z.T)


def test_a_graph_is_refused_with_what_can_be_measured():
    with pytest.raises(ValueError, match="number for each pair of the 120 rows"):
        nelbo.wrap(Graph(), x=X, scale="logvar")


class Whole(nn.Module):
    """Only forward, which answers with everything."""

    def __init__(self, answer):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.head = nn.Linear(FEATURES, 8), nn.Linear(8, 2 * LATENT)
        self.back = nn.Sequential(nn.Linear(LATENT, 8), nn.ReLU(), nn.Linear(8, FEATURES), nn.Sigmoid())
        self.answer = answer

    def forward(self, x):
        mu, logvar = self.head(torch.tanh(self.trunk(x))).chunk(2, 1)
        return self.answer(self.back(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)), mu, logvar)


ANSWERS = {
    "dictionary": lambda r, m, h: {"recon": r, "mu": m, "logvar": h},
    "within": lambda r, m, h: {"recon": r, "q": SimpleNamespace(mean=m, log_var=h)},
    "tuple": lambda r, m, h: (r, m, h),
    "distributions": lambda r, m, h: (r, Independent(Normal(m, torch.exp(0.5 * h)), 1)),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_forward_alone(answer):
    model = Whole(ANSWERS[answer])
    vae = nelbo.wrap(model, x=X, scale="logvar" if answer == "tuple" else None)
    assert vae.decoding.function is model.back
    assert "own reconstruction is what decode gives" in str(vae)
    mu, h = model.head(torch.tanh(model.trunk(X))).chunk(2, 1)
    exact = torch.distributions.kl_divergence(Normal(mu, torch.exp(0.5 * h)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(nelbo.loss(vae, X).kl, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["net", "model", "network", "module"])
def test_layers_under_the_name_of_a_holder_are_no_model(name):
    class Layers(Whole):
        def __init__(self):
            super().__init__(ANSWERS["dictionary"])
            setattr(self, name, nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Tanh()))

        def forward(self, x):
            return super().forward(getattr(self, name)(x))

    model = Layers()
    assert nelbo.wrap(model, x=X).networks == (model,)
    trainer = nn.Module()
    trainer.model, trainer.error = Whole(ANSWERS["dictionary"]), nn.MSELoss()
    assert nelbo.wrap(trainer, x=X).networks == (trainer.model,)


def test_what_happens_after_decode_is_said():
    class Squashed(Script):
        def forward(self, x):
            mu, h = self.encode(x)
            return torch.relu(self.decode(self.draw(mu, h)) - 0.5), mu, h

    vae = nelbo.wrap(Squashed(squash=False), x=X, likelihood=nelbo.likelihoods.Normal(1.0))
    assert "own reconstruction DIFFERS" in str(vae)


def test_what_happens_before_encode_is_said():
    class Standardizing(Script):
        def forward(self, x):
            mu, h = self.encode((x - 3) / 2)
            return self.decode(self.draw(mu, h)), mu, h

    assert "encode is given something else" not in str(nelbo.wrap(Script(), x=X))
    raw = 2 * torch.randn(60, FEATURES, generator=G) + 3
    vae = nelbo.wrap(Standardizing(squash=False), x=raw, likelihood=nelbo.likelihoods.Normal(1.0))
    assert "encode is given something other than x: what the model encodes DIFFERS" in str(vae)


def test_a_function_makes_the_distribution_of_what_decode_gives():
    model = Script(squash=False)
    sigma = torch.linspace(0.5, 1.5, FEATURES)
    vae = nelbo.wrap(
        encode=model.encode, decode=model.decode, x=X, scale="logvar",
        likelihood=lambda mean: Independent(Normal(mean, sigma), 1),
    )  # fmt: skip
    z = torch.zeros(120, LATENT)
    torch.testing.assert_close(vae.likelihood(z).log_prob(X), Normal(model.decode(z), sigma).log_prob(X).sum(1))


class Convolutional(nn.Module):
    """A linear layer before the rest of the decoder gives as many numbers as x has."""

    def __init__(self, channels):
        super().__init__()
        self.body, self.mu, self.logvar = nn.Flatten(), nn.Linear(16, 3), nn.Linear(16, 3)
        self.fc, self.up = nn.Linear(3, channels * 4), nn.ConvTranspose2d(channels, 1, 2, 2)

    def forward(self, x):
        mu, logvar = self.mu(self.body(x)), self.logvar(self.body(x))
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        return self.up(self.fc(z).view(-1, self.fc.out_features // 4, 2, 2)), mu, logvar


@pytest.mark.parametrize("channels", [4, 8])
def test_a_layer_in_the_middle_is_no_decoder(channels):
    with pytest.raises(TypeError, match=r"write nelbo.wrap\(encode=\.\.\., decode=\.\.\., x=x\)"):
        nelbo.wrap(Convolutional(channels), x=IMAGES, scale="logvar")


class Tokens(Script):
    """Takes whole numbers alone, and decodes with what stood before each of them."""

    def __init__(self):
        super().__init__(event=(FEATURES * 4,))
        self.words, self.to_words = nn.Embedding(3, 4), nn.Linear(LATENT, FEATURES * 3)

    def encode(self, tokens):
        return super().encode(self.words(tokens).flatten(1))

    def decode(self, z, before):
        return self.to_words(z).view(-1, FEATURES, 3) + F.one_hot(before.long(), 3)

    def forward(self, tokens, before):
        mu, logvar = self.encode(tokens)
        error = F.cross_entropy(self.decode(self.draw(mu, logvar), before).transpose(1, 2), tokens, reduction="sum")
        return (error + 2 * kl(mu, logvar)) / len(tokens)


@pytest.mark.parametrize("whole", ["model", "parts", "model and encode"])
def test_tokens_stay_whole_numbers_and_a_condition_goes_where_it_is_taken(whole):
    model, x = Tokens(), torch.randint(3, (80, FEATURES), generator=torch.Generator().manual_seed(0))
    before = F.pad(x[:, :-1], (1, 0)).float()
    parts = () if whole == "parts" else (model,)
    named = {
        "model": {},
        "parts": {"encode": model.encode, "decode": model.decode},
        "model and encode": {"encode": model.encode},
    }[whole]
    vae = nelbo.wrap(*parts, **named, x=x, c=before, scale="logvar", likelihood=nelbo.likelihoods.Categorical(3))
    assert "given to Tokens.encode as whole numbers" in str(vae)
    assert "c: not given to Tokens.encode" in str(vae)
    z = torch.randn(80, LATENT, generator=G)
    expected = -F.cross_entropy(model.decode(z, before).transpose(1, 2), x, reduction="none").sum(1)
    torch.testing.assert_close(vae.given(before).likelihood(z).log_prob(x.float()), expected)
    batch = nelbo.data.Batch(x, c=before)
    torch.testing.assert_close(nelbo.loss(vae, batch).kl.sum(), kl(*model.encode(x)))

    def loss(x, c):
        return model(x, c)

    assert float(effective_beta(loss, vae, batch).beta) == pytest.approx(2, rel=1e-3)


def test_numbers_that_are_no_tokens_are_asked_about():
    with pytest.raises(ValueError, match=r"write x.float\(\) where .* or x.float\(\) / 255"):
        nelbo.wrap(Script(), x=X.to(torch.int64), scale="logvar", likelihood=nelbo.likelihoods.Bernoulli())


class Ordinary(nn.Module):
    """As most scripts have it: an encoder of both halves, and a forward that gives what the loss needs."""

    def __init__(self, sigma=lambda h: torch.exp(0.5 * h), offset=-6.0, before=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(16, 4), nn.Linear(2, 16)
        nn.init.constant_(self.encoder.bias[2:], offset)
        self.sigma, self.before = sigma, before

    def forward(self, x):
        mu, h = self.encoder(self.before(x)).chunk(2, 1)
        return self.decoder(mu + self.sigma(h) * torch.randn_like(h)), mu, h


VECTORS = IMAGES.flatten(1)[:, :16]


def test_both_halves_are_found_where_forward_gives_them_too():
    """The mean and the spread that forward gives do not reach the decoder: in their place nothing could be put."""
    vae = nelbo.wrap(Ordinary(), x=VECTORS, likelihood=nelbo.likelihoods.Normal(1.0))
    assert vae.sampling.training == "logvar"
    mu, h = vae.networks[0].encoder(VECTORS).chunk(2, 1)
    torch.testing.assert_close(nelbo.loss(vae, VECTORS).kl, 0.5 * (mu**2 + h.exp() - 1 - h).sum(1))


SIGMAS = {
    "softplus and an offset": lambda h: F.softplus(h) + 0.03,
    "an offset": lambda h: torch.exp(0.5 * h) + 0.05,
    "a clamp": lambda h: torch.exp(0.5 * h.clamp(-3, 2)),
    "a floor of the variance": lambda h: torch.sqrt(torch.exp(h) + 0.1),
}


@pytest.mark.parametrize("name", SIGMAS)
def test_a_sigma_that_is_no_scale_of_the_spread_on_x_is_asked_about(name):
    """At the spreads of 0.5 and 1.5 it looks like one; at those that the encoder gives, the KL would be wrong."""
    arguments = {"x": VECTORS, "likelihood": nelbo.likelihoods.Normal(1.0), "latent": 2}
    with pytest.raises(ValueError, match="where it is -.* in place of .* sigma has a bound or an offset besides"):
        nelbo.wrap(Ordinary(SIGMAS[name]), **arguments)
    assert nelbo.wrap(Ordinary(SIGMAS[name]), **arguments, scale="logvar").encoding.scale == "logvar"
    plain = nelbo.wrap(Ordinary(lambda h: torch.exp(0.5 * h.clamp(-12, 9))), **arguments)  # a bound that is not met
    assert plain.sampling.off is None


def test_many_spreads_are_looked_at_in_part():
    """torch's quantile takes no more than 16 million numbers, and raises."""
    spread = torch.linspace(-6.0, 0.0, 3).repeat_interleave((1 << 23) + 1)
    off = sampling._off(lambda value: torch.full((4096,), 9.0).normal_(), spread, "logvar")
    assert off[0] == -6.0
    assert off[2] == pytest.approx(float(torch.exp(torch.tensor(-3.0))))


def test_what_encode_does_before_its_network_is_not_left_out():
    class Prepared(Ordinary):
        def encode(self, x):
            mu, h = self.encoder(torch.log1p(x.abs())).chunk(2, 1)
            return mu + torch.exp(0.5 * h) * torch.randn_like(h), (mu**2 + h.exp() - 1 - h).sum(1) / 2

        def forward(self, x):
            return self.decoder(self.encode(x)[0])

    with pytest.raises(ValueError, match="the module Linear: .*encode gives it something other than x"):
        nelbo.wrap(Prepared(), x=VECTORS, likelihood=nelbo.likelihoods.Normal(1.0))


def test_a_flow_behind_the_draw_is_no_draw_with_another_sigma():
    class Planar(Ordinary):
        def encode(self, x):
            return self.encoder(x).chunk(2, 1)

        def decode(self, z):
            return self.decoder(z)

        def forward(self, x):
            mu, h = self.encode(x)
            z = mu + torch.exp(0.5 * h) * torch.randn_like(h)
            return self.decode(z + torch.tensor([1.0, 0.5]) * torch.tanh(z.sum(1, keepdim=True)))

    vae = nelbo.wrap(Planar(offset=-1.0), x=VECTORS, likelihood=nelbo.likelihoods.Normal(1.0), scale="logvar")
    findings = nelbo.diagnose(vae, VECTORS, only=["sample-with-variance", "no-sampling"])
    assert not findings
    assert "as a flow does it" in findings.skipped["sample-with-variance"]


def test_a_distribution_without_a_mean_is_named():
    moved = torch.distributions.transforms.AffineTransform(torch.zeros(2), 2 * torch.ones(2))

    def encode(x):
        mu, h = x[:, :2], x[:, 2:4]
        normal = torch.distributions.Independent(torch.distributions.Normal(mu, h.exp()), 1)
        return torch.distributions.TransformedDistribution(normal, [moved])

    with pytest.raises(ValueError, match="TransformedDistribution without a mean"):
        nelbo.wrap(encode=encode, decode=nn.Linear(2, 16), x=VECTORS, likelihood=nelbo.likelihoods.Normal(1.0))
