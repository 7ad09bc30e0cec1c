"""Outputs of networks that are not free, whichever way people write the function that bounds them."""

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal
from torch.nn import functional as F

import nelbo
from tests.diagnosis.test_loss_and_evaluation import X, kl_of, wrapped
from tests.wrapping.models import FEATURES, Script, binary

CHECKS = ["encoder-activation", "decoder-activation", "shared-heads", "constant-outputs"]
BERNOULLI = nelbo.likelihoods.Bernoulli()


def look(*, encode=None, decode=None, x=X, likelihood=BERNOULLI, model=None, **arguments):
    """The findings of a script whose encoder's or decoder's answer is altered."""
    model = Script(squash=False) if model is None else model
    view = nelbo.wrap(
        encode=(lambda x: encode(*model.encode(x))) if encode else model.encode,
        decode=(lambda z: decode(model.decode(z))) if decode else model.decode,
        x=x[:60],
        likelihood=likelihood,
        **({"scale": "logvar"} | arguments),
    )
    return {finding.id: finding for finding in nelbo.diagnose(view, x, examples=200, only=CHECKS)}


ACTIVATIONS = {
    "relu": F.relu, "softplus": F.softplus, "exp": torch.exp, "abs": torch.abs, "silu": F.silu, "mish": F.mish,
    "gelu": F.gelu, "hardswish": F.hardswish, "sigmoid": torch.sigmoid, "hardsigmoid": F.hardsigmoid,
    "softmax": lambda t: t.softmax(1), "tanh": nn.Tanh(), "logsigmoid": F.logsigmoid,
    "logsoftmax": lambda t: t.log_softmax(1), "elu": nn.ELU(), "hardtanh": nn.Hardtanh(), "relu6": F.relu6,
    "clamp": lambda t: t.clamp(-1, 1), "clamp from below": lambda t: t.clamp(min=0),
    "clamp from above": lambda t: t.clamp(max=0),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_bounded_mean_is_named_with_the_bounds(name):
    act = ACTIVATIONS[name]
    found = look(encode=lambda mu, logvar: (act(mu), logvar))
    assert found["encoder-activation"].severity == "severe"
    low, high = (float(v) for v in torch.tensor(ends(act)))
    reach = [float(e) for e in found["encoder-activation"].evidence[1:]]
    assert low - 0.01 <= reach[0] <= reach[1] <= high + 0.01


def ends(act):
    """The values of a function, near and far."""
    values = act(torch.stack([torch.linspace(-40, 40, 4001), torch.zeros(4001)], 1))
    return [float(values.min()), float(values.max())]


OF_THE_SPREAD = set(ACTIVATIONS) - {"clamp", "clamp from below", "clamp from above", "logsigmoid", "logsoftmax"}


@pytest.mark.parametrize("name", sorted(OF_THE_SPREAD))
def test_a_log_variance_that_cannot_be_small_is_named(name):
    found = look(encode=lambda mu, logvar: (mu, ACTIVATIONS[name](logvar)))
    assert "sigma" not in found
    assert "standard deviation" in str(found["encoder-activation"].evidence[0])


HEALTHY = {
    "linear": lambda mu, logvar: (mu, logvar),
    "a wide clamp of both": lambda mu, logvar: (mu.clamp(-8, 8), logvar.clamp(-10, 10)),
    "an upper bound of the spread": lambda mu, logvar: (mu, F.logsigmoid(logvar)),
    "a leaky ReLU": lambda mu, logvar: (F.leaky_relu(mu, 0.2), logvar),
    "shifted": lambda mu, logvar: (mu - 1, torch.tanh(logvar) * 5),
    "reshaped": lambda mu, logvar: (mu.reshape(-1, 1, 3).squeeze(1), logvar[:, :]),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_free_outputs_are_passed(name):
    assert not look(encode=HEALTHY[name])


@pytest.mark.parametrize("act", [F.softplus, torch.exp, torch.sigmoid], ids=lambda f: f.__name__)
def test_a_standard_deviation_may_come_out_of_an_activation(act):
    assert not look(encode=lambda mu, h: (mu, act(h)), scale="std")


REAL = 3 * torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0))
NORMAL = nelbo.likelihoods.Normal(1.0)
COUNTS = torch.poisson(torch.full((200, FEATURES), 0.7), generator=torch.Generator().manual_seed(0))
POISSON = nelbo.likelihoods.Poisson()
BOUNDED = {
    "sigmoid before logits": (torch.sigmoid, X, BERNOULLI, "logits"),
    "tanh before logits": (torch.tanh, X, BERNOULLI, "logits"),
    "relu before logits": (F.relu, X, BERNOULLI, "logits"),
    "clamped logits": (lambda t: t.clamp(-1, 1), X, BERNOULLI, "logits"),
    "sigmoid on real means": (torch.sigmoid, REAL, NORMAL, "mean"),
    "relu on real means": (F.relu, REAL, NORMAL, "mean"),
    "clamped means": (lambda t: t.clamp(-0.5, 0.5), REAL, NORMAL, "mean"),
    "relu on log rates": (F.relu, COUNTS, POISSON, "log_rates"),
    "clamped probabilities": (lambda t: t.sigmoid().clamp(0.2, 0.8), X, BERNOULLI, "probabilities"),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_outputs_that_cannot_reach_the_data_are_named(name):
    act, x, likelihood, output = BOUNDED[name]
    found = look(decode=act, x=x, likelihood=likelihood, output=output)
    assert found["decoder-activation"].severity == "severe"


REACHING = {
    "probabilities": (torch.sigmoid, X, BERNOULLI, "probabilities"),
    "held away from 0 and 1": (lambda t: t.sigmoid().clamp(1e-6, 1 - 1e-6), X, BERNOULLI, "probabilities"),
    "a wide clamp": (lambda t: t.clamp(-15, 15), X, BERNOULLI, "logits"),
    "images in [0, 1]": (torch.sigmoid, REAL.sigmoid(), NORMAL, "mean"),
    "images in [-1, 1]": (torch.tanh, REAL.tanh(), NORMAL, "mean"),
    "heights": (F.relu, REAL.abs(), NORMAL, "mean"),
    "rates": (F.softplus, COUNTS, POISSON, "rates"),
    "exponentials": (torch.exp, COUNTS, POISSON, "rates"),
    "linear": (lambda t: t, REAL, NORMAL, "mean"),
}


@pytest.mark.parametrize("name", REACHING)
def test_activations_that_fit_the_data_are_passed(name):
    act, x, likelihood, output = REACHING[name]
    assert not look(decode=act, x=x, likelihood=likelihood, output=output)


DISTRIBUTIONS = {
    "bernoulli": (lambda t: Independent(Bernoulli(logits=torch.sigmoid(t)), 1), X, True),
    "of free logits": (lambda t: Independent(Bernoulli(logits=t), 1), X, False),
    "of probabilities": (lambda t: Independent(Bernoulli(probs=torch.sigmoid(t)), 1), X, False),
    "normal": (lambda t: Independent(Normal(F.relu(t), 1.0), 1), REAL, True),
    "of free means": (lambda t: Independent(Normal(t, 1.0), 1), REAL, False),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_decoder_that_gives_a_distribution_is_looked_at_too(name):
    make, x, fault = DISTRIBUTIONS[name]
    assert ("decoder-activation" in look(decode=make, x=x, likelihood=None)) == fault


def test_own_networks_in_a_vae_are_looked_at_too():
    def vae(*last):
        encoder = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, 4), *last[:1])
        decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, FEATURES), *last[1:])
        return nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())

    assert not nelbo.diagnose(vae(), X, examples=100, only=CHECKS)
    ids = {f.id for f in nelbo.diagnose(vae(nn.ReLU(), nn.Sigmoid()), X, examples=100, only=CHECKS)}
    assert ids == {"encoder-activation", "decoder-activation"}
    recipe = nelbo.recipes.vae((FEATURES,), latent=2, hidden=(8,))
    assert not nelbo.diagnose(recipe, X, examples=100, only=CHECKS)


def test_one_head_is_found_in_the_encoder_and_in_the_decoder():
    assert list(look(encode=lambda mu, logvar: (mu, mu))) == ["shared-heads"]
    assert list(look(encode=lambda mu, logvar: (mu, mu.clone()))) == ["shared-heads"]
    decoded = nelbo.likelihoods.Normal("decoded")
    options = {"x": REAL, "likelihood": decoded, "output": "log_std"}
    assert list(look(decode=lambda t: t.repeat(1, 2), **options)) == ["shared-heads"]
    assert not look(decode=lambda t: torch.cat([t, 0 * t], 1), **options)


def test_outputs_that_are_cut_off_are_found_where_they_matter():
    mask = (torch.arange(FEATURES) < 10).float()
    together = torch.bernoulli(
        torch.rand(300, 1, generator=torch.Generator().manual_seed(0)).round().expand(-1, FEATURES)
    )
    assert look(decode=lambda t: t * mask, x=together, output="logits")["constant-outputs"].severity == "severe"
    # features that have nothing in common leave nothing to say
    assert look(decode=lambda t: t * mask, output="logits")["constant-outputs"].severity == "note"
    assert not look(decode=lambda t: 0 * t, x=together, output="logits")  # decoder-ignores-z says so


@pytest.mark.parametrize("squash", [True, False])
def test_a_loss_that_expects_logits_and_is_given_probabilities_is_named(squash):
    """Read as probabilities the outputs look well: the loss tells."""

    def loss(recon_x, x, mu, logvar):
        recon_x = recon_x if squash else torch.sigmoid(recon_x)
        return F.binary_cross_entropy_with_logits(recon_x, x, reduction="sum") / len(x) + kl_of(mu, logvar) / len(x)

    view = wrapped(Script(squash=squash), **({} if squash else {"output": "logits"}))
    found = nelbo.diagnose(view, X, loss=loss, examples=100, only=["loss-likelihood", "loss-not-elbo"])
    assert [f.id for f in found] == ["loss-likelihood"]
    assert "a sigmoid stands before it" in found[0].meaning


@pytest.mark.parametrize("level", [0.7, 60.0])
@pytest.mark.parametrize("log_input", [True, False])
def test_a_loss_that_expects_log_rates_and_is_given_rates_is_named(level, log_input):
    """poisson_nll_loss takes log rates unless it is told otherwise; for few counts and for many."""

    def loss(recon_x, x, mu, logvar):
        error = F.poisson_nll_loss(recon_x, x, log_input=log_input, reduction="sum")
        return error / len(x) + kl_of(mu, logvar) / len(x)

    counts = torch.poisson(torch.full((200, FEATURES), level), generator=torch.Generator().manual_seed(0))
    model = Script(squash=False)
    view = nelbo.wrap(
        encode=model.encode,
        decode=lambda z: level * F.softplus(model.decode(z)),
        x=counts[:60],
        likelihood=POISSON,
        output="rates",
        scale="logvar",
    )
    of_loss = ["effective-beta", "kl-mean", "reconstruction-mean", "loss-likelihood", "loss-not-elbo"]
    found = nelbo.diagnose(view, counts, loss=loss, examples=100, only=of_loss)
    assert [f.id for f in found] == (["loss-likelihood"] if log_input else [])
    assert not {*of_loss} & found.skipped.keys()
    if log_input:
        assert "takes what decode gives for the log rates" in found[0].meaning


class Normalized(nn.Module):
    """Logits by one BatchNorm of the code, which is drawn next to its mean."""

    def __init__(self, **options):
        super().__init__()
        self.heads, self.norm, self.last = nn.Linear(6, 4), nn.BatchNorm1d(2, **options), nn.Linear(2, 6)

    def encode(self, x):
        mu, logvar = self.heads(x).chunk(2, 1)
        return mu, logvar * 0 - 20

    def decode(self, z):
        return self.last(self.norm(z))


def of_statistics(model, x):
    arguments = {"encode": model.encode, "decode": model.decode, "module": model, "x": x, "scale": "logvar"}
    view = nelbo.wrap(**arguments, output="logits", likelihood=BERNOULLI)
    return nelbo.diagnose(view, x, only=["batch-norm-statistics"])


@pytest.mark.parametrize("training", [False, True])
def test_what_statistics_that_do_not_fit_cost_is_the_difference_of_two_reconstruction_errors(training):
    torch.manual_seed(0)
    model = Normalized().train(training)
    x = torch.bernoulli(torch.full((300, 6), 0.5))
    with torch.no_grad():
        model.last.weight *= 4
        model.norm.running_mean += 3
        z = model.encode(x)[0]
        errors = [
            F.binary_cross_entropy_with_logits(model.last(h), x, reduction="none").sum(1)
            for h in (
                F.batch_norm(z, model.norm.running_mean, model.norm.running_var, model.norm.weight, model.norm.bias),
                F.batch_norm(z, None, None, model.norm.weight, model.norm.bias, training=True),
            )
        ]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = of_statistics(model, x)[0]
    expected = errors[0] - errors[1]
    assert float(found.cost_nats) == pytest.approx(float(expected.mean()), abs=1e-3)
    assert found.cost_nats.error == pytest.approx(float(expected.std()) / 300**0.5, rel=0.01)
    assert found.severity == "severe"
    assert "never adapted" not in found.meaning  # they are others than they were made with
    assert model.norm.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    torch.optim.swa_utils.update_bn(iter([z]), model.norm, device=None)
    assert not of_statistics(model, x)


def test_statistics_that_never_adapted_and_those_that_are_not_kept_are_named():
    torch.manual_seed(0)
    model = Normalized()
    with torch.no_grad():
        model.heads.bias += 5
        model.last.weight *= 4
    x = torch.bernoulli(torch.full((300, 6), 0.5))
    assert "'norm (BatchNorm1d)' never adapted" in of_statistics(model, x)[0].meaning
    found = of_statistics(Normalized(track_running_stats=False), x)[0]
    assert found.severity == "warning"
    assert "depend on its neighbours" in found.meaning
    few = of_statistics(model, x[:20])
    assert "needs 32 examples" in few.skipped["batch-norm-statistics"]


def test_a_network_that_does_not_take_one_example_costs_the_checks_alone_that_give_it_one():
    class Together(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads, self.last = nn.Linear(64, 4), nn.Linear(2, 64)

        def encode(self, x):
            if len(x) == 1:
                raise ValueError("expected more than one example")
            return self.heads(x.flatten(1)).chunk(2, 1)

        def decode(self, z):
            return self.last(z).unflatten(1, (1, 8, 8))

    torch.manual_seed(0)
    x = torch.bernoulli(torch.full((300, 1, 8, 8), 0.3))
    view = nelbo.wrap(Together(), x=x, scale="logvar", likelihood=BERNOULLI, output="logits")
    found = nelbo.diagnose(view, x)
    assert found.skipped["flat-scores-high"] == "the model fails: ValueError: expected more than one example"
    assert len(found.passed) > 10


def test_few_examples_of_many_latents_say_much_less_than_their_kl():
    """Each code names its example: log 60 = 4.1 nats, where the KL is hundreds. It is the decoder that ignores z."""
    x, constant = binary(60).flatten(1), torch.zeros(16)
    directions = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    vae = nelbo.wrap(
        encode=lambda x: (x @ directions, torch.full((len(x), 64), -4.0)),
        decode=lambda z: constant + 0 * z[:, :1],
        x=x,
        scale="logvar",
        output="logits",
        likelihood=nelbo.likelihoods.Bernoulli(),
    )
    findings = nelbo.diagnose(vae, x, only=["kl-without-information", "decoder-ignores-z"])
    assert [finding.id for finding in findings] == ["decoder-ignores-z"]
    kl, information = findings[0].evidence[1:]
    assert float(kl) > 100
    assert float(information) < 4.1
