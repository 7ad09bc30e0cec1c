"""The space in which samples and data are compared: fixed by the data, named, and nothing to download."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nelbo.data import summarize

_RAW_AT_MOST = 16
_COMPONENTS = 32
_ROWS = 2000
"""Examples that the components are found from."""


@dataclass(frozen=True, eq=False)
class Features:
    """A map from examples to rows of numbers whose distances mean something, and its name.

    Attributes:
        name: what the features are, for tables and captions.
        of: (n, \\*event) to (n, features), float64.
    """

    name: str
    of: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The features of x: (n, \\*event) to (n, features)."""
        return self.of(x)


def features_for(train: Tensor, *, components: int = _COMPONENTS) -> Features:
    """Features that fit the data: the values themselves where they are few, else their principal components.

    Counts are taken as log(1 + x), categories as one-hot; up to 16 values are standardized each; more are projected on
    the first principal components of the training data, not whitened, so that a distance is one in the data's own
    units and pixel noise, which spreads over all directions, hardly counts.

    Args:
        train: (n, \\*event), examples of the training set.
        components: principal components, at most.
    """
    kind = summarize(train).kind
    if kind == "categories":
        classes = int(train.max()) + 1
        plain = Features(
            "one-hot values", lambda x: F.one_hot(x.long().clamp(0, classes - 1), classes).flatten(1).double()
        )
    elif kind == "counts":
        plain = Features("log(1 + counts)", lambda x: x.flatten(1).double().clamp(min=0).log1p())
    else:
        what = "pixels" if train.dim() == 4 else "values"
        plain = Features(what, lambda x: x.flatten(1).double())
    rows = plain(train[:_ROWS])
    mean = rows.mean(0)
    if rows.shape[1] <= _RAW_AT_MOST:
        scale = rows.std(0)
        scale = torch.where(scale > 0, scale, 1.0)
        return Features(f"the {rows.shape[1]} {plain.name}, standardized", lambda x: (plain(x) - mean) / scale)
    directions, share = principal_components(rows - mean, components)
    name = (
        f"the first {len(directions)} principal components of the training {plain.name} ({share:.0%} of their variance)"
    )
    return Features(name, lambda x: (plain(x) - mean) @ directions.T)


def principal_components(centered: Tensor, components: int) -> tuple[Tensor, float]:
    """The first directions, (k, features), orthonormal, and their share of the variance of centered (n, features)."""
    n, width = centered.shape
    k = min(components, n - 1, width)
    if n < width:  # the smaller of the two products has the same non-zero eigenvalues
        values, vectors = torch.linalg.eigh(centered @ centered.T)
        values, vectors = values.flip(0)[:k].clamp(min=1e-300), vectors.flip(1)[:, :k]
        directions = (centered.T @ vectors / values.sqrt()).T
    else:
        values, vectors = torch.linalg.eigh(centered.T @ centered)
        values, directions = values.flip(0)[:k], vectors.flip(1)[:, :k].T
    total = float(centered.square().sum())
    return directions, float(values.clamp(min=0).sum()) / total if total else 1.0
