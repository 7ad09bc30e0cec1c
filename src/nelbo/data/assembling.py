"""From stored values and options to training, validation and test set."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.draws import shuffled
from nelbo.data.kinds import ColumnKind
from nelbo.data.on_disk import OnDisk
from nelbo.data.preparation import Preparation
from nelbo.data.rows import ArrayRows, Layout, RowFile, RowStore, as_tensor, choose_layout, mask, plain
from nelbo.data.sizes import parse_size
from nelbo.data.source import Source, as_labels
from nelbo.data.summary import Moments, ValueSummary, differ_in_scale, survey
from nelbo.wording import advice, listed, some_of

_NINES = re.compile(r"99+(\.9+)?")  # of -99, -999, 9999.9, which stand for a missing value in many files
_LARGEST = 1e150  # numbers whose squares, summed, are finite
_EXACT = 1 << 23  # integers below this keep a fraction in float32
_BYTE, _FULL = 255, (1023, 4095, 16383, 65535)  # largest values of images with 8, and with 10 to 16 bits
_IMAGE_AXES = 3  # of one image
_SERIES = 3  # axes of series, and of images without colour
_FEW = 1000  # examples that tell whether values are signed, and how sensors differ
_SEEN = 1 << 26  # values whose spread is looked at though it is not needed
_SHUFFLE = 1 << 20  # a stream apart from those that draw values
_IN_MEMORY_SHARE = 0.15  # of the memory that some rows of a file may take to be held in it
_BUFFER_SHARE = 0.7  # of the memory for the buffers of a set that stays on disk

Rows = NDArray[np.int64] | None
"""Row numbers; None is all rows, in order."""


def assemble(
    source: Source, options: dict[str, Any], *, label_names: Sequence[str] | None = None, to_train: bool = True
) -> tuple[Dataset, Dataset | None, Dataset | None, dict[str, Any]]:
    """Training, validation and test set, and what is to be recorded of them.

    Args:
        source: the stored values.
        options: those of :func:`nelbo.data.load`.
        label_names: what the numbers of labels stand for already, in the data of a run.
        to_train: whether a model learns from them: then each feature must have a value.
    """
    refuse_conflicts(options)
    seed, standardize = int(options["seed"]), bool(options["standardize"])
    x, notes = arranged(source, options["layout"])
    train_rows, held_rows = split(len(x), validation=options["validation"], limit=options["limit"], seed=seed)
    missing = options.get("missing")
    few = len(x) * int(np.prod(x.shape)) <= _SEEN and len(x.shape) <= _SERIES - 1
    # of a table always: other tables are compared with it
    taken = standardize or missing is not None or source.features is not None or (few and x.dtype.kind == "f")
    summary, moments = survey(x, train_rows, moments=taken, names=source.features, missing=missing)
    _refuse_too_large(summary, standardize=standardize or source.kinds is not None)
    preparation, more = prepare(summary, x, source, options, moments)
    notes += _on_missing(summary, moments, source.features, to_train=to_train)
    notes += [] if source.features is None else _on_markers(moments, source.features, x)
    if not standardize and source.kinds is None:
        notes += _on_columns(summary, moments, source.features, "channel" if len(x.shape) > 1 else "column")
    if summary.kind == "real" and len(source.shape) == _SERIES and options["layout"] in ("auto", "as_is", "images"):
        notes += _on_sensors(_few(x).reshape(-1, source.shape[-1]))
    labels, names = as_labels(source.y, n=len(x), names=None if label_names is None else tuple(label_names))

    def dataset(x: RowStore, rows: Rows, labels: Tensor | None, stream: int) -> Dataset:
        made = dataset_of(x, rows, labels, preparation, stream=stream, memory=parse_size(options["memory"]))
        if source.c is not None:
            made.c = source.c.cpu() if rows is None else source.c.cpu()[torch.from_numpy(rows)]
        return made.fixed(seed=seed) if options["binarize"] == "static" else made

    sets = {
        "train": dataset(x, train_rows, labels, 0),
        "validation": None if held_rows is None else dataset(x, held_rows, labels, 1),
        "test": None,
    }
    if source.test is not None:
        held, y = source.test
        if held.shape[1:] != source.shape[1:]:
            raise ValueError(
                f"x_test must have examples of the shape that x_train has, got x_test of shape {held.shape} and "
                f"x_train of shape {source.shape}"
            )
        test = arranged(replace(source, x=held), options["layout"], name="x_test")[0]
        refuse_unfit(survey(test, moments=False, names=source.features, missing=missing)[0], preparation.scale, options)
        labels, names = as_labels(y, n=len(test), names=names)
        sets["test"] = dataset(test, limited(len(test), options["limit"], seed=seed), labels, 2)
    train: Any = sets["train"]
    return (
        train,
        sets["validation"],
        sets["test"],
        {
            "sizes": {name: 0 if d is None else len(d) for name, d in sets.items()},
            "event_shape": list(train.event_shape),
            "summary": {**summary.to_dict(), "sentence": summary.sentence},
            "preparation": train.preparation.to_dict(),
            "features": None if source.features is None else list(source.features),
            "types": None if source.types is None else list(source.types),
            "kinds": None if source.kinds is None else {name: kind.to_dict() for name, kind in source.kinds.items()},
            "moments": moments.to_dict(),
            "label_names": None if names is None else list(names),
            "constant_features": moments.constant if standardize or source.features else [],
            "notes": [*source.notes, *notes, *more],
        },
    )


def arranged(source: Source, layout: Layout, *, name: str = "x") -> tuple[RowStore, list[str]]:
    """The rows of a source with their axes as `layout` says, and notes on what was done to the axes.

    Raises:
        TypeError: the values are not numbers.
        ValueError: there are none, or the layout does not fit.
    """
    if 0 in source.shape:
        raise ValueError(f"the data are empty, of shape {source.shape}; expected at least one example with one value")
    rows = source.x if isinstance(source.x, RowFile) else ArrayRows(plain(source.x, name=name))
    if source.clear_layout:
        return rows, []
    signed = layout == "auto" and len(source.shape) == _SERIES and bool((_few(rows) < 0).any())
    layout, note = choose_layout(source.shape, layout, signed=signed)
    return rows.arranged(layout), [note] if note else []


def _few(rows: RowStore) -> NDArray[Any]:
    return rows.gather(np.arange(min(len(rows), _FEW)))


def dataset_of(
    x: RowStore,
    rows: Rows,
    labels: Tensor | None,
    preparation: Preparation,
    *,
    stream: int,
    memory: int,
) -> Dataset:
    """The examples in some rows: in memory where the values are, or where they are few; on disk otherwise."""
    chosen = None if rows is None else torch.from_numpy(rows)
    few = rows is not None and isinstance(x, RowFile) and len(rows) * x.row_bytes <= memory * _IN_MEMORY_SHARE
    if isinstance(x, RowFile) and not (x.in_memory or few):
        member = None if rows is None else mask(len(x), rows)
        labels = labels if labels is None or member is None else labels[torch.from_numpy(member)]
        left = int(memory * _BUFFER_SHARE)
        return OnDisk(file=x, preparation=preparation, labels=labels, member=member, memory=left, stream=stream)
    values = as_tensor(x.whole() if rows is None else x.gather(rows))
    labels = labels if labels is None or chosen is None else labels.index_select(0, chosen)
    return InMemory(values, preparation=preparation, labels=labels, source_rows=chosen, stream=stream)


def prepare(
    summary: ValueSummary, x: RowStore, source: Source, options: dict[str, Any], moments: Moments
) -> tuple[Preparation, list[str]]:
    """The preparation that the options ask for, and notes on what was chosen.

    Raises:
        ValueError: the values do not allow it.
    """
    if source.kinds is not None:
        return _by_column(source.kinds.values(), options, moments), []
    stored = getattr(source.x, "stored_dtype", source.x.dtype)
    scale, notes = _scale(summary, x.dtype, source.top, options, stored=stored, image=len(x.shape) == _IMAGE_AXES)
    refuse_unfit(summary, scale, options)
    binarize, dequantize = options["binarize"], bool(options["dequantize"])
    if not options["standardize"]:
        # a static draw is made of values that are prepared as dynamic ones, once
        return Preparation(
            scale=scale, binarize="dynamic" if binarize == "static" else binarize, dequantize=dequantize
        ), notes
    mean, std = moments.mean_and_std(noise=dequantize)
    if moments.constant and not dequantize:
        named = [source.features[i] if source.features else str(i) for i in moments.constant]
        notes.append(f"constant in the training set, so divided by 1: {listed(named)}")
    return Preparation(dequantize=dequantize, mean=mean, std=std), notes


def _by_column(kinds: Iterable[ColumnKind], options: dict[str, Any], moments: Moments) -> Preparation:
    """The preparation of a mixed table, each column by itself.

    Raises:
        ValueError: an option that is for values of one kind.
    """
    given = [name for name in ("binarize", "dequantize") if options[name]]
    given += ["scale"] if options["scale"] not in (None, "auto", 1) else []
    if given:
        raise ValueError(
            f"a mixed table is scaled column by column, and does not take {given[0]}={options[given[0]]!r}; drop it"
        )
    each = [kind.shift_and_scale(*m) for kind, *m in zip(kinds, *moments.mean_and_std(noise=False), strict=True)]
    # of other data than a run's, whose own takes the place of this: they may have no value here, or none that fits
    usable = [pair if math.isfinite(pair[0]) and 0 < pair[1] < math.inf else (0.0, 1.0) for pair in each]
    return Preparation(mean=tuple(shift for shift, _ in usable), std=tuple(scale for _, scale in usable))


def _on_missing(
    summary: ValueSummary, moments: Moments, features: tuple[str, ...] | None, *, to_train: bool
) -> list[str]:
    """Notes on what was not observed.

    Raises:
        ValueError: a feature was never observed, of data to train on; of others, it may be what is to be imputed.
    """
    if not summary.nan:
        return []
    never = np.flatnonzero(moments.n == 0).tolist()
    if never and to_train:
        named = listed([features[i] if features else str(i) for i in never])
        raise ValueError(
            f"each feature must have a value in the training set, got none of {named}; leave out those columns, with "
            "columns=[...] of a table"
        )
    notes = [f"{summary.nan:,} of {summary.values:,} values are missing, and count as not observed"]
    if moments.empty:
        notes.append(f"{moments.empty:,} training examples have no value at all")
    return notes


def _refuse_too_large(summary: ValueSummary, *, standardize: bool) -> None:
    """Raise where values are infinite in the float32 that a model sees, or their squares where spreads are taken."""
    most = _LARGEST if standardize else float(np.finfo(np.float32).max)
    largest = max(abs(summary.minimum), abs(summary.maximum))
    if largest > most:
        scaled = "" if standardize or largest > _LARGEST else ", or write standardize=True"
        raise ValueError(
            f"the data must lie within ±{most:.2g}{' to be standardized' if standardize else ', as float32 does'}, got "
            f"values up to {largest:.3g}; divide them, or take their logarithms{scaled}"
        )


def _on_markers(moments: Moments, features: tuple[str, ...], x: RowStore) -> list[str]:
    """A note on numbers that stand for none, such as -999: all nines, and farther from the others than these reach."""
    ends = [(j, end) for j in range(len(features)) for end in (float(moments.low[j]), float(moments.high[j]))]
    ends = [(j, end) for j, end in ends if _NINES.fullmatch(f"{abs(end):.10g}")]
    if not ends:
        return []
    few = _few(x).astype(np.float64)
    found: list[tuple[int, float]] = []
    for j, end in ends:
        others = few[np.isfinite(few[:, j]) & (few[:, j] != end), j]
        if len(others) and np.abs(others - end).min() > np.ptp(others):
            found.append((j, end))
    if not found:
        return []
    named = some_of([f"{end:g} in {features[j]!r}" for j, end in found])
    mend = advice(f"x[x == {found[0][1]:g}] = np.nan with missing='observed' says so", "leave those cells empty")
    return [f"{named}: far from all other values; if that stands for a value that is missing, {mend}"]


def _on_sensors(x: NDArray[Any]) -> list[str]:
    """A note on the last axis of series where its places differ so much in scale that they are sensors, not times."""
    std, span = x.std(axis=0, dtype=np.float64), np.ptp(x, axis=0).astype(np.float64)
    std, span = std[span > 0], span[span > 0]
    if not len(std) or not differ_in_scale(std, span):
        return []
    return [
        f"the places along the last axis differ in scale, with standard deviations from {std.min():.2g} to "
        f"{std.max():.2g}: if they are sensors, layout='series' with standardize=True gives each the same"
    ]


def _on_columns(summary: ValueSummary, moments: Moments, features: tuple[str, ...] | None, word: str) -> list[str]:
    """Notes on columns that say nothing, and on those that differ so much in scale that one hides the others."""
    notes: list[str] = []
    if features and moments.constant:
        named = listed([features[i] for i in moments.constant])
        notes.append(f"constant in the training set, and so without information: {named}")
    varying = np.flatnonzero(moments.low < moments.high)
    if summary.kind != "real" or not varying.size:
        return notes
    std = np.array(moments.mean_and_std(noise=False)[1])[varying]
    if differ_in_scale(std, (moments.high.astype(np.float64) - moments.low.astype(np.float64))[varying]):
        small, large = (int(varying[i]) for i in (std.argmin(), std.argmax()))
        low, high = (repr(features[i]) if features else f"{word} {i}" for i in (small, large))
        notes.append(
            f"{word}s differ in scale: the standard deviation is {std.min():.2g} of {low} and {std.max():.2g} of "
            f"{high}, so that the others hardly count; standardize=True gives each the same"
        )
    return notes


def _deep(summary: ValueSummary, stored: np.dtype[Any]) -> bool:
    """Whether values are those of images with more than 8 bits, as microscopes and satellites write them."""
    least = _BYTE if stored == np.uint16 else _FULL[0]
    return summary.integer_share == 1 and summary.minimum >= 0 and least < summary.maximum <= _FULL[-1]


def _scale(
    summary: ValueSummary,
    dtype: np.dtype[Any],
    top: int | None,
    options: dict[str, Any],
    *,
    stored: np.dtype[Any],
    image: bool,
) -> tuple[float, list[str]]:
    scale = options["scale"]
    if scale is None or options["standardize"]:
        return 1.0, []
    if scale != "auto":
        if isinstance(scale, bool) or not isinstance(scale, (int, float)):
            raise ValueError(f"scale must be a positive number, None or 'auto', got {scale!r}")
        return float(scale), []
    if top is None and dtype == np.uint8 and summary.kind == "8-bit integers":
        top = 255
    if top is None and image and _deep(summary, stored):
        top = next(full for full in _FULL if full >= summary.maximum)
        notes = [
            f"images of whole numbers up to {summary.maximum:g} are divided by {top:,}; scale=1 leaves them as counts"
        ]
        return 1 / (top + 1 if options["dequantize"] else top), notes
    if top is not None:
        # with noise in [0, 1) the largest value is top + 1
        return 1 / (top + 1 if options["dequantize"] else top), []
    if summary.integer_share == 1 and 1 < summary.maximum <= 255 and summary.minimum >= 0:
        most = f"{summary.maximum:g}"
        return 1.0, [f"integers up to {most} left as they are; scale=1/{most} maps them to [0, 1]"]
    return 1.0, []


def refuse_unfit(summary: ValueSummary, scale: float, options: dict[str, Any]) -> None:
    """Raise a ValueError where values cannot be binarized or dequantized, as the options want."""
    if options["binarize"] and summary.nan:
        raise ValueError(
            f"binarize={options['binarize']!r} expects a number in each place, got {summary.nan:,} missing values; "
            "drop binarize= and bring values that are 0 and 1 already"
        )
    if options["binarize"] and not (summary.minimum >= 0 and summary.maximum * scale <= 1 + 1e-9):
        scaled = f"write scale=1/{summary.maximum:g}, or " if summary.minimum >= 0 else ""
        raise ValueError(
            f"binarize={options['binarize']!r} expects values in [0, 1] after scaling, got "
            f"{summary.minimum * scale:g} to {summary.maximum * scale:g}; {scaled}drop binarize= and write "
            "standardize=True for a likelihood of real numbers such as 'normal'"
        )
    exact = summary.integer_share == 1 and max(-summary.minimum, summary.maximum) < _EXACT
    if options["dequantize"] and not exact:
        raise ValueError(
            f"dequantize expects integers below {_EXACT:,}, got: {summary.sentence} Drop dequantize: values with a "
            "fraction have a density already"
        )


def refuse_conflicts(options: dict[str, Any]) -> None:
    """Raise a ValueError where options contradict each other."""
    shift = (1.0,) if options["standardize"] else None
    Preparation(binarize=options["binarize"], dequantize=bool(options["dequantize"]), mean=shift, std=shift)
    if options["standardize"] and options["scale"] not in (None, "auto"):
        raise ValueError(
            f"standardize=True and scale={options['scale']!r} exclude each other: the standard deviation takes any "
            "scale out again; drop one of them"
        )


def limited(n: int, limit: int | None, *, seed: int) -> Rows:
    """The rows kept by `limit`, shuffled, or None for all of them."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"limit must be a positive integer, the number of examples to keep, or None, got {limit!r}")
    return None if limit >= n else shuffled(n, seed=seed, stream=_SHUFFLE)[:limit]


def split(n: int, *, validation: float, limit: int | None, seed: int) -> tuple[Rows, Rows]:
    """Row numbers of training and validation set, disjoint; (None, None) trains on all rows, in order.

    Which rows those are depends on n and the seed alone.

    Raises:
        ValueError: `validation` is neither a share nor a number of rows, or leaves no row to train on.
    """
    kept = limited(n, limit, seed=seed)
    size = n if kept is None else len(kept)
    number = isinstance(validation, (int, float)) and not isinstance(validation, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    share = isinstance(validation, float) and 0 <= validation < 1
    if not number or not (share or (validation >= 0 and validation == int(validation))):
        raise ValueError(
            f"validation must be a share below 1 (0.1 holds out a tenth) or a number of examples, got {validation!r}"
        )
    held = max(1, round(validation * size)) if share and validation > 0 else int(validation)
    if held >= size:
        raise ValueError(
            f"validation={validation!r} holds out {held:,} of {size:,} examples and leaves none to train on; write "
            "validation=0, or bring more examples"
        )
    if not held:
        return kept, None
    order = shuffled(n, seed=seed, stream=_SHUFFLE) if kept is None else kept
    return order[held:], order[:held]
