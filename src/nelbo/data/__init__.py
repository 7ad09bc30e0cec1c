"""Named sets and your own files become batches; no resizing, no rescaling that is not recorded."""

from nelbo.data.batch import Batch, as_batch
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.loading import Data, as_data, load, rebuild
from nelbo.data.looks import Looks, looks_like
from nelbo.data.on_disk import OnDisk
from nelbo.data.preparation import Preparation

__all__ = [
    "Batch",
    "Data",
    "Dataset",
    "InMemory",
    "Looks",
    "OnDisk",
    "Preparation",
    "as_batch",
    "as_data",
    "load",
    "looks_like",
    "rebuild",
]
