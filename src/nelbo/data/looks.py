"""What the values of a data set look like, so that a likelihood can say whether it fits."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["binary", "unit interval", "8-bit integers", "counts", "categories", "real"]

_BLOCK = 1 << 20  # values looked at together: they stay in the cache for all questions, so memory is read once
_LEVELS = 256  # values are counted one by one below this
_FEW = 32  # whole numbers below this may be categories

_MEANS: dict[Kind, str] = {
    "binary": "only 0 and 1",
    "unit interval": "numbers between 0 and 1, not only the two ends",
    "8-bit integers": "whole numbers in 0..255, as in images",
    "counts": "whole numbers from 0 up with a thin upper tail",
    "categories": "a few whole numbers from 0 up, the highest still common",
    "real": "real numbers",
}


@dataclass(frozen=True)
class Looks:
    """What values look like: a kind, and the facts that led to it.

    The kind is the first that holds of the finite values:

    1. ``binary``: only 0 and 1.
    2. ``8-bit integers``: whole numbers in 0..255, stored as uint8 with a maximum of 32 or more, or at least
    1 % of them above 127.
    3. ``categories``: whole numbers in 0..31 whose maximum is at least a quarter as common as an average
    level.
    4. ``counts``: other whole numbers, none negative.
    5. ``unit interval``: all within [0, 1].
    6. ``real``: anything else.

    `kind` is a guess from values alone (a Poisson count and a category may share them); the facts are not.
    """

    kind: Kind
    minimum: float
    maximum: float
    integer_share: float
    levels: int | None
    values: int
    nan: int
    inf: int

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        finite = self.values - self.nan - self.inf
        if not finite:
            return f"{self.values:,} values, none of them finite ({self.nan:,} NaN, {self.inf:,} infinite)."
        levels = f", {self.levels} different ones" if self.levels is not None and self.levels > 2 else ""
        whole = "" if self.integer_share in (0.0, 1.0) else f", {self.integer_share:.1%} of them whole numbers"
        bad = f"; {self.nan:,} NaN and {self.inf:,} infinite" if self.nan or self.inf else ""
        return (
            f"Looks like {self.kind} ({_MEANS[self.kind]}): {finite:,} values from {self.minimum:g} to "
            f"{self.maximum:g}{levels}{whole}{bad}."
        )

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON (an empty or non-finite set has minimum and maximum None)."""
        fields = asdict(self)
        if self.values == self.nan + self.inf:
            fields["minimum"] = fields["maximum"] = None
        return fields


@dataclass
class Tally:
    """The facts about values seen so far, so that a file can be looked at piece by piece."""

    low: float = float("inf")
    high: float = float("-inf")
    whole: int = 0
    values: int = 0
    nan: int = 0
    inf: int = 0
    counts: Tensor | None = None
    small: bool = True  # all so far are whole and in 0.._LEVELS - 1, so that `counts` is complete

    def add(self, x: Tensor) -> None:
        """Look at more values: x of any shape."""
        flat = x.detach().reshape(-1)
        for start in range(0, flat.numel(), _BLOCK):
            self._add_block(flat[start : start + _BLOCK])

    def _add_block(self, v: Tensor) -> None:
        self.values += v.numel()
        exact = not (v.is_floating_point() or v.is_complex())
        if v.dtype == torch.bool:
            v = v.to(torch.uint8)
        if not exact:
            finite = torch.isfinite(v)
            if not bool(finite.all()):
                nan = int(torch.isnan(v).sum())
                self.nan += nan
                self.inf += v.numel() - int(finite.sum()) - nan
                v = v[finite]
        if not v.numel():
            return
        low, high = (float(m) for m in torch.aminmax(v))
        self.low, self.high = min(self.low, low), max(self.high, high)
        whole = v.numel() if exact else int((v == v.trunc()).sum())
        self.whole += whole
        self.small = self.small and whole == v.numel() and low >= 0 and high < _LEVELS
        if self.small:
            seen = torch.bincount(v if exact else v.to(torch.uint8), minlength=_LEVELS).cpu()
            self.counts = seen if self.counts is None else self.counts + seen

    def looks(self, dtype: torch.dtype) -> Looks:
        """The verdict for values stored as `dtype`."""
        finite = self.values - self.nan - self.inf
        counts = self.counts if self.small and self.counts is not None else None
        return Looks(
            kind=self._kind(finite, counts, dtype),
            minimum=self.low if finite else float("nan"),
            maximum=self.high if finite else float("nan"),
            integer_share=self.whole / finite if finite else 0.0,
            levels=None if counts is None else int((counts > 0).sum()),
            values=self.values,
            nan=self.nan,
            inf=self.inf,
        )

    def _kind(self, finite: int, counts: Tensor | None, dtype: torch.dtype) -> Kind:
        if finite and counts is not None:
            if self.high <= 1:
                return "binary"
            bright = int(counts[128:].sum()) >= 0.01 * finite
            if bright or (dtype == torch.uint8 and self.high >= _FEW):
                return "8-bit integers"
            top = int(self.high)
            if self.high < _FEW and int(counts[top]) >= 0.25 * finite / (top + 1):
                return "categories"
        if finite and self.whole == finite and self.low >= 0:
            return "counts"
        if finite and self.low >= 0 and self.high <= 1:
            return "unit interval"
        return "real"


def looks_like(x: Tensor) -> Looks:
    """What the values of x are: binary, unit interval, 8-bit integers, counts, categories or real.

    One pass over the values, in blocks; NaN and infinities are counted and left out of everything else.

    Args:
        x: any shape, any real dtype, any device.

    Returns:
        A `Looks`; ``print(looks_like(x))`` shows a sentence.

    Raises:
        TypeError: x is no real tensor.

    >>> import torch
    >>> looks_like(torch.tensor([0.0, 0.25, 1.0])).kind
    'unit interval'
    """
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"looks_like takes a tensor; got {type(x).__name__}. Write looks_like(torch.as_tensor(x)).")
    if x.is_complex():
        raise TypeError(f"looks_like takes real values; got {x.dtype}. Write looks_like(torch.view_as_real(x)).")
    tally = Tally()
    tally.add(x)
    return tally.looks(x.dtype)
