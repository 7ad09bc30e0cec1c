"""nelbo data: what a file holds, and what a training would do with it."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from nelbo import data as nelbo_data
from nelbo import likelihoods
from nelbo.cli.fit import DATA, for_table, given, previewed
from nelbo.cli.flags import flag_names, in_flags, plain, with_flags
from nelbo.data.previewing import Column, Preview


@with_flags(*DATA)
def data(source: str, *, json: bool = False, **values: Any) -> int:
    """Show what a file holds and what nelbo fit would do with it, without training.

    Of a table: each column with its type, the likelihood that would fit its values, the share of missing cells, its
    range or most frequent texts, and whether it becomes a feature, is left out, or stops a training. Of images and
    arrays: their shape, range and layout. Below, the notes, and the line of nelbo fit to write next, in which every
    option can be changed: give it here first and see what it does.

    Args:
        source: mnist5k, digits, mnist, or a path: .csv, .tsv, .txt, .parquet, .npy, .npz, a folder of .parquet files
            (or its address, such as s3://bucket/folder), an image folder.
        json: print one JSON object instead of text.
        **values: of nelbo.data.load.
    """
    options = given(DATA, values)
    found = previewed(source, options)
    options |= for_table(found, options)
    problem, loaded = "", None
    try:
        loaded = nelbo_data.load(source, **options)
    except (MemoryError, TypeError, ValueError) as error:
        problem = in_flags(str(error), flag_names(DATA))
    if loaded is not None and "standardize" not in options and _wants_standardizing(loaded):
        options["standardize"] = True
        without, loaded = loaded, nelbo_data.load(source, **options)
        # what the suggestion mends is shown all the same
        loaded.origin["notes"] += [note for note in without.origin["notes"] if "standardize=True" in note]
    fits: Any = None if loaded is None else _fitting(loaded)
    if found is not None and loaded is not None and loaded.kinds:
        found = replace(found, columns=tuple(_as_taken(column, loaded) for column in found.columns))
    line = f"nelbo fit {shlex.quote(source)}{_typed(options)}"
    if json:
        from nelbo.files import json_text

        record = {
            "table": None if found is None else found.to_dict(),
            "data": None if loaded is None else loaded.origin,
            "likelihood": fits,
            "problem": problem or None,
            "fit": None if problem else line,
        }
        print(json_text(record))
        return int(bool(problem))
    if found is not None:
        families = fits if isinstance(fits, dict) else _families(found)
        print(f"{found.heading}\n\n{found.table(families)}\n")
    if loaded is not None:
        print(in_flags(str(loaded), flag_names(DATA)))
        if isinstance(fits, str):
            print(f"What the model sees fits --likelihood {fits}")
    print(f"It cannot be trained on as it is: {problem}" if problem else f"Train on it:      {line}")
    return int(bool(problem))


def _families(found: Preview) -> dict[str, str]:
    return {c.name: likelihoods.fitting(c.summary).name for c in found.columns if c.summary and not c.note}


def _fitting(loaded: nelbo_data.Data) -> str | dict[str, str]:
    """The likelihood that fits the values, or of a mixed table that of each column."""
    if loaded.kinds:
        return {name: kind.family for name, kind in loaded.kinds.items()}
    return likelihoods.fitting(loaded.train.take(min(len(loaded.train), 1000))).name


def _as_taken(column: Column, loaded: nelbo_data.Data) -> Column:
    """A column as a mixed table takes it."""
    if column.name in loaded.kinds:
        return replace(column, used="feature", note=loaded.kinds[column.name].kind)
    return column if column.used == "label" else replace(column, used="left out")


def _wants_standardizing(loaded: nelbo_data.Data) -> bool:
    """Whether the values are real numbers of vectors, which train best with mean 0 and spread 1."""
    summary = loaded.origin["summary"]
    return (
        summary["kind"] == "real"
        and not loaded.kinds
        and len(loaded.event_shape) == 1
        and loaded.preparation == nelbo_data.Preparation()
    )


def _typed(options: dict[str, Any]) -> str:
    words: list[str] = []
    for name, flag in zip((parameter.name for parameter in DATA), flag_names(DATA), strict=True):
        value = options.get(name)
        if value is True:
            words.append(flag)
        elif value not in (None, False):
            several = value if isinstance(value, list | tuple) else [plain(value)]
            if isinstance(value, Mapping):
                several = [f"{column}={kind}" for column, kind in cast("Mapping[str, str]", value).items()]
            words.append(f"{flag} {shlex.join(map(str, several))}")
    return "".join(f" {word}" for word in words)
