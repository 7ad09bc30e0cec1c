"""The answers of other people's functions, taken apart: tuples, mappings and objects within each other.

A path is the keys that lead to one part, such as ``("latent_dist", "mean")``; the empty path is the whole.
"""

import copy
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

Path = tuple[Any, ...]

_DEPTH = 5
_WHOLE = (torch.int16, torch.int32, torch.int64)


def is_diagonal_normal(output: Any) -> bool:
    """Whether it is torch's Normal, plain or wrapped in Independent."""
    return isinstance(output, Normal) or (isinstance(output, Independent) and isinstance(output.base_dist, Normal))


def entries_of(output: Any) -> dict[Any, Any]:
    """The entries of a tuple, list, mapping, object or normal distribution, by position, key or attribute."""
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if isinstance(output, Tensor | nn.Module | type) or inspect.isroutine(output):
        return {}
    if isinstance(output, Distribution) and not is_diagonal_normal(output):
        return {}
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return dict(getattr(output, "__dict__", {}))


def part(output: Any, path: Path) -> Any:
    """What stands at a path."""
    for key in path:
        output = entries_of(output)[key]
    return output


def replaced(output: Any, values: Mapping[Path, Any]) -> Any:
    """A copy with other values at some paths."""
    if () in values:
        return values[()]
    inner: dict[Any, dict[Path, Any]] = {}
    for path, value in values.items():
        inner.setdefault(path[0], {})[path[1:]] = value
    entries = entries_of(output)
    new = {key: replaced(entries[key], below) for key, below in inner.items()}
    if isinstance(output, tuple):
        sequence = [new.get(position, value) for position, value in enumerate(output)]
        return getattr(type(output), "_make", type(output))(sequence)
    result = copy.copy(output)
    for key, value in new.items():
        if isinstance(output, list | Mapping):
            result[key] = value
        else:
            object.__setattr__(result, key, value)  # of a frozen dataclass too
    return result


def leaves(output: Any, depth: int = _DEPTH, *, whole: bool = False) -> dict[Path, Tensor]:
    """The tensors of floats, or of whole numbers, at any depth, by path."""
    if isinstance(output, Tensor):
        return {(): output} if (output.dtype in _WHOLE if whole else output.is_floating_point()) else {}
    if not depth:
        return {}
    return {
        (key, *path): tensor
        for key, entry in entries_of(output).items()
        for path, tensor in leaves(entry, depth - 1, whole=whole).items()
    }


def name_of(output: Any, path: Path) -> str:
    """The name of a part: its key, attribute or field; "" of a position in a tuple or list."""
    if not path:
        return ""
    holder, key = part(output, path[:-1]), path[-1]
    fields = getattr(type(holder), "_fields", ())
    if isinstance(key, int) and isinstance(holder, tuple) and key < len(fields):
        return str(fields[key])
    return key if isinstance(key, str) else ""


def shown(path: Path) -> str:
    """A path in words, such as ``latent_dist.mean``."""
    return ".".join(str(key) for key in path) or "the whole"


def distributions(output: Any, depth: int = _DEPTH) -> dict[Path, Distribution]:
    """The distributions at any depth, by path."""
    if isinstance(output, Distribution):
        return {(): output}
    if not depth:
        return {}
    return {
        (key, *path): found
        for key, entry in entries_of(output).items()
        for path, found in distributions(entry, depth - 1).items()
    }
