"""Data sets: named ones and your own files become batches, with nothing resized or rescaled unrecorded."""

from nelbo.data.batch import Batch, as_batch
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.loading import Data, as_data, load, rebuild
from nelbo.data.on_disk import OnDisk
from nelbo.data.preparation import Preparation
from nelbo.data.previewing import Preview, preview
from nelbo.data.source import ChangedError, Source, reader
from nelbo.data.streamed import Streamed
from nelbo.data.summary import ValueSummary, summarize

__all__ = [
    "Batch",
    "ChangedError",
    "Data",
    "Dataset",
    "InMemory",
    "OnDisk",
    "Preparation",
    "Preview",
    "Source",
    "Streamed",
    "ValueSummary",
    "as_batch",
    "as_data",
    "load",
    "preview",
    "reader",
    "rebuild",
    "summarize",
]
