"""fit(): train a model, in memory or as a run on disk that survives a crash."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from nelbo import runs
from nelbo.data import Data, as_data
from nelbo.files import exclusive, sweep, write_json, write_tensors
from nelbo.objectives import Objective, default_for, from_dict, to_dict
from nelbo.randomness import seeded_weights
from nelbo.runs import Epoch, Run
from nelbo.training import averaging
from nelbo.training import learning_rate as rates
from nelbo.training.adam import FusedAdam
from nelbo.training.checkpoint import FILE, Snapshot, State
from nelbo.training.checks import (
    check_extension,
    check_fit,
    checked,
    history_of,
    same_data,
    same_optimizer,
    settings_of,
)
from nelbo.training.failure import NonFiniteError
from nelbo.training.optimizers import FromTorch, MakeOptimizer, Optimizer
from nelbo.training.progress import Bar, Display, Silent
from nelbo.training.start import start_at_mean
from nelbo.training.trainer import Trainer
from nelbo.vae import Model, as_model

Precision = Literal["float32", "bfloat16"]
Progress = bool | Callable[[Trainer], Display]


def fit(
    model: Model,
    data: Any,
    *,
    objective: Objective | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    schedule: rates.Schedule = "constant",
    learning_rate_warm_up: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: MakeOptimizer | None = None,
    clip: float | None = None,
    ema: float | None = None,
    patience: int | None = None,
    precision: Precision = "float32",
    compile: bool = False,
    device: str = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    checkpoint_every: float = 60.0,
    progress: Progress = True,
    callback: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a model by stochastic gradient descent on an objective.

    An untrained decoder of nelbo.nn starts where p(x|z) has the mean of the data; networks of your own start as they
    are.

    Args:
        model: a VAE, or a recipe such as ``nelbo.recipes.beta_vae((1, 28, 28), beta=4.0)``. It is trained in place.
        data: a tensor or array (n, \\*event), a pair (x, labels), a path, the name of a set, or what nelbo.data.load
            returned.
        objective: what is made small; None is the recipe's, else the ELBO (or, for an autoencoder, reconstruction).
        epochs: passes over the data.
        batch_size: examples per step.
        learning_rate: of Adam (Kingma & Ba 2015).
        schedule: of the learning rate: constant, cosine, exponential or burda.
        learning_rate_warm_up: epochs over which it first rises from 0.
        weight_decay: decoupled, as in AdamW (Loshchilov & Hutter 2019).
        optimizer: another one: a function from the parameters to a torch.optim.Optimizer, with its own learning rate.
        clip: largest norm of the gradient; None leaves it.
        ema: decay of an exponential moving average of the weights, such as 0.999; the run ends with the average.
        patience: stop after so many epochs without a better validation NELBO, and keep the best weights.
        precision: bfloat16 runs the networks in mixed precision.
        compile: run encoder and decoder through torch.compile (half a minute at the start).
        device: auto, cpu, cuda, cuda:1, mps, ...
        seed: of every draw of the training; the same seed repeats a run bit for bit on the same machine.
        out: folder of the run; None keeps it in memory.
        checkpoint_every: seconds between checkpoints within an epoch.
        progress: show a progress bar; or a function from the Trainer to what shows it instead.
        callback: called with each epoch's line of metrics.

    Returns:
        Run with .model, .history and .path; the model is in evaluation mode.

    Raises:
        ValueError: data, model, likelihood, objective or a setting do not fit; the message says what to write.
        FileExistsError: ``out`` holds a run already.
        NonFiniteError: a NaN or infinity stopped it; the message names the first tensor, its layer and the batch.
        Interrupted: Ctrl-C; the state is saved if ``out`` was given.
    """
    model = as_model(model)
    objective = objective or default_for(model)
    settings = checked(
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "schedule": schedule,
            "learning_rate_warm_up": learning_rate_warm_up,
            "weight_decay": weight_decay,
            "clip": clip,
            "ema": ema,
            "patience": patience,
            "precision": precision,
            "compile": compile,
            "device": str(device),
            "seed": seed,
            "checkpoint_every": checkpoint_every,
        }
    )
    pick_device(settings["device"])
    loaded = as_data(data)
    drawn = model.unused
    if drawn:
        with seeded_weights(seed):
            model.draw_weights()
    check_fit(model, objective, loaded, settings)
    record = _record(model, objective, loaded, settings)
    record["weights"] = "drawn by the seed" if drawn else "as they were given"
    folder = None if out is None else _new_folder(Path(out))
    return _train(model, objective, loaded, record, folder, optimizer=optimizer, progress=progress, callback=callback)


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    model: Model | None = None,
    data: Any = None,
    objective: Objective | None = None,
    optimizer: MakeOptimizer | None = None,
    progress: Progress = True,
    callback: Callable[[Epoch], None] | None = None,
) -> Run:
    """Go on with a run that was interrupted, killed or stopped by an error, to the very weights it would have had.

    Args:
        path: the run's folder.
        epochs: train to this many epochs instead, for a run that is to go on longer.
        model: for a run whose model was built by hand: the same model, untrained.
        data: for a run on data given in memory: the same data.
        objective: for an objective of your own: the same one.
        optimizer: for an optimizer of your own: the same one.
        progress: show a progress bar; or a function from the Trainer to what shows it instead.
        callback: called with each epoch's line of metrics.

    Returns:
        The finished run.

    Raises:
        DamagedFileError: the folder is no run, or a file of it is damaged.
        ValueError: something that run.json cannot hold was not passed again.
    """
    folder = Path(path)
    record = runs.read_record(folder)
    settings = settings_of(record, folder)
    snapshot = Snapshot.load(folder)
    chosen: Objective = objective or from_dict(record["objective"])
    if epochs is not None and epochs != settings["epochs"]:
        check_extension(epochs, settings, snapshot.position)
        settings["epochs"] = epochs
    loaded = runs.rebuild_data(record, folder) if data is None else same_data(record, data)
    model = runs.rebuild_model(record, folder) if model is None else as_model(model)
    chosen.check(model, settings["epochs"])
    return _train(
        model,
        chosen,
        loaded,
        record,
        folder,
        optimizer=optimizer,
        progress=progress,
        callback=callback,
        snapshot=snapshot,
    )


def _train(
    model: Model,
    objective: Objective,
    data: Data,
    record: dict[str, Any],
    folder: Path | None,
    *,
    optimizer: MakeOptimizer | None,
    progress: Progress,
    callback: Callable[[Epoch], None] | None,
    snapshot: Snapshot | None = None,
) -> Run:
    """Train, from the snapshot if there is one; whatever grad mode the caller is in."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if folder is not None:
            stack.enter_context(exclusive(folder))
            if snapshot is None:
                _new_folder(folder)  # once more: another process may have been faster
            for place in (folder, folder / Path(FILE).parent):
                sweep(place)
        trainer = _trainer(model, objective, data, record, folder, optimizer, callback)
        if snapshot is not None and folder is not None:
            trainer.state.restore(snapshot)
            trainer.kept(snapshot)
            trainer.history = history_of(folder, snapshot)
            runs.write_history(folder, trainer.history)
        else:
            start_at_mean(trainer.model, data.train)
            # before run.json: a folder with a run.json always has the weights that the run began with
            trainer.keep()
        title = str((model.recipe or {}).get("name", "training")).replace("_", " ")
        bar = Bar(trainer.epochs, trainer.batches, title) if progress is True else None
        display = progress(trainer) if callable(progress) else bar or Silent()
        stack.callback(model.eval)  # also where the training is interrupted
        with _status(folder, record), bar or contextlib.nullcontext():
            trainer.run(display)
            if folder is not None:
                write_tensors(folder / runs.WEIGHTS, model.state_dict())
    return Run(model, trainer.history, folder, record, data)


def _trainer(
    model: Model,
    objective: Objective,
    data: Data,
    record: dict[str, Any],
    folder: Path | None,
    optimizer: MakeOptimizer | None,
    callback: Callable[[Epoch], None] | None,
) -> Trainer:
    settings = record["training"]
    device = pick_device(settings["device"])
    model = model.to(device)
    if settings["compile"]:
        model.encoder.compile()
        model.decoder.compile()
    # Metal has no float64
    totals = torch.zeros(4, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    state = State(model, _optimizer(model, settings, optimizer), totals=totals)
    same_optimizer(record, state.optimizer)
    if settings["ema"] is not None:
        state.average = averaging.copied(model)
    every = settings["checkpoint_every"]
    return Trainer(
        state=state,
        objective=objective,
        data=data,
        device=device,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        base_learning_rate=state.optimizer.learning_rate,
        schedule=settings["schedule"],
        warm_up=settings["learning_rate_warm_up"],
        seed=settings["seed"],
        clip=settings["clip"],
        ema=settings["ema"],
        patience=settings["patience"],
        precision=settings["precision"],
        out=folder,
        checkpoint_every=math.inf if every is None else every,  # JSON has no infinity
        callback=callback,
    )


@contextlib.contextmanager
def _status(folder: Path | None, record: dict[str, Any]) -> Any:
    """Keep run.json's status true, however the training ends."""

    def write(status: str) -> None:
        record["status"] = status
        if folder is not None:
            write_json(folder / runs.RECORD, record)

    write("training")
    try:
        yield
    except KeyboardInterrupt:
        write("interrupted")
        raise
    except NonFiniteError as error:
        record["error"] = str(error)
        write("not finite")
        raise
    except BaseException:
        write("failed")
        raise
    record.pop("error", None)
    write("finished")


def _optimizer(model: Model, settings: dict[str, Any], make: MakeOptimizer | None) -> Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if make is not None:
        return FromTorch(make(parameters))
    return FusedAdam(parameters, learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"])


def pick_device(device: str) -> torch.device:
    """The device of that name; ``"auto"`` is the fastest there is.

    Raises:
        ValueError: no such device, or not on this machine.
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there = [*(f"cuda:{i}" for i in range(torch.cuda.device_count())), "cuda", "cpu"]
    elif torch.backends.mps.is_available():
        there = ["mps", "cpu"]
    if device == "auto":
        return torch.device(there[0].partition(":")[0])
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no device {device!r}: write device='auto', or one of {', '.join(there)}") from error
    if chosen.type in ("cpu", "cuda", "mps") and str(chosen) not in (*there, "cpu:0", "mps:0"):
        raise ValueError(f"device={device!r} is not on this machine: write device='auto', or one of {', '.join(there)}")
    return chosen


def _record(model: Model, objective: Objective, data: Data, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": runs.FORMAT,
        "status": "training",
        "recipe": model.recipe,
        "model": _summary(model),
        "objective": to_dict(objective),
        "data": data.origin,
        "training": settings,
        "versions": runs.versions(),
        "hardware": str(pick_device(settings["device"])),
    }


def _summary(model: Model) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    parts = ", ".join(
        f"{axis.removesuffix('_family')} {type(getattr(model, axis)).__name__}"
        for axis in ("encoder", "decoder", "px_family", "pz_family", "qz_family")
        if hasattr(model, axis)
    )
    return f"{type(model).__name__}, latent {model.latent}, {weights:,} weights: {parts}"


def _new_folder(folder: Path) -> Path:
    """The folder, made; or a FileExistsError that says what it holds."""
    if (folder / runs.RECORD).exists():
        status = runs.read_record(folder).get("status")
        more = " --epochs N, with a larger N" if status == "finished" else ""
        raise FileExistsError(
            f"{folder} holds a run already ({status}). Choose another out=, or go on with it: "
            f"nelbo fit --resume {folder}{more}"
        )
    for name in (runs.WEIGHTS, runs.METRICS):
        if (folder / name).exists():
            raise FileExistsError(
                f"{folder} holds the {name} of a run whose {runs.RECORD} is gone. Choose another out=, or remove it"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
