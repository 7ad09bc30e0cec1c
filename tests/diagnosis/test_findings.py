"""What a diagnosis says, in which order, and what it refuses."""

import json
import re

import pytest
import torch

import nelbo
from nelbo.diagnosis import explain, index
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.latent_space import implied_beta
from nelbo.diagnosis.order import ordered
from nelbo.diagnosis.registry import CHECKS
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate
from nelbo.files import plain
from nelbo.report import Finding
from tests.cases import LATENT, binary, make_vae
from tests.linear_gaussian import LinearGaussian
from tests.planted.making import ZerosForHoles


def finding(id, severity="severe", cost=None):
    nats = None if cost is None else Estimate.number(cost, 0.1, label="lost")
    evidence = (Estimate.number(1.0, 0.1, label="KL"),)
    return Finding(id, id.title(), severity, evidence, "It means.", "Do.", "A paper.", nats)


def ids(findings):
    return [f.id for f in findings]


def test_the_order_is_severity_then_cost():
    given = [finding("a", "note", 9), finding("b", "warning"), finding("c", cost=1), finding("d", cost=5), finding("e")]
    assert ids(ordered(given, {})) == ["d", "c", "e", "b", "a"]


def test_what_follows_stands_behind_its_cause():
    given = [finding("cause", cost=1), finding("symptom", cost=50), finding("other", cost=2)]
    found = ordered(given, {"cause": ("symptom",)})
    assert ids(found) == ["cause", "symptom", "other"], "a cause is as costly as what follows from it"
    assert found[1].follows_from == "cause"


def test_who_names_a_finding_explains_it_before_who_explains_all():
    given = [finding("data"), finding("loss"), finding("collapse", cost=17)]
    found = ordered(given, {"data": ("*",), "loss": ("collapse",), "collapse": ()}, independent=["loss"])
    assert ids(found) == ["loss", "collapse", "data"]
    assert found[1].follows_from == "loss"


def test_a_circle_of_explanations_loses_nobody():
    given = [finding("a", cost=1), finding("b", cost=2), finding("c", "warning")]
    found = ordered(given, {"a": ("*",), "b": ("*",), "c": ("*",)})
    assert ids(found) == ["a", "b", "c"] or ids(found) == ["b", "a", "c"]


def test_a_warning_explains_nothing_severe():
    found = ordered([finding("w", "warning"), finding("s")], {"w": ("s",)})
    assert ids(found) == ["s", "w"]
    assert found[0].follows_from is None


def test_what_a_longer_training_mends_is_a_warning_at_most():
    given = [finding("not-converged"), finding("symptom", cost=9), finding("its own"), finding("fault")]
    found = ordered(given, {"not-converged": ("symptom",), "symptom": ("its own",), "fault": ()})
    assert ids(found) == ["not-converged", "symptom", "its own", "fault"]
    assert [f.severity for f in found] == ["severe", "warning", "warning", "severe"]
    early = ordered([finding("not-converged", "warning"), finding("symptom")], {"not-converged": ("symptom",)})
    assert early[0].severity == "severe", "what is worth a warning does not explain it"


def moved(truth, stretch, shift):
    """The exact model in other coordinates of z: what it says of x is the same, and the prior is not met."""
    vae = truth.vae(full=False)
    with torch.no_grad():
        vae.encoder.gain.mul_(stretch)
        vae.encoder.offset.mul_(stretch).add_(shift)
        vae.encoder.rest.add_(2 * torch.tensor(stretch).log())
        vae.decoder.weight.div_(stretch)
        vae.decoder.bias.sub_(vae.decoder.weight.sum(1) * shift)
    return vae


@pytest.mark.parametrize(
    ("stretch", "shift", "severity"), [(1.0, 2.0, "severe"), (3.0, 0.0, "warning"), (0.3, 0.0, "warning")]
)
def test_codes_elsewhere_than_the_prior_are_severe_and_codes_of_another_spread_are_not(stretch, shift, severity):
    truth = LinearGaussian.random(orthogonal=True)
    (found,) = nelbo.diagnose(moved(truth, stretch, shift), truth.sample(1000), only=["aggregate-posterior"])
    assert found.severity == severity


@pytest.mark.parametrize("history", [True, False])
def test_a_gap_of_few_examples_is_severe_only_where_training_on_has_cost_nats(history):
    truth = LinearGaussian.random(orthogonal=True)
    x = truth.sample(400)
    narrow = LinearGaussian(truth.weight, truth.bias, 0.3 * truth.sigma).vae(full=False)
    far = x + 3 * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).double() - 0.5)
    falling = {"validation_nelbo": [30.0, 25.0, 22.0, 21.0, 20.9], "validation_nelbo_standard_error": [1.0] * 5}
    (found,) = nelbo.diagnose(narrow, x, held_out=far, history=falling if history else None, only=["overfit"])
    assert found.severity == ("warning" if history else "severe")


@pytest.fixture(scope="module")
def exact():
    """A linear-Gaussian model with its exact posterior: as healthy as a model can be."""
    truth = LinearGaussian.random(orthogonal=True)
    return truth.vae(full=False), truth.sample(2000)


@pytest.fixture(scope="module")
def healthy(exact):
    vae, x = exact
    return nelbo.diagnose(vae, x[:1000], held_out=x[1000:])


def test_the_exact_model_is_healthy_and_the_bill_has_numbers(healthy):
    assert not ids(healthy)
    assert healthy.healthy
    assert "Healthy" in healthy.verdict
    assert all(check.evidence for check in healthy.passed)
    assert {"posterior-collapse", "over-regularized", "aggregate-posterior", "sigma-too-large", "overfit"} <= {
        check.id for check in healthy.passed
    }


def test_a_beta_of_one_is_read_off_the_exact_model(healthy):
    numbers = next(check.evidence for check in healthy.passed if check.id == "over-regularized")
    for measured in numbers:
        assert abs(float(measured) - 1) < 5 * measured.error


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 3.0, 10.0])
def test_the_beta_of_a_known_optimum_is_read_off_the_model(beta):
    """At the optimum of R + beta KL, q(z|x) is proportional to p(z) p(x|z)^(1/beta): the posterior of sigma^2 beta."""
    truth = LinearGaussian.random(orthogonal=True)
    vae = LinearGaussian(truth.weight, truth.bias, truth.sigma * beta**0.5).vae(full=False)
    vae.px_family = nelbo.likelihoods.Normal(truth.sigma)
    implied = implied_beta(Case(evaluate(vae, truth.sample(2000))))
    for ratio in implied:
        assert abs(float(ratio) - beta) < 5 * ratio.error
        assert ratio.error < 0.1 * beta


def test_a_history_of_means_over_features_is_not_taken_for_nats():
    truth = LinearGaussian.random(features=20, latent=3, orthogonal=True)
    falling = [{"Reconstruction_Loss": 2.0 - 0.05 * e, "KLD": -5.0} for e in range(20)]
    summed = [{name: 20 * value for name, value in epoch.items()} for epoch in falling]
    only = ["not-converged", "learning-rate"]
    x = truth.sample(300)
    found = nelbo.diagnose(truth.vae(full=False), x, history=falling, only=only)
    assert not len(found)
    assert "not a sum over the 20 features" in found.skipped["not-converged"]
    assert ids(nelbo.diagnose(truth.vae(full=False), x, history=summed, only=only)) == ["not-converged"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_that_has_learned_nothing_is_not_healthy(epochs):
    vae = nelbo.recipes.vae((1, 8, 8), latent=8)
    run = nelbo.fit(vae, nelbo.data.load("digits", binarize="dynamic"), epochs=epochs, seed=0)
    found = nelbo.diagnose(run)
    assert not found.healthy
    assert found[0].id == "not-converged"
    assert "hardly learned" in found[0].meaning


def test_a_bound_that_falls_from_the_first_epoch_to_the_second_is_not_converged(exact):
    vae, x = exact
    falling = [{"train_reconstruction_error": error, "train_kl": 1.0} for error in (40.0, 20.0)]
    assert ids(nelbo.diagnose(vae, x, history=falling, only=["not-converged"])) == ["not-converged"]


def test_a_short_history_that_has_come_to_rest_is_healthy(exact):
    vae, x = exact
    settled = [{"train_reconstruction_error": error, "train_kl": 1.0} for error in (400.0, 20.0, 20.0)]
    assert not nelbo.diagnose(vae, x, history=settled, only=["not-converged"])


def test_the_same_seed_says_the_same_and_no_random_state_moves(exact):
    vae, x = exact
    before = torch.get_rng_state()
    first, second = (nelbo.diagnose(vae, x, examples=300, seed=3) for _ in range(2))
    assert first.to_dict() == second.to_dict()
    assert torch.equal(before, torch.get_rng_state())


def test_it_goes_to_json_text_and_html(exact):
    vae, x = exact
    wide = nelbo.diagnose(vae, x, objective=nelbo.objectives.Beta(4.0), examples=300)
    assert json.loads(json.dumps(plain(wide.to_dict())))["findings"]
    text = str(wide)
    assert "under-regularized" in text
    assert "nelbo explain" in text
    html = wide.to_html()
    assert html.count("<article") == len(wide)
    assert "<script" not in html


def test_training_mode_is_said_handled_and_restored():
    encoder = torch.nn.Sequential(nelbo.nn.MLP(6, 2 * LATENT), torch.nn.Dropout(0.5))
    vae = nelbo.VAE(encoder, nelbo.nn.MLP(LATENT, 6), latent=LATENT, likelihood=nelbo.likelihoods.Bernoulli()).train()
    vae.decoder.eval()
    found = nelbo.diagnose(vae, binary(100), only=["posterior-collapse"])
    assert "Dropout" in found.notes[0]
    assert encoder[1].training
    assert not vae.decoder.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae, x: nelbo.diagnose(torch.nn.Linear(6, 6), x), "or nelbo.wrap(encode="),
        (lambda vae, x: nelbo.diagnose(vae), "diagnose needs data"),
        (lambda vae, x: nelbo.diagnose(vae, x[:, 0]), "x must have shape (batch, *event), got (100,)"),
        (lambda vae, x: nelbo.diagnose(vae, x, examples=3), "write examples=1000"),
        (lambda vae, x: nelbo.diagnose(vae, x, only=["collapse"]), "no check 'collapse'"),
        (lambda vae, x: nelbo.diagnose(vae, x, history=[{"accuracy": 1.0}]), "none of which nelbo knows"),
        (lambda vae, x: nelbo.diagnose(vae, x, history="history.json"), "a dictionary for each epoch"),
        (lambda vae, x: nelbo.diagnose(vae, x, history={"loss": [1, 2], "kl": [1]}), "different lengths"),
        (lambda vae, x: nelbo.diagnose(vae, x[:, :4]), "(100, 4)"),
    ],
)
def test_bad_input_is_told_what_to_write(call, message):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=re.escape(message)):
        call(make_vae(), binary(100))


def test_an_autoencoder_is_sent_away():
    model = nelbo.Autoencoder(
        nelbo.nn.MLP(6, 2), nelbo.nn.MLP(2, 6), latent=2, likelihood=nelbo.likelihoods.Bernoulli()
    )
    with pytest.raises(ValueError, match="neither a bound nor a KL"):
        nelbo.diagnose(model, binary(100))


@pytest.mark.parametrize("told", [True, False])
def test_an_encoder_that_is_not_told_what_is_missing(told):
    encoder, decoder = nelbo.nn.MLP(6 * (1 + told), 4), nelbo.nn.MLP(2, 6)
    encoder = nelbo.nn.WithMask(encoder) if told else ZerosForHoles(encoder)
    vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Normal(1.0))
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    found = nelbo.diagnose(vae, x.masked_fill(x > 1, torch.nan), only=["mask-left-out"])
    assert [finding.id for finding in found] == ["mask-left-out"] * (not told)
    assert "mask-left-out" in nelbo.diagnose(vae, x, only=["mask-left-out"]).skipped  # nothing is missing


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("layer", [torch.nn.BatchNorm1d, torch.nn.LayerNorm])
def test_a_batch_norm_that_saw_pieces(shards, layer, capsys):
    encoder = torch.nn.Sequential(torch.nn.Linear(6, 8), layer(8), torch.nn.Linear(8, 4))
    vae = nelbo.VAE(encoder, torch.nn.Linear(2, 6), latent=2, likelihood=nelbo.likelihoods.Normal(1.0))
    x = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    run = nelbo.fit(vae, x, validation=0, shards=shards, batch_size=50, epochs=1)
    found = nelbo.diagnose(run, only=["batch-norm-pieces"])
    pieces = shards > 1 and layer is torch.nn.BatchNorm1d
    assert [(finding.id, finding.severity) for finding in found] == [("batch-norm-pieces", "note")] * pieces
    assert ("will normalize by the 25 examples of a piece" in capsys.readouterr().err) == pieces
    if pieces:
        assert [float(number) for number in found[0].evidence] == [25, 50]
        assert "1 (BatchNorm1d)" in found[0].meaning
    assert "needs a run of nelbo.fit" in nelbo.diagnose(vae, x, only=["batch-norm-pieces"]).skipped["batch-norm-pieces"]


def of_pattern(pattern):
    """A VAE whose p(x|z) is N(pattern, 1) for every z, so that log p(x) is a closed form, and draws of it."""
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(pattern.numel(), 4))
    decoder = torch.nn.Sequential(torch.nn.Linear(2, pattern.numel()), torch.nn.Unflatten(1, pattern.shape))
    for layer, bias in ((encoder[1], torch.zeros(4)), (decoder[0], pattern.flatten())):
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data.copy_(bias)
    vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Normal(1.0))
    return vae, pattern + torch.randn(300, *pattern.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("height", [0.0, 4.0])
def test_a_flat_example_that_scores_higher_than_the_data(height):
    """Without the noise, a flat example of d values gains d / 2 nats; without the pattern, it loses its squares."""
    pattern = height * torch.eye(6)[None].repeat(2, 1, 1)
    vae, x = of_pattern(pattern)
    found = nelbo.diagnose(vae, x, only=["flat-scores-high"])
    assert [(finding.id, finding.severity) for finding in found] == [("flat-scores-high", "note")] * (height == 0)
    share, flat, mean = (found[0] if found else found.passed[-1]).evidence
    exact = torch.distributions.Normal(pattern, 1.0)
    middle = x.transpose(0, 1).flatten(1).median(1).values[:, None, None]
    of_flat, of_data = exact.log_prob(middle).sum(), exact.log_prob(x).flatten(1).sum(1)
    assert float(share) == float((of_data < of_flat).double().mean())
    assert float(flat) == pytest.approx(float(of_flat), abs=1e-3)
    assert float(mean) == pytest.approx(float(of_data.mean()), abs=1e-3)


def test_the_advice_for_flat_examples_finds_them():
    vae, x = of_pattern(torch.zeros(1, 6, 6))
    parts = (x[:1] * 0, x[:150], x[150:])
    flat, usual, fresh = (nelbo.measure.score_samples(vae, part, method="elbo").value for part in parts)
    assert float(flat) > float(usual.max())
    low, high = nelbo.measure.threshold(usual, 0.05).value, -nelbo.measure.threshold(-usual, 0.05).value
    odd = [(scores < low) | (scores > high) for scores in (flat, fresh)]
    assert bool(odd[0])
    assert float(odd[1].double().mean()) == pytest.approx(0.1, abs=3 * (0.1 * 0.9 * 2 / 150) ** 0.5)


def test_flat_examples_are_not_judged_where_they_are_no_outliers():
    vae, x = of_pattern(torch.zeros(1, 6, 6))
    x[:3] *= 0.01
    assert "nearly flat" in nelbo.diagnose(vae, x, only=["flat-scores-high"]).skipped["flat-scores-high"]
    vae, x = of_pattern(torch.zeros(6))
    assert "needs images" in nelbo.diagnose(vae, x, only=["flat-scores-high"]).skipped["flat-scores-high"]


def test_nobody_is_told_to_train_on_the_objective_that_was_trained():
    """A posterior that is too wide for the ELBO, of a model that was trained on the ELBO."""
    truth = LinearGaussian.random(orthogonal=True)
    vae = LinearGaussian(truth.weight, truth.bias, truth.sigma * 2).vae(full=False)
    vae.px_family = nelbo.likelihoods.Normal(truth.sigma)
    x = truth.sample(1000)
    for objective, advice in ((None, "nelbo.objectives.ELBO()"), (nelbo.objectives.ELBO(), "nelbo.resume(run.path")):
        finding = nelbo.diagnose(vae, x, objective=objective, only=["over-regularized"])[0]
        assert finding.id == "over-regularized"
        assert advice in finding.change


@pytest.mark.parametrize("id", list(CHECKS))
def test_every_finding_has_a_whole_page(id):
    page = CHECKS[id].page
    assert page.meaning.count(". ") >= 1, "two sentences"
    assert 0 <= page.false_alarms <= 1e-3
    assert all(other == "*" or (other in CHECKS and other != id) for other in page.explains)
    for part in (page.title, page.meaning, page.change, page.fix_in_your_code, page.method, page.source):
        assert part in explain(id)
    compile(page.change, id, "exec")  # it can be pasted


def test_an_unknown_finding_lists_the_known_ones():
    with pytest.raises(ValueError, match="did you mean 'posterior-collapse'"):
        explain("posterior_collapse")
    assert len(index()) == len(CHECKS)
