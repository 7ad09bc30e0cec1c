"""Rows of equal shape: in an array, or in a file that is read in pieces because it is larger than memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.registry import check_choice
from nelbo.wording import advice

Layout = Literal["auto", "vectors", "images", "channels_first", "channels_last", "series", "as_is"]

_AXES = {
    "images": (3, "(n, height, width)"),
    "series": (3, "(n, time, sensors)"),
    "channels_first": (4, "four axes"),
    "channels_last": (4, "four axes"),
}
_COLOURS = (1, 3)
_SMALLEST = 4  # pixels along the side of an image that is recognized unasked
_NEAR = 1 << 15  # bytes between two rows that are read over rather than skipped
# torch computes with few unsigned types: the next wider signed one holds the same numbers
_WIDER = {"u2": "i4", "u4": "i8", "u8": "i8", "b1": "u1"}


class RowStore(ABC):
    """The stored values of n examples.

    Attributes:
        shape: of one row.
        dtype: of the values as they are handed out.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers, in this order, (len(rows), *shape)."""

    @abstractmethod
    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """All rows in order, a piece at a time, each piece with the number of its first row."""

    @abstractmethod
    def whole(self) -> NDArray[Any]:
        """All rows in order, (n, *shape)."""

    @abstractmethod
    def arranged(self, layout: Layout) -> "RowStore":
        """The same rows with their axes as `layout` says."""


class ArrayRows(RowStore):
    """The rows of an array: one piece, never copied as a whole.

    Args:
        array: (n, ...) of a type that torch computes with.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape[1:], array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return as_tensor(self.array).index_select(0, torch.from_numpy(rows)).numpy()  # numpy takes twice as long

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        yield 0, self.array

    def whole(self) -> NDArray[Any]:
        return self.array

    def arranged(self, layout: Layout) -> "ArrayRows":
        return ArrayRows(np.require(arrange(self.array, layout), requirements=["C"]))


class RowFile(RowStore):
    """The rows of a file, read in pieces.

    Attributes:
        path: of the file.
        in_memory: whether its rows are to be held in memory: they are gathered from the file once, into each set.
        held_bytes: memory taken by the open file itself.
        edges: (pieces + 1,) row numbers between which rows are read in one go: 0, ..., n.
    """

    path: Path
    in_memory: bool = False
    held_bytes: int = 0
    edges: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.edges[-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @abstractmethod
    def read(self, piece: int, out: NDArray[Any], *, keep: NDArray[np.bool_] | None = None) -> None:
        """Write the rows edges[piece] to edges[piece + 1] to `out`, or those of them that `keep` marks."""

    def piece(self, number: int) -> NDArray[Any]:
        """The rows edges[number] to edges[number + 1]."""
        out = np.empty((int(self.edges[number + 1] - self.edges[number]), *self.shape), dtype=self.dtype)
        self.read(number, out)
        return out

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        for i, start in enumerate(self.edges[:-1].tolist()):
            yield start, self.piece(i)

    def whole(self) -> NDArray[Any]:
        out = np.empty((len(self), *self.shape), dtype=self.dtype)
        for i, start in enumerate(self.edges[:-1].tolist()):
            self.read(i, out[start : int(self.edges[i + 1])])
        return out


@dataclass(eq=False, kw_only=True)
class NpyRows(RowFile):
    """The rows of a .npy file, by plain reads: pages of a memory map would count as memory of the process.

    Args:
        path: of the file.
        stored_dtype: type of the values in the file.
        dtype: type of the values as they are handed out.
        stored_shape: shape of one row in the file.
        n: number of rows.
        offset: of the first row, in bytes.
        piece_bytes: about the number of bytes to read in one go.
        layout: how the axes of a row are arranged.
        in_memory: see `RowFile`.
    """

    path: Path
    stored_dtype: np.dtype[Any]
    dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    n: int
    offset: int
    piece_bytes: int
    layout: Layout = "as_is"
    in_memory: bool = False

    def __post_init__(self) -> None:
        self.shape = arrange(np.empty((1, *self.stored_shape), dtype=np.uint8), self.layout).shape[1:]
        self._bytes = int(np.prod(self.stored_shape, dtype=np.int64)) * self.stored_dtype.itemsize
        self._rows_a_piece = max(1, self.piece_bytes // max(1, self._bytes))
        self.edges = np.append(np.arange(0, self.n, self._rows_a_piece, dtype=np.int64), self.n)

    def arranged(self, layout: Layout) -> "NpyRows":
        return replace(self, layout=layout)

    def read(self, piece: int, out: NDArray[Any], *, keep: NDArray[np.bool_] | None = None) -> None:
        start, stop = self.edges[piece : piece + 2].tolist()
        if keep is None and self.layout not in ("channels_last", "series") and self.stored_dtype == self.dtype:
            self._fill(out, start, stop)  # the bytes are in order: no copy on the way
        else:
            values = self._rows(start, stop)
            out[...] = values if keep is None else values[keep]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of a piece that lie close together are read in one go."""
        out = np.empty((len(rows), *self.shape), dtype=self.dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        far = np.diff(ascending) > 1 + _NEAR // max(1, self._bytes)
        elsewhere = np.diff(ascending // self._rows_a_piece) > 0
        for here in np.split(order, np.flatnonzero(far | elsewhere) + 1) if len(rows) else []:
            first, last = int(rows[here[0]]), int(rows[here[-1]])
            out[here] = self._rows(first, last + 1)[rows[here] - first]
        return out

    def _rows(self, start: int, stop: int) -> NDArray[Any]:
        values = np.empty((stop - start, *self.stored_shape), dtype=self.stored_dtype)
        self._fill(values, start, stop)
        return arrange(values.astype(self.dtype, copy=False), self.layout)

    def _fill(self, values: NDArray[Any], start: int, stop: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + start * self._bytes)
            # one read may return less than asked for: Linux ends each at 2 GiB
            view = values.reshape(-1).view(np.uint8).data
            while len(view):
                n = file.readinto(view)
                if not n:
                    raise ValueError(
                        f"{self.path.name} ends before row {stop:,}, which its header promises: it has been cut short "
                        "or is being written; write it again with np.save"
                    )
                view = view[n:]


def plain_dtype(dtype: np.dtype[Any], *, name: str) -> np.dtype[Any]:
    """The type that holds the same numbers and that torch computes with, in native byte order; uint64 becomes int64.

    Raises:
        TypeError: objects, text, dates, complex numbers or more than 64 bits.
    """
    if dtype.kind == "O":
        raise TypeError(
            f"{name} must hold numbers, got Python objects, which only pickle can store; if its rows have equal "
            "length, write np.stack([np.asarray(row, dtype=np.float32) for row in x])"
        )
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(
            f"{name} must hold booleans, integers or floats of at most 64 bits, got dtype {dtype}; write "
            "x.astype(np.float32), or encode the values as numbers first"
        )
    wider = _WIDER.get(dtype.kind + str(dtype.itemsize))
    return np.dtype(wider) if wider else dtype.newbyteorder("=")


def plain(x: NDArray[Any], *, name: str) -> NDArray[Any]:
    """The same numbers in a type that torch computes with; see `plain_dtype`.

    Raises:
        TypeError: there is none.
    """
    dtype = plain_dtype(x.dtype, name=name)
    if x.dtype.kind == "u" and x.dtype.itemsize == 8 and x.size and int(x.max()) > np.iinfo(np.int64).max:
        most = int(x.max())
        raise TypeError(f"{name} must be below 2^63, got uint64 values up to {most}; write x.astype(np.float64)")
    return x.astype(dtype, copy=False)


def as_tensor(x: NDArray[Any]) -> Tensor:
    """An array as a tensor, without a copy where possible."""
    return torch.from_numpy(np.require(x, requirements=["C", "W"]))


def mask(n: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of n rows are among `rows`, (n,)."""
    marked = np.zeros(n, dtype=np.bool_)
    marked[rows] = True
    return marked


def choose_layout(shape: tuple[int, ...], layout: Layout, *, signed: bool = False) -> tuple[Layout, str | None]:
    """The layout of arrays of `shape` (n, ...), never ``"auto"``, and a note where axes are added or moved.

    Args:
        shape: of the array.
        layout: as it was given.
        signed: whether some values are negative, which those of images seldom are.

    Raises:
        ValueError: the layout is unknown, does not fit, or is ``"auto"`` and unclear.
    """
    check_choice("layout", layout, get_args(Layout))
    chosen = _recognize(shape, signed) if layout == "auto" else layout
    axes, words = _AXES.get(chosen, (max(2, len(shape)), "(n, ...)"))
    if len(shape) != axes:
        raise ValueError(f"layout={chosen!r} expects an array of {words}, got shape {shape}")
    note = {
        "images": f"images (n, {', '.join(map(str, shape[1:]))}) got a channel axis: (n, 1, height, width)",
        "channels_last": f"channels moved from the last axis to the first: {shape[1:]} to {(shape[-1], *shape[1:-1])}",
        "series": f"series of {shape[-1]} sensors at {shape[1]} times became (n, sensors, time)" * (len(shape) == 3),
        "vectors": f"axes {shape[1:]} flattened into one" if len(shape) > 2 else None,
    }.get(chosen)
    return chosen, note


def arrange(x: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """x: (n, ...) with its axes as `layout` (never ``"auto"``) says, as a view where possible."""
    if layout == "images":
        return x[:, None]
    if layout == "channels_last":
        return x.transpose(0, 3, 1, 2)
    if layout == "series":
        return x.transpose(0, 2, 1)
    return x.reshape(len(x), -1) if layout == "vectors" else x


def _recognize(shape: tuple[int, ...], signed: bool) -> Layout:
    if len(shape) == 1:
        column, row = (f"x.reshape{axes}" for axes in ("(-1, 1)", "(1, -1)"))
        raise ValueError(
            f"the data have shape {shape}, whose one axis may be examples or features; write "
            f"{advice(column, f'the file again in Python, np.save(path, {column}),')} for {shape[0]} examples of one "
            f"feature, or {row} for one example of {shape[0]} features"
        )
    if len(shape) == 2:
        return "as_is"
    if len(shape) == 3 and min(shape[1:]) >= _SMALLEST and not signed:
        return "images"
    if len(shape) == 4 and (shape[1] in _COLOURS) != (shape[3] in _COLOURS):
        return "channels_first" if shape[1] in _COLOURS else "channels_last"
    negative = " and negative values" if signed else ""
    raise ValueError(
        f"the data have shape {shape}{negative}, and it is unclear which axis is which; write layout='vectors' "
        "(flatten each example), 'images' (n, height, width), 'series' (n, time, sensors), 'channels_first' (n, "
        "channels, height, width), 'channels_last' (n, height, width, channels) or 'as_is' (the network takes this "
        "shape)"
    )
