"""fit(): train a model, in memory or as a run on disk that survives a crash."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nelbo import runs
from nelbo.data import Data, as_data
from nelbo.files import write_json, write_tensors
from nelbo.objectives import Objective, default_for, from_dict, to_dict
from nelbo.recipes import Recipe
from nelbo.runs import Epoch, Run
from nelbo.training import learning_rate as rates
from nelbo.training.adam import FusedAdam
from nelbo.training.checkpoint import FILE, Snapshot, State
from nelbo.training.failure import NonFiniteError
from nelbo.training.optimizers import FromTorch, MakeOptimizer, Optimizer
from nelbo.training.progress import Bar, Silent
from nelbo.training.trainer import Trainer
from nelbo.vae import VAE

Precision = Literal["float32", "bfloat16"]
_CHECKED_ROWS = 10_000  # of the data are checked against the likelihood before a training begins


def fit(
    model: VAE | Recipe,
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
    progress: bool = True,
    callback: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a model by stochastic gradient descent on an objective.

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
        progress: show a progress bar.
        callback: called with each epoch's line of metrics.

    Returns:
        Run with .model, .history and .path; the model is in evaluation mode.

    Raises:
        ValueError: data, model, likelihood, objective or a setting do not fit; the message says what to write.
        NonFiniteError: a NaN or infinity stopped it; the message names the first tensor, its layer and the batch.
        Interrupted: Ctrl-C; the state is saved if ``out`` was given.
    """
    made = model if isinstance(model, Recipe) else Recipe(model, default_for(model))
    made = Recipe(made.model, objective or made.objective, made.name, made.arguments)
    settings: dict[str, Any] = {
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
        "device": device,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
    }
    _check_settings(settings)
    loaded = as_data(data)
    _check_fit(made, loaded, settings)
    record = _record(made, loaded, settings, own_optimizer=optimizer is not None)
    folder = None if out is None else _new_folder(Path(out))
    if folder is not None:
        write_json(folder / runs.RECORD, record)
    return _train(made, loaded, record, folder, optimizer=optimizer, progress=progress, callback=callback)


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    model: VAE | None = None,
    data: Any = None,
    objective: Objective | None = None,
    optimizer: MakeOptimizer | None = None,
    progress: bool = True,
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
        progress: show a progress bar.
        callback: called with each epoch's line of metrics.

    Returns:
        The finished run.

    Raises:
        DamagedFileError: the folder is no run, or a file of it is damaged.
        ValueError: something that run.json cannot hold was not passed again.
    """
    folder = Path(path)
    record = runs.read_record(folder)
    settings: dict[str, Any] = record["training"]
    if record.get("own_optimizer") and optimizer is None:
        raise ValueError(
            f"{folder} was trained with an optimizer of your own; pass resume({str(path)!r}, optimizer=...)"
        )
    if epochs is not None and epochs != settings["epochs"]:
        if settings["schedule"] != "constant":
            raise ValueError(
                f"the {settings['schedule']} schedule was laid out over {settings['epochs']} epochs; it cannot end "
                f"after {epochs} instead. Train anew with epochs={epochs}"
            )
        settings["epochs"] = epochs
        write_json(folder / runs.RECORD, record)
    chosen: Objective = objective or from_dict(record["objective"])
    loaded = as_data(data) if data is not None else runs.rebuild_data(record, folder)
    made = runs.rebuild_model(record, folder) if model is None else Recipe(model, default_for(model))
    made = Recipe(made.model, chosen, made.name, made.arguments)
    return _train(made, loaded, record, folder, optimizer=optimizer, progress=progress, callback=callback, resumed=True)


def _train(
    made: Recipe,
    data: Data,
    record: dict[str, Any],
    folder: Path | None,
    *,
    optimizer: MakeOptimizer | None,
    progress: bool,
    callback: Callable[[Epoch], None] | None,
    resumed: bool = False,
) -> Run:
    settings = record["training"]
    device = pick_device(settings["device"])
    model = made.model.to(device)
    if settings["compile"]:
        model.encoder.compile()
        model.decoder.compile()
    state = State(
        model, _optimizer(model, settings, optimizer), totals=torch.zeros(4, dtype=torch.float64, device=device)
    )
    if settings["ema"] is not None:
        state.average = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = Trainer(
        state=state,
        objective=made.objective,
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
        checkpoint_every=settings["checkpoint_every"],
        callback=callback,
    )
    if resumed and folder is not None and (folder / FILE).is_file():
        state.restore(Snapshot.load(folder))
        state.position.finished = state.position.finished and state.position.epoch >= settings["epochs"]
        trainer.history = runs.read_history(folder)[: state.position.lines]
        runs.write_history(folder, trainer.history)
    title = made.name.replace("_", " ") or "training"
    bar = Bar(settings["epochs"], trainer.batches, title) if progress else None
    with _status(folder, record), bar or contextlib.nullcontext():
        trainer.run(bar or Silent())
        if folder is not None:
            write_tensors(folder / runs.WEIGHTS, model.state_dict())
    return Run(model.eval(), trainer.history, folder, record, data)


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


def _optimizer(model: VAE, settings: dict[str, Any], make: MakeOptimizer | None) -> Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if make is not None:
        return FromTorch(make(parameters))
    return FusedAdam(parameters, learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"])


def pick_device(device: str) -> torch.device:
    """The device of that name; ``"auto"`` is the fastest there is."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _record(made: Recipe, data: Data, settings: dict[str, Any], *, own_optimizer: bool) -> dict[str, Any]:
    objective = made.objective
    try:
        described: dict[str, Any] = to_dict(objective)
    except TypeError:  # an objective of the user's own that is no dataclass
        described = {"name": type(objective).__name__}
    return {
        "format": runs.FORMAT,
        "status": "training",
        "recipe": {"name": made.name, "arguments": made.arguments} if made.name else None,
        "model": _summary(made.model),
        "objective": described,
        "data": data.origin,
        "training": settings,
        "own_optimizer": own_optimizer,
        "versions": runs.versions(),
        "hardware": str(pick_device(settings["device"])),
    }


def _summary(model: VAE) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    parts = ", ".join(
        f"{axis.removesuffix('_family')} {type(getattr(model, axis)).__name__}"
        for axis in ("encoder", "decoder", "likelihood_family", "prior_family", "posterior_family")
    )
    return f"{type(model).__name__}, latent {model.latent}, {weights:,} weights: {parts}"


def _new_folder(folder: Path) -> Path:
    if (folder / runs.RECORD).exists():
        status = runs.read_record(folder).get("status")
        raise FileExistsError(
            f"{folder} holds a run already ({status}). Choose another out=, or go on with it: "
            f"nelbo fit --resume {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_fit(made: Recipe, data: Data, settings: dict[str, Any]) -> None:
    if settings["patience"] is not None and data.validation is None:
        raise ValueError("patience= needs validation data to judge by; load the data with validation=0.1")
    made.objective.check(made.model, settings["epochs"])
    model = made.model
    x: Tensor = data.train.take(min(len(data.train), _CHECKED_ROWS))
    model.likelihood_family.check(x)
    training = model.training
    device = next(model.parameters()).device
    try:
        model.eval().check(x[:2].to(device))
    finally:
        model.train(training)


def _check_settings(settings: dict[str, Any]) -> None:
    rates.check(settings["schedule"])
    for name in ("epochs", "batch_size"):
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise ValueError(f"{name} is a whole number from 1 on, got {settings[name]!r}")
    for name in ("learning_rate", "clip", "checkpoint_every"):
        if settings[name] is not None and not settings[name] > 0:
            raise ValueError(f"{name} is greater than 0, got {settings[name]!r}")
    if settings["ema"] is not None and not 0 < settings["ema"] < 1:
        raise ValueError(f"ema is a decay between 0 and 1, such as 0.999; got {settings['ema']!r}")
    if settings["patience"] is not None and settings["patience"] < 1:
        raise ValueError(f"patience is a number of epochs from 1 on, got {settings['patience']!r}")
    if settings["precision"] not in ("float32", "bfloat16"):
        raise ValueError(f"precision is 'float32' or 'bfloat16', got {settings['precision']!r}")
