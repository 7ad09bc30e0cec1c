"""Rate, reconstruction error and use of codebooks, against counting by hand and simulation."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import nelbo


def view_of(positions=2, codes=8):
    """Codes that stand in x itself: its first columns."""
    linear = nn.Linear(positions, 5)
    x = torch.rand(50, 5)
    return nelbo.wrap_codes(
        encode=lambda x: x[:, :positions].long(), decode=lambda k: linear(k.float()), codes=codes, x=x,
        likelihood=nelbo.likelihoods.Normal(1.0), module=linear,
    )  # fmt: skip


def data(n, p, positions=2, seed=0):
    k = torch.multinomial(p, n * positions, replacement=True, generator=torch.Generator().manual_seed(seed))
    return torch.cat([k.view(n, positions), torch.zeros(n, 5 - positions)], 1)


def test_rate_error_and_bound_are_those_of_counting_by_hand():
    view, p = view_of(), torch.tensor([0.5, 0.25, 0.1, 0.1, 0.05])
    x, train = data(300, p), data(1000, p, seed=1)
    found = nelbo.measure.codes(view, x, train=train)
    k = x[:, :2].long()
    with torch.no_grad():
        error = -Normal(view.behind[0](k.float()), 1.0).log_prob(x).sum(1).double()
    counts = torch.stack([torch.bincount(train[:, i].long(), minlength=8) for i in range(2)])
    table = ((counts + 0.5) / (1000 + 4)).log().double()
    rate = -(table[0, k[:, 0]] + table[1, k[:, 1]])
    torch.testing.assert_close(found.elbo.value, -(error + 2 * math.log(8)), rtol=1e-6, atol=0)
    torch.testing.assert_close(float(found.reconstruction_error), float(error.mean()), rtol=1e-6, atol=0)
    torch.testing.assert_close(float(found.learned_rate), float(rate.mean()), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.learned_rate.error, float(rate.std() / 300**0.5), rtol=1e-5, atol=0)
    torch.testing.assert_close(float(found.learned_nelbo), float((error + rate).mean()), rtol=1e-6, atol=0)
    assert (found.used.tolist(), found.dead.tolist(), found.size.tolist()) == ([5], [3], [8])
    assert torch.equal(found.counts, torch.stack([torch.bincount(k[:, i], minlength=8) for i in range(2)]))
    assert found.used_per_position.tolist() == [len(k[:, i].unique()) for i in range(2)]
    # the table is the prior under which the loss has the same rate, and the exact log p(x) exceeds each bound
    learned = view.with_prior(found.learned_prior)
    torch.testing.assert_close(nelbo.loss(learned, x).kl.double(), rate, rtol=1e-5, atol=0)
    for each in (view, learned):
        exact, bound = nelbo.measure.log_evidence(each, x).value, nelbo.measure.codes(each, x).elbo.value
        assert bool((exact >= bound - 1e-4).all())
    assert found.log_px is not None
    assert float(found.log_px) > -float(found.nelbo)
    assert "5 of 8, perplexity" in str(found)


def test_numbers_of_codes_have_no_scale_and_no_active_units():
    view, x = view_of(), data(60, torch.ones(8))
    of_real_z = "aggregate_match bdmc inference_gap latent_scale latent_usage posterior_kl true_posterior"
    for name in of_real_z.split():
        with pytest.raises(TypeError, match=r"numbers of codes.* write nelbo\.measure\.codes\(view, x\)"):
            getattr(nelbo.measure, name)(view, 8 if name == "bdmc" else x)
    assert nelbo.watch(view, x, show=lambda line: None).rows[0]["active_units"] is None


def test_frequencies_are_counted_on_other_examples():
    """Codes that each occur once: a table that had seen them would seem to save nats."""
    x = torch.arange(8.0)[:, None].expand(8, 5)
    found = nelbo.measure.codes(view_of(1), x)
    assert float(found.learned_rate) > math.log(8)


@pytest.mark.parametrize(
    ("p", "repeated"),
    [(torch.full((8,), 0.125), True), (torch.tensor([0.6, 0.2, 0.1, 0.05, 0.03, 0.02, 0.0, 0.0]), False)],
)
def test_perplexity_and_its_standard_error_hold_over_repeated_data(p, repeated):
    """Also where the positions of an example depend on one another; here they are all the same."""
    view, entropy = view_of(3, codes=64), float(-(p * p.clamp(min=1e-9).log()).sum())
    values, errors = [], []
    for seed in range(25):
        x = data(200, p, 3, seed)
        x[:, 1:3] = x[:, :1] if repeated else x[:, 1:3]
        found = nelbo.measure.codes(view, x).perplexity[0]
        values.append(float(found))
        errors.append(found.error)
    values, error = torch.tensor(values), sum(errors) / len(errors)
    assert abs(float(values.mean()) - math.exp(entropy)) < 4 * float(values.std()) / 25**0.5
    assert 0.7 < float(values.std()) / error < 1.4


def test_codebooks_are_counted_by_themselves():
    view = view_of(2, codes=[8, 4])
    x = data(100, torch.tensor([0.5, 0.5, 0.0, 0.0]))
    found = nelbo.measure.codes(view, x)
    assert (found.size.tolist(), found.dead.tolist()) == ([8, 4], [6, 2])
    assert float(found.rate) == pytest.approx(math.log(8) + math.log(4))
    assert "codebook 1" in str(found)


def test_a_model_without_codes_is_refused():
    vae = nelbo.recipes.vae((5,), latent=2, hidden=(4,), likelihood="normal:1.0")
    with pytest.raises(TypeError, match=r"discrete codes, got VAE; write nelbo.measure.codes\(nelbo.wrap_codes"):
        nelbo.measure.codes(vae, torch.zeros(10, 5))
    with pytest.raises(ValueError, match="4 or more examples, got 3"):
        nelbo.measure.codes(view_of(), torch.zeros(3, 5))
    with pytest.raises(ValueError, match="sums over discrete codes"):
        nelbo.measure.log_evidence(vae, torch.zeros(10, 5), method="enumeration")


def test_the_report_of_a_model_with_codes_has_their_section_and_no_other_that_needs_a_real_z():
    view = view_of(2, codes=[8, 4])
    report = nelbo.measure.report(view, data(400, torch.tensor([0.5, 0.3, 0.2, 0.0])), effort="quick")
    assert [section.id for section in report.sections] == ["loss", "codes", "samples"]
    assert float(report["kl"].first) == pytest.approx(math.log(8) + math.log(4))
    assert float(report["dead_codes_0"].first) == 5
    assert float(report["perplexity_1"].first) < 4
    assert float(report["log_evidence"].first) > -float(report["nelbo"].first)
