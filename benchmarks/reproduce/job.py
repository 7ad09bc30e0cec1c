"""One training, then its measurement on the test images; both go on where they were stopped."""

import functools
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nelbo
from benchmarks.reproduce.plan import FULL, QUICK, SETTINGS, Plan, Training, load, make
from nelbo.files import read_json, write_json
from nelbo.measure.latent_usage import THRESHOLD
from nelbo.runs import Run
from nelbo.training import fit_or_resume

SEED = 0
"""Of the test images' binarization: one draw, the same for every model."""
SPENT, MEASURED, ACTIVE = "spent.json", "test", "active.json"


class Clock:
    """Processor time of the training, added up in the run's folder over all interruptions."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / SPENT
        self.before = read_json(self.file)["cpu_seconds"] if self.file.is_file() else 0.0
        self.start = time.process_time()

    def __call__(self, _: Any = None) -> None:
        write_json(self.file, {"cpu_seconds": self.before + time.process_time() - self.start})


def train(training: Training, data: nelbo.data.Data, out: Path) -> Run:
    """The run, trained now, earlier, or the rest of it now."""
    folder = out / training.name
    clock = Clock(folder)
    settings = {"epochs": training.epochs, **SETTINGS, "progress": False, "callback": clock}
    try:
        return fit_or_resume(functools.partial(make, training, data), data, out=folder, **settings)
    except KeyboardInterrupt:
        clock()
        raise


def measurements(plan: Plan, images: int) -> Iterator[tuple[str, int, range]]:
    """(quantity, draws of z, positions of test images): each is one file."""
    for quantity, draws, every in (
        ("ELBO", plan.elbo_draws, 1),
        *((f"L_{k}", k, 1) for k in plan.few),
        (f"L_{plan.many}", plan.many, plan.every),
    ):
        step = every * max(1, min(images, plan.block // draws))
        for start in range(0, images, step):
            yield quantity, draws, range(start, min(start + step, images), every)


def file_of(folder: Path, quantity: str, positions: range) -> Path:
    return folder / MEASURED / f"{quantity}-{positions.start:05d}.json"


def measure(run: Run, data: nelbo.data.Data, plan: Plan) -> None:
    """Bounds of log p(x) of each test image, in nats, a file for each part."""
    assert run.path is not None
    for quantity, draws, positions in measurements(plan, len(data.test)):
        path = file_of(run.path, quantity, positions)
        if path.is_file():
            continue
        x = data.test.take(list(positions), seed=SEED)
        began = time.process_time()
        bound = _elbo if quantity == "ELBO" else _importance
        found = bound(run.model, x, draws=draws, seed=positions.start)
        write_json(path, {**found, "cpu_seconds": time.process_time() - began})
    means = run.encode(data.test.take(len(data.test), seed=SEED))
    write_json(run.path / MEASURED / ACTIVE, {"active_units": int((means.var(0) > THRESHOLD).sum())})


def _elbo(vae: nelbo.VAE, x: Tensor, *, draws: int, seed: int) -> dict[str, Any]:
    with torch.no_grad(), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return {"values": torch.cat([nelbo.loss(vae, part, samples=draws).elbo for part in x.split(200)]).tolist()}


def _importance(vae: nelbo.VAE, x: Tensor, *, draws: int, seed: int) -> dict[str, Any]:
    with warnings.catch_warnings():
        # that q(z|x) does not cover p(z|x) everywhere: k is counted below and told in the documentation
        warnings.simplefilter("ignore")
        found = nelbo.measure.log_evidence(vae, x, method="importance", samples=draws, seed=seed, progress=False)
    return {"values": found.value.tolist(), "pareto_k": found.pareto_k.tolist()}


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    name, mnist, out, quick = sys.argv[1:]
    torch.set_num_threads(1)  # for networks of this size two processes of one thread each are faster than one of two
    plan = QUICK if quick == "quick" else FULL
    training = next(training for training in plan.trainings if training.name == name)
    data = load(mnist, plan)
    try:
        measure(train(training, data, Path(out)), data, plan)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
