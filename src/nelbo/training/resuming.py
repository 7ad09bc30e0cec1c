"""resume(): go on with a run; fit_or_resume(): train a run once, however often it is asked for."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nelbo import data as nelbo_data
from nelbo import runs
from nelbo.data import Data, as_data
from nelbo.devices import pick_device
from nelbo.files import DamagedFileError, plain
from nelbo.objectives import Objective, from_dict
from nelbo.objectives.record import KNOWN
from nelbo.runs import Epoch, Run
from nelbo.training.by_ray import check_shards, finished, train_by_ray
from nelbo.training.checkpoint import Position, Snapshot
from nelbo.training.fit import ShowProgress, check_callables, fit, own_optimizer, prepare, train
from nelbo.training.machine import Machine, training_arithmetic
from nelbo.training.optimizers import MakeOptimizer
from nelbo.training.settings import Settings, answers_typos
from nelbo.training.step import Updates
from nelbo.vae import Model, as_model
from nelbo.wording import advice
from nelbo.workers import working_together

_OF_MACHINE = ("device", "threads")  # settings that a run may go on with others of


@answers_typos
def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    model: Model | None = None,
    data: Any = None,
    validation: Any = None,
    objective: Objective | None = None,
    optimizer: MakeOptimizer | None = None,
    device: str | None = None,
    threads: int | None = None,
    ray: int | None = None,
    progress: ShowProgress = True,
    callback: Callable[[Epoch], None] | None = None,
) -> Run:
    """Go on with a run that was interrupted, killed or stopped by an error, to the very weights it would have had.

    Device, number of threads and precision are those that the run had. Where they cannot be, or where others are asked
    for, the run goes on all the same, warns that its weights will differ in the last bits, and records both machines.

    Args:
        path: the directory of the run.
        epochs: train to this many epochs instead, for a run that is to go on longer.
        model: for a run whose model was built by hand: the same model, untrained.
        data: for a run on data given in memory, the same data; for a run on a file, where the same file lies now; for a
            run on a function of the epoch, the same function. It is called with the epoch in which the run was stopped,
            what was seen of it is discarded, and the record says so under ``replayed``.
        validation: for a run that was given examples to validate on, beside its data: the same ones.
        objective: for an objective of your own: the same one.
        optimizer: for an optimizer of your own: the same one.
        device: another one to go on with; None is the run's, or the fastest there is where that is absent.
        threads: another number to go on with; None is the run's.
        ray: go on by so many processes of a Ray cluster, as in :func:`nelbo.fit`; they must divide the run's shards.
        progress: show a progress bar; or a function from the training loop to the display that replaces it.
        callback: called with each epoch's line of metrics.

    Returns:
        The finished run.

    Raises:
        DamagedFileError: the directory is not a run, its format is another one, or a file of it is damaged.
        ValueError: something that run.json cannot hold was not passed again.
        TypeError: an argument has another name; the message says which.
    """
    check_callables(optimizer, progress, callback)
    folder = Path(path)
    record = runs.read_record(folder)
    settings, machine = _settings_and_machine(record, folder)
    _check_given(
        record, folder, model=model, data=data, validation=validation, objective=objective, optimizer=optimizer
    )
    snapshot = Snapshot.load(folder)
    position = Position(**snapshot.position)
    goal: Objective = objective or from_dict(record["objective"])
    if epochs is not None and epochs != settings.epochs:
        _check_extension(epochs, settings, position)
    chosen = {"epochs": epochs, "device": device, "threads": threads}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    settings = Settings.of({**dataclasses.asdict(settings), **chosen})
    if ray is not None:
        check_shards(ray, settings.shards)
        given = {
            "epochs": epochs,
            "model": model,
            "data": data,
            "validation": validation,
            "objective": objective,
            "optimizer": optimizer,
        }
        given |= {"device": device, "threads": threads, "callback": callback}
        task = functools.partial(resume, folder, **given)
        cpus = threads or machine.threads
        train_by_ray(task, ray, folder, threads=cpus, device=settings.device, progress=progress)
        return finished(folder, model, None)
    workers = working_together(settings.shards)
    with training_arithmetic(threads or machine.threads):
        with workers.together():
            on = _device_of(settings, machine, chosen=device is not None)
            instead = advice(f"nelbo.resume({str(folder)!r}, data='table.csv')", f"nelbo fit --resume {folder} DATA")
            if data is None and validation is None:
                loaded = runs.rebuild_data(record, folder, instead=instead)
            else:
                loaded = _same_data(record, data, validation)
            if loaded.origin.get("source"):
                record["data"]["source"] = loaded.origin["source"]  # where they lie now
            model = runs.rebuild_model(record, folder) if model is None else as_model(model)
            runs.in_dtype(model, machine.dtype)
            runs.load_weights(model, snapshot.part("model"))  # now, before any are drawn
            goal.check(model, settings.epochs)
            updates = prepare(model, goal, loaded, settings, on, optimizer, workers)
            _check_optimizer(record, updates)
            if workers.first:
                _note_machine(folder, record, machine, Machine.of(model, on), position.step)
            record["training"] = settings.to_record()
        return train(updates, loaded, record, folder, progress=progress, callback=callback, snapshot=snapshot)


def fit_or_resume(make: Callable[[], Model], data: Data, *, out: Path, seed: int = 0, **settings: Any) -> Run:
    """Train into a directory, or load what an earlier call left there, or go on with it where that was stopped.

    Args:
        make: gives the freshly initialized model of a recipe; its weights are drawn by the seed.
        data: to train on.
        out: the directory.
        seed: of weights, order and noise.
        **settings: of :func:`nelbo.fit`.

    Raises:
        ValueError: the directory holds a run with another recipe, other data or other settings.
    """
    if not (out / runs.RECORD).exists():
        return fit(make(), data, out=out, seed=seed, **settings)
    record = runs.read_record(out)
    _check_same(out, record, make(), data, {"seed": seed, **settings})
    if record.get("status") == "finished":
        run = runs.load(out, device=settings.get("device", "auto"))
        return Run(run.model, run.history, run.path, run.record, data)
    onward = {name: settings[name] for name in ("progress", "callback", *_OF_MACHINE) if name in settings}
    return resume(out, data=data, **onward)


def _check_same(out: Path, record: dict[str, Any], model: Model, data: Data, settings: dict[str, Any]) -> None:
    if _bytes_and_options(record.get("data")) != _bytes_and_options(data.origin):
        raise ValueError(f"{out} was trained on other data, or on these with other options; choose another --out")
    recorded = {**(record.get("recipe") or {}).get("arguments", {}), **record["training"]}
    for name, value in {**(model.recipe or {}).get("arguments", {}), **settings}.items():
        if name not in _OF_MACHINE and name in recorded and recorded[name] != plain(value):
            raise ValueError(
                f"{out} was trained with {name}={recorded[name]!r}, not {value!r}; choose another --out, or write "
                f"--{name.replace('_', '-')} {recorded[name]}"
            )


def _bytes_and_options(origin: dict[str, Any] | None) -> Any:
    return plain({name: (origin or {}).get(name) for name in ("sha256", "options")})


def _check_given(record: dict[str, Any], folder: Path, **given: Any) -> None:
    """Raise a ValueError that names everything that run.json cannot hold and that was not passed again."""
    expected, name = record["own_optimizer"], record["objective"].get("name")
    needed = {
        "model": (not record["recipe"], f"a model built by hand ({record['model']})", "vae"),
        "data": (not record["data"].get("source"), f"data given in memory, which {runs.RECORD} cannot name", "x"),
        "validation": (
            "validation_sha256" in record["data"] and not isinstance(given["data"], Data),
            "examples given to validate on",
            "x_held_out",
        ),
        "objective": (
            str(name) not in KNOWN,
            f"an objective of your own ({name})",
            f"{str(name).rpartition('.')[2]}(...)",
        ),
        "optimizer": (
            expected is not None,
            "an optimizer of your own",
            f"lambda parameters: torch.optim.{expected}(parameters, ...)",
        ),
    }
    missing = [argument for argument, (wanted, _, _) in needed.items() if wanted and given[argument] is None]
    if missing:
        lines = ", ".join(f"{argument}={needed[argument][2]}" for argument in missing)
        raise ValueError(
            f"the run {folder} was trained on {', '.join(needed[argument][1] for argument in missing)}; pass the same "
            f"again: nelbo.resume({str(folder)!r}, {lines})"
        )


def _settings_and_machine(record: dict[str, Any], folder: Path) -> tuple[Settings, Machine]:
    """What a run was started with, checked again: run.json may be damaged."""
    try:
        return Settings.of_record(record["training"]), Machine.of_record(record, folder)
    except DamagedFileError:
        raise
    except ValueError as error:
        raise DamagedFileError(f"{folder / runs.RECORD} is damaged: {error}; copy it again or train anew") from error


def _device_of(settings: Settings, machine: Machine, *, chosen: bool) -> torch.device:
    """The device to go on with: the chosen one; else the run's, or the fastest there is where that is absent."""
    if chosen:
        return pick_device(settings.device)
    try:
        return pick_device(machine.device if settings.device == "auto" else settings.device)
    except ValueError:
        return pick_device("auto")


def _note_machine(folder: Path, record: dict[str, Any], before: Machine, now: Machine, step: int) -> None:
    """Record a machine whose arithmetic is another one, and warn of it."""
    if changes := before.changes_to(now):
        record["machines"].append(now.entry(step))
        warnings.warn(
            f"{folder} goes on with another arithmetic ({changes}): its weights will differ in the last bits from "
            f"those of the uninterrupted run; {runs.RECORD} records both",
            stacklevel=4,
        )


def _check_extension(epochs: int, settings: Settings, position: Position) -> None:
    """Raise a ValueError when a run cannot end after that many epochs instead."""
    done = position.epoch + (position.batch > 0)
    if not isinstance(epochs, int) or epochs < max(done, 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"epochs must be an integer >= {max(done, 1)}, where this run stands, got {epochs!r}")
    if settings.schedule != "constant":
        raise ValueError(
            f"the {settings.schedule} schedule was laid out over {settings.epochs} epochs; it cannot end after "
            f"{epochs} instead. Train anew with epochs={epochs}"
        )
    if position.stopped:
        raise ValueError(
            f"the run stopped by itself after {done} epochs, {settings.patience} of them without a better "
            "validation NELBO; more epochs= would not change that. Train anew with a larger patience="
        )


def _same_data(record: dict[str, Any], data: Any, validation: Any = None) -> Data:
    """The data given again for a run; a ValueError when they are others."""
    origin = record.get("data") or {}
    loaded = nelbo_data.rebuild(origin, data, validation=validation) if "options" in origin else as_data(data)
    got = plain(loaded.origin)
    for name in ("sizes", "preparation", "options"):
        if name in origin and origin[name] != got.get(name):
            raise ValueError(
                f"data= must be what the run was trained on: its {name} must be {origin[name]}, got {got.get(name)}. "
                "Pass the same data, or train a new run on these: nelbo.fit(model, data)"
            )
    return loaded


def _check_optimizer(record: dict[str, Any], updates: Updates) -> None:
    """Raise a ValueError when a run would go on with another optimizer."""
    got, expected = own_optimizer(updates), record.get("own_optimizer")
    if got != expected:
        line = f"optimizer=lambda parameters: torch.optim.{expected}(parameters, ...)"
        what = (
            f"with an optimizer of your own; pass {line}, with the same settings" if expected else "with nelbo's Adam"
        )
        raise ValueError(f"the run was trained {what}" + ("" if got is None else f", not with {got}"))
