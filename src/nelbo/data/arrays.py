"""numpy files: one array (.npy) or several (.npz), never a pickle."""

import math
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nelbo.data.on_disk import piece_bytes
from nelbo.data.rows import NpyRows, plain_dtype
from nelbo.data.sizes import check_fits, show_size, stays_on_disk
from nelbo.data.source import RefusedError, Source, reader, reading, sha256_of_file

_KERAS = ("x_train", "y_train", "x_test", "y_test")


@reader(".npy")
def read_npy(path: Path, *, on_disk: bool | None = None, memory: int = 1 << 30) -> Source:
    """The rows of a .npy file, which are read when they are gathered.

    Raises:
        ValueError: the file is not one of numpy's; or it stays on disk and has no rows, or its values are ordered by
            columns.
    """
    stays = stays_on_disk(path.stat().st_size, on_disk)
    mapped = _load(path, np.ndarray, mmap_mode="r")
    if not stays and (mapped.ndim < 2 or not mapped.flags.c_contiguous or mapped.dtype.str[1:] == "u8"):
        with path.open("rb") as file:  # u8: whether its values fit into 63 bits is seen of the whole
            return Source(_load(path, np.ndarray, file), sha256_of_file(path))
    if not mapped.ndim:
        raise ValueError(f"{path.name} must hold an array (n, ...), got one number")
    if not mapped.flags.c_contiguous:
        raise ValueError(
            f"{path.name} must be stored row by row to be read in pieces, got column by column (Fortran order); write "
            "it again: np.save('rows.npy', np.ascontiguousarray(np.load(path, mmap_mode='r')))"
        )
    rows = NpyRows(
        path=path,
        stored_dtype=mapped.dtype,
        dtype=plain_dtype(mapped.dtype, name=path.name),
        stored_shape=mapped.shape[1:],
        n=len(mapped),
        offset=mapped.offset,
        piece_bytes=piece_bytes(memory),
        in_memory=not stays,
    )
    return Source(rows, sha256_of_file(path))


@reader(".npz")
def read_npz(path: Path, *, key: str | None = None) -> Source:
    """Read a .npz file: x_train and so on as in Keras; or x and y; or its only array; or the one named by `key`.

    Raises:
        ValueError: none of these, or no such key.
    """
    with path.open("rb") as file, _load(path, np.lib.npyio.NpzFile, file) as archive:
        names = list(archive.files)
        if not names:
            raise ValueError(f"{path.name} holds no array")
        if key is not None and key not in names:
            raise ValueError(f"{path.name} has no array {key!r}; it has {_shapes(path, names)}")
        if key is not None or len(names) == 1:
            return Source(_member(archive, path, key or names[0]), sha256_of_file(path))
        arrays = {n: _member(archive, path, n) for n in names if n in (*_KERAS, "x", "y")}
    if "x_train" in arrays:
        test = (arrays["x_test"], arrays.get("y_test")) if "x_test" in arrays else None
        return Source(arrays["x_train"], sha256_of_file(path), y=arrays.get("y_train"), test=test)
    if set(names) == {"x", "y"}:
        return Source(arrays["x"], sha256_of_file(path), y=arrays["y"])
    raise ValueError(
        f"{path.name} must hold x_train (with y_train, x_test, y_test), or x and y, or one array, got "
        f"{_shapes(path, names)}; write key='{names[0]}' to train on that one"
    )


def _load(path: Path, kind: type, file: Any = None, **options: Any) -> Any:
    if kind is np.ndarray:
        _check_promise(path)
    with _readable(path.name):
        # an open file is closed by its owner; numpy leaves one that it opened itself to the garbage collector
        loaded = np.load(path if file is None else file, allow_pickle=False, **options)
    if not isinstance(loaded, kind):
        raise ValueError(f"{path.name} holds a numpy {type(loaded).__name__}; rename it to .npy or .npz accordingly")
    return loaded


def _member(archive: Any, path: Path, name: str) -> NDArray[Any]:
    with _readable(called := f"{path.name} [{name}]"):
        stored = archive.zip.getinfo(f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name)
        with archive.zip.open(stored) as file:
            header = _Header.read(file)
        if header.size > stored.file_size:
            raise ValueError(header.promise(stored.file_size))
        check_fits(
            header.size,
            f"{called} promises values of shape {header.shape}",
            "Write them to a .npy file, which can stay on disk",
        )
        return archive[name]


class _Header(NamedTuple):
    """What the first bytes of an array in numpy's format promise."""

    shape: tuple[int, ...]
    size: int
    """Bytes of header and values; of the header alone where the values are Python objects."""

    @classmethod
    def read(cls, file: Any) -> "_Header":
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if min(shape, default=0) < 0:
            raise ValueError(f"its header promises values of shape {shape}")
        return cls(shape, file.tell() + (0 if dtype.hasobject else math.prod(shape) * dtype.itemsize))

    def promise(self, size: int) -> str:
        """In words, for a file of another size."""
        return f"its header promises {show_size(self.size)}, values of shape {self.shape}, and it has {size:,} bytes"


def _check_promise(path: Path) -> None:
    """Raise a ValueError where a .npy file is shorter than its header says: numpy would allocate all of it first."""
    with _readable(path.name), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            return  # another file's, of which numpy says what it is
        file.seek(0)
        header, size = _Header.read(file), path.stat().st_size
        if header.size > size:
            raise ValueError(header.promise(size))


@contextmanager
def _readable(name: str) -> Generator[None]:
    """Within, an error of numpy's becomes one that tells what to do about the file."""
    with reading(name, "a numpy file", "It may be cut short; write it again with np.save"):
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            if not any(word in str(error).lower() for word in ("pickle", "object")):
                raise
            raise RefusedError(
                f"{name} holds Python objects (a pickle), which nelbo never loads: a pickle can run any code. If you "
                "trust the file, convert it once: x = np.load(path, allow_pickle=True); np.save('plain.npy', "
                "np.stack([np.asarray(row, dtype=np.float32) for row in x]))"
            ) from error


def _shapes(path: Path, names: list[str]) -> str:
    # the header tells the shape without reading the values
    shapes: list[str] = []
    with zipfile.ZipFile(path) as archive, _readable(path.name):
        for name in names:
            with archive.open(f"{name}.npy") as file:
                shapes.append(f"{name} {_Header.read(file).shape}")
    return ", ".join(shapes)
