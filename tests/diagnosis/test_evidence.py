"""Causes before symptoms whichever way the evidence comes: with and without the loss, with and without a history."""

import pytest

import nelbo
from tests.diagnosis.test_loss_and_evaluation import LOSS, X, loss_function, wrapped
from tests.planted.suite import EVIDENCE, cases, causes, diagnosed, seeded
from tests.wrapping.models import Script

FAULTS = [planted.name for planted in cases() if planted.finding is not None]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_of_every_planted_fault_comes_first(name):
    planted = cases([name])[0]
    subject = seeded(planted)
    for evidence, change in EVIDENCE.items():
        given = change(subject)
        possible, findings = causes(planted, given), diagnosed(given)
        assert not possible or (findings and findings[0].id in possible), f"{evidence}:\n{findings}"


def history(weights, *, column):
    """Of a training whose loss weighed the KL so, in its terms alone or with a column that says it."""
    error, kl = [40.0 - epoch for epoch in range(len(weights))], 5.0
    rows = [{"train_recon": e, "train_kl": kl, "train_loss": e + w * kl} for e, w in zip(error, weights, strict=True)]
    return [row | ({"beta": w} if column else {}) for row, w in zip(rows, weights, strict=True)]


RISING = [0.01 * (epoch + 1) for epoch in range(20)]


def weighed(beta):
    def loss(recon_x, x, mu, logvar):
        whole = loss_function(recon_x, x, mu, logvar)
        return whole + (beta - 1) * -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)

    return loss


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("beta", [0.2, 0.0625, 0.37])  # 1/16 looks like a mean over the features
def test_a_warm_up_comes_before_the_beta_that_it_ended_with(beta, column):
    course = history([beta / 0.2 * w for w in RISING], column=column)
    found = nelbo.diagnose(
        wrapped(Script()), X, loss=weighed(beta), history=course, examples=100, only=[*LOSS, "warm-up-unfinished"]
    )
    assert [f.id for f in found][:1] == ["warm-up-unfinished"]
    assert all(f.follows_from == "warm-up-unfinished" for f in found[1:])


OTHERS = {
    "one": [1.0] * 20,
    "constant": [0.25] * 20,
    "subtracted": [-0.02] * 20,
    "over": [*RISING, 0.2, 0.2],
    "falling": [1.0, 0.5, 0.25, 0.125],
    "negative": [-3.0, -2.0, -1.0],
    "cycling": [0.1, 0.9, 0.3],
}


@pytest.mark.parametrize("weights", OTHERS.values(), ids=OTHERS)
def test_other_weights_in_a_history_are_no_warm_up(weights):
    found = nelbo.diagnose(
        wrapped(Script()), X, history=history(weights, column=False), examples=100, only=["warm-up-unfinished"]
    )
    assert not found
