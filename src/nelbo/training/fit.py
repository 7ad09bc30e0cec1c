"""fit(): train a model, in memory or as a run on disk that survives a crash."""

import contextlib
import functools
import json
import math
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from nelbo import recipes, runs
from nelbo.data import Data, Dataset, as_data
from nelbo.data.loading import Options
from nelbo.data.streamed import is_function_of_epochs
from nelbo.data.summary import Missing
from nelbo.devices import has_graphs, move, pick_device, wide
from nelbo.files import exclusive, plain, sweep, write_json, write_tensors
from nelbo.launcher import versions
from nelbo.objectives import Objective, default_for, to_dict
from nelbo.randomness import seeded_weights
from nelbo.runs import Epoch, Run
from nelbo.training.captured import CapturedUpdates
from nelbo.training.checkpoint import Keeper, Position, Snapshot, State
from nelbo.training.loop import Loop
from nelbo.training.machine import Machine, training_arithmetic
from nelbo.training.nonfinite import NonFiniteError
from nelbo.training.optimizers import Adam, MakeOptimizer, Schedule, copy_of
from nelbo.training.precision import change_of_elbo, not_there
from nelbo.training.progress import Display, NullProgress, ProgressBar
from nelbo.training.settings import Precision, Settings, answers_typos
from nelbo.training.sharded import ShardedUpdates
from nelbo.training.start import check_fit, far_from_mean, init_output_bias
from nelbo.training.step import Clock, Step, Updates
from nelbo.vae import Model, as_model
from nelbo.wording import listed
from nelbo.workers import ALONE, OtherFailedError, Workers, working_together
from nelbo.wrapping.modules import batch_norms

_OF_A_MACHINE = ("device", "threads", "checkpoint_every")
ShowProgress = bool | Callable[[Loop], Display]


@answers_typos
def fit(
    model: Model,
    data: Any,
    *,
    validation: float | Any = None,
    objective: Objective | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    shards: int = 1,
    learning_rate: float = 1e-3,
    schedule: Schedule = "constant",
    learning_rate_warm_up: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: MakeOptimizer | None = None,
    clip: float | None = None,
    ema: float | None = None,
    patience: int | None = None,
    precision: Precision = "float32",
    compile: bool = False,
    capture: bool = True,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    ray: int | None = None,
    checkpoint_every: float = 60.0,
    progress: ShowProgress = True,
    callback: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a model by stochastic gradient descent on an objective.

    An untrained decoder of nelbo.nn starts where p(x|z) has the mean of the data; networks of your own start as they
    are, and above the progress bar stands the line that brings them there, where they are far from it.

    Args:
        model: a VAE, or a recipe such as ``nelbo.recipes.beta_vae((1, 28, 28), beta=4.0)``. It is trained in place.
        data: a tensor or array (n, \\*event), a pair (x, labels), a Batch of x with labels and conditions c, a Dataset,
            a path, the name of a set, or what nelbo.data.load returned; or a function from the number of an epoch to an
            iterable of batches, each x, (x, labels) or a Batch, whose examples are never all in memory (see
            nelbo.data.Streamed). Of a model that takes missing values, NaN are what was not observed.
        validation: share or number of the examples that are held out to validate on; 0 trains on every one. None is a
            tenth of an array, a file or a named set, and what data that are split already hold out. Beside a function
            or a Dataset, of which nothing is held out, the examples to validate on.
        objective: what is minimized; None is the recipe's, else the ELBO (or, for an autoencoder, reconstruction).
        epochs: passes over the data.
        batch_size: examples per step.
        shards: pieces that each batch is cut into, so that several processes can share them, as under torchrun: any
            number that divides it, and another one after a resume, ends in the same weights. Each piece has its own
            noise, so another number of shards is another training; a piece of less than 256 examples costs time.
        learning_rate: of Adam (Kingma & Ba 2015).
        schedule: of the learning rate: constant, cosine, exponential or burda.
        learning_rate_warm_up: epochs over which it first rises from 0.
        weight_decay: decoupled, as in AdamW (Loshchilov & Hutter 2019).
        optimizer: another one: a function from the parameters to a torch.optim.Optimizer, with its own learning rate.
        clip: largest norm of the gradient; None leaves it.
        ema: decay of an exponential moving average of the weights, such as 0.999; the run ends with the average.
        patience: stop after so many epochs without a better validation NELBO, and keep the best weights.
        precision: of the networks in training: bfloat16, mixed precision, or tf32, float32 whose matrix products and
            convolutions round their factors to 10 bits, on NVIDIA GPUs since Ampere (elsewhere it is float32). At the
            end it is stated what this changes in the ELBO. What is measured is measured in float32.
        compile: run the whole step, optimizer included, through torch.compile (a minute or two at the start).
        capture: on CUDA, replay each step as a graph of its kernels, where that gives the same numbers; small networks
            train several times as fast. run.json says what was done, and why not.
        device: auto, cpu, cuda, cuda:1, mps, ...
        threads: of the CPU; None is torch's present number.
        seed: of every draw: a recipe's weights, order, noise and validation. The same seed repeats a run bit for bit,
            on the same machine with as many threads; the weights of a model of your own are as you give them.
        out: directory of the run; None keeps it in memory.
        ray: train by so many processes of a Ray cluster, of as many threads each as ``threads`` says, or else one, and
            of as many shards, unless others are given. Needs ``out``, on storage that all machines see. A process that
            is lost is replaced, and the run goes on from its last checkpoint, to the same weights.
        checkpoint_every: seconds between checkpoints within an epoch.
        progress: show a progress bar; or a function from the training loop to the display that replaces it.
        callback: called with each epoch's line of metrics; nelbo.track("mlflow") sends them to a tracker. Of several
            processes the first one calls it; with ``ray``, that is a copy of it in a worker, and after a loss another.

    Returns:
        Run with .model, .history and .path; the model is in evaluation mode.

    Raises:
        ValueError: data, model, likelihood, objective or a setting do not fit; the message says what to write.
        TypeError: an argument has another name, or model or objective is not one; the message says what to write.
        FileExistsError: ``out`` holds a run already.
        NonFiniteError: a NaN or infinity stopped it; the message names the first tensor, its layer and the batch.
        Interrupted: Ctrl-C; the state is saved if ``out`` was given.
    """
    if ray is not None and shards == 1:
        shards = ray
    settings = Settings.of(locals())
    check_callables(optimizer, progress, callback)
    if out is not None and not isinstance(out, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"out must be a path or None, got {out!r}; write out='runs/NAME'")
    model = as_model(model)
    objective = objective or default_for(model)
    if ray is not None:
        chosen = {"objective": objective, "optimizer": optimizer, "callback": callback}
        return _by_ray(ray, model, data, validation, settings, chosen, out, progress)
    workers = working_together(settings.shards)
    with training_arithmetic(settings.threads):
        with workers.together():
            on = pick_device(settings.device)
            loaded = _split(data, validation, model)
            if workers.first and not isinstance(data, Data | Dataset):
                _say(loaded.origin.get("notes", ()), progress)  # of data that were loaded, they are read there
            drawn = model.unused
            if drawn:
                with seeded_weights(settings.seed):
                    model.draw_weights()
            check_fit(model, objective, loaded, settings)
            folder = None if out is None else Path(out)
            if folder is not None and workers.first:
                _new_folder(folder)
            updates = prepare(model, objective, loaded, settings, on, optimizer, workers)
            record = {
                "format": runs.FORMAT,
                "status": "training",
                "recipe": model.recipe,
                "model": _summary(model),
                "weights": "drawn by the seed" if drawn else "as they were given",
                "objective": to_dict(objective),
                "data": loaded.origin,
                "training": settings.to_record(),
                "own_optimizer": own_optimizer(updates),
                "versions": versions(),
                "machines": [Machine.of(model, on).entry(step=0)],
            }
        return train(updates, loaded, record, folder, progress=progress, callback=callback)


def _by_ray(
    ray: int,
    model: Model,
    data: Any,
    validation: Any,
    settings: Settings,
    chosen: dict[str, Any],
    out: str | Path | None,
    progress: ShowProgress,
) -> Run:
    """As `fit`, in the processes of a Ray cluster."""
    from nelbo.training.by_ray import Sent, check_shards, finished, train_by_ray

    check_shards(ray, settings.shards)
    if out is None:
        raise ValueError(f"ray={ray} needs a folder that all machines see; write out='runs/NAME'")
    loaded = _split(data, validation, model)
    if not isinstance(data, Data | Dataset):
        _say(loaded.origin.get("notes", ()), progress)
    folder, sent = _new_folder(Path(out)), Sent.of(loaded)
    made = model.recipe if model.unused else None  # each process draws its weights by the seed
    make = (lambda: model) if made is None else functools.partial(recipes.make, made["name"], **made["arguments"])
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    given["threads"] = settings.threads or 1

    def task(progress: ShowProgress) -> None:
        import nelbo  # whose resume() stands above fit()

        began = str((folder / runs.RECORD).exists())
        if working_together(settings.shards).texts(began)[0] == "True":  # another one was lost
            nelbo.resume(folder, model=make(), data=sent.loaded(), progress=progress, **chosen)
        else:
            fit(make(), sent.loaded(), out=folder, progress=progress, **given, **chosen)

    train_by_ray(task, ray, folder, threads=settings.threads, device=settings.device, progress=progress)
    return finished(folder, model, loaded)


def _split(data: Any, validation: Any, model: Model) -> Data:
    missing: Missing = "observed" if model.takes_missing else None
    given = isinstance(data, Data | Dataset) or is_function_of_epochs(data)
    options: Options = {} if missing is None or given else {"missing": missing}
    if validation is None:
        return as_data(data, **options)
    options["validation"] = validation
    if isinstance(data, Data):
        raise ValueError(
            f"validation={validation!r} was given for a {type(data).__name__}, which is split already; leave it out, "
            f"or write nelbo.data.load(..., validation={validation!r})"
        )
    return as_data(data, **options)


def check_callables(optimizer: Any, progress: Any, callback: Any) -> None:
    """Raise a TypeError where an argument of fit or resume is not a function, and has to be one."""
    if optimizer is not None and (not callable(optimizer) or isinstance(optimizer, torch.optim.Optimizer)):
        raise TypeError(
            f"optimizer must be a function from parameters to a torch.optim.Optimizer, got {optimizer!r}; write "
            "optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)"
        )
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be True, False or a function from the loop to a display, got {progress!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of an epoch's metrics or None, got {callback!r}")


def prepare(
    model: Model,
    objective: Objective,
    data: Data,
    settings: Settings,
    device: torch.device,
    optimizer: MakeOptimizer | None,
    workers: Workers = ALONE,
) -> Updates:
    """The updates of a training, before its first step.

    Args:
        model: moved to the device.
        objective: to minimize.
        data: whose training set is gone through.
        settings: of the training.
        device: to train on.
        optimizer: the user's own; None is Adam.
        workers: the processes that train together.
    """
    move(model, device)
    clock = Clock(settings, objective, examples=len(data.train), device=device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer is None:
        chosen = Adam(parameters, learning_rate=clock.learning_rate, weight_decay=settings.weight_decay)
    else:
        chosen = optimizer(parameters)
    totals = torch.zeros(4, dtype=wide(device), device=device)
    state = State(model, chosen, None if settings.ema is None else copy_of(model), totals=totals)
    step = Step(model, objective, clock, precision=settings.precision)
    kind = CapturedUpdates if settings.capture and has_graphs(device) else Updates
    if settings.shards > 1:
        kind = ShardedUpdates
    return kind(step, state, data.train, settings, device, workers)


def own_optimizer(updates: Updates) -> str | None:
    """The class of the user's own optimizer, which a resume has to be given again; None for nelbo's Adam."""
    optimizer = updates.state.optimizer
    return None if isinstance(optimizer, Adam) else type(optimizer).__name__


def train(
    updates: Updates,
    data: Data,
    record: dict[str, Any],
    folder: Path | None,
    *,
    progress: ShowProgress,
    callback: Callable[[Epoch], None] | None,
    snapshot: Snapshot | None = None,
) -> Run:
    """Train to the end, from the snapshot if there is one.

    Args:
        updates: of the weights.
        data: training and validation set.
        record: the content of run.json.
        folder: of the run, or None.
        progress: as :func:`fit` takes it.
        callback: as :func:`fit` takes it.
        snapshot: to go on from.
    """
    model, settings, workers = updates.model, updates.settings, updates.workers
    check_alike(workers, record)
    written = folder if workers.first else None
    every = settings.checkpoint_every if workers.first else math.inf
    if not workers.first:
        progress, callback = False, None
    with contextlib.ExitStack() as stack:
        with workers.together():
            if written is not None:
                stack.enter_context(exclusive(written))
                if snapshot is None:
                    _new_folder(written)  # once more: another process may have been faster
                for place in (written, written / Path(runs.CHECKPOINT).parent):
                    sweep(place)
            loop = Loop(updates, Keeper(updates.state, written, every=every), data, callback)
            if snapshot is not None and folder is not None:
                updates.state.restore(snapshot)
                loop.keeper.take(snapshot)
                loop.history = _history_until(updates.state.position, folder)
                if written is not None:
                    runs.write_history(written, loop.history)
            else:
                init_output_bias(model, data.train)
            _say(_note_start(record, updates, data, fresh=snapshot is None), progress)
        workers.align([*updates.state.tensors().values()])
        if snapshot is None:
            # before run.json: a folder with a run.json always has the weights that the run began with
            loop.keep()
        title = str((model.recipe or {}).get("name", "training")).replace("_", " ")
        bar = ProgressBar(settings.epochs, updates.per_epoch, title) if progress is True else None
        display = progress(loop) if callable(progress) else bar or NullProgress()
        stack.enter_context(updates.step.listening())
        stack.callback(model.eval)  # also where the training is interrupted
        with _status(written, record), bar or contextlib.nullcontext():
            try:
                loop.run(display)
            finally:
                _note_steps(record, loop)
            with workers.together():
                if written is not None:
                    write_tensors(written / runs.WEIGHTS, model.state_dict())
                stated = _note_precision(record, updates, data)
        _say(stated, progress)
        workers.any(False)  # until the record is written, for the caller may read it
    return Run(model, loop.history, folder, record, data)


def _say(notes: Iterable[str], progress: ShowProgress) -> None:
    """Print what a user should know, where progress is shown."""
    for note in notes if progress is True else ():
        print(f"nelbo: {note}", file=sys.stderr)


def _note_start(record: dict[str, Any], updates: Updates, data: Data, *, fresh: bool) -> list[str]:
    """Record what is to be known of a training before its first step, and return it in sentences."""
    notes: list[str] = []
    if fresh and (note := far_from_mean(updates.model, data.train)):
        record["start"] = note
        notes.append(note)
    position, settings = updates.state.position, updates.settings
    if fresh and settings.shards > 1 and (layers := batch_norms([updates.model])):
        each = settings.batch_size // settings.shards
        notes.append(
            f"{listed(layers)} will normalize by the {each} examples of a piece of a batch, and keep the running "
            "statistics of the first piece; GroupNorm and LayerNorm see one example alone"
        )
    if not fresh and position.batch and data.train.replays:
        seen = f"{position.batch:,} {'batch' if position.batch == 1 else 'batches'}"
        record.setdefault("replayed", []).append({"epoch": position.epoch, "batches": position.batch})
        notes.append(
            f"batches({position.epoch}) is gone through again, and the {seen} that the run had seen are discarded; it "
            "ends as an undisturbed run would if the function gives the same for the same epoch"
        )
    if note := not_there(updates.settings.precision, updates.device):
        record["precision"] = {"used": "float32", "why": note}
        notes.append(note)
    return notes


def _note_steps(record: dict[str, Any], loop: Loop) -> None:
    """Record how the steps were run, and what was set at the end."""
    if loop.settled_by is not None:
        record["sigma"] = f"set on {loop.settled_by:,} of {len(loop.data.train):,} training examples"
    if loop.updates.notes:
        record["steps"] = "; ".join(loop.updates.notes)


def _note_precision(record: dict[str, Any], updates: Updates, data: Data) -> list[str]:
    """Record what the precision of a training changes in the ELBO of its weights, and return it in sentences."""
    settings = updates.settings
    if settings.precision == "float32" or not_there(settings.precision, updates.device):
        return []
    dataset, where = (data.train, "of training") if data.validation is None else (data.validation, "held out")
    change = change_of_elbo(updates.model, dataset, settings.precision, seed=settings.seed)
    over = f"{change.method} {where}"
    numbers = {"elbo_change": float(change), "standard_error": change.error, "over": over}
    record["precision"] = {"used": settings.precision, **plain(numbers)}
    return [f"{settings.precision} instead of float32 changes the ELBO by {change.text_with_unit} ({over})"]


def check_alike(workers: Workers, record: dict[str, Any]) -> None:
    """Raise a ValueError where the processes of a training were given different things, and say which."""
    own = {name: record[name] for name in ("model", "objective", "versions", "own_optimizer")}
    own |= {name: value for name, value in record["training"].items() if name not in _OF_A_MACHINE}
    own |= {f"data {name}": record["data"].get(name) for name in ("sha256", "options", "sizes")}
    first, *others = (json.loads(text) for text in workers.texts(json.dumps(plain(own), default=str)))
    for rank, other in enumerate(others, 1):
        for name, value in first.items():
            if other[name] != value:
                raise ValueError(
                    f"all processes of a training must be given the same, but {name} is {value} in process 0 and "
                    f"{other[name]} in process {rank}; start all of them with the same command, files and versions"
                )


def _history_until(position: Position, folder: Path) -> list[Epoch]:
    """The lines of metrics.jsonl up to a position, which then counts on those that are left."""
    history = runs.until(runs.read_history(folder), position.epoch)
    if len(history) < position.lines:
        warnings.warn(
            f"{folder / runs.METRICS} has {len(history)} of the {position.lines} lines that the checkpoint counts on. "
            "The weights are whole and the training goes on; figures will lack the other epochs",
            stacklevel=4,
        )
    position.lines = len(history)
    return history


@contextlib.contextmanager
def _status(folder: Path | None, record: dict[str, Any]) -> Generator[None]:
    """Keep run.json's status true, however the training ends."""

    def write(status: str) -> None:
        record["status"] = status
        if folder is not None:
            write_json(folder / runs.RECORD, record)

    write("training")
    try:
        yield
    except (KeyboardInterrupt, OtherFailedError):
        write("interrupted")
        raise
    except NonFiniteError as error:
        record["error"] = str(error)
        write(runs.STOPPED)
        raise
    except BaseException:
        write("failed")
        raise
    record.pop("error", None)
    write("finished")


def _summary(model: Model) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    parts = ", ".join(
        f"{axis.removesuffix('_family')} {type(getattr(model, axis)).__name__}"
        for axis in ("encoder", "decoder", "px_family", "pz_family", "qz_family")
        if hasattr(model, axis)
    )
    return f"{type(model).__name__}, latent {model.latent}, {weights:,} weights: {parts}"


def _new_folder(folder: Path) -> Path:
    """The folder, created if need be; or a FileExistsError that says what it holds."""
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
