"""Private names of torch stand in one file, where each has a fallback."""

import re
from pathlib import Path
from types import SimpleNamespace

import mpmath as mp
import pytest
import torch
import torch.distributions as D

import nelbo
from nelbo.divergences import internals
from nelbo.flows import import_zuko

SOURCES = Path(nelbo.__file__).parent
PRIVATE = re.compile(
    r"torch\._(?!_)\w|\b_validate_args\b|\._categorical\b|_unbroadcasted_scale_tril|_InverseTransform|\b_cached_x_y\b"
)


def test_no_other_file_uses_private_names_of_torch():
    users = {str(f.relative_to(SOURCES)) for f in SOURCES.rglob("*.py") if PRIVATE.search(f.read_text("utf-8"))}
    assert users == {
        "divergences/internals.py",
        "training/step.py",
        "devices.py",
    }  # step.py for options that torch documents there, devices.py to see whether the compiler was imported


def test_every_private_name_exists_in_this_torch():
    """Else the fallbacks run, which are slower or less exact."""
    normal = D.MultivariateNormal(torch.zeros(7, 2), torch.eye(2))
    assert internals.scale_tril(normal).shape == (2, 2)
    logits = torch.tensor([0.0, -200.0])  # e^-200 is 0 in float32, and stays apart from it as a logit
    for p in (D.OneHotCategorical(logits=logits), D.Multinomial(2, logits=logits)):
        assert internals.given_parameter(internals.categorical(p)) == "logits"
    assert internals.validated(D.Normal(0.0, 1.0, validate_args=True))
    assert not internals.validated(D.Normal(0.0, 1.0, validate_args=False))


def test_fallbacks_without_the_private_names():
    probs = torch.tensor([0.2, 0.8])
    assert torch.allclose(internals.categorical(SimpleNamespace(logits=probs.log())).probs, probs)
    tril = torch.eye(2)
    assert internals.scale_tril(SimpleNamespace(scale_tril=tril)) is tril
    assert not internals.validated(SimpleNamespace())


def test_double_copies_inverse_transforms_and_keeps_the_graph():
    scale = torch.tensor(2.0, requires_grad=True)
    p = D.TransformedDistribution(D.Gamma(torch.tensor(3.0), torch.tensor(1.0)), D.AffineTransform(0.0, scale).inv)
    twin = internals.double(p)
    x = torch.tensor(0.7, dtype=torch.float64)
    assert twin.log_prob(x).dtype == torch.float64
    torch.testing.assert_close(twin.log_prob(x).float(), p.log_prob(x.float()))
    assert torch.autograd.grad(twin.log_prob(x), scale)[0] != 0
    assert any(part is scale for part in internals.parameters(p))


def _kumaraswamy(x, a, b):
    return mp.log(a) + mp.log(b) + (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-(x**a))


def _weibull(x, scale, k):
    return mp.log(k / scale) + (k - 1) * mp.log(x / scale) - (x / scale) ** k


def _pareto(x, loc, scale, c):
    z = (x - loc) / scale
    return -mp.log(scale) - (z if c == 0 else (1 + 1 / c) * mp.log1p(c * z))


@pytest.mark.parametrize(
    ("family", "density", "parameters", "points"),
    [
        (D.Kumaraswamy, _kumaraswamy, (1, 1), (1e-300, 1e-17, 0.3, 1 - 2**-53)),
        (D.Kumaraswamy, _kumaraswamy, (2, 3), (1e-300, 1e-17, 0.3, 1 - 2**-53)),
        (D.Kumaraswamy, _kumaraswamy, (0.5, 0.5), (1e-300, 1e-17, 0.3, 1 - 2**-53)),
        (D.Weibull, _weibull, (2, 3), (1e-200, 1e-17, 0.3, 8.0)),
        (D.GeneralizedPareto, _pareto, (1, 2, 0.3), (1 + 2**-50, 3.0, 1e200)),
        (D.GeneralizedPareto, _pareto, (1, 2, 0), (1 + 2**-50, 3.0, 600.0)),
        (D.GeneralizedPareto, _pareto, (1, 2, -0.25), (1 + 2**-50, 3.0, 8.99)),
    ],
)
def test_log_prob_holds_to_the_ends_of_the_support(family, density, parameters, points):
    """torch's own is -inf near an end where it takes a family apart into transforms, or stops in float64."""
    d = family(*(torch.tensor(float(each), dtype=torch.float64) for each in parameters), validate_args=False)
    with mp.workdps(400):
        truth = [float(density(mp.mpf(x), *map(mp.mpf, parameters))) for x in points]
    got = internals.log_prob(d, torch.tensor(points, dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor(truth, dtype=torch.float64), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("on", [True, False])
def test_importing_zuko_leaves_validation_as_it_was(on):
    try:
        D.Distribution.set_default_validate_args(on)
        import_zuko()
        assert internals.validated(D.Normal(0.0, 1.0)) is on
    finally:
        D.Distribution.set_default_validate_args(True)
