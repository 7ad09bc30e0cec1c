"""Data sets: named ones and your own files become batches, with nothing resized or rescaled unrecorded."""

from nelbo.data.batch import Batch, as_batch
from nelbo.data.dataset import Dataset, InMemory
from nelbo.data.features import as_table
from nelbo.data.loading import Data, as_data, is_named, judged_by, load, prepared_like, rebuild, seen_by
from nelbo.data.on_disk import OnDisk
from nelbo.data.preparation import Preparation
from nelbo.data.previewing import Preview, preview
from nelbo.data.source import ChangedError, Source, reader
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
    "ValueSummary",
    "as_batch",
    "as_data",
    "as_table",
    "is_named",
    "judged_by",
    "load",
    "prepared_like",
    "preview",
    "reader",
    "rebuild",
    "seen_by",
    "summarize",
]
