"""What a reader hands over: stored values as they are, and what it knows about them."""

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.progress import progress
from nelbo.data.row_files import RowFile

_BLOCK = 1 << 22  # bytes hashed at a time
_LONG = 1 << 30  # bytes whose reading is worth a progress bar
# torch computes with few unsigned types: the next wider signed one holds the same numbers
_WIDER = {"u2": "i4", "u4": "i8", "u8": "i8", "b1": "u1"}


@dataclass
class Source:
    """Stored values, and what their reader knows about them.

    Args:
        x: (n, ...) values, or a file of rows that stays on disk.
        sha256: of the bytes the values came from.
        y: (n,) labels as whole numbers, or None.
        test: (x, y) of a test set that the source itself sets apart.
        top: the value that means 1 (255 for 8-bit images), or None where the source does not say.
        features: names of the columns.
        label_names: what the labels stand for.
        clear_layout: the axes are (n, channels, height, width) for certain.
        notes: what was done to the values while they were read.
    """

    x: NDArray[Any] | RowFile
    sha256: str
    y: NDArray[Any] | None = None
    test: tuple[NDArray[Any], NDArray[Any] | None] | None = None
    top: int | None = None
    features: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    clear_layout: bool = False
    notes: list[str] = field(default_factory=list[str])


def sha256_of_arrays(*arrays: NDArray[Any] | None) -> str:
    """Of type, shape and bytes of each array, in order."""
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


def sha256_of_file(path: Path) -> str:
    """Of the bytes of a file."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    size = path.stat().st_size
    with (
        path.open("rb", buffering=0) as file,
        progress(f"checking {path.name}", total=size, size=True) if size > _LONG else nullcontext() as advance,
    ):
        while n := file.readinto(buffer):
            digest.update(view[:n])
            if advance is not None:
                advance(n)
    return digest.hexdigest()


def plain_dtype(dtype: np.dtype[Any], *, name: str) -> np.dtype[Any]:
    """A type torch computes with that holds the same numbers, in native byte order; uint64 becomes int64.

    Raises:
        TypeError: objects, text, dates, complex numbers or more than 64 bits.
    """
    if dtype.kind == "O":
        raise TypeError(
            f"{name} is an array of Python objects, which only pickle can store; expected numbers. If its "
            "rows have equal length, write np.stack([np.asarray(row, dtype=np.float32) for row in x])."
        )
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(
            f"{name} has dtype {dtype}; expected bool, integers or floats of at most 64 bits. Write "
            "x.astype(np.float32), or encode what the values mean as numbers first."
        )
    wider = _WIDER.get(dtype.kind + str(dtype.itemsize))
    return np.dtype(wider) if wider else dtype.newbyteorder("=")


def plain(x: NDArray[Any], *, name: str) -> NDArray[Any]:
    """The same numbers in a type torch computes with; see `plain_dtype`.

    Raises:
        TypeError: there is none.
    """
    dtype = plain_dtype(x.dtype, name=name)
    if x.dtype.kind == "u" and x.dtype.itemsize == 8 and x.size and int(x.max()) > np.iinfo(np.int64).max:
        raise TypeError(
            f"{name} has uint64 values up to {int(x.max())}; expected below 2^63. Write x.astype(np.float64)."
        )
    return x.astype(dtype, copy=False)


def as_array(x: Tensor | NDArray[Any]) -> NDArray[Any]:
    """A tensor or array as an array, without a copy where possible."""
    if not isinstance(x, Tensor):
        return x
    x = x.detach().cpu()
    return (x.to(torch.float32) if x.dtype == torch.bfloat16 else x).numpy()


def as_tensor(x: NDArray[Any]) -> Tensor:
    """An array as a tensor, without a copy where possible."""
    return torch.from_numpy(np.require(x, requirements=["C", "W"]))


def sortable(y: NDArray[Any]) -> NDArray[Any]:
    """Labels as numbers or text: what lies behind references could be neither sorted nor hashed."""
    return y if y.dtype.kind in "biufUS" else y.astype(str)


def as_labels(
    y: NDArray[Any], *, n: int, names: tuple[str, ...] | None = None
) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    """Labels as numbers, (n,), and what they stand for where they were text.

    Args:
        y: (n,) or (n, 1) labels.
        n: how many are expected.
        names: what the numbers stand for already, in another set of the same source.

    Raises:
        ValueError: y has another length or more than one axis.
    """
    y = sortable(y)
    if y.shape == (n, 1):
        y = y[:, 0]
    if y.shape != (n,):
        raise ValueError(
            f"labels have shape {y.shape} for {n:,} examples; expected ({n},). Write y.argmax(axis=1) if "
            "they are one-hot."
        )
    if y.dtype.kind in "iub":
        return y.astype(np.int64), None
    if y.dtype.kind == "f":  # a colour in a figure may be a measured quantity
        return y.astype(np.float32), None
    text = y.astype(str)
    known = list(names or ())
    known += sorted(set(text.tolist()) - set(known))
    number = {name: i for i, name in enumerate(known)}
    return np.array([number[t] for t in text.tolist()], dtype=np.int64), tuple(known)
