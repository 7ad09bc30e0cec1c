"""Values that are missing because of what they are, in linear models where all is known."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.special import log_ndtr, ndtr

import nelbo
from nelbo.likelihoods import SelfMasking
from nelbo.likelihoods.masking import Selected
from nelbo.measure import impute, log_evidence
from tests.linear_gaussian import LinearGaussian
from tests.missing.holes import exact_evidence, exact_imputation, vae_of

OFFSET, SLOPE = -0.3, 1.5


def self_masked(x, column=0, *, offset=OFFSET, slope=SLOPE, seed=3):
    """x whose values of one column are missing with the probability Phi(a + b x)."""
    u = torch.rand(len(x), generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    x = x.clone()
    x[u < ndtr(offset + slope * x[:, column]), column] = torch.nan
    return x


def mechanism_for(features, column=0):
    mechanism = SelfMasking((features,)).double()
    with torch.no_grad():
        mechanism.offset.fill_(-30.0)  # the others are always observed
        mechanism.offset[column], mechanism.slope[column] = OFFSET, SLOPE
    return mechanism


@pytest.fixture
def case():
    model = LinearGaussian.random(features=4, latent=2)
    model.bias.zero_()
    vae = vae_of(model, error=0.2)
    vae.mechanism = mechanism_for(4)
    return model, vae, self_masked(model.sample(40))


def conditional(model, x):
    """Mean and standard deviation of the column 0 given the others, and whether it is missing."""
    moments = [exact_imputation(model, torch.cat([torch.full((1,), torch.nan, dtype=x.dtype), row[1:]])) for row in x]
    mean, variance = (torch.stack([part.flatten()[0] for part in parts]) for parts in zip(*moments, strict=True))
    return mean, variance.sqrt(), x[:, 0].isnan()


@pytest.mark.parametrize("method", ["quadrature", "mixture"])
def test_evidence_is_that_of_values_and_pattern(case, method):
    model, vae, x = case
    mean, deviation, missing = conditional(model, x)
    pattern = log_ndtr((OFFSET + SLOPE * mean) / (1 + (SLOPE * deviation) ** 2).sqrt())
    pattern = torch.where(missing, pattern, log_ndtr(-(OFFSET + SLOPE * x[:, 0])))
    assert bool(missing.any())
    assert not bool(missing.all())
    found = log_evidence(vae, x, method=method, progress=False)
    off = (found.value - exact_evidence(model, x) - pattern).abs()
    assert bool((off < 1e-3 + 4 * found.standard_error).all())


def test_what_is_imputed_knows_that_it_is_missing(case):
    model, vae, x = case
    mean, deviation, missing = conditional(model, x)
    exact = Selected(mean, deviation, torch.tensor(OFFSET), torch.tensor(SLOPE)).mean[missing]
    found = impute(vae, x, draws=200)
    t = (found.value[missing, 0] - exact) / found.standard_error[missing, 0]
    assert float(t.abs().max()) < 4.5
    assert bool((exact > mean[missing]).all())  # high values are missing more often
    drawn = found.draws[:, missing, 0]
    error = drawn.std(0) / 200**0.5
    assert bool(((drawn.mean(0) - exact).abs() < 4.5 * (error + found.standard_error[missing, 0])).all())


@pytest.mark.parametrize("slope", [0.0, 2.0, -30.0])
def test_a_normal_selected_by_itself(slope):
    q = Selected(*(torch.tensor([v], dtype=torch.float64) for v in (0.7, 1.3, -0.4, slope)))
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = Normal(0.7, 1.3).log_prob(grid).exp() * ndtr(-0.4 + slope * grid)
    total = density.sum() * (grid[1] - grid[0])
    assert float(ndtr(q.threshold)) == pytest.approx(float(total), rel=1e-6)
    mean = float((density * grid).sum() / density.sum())
    assert float(q.mean) == pytest.approx(mean, rel=1e-6)
    variance = float((density * grid.square()).sum() / density.sum()) - mean**2
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        drawn = q.sample((40_000,))
    assert float(drawn.mean()) == pytest.approx(mean, abs=5 * (variance / 40_000) ** 0.5)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.05)


def test_the_recipe_joins_the_mechanism_and_takes_normals_only():
    vae = nelbo.recipes.missing_vae((3,), mechanism="self_masking", hidden=(8,))
    x = self_masked(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    terms = vae.objective(vae, x)
    terms.surrogate.mean().backward()
    assert bool((vae.mechanism.slope.grad[0] != 0) & vae.mechanism.slope.grad.isfinite().all())
    run = nelbo.fit(vae, x, epochs=1, progress=False)
    again = nelbo.recipes.make(run.record["recipe"]["name"], **run.record["recipe"]["arguments"])
    assert again.state_dict().keys() == vae.state_dict().keys()
    decoded = nelbo.recipes.missing_vae((3,), mechanism="self_masking", likelihood="normal_decoded")
    assert bool(nelbo.loss(decoded, x).nelbo.isfinite().all())
    with pytest.raises(TypeError, match="self-masking needs a normal"):
        nelbo.recipes.missing_vae((3,), mechanism="self_masking", likelihood="bernoulli")
    with pytest.raises(ValueError, match="mechanism"):
        nelbo.recipes.missing_vae((3,), mechanism="self")


def ignorable_mean(x):
    """The mean of column 0 of the normal that fits best where the pattern is ignored, by EM."""
    missing = x[:, 0].isnan()
    mean, covariance = x.nanmean(0), torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(200):
        gain = torch.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
        left = covariance[0, 0] - covariance[0, 1:] @ gain
        filled = x.clone()
        filled[missing, 0] = mean[0] + (x[missing, 1:] - mean[1:]) @ gain
        mean = filled.mean(0)
        covariance = (filled - mean).T @ (filled - mean) / len(x)
        covariance[0, 0] += missing.double().mean() * left
    return float(mean[0])


@pytest.mark.slow
def test_ignoring_the_mechanism_is_biased_by_a_known_amount_and_modelling_it_is_not():
    model = LinearGaussian(torch.full((4, 1), 0.8, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), 0.6)
    x = self_masked(model.sample(6000))
    biased = ignorable_mean(x)
    assert biased < -0.2  # of a column whose mean is 0
    means = {}
    for mechanism in ("ignorable", "self_masking"):
        vae = nelbo.recipes.missing_vae((4,), latent=1, mechanism=mechanism, likelihood="normal:0.6", hidden=(32,))
        vae.decoder = nn.Linear(1, 4)
        run = nelbo.fit(vae, x.float(), epochs=40, learning_rate=5e-3, schedule="cosine", progress=False)
        means[mechanism] = float(run.model.decoder.bias[0].detach())
    assert means["ignorable"] == pytest.approx(biased, abs=0.05)
    assert means["self_masking"] == pytest.approx(0.0, abs=0.1)


def test_one_step_from_the_truth_ignoring_the_mechanism_moves_away_and_modelling_it_stays():
    """The expected gradient at the truth is 0 for the model that knows the mechanism, and not for the other."""
    model = LinearGaussian(torch.full((4, 1), 0.8, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), 0.6)
    x = self_masked(model.sample(6000))
    scores = {}
    for name, mechanism in (("ignorable", None), ("self_masking", mechanism_for(4))):
        vae = vae_of(model)
        vae.mechanism = mechanism
        bound = -nelbo.objectives.ImportanceWeighted(20)(vae, x).value
        each = torch.autograd.grad(bound.mean(), vae.decoder.bias)[0]
        scores[name] = float(each[0])
    # of a normal with this precision, the standard error of the mean score over 6,000 examples
    error = (1 / 0.6**2 / 6000) ** 0.5
    assert abs(scores["self_masking"]) < 4 * error
    assert scores["ignorable"] < -10 * error
