"""Named sets, files and arrays become `Data`: training, validation and test set, and their origin."""

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data import arrays, images, tables
from nelbo.data.assembling import assemble
from nelbo.data.batch import Batch, as_batch
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.named import NAMED
from nelbo.data.preparation import Binarize, Preparation
from nelbo.data.rows import Layout, plain_dtype
from nelbo.data.sizes import parse_size
from nelbo.data.source import READERS, Source, as_array, options_of, sha256_of_arrays, sortable

_BUILT_IN = (arrays, images, tables)  # to import them registers their readers


class Options(TypedDict, total=False):
    """The options of `load`, which explains them."""

    binarize: Binarize | None
    dequantize: bool
    standardize: bool
    scale: float | Literal["auto"] | None
    validation: float
    seed: int
    limit: int | None
    layout: Layout
    label: str | None
    columns: Sequence[str] | None
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
        origin: source, sha256 of its bytes, every option, sizes, notes: ready for JSON, and enough for `rebuild`.
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

    def __str__(self) -> str:
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{len(d):,} {name}" for name, d in parts.items() if d is not None)
        lines = [
            f"{self.origin.get('source') or 'an array'}: {sizes} examples of shape {self.event_shape}.",
            str(self.origin.get("summary", {}).get("sentence", "")),
            self.preparation.sentence,
            *(f"Note: {note}." for note in self.origin.get("notes", [])),
        ]
        return "\n".join(line for line in lines if line)


def load(
    source: "str | Path | Tensor | NDArray[Any] | tuple[Any, Any] | Batch",
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
    key: str | None = None,
    on_disk: bool | None = None,
    memory: str | int = "1GiB",
    sha256: str | None = None,
) -> Data:
    """Load a named set, a file, a folder or an array.

    Nothing is resized, and whatever is done to the values is in ``data.preparation`` and ``data.origin``.

    Args:
        source: ``"mnist5k"``, ``"digits"``, ``"mnist"``; the path of a .npy, .npz, .csv or .parquet file or of a folder
            of images (write ``"./mnist"`` for a path that has the name of a set); a tensor or array x, a pair (x, y)
            with labels, or a Batch of x with labels and a condition c for each example. x is (n, features), (n, height,
            width), (n, channels, height, width) or (n, height, width, channels), and is kept without a copy where it
            needs no rearranging and nothing is held out.
        binarize: ``"dynamic"`` draws x ~ Bernoulli(value) afresh at each visit, ``"static"`` once by `seed`,
            ``"threshold"`` cuts at 0.5. Values must lie in [0, 1] after `scale`.
        dequantize: adds U[0, 1) to integers, before scaling, afresh at each visit.
        standardize: subtracts the mean and divides by the standard deviation of the training set, per feature of a
            vector and per channel of an image. Constant features are divided by 1 and named in the notes.
        scale: factor on the values. ``"auto"``: 1/255 for 8-bit images (1/256 with `dequantize`) and other uint8 values
            that look like them, 1/16 for ``digits``, else 1. None leaves values as they are, for 8-bit likelihoods and
            counts.
        validation: share (below 1) or number of examples held out of the training set; 0 for none.
        seed: of the split, of `limit` and of static binarization.
        limit: keeps that many examples, chosen by `seed`; of a test set, at most as many.
        layout: of images: ``"images"`` (n, height, width), ``"channels_first"``, ``"channels_last"``; ``"vectors"``
            flattens each example; ``"as_is"`` takes the axes as they come; ``"auto"`` recognizes clear cases.
        label: the column of a table that holds labels.
        columns: the columns of a table that are features; None takes all but `label`.
        key: the array of a .npz file to train on.
        on_disk: leaves a .npy or .parquet file on disk and reads it in shuffled pieces; None does so where the file is
            larger than a third of the available memory.
        memory: the memory that an on-disk set may take, besides up to 24 bytes a row for the split.
        sha256: the expected hash of the bytes; another hash is an error.

    Returns:
        `Data`. Validation and test sets of dynamically binarized or dequantized data are drawn afresh at each visit as
        well; evaluate on ``data.validation.fixed(seed=0)`` or ``data.validation.take(n, seed=0)`` for numbers that can
        be compared.

    Raises:
        ValueError, TypeError: the data or the options are invalid; the message tells what to write instead.
        FileNotFoundError: there is no such path or set.
    """
    preparing = {"binarize": binarize, "dequantize": dequantize, "standardize": standardize, "scale": scale}
    splitting = {"validation": validation, "seed": seed, "limit": limit, "layout": layout}
    names = None if columns is None else list(columns)
    reading = {"label": label, "columns": names, "key": key, "on_disk": on_disk, "memory": memory}
    name, what, read = _reader(source)
    takes = options_of(read)
    for option, value in reading.items():
        if option not in takes and value not in (None, False) and option != "memory":
            kinds = ", ".join(kind for kind, other in READERS.items() if option in options_of(other))
            raise ValueError(f"{option}={value!r} applies to {kinds}, got {what}; drop it")
    given = {**reading, "memory": parse_size(memory)}
    stored = read(**{option: value for option, value in given.items() if option in takes})
    if sha256 is not None and sha256 != stored.sha256:
        raise ValueError(
            f"{name or 'the array'} has changed: sha256 {stored.sha256[:16]}..., expected {sha256[:16]}.... Results of "
            "the earlier bytes do not hold for these; leave out sha256 to continue with the new ones"
        )
    options = {**preparing, **splitting, **reading}
    train, held_out, test, record = assemble(stored, options)
    return Data(train, held_out, test, {"source": name, "sha256": stored.sha256, "options": options, **record})


def as_data(
    source: "Data | Dataset | Batch | Tensor | NDArray[Any] | tuple[Any, Any] | str | Path",
    **options: Unpack[Options],
) -> Data:
    """Whatever holds examples as `Data`: what `load` takes, a `Dataset`, or `Data`.

    Args:
        source: see `load`; a Dataset becomes the training set, with nothing held out; Data stay as they are.
        **options: those of `load`.

    Raises:
        TypeError: another type, or options for something that is prepared already.
    """
    if not isinstance(source, (Data, Dataset)):
        return load(source, **options)
    if options:
        raise TypeError(
            f"{', '.join(options)} cannot apply to a {type(source).__name__}, which is prepared already; give the "
            "options where it is loaded: as_data(x, ...)"
        )
    if isinstance(source, Data):
        return source
    origin: dict[str, Any] = {
        "source": None,
        "sha256": _hash(as_array(source.x), c=source.c) if isinstance(source, InMemory) else None,
        "options": {},
        "sizes": {"train": len(source), "validation": 0, "test": 0},
        "event_shape": list(source.event_shape),
        "preparation": source.preparation.to_dict(),
        "notes": ["a Dataset was given, and is used as it is"],
    }
    return Data(source, None, None, origin)


def rebuild(origin: dict[str, Any], source: Any = None) -> Data:
    """Load the very same data again, from the `origin` of some `Data`.

    Args:
        origin: as a run stores it.
        source: the array, for data that were an array; or where the file lies now.

    Raises:
        ValueError: the bytes have changed since, or the array is missing.
    """
    if source is None and origin.get("source") is None:
        raise ValueError(
            "these data were an array in memory, which runs do not store; write rebuild(origin, x) with the same x (or "
            "(x, y))"
        )
    where = origin["source"] if source is None else source
    if not isinstance(where, Dataset):
        return load(where, **origin["options"], sha256=origin["sha256"])
    data = as_data(where)
    if data.origin["sha256"] != origin["sha256"]:
        raise ValueError("source must be the Dataset of the origin, got another one: its bytes have another sha256")
    return data


def _reader(source: Any) -> tuple[str | None, str, Callable[..., Source]]:
    """The name to record, what it is in words, and what reads it."""
    if not isinstance(source, (str, Path)):
        x, y = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
        c = None
        if isinstance(source, Batch):
            batch = as_batch(source)
            x, y, c = batch.x, batch.labels, batch.c
        if not isinstance(x, (Tensor, np.ndarray)) or not isinstance(y, (Tensor, np.ndarray, type(None))):
            got = f"({type(x).__name__}, {type(y).__name__})" if isinstance(source, tuple) else type(x).__name__
            raise TypeError(
                "data must be a tensor, an array, a pair (x, y) of them, a Batch, the name of a set "
                f"({', '.join(NAMED)}) or a path, got {got}; write as_data(np.asarray(x)) for lists, "
                "as_data(table.to_numpy()) for a pandas table"
            )
        return None, "an array in memory", functools.partial(_read_arrays, x, y, c)
    if isinstance(source, str) and source in NAMED:
        return source, f"the set {source!r}", NAMED[source]
    path = Path(source).expanduser()
    files = f"{', '.join(kind for kind in READERS if kind != 'folder')}, or a folder of images or of the MNIST files"
    if not path.exists():
        near = difflib.get_close_matches(str(source), NAMED, n=2)
        if path.parent.is_dir():
            siblings = [p.name for p in path.parent.iterdir()]
            near += [str(path.parent / name) for name in difflib.get_close_matches(path.name, siblings, n=3)]
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        sets = ", ".join(NAMED)
        raise FileNotFoundError(f"there is no set and no path {str(source)!r}. {hint}Sets: {sets}; paths: {files}")
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in READERS:
        raise ValueError(f"{path.name} must be one of {files}; for other files write as_data(x) with x an array")
    return str(path.absolute()), path.name, functools.partial(READERS[kind], path)


def _read_arrays(x: Tensor | NDArray[Any], y: Tensor | NDArray[Any] | None, c: Tensor | None) -> Source:
    values, labels = as_array(x), None if y is None else sortable(as_array(y))
    plain_dtype(values.dtype, name="x")  # of objects, the hash would be one of addresses
    return Source(values, _hash(values, labels, c=c), y=labels, c=c)


def _hash(*arrays: NDArray[Any] | None, c: Tensor | None) -> str:
    return sha256_of_arrays(*arrays, *([] if c is None else [as_array(c)]))
