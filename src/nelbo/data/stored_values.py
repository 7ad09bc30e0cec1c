"""Stored values in memory and on disk, seen alike by what assembles the sets."""

from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.looks import Looks, Tally, looks_like
from nelbo.data.on_disk import OnDisk, collect
from nelbo.data.preparation import Preparation
from nelbo.data.row_files import RowFile
from nelbo.data.source import as_tensor
from nelbo.data.survey import Moments, first_broken, refuse_broken

_IN_MEMORY_SHARE = 0.15  # of `memory` that a subset of an on-disk file may take to be held in memory
Rows = NDArray[np.int64] | None


class StoredValues(Protocol):
    """Values of shape (n, *event) that can be surveyed and cut into sets."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the stored values."""
        ...

    def survey(self, train: Rows, *, moments: bool, names: tuple[str, ...] | None) -> tuple[Looks, Moments]:
        """What all values look like, and mean and spread of the training rows; broken values are an error."""
        ...

    def subset(self, rows: Rows, preparation: Preparation, labels: Tensor | None, stream: int) -> Dataset:
        """The examples with these row numbers; None is all."""
        ...


@final
class ValuesInMemory:
    """See `StoredValues`."""

    def __init__(self, x: NDArray[Any]) -> None:
        self._array = x
        self._x = as_tensor(x)
        self.dtype = self._x.dtype

    def survey(self, train: Rows, *, moments: bool, names: tuple[str, ...] | None) -> tuple[Looks, Moments]:
        """See `StoredValues.survey`."""
        looks = looks_like(self._x)
        refuse_broken(looks, first_broken(self._array, names) if looks.nan or looks.inf else "")
        found = Moments()
        if moments:
            found.add(self._array if train is None else self._array[train])
        return looks, found

    def subset(self, rows: Rows, preparation: Preparation, labels: Tensor | None, stream: int) -> InMemory:
        """See `StoredValues.subset`."""
        if rows is None:
            return InMemory(self._x, preparation=preparation, labels=labels, stream=stream)
        chosen = torch.from_numpy(rows)
        x = self._x.index_select(0, chosen)
        labels = None if labels is None else labels.index_select(0, chosen)
        return InMemory(x, preparation=preparation, labels=labels, source_rows=chosen, stream=stream)


@final
class ValuesOnDisk:
    """See `StoredValues`. A subset that is small enough is held in memory."""

    def __init__(self, file: RowFile, *, memory: int) -> None:
        self._file = file
        self._memory = memory
        self.dtype = as_tensor(np.empty(0, dtype=file.dtype)).dtype

    def survey(self, train: Rows, *, moments: bool, names: tuple[str, ...] | None) -> tuple[Looks, Moments]:
        """See `StoredValues.survey`. One pass over the file."""
        tally, found, where = Tally(), Moments(), ""
        member = None if train is None else self._mask(train)
        for start, values in self._file.pieces():
            tally.add(as_tensor(values))
            where = where or (first_broken(values, names, offset=start) if tally.nan or tally.inf else "")
            if moments and not where:
                kept = values if member is None else values[member[start : start + len(values)]]
                if len(kept):
                    found.add(kept)
        looks = tally.looks(self.dtype)
        refuse_broken(looks, where)
        return looks, found

    def subset(self, rows: Rows, preparation: Preparation, labels: Tensor | None, stream: int) -> Dataset:
        """See `StoredValues.subset`."""
        if rows is not None and len(rows) * self._file.row_bytes <= self._memory * _IN_MEMORY_SHARE:
            chosen = torch.from_numpy(rows)
            x = as_tensor(collect(self._file, rows))
            labels = None if labels is None else labels.index_select(0, chosen)
            return InMemory(x, preparation=preparation, labels=labels, source_rows=chosen, stream=stream)
        member = None if rows is None else self._mask(rows)
        if labels is not None and member is not None:
            labels = labels[torch.from_numpy(member)]
        return OnDisk(
            self._file,
            preparation=preparation,
            labels=labels,
            member=member,
            memory=int(self._memory * 0.7),
            stream=stream,
        )

    def _mask(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self._file), dtype=np.bool_)
        mask[rows] = True
        return mask
