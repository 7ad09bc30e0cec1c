"""A history under every objective: beta is read off the loss where the loss is made of it, and nowhere else."""

from dataclasses import dataclass

import pytest
import torch

import nelbo
from nelbo.objectives import ELBO, MMD, Beta, Capacity, Linear, Objective, Reconstruction, Terms
from tests.cases import OBJECTIVES
from tests.linear_gaussian import LinearGaussian

X = LinearGaussian.random(orthogonal=True).sample(200).float()
OF_THE_HISTORY = ["warm-up-unfinished", "validation-beta", "learning-rate", "gradient-explosion"]


@dataclass(frozen=True)
class Own(Objective):
    """Of the user's own: run.json does not say what it weighs."""

    def terms(self, model, batch, progress):
        terms = ELBO().terms(model, batch, progress).loss
        value = terms.reconstruction_error + 0.01 * terms.kl.square()
        return Terms(terms, value, value)


ALL = {**OBJECTIVES, "mmd_default": MMD(), "capacity_default": Capacity(Linear(5, end=5.0)), "own": Own()}


def fitted(objective):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        encoder, decoder = nelbo.nn.MLP(6, 6, hidden=(8,)), nelbo.nn.MLP(3, 6, hidden=(8,))
        vae = nelbo.VAE(encoder, decoder, latent=3, likelihood=nelbo.likelihoods.Normal("optimal"))
        return nelbo.fit(vae, X, objective=objective, epochs=20, batch_size=60, learning_rate=0.003, progress=False)


@pytest.mark.parametrize("objective", ALL.values(), ids=ALL)
def test_nothing_is_wrong_with_the_history_of_a_finished_training(objective):
    found = nelbo.diagnose(fitted(objective), examples=180, only=OF_THE_HISTORY)
    assert not found, str(found)
    passed = {one.id: one.evidence for one in found.passed}
    made_of_beta = isinstance(objective, ELBO | Beta | Reconstruction)
    assert ("validation-beta" in passed) == made_of_beta
    assert ("warm-up-unfinished" in passed) == (made_of_beta or bool(objective.schedules()))
    if made_of_beta:
        beta = {ELBO: 1.0, Reconstruction: 0.0}.get(type(objective), getattr(objective, "beta", None))
        beta = beta if isinstance(beta, float) else beta.final
        assert float(passed["warm-up-unfinished"][0]) == pytest.approx(beta, abs=1e-4)


@pytest.mark.parametrize("objective", [Beta(Linear(40)), Capacity(Linear(40, end=5.0))])
def test_a_schedule_that_was_cut_short_is_named(objective):
    schedule = next(iter(objective.schedules().values()))
    finished = fitted(OBJECTIVES["beta"])
    found = nelbo.diagnose(finished.model, X, history=finished.history, objective=objective, only=OF_THE_HISTORY[:1])
    assert [finding.id for finding in found] == ["warm-up-unfinished"]
    assert [float(number) for number in found[0].evidence] == [schedule.at(20), schedule.final]
