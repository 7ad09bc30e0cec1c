"""Model and examples on any device: results, where they lie, what is left as it was. Most need --second-device."""

import dataclasses
import gc
import importlib
import inspect
import warnings
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch
import torch.distributions as D
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Distribution

import nelbo
from nelbo import devices, divergences, evaluation, figures, measure, randomness
from nelbo.cli import app, main
from nelbo.data import InMemory
from nelbo.evaluation import Evaluation
from nelbo.measure import annealing
from nelbo.objectives import ELBO, Capacity
from tests import second_device

pytestmark = pytest.mark.device
QUIET = {"progress": False}
X = torch.bernoulli(torch.full((64, 12), 0.4), generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
DATA = nelbo.data.as_data(X, validation=0.4)
HERE, MEASURED = "the model's device", "the CPU"


def made():
    model = nelbo.recipes.vae((12,), latent=2, hidden=(8,), likelihood="bernoulli")
    with randomness.seeded_weights(1):
        model.draw_weights()
    return model.eval()


def masked(model):
    """A model that takes missing values, where the other one lies."""
    twin = nelbo.recipes.missing_vae((12,), latent=2, hidden=(8,), likelihood="bernoulli")
    with randomness.seeded_weights(1):
        twin.draw_weights()
    return twin.eval().to(next(model.parameters()).device)


def holes(x):
    return x.masked_fill(NOISE.to(x) > 1, torch.nan)


def coded(m, x):
    """A view of the model's decoder behind two codes."""
    return nelbo.wrap_codes(encode=lambda x: (x[:, :2] > 0.5).long(), decode=lambda k: m.decoder(k.float()), codes=2,
                            x=x, module=m, likelihood=m.px_family, output="logits")  # fmt: skip


# every public function of a model and examples: where its result lies, and a call
CALLS = {
    "nelbo.Model.posterior": (HERE, lambda m, x: m.posterior(x)),
    "nelbo.Model.encode": (HERE, lambda m, x: m.encode(x)),
    "nelbo.Model.forward": (HERE, lambda m, x: m(x)),
    "nelbo.Model.reconstruct": (HERE, lambda m, x: m.reconstruct(x)),
    "nelbo.Model.decode": (HERE, lambda m, x: m.decode(x[:, :2])),
    "nelbo.Model.likelihood": (HERE, lambda m, x: m.likelihood(x[:, :2])),
    "nelbo.Model.log_likelihood": (HERE, lambda m, x: m.log_likelihood(x, x[:, :2])),
    "nelbo.Model.check": (HERE, lambda m, x: m.check(x)),
    "nelbo.Run.encode": (HERE, lambda m, x: nelbo.Run(m, []).encode(x)),
    "nelbo.Run.decode": (HERE, lambda m, x: nelbo.Run(m, []).decode(x[:, :2])),
    "nelbo.Run.reconstruct": (HERE, lambda m, x: nelbo.Run(m, []).reconstruct(x)),
    "nelbo.Run.sample": (HERE, lambda m, x: nelbo.Run(m, []).sample(3)),
    "nelbo.loss": (HERE, nelbo.loss),
    "nelbo.objectives.Objective": (HERE, lambda m, x: Capacity(3.0)(m, x).value.mean()),
    "nelbo.wrap": (HERE, lambda m, x: nelbo.wrap(encode=m.posterior, decode=m.decoder, x=x, module=m,
                                               likelihood=m.px_family, output="logits").encode(x)),
    "nelbo.wrap_codes": (HERE, lambda m, x: coded(m, x).decode(coded(m, x).encode(x))),
    "nelbo.evaluation.evaluate": (HERE, lambda m, x: evaluation.evaluate(m, x).nelbo),
    "nelbo.evaluation.decode": (HERE, lambda m, x: evaluation.decode(m, x[:, :2])),
    "nelbo.evaluation.sample": (HERE, lambda m, x: evaluation.sample(m, 3)),
    "nelbo.evaluation.mean_terms": (MEASURED, lambda m, x: evaluation.mean_terms(m, InMemory(x), ELBO())),
    "nelbo.reparameterization.compare": (HERE, lambda m, x: nelbo.reparameterization.compare(m, x, samples=20)),
    "nelbo.diagnose": (MEASURED, lambda m, x: nelbo.diagnose(m, x, held_out=x, examples=64).to_dict()["findings"]),
    "nelbo.watch": (MEASURED, lambda m, x: [
        {n: v for n, v in row.items() if n not in ("seconds", "share")}
        for row in nelbo.watch(m, x, show=lambda line: None).rows]),
    "nelbo.diagnosis.effective_beta": (MEASURED, lambda m, x: nelbo.diagnosis.effective_beta(
        lambda model, x: nelbo.loss(model, x).nelbo.mean(), m, x)),
    "nelbo.figures.latent_grid": (MEASURED, lambda m, x: figures.latent_grid(m, n=3)),
    "nelbo.figures.row": (HERE, lambda m, x: figures.comparison([figures.row(m, x[:1], x[:, :2], samples=8)])),
    "nelbo.figures.samples": (MEASURED, lambda m, x: figures.samples({"one": m}, n=2)),
    "nelbo.measure.aggregate_match": (MEASURED, measure.aggregate_match),
    "nelbo.measure.bdmc": (MEASURED, lambda m, x: measure.bdmc(m, 3, temperatures=5, chains=2, **QUIET)),
    "nelbo.measure.codes": (MEASURED, lambda m, x: measure.codes(coded(m, x), x)),
    "nelbo.measure.elbo_terms": (MEASURED, lambda m, x: measure.elbo_terms(m, x, samples=4)),
    "nelbo.measure.error_per_column": (MEASURED, lambda m, x: measure.error_per_column(m, x, samples=4)),
    "nelbo.measure.from_embeddings": (MEASURED, lambda m, x: measure.from_embeddings(m, x, x)),
    "nelbo.measure.importance_bounds": (MEASURED, lambda m, x: measure.importance_bounds(
        m, x, samples=(1, 8), **QUIET)),
    "nelbo.measure.inference_gap": (MEASURED, lambda m, x: measure.inference_gap(
        m, x[:3], steps=3, samples=20, **QUIET)),
    "nelbo.measure.latent_scale": (MEASURED, measure.latent_scale),
    "nelbo.measure.latent_usage": (MEASURED, measure.latent_usage),
    "nelbo.measure.log_evidence": (MEASURED, lambda m, x: [
        measure.log_evidence(m, x[:4], method=method, **QUIET, **options)
        for method, options in (("quadrature", {}), ("importance", {"samples": 200}))]),
    "nelbo.measure.impute": (MEASURED, lambda m, x: measure.impute(
        masked(m), holes(x)[:5], draws=2, samples=100, **QUIET)),
    "nelbo.measure.per_observed": (MEASURED, lambda m, x: measure.per_observed(
        measure.elbo_terms(masked(m), holes(x), samples=4).elbo, holes(x))),
    "nelbo.measure.score_samples": (MEASURED, lambda m, x: measure.score_samples(
        m, x[:5], method="elbo", contributions=True)),
    "nelbo.measure.posterior_kl": (MEASURED, lambda m, x: measure.posterior_kl(m, x[:3])),
    "nelbo.measure.rate_distortion": (MEASURED, lambda m, x: measure.rate_distortion(m, x, samples=4)),
    "nelbo.measure.sample_match": (MEASURED, lambda m, x: measure.sample_match(m, x, x, samples=30)),
    "nelbo.measure.true_posterior": (MEASURED, lambda m, x: measure.true_posterior(m, x[:3])),
    "nelbo.measure.independent_features": (MEASURED, lambda m, x: measure.independent_features(X, x)),
    "nelbo.measure.density_coverage": (MEASURED, lambda m, x: measure.density_coverage(X, x)),
    "nelbo.measure.features_for": (MEASURED, lambda m, x: measure.features_for(x)(X)),
    "nelbo.divergences.mmd_test": (MEASURED, lambda m, x: divergences.mmd_test(x, X, permutations=20)),
    "nelbo.divergences.classifier_test": (MEASURED, lambda m, x: divergences.classifier_test(x, X + 0.1)),
    "nelbo.divergences.kl_from_samples": (MEASURED, lambda m, x: divergences.kl_from_samples(x + NOISE.to(x), NOISE)),
    "nelbo.data.summarize": (MEASURED, lambda m, x: nelbo.data.summarize(x)),
}  # fmt: skip
# what trains, loads or only bears a model or x is tested in its own file
ELSEWHERE = {
    "nelbo.fit", "nelbo.load", "nelbo.resume", "nelbo.Run", "nelbo.evaluation.Evaluation", "nelbo.training.Step",
    "nelbo.evaluation.evaluation_mode", "nelbo.measure.report", "nelbo.measure.sections", "nelbo.measure.sweep",
    "nelbo.data.Batch", "nelbo.data.InMemory", "nelbo.data.Source", "nelbo.data.Streamed", "nelbo.data.as_batch",
    "nelbo.data.Preview", "nelbo.Model.over_observed", "nelbo.Model.impute", "nelbo.Run.impute",
    "nelbo.divergences.elbo_chain",
    "nelbo.divergences.jensen", "nelbo.figures.image_grid", "nelbo.figures.reconstruction_pairs",
    "nelbo.likelihoods.fitting",
    "nelbo.likelihoods.log_prob_without_gradient", "nelbo.measure.BidirectionalBounds", "nelbo.measure.FromEmbeddings",
    "nelbo.objectives.default_for", "nelbo.measure.compare", "nelbo.likelihoods.Linear",
    "nelbo.figures.comparison", "nelbo.diagnosis.Watch",
}  # fmt: skip

DRAWS = {"nelbo.loss", "nelbo.objectives.Objective"}  # from torch's generator, as in training
AS_TORCH_IS_SET = (
    {name for name in CALLS if name.startswith("nelbo.Model.")} | DRAWS | {"nelbo.wrap", "nelbo.wrap_codes"}
)
# they call the networks; what is measured is in float32, also where torch multiplies in TF32
ON_A_GRID = {  # whose pairs an accelerator computes in larger products, and so rounds otherwise
    f"nelbo.measure.{name}"
    for name in ("log_evidence", "true_posterior", "posterior_kl", "importance_bounds", "inference_gap")
}
TWO_SOURCES = {
    "nelbo.diagnosis.effective_beta",
    "nelbo.measure.sample_match",
}  # an order of the CPU, noise of the device


def public():
    """The public functions that take a model or examples, but for methods, by the first name that leads to them."""
    known = set()
    for name in ("nelbo", *(f"nelbo.{part}" for part in nelbo.__all__ if inspect.ismodule(getattr(nelbo, part))),
                 "nelbo.evaluation", "nelbo.training"):  # fmt: skip
        if name in ("nelbo.studio", "nelbo.widgets"):
            continue
        module = importlib.import_module(name)
        for attribute in module.__all__:
            value = getattr(module, attribute)
            if callable(value) and id(value) not in known and not inspect.ismodule(value):
                known.add(id(value))
                try:
                    taken = inspect.signature(value).parameters
                except ValueError:
                    continue
                if {"model", "models", "x", "rows"} & set(taken):
                    yield f"{name}.{attribute}"


def test_every_public_function_is_here():
    assert set(public()) - ELSEWHERE <= set(CALLS)


def parts(value, seen=None):
    """All tensors in a result, with a name each."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, Evaluation | torch.nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Distribution):
        yield value.mean
    elif isinstance(value, Figure):
        canvas = FigureCanvasAgg(value)
        canvas.draw()
        yield torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
        pyplot.close(value)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name), seen)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from parts(each, seen)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from parts(each, seen)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield torch.tensor(float(value), dtype=torch.float64)


def states(device):
    return torch.get_rng_state(), torch.get_device_module(device).get_rng_state(device)


@pytest.mark.parametrize("name", CALLS)
def test_a_model_and_examples_may_lie_anywhere(name, tensor_cores, device, monkeypatch):
    """Four placements give one result, where the table says, and leave both generators as they were."""
    place, call = CALLS[name]
    monkeypatch.setattr(annealing, "_TUNING_LEAST", 4)
    if name not in AS_TORCH_IS_SET:
        torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    expected = [part.detach() for part in parts(call(made(), X))]
    for on, of in ((device, torch.device("cpu")), (device, device), (torch.device("cpu"), device)):
        model, x = made().to(on), X.to(of)
        torch.manual_seed(0)
        before = states(device)
        got = list(parts(call(model, x)))
        kept = name in DRAWS or all(map(torch.equal, before, states(device)))
        assert kept, f"model on {on}, x on {of}: moved a generator"
        assert len(got) == len(expected)
        for part, right in zip(got, expected, strict=True):
            if isinstance(part, Tensor) and part.dim() and place == MEASURED:
                assert part.device.type == "cpu"
            elif part.dim() and right.dtype == torch.float32:
                assert part.device == on
            assert part.dtype == right.dtype
            if name in ON_A_GRID and device.type == second_device.NAME:
                torch.testing.assert_close(part.cpu(), right, rtol=1e-6, atol=1e-5, equal_nan=True)
            elif name not in TWO_SOURCES:
                close(part, right, device)


def close(part, right, device):
    """Equal on a device that computes by the CPU's kernels; elsewhere as near as rounding leaves it."""
    if device.type == second_device.NAME:
        assert torch.equal(part.cpu().nan_to_num(7.0), right.nan_to_num(7.0))
    else:  # whose generator draws other numbers, too
        assert part.shape == right.shape


FAMILIES = {
    "normal": lambda d: D.Normal(torch.tensor([0.0, 1.0], device=d), torch.tensor(2.0, device=d)),
    "gamma": lambda d: D.Gamma(torch.tensor([2.0, 3.0], device=d), torch.tensor(1.5, device=d)),
    "lognormal": lambda d: D.LogNormal(torch.tensor([0.0, 0.5], device=d), torch.tensor(0.5, device=d)),
    "laplace": lambda d: D.Laplace(torch.tensor([0.0, 0.5], device=d), torch.tensor(1.0, device=d)),
    "beta": lambda d: D.Beta(torch.tensor([2.0, 1.5], device=d), torch.tensor(1.5, device=d)),
    "student": lambda d: D.StudentT(torch.tensor([5.0, 9.0], device=d)),
    "mixture": lambda d: D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.3, 0.7], device=d)),
        D.Normal(torch.tensor([-1.0, 2.0], device=d), torch.tensor(1.0, device=d))),
    "poisson": lambda d: D.Poisson(torch.tensor([2.0, 5.0], device=d)),
}  # fmt: skip
DIVERGENCES = {
    "kl": divergences.kl,
    "kl, quadrature": lambda p, q: divergences.kl(p, q, method="quadrature"),
    "kl, monte carlo": lambda p, q: divergences.kl(p, q, method="monte_carlo", samples=200, seed=1),
    "jensen_shannon": divergences.jensen_shannon,
    "hellinger": divergences.hellinger,
    "renyi": lambda p, q: divergences.renyi(p, q, alpha=0.5),
    "total_variation": divergences.total_variation,
    "energy_distance": divergences.energy_distance,
    "wasserstein": lambda p, q: divergences.wasserstein(p, q, order=2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_divergences_stay_where_the_distributions_are(family, device):
    make = FAMILIES[family]
    for name, divergence in DIVERGENCES.items():
        if "quadrature" in name and family == "poisson":
            continue
        right, before = divergence(make("cpu"), make("cpu")), states(device)
        got = divergence(make(device), make(device))
        assert all(map(torch.equal, before, states(device))), name
        for part, expected in zip((got.value, got.standard_error), (right.value, right.standard_error), strict=True):
            assert part.device == device or not part.dim(), name
            close(part, expected, device)


def test_the_chain_of_the_bound_lies_where_q_does(device):
    chain = divergences.elbo_chain(0.5, FAMILIES["normal"](device), weight=2.0)
    assert {part.device for part in parts(chain)} == {device}


def test_training_is_the_same_on_a_device_that_computes_the_same(device):
    settings = {"epochs": 2, "batch_size": 10, "seed": 3, "clip": 1.0, "ema": 0.9, **QUIET}
    runs, before = [nelbo.fit(made(), DATA, device=on, **settings) for on in ("cpu", str(device))], states(device)
    assert devices.device_of(runs[1].model) == device
    if device.type == second_device.NAME:
        for one, other in zip(*(run.history for run in runs), strict=True):
            assert one["train_nelbo"] == pytest.approx(other["train_nelbo"], rel=1e-6)
            assert one["validation_nelbo"] == pytest.approx(other["validation_nelbo"], rel=1e-6)
    assert all(map(torch.equal, before, states(device)))


def test_runs_are_loaded_onto_the_accelerator(device, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = nelbo.recipes.vae((1, 8, 8), latent=2, hidden=(8,), likelihood="bernoulli")
    data = nelbo.data.load("digits", binarize="threshold", limit=300, validation=100)
    nelbo.fit(model, data, epochs=1, out="run", device="cpu", **QUIET)
    assert devices.device_of(nelbo.load("run").model) == device
    assert devices.device_of(nelbo.load("run", device="cpu").model) == devices.CPU
    used = []
    monkeypatch.setattr("nelbo.runs.move", lambda model, on: used.append(on) or devices.move(model, on))
    few = ["--examples", "100"]
    for line in (["embed", "run", "--out", "z.npy"], ["sample", "run", "-n", "2", "--out", "x.npy"],
                 ["reconstruct", "run", "--out", "y.npy"], ["diagnose", "run", *few],
                 ["measure", "run", "--effort", "quick", "--samples", "20", "--no-diagnose", *few]):  # fmt: skip
        assert main(line) == 0
        assert main([*line, "--device", "cpu"]) == 0
        assert used[-2:] == [device, devices.CPU]
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # the shell says that the arithmetic is another one
        assert main(["fit", "--resume", "run", "--epochs", "2", "--device", str(device)]) == 0
    assert f"another arithmetic (device cpu -> {device.type})" in capsys.readouterr().err
    assert nelbo.load("run").record["machines"][-1]["device"] == device.type


def test_commands_that_compute_take_a_device():
    for name in ("fit", "sweep", "measure", "compare", "diagnose", "sample", "reconstruct", "embed", "demo"):
        flags = {flag for argument in app[name].assemble_argument_collection() for flag in argument.names}
        assert "--device" in flags, name


@pytest.mark.parametrize("x", [X, DATA.train], ids=["tensor", "data set"])
def test_weights_without_values_are_refused(x):
    model = made().to("meta")
    for compute in (measure.elbo_terms, measure.log_evidence, evaluation.evaluate, nelbo.loss):
        with pytest.raises(ValueError, match=r"got \S+ and \d+ more on the device 'meta', .*model\.to_empty"):
            compute(model, x)


def test_a_model_that_shows_no_weights_gets_the_examples_of_a_data_set_where_it_computes(device):
    inner = made().to(device)
    closed = SimpleNamespace(
        prior=inner.prior,
        posterior=lambda x: inner.qz_family(inner.encoder(x)),
        likelihood=lambda z: inner.px_family(inner.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1]), 1),
    )
    of_set, of_tensor = (measure.elbo_terms(closed, x).elbo for x in (DATA.train, DATA.train.x))
    known = measure.elbo_terms(inner, DATA.train).elbo
    torch.testing.assert_close(of_set.value, known.value, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(of_tensor.value.mean(), known.value.mean(), rtol=1e-6, atol=1e-6)


@pytest.fixture
def memory(device):
    """Of the second device: it claims much free memory, of which a test may take but so much."""
    if device.type != second_device.NAME:
        pytest.skip("only the second device can be told how much memory it has")
    memory, claimed = second_device.memory, second_device.memory.claimed
    evaluation.mode._halvings = 0
    gc.collect()  # what other tests left there
    yield memory
    memory.limit, memory.claimed = None, claimed
    evaluation.mode._halvings = 0


def test_out_of_memory_halves_the_chunk_and_goes_on(memory, device):
    model = made()
    right = measure.log_evidence(model, X, method="importance", samples=500, **QUIET)
    model.to(device)
    memory.claimed = 1 << 36
    whole = memory.used
    all_at_once = measure.log_evidence(model, X, method="importance", samples=500, **QUIET)
    assert evaluation.mode._halvings == 0
    memory.limit = whole + (1 << 20)
    measured = measure.log_evidence(model, X, method="importance", samples=500, **QUIET)
    assert evaluation.mode._halvings > 0
    torch.testing.assert_close(measured.value, right.value, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(all_at_once.value, right.value, rtol=1e-6, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_what_is_free_is_asked_once_a_measurement_and_after_each_halving(memory, device, monkeypatch):
    model, module, asked = made().to(device), torch.get_device_module(device), []
    tell = module.mem_get_info
    monkeypatch.setattr(module, "mem_get_info", lambda *given: asked.append(given) or tell(*given))
    memory.claimed = 0
    with monkeypatch.context() as within:
        within.setattr(evaluation.mode, "BUDGET", 1 << 11)  # in 20 chunks and more
        measure.log_evidence(model, X, method="importance", samples=50, **QUIET)
    assert len(asked) == 1
    asked.clear()
    memory.limit = memory.used + (1 << 20)
    measure.log_evidence(model, X, method="importance", samples=500, **QUIET)
    assert evaluation.mode._halvings > 0
    assert len(asked) == 1 + evaluation.mode._halvings


def test_chunks_are_halved_where_a_device_does_not_tell_what_is_free():
    sizes = []

    @evaluation.within_memory
    def compute():
        sizes.append(evaluation.rows_at_once(1, on=torch.device("cpu")))
        if sizes[-1] > sizes[0] // 4:
            raise torch.OutOfMemoryError

    try:
        compute()
        assert sizes == [sizes[0], sizes[0] // 2, sizes[0] // 4]
        assert evaluation.rows_at_once(1) == sizes[0]
    finally:
        evaluation.mode._halvings = 0


def test_what_never_fits_is_said_clearly(memory, device, tmp_path):
    model = made().to(device)
    memory.limit = memory.used + X.nbytes + 64
    with pytest.raises(torch.OutOfMemoryError, match="one row at a time takes more memory than is free"):
        measure.elbo_terms(model, X)
    assert evaluation.mode._halvings == 0
    memory.limit = memory.used
    with pytest.raises(torch.OutOfMemoryError, match=r"the model does not fit on pretend:0: its weights take .* MiB"):
        nelbo.fit(made(), DATA, epochs=1, **QUIET)


def test_a_step_that_does_not_fit_names_the_size_of_the_batch(memory, device):
    model = nelbo.recipes.vae((6,), latent=2, hidden=(1000,), likelihood="bernoulli")
    memory.limit = memory.used + (1 << 20)  # for weights and moments; a layer's output takes twice that
    data = torch.zeros(600, 6)
    with pytest.raises(torch.OutOfMemoryError, match=r"a step on 512 examples .*batch_size=256.* after 0 steps"):
        nelbo.fit(model, data, epochs=1, batch_size=512, validation=0, **QUIET)


def test_data_that_do_not_fit_stay_on_the_cpu(memory, device):
    data = InMemory(torch.zeros(1000, 100))
    memory.claimed = 2 * data.x.nbytes - 2
    assert data.to(device).x.device == devices.CPU
    assert next(data.batches(10, device=device)).x.device == device
    memory.claimed = 2 * data.x.nbytes
    assert data.to(device).x.device == device


def test_a_device_is_picked_by_name():
    found = devices.accelerator()
    assert devices.pick_device("auto") == (found or devices.CPU)
    assert devices.pick_device("cpu:0") == devices.CPU
    with pytest.raises(ValueError, match="must be 'auto' or one of .*'cpu', got 'gpu'"):
        devices.pick_device("gpu")
    if found is not None:
        assert devices.pick_device(found.type) == found
    with pytest.raises(ValueError, match="is not on this machine; write device='auto'"):
        devices.pick_device(f"{'cuda' if found is None else found.type}:99")


def test_draws_depend_on_the_seed_alone_on_the_device_that_draws(device):
    before = states(device)
    with randomness.own_randomness(device):
        draws = []
        for _ in range(2):
            randomness.seed_noise(device, 5)
            draws.append(torch.randn(4, device=device))
    assert torch.equal(*draws)
    assert all(map(torch.equal, before, states(device)))


def test_the_second_device_raises_as_cuda_would(memory, device):
    x, y = torch.ones(3), torch.ones(3, device=device)
    for mix in (
        lambda: x + y,
        lambda: torch.stack([x, y]),
        lambda: x[y.long()],
        lambda: made()(X) + made().to(device)(X),
    ):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mix()
    with pytest.raises(TypeError, match="can't convert pretend:0 device type tensor to numpy"):
        y.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, device=device, generator=torch.Generator())
    assert (y * torch.tensor(2.0)).sum().item() == 6.0
    assert torch.equal(y[torch.tensor([0])].cpu(), x[:1])
