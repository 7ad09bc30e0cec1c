"""Dead codes as a finding: not where chance leaves codes out, in the codebook that has them, with its cost."""

import math

import pytest
import torch

import nelbo
from tests.measure.test_codes import data, view_of


def diagnosed(view, x):
    findings = nelbo.diagnose(view, x, only=["dead-codes"])
    return next(iter(findings), None), findings


@pytest.mark.parametrize("seed", range(3))
def test_codes_that_chance_leaves_out_are_no_finding(seed):
    x = data(60, torch.full((64,), 1 / 64), seed=seed)
    view = view_of(codes=64)
    assert int(nelbo.measure.codes(view, x).dead) >= 6  # a tenth of them and more
    assert diagnosed(view, x)[0] is None


def test_codes_of_which_most_are_dead_are_a_severe_finding_with_its_cost():
    view, x = view_of(codes=64), data(500, torch.full((16,), 1 / 16))
    finding, _ = diagnosed(view, x)
    assert (finding.id, finding.severity) == ("dead-codes", "severe")
    assert float(finding.evidence[0]) == 48
    assert float(finding.cost_nats) == pytest.approx(2 * math.log(4), abs=0.3)  # less what the table has to learn


def test_the_codebook_that_has_them_is_named():
    x = torch.cat([data(1000, torch.full((64,), 1 / 64), 1)[:, :1], data(1000, torch.full((12,), 1 / 12))[:, :4]], 1)
    finding, _ = diagnosed(view_of(codes=[64, 16]), x)
    assert finding.severity == "warning"
    assert finding.evidence[0].label == "codes never used of codebook 1, of 16"


def test_a_model_with_a_real_z_is_not_asked():
    vae = nelbo.recipes.vae((5,), latent=2, hidden=(4,), likelihood="normal:1.0")
    assert "discrete codes" in diagnosed(vae, torch.zeros(60, 5))[1].skipped["dead-codes"]
