"""What is looked at before a training begins or goes on: each refusal says what to write instead."""

import operator
from pathlib import Path
from typing import Any

import torch

from nelbo import data as nelbo_data
from nelbo import runs
from nelbo.data import Data, Dataset, as_data
from nelbo.files import DamagedFileError, plain
from nelbo.objectives import Objective, Progress
from nelbo.randomness import own_randomness
from nelbo.runs import Epoch
from nelbo.training import learning_rate as rates
from nelbo.training.checkpoint import Snapshot
from nelbo.training.optimizers import FromTorch, Optimizer
from nelbo.vae import Model, place_of

_CHECKED_ROWS = 10_000  # of the data are checked against the likelihood before a training begins
_SETTINGS = {
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "learning_rate_warm_up",
    "weight_decay",
    "clip",
    "ema",
    "patience",
    "precision",
    "compile",
    "device",
    "seed",
    "checkpoint_every",
}


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training, numbers as Python's own; or a ValueError for one that cannot be meant."""
    if missing := _SETTINGS - settings.keys():
        raise ValueError(f"the settings lack {', '.join(sorted(missing))}")
    settings = plain(settings) | {"checkpoint_every": settings["checkpoint_every"]}
    rates.check(settings["schedule"])
    for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("seed", None)):
        if name == "patience" and settings[name] is None:
            continue
        try:
            settings[name] = operator.index(settings[name])
        except TypeError:
            raise ValueError(f"{name} is a whole number, got {settings[name]!r}") from None
        if least is not None and settings[name] < least:
            raise ValueError(f"{name} is a whole number from {least} on, got {settings[name]!r}")
    for name in ("learning_rate", "clip", "checkpoint_every"):
        if settings[name] is not None and not settings[name] > 0:
            raise ValueError(f"{name} is greater than 0, got {settings[name]!r}")
    if settings["learning_rate"] is None:
        raise ValueError("learning_rate is a finite number greater than 0, such as 1e-3")
    if not (settings["weight_decay"] is not None and settings["weight_decay"] >= 0):
        raise ValueError(f"weight_decay is a number from 0 on, got {settings['weight_decay']!r}")
    warm_up, epochs = settings["learning_rate_warm_up"], settings["epochs"]
    if warm_up is None or not 0 <= warm_up <= epochs:
        raise ValueError(
            f"learning_rate_warm_up is a number of epochs from 0 to epochs={epochs}, got {warm_up!r}: the training "
            "would end before the learning rate has risen"
        )
    if settings["ema"] is not None and not 0 < settings["ema"] < 1:
        raise ValueError(f"ema is a decay between 0 and 1, such as 0.999; got {settings['ema']!r}")
    if settings["precision"] not in ("float32", "bfloat16"):
        raise ValueError(f"precision is 'float32' or 'bfloat16', got {settings['precision']!r}")
    return settings


def check_fit(model: Model, objective: Objective, data: Data, settings: dict[str, Any]) -> None:
    """Raise a ValueError when model, objective and data do not fit each other; trains nothing, leaves all as it was."""
    if not isinstance(objective, Objective):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"objective is a value such as nelbo.objectives.ELBO(), got {objective!r}; write its brackets, with its "
            "settings in them"
        )
    if settings["patience"] is not None and data.validation is None:
        raise ValueError("patience= needs validation data to judge by; load the data with validation=0.1")
    objective.check(model, settings["epochs"])
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("the model has no weight that requires a gradient: there is nothing to train")
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with own_randomness(device), torch.no_grad():
            for name, dataset in (("validation", data.validation), ("training", data.train)):
                if dataset is None:
                    continue
                x = dataset.take(min(len(dataset), _CHECKED_ROWS))
                try:
                    model.px_family.check(x)
                except ValueError as error:
                    raise ValueError(f"in the {name} data, {error}") from error
                weight = place_of(model)
                few = x[:2].to(device, None if weight is None else weight.dtype)
                model.check(few)
                _try_objective(objective, model, few, len(data.train))
                if name == "training" and len(dataset) % settings["batch_size"] == 1:
                    _try_alone(objective, model, few, len(dataset), settings["batch_size"])
    finally:
        model.train(training)


def _try_objective(objective: Objective, model: Model, x: torch.Tensor, examples: int) -> None:
    terms = objective(model, x, Progress(0.0, examples))
    for name, term in (*terms.loss._asdict().items(), ("value", terms.value), ("surrogate", terms.surrogate)):
        if term.shape != (len(x),):
            raise ValueError(
                f"{type(objective).__name__} gives {name} of shape {tuple(term.shape)} for {len(x)} examples, expected "
                f"({len(x)},): one number of nats for each example, not their mean"
            )


def _try_alone(objective: Objective, model: Model, x: torch.Tensor, n: int, batch_size: int) -> None:
    """Some objectives compare the examples of a batch, and the last batch of this training holds one."""
    try:
        _try_objective(objective, model, x[:1], n)
    except ValueError as error:
        fits = next((b for b in range(batch_size - 1, 1, -1) if n % b != 1), None)
        line = f"write batch_size={fits}" if fits else "use more examples"
        raise ValueError(
            f"{n} examples in batches of {batch_size} leave a last batch of one: {error}; {line}"
        ) from error


def settings_of(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings that a run was started with, checked again: run.json may be damaged."""
    try:
        record["training"] = checked(record["training"])
        if not isinstance(record["objective"], dict):
            raise TypeError(f"the objective is {record['objective']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{folder / runs.RECORD} is damaged: {error}; copy it again or train anew") from error
    return record["training"]


def check_extension(epochs: int, settings: dict[str, Any], position: dict[str, Any]) -> None:
    """Raise a ValueError when a run cannot end after that many epochs instead."""
    done = position["epoch"] + (position["batch"] > 0)
    if not isinstance(epochs, int) or epochs < max(done, 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"epochs is a whole number from {max(done, 1)} on, where this run stands; got {epochs!r}")
    if settings["schedule"] != "constant":
        raise ValueError(
            f"the {settings['schedule']} schedule was laid out over {settings['epochs']} epochs; it cannot end "
            f"after {epochs} instead. Train anew with epochs={epochs}"
        )
    if position["stopped"]:
        raise ValueError(
            f"the run stopped by itself after {done} epochs, {settings['patience']} of them without a better "
            "validation NELBO; more epochs= would not change that. Train anew with a larger patience="
        )


def same_data(record: dict[str, Any], data: Any) -> Data:
    """The data given again for a run; a ValueError when they are others."""
    origin = record.get("data") or {}
    given = isinstance(data, Data | Dataset)
    loaded = as_data(data) if given or "options" not in origin else nelbo_data.rebuild(origin, data)
    found = plain(loaded.origin)
    for name in ("sha256", "sizes", "preparation", "options"):
        if name in origin and origin[name] != found.get(name):
            raise ValueError(
                f"data= is not what the run was trained on: its {name} is {found.get(name)}, expected {origin[name]}"
            )
    return loaded


def same_optimizer(record: dict[str, Any], optimizer: Optimizer) -> None:
    """Note the kind of the user's own optimizer; a ValueError when a run goes on with another one."""
    own = optimizer.name if isinstance(optimizer, FromTorch) else None
    expected = record.setdefault("own_optimizer", own)
    if own != expected:
        line = f"optimizer=lambda parameters: torch.optim.{expected}(parameters, ...)"
        what = (
            f"with an optimizer of your own; pass {line}, with the same settings" if expected else "with nelbo's Adam"
        )
        raise ValueError(f"the run was trained {what}" + ("" if own is None else f", not with {own}"))


def history_of(folder: Path, snapshot: Snapshot) -> list[Epoch]:
    """The lines of metrics.jsonl that belong to a checkpoint; later ones are written again."""
    lines: int = snapshot.position["lines"]
    history = runs.read_history(folder)[:lines]
    if len(history) < lines:
        raise DamagedFileError(
            f"{folder / runs.METRICS} has {len(history)} whole lines, and the checkpoint counts on {lines}; "
            "copy it again"
        )
    return history
