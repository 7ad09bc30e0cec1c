"""What measuring asks of an accelerator: numbers stay there until a block of draws is done."""

import pytest
import torch

import nelbo
from nelbo import measure, randomness
from nelbo.evaluation import evaluate, evaluation_mode, mode
from nelbo.measure import annealing
from nelbo.measure.annealing import AnnealingPath
from nelbo.measure.evidence import unmeasured
from nelbo.measure.quadrature import Joint
from tests import second_device
from tests.counted import Counted
from tests.measure.models import binary

pytestmark = pytest.mark.device
QUIET = {"progress": False}
X = binary(4, 12)


@pytest.fixture(autouse=True)
def memory(device):
    """Of the second device none is claimed to be free: chunks are those of ``mode.BUDGET``."""
    if device.type != second_device.NAME:
        pytest.skip("only the second device can be told how much memory it has")
    before = second_device.memory.claimed
    second_device.memory.claimed = 0
    yield
    second_device.memory.claimed = before


def made(latent, likelihood="bernoulli"):
    model = nelbo.recipes.vae((12,), latent=latent, hidden=(8,), likelihood=likelihood)
    with randomness.seeded_weights(1):
        model.draw_weights()
    return model.eval()


def counted(device, compute, *cases):
    """(operations, waits) of a call for each case, after one that fills what is kept for later calls."""
    compute(cases[0])
    found = []
    for case in cases:
        with Counted(device) as count:
            compute(case)
        found.append((count.operations.total(), count.waits.total()))
    return found


def same(x, n):
    return x.repeat(n // len(x), *(1,) * (x.dim() - 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["importance", "mixture"])
def test_more_draws_in_more_chunks_wait_no_more_often(device, monkeypatch, method):
    monkeypatch.setattr(mode, "BUDGET", 12 * 500 if method == "importance" else 1 << 16)
    model, x = made(3).to(device), X[:1] if method == "importance" else same(X, 16)
    (less, few), (more, many) = counted(
        device, lambda draws: measure.log_evidence(model, x, method=method, samples=draws, **QUIET), 1000, 4000
    )
    assert more > less  # in more chunks
    assert many == few <= 14


def test_bounds_and_gaps_wait_once_a_block(device, monkeypatch):
    monkeypatch.setattr(mode, "BUDGET", 12 * 40)
    model, x = made(3).to(device), X[:1]
    for measured in (
        lambda k: measure.importance_bounds(model, x, samples=(1, k), evidence=unmeasured(1), **QUIET),
        lambda draws: measure.inference_gap(model, x, steps=2, samples=draws, evidence=unmeasured(1), **QUIET),
    ):
        (less, few), (more, many) = counted(device, measured, 20, 80)
        assert more > less
        assert many == few <= 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "measured",
    [
        lambda model, x: measure.log_evidence(model, x, method="importance", samples=100, **QUIET),
        lambda model, x: measure.log_evidence(model, x, method="mixture", samples=100, **QUIET),
        lambda model, x: measure.log_evidence(model, x, method="quadrature", tolerance=0.1, **QUIET),
        measure.latent_usage,
        lambda model, x: measure.elbo_terms(model, x, samples=4),
    ],
    ids=["importance", "mixture", "quadrature", "usage", "terms"],
)
def test_more_examples_are_no_more_operations(device, measured):
    model = made(2).to(device)
    (less, few), (more, many) = counted(device, lambda n: measured(model, same(X, n)), 8, 32)
    assert (more, many) == (less, few)


def test_annealing_reads_nothing_on_its_way(device, monkeypatch):
    monkeypatch.setattr(annealing, "LEAPFROG", 1)
    monkeypatch.setattr(annealing, "_TUNING_LEAST", 2)
    model = made(3).to(device)

    def anneal(case):
        examples, temperatures, chains = case
        with evaluation_mode(model):
            path = AnnealingPath(evaluate(model, same(X, examples)), "posterior", temperatures)
            path.tune(chains)
            path.forward(chains)

    short, long, wide = counted(device, anneal, (4, 3, 2), (4, 5, 2), (16, 3, 8))
    assert long[0] > short[0]
    assert long[1] == short[1] <= 6
    assert wide == short


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "poisson", "negative_binomial", "discretized_logistic"])
def test_pairs_of_tiles_and_examples_together_are_those_one_by_one(device, likelihood):
    """The CPU takes tile after tile, an accelerator all tiles at once."""
    model = made(2, likelihood)
    options = {"method": "quadrature", "tolerance": 0.1, **QUIET}
    on_cpu = measure.log_evidence(model, X, **options)
    there = measure.log_evidence(model.to(device), X, **options)
    assert there.value.device == on_cpu.value.device
    torch.testing.assert_close(there.value, on_cpu.value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "poisson", "negative_binomial", "discretized_logistic"])
def test_more_tiles_are_no_more_operations(device, likelihood):
    evaluation = evaluate(made(2, likelihood).to(device), X)
    place = torch.zeros(2)

    def integrand(tiles):
        with evaluation_mode(evaluation.model):
            joint = Joint(evaluation, evaluation.conditioned, evaluation.pz, place, place)
            joint(torch.zeros(tiles, 4, 2, device=device), [torch.arange(4, device=device)] * tiles)

    few, many = counted(device, integrand, 2, 32)
    assert many == few


def test_a_decoder_of_nan_is_named_after_the_block(device):
    model = made(2).to(device)
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    for method, options in (
        ("importance", {"samples": 50}),
        ("mixture", {"samples": 100}),
        ("quadrature", {}),
        ("annealed", {"temperatures": 2, "chains": 4}),
    ):
        with pytest.raises(ValueError, match=r"NaN or infinite for (\d+) of \1 pairs of an example and a z"):
            measure.log_evidence(model, X, method=method, **options, **QUIET)
