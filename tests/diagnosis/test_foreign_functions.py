"""A loss, encode and decode wherever people define them: weighed if they can be exchanged, else said not to be."""

import functools
import itertools
import random
import re

import numpy as np
import pytest
import torch
from torch import nn

import nelbo
from nelbo.diagnosis import effective_beta
from tests.diagnosis.test_loss_and_evaluation import LOSS, X
from tests.wrapping.models import Script

BETA = 0.5


def kl(mu, logvar):
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())


def total(recon, x, mu, logvar, beta=BETA):
    bce = nn.functional.binary_cross_entropy(recon, x, reduction="sum")
    return (bce + beta * kl(mu, logvar).sum()) / len(x)


def draw(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def around(part):
    """A lambda that calls the part."""
    return lambda values: part(values + 0)


# each gives (encode, decode, loss) of a model


def closures(model):
    def encode(x):
        return model.encode(x)

    def decode(z):
        return model.decode(z)

    def loss(x):
        mu, logvar = encode(x)
        return total(decode(draw(mu, logvar)), x, mu, logvar)

    return encode, decode, loss


def closures_two_calls_deep(model):
    encode, decode, inner = closures(model)

    def loss(x):
        return inner(x)

    return encode, decode, loss


def lambdas(model):
    encode, decode = around(model.encode), around(model.decode)
    loss = lambda x, beta=BETA: next(total(decode(draw(*q)), x, *q, beta) for q in [encode(x)])  # noqa: E731
    return encode, decode, loss


def partials(model):
    def through(part, values, *, scale=1.0):
        return part(scale * values)

    encode, decode = functools.partial(through, model.encode), functools.partial(through, model.decode, scale=1.0)

    def loss(x, beta):
        mu, logvar = encode(x)
        return total(decode(draw(mu, logvar)), x, mu, logvar, beta)

    return encode, decode, functools.partial(loss, beta=BETA)


def defaults(model):
    encode, decode = around(model.encode), around(model.decode)

    def loss(x, encode=encode, *, decode=decode):
        mu, logvar = encode(x)
        return total(decode(draw(mu, logvar)), x, mu, logvar)

    return encode, decode, loss


def bound_methods_by_another_name(model):
    q, p = model.encode, model.decode

    def loss(x):
        mu, logvar = q(x)
        return total(p(draw(mu, logvar)), x, mu, logvar)

    return model.encode, model.decode, loss


def in_a_dictionary(model):
    parts = {"q": around(model.encode), "p": [around(model.decode)]}

    def loss(x):
        mu, logvar = parts["q"](x)
        return total(parts["p"][0](draw(mu, logvar)), x, mu, logvar)

    return parts["q"], parts["p"][0], loss


class Trainer:
    """No module: it holds two functions, and its method is the loss."""

    def __init__(self, model):
        self.q, self.p = around(model.encode), around(model.decode)

    def loss(self, x):
        mu, logvar = self.q(x)
        return total(self.p(draw(mu, logvar)), x, mu, logvar)


def of_an_object(model):
    trainer = Trainer(model)
    return trainer.q, trainer.p, trainer.loss


class Callable:
    """A function written as a class."""

    def __init__(self, part):
        self.part = part

    def __call__(self, values):
        return self.part(values)


def callables(model):
    encode, decode = Callable(model.encode), Callable(model.decode)

    def loss(x):
        mu, logvar = encode(x)
        return total(decode(draw(mu, logvar)), x, mu, logvar)

    return encode, decode, loss


KINDS = (
    closures, closures_two_calls_deep, lambdas, partials, defaults, bound_methods_by_another_name, in_a_dictionary,
    of_an_object, callables,
)  # fmt: skip


def wrapped(encode, decode):
    return nelbo.wrap(encode=encode, decode=decode, x=X[:60], scale="logvar", likelihood=nelbo.likelihoods.Bernoulli())


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_loss_finds_in_its_surroundings_is_exchanged_and_put_back(kind):
    model = Script()
    encode, decode, loss = kind(model)
    before = loss.__closure__ if hasattr(loss, "__closure__") else None
    held = [cell.cell_contents for cell in before or ()]
    weighed = effective_beta(loss, wrapped(encode, decode), X[:64])
    assert weighed.cause == "weight"
    assert float(weighed.beta) == pytest.approx(BETA, rel=1e-3)
    assert held == [cell.cell_contents for cell in before or ()]
    assert set(vars(model)) == set(vars(Script()))


@pytest.mark.parametrize("kind", KINDS)
def test_diagnose_names_the_weight_first(kind):
    encode, decode, loss = kind(Script())
    findings = nelbo.diagnose(wrapped(encode, decode), X, loss=loss, examples=100, only=[*LOSS, "posterior-collapse"])
    assert findings[0].id == "effective-beta"
    assert {"no-sampling", "sample-with-variance"} <= {check.id for check in findings.passed}


def test_a_decoder_that_sees_the_mean_is_found_through_a_closure():
    model = Script()

    def encode(x):
        return model.encode(x)

    def loss(x):
        mu, logvar = encode(x)
        return total(model.decode(mu), x, mu, logvar, 1.0)

    findings = nelbo.diagnose(wrapped(encode, model.decode), X, loss=loss, examples=100, only=LOSS)
    assert [f.id for f in findings] == ["no-sampling"]


def fails(x):
    raise RuntimeError("no data loader")


def opaque(model):
    """Functions around the methods that the loss calls."""

    def loss(x):
        recon, mu, logvar = model(x)
        return total(recon, x, mu, logvar)

    return around(model.encode), around(model.decode), loss


BAD = {
    "around what is called": (opaque, "does not call <lambda> itself"),
    "raises": (lambda model: (model.encode, model.decode, fails), "no data loader"),
    "names": (lambda model: (model.encode, model.decode, lambda a, b, c: 0), "cannot be told from these names"),
    "per example": (
        lambda model: (model.encode, model.decode, lambda recon_x, x, mu, logvar: kl(mu, logvar).sum(1)),
        "return loss.mean()",
    ),
    "another model": (lambda model: (model.encode, model.decode, Script().forward), "never calls the encode"),
    "not finite": (
        lambda model: (model.encode, model.decode, lambda recon_x, x, mu, logvar: (mu - mu).log().sum() * 0),
        "NaN or infinite",
    ),
    "several draws": (
        lambda model: (model.encode, model.decode, lambda x: model.decode(model.encode(x.repeat(2, 1))[0]).mean()),
        "several draws",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_loss_that_cannot_be_weighed_leaves_the_other_findings(name):
    make, reason = BAD[name]
    encode, decode, loss = make(Script())
    findings = nelbo.diagnose(wrapped(encode, decode), X, loss=loss, examples=100, only=[*LOSS, "posterior-collapse"])
    assert "posterior-collapse" in {*(f.id for f in findings), *(check.id for check in findings.passed)}
    for check in ("effective-beta", "kl-sign", "loss-likelihood", "loss-not-elbo"):
        assert re.search(reason, findings.skipped[check])
    assert reason in " ".join(str(findings).split())


def test_a_loss_that_is_no_function_is_an_error():
    model = Script()
    with pytest.raises(TypeError, match="without calling it"):
        nelbo.diagnose(wrapped(model.encode, model.decode), X, loss=3.0)


STEPS = 0


def test_a_counter_that_the_loss_advances_is_held_and_put_back():
    """In a global, a closure and an attribute: the weight follows it, and it stays where it was."""
    model, own = Script(), torch.Generator().manual_seed(3)
    held, inner = own.get_state(), 0
    trainer = type("Trainer", (), {})()
    trainer.steps = 0

    def loss(x):
        global STEPS
        nonlocal inner
        STEPS, inner, trainer.steps = STEPS + 1, inner + 1, trainer.steps + 1
        mu, logvar = model.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=own)
        return total(model.decode(z), x, mu, logvar, BETA * (STEPS + inner + trainer.steps) / 3)

    weighed = effective_beta(loss, wrapped(model.encode, model.decode), X[:64])
    assert float(weighed.beta) == pytest.approx(BETA, rel=1e-3)
    assert (STEPS, inner, trainer.steps) == (0, 0, 0)
    assert torch.equal(own.get_state(), held)


class Busybody(Script):
    """Counts, remembers and draws whenever it runs."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen = 0, []
        self.own, self.other = torch.Generator().manual_seed(3), np.random.default_rng(3)
        self.register_buffer("count", torch.zeros(()))

    def encode(self, x):
        SEEN["encode"] += 1
        self.calls, self.last = self.calls + 1, x
        self.count += 1
        self.seen.append(len(x))
        torch.rand(1, generator=self.own)
        self.other.random()
        random.random()
        return super().encode(x)


SEEN = {"encode": 0}


def test_diagnose_leaves_the_model_the_loss_and_their_generators_as_they_were():
    model, losses = Busybody().train(), []

    def loss(x):
        recon, mu, logvar = model(x)
        losses.append(total(recon, x, mu, logvar))
        return losses[-1]

    def state():
        own = [model.own.get_state(), torch.get_rng_state(), model.count.clone()]
        others = [random.getstate(), np.random.get_state()[1].tolist(), model.other.bit_generator.state]
        return own, [*others, model.calls, len(model.seen), dict(SEEN), len(losses), model.training, {*vars(model)}]

    (_, others), view = state(), wrapped(model.encode, model.decode)
    tensors, now = state()
    assert now[3:-1] == others[3:-1]
    others = now  # a first run may leave what was absent
    findings = nelbo.diagnose(view, X, held_out=X[:60], loss=loss, examples=60, only=[*LOSS, "posterior-collapse"])
    assert "effective-beta" not in findings.skipped
    after = state()
    assert all(map(torch.equal, tensors, after[0]))
    assert others == after[1]


def test_a_loss_that_goes_backward_leaves_the_gradients():
    model = Script()
    before = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        p.grad = before[name]

    def loss(x):
        with torch.enable_grad():
            recon, mu, logvar = model(x)
            value = total(recon, x, mu, logvar)
            sum(p.sum() for p in model.parameters()).backward()
        return value

    assert float(effective_beta(loss, wrapped(model.encode, model.decode), X[:64]).beta) == pytest.approx(
        BETA, rel=1e-3
    )
    assert all(p.grad is before[name] and bool((p.grad == 1).all()) for name, p in model.named_parameters())


def test_a_loss_that_moves_by_itself_is_not_checked_and_the_line_says_so():
    model, seen = Script(), itertools.count()

    def loss(x):
        recon, mu, logvar = model(x)
        return total(recon, x, mu, logvar, 1 + next(seen))

    findings = nelbo.diagnose(wrapped(model.encode, model.decode), X, loss=loss, examples=100, only=LOSS)
    assert "changes between two equal calls" in findings.skipped["effective-beta"]
