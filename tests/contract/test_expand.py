"""``expand`` of every distribution: torch's contract, as of its own families."""

import pytest
import torch
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo.divergences.distributions import Delta, SkewNormal, TruncatedNormal
from nelbo.likelihoods.masking import Selected, SelfMasked
from nelbo.likelihoods.observed import Observed
from nelbo.wrapping.codes import GivenCodes, PointOnCodes
from nelbo.wrapping.decoder import Reshaped
from nelbo.wrapping.encoding import Elementwise
from tests.cases import EVENT, LIKELIHOODS, POSTERIORS, PRIORS, binary, each, make_vae, parameters_for

SHAPE = (3, 4)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Shapeless:
    """A distribution that states no shape, such as one written by hand without torch's base class."""

    def __init__(self, loc):
        self.mean, self.variance, self.base = loc, torch.ones_like(loc), Normal(loc, 1.0)
        self.log_prob, self.sample = self.base.log_prob, self.base.sample


class Unstated(Distribution):
    """One that does not state its parameters, beside torch's contract."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc):
        self.base = MultivariateNormal(loc, torch.eye(loc.shape[-1]))
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)
        self.log_prob, self.sample = self.base.log_prob, self.base.sample

    @property
    def mean(self):
        return self.base.mean


def normal(*shape):
    return Independent(Normal(numbers(*shape), 0.5), 1)


# name -> a distribution of batch shape (1,) or ()
OWN = {
    "point": Delta(numbers(1, 3)),
    "point_on_codes": PointOnCodes(torch.tensor([[1.0, 0.0, 2.0]])),
    "skew_normal": SkewNormal(numbers(1), 0.5, 2.0),
    "truncated_normal": TruncatedNormal(numbers(1), 0.5, low=-3.0),
    "selected": Independent(Selected(numbers(1, 3), 0.5, numbers(3, seed=1), numbers(3, seed=2)), 1),
    "self_masked": SelfMasked(normal(1, 3), numbers(3, seed=1), numbers(3, seed=2)),
    "reshaped": Reshaped(MultivariateNormal(numbers(1, 6), torch.eye(6)), torch.Size((1,)), torch.Size((2, 3))),
    "reshaped_unstated": Reshaped(Unstated(numbers(1, 6)), torch.Size((1,)), torch.Size((2, 3))),
    "elementwise": Elementwise(Shapeless(numbers(1))),
    "elementwise_in_an_event": Independent(Elementwise(Shapeless(numbers(1, 3))), 1),
    "codes": GivenCodes(lambda codes: -codes.flatten(1).sum(1).float(), torch.Size((2, 2))),
}


def check(one, x):
    """Where each of SHAPE answers as the one."""
    expanded = one.expand(torch.Size(SHAPE))
    assert (expanded.batch_shape, expanded.event_shape) == (SHAPE, one.event_shape)
    if x is None:  # it is drawn from, and has no density
        return expanded
    torch.testing.assert_close(expanded.log_prob(x), one.log_prob(x).expand(SHAPE))
    # a value for each, and several
    several = x.expand(2, *SHAPE, *one.event_shape)
    torch.testing.assert_close(expanded.log_prob(several), one.log_prob(x).expand(2, *SHAPE))
    for name in ("mean", "variance"):
        try:
            expected = getattr(one, name)
        except NotImplementedError:
            continue
        torch.testing.assert_close(getattr(expanded, name), expected.expand(*SHAPE, *one.event_shape), equal_nan=True)
    again = expanded.expand(torch.Size((2, *SHAPE)))
    assert again.batch_shape == (2, *SHAPE)
    torch.testing.assert_close(again.log_prob(x), one.log_prob(x).expand(2, *SHAPE))
    return expanded


def check_draws(one, expanded):
    """Of the shape and the moments of the one, and no two copies alike."""
    torch.manual_seed(0)
    assert expanded.sample().shape == (*SHAPE, *one.event_shape)
    z, expected = expanded.sample((300,)).double(), one.sample((2000,)).double().reshape(2000, *one.event_shape)
    assert z.shape == (300, *SHAPE, *one.event_shape)
    error = (expected.var(0) * (1 / 300 + 1 / 2000)).sqrt()
    assert ((z.mean(0) - expected.mean(0)).abs() <= 5 * error + 1e-6).all()
    return z.flatten(1, 2)


@pytest.mark.parametrize("observed", [False, True], ids=["all", "observed"])
@pytest.mark.parametrize("name", **each(LIKELIHOODS))
def test_likelihood(name, observed):
    make, data = LIKELIHOODS[name]
    family = make()
    with torch.no_grad():
        px = family(parameters_for(family, 1), 1)
        if not observed:
            z = check_draws(px, check(px, data(1)))
            assert not torch.equal(z[:, 0], z[:, -1])
            return
        x = data(1).float()
        x[0, 1] = torch.nan
        check(Observed(px), x)


@pytest.mark.parametrize("name", **each(LIKELIHOODS))
def test_a_likelihood_of_several_examples_repeats_them(name):
    make, data = LIKELIHOODS[name]
    family = make()
    with torch.no_grad():
        px = family(parameters_for(family, 4), 1)
        several = px.expand(torch.Size((2, 4)))
        torch.testing.assert_close(several.log_prob(data(4)), px.log_prob(data(4)).expand(2, 4))
        assert several.sample().shape == (2, 4, *EVENT)


@pytest.mark.parametrize("name", **each(POSTERIORS))
def test_posterior(name):
    with torch.no_grad():
        qz = make_vae(posterior=name).posterior(binary(1))
        z = check_draws(qz, check(qz, qz.sample()))
    assert not torch.equal(z[:, 0], z[:, -1])


@pytest.mark.parametrize(("prior", "posterior"), [*((p, "diagonal_normal") for p in PRIORS), ("vamp", "flow")])
def test_prior(prior, posterior):
    with torch.no_grad():
        pz = make_vae(prior=prior, posterior=posterior).prior
        z = check_draws(pz, check(pz, pz.sample()))
    assert not torch.equal(z[:, 0], z[:, -1])


@pytest.mark.parametrize("name", **each(OWN))
def test_own(name):
    one = OWN[name]
    if name == "codes":
        expanded = check(one, torch.tensor([1.0, 0.0, 2.0, 1.0]))
        with pytest.raises(NotImplementedError, match="cannot be drawn from"):
            expanded.sample()
        return
    z = check_draws(one, check(one, None if name == "selected" else one.sample()))
    assert torch.equal(z[:, 0], z[:, -1]) == name.startswith("point")


def test_axes_of_length_one_between_others_are_repeated_and_their_draws_differ():
    one = Elementwise(Shapeless(torch.tensor([[10.0], [20.0], [30.0]])))
    z = one.expand(torch.Size((2, 3, 4))).sample((5,))
    assert z.shape == (5, 2, 3, 4)
    assert len(z.unique()) == z.numel()
    torch.testing.assert_close((z / 10).round().mean((0, 1, 3)), torch.tensor([1.0, 2.0, 3.0]), atol=0.1, rtol=0)


def test_an_expanded_flow_keeps_its_family():
    vae = make_vae(posterior="flow")
    qz = vae.posterior(binary(1)).expand(torch.Size(SHAPE))
    assert type(qz) is type(vae.posterior(binary(1)))
    assert qz.center.shape == (*SHAPE, 3)


@pytest.mark.parametrize("name", ["point", "reshaped", "elementwise"])
def test_a_shape_to_which_it_does_not_expand_is_refused(name):
    with pytest.raises(RuntimeError, match="expand"):
        OWN[name].expand(torch.Size(SHAPE)).expand(torch.Size((3, 5)))
