"""Files of rows that are read in pieces: what `OnDisk` needs to know of a format."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowFile(ABC):
    """Rows of equal shape and type in a file.

    Attributes:
        shape: of one row, as the model shall see it.
        dtype: of the values as they are handed out.
        pieces: row numbers at which pieces begin that are read in one go, and the end: 0, ..., n.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.pieces[-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @abstractmethod
    def read(self, piece: int) -> NDArray[Any]:
        """The rows pieces[piece] to pieces[piece + 1], (rows, *shape)."""

    @abstractmethod
    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers, in this order, (len(rows), *shape)."""
