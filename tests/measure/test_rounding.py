"""What float32 does to log p(x) stands in its error."""

import copy
import warnings

import pytest

from nelbo.evaluation import evaluate
from nelbo.measure import importance_bounds, log_evidence
from nelbo.measure.rounding import rounding
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import Foreign, binary, random_vae


def wide(latent=2, sigma=0.3):
    """A linear model of 560 features, in float64 and in float32, and data that both see alike."""
    model = LinearGaussian.random(features=560, latent=latent, sigma=sigma)
    x = model.sample(24).float()
    vae = model.vae()
    return vae, copy.deepcopy(vae).float(), x


@pytest.mark.parametrize(
    ("method", "latent", "settings"),
    [
        ("quadrature", 2, {}),
        ("mixture", 3, {"samples": 200}),
        ("importance", 3, {"samples": 200}),
        ("annealed", 3, {"temperatures": 4, "chains": 4}),
    ],
)
def test_float32_is_within_the_stated_error_of_float64(method, latent, settings):
    double, single, x = wide(latent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = log_evidence(double, x, method=method, progress=False, **settings)
        found = log_evidence(single, x, method=method, progress=False, **settings)
    off = (found.value - exact.value).abs()
    error = (found.standard_error.square() + exact.standard_error.square()).sqrt()
    assert (off < 5 * error).all()
    assert (off / error).square().mean() < 3


def test_quadrature_states_more_than_it_is_off_on_every_image():
    double, single, x = wide()
    exact, found = (log_evidence(model, x, progress=False) for model in (double, single))
    off = (found.value - exact.value).abs()
    assert (off < 3 * found.standard_error).all()
    assert found.standard_error.max() < 2e-3
    assert exact.standard_error.max() < found.standard_error.max()


def test_bounds_hold_the_rounding_too():
    double, single, x = wide(3)
    exact, found = (
        importance_bounds(model, x, samples=(1, 10), evidence=log_evidence(model, x, samples=400), progress=False)
        for model in (double, single)
    )
    for k in (1, 10):
        off = (found.bounds[k].value - exact.bounds[k].value).abs()
        assert (off < 5 * found.bounds[k].standard_error + 1e-9).all()


def test_rounding_is_nothing_in_float64_and_something_where_a_copy_cannot_be_made():
    vae, x = random_vae(), binary(6)
    value = log_evidence(vae, x, progress=False).value
    known = rounding(evaluate(vae, x), value)
    assert (known > 0).all()
    assert (known < 1e-4).all()
    assert (rounding(evaluate(Foreign(vae), x), value) > 0).all()
    double = random_vae().double()
    assert (rounding(evaluate(double, x), value) == 0).all()
