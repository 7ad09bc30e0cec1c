"""Examples in the objects of other libraries, told by what they can do: none of the libraries is imported."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.rows import plain_dtype
from nelbo.data.sizes import check_fits, show_size
from nelbo.data.source import Source, as_array, reading, sha256_of_examples, sortable
from nelbo.data.summary import Missing
from nelbo.data.tables import Types, source_of_table
from nelbo.registry import check_choice
from nelbo.wording import listed

_PAIR = 2
_LABELS = ("y", "label", "labels")  # columns that are labels unasked, beside one of arrays


def reader_of(source: Any) -> Callable[..., Source] | None:
    """The function that reads an object, with the options of `nelbo.data.load` that it takes; None of another object.

    Args:
        source: a tensor, an array, or what becomes one; nested lists; a sparse matrix; a frame or another table with
            ``__arrow_c_stream__``; a mapping of columns; a list of mappings, one for each row; an AnnData; a map-style
            data set, whose items are x, (x, y) or mappings, or its DataLoader; or a pair (x, y) of any of these and
            labels.

    Raises:
        TypeError: an object that can be gone through once only.
    """
    if isinstance(source, tuple) and len(source) == _PAIR:
        return _pair(*source)
    if isinstance(source, Tensor | np.ndarray):
        return functools.partial(of_array, source)
    if all(hasattr(source, name) for name in ("X", "obs", "var_names")):
        return functools.partial(_of_anndata, source)
    if hasattr(source, "tocsr") and hasattr(source, "toarray"):
        return functools.partial(_of_sparse, source)
    if hasattr(source, "column_names") and hasattr(source, "with_format"):  # before arrow, which knows no images
        return functools.partial(_of_columns, _columns_of(source))
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        return functools.partial(source_of_table, _arrow_table(source), _called(source))
    if isinstance(source, Mapping):
        return functools.partial(_of_columns, source)
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        if source and all(isinstance(row, Mapping) for row in source):
            return functools.partial(_of_columns, _transposed(source))
        return functools.partial(_of_list, source)
    if hasattr(source, "__array__"):
        return functools.partial(of_array, np.asarray(source))
    if hasattr(source, "dataset") and hasattr(source, "batch_size"):
        items: Any = source.dataset  # pyright: ignore[reportAttributeAccessIssue]
        note = f"the {_called(source)}'s data set was taken; size and order of batches are arguments of fit"
        return _of_items(items, [note])
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return _of_items(source, [])
    if isinstance(source, Iterator) or hasattr(source, "__iter__"):
        raise TypeError(
            f"data must be examples that can be gone through more than once, got {_called(source)}; write a list or an "
            "array of its examples, such as list(examples), or to train on them without holding them all, a function "
            "of the epoch that gives their batches: lambda epoch: batches(epoch)"
        )
    return None


def of_array(
    x: Tensor | NDArray[Any],
    y: Any = None,
    c: Tensor | None = None,
    features: tuple[str, ...] | None = None,
    notes: Sequence[str] = (),
) -> Source:
    """The source of an array, or of a pair of values and labels.

    Raises:
        TypeError: it does not hold numbers.
    """
    values, labels = as_array(x), None if y is None else sortable(_as_labels(y))
    plain_dtype(values.dtype, name="x")  # of objects, the hash would be one of addresses
    return Source(
        values,
        sha256_of_examples(values, labels, c=c),
        y=labels,
        c=c,
        features=features,
        notes=list(notes),
    )


def _called(source: Any) -> str:
    return type(source).__name__


def _as_labels(y: Any) -> NDArray[Any]:
    return as_array(y) if isinstance(y, Tensor) else np.asarray(y)


def _pair(x: Any, y: Any) -> Callable[..., Source] | None:
    if isinstance(x, Tensor | np.ndarray) and isinstance(y, Tensor | np.ndarray | None):
        return functools.partial(of_array, x, y)
    read = reader_of(x)
    if y is None or read is None:
        return read
    if isinstance(y, str) or not (hasattr(y, "__len__") or hasattr(y, "__array__")):
        return None

    @functools.wraps(read)
    def with_labels(**options: Any) -> Source:
        if options.get("label") is not None:
            raise ValueError(f"labels were given, and label={options['label']!r} names others; drop one")
        stored = read(**options)
        labels = sortable(_as_labels(y))
        return replace(stored, y=labels, sha256=sha256_of_examples(_array_of(stored), labels))

    return with_labels


def _array_of(source: Source) -> NDArray[Any]:
    return cast("NDArray[Any]", source.x)  # what is read from an object lies in memory


def _arrow_table(source: Any) -> Any:
    import pyarrow as pa

    with reading(f"the {_called(source)}", "a table", "Pass a frame with named columns"):
        return pa.table(source)


def _of_sparse(matrix: Any) -> Source:
    size = int(np.prod(matrix.shape)) * matrix.dtype.itemsize
    check_fits(
        size,
        f"the sparse {_called(matrix)} of shape {matrix.shape} is made dense, to values",
        "Take fewer columns, or write its rows in pieces to a .npy file, which can stay on disk",
    )
    note = f"a sparse matrix was made dense, which takes {show_size(size)}"
    return of_array(matrix.toarray(), notes=[note])


def _of_list(examples: Sequence[Any]) -> Source:
    rows = [as_array(row) if isinstance(row, Tensor) else row for row in examples]
    try:
        x = np.asarray(rows)
        x = x.astype(np.float64) if x.dtype.kind == "O" else x  # None is NaN
    except (TypeError, ValueError) as error:
        lengths = sorted({len(row) for row in rows if hasattr(row, "__len__")})
        raise ValueError(
            f"a list must hold examples of equal shape, all numbers, got {len(rows):,} of lengths "
            f"{', '.join(map(str, lengths[:3]))}{', ...' if len(lengths) > 3 else ''}: {error}; cut or pad them, or "
            "encode text as numbers first"
        ) from error
    return of_array(x)


def _of_anndata(source: Any, *, label: str | None = None, columns: Sequence[str] | None = None) -> Source:
    names = [str(name) for name in source.var_names]
    if columns is not None:
        for name in columns:
            check_choice("a column of AnnData", name, names)
        source = source[:, list(columns)]
        names = list(columns)
    matrix = source.X
    read = _of_sparse(matrix) if hasattr(matrix, "toarray") else of_array(np.asarray(matrix))
    if label is not None:
        check_choice("label", label, [str(name) for name in source.obs.columns])
    y = None if label is None else np.asarray(source.obs[label])
    return of_array(_array_of(read), y, features=tuple(names), notes=read.notes)


def _columns_of(source: Any) -> Mapping[str, Any]:
    """The columns of a map-style set by their names, read at once where the set can do that."""
    rows = source[:]
    return rows if isinstance(rows, Mapping) else _transposed([source[i] for i in range(len(source))])


def _transposed(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {str(name): [row.get(name) for row in rows] for name in names}


def _of_columns(
    given: Mapping[str, Any],
    *,
    label: str | None = None,
    columns: Sequence[str] | None = None,
    types: Types = None,
    missing: Missing = None,
) -> Source:
    """Columns of one number each are a table; one column of arrays is x, and another may hold labels."""
    import pyarrow as pa

    shaped = [name for name, values in given.items() if len(values) and np.ndim(_first(values))]
    if not shaped:
        cells = {str(name): as_array(v) if isinstance(v, Tensor) else v for name, v in given.items()}
        with reading("the columns", "a table", "Expected columns of equal length"):
            table = pa.table({name: v if hasattr(v, "__arrow_c_array__") else pa.array(v) for name, v in cells.items()})
        return source_of_table(table, "the table", label=label, columns=columns, types=types, missing=missing)
    wanted = shaped if columns is None else list(columns)
    if len(wanted) != 1 or wanted[0] not in shaped:
        raise ValueError(f"one column of arrays must be x, got {listed(wanted)}; write columns=[{shaped[0]!r}]")
    if label is None:
        label = next((name for name in _LABELS if name in given), None)
    else:
        check_choice("label", label, list(given))
    others = [name for name in given if name not in (wanted[0], label)]
    x = given[wanted[0]]
    left_out = [f"left out: {listed(others)}; label=... takes one of them as labels"] if others else []
    return of_array(
        x if isinstance(x, Tensor | np.ndarray) else _stacked(list(x)),
        None if label is None else given[label],
        notes=[f"x is {wanted[0]!r}" + (f", labels are {label!r}" if label else ""), *left_out],
    )


def _first(values: Any) -> Any:
    first = values[0]
    return as_array(first) if isinstance(first, Tensor) else first if isinstance(first, str) else np.asarray(first)


def _of_items(items: Any, notes: list[str]) -> Callable[..., Source]:
    """The reader of a map-style set, whose items are x, (x, y), or mappings."""
    if not (hasattr(items, "__getitem__") and hasattr(items, "__len__")):
        raise TypeError(
            f"data must be a set with len() and [i], got {_called(items)}, which can only be gone through; write an "
            "array of its examples, or to train on it a function of the epoch that gives batches: lambda epoch: loader"
        )
    if not len(items):
        raise ValueError(f"the {_called(items)} is empty; expected at least one example")
    first = items[0]
    if isinstance(first, Mapping):
        return functools.partial(_of_columns, _transposed([items[i] for i in range(len(items))]))
    if isinstance(first, tuple | list) and len(first) > _PAIR:
        raise TypeError(
            f"an item of a data set must be x or (x, y), got {len(first)} values; pass the pair of arrays (x, y) that "
            "you mean"
        )
    return functools.partial(_of_pairs, items, isinstance(first, tuple | list), notes)


def _of_pairs(items: Any, paired: bool, notes: list[str]) -> Source:
    n = len(items)
    rows = (items[i] for i in range(n))
    labels: list[Any] = []

    def values() -> Iterator[Any]:
        for row in rows:
            if paired and len(row) == _PAIR:
                labels.append(row[1].item() if isinstance(row[1], Tensor) and row[1].numel() == 1 else row[1])
            yield row[0] if paired else row

    x = _stacked(values(), n)
    once = "each item was read once, so that a random transform of it is drawn once for all"
    return of_array(x, np.asarray(labels) if labels else None, notes=[*notes, once])


def _stacked(rows: Any, n: int | None = None) -> NDArray[Any]:
    """Examples of equal shape as one array, filled one by one; the memory is checked by the first."""
    n = len(rows) if n is None else n
    x = np.empty(0)
    for i, row in enumerate(rows):
        value = as_array(row) if isinstance(row, Tensor) else np.asarray(row)
        if not i:
            plain_dtype(value.dtype, name="an example")
            check_fits(n * value.nbytes, f"{n:,} examples of shape {value.shape}", "Write them to a .npy file")
            x = np.empty((n, *value.shape), dtype=value.dtype)
        if value.shape != x.shape[1:]:
            raise ValueError(
                f"examples must have one shape, got {value.shape} of example {i} and {x.shape[1:]} of the first; "
                "resize, cut or pad them first"
            )
        x[i] = value
    return x
