"""What every objective must do."""

import math

import pytest
import torch

from nelbo import objectives
from nelbo.objectives import Progress, from_dict, to_dict
from tests.cases import OBJECTIVES, binary, each, make_vae

pytestmark = pytest.mark.parametrize("name", **each(OBJECTIVES))


def test_every_objective_of_the_package_is_in_the_table(name):
    kinds = {c for c in vars(objectives).values() if isinstance(c, type) and issubclass(c, objectives.Objective)}
    assert kinds - {objectives.Objective} == {type(o) for o in OBJECTIVES.values()}


def test_terms_have_one_number_per_example(name):
    vae, x = make_vae(), binary(5)
    terms = OBJECTIVES[name](vae, x, Progress(0.0, 100))
    assert terms.value.shape == terms.surrogate.shape == (5,)
    assert all(term.shape == (5,) for term in terms.loss)
    torch.testing.assert_close(terms.loss.nelbo, terms.loss.reconstruction_error + terms.loss.kl)


def test_the_decoder_and_the_encoder_learn(name):
    vae, x = make_vae(), binary(5)
    OBJECTIVES[name](vae, x, Progress(5.0, 100)).surrogate.mean().backward()
    for part in (vae.encoder, vae.decoder):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in part.parameters())
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0


def test_survives_json(name):
    objective = OBJECTIVES[name]
    assert from_dict(to_dict(objective)) == objective


def test_reports_the_elbo_s_terms_whatever_it_optimizes(name):
    """The same draws give the same reconstruction error and KL as the ELBO."""
    vae, x = make_vae(), binary(5)
    samples = getattr(OBJECTIVES[name], "samples", 1)
    torch.manual_seed(1)
    expected = objectives.loss(vae, x, samples=samples)
    torch.manual_seed(1)
    got = OBJECTIVES[name](vae, x, Progress(3.0, 100)).loss
    torch.testing.assert_close(got.reconstruction_error, expected.reconstruction_error)
    torch.testing.assert_close(got.kl, expected.kl)


def test_training_makes_it_smaller(name):
    objective, vae, x = OBJECTIVES[name], make_vae(), binary(64)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-2)
    torch.manual_seed(0)

    def value():
        with torch.no_grad():
            torch.manual_seed(1)
            return float(
                torch.stack([objective(vae, x, Progress(math.inf, 64)).value.mean() for _ in range(20)]).mean()
            )

    before = value()
    for _ in range(100):
        optimizer.zero_grad()
        objective(vae, x, Progress(math.inf, 64)).surrogate.mean().backward()
        optimizer.step()
    assert value() < before - 0.1
