"""NaN in x means not observed: p(x|z) sums over the rest, and what is built on it follows."""

import copy

import pytest
import torch
from torch import nn

import nelbo
from nelbo import likelihoods, objectives
from nelbo.evaluation import evaluate
from nelbo.likelihoods import Observed
from nelbo.likelihoods.observed import resampled
from nelbo.measure import log_evidence
from nelbo.nn import MLP, WithMask
from nelbo.objectives import Progress
from nelbo.training.start import init_output_bias
from tests.cases import EVENT, LIKELIHOODS, OBJECTIVES, parameters_for
from tests.linear_gaussian import LinearGaussian
from tests.missing.holes import exact_evidence, vae_of, with_holes


def vae_for(name, seed=0):
    family, data = LIKELIHOODS[name]
    px = family()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        encoder = WithMask(MLP(2 * EVENT[0], 6, hidden=(8,)))
        decoder = MLP(3, px.decoder_event(EVENT), hidden=(8,))
        nn.init.normal_(decoder.output_bias, std=0.3)
        return nelbo.VAE(encoder, decoder, latent=3, likelihood=px), data(30)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_log_prob_is_the_sum_over_what_was_observed(name):
    family, data = LIKELIHOODS[name]
    x, px = data(5), family()
    whole = px(parameters_for(px, 5), 1)
    seen = Observed(whole, px.filler)
    each = whole.base_dist.log_prob(x)
    holes = with_holes(x)
    torch.testing.assert_close(seen.log_prob(holes), torch.where(holes.isnan(), 0.0, each).sum(-1))
    assert torch.equal(seen.log_prob_each(holes) == 0, holes.isnan() | (each == 0))
    torch.testing.assert_close(seen.log_prob(x), whole.log_prob(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in LIKELIHOODS if name != "columns"])  # see test_columns
def test_no_gradient_is_nan_and_what_is_missing_has_none(name):
    family, data = LIKELIHOODS[name]
    px = family()
    parameters = parameters_for(px, 5).requires_grad_()
    x = with_holes(data(5))
    x[2] = torch.nan
    Observed(px(parameters, 1), px.filler).log_prob(x).sum().backward()
    assert parameters.grad is not None
    assert bool(parameters.grad.isfinite().all())
    each = parameters.grad.unflatten(1, (px.parameters_per_feature, -1))
    assert bool((each.movedim(1, 2)[x.isnan()] == 0).all())


@pytest.mark.parametrize(
    "name", [name for name in LIKELIHOODS if name.startswith(("normal", "bernoulli", "continuous"))]
)
def test_the_linear_form_has_a_mask(name):
    family, data = LIKELIHOODS[name]
    px = family()
    x = with_holes(data(7)).double()
    seen = Observed(px(parameters_for(px, 4).double()[:, None], 1), px.filler)
    form = px.double().linear(seen, x)
    torch.testing.assert_close(
        (form.rows @ form.coefficients.T + form.offset).T, seen.log_prob(x[None]), check_dtype=False
    )
    again = px.linear(seen, x, form.rows)
    assert torch.equal(again.rows, form.rows)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("objective", ["elbo", "beta_tc", "importance_weighted"])
def test_trains_on_holes(name, objective):
    vae, x = vae_for(name)
    objective = next((o for n, o in OBJECTIVES.items() if n.startswith(objective)), objectives.ImportanceWeighted(3))
    x = with_holes(x)
    x[3] = torch.nan
    nelbo.vae.as_model(vae).check(x)
    terms = objective(vae, x, Progress(0.0, 100))
    assert bool(terms.loss.nelbo.isfinite().all())
    terms.surrogate.mean().backward()
    for parameter in vae.parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all())


def test_a_missing_value_is_no_zero_and_images_have_a_channel_of_the_mask():
    images = nelbo.recipes.missing_vae((2, 8, 8), network="conv", channels=(4,), hidden=(8,), likelihood="normal")
    x = torch.zeros(3, 2, 8, 8)
    holes = x.masked_fill(torch.rand(x.shape) < 0.5, torch.nan)
    assert not torch.equal(images.encode(x), images.encode(holes))
    assert bool(images.encode(holes).isfinite().all())
    counted = nelbo.recipes.vae((6,), likelihood="categorical:5", takes_missing=True, hidden=(8,))
    assert bool(counted.encode(with_holes(LIKELIHOODS["categorical"][1](4))).isfinite().all())


def test_sigma_moves_to_the_residual_of_what_was_observed():
    family = likelihoods.Normal()
    whole = copy.deepcopy(family)
    x = with_holes(torch.randn(50, 6))
    mean = torch.zeros(50, 6)
    family.adapt(family.optimum(Observed(family(mean, 1)), x))
    assert float(family.mean_square) == pytest.approx(float(x.square().nanmean()), rel=1e-6)
    full = torch.randn(50, 6)
    family.adapt(family.optimum(Observed(family(mean, 1)), full))
    whole.adapt(whole.optimum(whole(mean, 1), full))
    assert bool(family.steps == 2)


def test_resampled_keeps_what_each_feature_is_like():
    x = torch.tensor([[torch.nan, 1.0, torch.nan], [2.0, 3.0, torch.nan], [4.0, torch.nan, torch.nan], [0.0, 5.0, 1.0]])
    filled = resampled(x)
    assert torch.equal(filled[:, 0], torch.tensor([0.0, 2.0, 2.0, 4.0]))
    assert torch.equal(filled[:, 1], torch.tensor([1.0, 3.0, 3.0, 5.0]))
    assert bool((filled[:, 2] == 1).all())
    assert bool(resampled(x[:3])[:, 2].isnan().all())
    assert resampled(filled) is filled


@pytest.mark.parametrize("method", ["quadrature", "mixture", "importance", "annealed"])
def test_evidence_is_that_of_what_was_observed(method):
    latent = 2 if method == "quadrature" else 3
    model = LinearGaussian.random(features=7, latent=latent)
    x = with_holes(model.sample(12))
    options = {"temperatures": 40, "start": "posterior"} if method == "annealed" else {}
    found = log_evidence(vae_of(model, error=0.2), x, method=method, progress=False, **options)
    off = (found.value - exact_evidence(model, x)).abs()
    assert bool((off < 1e-3 + 4 * found.standard_error).all())


def test_bounds_and_terms_are_those_of_what_was_observed():
    model = LinearGaussian.random(features=7, latent=3)
    x = with_holes(model.sample(12))
    vae = vae_of(model)  # whose q(z|x) is exact, so that each bound is log p(x_observed)
    terms = evaluate(vae, x).terms()
    assert bool(((terms.elbo.value - exact_evidence(model, x)).abs() < 1e-3 + 4 * terms.elbo.standard_error).all())
    per_feature = evaluate(vae, x).error_per_feature()
    assert torch.equal(per_feature == 0, x.isnan())
    torch.testing.assert_close(per_feature.sum(1), terms.reconstruction_error.value)
    bound = objectives.ImportanceWeighted(5)(vae, x, Progress())
    torch.testing.assert_close(-bound.value, exact_evidence(model, x))


def test_an_example_without_any_value_has_evidence_0():
    model = LinearGaussian.random(features=5, latent=2)
    found = log_evidence(vae_of(model), torch.full((2, 5), torch.nan), progress=False)
    assert bool((found.value.abs() < 1e-3).all())


def test_a_score_depends_on_no_neighbour_and_on_no_pattern_of_bits():
    model = LinearGaussian.random(features=5, latent=3)
    x = with_holes(model.sample(6))
    vae = vae_of(model, error=0.1)
    value = log_evidence(vae, x, progress=False).value
    negative = x.clone()
    negative[x.isnan()] = -torch.tensor(torch.nan, dtype=torch.float64)
    assert torch.equal(log_evidence(vae, negative, progress=False).value, value)
    torch.testing.assert_close(log_evidence(vae, x[2:4], progress=False).value, value[2:4], rtol=0, atol=1e-9)


def test_a_model_that_cannot_take_nan_names_the_wrapper():
    x = with_holes(torch.randn(20, 6))
    vae = nelbo.VAE(MLP(6, 4), MLP(2, 6), latent=2, likelihood=likelihoods.Normal())
    with pytest.raises(ValueError, match=r"nelbo\.nn\.WithMask\(encoder\)"):
        nelbo.loss(vae, x)
    data = nelbo.data.Data(nelbo.data.InMemory(x), None, None, {})
    with pytest.raises(ValueError, match=r"in the training data.*nelbo\.nn\.WithMask\(encoder\)"):
        nelbo.fit(vae, data, epochs=1, progress=False)
    joint = nelbo.VAE(WithMask(MLP(12, 4)), MLP(2, 6), latent=2, likelihood=Together())
    with pytest.raises(TypeError, match=r"torch\.distributions\.Independent"):
        nelbo.loss(joint, x)
    with pytest.raises(ValueError, match="infinite"):
        nelbo.loss(nelbo.recipes.missing_vae((6,)), x.masked_fill(x > 0, torch.inf))


def test_an_encoder_that_takes_a_missing_value_for_0_is_named_before_training():
    x = with_holes(torch.randn(40, 3)).numpy()
    untold = nelbo.VAE(Zeros(), MLP(2, 3), latent=2, likelihood=likelihoods.Normal())
    with pytest.warns(UserWarning, match=r"the same for a missing value as for 0.*nelbo\.nn\.WithMask\(encoder\)"):
        nelbo.fit(untold, x, epochs=1, progress=False)
    nelbo.fit(nelbo.recipes.missing_vae((3,), hidden=(8,)), x, epochs=1, progress=False)


class Zeros(nn.Module):
    """An encoder that fills in zeros and says nothing of it."""

    takes_missing = True

    def __init__(self):
        super().__init__()
        self.network = MLP(3, 4)

    def forward(self, x):
        return self.network(x.nan_to_num(nan=0.0))


class Together(likelihoods.Likelihood):
    """Features that depend on each other given z."""

    support = "real values"

    def forward(self, parameters, event_dims):
        return torch.distributions.MultivariateNormal(parameters, torch.eye(6))

    def accepts(self, x):
        return True


def test_fit_on_holes_starts_at_the_mean_and_learns():
    model = LinearGaussian.random(features=6, latent=2)
    x = with_holes(model.sample(2200)).float()
    data = nelbo.data.Data(nelbo.data.InMemory(x[:2000]), nelbo.data.InMemory(x[2000:]), None, {})
    vae = nelbo.recipes.missing_vae((6,), samples=5, hidden=(16,))
    init_output_bias(vae, data.train)
    torch.testing.assert_close(vae.decoder.output_bias, x[:2000].nanmean(0), rtol=0, atol=0.03)
    run = nelbo.fit(vae, data, epochs=25, learning_rate=1e-2, progress=False)
    off = log_evidence(run, x[2000:], progress=False).value - exact_evidence(model, x[2000:].double())
    assert abs(float(off.mean())) < 0.3
