"""Files that are whole or absent: written beside their place, flushed, then renamed into it.

torch is imported by the functions that need it: the studio, which shares the others, starts without it.
"""

import contextlib
import errno
import json
import math
import os
import secrets
import zlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_TEMPORARY = ".part"
_MOST_NESTED = 64  # objects and lists one within another: what nelbo writes has six


class DamagedFileError(ValueError):
    """A file of a run that is missing, half-written or foreign; the message names it and what to do."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; its ``filename`` is the path.
    """
    with naming(path):
        _write_bytes(path, content)


@contextlib.contextmanager
def naming(path: Path) -> Generator[None]:
    """Within, an error of the disk has the path as its filename: only that of opening a file has one by itself."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    # the mode that open() gives, which the umask narrows: a run is shared as far as its user shares files
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno in (None, errno.EISDIR, errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: this storage cannot rename a file that was written, by which a file is whole or "
            "absent; write on a file system that can, such as a local disk, NFS or Lustre",
        ) from error


def check_storage(folder: Path) -> None:
    """Raise an OSError where a folder cannot hold files, before anything is computed that is to lie there."""
    probe = folder / ".probe"
    for content in (b"old", b"new"):
        write_bytes(probe, content)
    probe.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed writer left half-written; only for the one process that writes there (see `exclusive`)."""
    for temporary in folder.glob(f".*{_TEMPORARY}"):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Generator[None]:
    """Within, no other process that asks for it may write to the folder; a killed one lets go by itself.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another process is training in {folder}; concurrent runs would overwrite each other's checkpoints. "
                "Wait for it, stop it, or choose another out="
            ) from None
        except OSError:  # a file system without locks: go on, as before there were any
            pass
        yield


def is_held(folder: Path) -> bool:
    """Whether a process that lives has the folder by `exclusive`; False where the file system has no locks."""
    try:
        import fcntl

        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write :func:`json_text`."""
    write_bytes(path, (json_text(content) + "\n").encode())


def json_text(content: Any) -> str:
    """JSON that every reader accepts: numbers that are infinite or NaN become null."""
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False)


def json_line(content: Mapping[str, Any]) -> str:
    """One line of a .jsonl file."""
    return json.dumps(plain(content), ensure_ascii=False, allow_nan=False) + "\n"


def plain(content: Any) -> Any:
    """The content as JSON gives it back: numbers that are infinite or NaN become None, numpy's become Python's."""
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return content


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that others wrote, or a ValueError: also where it is nested too deep to be walked."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    inner = [content]
    for _ in range(_MOST_NESTED):
        nested = [value for value in inner if isinstance(value, dict | list)]
        inner = [child for value in nested for child in (value.values() if isinstance(value, dict) else value)]
        if not inner:
            return content
    raise ValueError(f"it is nested more than {_MOST_NESTED} deep")


def read_json(path: Path) -> Any:
    """Read JSON, or raise a DamagedFileError that names the file."""
    try:
        return parse_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DamagedFileError(f"{path} does not exist") from None
    except ValueError as error:
        raise DamagedFileError(f"{path} is not JSON ({error}); it was cut short or edited by hand") from error


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Any = None) -> None:
    """Write tensors and a JSON value beside them as one safetensors file, with a checksum of the tensors."""
    import torch
    from safetensors.torch import save

    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    # one entry: safetensors writes several in any order, and equal runs shall have equal files
    write_bytes(path, save(plain, {"nelbo": json.dumps({"crc32": _checksum(plain), "content": metadata})}))


def read_beside_tensors(path: Path) -> Any:
    """The JSON value beside the tensors of a file, without reading these, or a DamagedFileError."""
    with _opened(path) as (_, metadata):
        return metadata.get("content")


@contextlib.contextmanager
def _opened(path: Path) -> Generator[tuple[Any, dict[str, Any]]]:
    """A safetensors file, and what nelbo wrote beside its tensors; errors within name the file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DamagedFileError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata = parse_json((file.metadata() or {}).get("nelbo", "{}"))
            yield file, metadata if isinstance(metadata, dict) else {}  # another program's
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is not a whole safetensors file ({error}); copy it again, or train a new run"
        ) from error


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], Any]":
    """Tensors and the JSON value beside them, or a DamagedFileError that names the file. Nothing is unpickled."""
    with _opened(path) as (file, metadata):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    if "crc32" in metadata and metadata["crc32"] != _checksum(tensors):
        raise DamagedFileError(
            f"{path} has the right length but its values have changed since they were written (checksum); "
            "copy it again, or train a new run"
        )
    return tensors, metadata.get("content")


def _checksum(tensors: "Mapping[str, Tensor]") -> str:
    """CRC-32 over the tensors in the order of their names: safetensors itself would not notice a changed byte."""
    import torch

    crc = 0
    for name in sorted(tensors):
        flat = tensors[name].reshape(-1)
        content: Any = flat.view(torch.uint8).numpy() if flat.numel() else b""
        crc = zlib.crc32(content, zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
