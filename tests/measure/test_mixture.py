"""Importance sampling from a mixture, where q(z|x) alone is wrong and does not know it."""

import math
import warnings

import pytest
import torch
from torch.distributions import Independent, Normal

from nelbo.evaluation import evaluate, evaluation_mode
from nelbo.measure import log_evidence
from nelbo.measure.mixture import LogJoint, climbed, fitted
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import Foreign, binary, random_vae

METHODS = ("quadrature", "mixture", "importance", "annealed")


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return log_evidence(*arguments, progress=False, **options)


class Folded:
    """x = (z_1^2 + tilt z_1, z_2, z_3) + noise: two modes of z_1, and a q(z|x) that sits on the one of ``side``."""

    sigma, tilt = 0.1, 0.05

    def __init__(self, side, middle=0.0):
        self.side, self.middle = side, torch.tensor([middle, 0.0, 0.0])

    @property
    def prior(self):
        return Independent(Normal(self.middle, torch.ones(3)), 1)

    def posterior(self, x):
        first = self.side * x[:, :1].clamp(min=0.01).sqrt() - 0.5 * self.tilt
        mean = torch.cat([first, x[:, 1:] / (1 + self.sigma**2)], 1)
        scale = torch.cat([self.sigma / (2 * first.abs()), torch.full_like(x[:, 1:], self.sigma)], 1)
        return Independent(Normal(mean, scale), 1)

    def likelihood(self, z):
        first = z[..., :1]
        return Independent(Normal(torch.cat([first.square() + self.tilt * first, z[..., 1:]], -1), self.sigma), 1)

    def exact(self, x):
        z = torch.linspace(-8, 8, 40_001).double()
        joint = Normal(z.square() + self.tilt * z, self.sigma).log_prob(x[:, :1].double())
        joint = joint + Normal(self.middle[0].double(), 1).log_prob(z)
        first = torch.logsumexp(joint, 1) + math.log(16 / 40_000)
        others = Normal(0, (1 + self.sigma**2) ** 0.5).log_prob(x[:, 1:].double()).sum(1)
        return first + others


X = torch.tensor([[2.0, 0.3, -1.0], [3.0, -0.5, 0.2], [1.0, 0.0, 0.0], [4.0, 1.0, 1.0]])


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_mode_that_q_misses_is_found(side):
    model = Folded(side)
    exact = model.exact(X)
    alone = quietly(model, X, method="importance")
    missed = (alone.value - exact) / alone.standard_error
    assert (missed < -10).all()  # and all weights agree
    assert not alone.flagged.any()
    found = quietly(model, X)
    assert found.method == "mixture"
    assert int(found.flagged.sum()) <= 1
    assert (((found.value - exact).abs() < 4 * found.standard_error) | found.flagged).all()
    assert found.standard_error.max() < 0.1
    # the fits find both modes, and q(z|x) alone says that it does not
    parts = found.components
    assert list(parts) == ["q(z|x)", "prior", "fits"]
    assert found.q_misses.all()
    assert "for 4 of 4 examples draws from q(z|x) alone miss over a quarter of p(x)" in found.comparison
    assert "q(z|x) misses a part of p(z|x) on 4" in repr(found)
    fits = parts["fits"]
    assert ((fits.value - exact).abs() < 5 * fits.standard_error).sum() >= 3
    assert found.part(slice(1, 3)).components["prior"].value.shape == (2,)


def test_a_q_that_is_right_misses_nothing_and_its_draws_alone_say_the_same():
    model = LinearGaussian.random(latent=3)
    x = model.sample(30)
    found = log_evidence(model.vae(error=0.02), x, method="mixture", progress=False)
    exact = model.evidence().log_prob(x)
    for name in ("q(z|x)", "fits"):  # the prior's draws seldom meet p(z|x): their own error says too little
        part = found.components[name]
        off = (part.value - exact) / part.standard_error
        assert off.abs().max() < 5, name
        assert off.square().mean() < 3, name
    assert not found.q_misses.any()
    assert not found.comparison
    alone = quietly(model.vae(), x, method="importance")
    assert not alone.components
    assert not alone.q_misses.any()


def test_chains_from_two_starts_find_what_those_from_a_wrong_q_miss():
    model = Folded(1.0, middle=-1.5)
    exact = model.exact(X)
    one = quietly(model, X, method="annealed", start="posterior", temperatures=60)
    both = quietly(model, X, method="annealed", temperatures=60)
    assert ((exact - one.value > 2) & ~one.flagged).any()
    off = (both.value - exact).abs() < 4 * both.standard_error + 0.02
    assert (off | both.flagged).all()
    assert (both.samples == one.samples).all()


def test_starts_that_disagree_are_flagged_and_the_larger_value_stands(monkeypatch):
    from nelbo.measure import annealing

    forward = annealing.AnnealingPath.forward

    def low(path, chains):
        return forward(path, chains) - 3.0 * (path.stream == 0) * torch.tensor([0.0, 1.0, 0.0, 1.0]).double()

    model = LinearGaussian.random(latent=3)
    x = model.sample(4)
    whole = quietly(model.vae(), x, method="annealed", temperatures=25)
    monkeypatch.setattr(annealing.AnnealingPath, "forward", low)
    with pytest.warns(UserWarning, match="for 2 of 4 examples chains from"):
        found = log_evidence(model.vae(), x, method="annealed", temperatures=25, progress=False)
    assert found.flagged.tolist() == [False, True, False, True]
    assert not whole.flagged.any()
    assert (found.value - model.evidence().log_prob(x)).abs().max() < 1.0


def test_twenty_dimensions_and_an_encoder_that_is_wrong():
    model = LinearGaussian.random(features=40, latent=20, sigma=0.5)
    x = model.sample(20)
    vae = model.vae(error=0.1)
    assert quietly(vae, x, method="importance").flagged.all()
    found = log_evidence(vae, x, progress=False)
    assert not found.flagged.any()
    off = (found.value - model.evidence().log_prob(x)) / found.standard_error
    assert off.abs().max() < 4
    assert off.square().mean() < 2
    assert found.standard_error.max() < 0.1


def test_the_fit_is_exact_for_a_normal_posterior():
    model = LinearGaussian.random(features=10, latent=4, sigma=0.5)
    x = model.sample(6)
    gain, offset, covariance = model.posterior()
    vae = model.vae(error=0.2)
    evaluation = evaluate(vae, x)
    with evaluation_mode(vae):
        joint = LogJoint(evaluation)
        modes = climbed(joint, evaluation.embedding[None], evaluation.spread, 30)
        modes = fitted(joint, modes, 3)
    torch.testing.assert_close(modes.center[0], x @ gain.T + offset, atol=1e-6, rtol=0)
    tril = modes.tril[0]
    torch.testing.assert_close(tril @ tril.mT, covariance.expand(6, 4, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_flags_examples(method):
    found = quietly(random_vae(), binary(5), method=method, samples=200, temperatures=20)
    assert found.flagged.dtype == torch.bool
    assert found.flagged.shape == (5,)
    assert found.part(slice(0, 2)).flagged.shape == (2,)


def test_few_draws_and_weights_without_a_mean_are_flagged():
    vae, x = random_vae(latent=3), binary(4)
    assert quietly(vae, x, method="importance", samples=10).flagged.all()
    bad = LinearGaussian.random(latent=3, sigma=0.2)
    found = quietly(bad.vae(error=0.3), bad.sample(10), method="importance", samples=500)
    assert torch.equal(found.flagged, found.pareto_k > 1 - 1 / math.log10(500))


WITHOUT_SLOPE = {
    "detach": lambda z: z.detach(),
    "numpy": lambda z: torch.as_tensor(z.numpy()),
    "item": lambda z: torch.tensor([value.item() for value in z.flatten()]).reshape(z.shape),
}


@pytest.mark.parametrize("how", WITHOUT_SLOPE)
def test_a_decoder_without_gradients_is_measured_all_the_same(how):
    class WithoutSlope(Foreign):
        def likelihood(self, z):
            return self.vae.likelihood(WITHOUT_SLOPE[how](z))

    vae, x = random_vae(latent=3), binary(6)
    with pytest.warns(UserWarning, match=r"no slope in z: the decoder leaves torch .*q\(z\|x\) and the prior alone"):
        found = log_evidence(WithoutSlope(vae), x, samples=2000, progress=False)
    assert list(found.components) == ["q(z|x)", "prior"]
    other = quietly(vae, x, samples=2000)
    assert not any("slope" in note for note in other.notes)
    error = (found.standard_error.square() + other.standard_error.square()).sqrt()
    assert ((found.value - other.value).abs() < 5 * error).all()


def test_a_covariance_that_no_memory_holds_is_left_out():
    """Of 4 x 64 x 64 latents it would be 1 GB. Where q(z|x) is p(z|x), it needs none: every weight is p(x)."""

    class Wide:
        prior = Independent(Normal(torch.zeros(16384), torch.ones(16384)), 1)

        def posterior(self, x):
            mean = torch.cat([0.5 * x, torch.zeros(len(x), 16383)], 1)
            scale = torch.ones(len(x), 16384)
            scale[:, 0] = 0.5**0.5
            return Independent(Normal(mean, scale), 1)

        def likelihood(self, z):
            return Independent(Normal(z[..., :1], torch.ones(())), 1)

    x = torch.tensor([[-1.0], [0.5], [3.0]])
    with pytest.warns(UserWarning, match=r"in up to 1,024 latent dimensions, of which there are 16,384.*alone"):
        found = log_evidence(Wide(), x, samples=40, progress=False)
    assert list(found.components) == ["q(z|x)", "prior"]
    log_px = Normal(0.0, 2.0**0.5).log_prob(x[:, 0]).double()
    assert ((found.components["q(z|x)"].value - log_px).abs() < 0.01).all()  # rounding, of sums of 16,384 numbers


def test_a_memory_that_ends_is_no_decoder_without_gradients():
    class Once(Foreign):
        ends = True

        def likelihood(self, z):
            if z.requires_grad and self.ends:
                self.ends = False
                raise torch.OutOfMemoryError
            return self.vae.likelihood(z)

    found = quietly(Once(random_vae(latent=3)), binary(2), samples=200)
    assert list(found.components) == ["q(z|x)", "prior", "fits"]


@pytest.mark.parametrize("method", METHODS)
def test_inference_mode_changes_nothing(method):
    vae, x = random_vae(), binary(3)
    right = quietly(vae, x, method=method, samples=200, temperatures=4)
    with torch.inference_mode():
        found = quietly(vae, x, method=method, samples=200, temperatures=4)
        of_a_copy = quietly(vae, x.clone(), method=method, samples=200, temperatures=4)
    assert torch.equal(found.value, right.value)
    assert torch.equal(of_a_copy.value, right.value)
    assert found.notes == of_a_copy.notes == right.notes


def test_a_prior_and_a_posterior_that_are_flows():
    import nelbo

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,), prior="flow", posterior="flow").eval()
        x = binary(4, features=6)
        vae.posterior(x)  # draws the weights
    exact, drawn = quietly(vae, x), quietly(vae, x, method="mixture", samples=2000)
    assert ((exact.value - drawn.value).abs() < 4.5 * drawn.standard_error + 2e-3).all()
