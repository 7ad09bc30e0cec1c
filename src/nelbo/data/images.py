"""A folder of images of equal size and colour; the names of subfolders become labels."""

import hashlib
import io
import math
import warnings
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.named import is_idx_folder, read_idx_folder
from nelbo.data.sizes import available_memory, show_size
from nelbo.data.source import RefusedError, Source, reader, reading
from nelbo.progress import ProgressBar
from nelbo.wording import advice, listed

_SUFFIXES = (".png", ".jpg", ".jpeg")
_MEMORY_SHARE = 0.5  # of the available memory that the pixels may take
_AT_A_TIME = 256  # images read ahead of the one being stored
_GREY, _COLOUR = "L", "RGB"
_READ_AS = {"1": _GREY, "L": _GREY, "RGB": _COLOUR, "P": _COLOUR, "RGBA": _COLOUR, "LA": _GREY}


@reader("folder")
def read_folder(folder: Path) -> Source:
    """Read the four MNIST files of a folder, or the images in it and its subfolders, ordered by path.

    Raises:
        ValueError: no image, images of different size or colour, with transparency or more than 8 bits a channel.
        MemoryError: they do not fit.
    """
    if is_idx_folder(folder):
        return read_idx_folder(folder)
    paths = sorted(p for p in folder.rglob("*") if is_image(p.relative_to(folder)) and p.is_file())
    if not paths:
        kinds = sorted({path.suffix or path.name for path in folder.iterdir() if path.is_file()})
        mend = "; write its tables into one file" if ".csv" in kinds else ""
        if (folder / "run.json").is_file():
            mend = advice(
                f"; it is a run: nelbo.resume({str(folder)!r})", f"; it is a run: nelbo fit --resume {folder}"
            )
        raise ValueError(
            f"{folder.name}/ must hold images ({', '.join(_SUFFIXES)}), .parquet files or the four MNIST files, got "
            f"{listed(kinds) if kinds else 'none'}{mend}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of an image with 90 million pixels: what matters is the memory
        return _read_images(folder, paths)


def _read_images(folder: Path, paths: list[Path]) -> Source:
    with _opened(paths[0].name, paths[0].read_bytes()) as image:
        shape = _shape(image, paths[0].name)
    needed, free = math.prod(shape) * len(paths), available_memory()
    if needed > _MEMORY_SHARE * free:
        raise MemoryError(
            f"{len(paths):,} images of shape {shape} take {show_size(needed)}, more than half of the "
            f"{show_size(free)} available; write them to a .npy file, which nelbo trains on from disk: x = "
            f"np.lib.format.open_memmap('images.npy', mode='w+', dtype=np.uint8, shape={(len(paths), *shape)}), "
            "then x[i] = image for each"
        )

    def decoded(path: Path) -> tuple[str, NDArray[np.uint8]]:
        data = path.read_bytes()
        with _opened(path.name, data) as image:
            if (got := _shape(image, path.name)) != shape:  # by its header, before its pixels take memory
                raise RefusedError(_differs(folder, path, got, paths[0], shape))
            return hashlib.sha256(data).hexdigest(), _pixels(image, path.name)

    x = np.empty((len(paths), *shape), dtype=np.uint8)
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as pool, ProgressBar(f"reading {folder.name}", len(paths)) as bar:
        for start in range(0, len(paths), _AT_A_TIME):
            some = paths[start : start + _AT_A_TIME]
            for i, (path, (sha, pixels)) in enumerate(zip(some, pool.map(decoded, some), strict=True), start):
                digest.update(f"{path.relative_to(folder).as_posix()}\0{sha}\n".encode())
                x[i] = pixels
                bar.advance(1)
    subfolders = [path.relative_to(folder).parts[:-1] for path in paths]
    y = np.array([parts[0] for parts in subfolders]) if all(subfolders) else None
    # channel-first already, so that neither a note nor a guess about the axes is needed
    return Source(_channel_first(x), digest.hexdigest(), y=y, top=255, clear_layout=True)


def is_image(relative: Path) -> bool:
    """Whether a file counts as an image; hidden ones, such as the ._a.png that a Mac writes beside a.png, do not."""
    return relative.suffix.lower() in _SUFFIXES and not any(part.startswith(".") for part in relative.parts)


@contextmanager
def _opened(name: str, data: bytes) -> Generator[Any]:
    """An image of which the header is read; what its decoder raises within names the file."""
    from PIL import Image, UnidentifiedImageError

    with reading(name, "an image", "Remove it or save it again"):
        try:
            with Image.open(io.BytesIO(data)) as image:
                yield image
        except Image.DecompressionBombError as error:
            raise RefusedError(
                f"{name} is too large by its header: {error} Cut it into smaller images, or remove it"
            ) from error
        except UnidentifiedImageError as error:
            raise ValueError("its bytes begin like those of no image") from error


def _shape(image: Any, name: str) -> tuple[int, ...]:
    """Of its pixels, by the header: (height, width), or with a third axis for colour."""
    if image.mode not in _READ_AS:
        raise RefusedError(
            f"{name} must have pixels of 8-bit grey or colour, got type {image.mode!r}; read it yourself "
            "and write np.save('images.npy', x), which keeps more bits"
        )
    return (image.height, image.width, *([3] if _READ_AS[image.mode] == _COLOUR else []))


def _pixels(image: Any, name: str) -> NDArray[np.uint8]:
    transparent = image.mode in ("RGBA", "LA") or "transparency" in image.info
    if transparent and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise RefusedError(
            f"{name} is transparent in places, and what shows through is not in the file; put it on a "
            "background: Image.alpha_composite(background, image).convert('RGB')"
        )
    return np.asarray(image.convert(_READ_AS[image.mode]))


def _channel_first(x: NDArray[Any]) -> NDArray[Any]:
    return x[:, None] if x.ndim == 3 else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _differs(folder: Path, path: Path, shape: tuple[int, ...], other: Path, expected: tuple[int, ...]) -> str:
    def show(s: tuple[int, ...]) -> str:
        return f"{s[1]} wide and {s[0]} high, {'colour' if len(s) == 3 else 'grey'}"

    mode, size = (_COLOUR if len(expected) == 3 else _GREY), (expected[1], expected[0])
    return (
        f"{path.relative_to(folder)} is {show(shape)}; {other.relative_to(folder)} is {show(expected)}. "
        "nelbo neither resizes nor recolours: make all images alike first, for example with "
        f"Image.open(path).convert({mode!r}).resize({size})"
    )
