"""Which rows are trained on and which are held out: pure functions of (number of rows, seed)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.data.draws import shuffled

_STREAM = 1 << 20  # apart from the streams that draw values


def limited(n: int, limit: int | None, *, seed: int) -> NDArray[np.int64] | None:
    """The rows kept by `limit`, shuffled, or None for all of them."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"limit is {limit!r}; expected how many examples to keep, 1 or more, or None for all.")
    return None if limit >= n else shuffled(n, seed=seed, stream=_STREAM)[:limit]


def split(
    n: int, *, validation: float, limit: int | None, seed: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Row numbers of training and validation set, disjoint; (None, None) is all rows in order, none held out.

    Raises:
        ValueError: `validation` is no share and no number of rows, or leaves one of the two sets empty.
    """
    kept = limited(n, limit, seed=seed)
    size = n if kept is None else len(kept)
    held = _held_out(size, validation)
    if not held:
        return kept, None
    order = shuffled(n, seed=seed, stream=_STREAM) if kept is None else kept
    return order[held:], order[:held]


def _held_out(n: int, validation: Any) -> int:
    number = isinstance(validation, (int, float)) and not isinstance(validation, bool)
    share = isinstance(validation, float) and 0 <= validation < 1
    if not number or not (share or (validation >= 0 and validation == int(validation))):
        raise ValueError(
            f"validation is {validation!r}; expected a share below 1 (0.1 holds out a tenth), a number of "
            "examples, or 0."
        )
    held = max(1, round(validation * n)) if share and validation > 0 else int(validation)
    if held >= n:
        raise ValueError(
            f"validation={validation!r} holds out {held:,} of {n:,} examples and leaves none to train on. "
            "Write validation=0, or bring more examples."
        )
    return held
