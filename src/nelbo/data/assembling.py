"""From stored values and options to the three sets."""

from typing import Any

import torch

from nelbo.data.dataset import Dataset
from nelbo.data.layout import Layout, arrange, moves
from nelbo.data.looks import Looks
from nelbo.data.memory import parse_size
from nelbo.data.preparation import Preparation
from nelbo.data.row_files import RowFile
from nelbo.data.source import Source, as_labels, as_tensor, plain
from nelbo.data.splits import limited, split
from nelbo.data.stored_values import StoredValues, ValuesInMemory, ValuesOnDisk
from nelbo.data.survey import Moments

_EXACT = 1 << 23  # whole numbers below this keep a fraction in float32
Sets = tuple[Dataset, Dataset | None, Dataset | None, dict[str, Any]]


def assemble(source: Source, options: dict[str, Any]) -> Sets:
    """Training, validation and test set, and what is to be recorded of them."""
    _refuse_conflicts(options)
    values, shape, layout, note = _arranged(source, options)
    notes = [*source.notes, *([note] if note else [])]
    seed = int(options["seed"])
    train_rows, held_rows = split(shape[0], validation=options["validation"], limit=options["limit"], seed=seed)
    standardize = bool(options["standardize"])
    looks, moments = values.survey(train_rows, moments=standardize, names=source.features)
    preparation, more = prepare(looks, values.dtype, source, options, moments)
    labels, names = (None, None) if source.y is None else as_labels(source.y, n=shape[0])
    y = None if labels is None else as_tensor(labels)
    train = values.subset(train_rows, preparation, y, 0)
    validation = None if held_rows is None else values.subset(held_rows, preparation, y, 1)
    test, names = _test_set(source, layout, preparation, options, names)
    if options["binarize"] == "static":
        train = train.fixed(seed=seed)
        validation, test = (d and d.fixed(seed=seed) for d in (validation, test))
    found = record(train, validation, test, looks, source, names, [*notes, *more], moments)
    return train, validation, test, found


def _arranged(source: Source, options: dict[str, Any]) -> tuple[StoredValues, tuple[int, ...], Layout, str | None]:
    """The values with their axes in place, their shape (n, *event), the layout found, and a note on it."""
    x = source.x
    if isinstance(x, RowFile):
        layout, note = moves((len(x), *x.shape), options["layout"])
        _refuse_empty((len(x), *x.shape))
        x = x.arranged(layout)
        return ValuesOnDisk(x, memory=parse_size(options["memory"])), (len(x), *x.shape), layout, note
    x = plain(x, name="x")
    layout, note = ("as_is", None) if source.clear_layout else moves(x.shape, options["layout"])
    x = arrange(x, layout)
    _refuse_empty(x.shape)
    return ValuesInMemory(x), x.shape, layout, note


def prepare(
    looks: Looks, dtype: torch.dtype, source: Source, options: dict[str, Any], moments: Moments
) -> tuple[Preparation, list[str]]:
    """The preparation that the options ask for, and notes on what was chosen.

    Raises:
        ValueError: the values do not allow it.
    """
    scale, notes = _scale(looks, dtype, source.top, options)
    _refuse_unfit(looks, scale, options)
    binarize, dequantize = options["binarize"], bool(options["dequantize"])
    if not options["standardize"]:
        # a static draw is made of values that are prepared as dynamic ones, once
        how = "dynamic" if binarize == "static" else binarize
        return Preparation(scale=scale, binarize=how, dequantize=dequantize), notes
    mean, std = moments.mean_and_std(noise=dequantize)
    if moments.constant and not dequantize:
        named = [source.features[i] if source.features else str(i) for i in moments.constant]
        shown = ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
        notes.append(f"constant in the training set, so divided by 1: {shown}")
    return Preparation(dequantize=dequantize, mean=mean, std=std), notes


def record(
    train: Dataset,
    validation: Dataset | None,
    test: Dataset | None,
    looks: Looks,
    source: Source,
    label_names: tuple[str, ...] | None,
    notes: list[str],
    moments: Moments,
) -> dict[str, Any]:
    """What is recorded of the sets besides source and options."""
    sets = {"train": train, "validation": validation, "test": test}
    label_names = source.label_names or label_names
    return {
        "sizes": {name: 0 if d is None else len(d) for name, d in sets.items()},
        "event_shape": list(train.event_shape),
        "looks": {**looks.to_dict(), "sentence": looks.sentence},
        "preparation": train.preparation.to_dict(),
        "features": None if source.features is None else list(source.features),
        "label_names": None if label_names is None else list(label_names),
        "constant_features": moments.constant if moments.n else [],
        "notes": notes,
    }


def _scale(looks: Looks, dtype: torch.dtype, top: int | None, options: dict[str, Any]) -> tuple[float, list[str]]:
    scale = options["scale"]
    if scale is None or options["standardize"]:
        return 1.0, []
    if scale != "auto":
        if isinstance(scale, bool) or not isinstance(scale, (int, float)):
            raise ValueError(f"scale is {scale!r}; expected a positive number, None or 'auto'.")
        return float(scale), []
    if top is None and dtype == torch.uint8 and looks.kind == "8-bit integers":
        top = 255
    if top is not None:
        # with noise in [0, 1) the largest value is top + 1
        return 1 / (top + 1 if options["dequantize"] else top), []
    if looks.integer_share == 1 and 1 < looks.maximum <= 255 and looks.minimum >= 0:
        return 1.0, [
            f"whole numbers up to {looks.maximum:g} left as they are; scale=1/{looks.maximum:g} maps them to [0, 1]"
        ]
    return 1.0, []


def _test_set(
    source: Source,
    layout: Layout,
    preparation: Preparation,
    options: dict[str, Any],
    names: tuple[str, ...] | None,
) -> tuple[Dataset | None, tuple[str, ...] | None]:
    """The test set, and what all labels stand for: those of training, and further ones of the test set."""
    if source.test is None:
        return None, names
    x, labels = source.test
    x = plain(x, name="x_test")
    if not isinstance(source.x, RowFile) and x.shape[1:] != source.x.shape[1:]:
        raise ValueError(
            f"x_test has examples of shape {x.shape[1:]}, x_train of {source.x.shape[1:]}; expected the same."
        )
    values = ValuesInMemory(arrange(x, layout))
    looks, _ = values.survey(None, moments=False, names=source.features)
    _refuse_unfit(looks, preparation.scale, options)
    y = None
    if labels is not None:
        numbers, more = as_labels(labels, n=len(x), names=names)
        y, names = as_tensor(numbers), more or names
    rows = limited(len(x), options["limit"], seed=int(options["seed"]))
    return values.subset(rows, preparation, y, 2), names


def _refuse_unfit(looks: Looks, scale: float, options: dict[str, Any]) -> None:
    if options["binarize"] and not (looks.minimum >= 0 and looks.maximum * scale <= 1 + 1e-9):
        cure = f"Write scale=1/{looks.maximum:g}." if looks.minimum >= 0 else "Shift them to start at 0 first."
        raise ValueError(
            f"binarize={options['binarize']!r} expects values in [0, 1] after scaling; got "
            f"{looks.minimum * scale:g} to {looks.maximum * scale:g}. {cure}"
        )
    if options["dequantize"] and not (looks.integer_share == 1 and max(-looks.minimum, looks.maximum) < _EXACT):
        raise ValueError(
            f"dequantize expects whole numbers below {_EXACT:,}; got: {looks.sentence} Drop dequantize: "
            "values with a fraction have a density already."
        )


def _refuse_conflicts(options: dict[str, Any]) -> None:
    Preparation(binarize=options["binarize"])  # refuses what is none before values are blamed
    numeric = options["scale"] not in (None, "auto")
    for a, b, why in (
        ("binarize", "standardize", "binarized values are 0 and 1"),
        ("binarize", "dequantize", "binarized values are 0 and 1"),
        ("standardize", "scale", "the standard deviation takes any scale out again"),
    ):
        if options[a] and (numeric if b == "scale" else options[b]):
            raise ValueError(f"{a}={options[a]!r} and {b}={options[b]!r} exclude each other: {why}. Drop one of them.")


def _refuse_empty(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ValueError(f"the data are empty: shape {shape}; expected at least one example with at least one value.")
