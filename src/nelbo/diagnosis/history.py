"""The history of a training, as nelbo writes it or as others call its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_TERMS = {
    "reconstruction_error": ("reconstruction", "recon", "rec", "reconstruction_loss", "recon_loss", "rec_loss", "nll"),
    "kl": ("kld", "kl_loss", "kl_divergence", "kld_loss", "regularization", "regularisation"),
    "nelbo": ("negative_elbo", "neg_elbo"),
    "objective": ("loss", "total_loss", "total"),
}
_ALONE = {
    "beta": ("beta", "kl_weight", "kld_weight", "weight_kl"),
    "gradient_norm": ("gradient_norm", "grad_norm"),
    "learning_rate": ("learning_rate", "lr"),
    "epoch": ("epoch",),
}
# a term without a part is the training's
_NAMES = {
    **{name: f"train_{ours}" for ours, theirs in _TERMS.items() for name in (ours, *theirs)},
    **{
        f"{part}_{name}": f"{nelbos}_{ours}"
        for part, nelbos in _PARTS.items()
        for ours, theirs in _TERMS.items()
        for name in (ours, *theirs)
    },
    **{name: ours for ours, theirs in _ALONE.items() for name in theirs},
}


@dataclass(frozen=True)
class History:
    """Epochs of a training, by column.

    Attributes:
        columns: name -> (epochs,); NaN where an epoch has no such number. Names are nelbo's: train_ and validation_
            followed by reconstruction_error, kl, nelbo or objective (and _standard_error); beta, gradient_norm,
            learning_rate.
        unknown: columns that mean nothing to nelbo.
    """

    columns: dict[str, Column]
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, history: Any) -> "History":
        """From a list with a dictionary for each epoch, or a dictionary of lists.

        Raises:
            TypeError: it is neither.
            ValueError: its columns have different lengths, or none of them is known.
        """
        table = _table(history)
        columns: dict[str, Column] = {}
        unknown: list[str] = []
        for name, values in table.items():
            key = name.lower().replace("/", "_").replace("-", "_").replace(" ", "_")
            term = key.removesuffix("_standard_error")
            if term in _NAMES:
                columns[_NAMES[term] + key.removeprefix(term)] = values
            else:
                unknown.append(name)
        if not any(name.startswith(("train_", "validation_")) for name in columns):
            raise ValueError(
                f"history has the columns {', '.join(table) or 'none'}, none of which nelbo knows; it needs some of "
                "train_reconstruction_error, train_kl, train_objective (and the same with validation_), in nats per "
                "example, one number an epoch: history=[{'train_reconstruction_error': 110.2, 'train_kl': 12.1}, ...]"
            )
        _complete(columns)
        return cls(columns, tuple(unknown))

    def __len__(self) -> int:
        return max((len(column) for column in self.columns.values()), default=0)

    def get(self, name: str) -> Column | None:
        """A column, or None where the history has no finite number of it."""
        column = self.columns.get(name)
        return column if column is not None and bool(np.isfinite(column).any()) else None


def _table(history: Any) -> dict[str, Column]:
    if isinstance(history, Mapping):
        lists = {str(name): _column(values) for name, values in history.items() if _is_numbers(values)}
    elif isinstance(history, Sequence) and all(isinstance(epoch, Mapping) for epoch in history):
        names = dict.fromkeys(str(name) for epoch in history for name in epoch)
        lists = {name: _column([epoch.get(name) for epoch in history]) for name in names}
    else:
        raise TypeError(
            f"history is a list with a dictionary for each epoch, or a dictionary of lists; got a "
            f"{type(history).__name__}. Write history=[{{'train_loss': 120.0, 'val_loss': 125.0}}, ...]"
        )
    if len({len(values) for values in lists.values()}) > 1:
        lengths = {name: len(values) for name, values in lists.items()}
        raise ValueError(f"history's columns have different lengths: {lengths}; expected one number an epoch in each")
    return lists


def _is_numbers(values: Any) -> bool:
    return isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)


def _column(values: Any) -> Column:
    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(value) for value in values], dtype=np.float64)


def _complete(columns: dict[str, Column]) -> None:
    for name in ("train_kl", "validation_kl"):
        kl = columns.get(name)
        if kl is not None and bool((kl[np.isfinite(kl)] <= 0).all()):
            columns[name] = -kl  # a KL is never negative: some log the term of the ELBO, which is
    for part in ("train", "validation"):
        error, kl = columns.get(f"{part}_reconstruction_error"), columns.get(f"{part}_kl")
        if f"{part}_nelbo" not in columns and error is not None and kl is not None:
            columns[f"{part}_nelbo"] = error + kl
