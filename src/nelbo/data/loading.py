"""Named sets, files and arrays become `Data`: training, validation and test set, and their origin."""

import difflib
import functools
import math
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from torch import Tensor

from nelbo.data import arrays, images, tables
from nelbo.data.assembling import arranged, assemble
from nelbo.data.batch import Batch, as_batch
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.delimited import COMPRESSIONS
from nelbo.data.features import Features, units_that_changed
from nelbo.data.kinds import ColumnKind, treatments
from nelbo.data.named import NAMED
from nelbo.data.objects import of_array, reader_of
from nelbo.data.parquet import FOLDER, is_address, is_parquet_folder
from nelbo.data.preparation import Binarize, Preparation
from nelbo.data.rows import Layout
from nelbo.data.sizes import parse_size
from nelbo.data.source import READERS, ChangedError, Source, as_array, options_of, sha256_of_examples
from nelbo.data.streamed import Streamed, is_function_of_epochs, taken
from nelbo.data.summary import Missing
from nelbo.registry import check_choice
from nelbo.wording import advice, listed

_BUILT_IN = (arrays, images, tables)  # to import them registers their readers
_OF_TABLES = ("__arrow_c_stream__", "columns", "column_names", "var_names")  # frames, Hugging Face, AnnData
_PANDAS = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "excel({})"),
    ".json": "json({})",
    **dict.fromkeys((".jsonl", ".ndjson"), "json({}, lines=True)"),
    **dict.fromkeys((".feather", ".arrow"), "feather({})"),
    ".dta": "stata({})",
    ".sav": "spss({})",
    ".sas7bdat": "sas({})",
}
"""How pandas reads tables that nelbo does not: what follows read_."""
_OF_READERS = ("label", "columns", "types", "key", "on_disk", "memory")


class Options(TypedDict, total=False):
    """The options of `load`, which explains them."""

    binarize: Binarize | None
    dequantize: bool
    standardize: bool
    scale: float | Literal["auto"] | None
    validation: Any  # a share or a number, or beside a Dataset the examples themselves
    seed: int
    limit: int | None
    layout: Layout
    label: str | None
    columns: Sequence[str] | None
    types: Mapping[str, str] | None
    missing: Missing
    key: str | None
    on_disk: bool | None
    memory: str | int
    sha256: str | None


@dataclass(frozen=True)
class Data:
    """A training set, what was held out, and where they came from.

    Args:
        train: the examples to train on.
        validation: examples held out of the training set, or None.
        test: examples that the source itself sets apart, or None.
        origin: source, its sha256, every option, sizes, notes: ready for JSON, and enough for `rebuild`.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    origin: dict[str, Any]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example as the model sees it: (channels, height, width) or (features,)."""
        return self.train.event_shape

    @property
    def preparation(self) -> Preparation:
        """The steps from stored values to what the model sees."""
        return self.train.preparation

    @property
    def kinds(self) -> dict[str, ColumnKind]:
        """What each column of a mixed table is; empty of other data."""
        return {name: ColumnKind.from_dict(kind) for name, kind in (self.origin.get("kinds") or {}).items()}

    @property
    def missing(self) -> int:
        """The number of values that were not observed, which are NaN."""
        return (self.origin.get("summary") or {}).get("nan", 0)

    def __str__(self) -> str:
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{len(d):,} {name}" for name, d in parts.items() if d is not None)
        lines = [
            f"{self.origin.get('source') or 'an array'}: {sizes} examples of shape {self.event_shape}.",
            "" if self.kinds else str(self.origin.get("summary", {}).get("sentence", "")),
            treatments(self.kinds.values()) if self.kinds else self.preparation.sentence,
            *(f"  {name}: {kind}" for name, kind in self.kinds.items()),
            *(f"Note: {note}." for note in self.origin.get("notes", [])),
        ]
        return "\n".join(line for line in lines if line)


def load(
    source: Any,
    *,
    binarize: Binarize | None = None,
    dequantize: bool = False,
    standardize: bool = False,
    scale: float | Literal["auto"] | None = "auto",
    validation: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
    layout: Layout = "auto",
    label: str | None = None,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    missing: Missing = None,
    key: str | None = None,
    on_disk: bool | None = None,
    memory: str | int = "1GiB",
    sha256: str | None = None,
) -> Data:
    """Load a named set, a file, a folder or an array.

    Nothing is resized, and whatever is done to the values is in ``data.preparation`` and ``data.origin``.

    Args:
        source: ``"mnist5k"``, ``"digits"``, ``"mnist"``; the path of a .npy, .npz, .csv, .tsv, .txt or .parquet file
            or of a folder of images (write ``"./mnist"`` for a path that has the name of a set); a folder of .parquet
            files, which are one table in the order of their paths, or the address of one that ``pyarrow.fs`` opens,
            such as ``"s3://bucket/folder"``; a tensor or array x, a pair (x, y) with labels, or a Batch of x with
            labels and a condition c for each example. x is (n, features), (n, height, width), (n, channels, height,
            width) or (n, height, width, channels), and is kept without a copy where it needs no rearranging and nothing
            is held out. Nested lists, sparse matrices, frames of pandas, polars, Arrow or DuckDB, columns in a dict,
            map-style sets of torch (or their DataLoader) and of Hugging Face, and AnnData are read into memory, with
            the names of their columns.
        binarize: ``"dynamic"`` draws x ~ Bernoulli(value) afresh at each visit, ``"static"`` once by `seed`,
            ``"threshold"`` cuts at 0.5. Values must lie in [0, 1] after `scale`.
        dequantize: adds U[0, 1) to integers, before scaling, afresh at each visit.
        standardize: subtracts the mean and divides by the standard deviation of the training set, per feature of a
            vector and per channel of an image. Constant features are divided by 1 and named in the notes.
        scale: factor on the values. ``"auto"``: 1/255 for 8-bit images (1/256 with `dequantize`) and other uint8 values
            that look like them, 1/65535 or 1/4095 for images of 16 or 12 bits, 1/16 for ``digits``, else 1. 1 leaves
            values as they are, for 8-bit likelihoods and counts.
        validation: share (below 1) or number of examples held out of the training set; 0 for none.
        seed: of the split, of `limit` and of static binarization.
        limit: keeps that many examples, chosen by `seed`; of a test set, at most as many.
        layout: of images: ``"images"`` (n, height, width), ``"channels_first"``, ``"channels_last"``; ``"series"`` (n,
            time, sensors) becomes (n, sensors, time), so that each sensor is standardized by itself; ``"vectors"``
            flattens each example; ``"as_is"`` takes the axes as they come; ``"auto"`` recognizes clear cases.
        label: the column of a table that holds labels. It is no feature, unless `types` gives its kind.
        columns: the columns of a table that are features; by default all but `label`, which must be numbers. ``"all"``
            takes a mixed table as it is: what each column holds (real numbers, counts, categories, ...) is told from
            its values, each is scaled by itself, and what cannot be learned from is left out and named.
        types: of a mixed table, by column, where it is another than is told from the values: ``"real"``,
            ``"positive"``, ``"bounded"``, ``"count"``, ``"binary"`` or ``"categorical"``; all others as by
            ``columns="all"``, unless `columns` names some.
        missing: ``"observed"`` leaves empty cells and NaN as NaN, which count as not observed; by default they are an
            error, but in a mixed table.
        key: the array of a .npz file to train on.
        on_disk: leaves a .npy or .parquet file, or a folder of .parquet files, where it is and reads it in shuffled
            pieces; by default where its rows take more than a third of the available memory.
        memory: the memory that an on-disk set may take, besides up to 24 bytes a row for the split.
        sha256: the expected hash of the bytes; another hash is an error. Of a folder of .parquet files, and of an
            address, it is the hash of the names and sizes of the files and of the metadata at their ends: to hash all
            bytes would be to read them all.

    Returns:
        `Data`. Validation and test sets of dynamically binarized or dequantized data are drawn afresh at each visit as
        well; evaluate on ``data.validation.fixed(seed=0)`` or ``data.validation.take(n, seed=0)`` for numbers that can
        be compared.

    Raises:
        ValueError, TypeError: the data or the options are invalid; the message tells what to write instead.
        FileNotFoundError: there is no such path or set.
    """
    options: dict[str, Any] = {name: value for name, value in locals().items() if name not in ("source", "sha256")}
    options["columns"] = _columns(columns, types)
    options["types"] = None if types is None else dict(types)
    if options["columns"] == tables.ALL and missing is None:
        options["missing"] = "observed"
    check_choice("missing", missing, (None, "observed"))
    what, name, read = _reader(source)
    takes = options_of(read)
    for option in _OF_READERS:
        if option not in takes and options[option] not in (None, False) and option != "memory":
            kinds = ", ".join(_suffixes({k: r for k, r in READERS.items() if option in options_of(r)}))
            raise ValueError(f"{option}={options[option]!r} applies to {kinds}, got {what}; drop it")
    stored = _read(read, options)
    if sha256 not in (None, stored.sha256):
        raise ValueError(
            f"{what} has changed: its sha256 is {stored.sha256}, expected {sha256}. Results of the earlier bytes do "
            "not hold for these; leave out sha256= to continue with the new ones"
        )
    return _assembled(name, stored, options)


def as_data(
    source: Any,
    **options: Unpack[Options],
) -> Data:
    """Whatever holds examples as `Data`: what `load` takes, a `Dataset`, or `Data`.

    Args:
        source: see `load`; a Dataset becomes the training set, as it is; a function from the number of an epoch to an
            iterable of batches becomes a `Streamed`; Data stay as they are.
        **options: those of `load`. Of a Dataset or a function, of which nothing is held out, ``validation`` alone: the
            examples to validate on, x, a pair (x, labels), a Batch, a Dataset or a function, as they are.

    Raises:
        TypeError: another type, or options for something that is prepared already.
        ValueError: the examples to validate on are a number, or of another shape.
    """
    if is_function_of_epochs(source):
        source = Streamed(source)
    if not isinstance(source, (Data, Dataset)):
        return load(source, **options)
    held = options.pop("validation", 0) if isinstance(source, Dataset) else 0
    if options:
        raise TypeError(
            f"{', '.join(options)} cannot apply to a {type(source).__name__}, which is prepared already; pass the "
            "options where it is loaded: nelbo.data.load(x, ...)"
        )
    if isinstance(source, Data):
        return source
    validation = _validation(held, source)
    origin: dict[str, Any] = {
        "source": None,
        "sha256": _hash_of(source),
        "options": {},
        "sizes": {"train": len(source), "validation": 0 if validation is None else len(validation), "test": 0},
        "event_shape": list(source.event_shape),
        "preparation": source.preparation.to_dict(),
        "notes": _notes_on(source),
    }
    if validation is not None:
        origin["validation_sha256"] = _hash_of(validation)
    return Data(source, validation, None, origin)


def _validation(held: Any, train: Dataset) -> Dataset | None:
    """The examples to validate on that were given beside a data set."""
    if held is None or (isinstance(held, int | float) and not held):
        return None
    if isinstance(held, int | float):
        raise ValueError(
            f"validation={held!r} was given for a {type(train).__name__}, which is used as it is; leave it out, or "
            "write the examples to validate on, validation=x"
        )
    if is_function_of_epochs(held):
        held = Streamed(held)
    if not isinstance(held, Dataset):
        batch = taken(held, "validation")
        held = InMemory(batch.x, preparation=train.preparation, c=batch.c, labels=batch.labels, stream=1)
    if held.event_shape != train.event_shape:
        raise ValueError(
            f"validation must hold examples of shape {train.event_shape}, as the training set does, got "
            f"{held.event_shape}"
        )
    return held


def _hash_of(dataset: Dataset) -> str | None:
    """The hash of the examples of a data set, or of the first of them; None where they are not the same again."""
    known = dataset.head if isinstance(dataset, Streamed) and dataset.repeats else dataset
    return sha256_of_examples(as_array(known.x), c=known.c) if isinstance(known, InMemory) else None


def _notes_on(dataset: Dataset) -> list[str]:
    if not isinstance(dataset, Streamed):
        return ["a Dataset was given, and is used as it is"]
    notes = [f"a function of the epoch gives {len(dataset):,} examples in each, which are used as they are"]
    if dataset.counted:
        write = f"nelbo.data.Streamed(batches, examples={len(dataset)})"
        notes.append(f"they were counted by going through epoch 0, which {write} leaves out")
    if not dataset.repeats:
        notes.append(
            "batches(0) gave other examples when it was called again: a run that is interrupted will go on, but not to "
            "the same weights; seed what is drawn there by the epoch"
        )
    return notes


def rebuild(origin: dict[str, Any], source: Any = None, *, validation: Any = None) -> Data:
    """Load the very same data again, from the `origin` of some `Data`.

    Args:
        origin: as a run stores it.
        source: the array, for data that were an array; where the file lies now; or a data set or function of epochs,
            which must be the same.
        validation: the examples to validate on, where they were given beside a data set.

    Raises:
        ValueError: the data have changed since, in a way that the message describes, or the array is missing.
        FileNotFoundError: the file is not where it was.
    """
    where = origin.get("source") if source is None else source
    if where is None:
        raise ValueError(
            "these data were an array in memory, which runs do not store; write rebuild(origin, x) with the same x (or "
            "(x, y))"
        )
    if source is None and where not in NAMED and not (is_address(where) or Path(where).exists()):
        raise FileNotFoundError(f"{where}, on which the run was trained, does not exist; put it back")
    if is_function_of_epochs(where):
        where = Streamed(where, examples=(origin.get("sizes") or {}).get("train"))
    if isinstance(where, Data | Dataset):
        given = as_data(where) if validation is None else as_data(where, validation=validation)
        with _from_record(AttributeError, KeyError, TypeError):
            return _given(origin, given)
    reader = _reader(where)
    if validation is not None:
        raise ValueError("validation was given, and the run held out a part of its data; leave it out")
    with _from_record(AttributeError, KeyError, TypeError):
        return _read_again(origin, *reader, elsewhere=source is not None)


@contextmanager
def _from_record(*errors: type[Exception]) -> Generator[None]:
    """Within, entries of a record are used that nothing else has checked: their errors become a ValueError."""
    try:
        yield
    except errors as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"the record of the data is damaged: {lacks}; copy run.json again, or train anew") from error


def _given(origin: dict[str, Any], data: Data) -> Data:
    got, name = data.origin, "validation_sha256"
    if name in origin and got.get(name, "") != origin[name]:
        raise ChangedError(
            "the run was validated on examples that were given beside its data; pass the same again: validation=x, or "
            "data with them, nelbo.data.as_data(data, validation=x)"
        )
    if name in got and name not in origin:
        raise ChangedError("the run was given no examples to validate on; leave out validation=")
    _refuse_changed(origin, "the data set", got.get("sha256"), (sum(got.get("sizes", {}).values()), *data.event_shape))
    return data


def _read_again(
    origin: dict[str, Any], what: str, name: str | None, read: Callable[..., Source], *, elsewhere: bool
) -> Data:
    if not origin["options"]:
        raise ValueError(
            "the run was trained on a Dataset, and how its examples were read is not recorded; pass the same Dataset"
        )
    stored = _read(read, {**origin["options"], "known": _texts(origin)})
    _refuse_changed(origin, what, stored.sha256, stored.shape, stored.features, elsewhere=elsewhere and bool(name))
    return _assembled(name, stored, origin["options"])


def prepared_like(origin: dict[str, Any], source: Any, *, in_order: bool = False) -> Data:
    """Load all examples of another source as those of `origin` were loaded, with the same columns and preparation.

    Columns are taken by name. Of columns that are left out, and of values whose mean or spread suggests other units, a
    warning tells.

    Args:
        origin: of some `Data`, as a run stores it.
        source: what `load` takes; an array without names is taken by position.
        in_order: whether they are read one part after the other; what can be read in parts then stays on disk.

    Returns:
        Data whose training set holds all of them.

    Raises:
        ValueError: its examples have another shape or lack a column, or their values do not allow the preparation.
    """
    with _from_record(AttributeError, KeyError):
        options = origin.get("options")
        if options and in_order:
            origin = {**origin, "options": {**options, "on_disk": True, "in_order": True}}
        return _prepared(origin, *_stored_like(origin, source))


def judged_by(origin: dict[str, Any], source: Any) -> Data | Dataset:
    """The data of `origin` themselves, where a source holds their very bytes, else all examples of `prepared_like`."""
    with _from_record(AttributeError, KeyError):
        name, stored = _stored_like(origin, source)
        if stored.sha256 == origin.get("sha256"):
            return _assembled(name, stored, origin["options"])
        return _prepared(origin, name, stored).train


def is_named(x: Any) -> bool:
    """Whether x is a path, the name of a set or a table: values as they are stored, not as a model sees them."""
    if isinstance(x, str | Path | Mapping):
        return True
    return not isinstance(x, Tensor | np.ndarray | Dataset) and any(hasattr(x, name) for name in _OF_TABLES)


def seen_by(model: Any, x: Any) -> Any:
    """x, or of a path, the name of a set or a table beside a run: its rows in order, as the run sees them."""
    examples = getattr(model, "examples", None)
    return as_batch(examples(x)) if examples is not None and is_named(x) else x


def _stored_like(origin: dict[str, Any], source: Any) -> tuple[str | None, Source]:
    """The name to record of a source, and its values in the columns and of the shape of those of `origin`."""
    if not origin.get("options"):
        raise ValueError(
            "the run was trained on a Dataset, and how its examples were read is not recorded; prepare others in the "
            "same way and pass them in Python: nelbo.measure.report(run, examples)"
        )
    what, name, read = _reader(source)
    features, takes = origin.get("features"), options_of(read)
    options: dict[str, Any] = {**origin["options"], "columns": Features(features) if features else None}
    options["known"] = _texts(origin)
    if origin.get("kinds"):
        options["types"] = {column: ColumnKind.from_dict(kind) for column, kind in origin["kinds"].items()}
        if not (origin.get("summary") or {}).get("nan"):
            options["missing"] = None  # the model takes none
    if name is None:
        instead = "pass examples like those"
    else:
        train_on_it = advice(f"nelbo.fit(model, {str(source)!r})", f"nelbo fit {source}")
        instead = f"pass examples like those, or train another run on these: {train_on_it}"
    try:
        stored = _read(read, options)
    except ValueError as error:
        if not (features and "columns" in takes):
            raise
        raise ValueError(f"{error}. The run was trained on the columns {listed(features)}; {instead}") from error
    expected, got = tuple(origin["event_shape"]), arranged(stored, options["layout"])[0].shape
    if got != expected:
        raise ValueError(
            f"{what} must hold examples of shape {expected}, as the run was trained on, got an array of shape "
            f"{stored.shape}; {instead}"
        )
    return name, stored


def _texts(origin: dict[str, Any]) -> dict[str, bool]:
    """Whether the columns that a run was trained on hold texts, by name."""
    kinds = origin.get("kinds") or {}
    return {
        name: name in kinds and any(isinstance(category, str) for category in kinds[name]["categories"])
        for name in origin.get("features") or ()
    }


def _prepared(origin: dict[str, Any], name: str | None, stored: Source) -> Data:
    """All examples of other stored values, prepared as those of `origin`."""
    options: dict[str, Any] = {**origin["options"], "validation": 0, "limit": None}
    data = _assembled(name, stored, options, label_names=origin.get("label_names"), to_train=False)
    known = origin.get("moments") or origin.get("preparation")
    changed = units_that_changed(known, data.origin["moments"], n=len(data.train), names=origin.get("features"))
    notes = [] if changed is None else [changed]
    unseen = (data.origin["label_names"] or [])[len(origin.get("label_names") or []) :]
    if origin.get("label_names") and unseen:
        notes.append(f"labels that the run was not trained with: {listed(unseen)}")
    for note in notes:
        warnings.warn(note, stacklevel=2)
    # by mean and standard deviation of the run's training set, not of these examples
    if options["standardize"] or origin.get("kinds"):
        data.train.preparation = Preparation.from_dict(origin["preparation"])
    return data


def _read(read: Callable[..., Source], options: dict[str, Any]) -> Source:
    """Read with those of the options that the reader takes."""
    sized = {**options, "memory": parse_size(options["memory"])}
    return read(**{option: sized.get(option) for option in options_of(read)})


def _assembled(
    name: str | None,
    stored: Source,
    options: dict[str, Any],
    *,
    label_names: Sequence[str] | None = None,
    to_train: bool = True,
) -> Data:
    train, validation, test, record = assemble(stored, options, label_names=label_names, to_train=to_train)
    return Data(train, validation, test, {"source": name, "sha256": stored.sha256, "options": options, **record})


def _refuse_changed(
    origin: dict[str, Any],
    what: str,
    sha256: str | None,
    shape: tuple[int, ...],
    features: tuple[str, ...] | None = None,
    *,
    elsewhere: bool = False,
) -> None:
    """Raise a ValueError that tells how data differ from those of an origin, if their bytes do."""
    if sha256 == origin["sha256"]:
        return
    event, sizes = tuple(origin["event_shape"]), origin["sizes"]
    each = math.prod(event)
    values = (origin.get("summary") or {}).get("values")
    before = values // each if isinstance(values, int) else sum(sizes.values())
    columns = list(features or ())
    if columns != (origin.get("features") or columns):
        how = f"the columns were {listed(origin['features'])}, and are {listed(columns)}"
    elif math.prod(shape[1:]) != each:
        how = f"the examples had shape {event}, and the data have shape {shape}"
    elif shape[0] != before:
        how = f"there were {before:,} examples, and are {shape[0]:,}"
    else:
        how = "shape and number of examples are the same, values or labels are not"
    where = what if elsewhere else origin.get("source")
    new = advice(f"nelbo.fit(model, {where!r})", f"nelbo fit {where}") if where else "nelbo.fit(model, x)"
    if elsewhere:
        changed, restore = f"{what} is not what the run was trained on", "Pass the data that it was trained on"
    else:
        changed, restore = f"{what} has changed since the run was trained on it", "Restore the data as they were"
    raise ChangedError(f"{changed}: {how}. {restore}, or train a new run on these: {new}")


def _reader(source: Any) -> tuple[str, str | None, Callable[..., Source]]:
    """A source in words, the name to record, and the function that reads it."""
    if is_function_of_epochs(source):
        raise TypeError("a function of the epoch is not loaded; pass it to nelbo.fit, or to nelbo.data.as_data")
    if not isinstance(source, (str, Path)):
        if isinstance(source, Batch):
            batch = as_batch(source)
            return "the array in memory", None, functools.partial(of_array, batch.x, batch.labels, batch.c)
        read = reader_of(source)
        if read is None:
            got = type(source).__name__
            if isinstance(source, tuple):
                got = f"({', '.join(type(part).__name__ for part in source)})"
            raise TypeError(
                "data must be a tensor, an array, a list, a frame of pandas, polars or Arrow, a data set of torch, a "
                f"pair (x, y) of examples and labels, a Batch, the name of a set ({', '.join(NAMED)}) or a path, got "
                f"{got}; pass np.asarray(examples, dtype=np.float32), or table.to_numpy() of a table"
            )
        array = isinstance(source, Tensor | np.ndarray | tuple)
        return f"the {'array' if array else type(source).__name__} in memory", None, read
    if isinstance(source, str) and source in NAMED:
        return f"the set {source!r}", source, NAMED[source]
    if is_address(source):
        return str(source), str(source), functools.partial(READERS[FOLDER], source)
    path = Path(source).expanduser()
    packed = f"text packed as {', '.join(COMPRESSIONS)}"
    files = f"{', '.join(_suffixes(READERS))}, {packed}, or a folder of images or of the MNIST files"
    if not path.exists():
        near = difflib.get_close_matches(str(source), NAMED, n=2)
        if path.parent.is_dir():
            siblings = [p.name for p in path.parent.iterdir()]
            near += [str(path.parent / name) for name in difflib.get_close_matches(path.name, siblings, n=3)]
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        sets = ", ".join(NAMED)
        raise FileNotFoundError(f"there is no set and no path {str(source)!r}. {hint}Sets: {sets}; paths: {files}")
    name = path.name.lower()
    # the longest end of the name: .csv.gz is more than .gz
    ends = sorted((kind for kind in READERS if kind.startswith(".") and name.endswith(kind)), key=len)
    kind = next(reversed(ends), "")
    if path.is_dir():
        kind = FOLDER if is_parquet_folder(path) else "folder"
    if not kind:
        how = "of other files, read the values into an array x and " + advice(
            "pass the array instead", "convert it: np.save('data.npy', x) in Python"
        )
        if path.suffix.lower() in _PANDAS:
            frame = "pd.read_" + _PANDAS[path.suffix.lower()].format(repr(str(source)))
            how = advice(f"pass {frame}", f"write it as text: {frame}.to_csv('{path.stem}.csv', index=False) in Python")
        raise ValueError(f"{path.name} must be one of {files}; {how}")
    return path.name, str(path.absolute()), functools.partial(READERS[kind], path)


def _columns(columns: Sequence[str] | None, types: Mapping[str, str] | None) -> list[str] | str | None:
    """The names of columns, or "all" of a mixed table, which a shell gives as a list of one."""
    if columns is None:
        return None if types is None else tables.ALL
    return tables.ALL if columns == tables.ALL or list(columns) == [tables.ALL] else list(columns)


def _suffixes(kinds: Iterable[str]) -> list[str]:
    """Those of the kinds of files that end in one suffix, not in that of a compression behind another."""
    return [kind for kind in kinds if kind.count(".") == 1]
