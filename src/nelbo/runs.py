"""A run on disk: one folder, readable without nelbo."""

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo import data as nelbo_data
from nelbo import recipes
from nelbo.data import as_batch
from nelbo.data.features import as_table
from nelbo.data.loading import judged_by, prepared_like, seen_by
from nelbo.devices import CPU, computes_in, move, pick_device
from nelbo.evaluation import decode, evaluate, sample
from nelbo.files import DamagedFileError, is_held, json_line, naming, parse_json, read_json, read_tensors, write_bytes
from nelbo.vae import Model
from nelbo.wording import SHOWN, advice

if TYPE_CHECKING:
    import nelbo

Epoch = dict[str, Any]
"""One line of metrics.jsonl: an epoch's number, its terms in nats on train_ and validation_ data, and its speed."""

RECORD, METRICS, WEIGHTS = "run.json", "metrics.jsonl", "weights.safetensors"
CHECKPOINT = "checkpoint/state.safetensors"
FORMAT = 2
"""Of run.json; another number is refused."""

STOPPED = "not finite"
"""The status of a run that a NaN or an infinity stopped; its record then says why."""

_ABSENT = object()
_ENTRIES: dict[str, tuple[Any, str]] = {
    "status": (str, "a text"),
    "recipe": (dict | None, "an object or null"),
    "model": (str, "a text"),
    "weights": (str, "a text"),
    "objective": (dict, "an object"),
    "data": (dict, "an object"),
    "training": (dict, "an object of settings"),
    "own_optimizer": (str | None, "a text or null"),
    "versions": (dict, "an object"),
    "machines": (list, "a list"),
}
"""The entries of run.json, by the types and the words of what they hold."""
_UNFINISHED = {
    "training": "has not ended, or was killed",
    "interrupted": "was interrupted",
    STOPPED: "was stopped by a NaN or an infinity",
}
_TRAINING = {"epochs": int, "batch_size": int, "schedule": str}
"""The settings of a training that are read before all of them are checked."""
_MACHINE = {"device": str, "threads": int, "dtype": str, "instructions": str, "torch_version": str}
"""The entries of one of its machines."""


@dataclass
class Run:
    """A trained model, its history, and the directory that both are in.

    Args:
        model: the trained model.
        history: a dictionary for each epoch; terms are means over the examples, in nats. None stands for an infinite
            value (the KL of an autoencoder).
        path: the run's directory, or None for a run in memory.
        record: the content of run.json.
        unfinished: where the model is that of a checkpoint, that the training had not finished, in a sentence.
    """

    model: Model
    history: list[Epoch]
    path: Path | None = None
    record: dict[str, Any] = field(default_factory=dict[str, Any])
    _data: nelbo_data.Data | None = field(default=None, repr=False)
    unfinished: str | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """The directory's name, or of a run in memory the one in its record, or the recipe's."""
        if self.path:
            return self.path.name
        return self.record.get("name") or (self.record.get("recipe") or {}).get("name", "run")

    @property
    def data(self) -> nelbo_data.Data:
        """The data of the run, loaded again from its source when first used, and checked against its hash."""
        if self._data is None:
            self._data = rebuild_data(self.record, self.path)
        return self._data

    @property
    def origin(self) -> dict[str, Any]:
        """What is known of the data without loading them: features, units, preparation, source; see `Data.origin`."""
        origin = self.record.get("data") or (self._data.origin if self._data is not None else None)
        if not origin:
            raise ValueError(f"nothing is recorded of the data that {self.name} was trained on; pass tensors instead")
        return origin

    def examples(self, source: Any) -> nelbo_data.Dataset:
        """Other data as this run sees them: its columns, by name, in its order, prepared as its own data were.

        Neither needs the data that the run was trained on. A warning names columns that are left out, and those whose
        mean or spread is so far from that of the training set that their units may be others.

        Args:
            source: what :func:`nelbo.data.load` takes, with values as they are stored; what has no names, such as an
                array, is taken by position.

        Raises:
            ValueError: columns are missing, all of which are named, or the shape is another one.
        """
        return prepared_like(self.origin, source).train

    def table(self, x: Tensor, *, means: bool = False, empty: int | None = None) -> dict[str, NDArray[Any]]:
        """Samples or reconstructions as columns, in the names and the units of the run's data.

        What was standardized or scaled is so no longer, columns that held whole numbers hold whole numbers, and those
        of a mixed table have their categories and decimals and stay within the range of the training data: a dictionary
        for ``pandas.DataFrame``, ``polars.DataFrame`` or ``pyarrow.table``.

        Args:
            x: (n, \\*event), as the model sees it.
            means: whether x are means of p(x|z). Those of a mixed table's true and false become the more probable one,
                as its categories do; in other tables they stay probabilities.
            empty: of a mixed table with missing values, a seed by which cells are left empty as often as in the
                training data. Each column does so by itself, whatever its values: why cells are empty, and which are
                so together, is not modelled. None leaves none empty.
        """
        return as_table(self.origin, x, means=means, empty=empty)

    def beside(self, source: Any) -> nelbo_data.Data | nelbo_data.Dataset:
        """The run's training set with other data as its test set; its own data where these are they, wherever they lie.

        Where the training set cannot be loaded, a warning says why, and the others come alone.

        Args:
            source: as for ``examples``.
        """
        judged = judged_by(self.origin, source)
        if isinstance(judged, nelbo_data.Data):
            self._data = self._data or judged
            return self._data
        try:
            train = self.data.train
        except (OSError, ValueError) as error:
            why = error.__cause__ or error  # without the line to write: other data are given
            warnings.warn(f"nothing is compared with the training data of {self.name}: {why}", stacklevel=2)
            return judged
        where = str(source) if isinstance(source, str | Path) else None
        return nelbo_data.Data(train, None, judged, self.data.origin | {"source": where})

    def encode(self, x: Any, *, seed: int = 0) -> Tensor:
        """The mean of q(z|x) of each example, (batch, latent): where it lies in latent space.

        In evaluation mode, in chunks and without gradients, as all of these; ``run.model.encode`` has a gradient.

        Args:
            x: as the model sees it, a tensor or array (batch, \\*event), a Batch or a Dataset; or as it is stored, a
                path, the name of a set or a table, which passes through ``examples`` first.
            seed: of the draws where q(z|x) has no mean in closed form.
        """
        return evaluate(self.model, as_batch(seen_by(self, x)), seed=seed).embedding

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), (n, \\*event), for z of shape (n, latent)."""
        return decode(self.model, z)

    def reconstruct(self, x: Any, *, seed: int = 0) -> Tensor:
        """Each example as the decoder gives it back from the mean of q(z|x), (batch, \\*event); x as in ``encode``."""
        return evaluate(self.model, as_batch(seen_by(self, x)), seed=seed).reconstruction

    def sample(self, n: int, *, mean: bool = False, seed: int = 0) -> Tensor:
        """New examples, z ~ p(z) and then x ~ p(x|z).

        Args:
            n: number of examples.
            mean: return the mean of p(x|z) instead of a draw, as figures in papers do.
            seed: of the draws; torch's generators are left as they were.

        Returns:
            (n, \\*event).
        """
        return sample(self.model, n, mean=mean, seed=seed)

    def impute(
        self, x: Any, *, draws: int | None = None, samples: int = 1000, seed: int = 0
    ) -> "nelbo.measure.Imputation":
        """E[x_missing|x_observed] of each example and draws of it, as :func:`nelbo.measure.impute` gives them.

        Args:
            x: as in ``encode``, with NaN for what is missing.
            draws: multiple imputations.
            samples: draws of z for each example.
            seed: of the draws.
        """
        return self.model.impute(as_batch(seen_by(self, x)), draws=draws, samples=samples, seed=seed)

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        terms = [f"{name} {last[name]:.2f} nats" for name in ("train_nelbo", "validation_nelbo") if last.get(name)]
        return f"Run({', '.join([str(self.path or 'in memory'), f'{len(self.history)} epochs', *terms])})"


def load(path: str | Path, *, model: Model | None = None, data: Any = None, device: str = "auto") -> Run:
    """Load a run from its directory, with the model ready to use, on the accelerator where there is one.

    Args:
        path: the directory that ``nelbo fit`` or ``nelbo.fit(..., out=)`` wrote.
        model: the untrained model, for a run whose model was built by hand rather than from a recipe.
        data: the data that it was trained on, where they lie now or were given in memory; without them, they are
            loaded from where they lay, when first used. Other data need no mention here: ``run.examples(data)``.
        device: of the model: auto, cpu, cuda, cuda:1, mps, ...

    Returns:
        The run; its model is in evaluation mode. Where the training has not finished, it is that of the
        last checkpoint, with a warning; ``run.unfinished`` says so too.

    Raises:
        DamagedFileError: a file is missing, cut short, foreign or of another format; the message names it.
        ValueError: the run's model cannot be rebuilt, ``model`` does not fit its weights, ``data`` are others, or there
            is no such device.
        OutOfMemoryError: the model does not fit on the device.
    """
    run = read(path, model=model, device=device)
    if data is not None:
        try:
            run = replace(run, _data=nelbo_data.rebuild(run.origin, data))
        except ValueError as error:
            raise ValueError(
                f"{error}. data= takes what the run was trained on; other data are passed where they are used, as in "
                "run.encode('new.csv')"
            ) from error
    if run.unfinished:
        warnings.warn(f"{path}: {run.unfinished}", stacklevel=2)
    return run


def read(path: str | Path, *, model: Model | None = None, device: str = "auto") -> Run:
    """As `load`, without a warning, for a caller that says itself what is unfinished."""
    path, on = Path(path), pick_device(device)
    record = read_record(path)
    history, unfinished = read_history(path), None
    if (path / WEIGHTS).is_file():  # of a run that is trained further, those that it had reached before
        weights, _ = read_tensors(path / WEIGHTS)
    elif record["status"] != "finished" and (path / CHECKPOINT).is_file():
        tensors, position = read_checkpoint(path)
        weights = part_of(tensors, "average") or part_of(tensors, "model")
        history = until(history, position["epoch"])
        what = _UNFINISHED.get(record["status"], f"has the status {record['status']!r}")
        epochs = f"{len(history)} of {record['training']['epochs']} epochs"
        unfinished = f"the training {what}; these are the weights of its last checkpoint, after {epochs}"
    else:
        raise DamagedFileError(_without_weights(path, record["status"]))
    model = rebuild_model(record, path) if model is None else model
    in_dtype(model, machine_of(record, path)["dtype"])
    load_weights(model, weights)
    move(model, on if device != "auto" or computes_in(on, model) else CPU)
    return Run(model.eval(), history, path, record, unfinished=unfinished)


def _without_weights(path: Path, status: str) -> str:
    if (path / CHECKPOINT).is_file():
        line = advice(f"nelbo.resume({str(path)!r})", f"nelbo fit --resume {path}")
        return f"{path} has no {WEIGHTS}, and its training is {status}; write them again: {line}"
    return (
        f"{path} has neither {WEIGHTS} nor a checkpoint: its training ({status}) did not come so far, or they were "
        "deleted; train it again in another directory"
    )


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a run's checkpoint, by part and name as in "model.encoder.0.weight", and its position.

    Raises:
        DamagedFileError: there is none, or it is damaged or foreign.
    """
    tensors, position = read_tensors(path / CHECKPOINT)
    counted = isinstance(position, dict) and all(isinstance(position.get(name), int) for name in ("epoch", "lines"))
    if not counted or "totals." not in tensors:
        raise DamagedFileError(f"{path / CHECKPOINT} holds tensors but no position: it is not a checkpoint of nelbo")
    return tensors, position


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of a checkpoint: model, optimizer, average, best or totals."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def read_record(path: Path) -> dict[str, Any]:
    """The content of a run's run.json.

    Raises:
        DamagedFileError: the directory is not a run, or one of another format; the message says what to do.
    """
    if not path.is_dir():
        raise DamagedFileError(
            f"{path} is not a directory; pass the run directory that nelbo fit --out wrote{_runs_near(path)}"
        )
    if not (path / RECORD).is_file():
        raise DamagedFileError(f"{path} has no {RECORD}, so it is not a run of nelbo{_runs_near(path)}")
    record = read_json(path / RECORD)
    if not isinstance(record, dict) or "training" not in record:
        raise DamagedFileError(f"{path / RECORD} is not the record of a run: it has no 'training'")
    if record.get("format") != FORMAT:
        versions = record.get("versions")
        writer = versions.get("nelbo", "that wrote it") if isinstance(versions, dict) else "that wrote it"
        raise DamagedFileError(
            f"{path / RECORD} has format {record.get('format', 'none')}, and this version of nelbo reads format "
            f"{FORMAT}; train the run again in another directory, or read it with nelbo {writer}"
        )
    for name, (kinds, words) in _ENTRIES.items():
        value = record.get(name, _ABSENT)
        if not isinstance(value, kinds):
            got = "nothing" if value is _ABSENT else repr(value)
            raise DamagedFileError(
                f"{path / RECORD} is damaged: {name!r} must be {words}, got {got}; copy it again or train anew"
            )
    for name, kind in _TRAINING.items():
        if not isinstance(record["training"].get(name), kind):
            raise DamagedFileError(
                f"{path / RECORD} is damaged: its 'training' must have {name!r} of type {kind.__name__}, got "
                f"{record['training'].get(name)!r}; copy it again or train anew"
            )
    return record


def state_of(path: Path, record: Mapping[str, Any]) -> str:
    """Whether a run is running, finished, interrupted (by Ctrl-C, or killed), not finite or failed."""
    status = str(record["status"])
    return status if status != "training" else "running" if is_held(path) else "interrupted"


def _runs_near(path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    near = sorted(str(p.parent) for p in folder.glob(f"*/{RECORD}"))[:8]
    return f". Runs near it: {', '.join(near)}" if near else ""


def rebuild_model(record: Mapping[str, Any], path: Path | None) -> Model:
    """The model that run.json describes, its weights not drawn yet."""
    made = record.get("recipe")
    if not made:
        raise ValueError(
            f"the run {path or 'in memory'} was trained on a model built by hand ({record.get('model', 'unknown')}); "
            f"build it again and write nelbo.load({str(path)!r}, model=vae), or nelbo.resume({str(path)!r}, model=vae) "
            "to train on"
        )
    try:
        return recipes.make(made["name"], **made["arguments"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"{(path or Path()) / RECORD}: its recipe cannot be built: {error}. Or build the model yourself and write "
            f"nelbo.load({str(path)!r}, model=vae)"
        ) from error


def rebuild_data(record: Mapping[str, Any], path: Path | None, *, instead: str | None = None) -> nelbo_data.Data:
    """The data that run.json describes, loaded from where they lay.

    Args:
        record: content of run.json.
        path: the run's directory, for messages.
        instead: the line to write where they are there no longer; by default the one that names data for a run.
    """
    origin = record.get("data")
    instead = instead or advice(
        f"nelbo.load({str(path)!r}, data='table.csv'), or other data, as in nelbo.measure.report(run, 'other.csv')",
        f"nelbo measure {path} DATA, and likewise embed, reconstruct and diagnose (of compare, studio and export: "
        "--data DATA)",
    )
    if not origin or not origin.get("source"):
        raise ValueError(
            f"the run {path or 'in memory'} was trained on data given in memory, which {RECORD} cannot name; "
            f"pass them again: {instead}"
        )
    try:
        return nelbo_data.rebuild(origin)
    except (FileNotFoundError, nelbo_data.ChangedError) as error:
        raise type(error)(f"{error}; or name the place where they lie now: {instead}") from error
    except TypeError as error:
        raise DamagedFileError(f"{(path or Path()) / RECORD} is damaged: its data cannot be loaded: {error}") from error


def read_history(path: Path) -> list[Epoch]:
    """The lines of metrics.jsonl; a last line without its end, which a crash cut short, is left out.

    Any other line that does not hold the numbers of an epoch is left out with a warning: the weights do not depend on
    it.
    """
    file = path / METRICS
    if not file.is_file():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    lines = [_epoch_of(line) for line in whole.split(b"\n")] if whole else []
    foreign = [str(number) for number, line in enumerate(lines, 1) if line is None]
    if foreign:
        shown = ", ".join(foreign[:SHOWN]) + (", ..." if len(foreign) > SHOWN else "")
        warnings.warn(
            f"{file}: {len(foreign)} of its {len(lines)} lines do not hold the numbers of an epoch and are left out "
            f"(line {shown})",
            stacklevel=3,
        )
    return [line for line in lines if line is not None]


def _epoch_of(line: bytes) -> Epoch | None:
    try:
        content = parse_json(line)
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("epoch"), int):
        return None
    return content if all(isinstance(value, int | float | None) for value in content.values()) else None


def until(history: Iterable[Epoch], epoch: int) -> list[Epoch]:
    """The lines of metrics.jsonl up to an epoch."""
    return [line for line in history if line["epoch"] <= epoch]


def write_history(path: Path, history: Iterable[Epoch]) -> None:
    """Write metrics.jsonl anew, whole."""
    write_bytes(path / METRICS, "".join(json_line(epoch) for epoch in history).encode())


def append_history(path: Path, epoch: Epoch) -> None:
    """Add a line to metrics.jsonl."""
    with naming(path / METRICS), (path / METRICS).open("a", encoding="utf-8") as file:
        file.write(json_line(epoch))


def flush_history(path: Path) -> None:
    """Make the lines so far durable: a checkpoint that counts on them is about to be written."""
    file = path / METRICS
    if file.is_file():
        with naming(file), file.open("ab") as lines:
            os.fsync(lines.fileno())


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights by name; a mismatch raises a ValueError that names the tensor and both shapes."""
    own = nn.Module.state_dict(model)  # placeholders will do: their names and shapes count
    missing, unknown = own.keys() - weights.keys(), weights.keys() - own.keys()
    if missing or unknown:
        raise ValueError(
            f"these weights belong to another model: missing {sorted(missing)[:5]}, unexpected {sorted(unknown)[:5]}; "
            "build the model with the arguments it was trained with"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"the weight {name!r} has shape {tuple(own[name].shape)} in this model and {tuple(tensor.shape)} in "
                "the file; build the model with the arguments it was trained with"
            )
    model.load_state_dict(dict(weights))


def machine_of(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The machine that a run was last trained on, as run.json describes it.

    Raises:
        DamagedFileError: the entry is missing, or one of its values has another type.
    """
    machines = record["machines"]
    entry = machines[-1] if machines and isinstance(machines[-1], dict) else {}
    for name, kind in _MACHINE.items():
        if not isinstance(entry.get(name), kind):
            raise DamagedFileError(
                f"{path / RECORD} is damaged: 'machines' must end with an object whose {name!r} is of type "
                f"{kind.__name__}, got {machines[-1:]}; copy it again or train anew"
            )
    return entry


def in_dtype(model: Model, dtype: str) -> None:
    """Bring a model into the precision that a run was trained in, if its weights have another one."""
    wanted = getattr(torch, dtype, None)
    tensors = nn.Module.state_dict(model).values()  # placeholders will do
    weight = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if weight is not None and isinstance(wanted, torch.dtype) and weight.dtype != wanted:
        model.to(wanted)
