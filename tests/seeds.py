"""Every public function with a seed, called once; prints a digest of each result: python -m tests.seeds GLOBAL_SEED.

The global seed is that of torch's, NumPy's and Python's generators before each call, which the results must not see.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import io
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.distributions as D
from matplotlib.figure import Figure

import nelbo
from nelbo import figures, measure, recipes
from nelbo.data.kinds import ColumnKind
from nelbo.divergences import kl_from_samples
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, mean_terms, sample
from nelbo.objectives import ELBO
from nelbo.training import fit_or_resume

QUIET = {"progress": False}


def seeded() -> dict[str, Any]:
    """The public functions, classes and methods that take a seed, by the first name that leads to them."""
    found: dict[str, Any] = {}
    known: set[int] = set()
    parts = [f"nelbo.{path.stem}" for path in Path(nelbo.__file__).parent.iterdir() if path.stem[0] not in "_."]
    for name in ["nelbo", *sorted(parts)]:
        if name.split(".")[-1] in ("cli", "widgets", "studio", "py"):  # commands, pages, and no module
            continue
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            for where, value in _members(attribute, getattr(module, attribute)):
                if id(value) not in known and _takes_a_seed(value):
                    known.add(id(value))
                    found[f"{name}.{where}"] = value
    return found


def _members(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, ModuleType) or not callable(value):
        return []
    methods = vars(value).items() if inspect.isclass(value) else ()
    return [(name, value), *((f"{name}.{n}", f) for n, f in methods if callable(f) and not n.startswith("_"))]


def _takes_a_seed(value: Any) -> bool:
    try:
        return "seed" in inspect.signature(value).parameters
    except (TypeError, ValueError):
        return False


def calls() -> dict[str, Callable[[], Any]]:
    """A call of each, with the seed 3; what they need is made with seeds of its own."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(300, 12, generator=generator) < 0.4).float()
    data = nelbo.data.as_data(x, validation=0.2)
    gray = torch.rand(80, 1, 8, 8, generator=generator)

    @functools.cache
    def run() -> Any:
        made = recipes.vae((12,), latent=2, hidden=(8,), likelihood="bernoulli")
        return nelbo.fit(made, data, epochs=2, seed=1, **QUIET)

    @functools.cache
    def of_pictures() -> Any:
        made = recipes.vae((1, 8, 8), latent=2, hidden=(8,), likelihood="continuous_bernoulli")
        return nelbo.fit(made, gray, epochs=1, seed=1, **QUIET).model

    kinds = dict.fromkeys("abc", ColumnKind("real"))
    holes = x[:5].masked_fill(torch.rand(5, 12, generator=generator) < 0.3, torch.nan)

    @functools.cache
    def masked() -> Any:
        made = recipes.missing_vae((12,), latent=2, hidden=(8,), likelihood="bernoulli")
        return nelbo.fit(made, data, epochs=1, seed=1, **QUIET).model

    folder = Path(tempfile.mkdtemp())
    np.save(folder / "x.npy", (x.numpy() * 255).astype(np.uint8))
    dynamic = nelbo.data.load(folder / "x.npy", binarize="dynamic", scale=1 / 255)
    on_disk = nelbo.data.load(folder / "x.npy", binarize="dynamic", scale=1 / 255, on_disk=True)
    streamed = nelbo.data.Streamed(lambda epoch: x.split(50))
    p, q = D.LKJCholesky(3, 1.0), D.LKJCholesky(3, 2.0)
    wide, narrow = (
        D.MultivariateNormal(torch.zeros(3), 2 * torch.eye(3)),
        D.MultivariateNormal(torch.ones(3), torch.eye(3)),
    )
    few = {"samples": 500, "method": "monte_carlo", "seed": 3}
    model = lambda: run().model  # noqa: E731
    objective = ELBO()
    return {
        "nelbo.Run.encode": lambda: run().encode(x, seed=3),
        "nelbo.Run.reconstruct": lambda: run().reconstruct(x, seed=3),
        "nelbo.Run.sample": lambda: run().sample(5, seed=3),
        "nelbo.axioms.examine": lambda: str(nelbo.axioms.examine("kl", "Bernoulli", trials=64, rounds=2, seed=3)),
        "nelbo.data.Dataset.order_of": lambda: torch.tensor(dynamic.train.order_of(2, seed=3)),
        "nelbo.data.Streamed.order_of": lambda: torch.tensor(streamed.order_of(2, seed=3)),
        "nelbo.data.Streamed.examples": lambda: streamed.examples(9, seed=3).x,
        "nelbo.data.Streamed.fixed": lambda: streamed.fixed(seed=3).take(9),
        "nelbo.data.Dataset.examples": lambda: dynamic.train.examples(9, seed=3).x,
        "nelbo.data.Dataset.fixed": lambda: dynamic.train.fixed(seed=3).take(9),
        "nelbo.data.Dataset.take": lambda: dynamic.train.take(9, seed=3),
        "nelbo.data.InMemory.fixed": lambda: dynamic.validation.fixed(seed=3).take(9),
        "nelbo.data.OnDisk.fixed": lambda: on_disk.train.fixed(seed=3).take(9),
        "nelbo.data.Preparation.draw": lambda: dynamic.preparation.draw(
            torch.full((4, 12), 127, dtype=torch.uint8), rows=torch.arange(4), seed=3
        ),
        "nelbo.data.load": lambda: nelbo.data.load("digits", binarize="static", limit=100, seed=3).validation.take(9),
        "nelbo.diagnose": lambda: nelbo.diagnose(run(), examples=100, seed=3).to_dict(),
        "nelbo.diagnosis.effective_beta": lambda: nelbo.diagnosis.effective_beta(objective, model(), x[:50], seed=3),
        "nelbo.divergences.chi_squared": lambda: nelbo.divergences.chi_squared(narrow, wide, **few),
        "nelbo.divergences.classifier_test": lambda: nelbo.divergences.classifier_test(x[:100], x[100:200], seed=3),
        "nelbo.divergences.energy_distance": lambda: nelbo.divergences.energy_distance(narrow, wide, **few),
        "nelbo.divergences.hellinger": lambda: nelbo.divergences.hellinger(p, q, **few),
        "nelbo.divergences.jeffreys": lambda: nelbo.divergences.jeffreys(p, q, **few),
        "nelbo.divergences.jensen_shannon": lambda: nelbo.divergences.jensen_shannon(p, q, **few),
        "nelbo.divergences.kl_from_samples": lambda: kl_from_samples(gray[:40, 0, 0], gray[40:, 0, 0], seed=3),
        "nelbo.divergences.mmd": lambda: nelbo.divergences.mmd(narrow, wide, **few),
        "nelbo.divergences.mmd_test": lambda: nelbo.divergences.mmd_test(x[:100], x[100:200], seed=3),
        "nelbo.divergences.renyi": lambda: nelbo.divergences.renyi(p, q, 0.5, **few),
        "nelbo.divergences.total_variation": lambda: nelbo.divergences.total_variation(p, q, **few),
        "nelbo.evaluation.Evaluation": lambda: Evaluation(model(), nelbo.data.as_batch(x[:20]), seed=3).terms(4),
        "nelbo.evaluation.evaluate": lambda: evaluate(model(), x[:20], seed=3).terms(4),
        "nelbo.evaluation.evaluation_mode": lambda: _in_evaluation_mode(model(), x[:20]),
        "nelbo.evaluation.mean_terms": lambda: mean_terms(model(), data.validation, objective, seed=3),
        "nelbo.evaluation.sample": lambda: sample(model(), 5, seed=3),
        "nelbo.figures.row": lambda: figures.row(of_pictures(), gray[:1], of_pictures().encode(gray).detach(), seed=3),
        "nelbo.figures.samples": lambda: figures.samples({"a": of_pictures()}, n=4, seed=3),
        "nelbo.fit": lambda: nelbo.fit(recipes.vae((12,), latent=2), data, epochs=1, seed=3, **QUIET),
        "nelbo.kl": lambda: nelbo.kl(p, q, **few),
        "nelbo.measure.aggregate_match": lambda: measure.aggregate_match(model(), x, seed=3),
        "nelbo.measure.bdmc": lambda: measure.bdmc(model(), 2, temperatures=5, chains=2, seed=3, **QUIET),
        "nelbo.measure.compare": lambda: measure.compare([run(), run()], effort="quick", seed=3).to_dict(),
        "nelbo.measure.elbo_terms": lambda: measure.elbo_terms(model(), x[:30], seed=3),
        "nelbo.measure.error_per_column": lambda: measure.error_per_column(model(), x[:30], seed=3),
        "nelbo.measure.table_match": lambda: measure.table_match(x[:30, :3], x[30:60, :3], kinds, seed=3),
        "nelbo.measure.from_embeddings": lambda: measure.from_embeddings(model(), data.validation, data.train, seed=3),
        "nelbo.Model.impute": lambda: masked().impute(holes, draws=2, samples=100, seed=3),
        "nelbo.Run.impute": lambda: nelbo.Run(masked(), []).impute(holes, draws=2, samples=100, seed=3),
        "nelbo.measure.impute": lambda: measure.impute(masked(), holes, draws=2, samples=100, seed=3),
        "nelbo.measure.score_samples": lambda: measure.score_samples(
            model(), x[:5], samples=100, contributions=True, seed=3
        ),
        "nelbo.measure.importance_bounds": lambda: measure.importance_bounds(
            model(), x[:20], samples=(1, 10), seed=3, **QUIET
        ),
        "nelbo.measure.inference_gap": lambda: measure.inference_gap(
            model(), x[:5], steps=5, samples=50, method="importance", seed=3, **QUIET
        ),
        "nelbo.measure.latent_scale": lambda: measure.latent_scale(model(), x, seed=3),
        "nelbo.measure.latent_usage": lambda: measure.latent_usage(model(), x, seed=3),
        "nelbo.measure.log_evidence": lambda: measure.log_evidence(
            model(), x[:20], method="importance", samples=50, seed=3, **QUIET
        ),
        "nelbo.measure.rate_distortion": lambda: measure.rate_distortion(model(), x[:30], seed=3),
        "nelbo.measure.report": lambda: measure.report(run(), effort="quick", examples=30, seed=3).to_dict(),
        "nelbo.measure.sample_match": lambda: measure.sample_match(
            model(), data.train, data.validation, samples=50, seed=3
        ),
        "nelbo.measure.sweep": lambda: measure.sweep(
            data, out=folder / "sweep", betas=(1.0,), autoencoder=False, seed=3, epochs=1, **QUIET
        ).to_dict(),
        "nelbo.reparameterization.compare": lambda: nelbo.reparameterization.compare(
            model(), x[:5], samples=20, seed=3
        ),
        "nelbo.training.fit_or_resume": lambda: fit_or_resume(
            lambda: recipes.vae((12,), latent=2), data, out=folder / "run", epochs=1, seed=3, **QUIET
        ),
    }


def _in_evaluation_mode(model: Any, x: torch.Tensor) -> torch.Tensor:
    with evaluation_mode(model, 3):
        return torch.rand(3)


_OF_A_MACHINE = {
    "seconds",
    "epoch_seconds",
    "examples_per_second",
    "elapsed",
    "versions",
    "path",
    "out",
    "run",
    "command",
}


def _digest(value: Any, into: Any) -> None:
    """Add a result to a hash: its numbers and words, but neither times nor places."""
    if isinstance(value, Evaluation):
        return  # what a result was computed from
    if isinstance(value, nelbo.Run):
        value = {**value.model.state_dict()}
    if isinstance(value, Figure):
        buffer = io.BytesIO()
        value.savefig(buffer, format="png", metadata={"Software": None})
        value = buffer.getvalue()
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        into.update(str((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value):
        _digest({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, into)
    elif isinstance(value, Mapping):
        for name in value:
            if name not in _OF_A_MACHINE:
                into.update(str(name).encode())
                _digest(value[name], into)
    elif isinstance(value, list | tuple):
        for each in value:
            _digest(each, into)
    elif isinstance(value, bytes):
        into.update(value)
    elif isinstance(value, str | int | float | bool | None):
        into.update(repr(value).encode())
    else:
        raise TypeError(f"no digest of {type(value)}")


def main(global_seed: int) -> None:
    """Print a JSON object: a digest for each name."""
    warnings.simplefilter("ignore")
    digests: dict[str, str] = {}
    for name, call in calls().items():
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        random.seed(global_seed)
        digest = hashlib.sha256()
        _digest(call(), digest)
        digests[name] = digest.hexdigest()[:12]
    print(json.dumps(digests))


if __name__ == "__main__":
    main(int(sys.argv[1]))
