"""A folder of images of equal size and colour; the names of subfolders become labels."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.named import is_idx_folder, read_idx_folder
from nelbo.data.sizes import available_memory, show_size
from nelbo.data.source import Source, reader
from nelbo.progress import ProgressBar

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
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not paths:
        raise ValueError(
            f"{folder.name}/ must hold images ({', '.join(_SUFFIXES)}) or the four MNIST files, got neither"
        )
    _, first = _decode(paths[0])
    needed, free = first.nbytes * len(paths), available_memory()
    if needed > _MEMORY_SHARE * free:
        raise MemoryError(
            f"{len(paths):,} images of shape {first.shape} take {show_size(needed)}, more than half of the "
            f"{show_size(free)} available; write them to a .npy file, which nelbo trains on from disk: x = "
            f"np.lib.format.open_memmap('images.npy', mode='w+', dtype=np.uint8, shape={(len(paths), *first.shape)}), "
            "then x[i] = image for each"
        )
    x = np.empty((len(paths), *first.shape), dtype=np.uint8)
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as pool, ProgressBar(f"reading {folder.name}", len(paths)) as bar:
        for start in range(0, len(paths), _AT_A_TIME):
            some = paths[start : start + _AT_A_TIME]
            for i, (path, (sha, pixels)) in enumerate(zip(some, pool.map(_decode, some), strict=True), start):
                if pixels.shape != first.shape:
                    raise ValueError(_differs(folder, path, pixels.shape, paths[0], first.shape))
                digest.update(f"{path.relative_to(folder).as_posix()}\0{sha}\n".encode())
                x[i] = pixels
                bar.advance(1)
    subfolders = [path.relative_to(folder).parts[:-1] for path in paths]
    y = np.array([parts[0] for parts in subfolders]) if all(subfolders) else None
    # channel-first already, so that neither a note nor a guess about the axes is needed
    return Source(_channel_first(x), digest.hexdigest(), y=y, top=255, clear_layout=True)


def _decode(path: Path) -> tuple[str, NDArray[np.uint8]]:
    from PIL import Image, UnidentifiedImageError

    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in _READ_AS:
                raise ValueError(
                    f"{path.name} must have pixels of 8-bit grey or colour, got type {image.mode!r}; read it yourself "
                    "and write np.save('images.npy', x), which keeps more bits"
                )
            transparent = image.mode in ("RGBA", "LA") or "transparency" in image.info
            if transparent and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise ValueError(
                    f"{path.name} is transparent in places, and what shows through is not in the file; put it on a "
                    "background: Image.alpha_composite(background, image).convert('RGB')"
                )
            return hashlib.sha256(data).hexdigest(), np.asarray(image.convert(_READ_AS[image.mode]))
    except (UnidentifiedImageError, OSError) as e:
        raise ValueError(f"{path.name} cannot be read as an image: {e}. Remove it or save it again") from e


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
