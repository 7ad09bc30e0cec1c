"""What a reader hands over, and the registry of readers."""

import hashlib
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.rows import RowFile, as_tensor
from nelbo.progress import ProgressBar
from nelbo.wording import said

_BLOCK = 1 << 22  # bytes hashed at a time

READERS: dict[str, Callable[..., "Source"]] = {}
_Read = TypeVar("_Read", bound=Callable[..., "Source"])


@dataclass
class Source:
    """Stored values, and what their reader knows about them.

    Args:
        x: (n, ...) values, or a file of rows that stays on disk.
        sha256: of the bytes the values came from.
        y: (n,) labels as numbers or text, or None.
        c: (n, *condition) what the model is conditioned on, or None.
        test: (x, y) of a test set that the source itself sets apart.
        top: the value that means 1 (255 for 8-bit images), or None where the source does not tell.
        features: names of the columns.
        types: what each of them holds, in arrow's words, such as "int64"; None where they were not a table's.
        kinds: what each column of a mixed table is (`nelbo.data.kinds.ColumnKind`), or None of another source.
        clear_layout: whether the axes are (n, channels, height, width) for certain.
        notes: what was done to the values while they were read.
    """

    x: NDArray[Any] | RowFile
    sha256: str
    y: NDArray[Any] | None = None
    c: Tensor | None = None
    test: tuple[NDArray[Any], NDArray[Any] | None] | None = None
    top: int | None = None
    features: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    kinds: Mapping[str, Any] | None = None
    clear_layout: bool = False
    notes: list[str] = field(default_factory=list[str])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (n, ...) of the values as they are stored."""
        return (len(self.x), *self.x.shape) if isinstance(self.x, RowFile) else self.x.shape


class ChangedError(ValueError):
    """Data whose bytes are others than those that a run was trained on."""


class RefusedError(ValueError):
    """Values that can be read, and are none to train on."""


@contextmanager
def reading(name: str, kind: str, expected: str) -> Generator[None]:
    """Within, what a library raises of a file becomes one error that names the file.

    Libraries meet bytes that are not theirs with errors of any kind: an OverflowError or a RecursionError from a
    header, a SyntaxError or a struct.error from an image, a NotImplementedError from an archive.

    Args:
        name: of the file.
        kind: what it is read as, such as "a table".
        expected: what it should be, or what to do.

    Raises:
        ValueError: it cannot be read; a RefusedError stays as it is.
        MemoryError: it does not fit into memory.
    """
    try:
        yield
    except RefusedError:
        raise
    except MemoryError as error:
        raise MemoryError(str(error) if name in str(error) else f"{name}: {error}") from error
    except Exception as error:
        raise ValueError(f"{name} cannot be read as {kind}: {said(error)}. {expected}") from error


def reader(*kinds: str) -> Callable[[_Read], _Read]:
    """Register a function that reads a kind of file, so that :func:`nelbo.data.load` does.

    The function takes a path and, as keyword arguments, those of label, columns, key, on_disk and memory (in bytes)
    that mean something for its files; any other one given to load is an error.

    Args:
        *kinds: ends of names in lower case, such as ``".csv"`` or ``".csv.gz"``; ``"folder"`` is a directory.

    >>> @reader(".dat")
    ... def read_dat(path: Path, *, columns: list[str] | None = None) -> Source:
    ...     return Source(np.loadtxt(path, usecols=columns), sha256_of_file(path))
    """

    def register(read: _Read) -> _Read:
        READERS.update(dict.fromkeys(kinds, read))
        return read

    return register


def options_of(read: Callable[..., Source]) -> set[str]:
    """The options that a reader takes."""
    return {p.name for p in inspect.signature(read).parameters.values() if p.kind == p.KEYWORD_ONLY}


def sha256_of_arrays(*arrays: NDArray[Any] | None) -> str:
    """Hash type, shape and bytes of each array, in order."""
    digest = hashlib.sha256()
    for a in arrays:
        if a is None:
            digest.update(b"none")
            continue
        digest.update(f"{a.dtype.str}{a.shape}".encode())
        # an array with moved axes is copied block by block, not whole
        step = max(1, _BLOCK // max(1, a[:1].nbytes))
        for i in range(0, len(a), step):
            digest.update(a[i : i + step].tobytes())
    return digest.hexdigest()


def sha256_of_examples(x: NDArray[Any], y: NDArray[Any] | None = None, *, c: Tensor | None = None) -> str:
    """Hash examples with what came beside them."""
    return sha256_of_arrays(x, y, *([] if c is None else [as_array(c)]))


def sha256_of_file(path: Path) -> str:
    """Hash the bytes of a file."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    bar = ProgressBar(f"checking {path.name}", path.stat().st_size, size=True)
    with path.open("rb", buffering=0) as file, bar:
        while n := file.readinto(buffer):
            digest.update(view[:n])
            bar.advance(n)
    return digest.hexdigest()


def as_array(x: Tensor | NDArray[Any]) -> NDArray[Any]:
    """A tensor or array as an array, without a copy where possible."""
    if not isinstance(x, Tensor):
        return x
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def sortable(y: NDArray[Any]) -> NDArray[Any]:
    """Labels as numbers or text: Python objects could be neither sorted nor hashed."""
    return y if y.dtype.kind in "biufUS" else y.astype(str)


def as_labels(
    y: NDArray[Any] | None, *, n: int, names: tuple[str, ...] | None = None
) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Labels as numbers, (n,), and what they stand for where they were text.

    Args:
        y: (n,) or (n, 1) labels, or None.
        n: expected number of labels.
        names: what the numbers stand for already, in another set of the same source.

    Raises:
        ValueError: y has another length or more than one axis.
    """
    if y is None:
        return None, names
    y = sortable(y)
    if y.shape == (n, 1):
        y = y[:, 0]
    if y.shape != (n,):
        raise ValueError(
            f"labels must have shape ({n},) for {n:,} examples, got {y.shape}; if they are one-hot, write "
            "y.argmax(axis=1)"
        )
    if y.dtype.kind in "iubf":  # a float may be a measured quantity, which colours a figure
        return as_tensor(y.astype(np.float32 if y.dtype.kind == "f" else np.int64)), names
    text = y.astype(str).tolist()
    names = (*(names or ()), *sorted(set(text).difference(names or ())))
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[t] for t in text]), names
