"""The features of a run by name: which columns of another table they are, and what has become of their units."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.kinds import ColumnKind
from nelbo.data.preparation import Preparation
from nelbo.data.summary import Missing
from nelbo.registry import nearest
from nelbo.wording import listed

_FAR = 20.0  # standard deviations of a mean, and how many times as wide or narrow, from which on units are doubted
_LOG = math.log(_FAR)
_FEW = 20  # rows below which a spread says little
_SHOWN = 4
_NUMBERS = re.compile(r"u?int\d+|halffloat|float|double|bool|decimal.*")  # types of arrow's
_NUMBERS_OR_NONE = re.compile(f"null|{_NUMBERS.pattern}")


@final
class Features(tuple[str, ...]):
    """The names of the columns that a run was trained on, in their order.

    >>> Features(["a", "b"]).taken_from({"b": "int64", "a": "double"}, file="new.csv", label="y")
    (['a', 'b'], None)
    """

    __slots__ = ()

    def taken_from(
        self,
        present: Mapping[str, str],
        *,
        file: str,
        label: str | None,
        missing: Missing = None,
        categories: Sequence[str] = (),
    ) -> tuple[list[str], str | None]:
        """The columns to read of another table: these, and the label where the table has it.

        A warning names the columns that are left out.

        Args:
            present: the table's columns and what they hold, in arrow's words, such as "int64".
            file: the table's name, for messages.
            label: the column of the run's labels.
            missing: what an empty cell means: where it means not observed, so does an empty column.
            categories: those of these columns that may hold texts.

        Raises:
            ValueError: columns are missing, all of which are named, or hold no numbers.
        """
        lacking = [name for name in self if name not in present]
        if lacking:
            empty = "" if missing is None else ". An empty column of that name stands for values that were not observed"
            raise ValueError(f"{file} lacks {_of(self, lacking)}; {_instead(lacking, list(present))}{empty}")
        taken = _NUMBERS if missing is None else _NUMBERS_OR_NONE
        bad = [name for name in self if name not in categories and not taken.fullmatch(present[name])]
        texts = [f"{name!r} ({present[name]})" for name in bad]
        if texts:
            raise ValueError(
                f"{file} must hold numbers in the columns that the run was trained on, got {', '.join(texts)}; "
                "convert them to numbers as in the table that it was trained on"
            )
        label = label if label in present else None
        extra = [name for name in present if name not in self and name != label]
        if extra:
            warnings.warn(f"{file}: {listed(extra)} left out, on which the run was not trained", stacklevel=2)
        return list(self), label


def taken(
    schema: Any,
    file: str,
    *,
    label: str | None,
    columns: Sequence[str] | None,
    missing: Missing,
    types: Mapping[str, Any] | None = None,
) -> tuple[Sequence[str] | None, str | None]:
    """Columns and label to read of a table with this schema of arrow's: of `Features` by name, else as they are."""
    if not isinstance(columns, Features):
        return columns, label
    present = {field.name: str(field.type) for field in schema}
    categories = [name for name, kind in (types or {}).items() if kind.categories]
    return columns.taken_from(present, file=file, label=label, missing=missing, categories=categories)


def types_of(schema: Any, names: Sequence[str]) -> tuple[str, ...]:
    """What some columns of a table hold, in arrow's words."""
    return tuple(str(schema.field(name).type) for name in names)


def _of(features: Sequence[str], missing: Sequence[str]) -> str:
    several = f"{len(missing)} of the {len(features)} columns" if len(features) > 1 else "the column"
    return f"{several} that the run was trained on: {', '.join(map(repr, missing))}"


def _instead(missing: Sequence[str], present: Sequence[str]) -> str:
    if present == [f"f{i}" for i in range(len(present))]:
        return (
            "its first line holds numbers, so that its columns have no names; write their names, separated by commas, "
            "as its first line"
        )
    found = {name: nearest(name, present) or "" for name in missing}
    near = [f"{other!r} for {name!r}" for name, other in found.items() if other and nearest(other, missing) == name]
    meant = f". Did you mean {', '.join(near)}? Rename them in the file" if near else ""
    return f"it has {listed(present)}{meant}"


def as_table(
    origin: Mapping[str, Any], x: Tensor, *, means: bool = False, empty: int | None = None
) -> dict[str, NDArray[Any]]:
    """Examples as the model of a run sees them, as columns in the names and the units of its data.

    Args:
        origin: of the run's data.
        x: (n, \\*event).
        means: whether x are means of p(x|z). Those of a mixed table's true and false become the more probable one, as
            its categories do; in other tables they stay probabilities.
        empty: of a mixed table with missing values, a seed by which cells are left empty as often as in the training
            data, each column by itself and whatever its values; None leaves none empty.

    Returns:
        Columns (n,) by name, x0, x1, ... where the data have no names; whole numbers where the data hold whole ones.
    """
    prepared = Preparation.from_dict(origin["preparation"])
    raw = prepared.inverse(x).flatten(1).numpy()
    names = origin.get("features") or ()
    if len(names) != raw.shape[1]:
        names = [f"x{i}" for i in range(raw.shape[1])]
    if origin.get("kinds"):
        known = [ColumnKind.from_dict(kind) for kind in origin["kinds"].values()]
        if empty is not None:
            gone = np.random.default_rng(empty).random(raw.shape) < [kind.missing for kind in known]
            raw = np.where(gone, np.nan, raw)
        return {name: known[i].decoded(raw[:, i], means=means) for i, name in enumerate(names)}
    types = origin.get("types") or ()
    if len(types) != len(names):
        whole = not prepared.binarize and (origin.get("summary") or {}).get("integer_share") == 1
        types = ["int64" if whole else "double"] * len(names)
    return {name: _typed(raw[:, i], types[i], means) for i, name in enumerate(names)}


def _typed(values: NDArray[Any], kind: str, means: bool) -> NDArray[Any]:
    if kind == "bool":
        return values if means else values >= 0.5
    return np.rint(values).astype(np.int64) if "int" in kind and bool(np.isfinite(values).all()) else values


def units_that_changed(
    known: Mapping[str, Any] | None, new: Mapping[str, Any] | None, *, n: int, names: Sequence[str] | None
) -> str | None:
    """A sentence on the features whose mean or spread in new data is far from that in a run's training set, if any.

    Args:
        known: of the training set, its "mean" and "std", one number each per feature or channel.
        new: likewise, of the new data.
        n: number of new examples.
        names: of the features.
    """
    if not known or not new or not known.get("mean") or not new.get("mean"):
        return None
    mean, std, other, spread = (np.asarray(each[of], float) for each in (known, new) for of in ("mean", "std"))
    if mean.shape != other.shape:
        return None
    scale = np.where(std > 0, std, 1.0)
    off = (other - mean) / scale
    with np.errstate(divide="ignore"):
        ratio = np.where((std > 0) & (spread > 0) & (n >= _FEW), spread / scale, 1.0)
    changed = (abs(off) >= _FAR) | (abs(np.log(ratio)) >= _LOG)
    said = [_change(i, off, ratio, names) for i in np.flatnonzero(changed).tolist()]
    if not said:
        return None
    shown = "; ".join(said[:_SHOWN]) + (f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")
    return f"{shown}. Check that their units are those of the data that the run was trained on"


def _change(i: int, off: NDArray[Any], ratio: NDArray[Any], names: Sequence[str] | None) -> str:
    name = f"column {names[i]!r}" if names else f"feature {i}"
    if abs(off[i]) >= _FAR:
        far = f"{abs(off[i]):,.0f} standard deviations {'above' if off[i] > 0 else 'below'}"
        return f"the mean of {name} lies {far} that of the training set"
    times = f"{ratio[i]:,.0f} times" if ratio[i] > 1 else f"1/{1 / ratio[i]:,.0f} of"
    return f"the standard deviation of {name} is {times} that of the training set"
