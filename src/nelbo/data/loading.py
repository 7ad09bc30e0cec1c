"""Named sets, files and arrays become `Data`: training, validation and test set, and their origin."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data import arrays
from nelbo.data.assembling import assemble
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.layout import Layout
from nelbo.data.memory import parse_size, stays_on_disk
from nelbo.data.named import NAMED
from nelbo.data.on_disk import piece_bytes
from nelbo.data.preparation import Binarize, Preparation
from nelbo.data.source import Source, as_array, plain_dtype, sha256_of_arrays, sortable

_PIECES_IN_A_ROW_GROUP = 6
_FILES = ".npy, .npz, .csv, .parquet, or a folder of images or of the four MNIST files"


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
        origin: source, sha256 of its bytes, every option, sizes, notes: ready for JSON, and enough for
            `rebuild`.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    origin: dict[str, Any]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """What the model sees of one example: (channels, height, width) or (features,)."""
        return self.train.event_shape

    @property
    def preparation(self) -> Preparation:
        """What is done to stored values before the model sees them."""
        return self.train.preparation

    def __str__(self) -> str:
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{len(d):,} {name}" for name, d in parts.items() if d is not None)
        lines = [
            f"{self.origin.get('source') or 'an array'}: {sizes} examples of shape {self.event_shape}.",
            str(self.origin.get("looks", {}).get("sentence", "")),
            self.preparation.sentence,
            *(f"Note: {note}." for note in self.origin.get("notes", [])),
        ]
        return "\n".join(line for line in lines if line)


def load(
    source: str | Path,
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
    """Load a named set or a path.

    Nothing is resized, and whatever is done to the values is in ``data.preparation`` and ``data.origin``.

    Args:
        source: ``"mnist5k"``, ``"digits"``, ``"mnist"``, or the path of a .npy, .npz, .csv or .parquet file
            or a folder of images. Write ``"./mnist"`` for a path that has the name of a set.
        binarize: ``"dynamic"`` draws x ~ Bernoulli(value) afresh at each visit, ``"static"`` once by `seed`,
            ``"threshold"`` cuts at 0.5. Values must lie in [0, 1] after `scale`.
        dequantize: adds U[0, 1) to whole numbers, before scaling, afresh at each visit.
        standardize: subtracts the mean and divides by the standard deviation of the training set, per
            feature of a vector and per channel of an image. Constant features are divided by 1 and named in
            the notes.
        scale: factor on the values. ``"auto"``: 1/255 for 8-bit images (1/256 with `dequantize`) and other
            uint8 values that look like them, 1/16 for ``digits``, else 1. None leaves values as they are:
            what 8-bit likelihoods and counts want.
        validation: share (below 1) or number of examples held out of the training set; 0 for none.
        seed: of the split, of `limit` and of static binarization.
        limit: keeps that many examples, chosen by `seed`; of a test set, at most as many.
        layout: of images: ``"images"`` (n, height, width), ``"channels_first"``, ``"channels_last"``;
            ``"vectors"`` flattens each example; ``"as_is"`` takes the axes as they come; ``"auto"``
            recognizes clear cases.
        label: the column of a table that holds labels.
        columns: the columns of a table that are features; None takes all but `label`.
        key: the array of a .npz file to train on.
        on_disk: leaves a .npy or .parquet file on disk and reads it in shuffled pieces; None does so where
            the file is larger than a third of the available memory.
        memory: what an on-disk set may take, besides up to 24 bytes a row for the split.
        sha256: what the bytes are expected to hash to; another hash is an error.

    Returns:
        `Data`. Validation and test sets of dynamically binarized or dequantized data are drawn afresh at
        each visit as well; evaluate on ``data.validation.fixed(seed=0)`` or ``data.validation.take(n,
        seed=0)`` for numbers that can be compared.

    Raises:
        ValueError, TypeError: the data or the options cannot be meant; the message says what to write
            instead.
        FileNotFoundError: no such path or set.
    """
    options = locals().copy()
    del options["source"], options["sha256"]
    if not isinstance(source, (str, Path)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"load takes a name or a path; got {type(source).__name__}. Write as_data(x, ...) for values.")
    read = _read(
        source,
        label=label,
        columns=columns,
        key=key,
        on_disk=on_disk,
        memory=parse_size(memory),
    )
    name = source if _is_name(source) else str(Path(source).expanduser().absolute())
    return _build(read, name=str(name), options=options, sha256=sha256)


def as_data(
    source: "Data | Dataset | Tensor | NDArray[Any] | tuple[Any, Any] | str | Path",
    **options: Unpack[Options],
) -> Data:
    """Whatever holds examples as `Data`: a tensor, an array, (x, y), a name, a path, a `Dataset`, `Data`.

    Args:
        source: x is (n, features), (n, height, width), (n, channels, height, width) or (n, height, width,
            channels). Tensors and arrays are kept without a copy where they need no rearranging and nothing
            is held out.
        **options: those of `load`.

    Raises:
        TypeError: another type, or options for something that is prepared already.
    """
    if isinstance(source, (str, Path)):
        return load(source, **options)
    if isinstance(source, (Data, Dataset)):
        if options:
            raise TypeError(
                f"{', '.join(options)} given for a {type(source).__name__}, which is prepared already. "
                "Write the options where it is loaded: as_data(x, ...)."
            )
        if isinstance(source, Data):
            return source
        return Data(source, None, None, _origin_of(source))
    x, y = source if isinstance(source, tuple) else (source, None)
    if not isinstance(x, (Tensor, np.ndarray)) or not (y is None or isinstance(y, (Tensor, np.ndarray))):
        found = f"({type(x).__name__}, {type(y).__name__})" if isinstance(source, tuple) else type(x).__name__
        raise TypeError(
            f"got {found}; expected a tensor, an array, a pair (x, y) of them, the name of a set "
            f"({', '.join(NAMED)}) or a path. Write as_data(np.asarray(x)) for lists, "
            "as_data(table.to_numpy()) for a pandas table."
        )
    for name in ("label", "columns", "key", "on_disk"):
        if options.get(name) is not None:
            raise TypeError(f"{name}= is for files; got an array in memory. Drop it.")
    given: dict[str, Any] = {**_DEFAULTS, **options}
    if unknown := sorted(set(given) - set(_DEFAULTS) - {"sha256"}):
        raise TypeError(f"as_data has no option {unknown[0]!r}; it has {', '.join(_DEFAULTS)}.")
    expected = given.pop("sha256", None)
    values, labels = as_array(x), None if y is None else sortable(as_array(y))
    plain_dtype(values.dtype, name="x")  # of objects, the hash would be one of addresses
    digest = sha256_of_arrays(values, labels)
    return _build(Source(values, digest, y=labels), name=None, options=given, sha256=expected)


def rebuild(origin: dict[str, Any], source: Any = None) -> Data:
    """The very same data again, from the `origin` of some `Data`.

    Args:
        origin: as a run stores it.
        source: the array, for data that were an array; or where the file lies now.

    Raises:
        ValueError: the bytes have changed since, or the array is missing.
    """
    if source is None and origin.get("source") is None:
        raise ValueError(
            "these data were an array in memory, which no run stores. Write rebuild(origin, x) with the "
            "same x (or (x, y))."
        )
    where = origin["source"] if source is None else source
    if isinstance(where, Dataset):
        data = as_data(where)
        if data.origin["sha256"] != origin["sha256"]:
            raise ValueError("this is another Dataset than that of the origin: its bytes have another sha256.")
        return data
    return as_data(where, **origin["options"], sha256=origin["sha256"])


_DEFAULTS: dict[str, Any] = {k: v for k, v in (load.__kwdefaults__ or {}).items() if k != "sha256"}


def _build(read: Source, *, name: str | None, options: dict[str, Any], sha256: str | None) -> Data:
    if sha256 is not None and sha256 != read.sha256:
        raise ValueError(
            f"{name or 'the array'} has changed: sha256 {read.sha256[:16]}..., expected {sha256[:16]}.... "
            "Results of the earlier bytes do not hold for these; leave sha256 away to go on with the new "
            "ones."
        )
    if options["columns"] is not None:
        options = {**options, "columns": list(options["columns"])}
    train, validation, test, found = assemble(read, options)
    origin: dict[str, Any] = {"source": name, "sha256": read.sha256, "options": options, **found}
    return Data(train, validation, test, origin)


def _origin_of(dataset: Dataset) -> dict[str, Any]:
    digest = sha256_of_arrays(as_array(dataset.x)) if isinstance(dataset, InMemory) else None
    return {
        "source": None,
        "sha256": digest,
        "options": {},
        "sizes": {"train": len(dataset), "validation": 0, "test": 0},
        "event_shape": list(dataset.event_shape),
        "preparation": dataset.preparation.to_dict(),
        "notes": ["a Dataset was handed over as it is"],
    }


def _is_name(source: str | Path) -> bool:
    return isinstance(source, str) and source in NAMED


def _read(
    source: str | Path,
    *,
    key: str | None,
    label: str | None,
    columns: Sequence[str] | None,
    on_disk: bool | None,
    memory: int,
) -> Source:
    path = Path(source).expanduser()
    suffix = path.suffix.lower()
    table = suffix in (".csv", ".parquet", ".pq")
    for option, value, applies, what in (
        ("label", label, table, "tables"),
        ("columns", columns, table, "tables"),
        ("key", key, suffix == ".npz", ".npz files"),
        ("on_disk", on_disk or None, suffix in (".npy", ".parquet", ".pq"), ".npy and .parquet files"),
    ):
        if value is not None and (_is_name(source) or not applies):
            raise ValueError(f"{option}={value!r} is for {what}; got {str(source)!r}. Drop it.")
    if _is_name(source):
        return NAMED[str(source)]()
    if not path.exists():
        raise FileNotFoundError(_nothing_there(path, str(source)))
    if path.is_dir():
        return _read_folder(path)
    if suffix == ".npz":
        return arrays.read_npz(path, key=key)
    if suffix == ".npy":
        return arrays.read_npy(
            path, on_disk=stays_on_disk(path.stat().st_size, on_disk), piece_bytes=piece_bytes(memory)
        )
    if table:
        from nelbo.data import tables

        if suffix == ".csv":
            return tables.read_csv(path, label=label, columns=columns)
        # row groups are as large as their writer made them: larger pieces are let pass, which mix less
        largest = piece_bytes(memory) * _PIECES_IN_A_ROW_GROUP
        return tables.read_parquet(path, label=label, columns=columns, on_disk=on_disk, piece_bytes=largest)
    raise ValueError(f"{path.name}: nelbo reads {_FILES}. Write as_data(x) with x the values as an array.")


def _read_folder(folder: Path) -> Source:
    from nelbo.data import images, mnist

    return mnist.read_idx_folder(folder) if mnist.is_idx_folder(folder) else images.read_folder(folder)


def _nothing_there(path: Path, given: str) -> str:
    near = difflib.get_close_matches(given, NAMED, n=2)
    if path.parent.is_dir():
        siblings = [p.name for p in path.parent.iterdir()]
        near += [str(path.parent / name) for name in difflib.get_close_matches(path.name, siblings, n=3)]
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"there is no set and no path {given!r}. {hint}Sets: {', '.join(NAMED)}; paths: {_FILES}."
