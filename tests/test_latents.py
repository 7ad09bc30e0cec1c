"""What every q(z|x) and p(z) can do: rows, join, moments, and draws from each example's own random numbers."""

import math

import pytest
import torch
from torch.distributions import (
    Beta,
    Categorical,
    Distribution,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    constraints,
)

import nelbo
from nelbo import latents, posteriors
from nelbo.divergences import Delta
from nelbo.measure.aggregate import AggregatePosterior
from nelbo.randomness import example_keys

N, D = 7, 3


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tril(*batch):
    return torch.diag_embed(1 + numbers(*batch, D).abs()) + numbers(*batch, D, D, seed=1).tril(-1)


def flow():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        family = posteriors.Flow(D, context=4, hidden=(8,)).requires_grad_(False)
    return family(numbers(N, family.encoder_outputs))


def mixture(*batch):
    components = Independent(Normal(2 * numbers(*batch, 4, D), 0.5 + numbers(*batch, 4, D, seed=1).abs()), 1)
    return MixtureSameFamily(Categorical(logits=numbers(*batch, 4, seed=2)), components)


POSITIVE = 1.5 + numbers(N, D).abs()
FAMILIES = {
    "diagonal": lambda: Independent(Normal(numbers(N, D), POSITIVE), 1),
    "shared_scale": lambda: Independent(Normal(numbers(N, D), torch.tensor(0.5)).expand((N, D)), 1),
    "matrix": lambda: Independent(Normal(numbers(N, 2, D), 1 + numbers(N, 2, D).abs()), 2),
    "full": lambda: MultivariateNormal(numbers(N, D), scale_tril=tril(N)),
    "full_by_covariance": lambda: MultivariateNormal(numbers(N, D), tril(N) @ tril(N).mT),
    "point": lambda: Delta(numbers(N, D)),
    "laplace": lambda: Independent(Laplace(numbers(N, D), POSITIVE), 1),
    "log_normal": lambda: Independent(LogNormal(numbers(N, D), 0.3 * POSITIVE), 1),
    "gamma": lambda: Independent(Gamma(POSITIVE, POSITIVE), 1),
    "beta": lambda: Independent(Beta(POSITIVE, POSITIVE), 1),
    "student": lambda: Independent(StudentT(5.0 + POSITIVE, numbers(N, D), POSITIVE), 1),
    "mixture": lambda: mixture(N),
    "flow": flow,
}
every = pytest.mark.parametrize("name", FAMILIES)
KEYS = example_keys(numbers(N, 4), purpose="test")


@every
def test_rows_and_join(name):
    q = FAMILIES[name]()
    torch.manual_seed(0)
    z = q.sample()
    whole = q.log_prob(z)
    for index in (slice(2, 5), torch.tensor([4, 0, 6]), torch.arange(N) % 2 == 0):
        part = latents.rows(q, index)
        assert (part.event_shape, len(part.batch_shape)) == (q.event_shape, 1)
        torch.testing.assert_close(part.log_prob(z[index]), whole[index])
    parts = [latents.rows(q, slice(0, 2)), latents.rows(q, slice(2, 3)), latents.rows(q, slice(3, N))]
    torch.testing.assert_close(latents.join(parts).log_prob(z), whole)
    assert latents.join([q]) is q
    assert latents.picks(q)


@every
def test_detached_has_the_same_density(name):
    q = FAMILIES[name]()
    z = q.sample()
    torch.testing.assert_close(latents.detached(q).log_prob(z), q.log_prob(z))


@every
def test_moments_center_and_spread_are_those_of_draws(name):
    q = FAMILIES[name]()
    torch.manual_seed(0)
    z = q.sample((20_000,))
    error = z.std(0) / math.sqrt(len(z)) + 1e-6
    if name != "flow":  # whose center is the image of its normal's mean
        assert ((z.mean(0) - latents.center(q)).abs() < 5 * error).all()
    assert latents.center(q).shape == (N, *q.event_shape)
    torch.testing.assert_close(latents.spread(q), z.std(0), rtol=0.6, atol=1e-6)
    assert latents.has_density(q) == (name != "point")
    moments = latents.moments(q)
    assert (moments is None) == (
        name not in ("diagonal", "shared_scale", "matrix", "full", "full_by_covariance", "point")
    )
    if moments is not None:
        size = q.event_shape.numel()
        mean, covariance = moments
        assert (mean.shape, covariance.shape) == ((N, size), (N, size, size))
        off = z.flatten(2) - mean
        got = torch.einsum("sni,snj->nij", off, off) / len(z)
        each = (off[..., :, None] * off[..., None, :]).std(0) / math.sqrt(len(z))
        assert ((got - covariance).abs() < 5 * each + 1e-6).all()


@every
def test_marginals(name):
    q = FAMILIES[name]()
    marginal = latents.marginals(q)
    factorizes = name not in ("full", "full_by_covariance", "mixture", "flow", "point")
    assert latents.factorizes(q) == factorizes
    if name in ("mixture", "flow", "point"):
        assert marginal is None
        return
    assert marginal.batch_shape == (N, *q.event_shape)
    torch.testing.assert_close(marginal.mean, q.mean)
    torch.testing.assert_close(marginal.variance, q.variance)
    if factorizes:
        z = q.sample()
        torch.testing.assert_close(marginal.log_prob(z).flatten(1).sum(1), q.log_prob(z))


@every
def test_draws_by_keys_do_not_depend_on_neighbours_or_chunks(name):
    q = FAMILIES[name]()
    before = torch.random.get_rng_state()
    z = latents.draw(q, 70, KEYS)
    assert torch.equal(before, torch.random.get_rng_state())
    assert z.shape == (70, N, *q.event_shape)
    index = torch.tensor([5, 1])
    torch.testing.assert_close(latents.draw(latents.rows(q, index), 70, KEYS[index]), z[:, index])
    cut = [latents.draw(q, 30, KEYS), latents.draw(q, 40, KEYS, start=30)]
    torch.testing.assert_close(torch.cat(cut), z)
    assert latents.draw(q, None, KEYS).shape == (N, *q.event_shape)
    torch.testing.assert_close(latents.draw(q, None, KEYS), z[0])
    both, log_q = latents.draw_with_log_prob(q, 70, KEYS)
    torch.testing.assert_close(both, z)
    torch.testing.assert_close(log_q, q.log_prob(z))
    assert torch.equal(latents.draw(q, 3, KEYS), latents.draw(q, 3, KEYS))


@every
def test_draws_by_keys_have_the_family_s_distribution(name):
    q = FAMILIES[name]()
    draws = 2000 if name in ("gamma", "beta", "student", "flow") else 20_000
    z = latents.draw(q, draws, KEYS).double()
    torch.manual_seed(0)
    reference = q.sample((200_000 if name != "flow" else 20_000,)).double()
    for function in (lambda v: v, torch.square, torch.tanh):
        a, b = function(z), function(reference)
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt() + 1e-6
        assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()
    if name != "point":  # between units, too
        a, b = (v.flatten(2)[..., 0] * v.flatten(2)[..., -1] for v in (z, reference))
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("make", [mixture, lambda: Independent(Normal(torch.zeros(D), 1.0).expand((D,)), 1)])
def test_a_prior_draws_for_as_many_examples_as_there_are_keys(make):
    p = make()
    z = latents.draw(p, 5000, KEYS)
    assert z.shape == (5000, N, D)
    expected = p.sample((200_000,))
    error = (z.var(0) / len(z) + expected.var(0) / len(expected)).sqrt()
    assert ((z.mean(0) - expected.mean(0)).abs() < 5 * error).all()
    assert abs(float((z[:, 0] * z[:, 1]).mean() - expected.mean(0).square().mean())) < 0.3


def test_draws_are_reparameterized():
    mu = numbers(N, D).requires_grad_()
    z = latents.draw(Independent(Normal(mu, POSITIVE), 1), 4, KEYS)
    assert torch.equal(torch.autograd.grad(z.sum(), mu)[0], torch.full((N, D), 4.0))


class Ring(Distribution):
    """A user's own distribution that does not state its parameters."""

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, radius):
        self.radius = radius
        super().__init__(radius.shape, torch.Size((2,)), validate_args=False)

    def sample(self, shape=()):
        angle = 2 * math.pi * torch.rand((*shape, *self.batch_shape))
        return self.radius[..., None] * torch.stack([angle.cos(), angle.sin()], -1)

    def log_prob(self, z):
        return z.norm(dim=-1)


class KnownRing(Ring):
    """The same, registered."""


@latents.rebuilt.register
def _(q: KnownRing, others, change):
    return KnownRing(change([part.radius for part in (q, *others)]))


def test_a_family_that_cannot_be_picked_says_how_to_register_it():
    q = Ring(torch.ones(4))
    assert not latents.picks(q)
    with pytest.raises(latents.UnknownFamilyError, match=r"a Ring does not state .*nelbo\.latents\.rebuilt\.register"):
        latents.rows(q, slice(0, 1))
    assert latents.join([q]) is q


def test_a_registered_family_of_the_user_s_own():
    q = KnownRing(torch.arange(1.0, 5.0))
    assert latents.picks(q)
    assert torch.equal(
        latents.join([latents.rows(q, slice(2, 4)), latents.rows(q, slice(0, 1))]).radius, q.radius[[2, 3, 0]]
    )
    keys = KEYS[:4]
    z = latents.draw(q, 100, keys)
    torch.testing.assert_close(z.norm(dim=-1), q.radius.expand(100, 4))
    torch.testing.assert_close(latents.draw(latents.rows(q, slice(1, 3)), 100, keys[1:3]), z[:, 1:3])
    assert latents.center(q).shape == latents.spread(q).shape == (4, 2)


class Shifted(Normal):
    """A subclass with a density and draws of its own."""

    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).abs()

    def log_prob(self, value):
        return super().log_prob(value) + 0.5


def test_a_subclass_is_not_taken_for_its_base():
    q = Independent(Shifted(torch.zeros(4, 2), torch.ones(4, 2)), 1)
    z = torch.ones(2, 2)
    torch.testing.assert_close(latents.rows(q, slice(0, 2)).log_prob(z), q.log_prob(torch.ones(4, 2))[:2])
    assert (latents.draw(q, 5, torch.arange(4)) >= 0).all()


def test_a_flow_that_is_held_fixed_stays_so_whatever_its_encoder():
    family = nelbo.posteriors.Flow(2, context=3, hidden=(8,))
    q = family(torch.zeros(3, family.encoder_outputs))
    fixed = latents.rows(latents.detached(q), slice(0, 2))
    assert not fixed.log_prob(torch.zeros(2, 2)).requires_grad
    assert q.log_prob(torch.zeros(3, 2)).requires_grad


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_are_known_of_without_being_computed(name):
    q = FAMILIES[name]()
    assert latents.has_moments(q) == (latents.moments(q) is not None)


def test_the_mixture_of_posteriors_over_many_units_makes_no_covariance(monkeypatch):
    """One of 16,384 units takes a gigabyte for each example."""
    monkeypatch.setattr(latents, "moments", None)
    qz = Independent(Normal(numbers(4, 16_384), torch.tensor(0.5).expand(4, 16_384)), 1)
    z = qz.mean[:2] + 0.1
    got = AggregatePosterior(qz).log_prob(z)
    by_hand = torch.logsumexp(qz.log_prob(z.double()[:, None].expand(-1, 4, -1)), 1) - math.log(4)
    assert torch.allclose(got, by_hand.double(), rtol=1e-6)
