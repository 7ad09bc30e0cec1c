"""numpy files: one array (.npy) or several (.npz), never a pickle."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.row_files import NpyRows
from nelbo.data.source import Source, plain_dtype, sha256_of_file

_KERAS = ("x_train", "y_train", "x_test", "y_test")


def read_npy(path: Path, *, on_disk: bool, piece_bytes: int) -> Source:
    """The array of a .npy file, in memory or left on disk."""
    if on_disk:
        return Source(open_rows(path, piece_bytes), sha256_of_file(path))
    with path.open("rb") as file:
        return Source(_load(path, np.ndarray, file), sha256_of_file(path))


def open_rows(path: Path, piece_bytes: int) -> NpyRows:
    """The rows of a .npy file, unread.

    Raises:
        ValueError: the array has no rows, or its values are ordered by columns.
    """
    mapped = _load(path, np.ndarray, mmap_mode="r")
    if not mapped.ndim:
        raise ValueError(f"{path.name} holds one number; expected (n, ...).")
    if not mapped.flags.c_contiguous:
        raise ValueError(
            f"{path.name} is stored column by column (Fortran order), so its rows cannot be read in pieces. "
            "Write it again by rows: np.save('rows.npy', np.ascontiguousarray(np.load(path, "
            "mmap_mode='r')))."
        )
    return NpyRows(
        path,
        stored=mapped.dtype,
        plain=plain_dtype(mapped.dtype, name=path.name),
        shape=mapped.shape[1:],
        n=len(mapped),
        offset=mapped.offset,
        piece_bytes=piece_bytes,
    )


def read_npz(path: Path, *, key: str | None = None) -> Source:
    """Arrays of a .npz file: x_train and so on as in Keras; or x, y; or the only one; or that named by `key`.

    Raises:
        ValueError: none of these, or no such key.
    """
    with path.open("rb") as file, _load(path, np.lib.npyio.NpzFile, file) as held:
        names = list(held.files)
        if key is not None and key not in names:
            raise ValueError(
                f"{path.name} has no array {key!r}; it has {_shapes(path, names)}. Write key='{names[0]}'."
            )
        if key is not None or len(names) == 1:
            return Source(_member(held, path, key or names[0]), sha256_of_file(path))
        arrays = {n: _member(held, path, n) for n in names if n in (*_KERAS, "x", "y")}
    if "x_train" in arrays:
        test = (arrays["x_test"], arrays.get("y_test")) if "x_test" in arrays else None
        return Source(arrays["x_train"], sha256_of_file(path), y=arrays.get("y_train"), test=test)
    if set(names) == {"x", "y"}:
        return Source(arrays["x"], sha256_of_file(path), y=arrays["y"])
    if not names:
        raise ValueError(f"{path.name} holds no array.")
    raise ValueError(
        f"{path.name} holds {_shapes(path, names)}; expected x_train (with y_train, x_test, y_test), or x "
        f"and y, or one array. Write key='{names[0]}' to train on that one."
    )


def _load(path: Path, kind: type, file: Any = None, **options: Any) -> Any:
    try:
        # an open file is closed by its owner; numpy leaves one that it opened itself to the garbage collector
        held = np.load(path if file is None else file, allow_pickle=False, **options)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as e:
        raise _refused(path, e) from e
    if not isinstance(held, kind):
        raise ValueError(f"{path.name} holds a numpy {type(held).__name__}; rename it to .npy or .npz, as it is.")
    return held


def _member(held: Any, path: Path, name: str) -> NDArray[Any]:
    try:
        return held[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as e:
        raise _refused(path, e, name) from e


def _refused(path: Path, error: Exception, name: str = "") -> ValueError:
    where = f"{path.name}{f' [{name}]' if name else ''}"
    if "pickle" in str(error).lower() or "object" in str(error).lower():
        return ValueError(
            f"{where} holds Python objects (a pickle), which nelbo never loads: a pickle can run any code. "
            f"If you trust the file, convert it once: x = np.load({path.name!r}, allow_pickle=True); "
            "np.save('plain.npy', np.stack([np.asarray(row, dtype=np.float32) for row in x]))."
        )
    return ValueError(
        f"{where} cannot be read as a numpy file: {error}. It may be cut short; write it again with np.save."
    )


def _shapes(path: Path, names: list[str]) -> str:
    # the header tells the shape without reading the values
    found: list[str] = []
    with zipfile.ZipFile(path) as held:
        for name in names:
            with held.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                found.append(f"{name} {header(file)[0]}")
    return ", ".join(found)
