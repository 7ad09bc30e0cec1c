"""A table before it is trained on: what each column holds, and what would be done with it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nelbo.data.columns import CELLS, is_numeric, is_text, of_other_values, on_row_numbers, row_indices, values_of
from nelbo.data.delimited import COMPRESSIONS, TEXT, read_text_table
from nelbo.data.kinds import without_empty
from nelbo.data.parquet import SUFFIXES, ParquetFiles, is_address, is_parquet_folder
from nelbo.data.summary import ValueSummary, summarize

_ROWS = 100_000  # of .parquet files that are looked at
_LABELS = 50  # different texts of a column that may be a label
_SHOWN, _LETTERS = 2, 16  # of its texts
_LINES = 60  # columns in the text form


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: of the column.
        type: as it is stored.
        used: what it becomes; "refused" is what stops a training that does not name its columns.
        missing: share of empty cells and NaN.
        summary: of its numbers, or None where it has none.
        texts: the most frequent texts and how often they occur, of a column of text.
        different: number of different texts.
        note: why it is not a feature, or what it looks like.
    """

    name: str
    type: str
    used: Literal["feature", "label", "left out", "refused"]
    missing: float
    summary: ValueSummary | None
    texts: dict[str, int]
    different: int
    note: str

    @property
    def values(self) -> str:
        """The range of its numbers or its most frequent texts, in words."""
        if self.summary is not None:
            low, high = self.summary.minimum, self.summary.maximum
            return f"{low:g}" if low == high else f"{low:g} to {high:g}" if math.isfinite(low) else ""
        shown = ", ".join(f"{text[:_LETTERS]!r} ({count:,})" for text, count in list(self.texts.items())[:_SHOWN])
        return f"{shown} and {self.different - _SHOWN:,} more" if self.different > _SHOWN else shown

    @property
    def could_be_label(self) -> bool:
        """Whether its texts are few, so that they may name classes."""
        return bool(self.texts) and self.different <= _LABELS and not self.note.startswith(("dates", "numbers"))


@dataclass(frozen=True)
class Preview:
    """The columns of a table.

    Attributes:
        name: of the file or the folder.
        rows: of the table.
        looked_at: rows that the columns are described by: the first ones of long .parquet files.
        columns: in their order.
        notes: on how the file is written.
        parts: numbers of files and of their row groups, of a folder of .parquet files.
    """

    name: str
    rows: int
    looked_at: int
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    parts: tuple[int, int] | None = None

    def names(self, used: str) -> list[str]:
        """The columns that become this."""
        return [column.name for column in self.columns if column.used == used]

    def table(self, families: dict[str, str] | None = None) -> str:
        """The columns as text, one in a line; with the likelihood that would fit each, where it is given."""
        head = ("column", "type", "fits", "missing", "values", "becomes")
        lines: list[tuple[str, ...]] = [head]
        for column in self.columns[:_LINES]:
            missing = f"{column.missing:.1%}" if column.missing else ""
            becomes = f"{column.used}: {column.note}" if column.note else column.used
            lines.append(
                (column.name, column.type, (families or {}).get(column.name, ""), missing, column.values, becomes)
            )
        widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
        shown = ["  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]) for line in lines]
        more = len(self.columns) - _LINES
        return "\n".join([*shown, *([f"and {more:,} more columns"] if more > 0 else [])])

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        columns = [
            {**asdict(column), "summary": None if column.summary is None else column.summary.to_dict()}
            for column in self.columns
        ]
        return {**asdict(self), "columns": columns, "notes": list(self.notes)}

    @property
    def heading(self) -> str:
        """The size of the table, in words."""
        seen = "" if self.looked_at == self.rows else f", of which the first {self.looked_at:,} are described"
        where = "" if self.parts is None else f" in {self.parts[0]:,} files and {self.parts[1]:,} row groups"
        return f"{self.name}: {self.rows:,} rows{where}, {len(self.columns):,} columns{seen}"

    def __str__(self) -> str:
        return f"{self.heading}\n\n{self.table()}"


def is_table(path: str | Path) -> bool:
    """Whether `preview` describes the columns of what is at a path: a file, by its name, or a folder."""
    name = str(path).lower()
    texts = tuple(text + packed for text in TEXT for packed in ("", *COMPRESSIONS))
    return is_address(path) or name.endswith((*SUFFIXES, *texts)) or is_parquet_folder(Path(path).expanduser())


def preview(path: str | Path, *, label: str | None = None, columns: Sequence[str] | None = None) -> Preview:
    """Describe the columns of a table in a text or .parquet file, or of a folder of .parquet files, without training.

    Args:
        path: of the file or the folder.
        label: the column that holds labels.
        columns: the columns that are features; by default all but `label` and what numbers the rows.

    Raises:
        ValueError: it is not a table.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "people.csv")
    >>> _ = path.write_text("age,town\\n30,Bern\\n41,Oslo\\n")
    >>> preview(path).names("feature")
    ['age']
    """
    local = Path(path).expanduser()
    files: ParquetFiles | None = None
    if is_address(path) or local.is_dir() or local.name.lower().endswith(SUFFIXES):
        files = ParquetFiles(path)
        table, notes = files.head(_ROWS), files.notes
    else:
        table, notes = read_text_table(local)
    index = row_indices(table.schema)
    described = [_column(table, i, index=index, label=label, columns=columns) for i in range(table.num_columns)]
    return Preview(
        local.absolute().name,
        table.num_rows if files is None else len(files),
        table.num_rows,
        tuple(described),
        tuple(notes),
        parts=None if files is None or not files.is_folder else (len(files.parts), len(files.rows)),
    )


def _column(table: Any, i: int, *, index: Sequence[str], label: str | None, columns: Sequence[str] | None) -> Column:
    name, kind, cells = table.schema.names[i], table.schema.field(i).type, table.column(i)
    summary, texts, note = None, dict[str, int](), ""
    missing = cells.null_count
    if is_numeric(kind):
        numbers = values_of(cells)
        numbers = numbers.astype(np.float64 if numbers.dtype.kind in "fO" else numbers.dtype)
        summary = summarize(torch.from_numpy(numbers.astype(np.int64) if numbers.dtype.kind == "u" else numbers))
        missing = max(missing, summary.nan)
        if summary.minimum == summary.maximum:
            note = "constant"
        elif on_row_numbers([name], numbers[:, None]):
            note = "a different whole number in each row, as an id or a row number"
    else:
        note = of_other_values(name, kind, cells.slice(0, CELLS).to_pylist())[0].lstrip(":, ")
    if is_text(kind):
        cells = without_empty(cells)
        missing = cells.null_count
        counted = sorted(cells.value_counts().to_pylist(), key=lambda entry: -entry["counts"])
        texts = {str(entry["values"]): entry["counts"] for entry in counted if entry["values"] is not None}
    different = len(texts)
    used: Literal["feature", "label", "left out", "refused"] = "feature"
    if name == label:
        used, note = "label", ""
    elif columns is not None and name not in columns:
        used, note = "left out", "not in columns"
    elif columns is None and name in index:
        used, note = "left out", "number or name of a row"
    elif not is_numeric(kind):
        used = "refused"
    few = dict(list(texts.items())[: 10 * _SHOWN])
    return Column(name, str(kind), used, missing / max(1, table.num_rows), summary, few, different, note)
