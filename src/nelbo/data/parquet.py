"""A table in .parquet files: one file, or the rows of those of a folder one after the other."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, final
from urllib.parse import urlsplit

import numpy as np

from nelbo.data.columns import CELLS, as_columns, dtype_of, is_numeric, is_text
from nelbo.data.images import is_image
from nelbo.data.source import RefusedError, reading, sha256_of_file
from nelbo.progress import ProgressBar
from nelbo.wording import SHOWN, listed

FOLDER = "a folder of .parquet files"
SUFFIXES = (".parquet", ".pq")

_READ_AT_A_TIME = 1 << 16  # bytes of a column
_TOGETHER = 1 << 26  # bytes of columns that are read in one pass over the files
_END = 8  # bytes behind the metadata at the end of a file: their length, and a mark


class _Part(NamedTuple):
    """A file of the table: where it lies, its path within the folder, its name in messages and its bytes."""

    path: str
    relative: str
    name: str
    size: int


@final
class ParquetFiles:
    """The rows of .parquet files as one table, in the order of the paths of the files.

    Files without rows are left out, and so are those whose name, or the name of a folder above, begins with ``_`` or
    ``.``. One file is open at a time.

    Args:
        source: a file or a folder: a path, or an address such as ``"s3://bucket/folder"`` that ``pyarrow.fs`` opens.

    Attributes:
        path: of the file or the folder.
        name: of it, for messages.
        schema: the columns that each file has, of types that hold those of all files, as arrow has it.
        rows: (pieces,) the numbers of rows of the row groups of all files, in order, without empty ones.
        column_chunks: the most that the metadata of one file describe.
        notes: on what is not read.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: there is no .parquet file, there are images beside, or a file is damaged.
    """

    def __init__(self, source: str | Path) -> None:
        self._address = is_address(source)
        self.path = Path(source) if self._address else Path(source).expanduser().absolute()
        self.name = self.path.name
        with reading(str(source), FOLDER, "Check the address, and whether you may read it"):
            self._system, base, found = _found(str(source) if self._address else self.path)
        self.is_folder = isinstance(found, list)
        self.notes: list[str] = []
        if isinstance(found, list):
            parts = self._parts(found, base)
        elif found.is_file:
            parts = [_Part(base, self.name, self.name, found.size)]
        else:
            raise FileNotFoundError(f"there is no file and no folder {source}")
        self._opened: tuple[str, Any] = "", None
        self._read_metadata(parts)

    def _parts(self, found: Sequence[Any], base: str) -> list[_Part]:
        """The .parquet files of a folder."""
        files = {each.path[len(base) :].lstrip("/"): each for each in found if each.is_file}
        names = sorted(filter(_counts, files))
        images = [name for name in files if is_image(Path(name))]
        if names and images:
            raise ValueError(
                f"{self.name} must hold images or .parquet files, got both, such as {min(images)} and {names[0]}; "
                "move those of one kind to a folder of their own"
            )
        if not names:
            raise ValueError(f"{self.name} must hold .parquet files, got none")
        keys = {part.partition("=")[0] for name in names for part in name.split("/")[:-1] if "=" in part}
        if keys:
            self.notes.append(f"{listed(sorted(keys))} in the names of folders: not read as a column")
        return [_Part(files[name].path, name, f"{self.name}/{name}", files[name].size) for name in names]

    def _open(self, path: str) -> Any:
        """The ``pyarrow.parquet.ParquetFile`` of a path, of which nothing is read ahead.

        It is kept open until another one is asked for: the metadata of many row groups take long to read, and an open
        file holds buffers for all its columns. The pieces of a buffer are read file by file.
        """
        import pyarrow as pa
        from pyarrow import parquet

        if self._opened[0] != path:
            if self._opened[1] is not None:
                self._opened[1].close(force=True)
            self._opened = "", None
            pa.default_memory_pool().release_unused()
            # without buffer_size, a whole row group is read before its first row is decoded
            self._opened = path, parquet.ParquetFile(path, filesystem=self._system, buffer_size=_READ_AT_A_TIME)
        return self._opened[1]

    def _read_metadata(self, parts: Sequence[_Part]) -> None:
        pieces: list[tuple[int, int, int]] = []  # file, row group in it, rows
        chunks: list[int] = []
        self.parts: list[_Part] = []
        columns: _Columns | None = None
        with ProgressBar(f"opening {self.name}", len(parts)) as bar:
            for part in parts:
                with _errors(part):
                    file = self._open(part.path)
                    meta, schema = file.metadata, file.schema_arrow
                    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
                    if min(sizes, default=0) < 0 or sum(sizes) != meta.num_rows:
                        raise ValueError(f"its {meta.num_rows:,} rows are said to be in groups of {sizes[:SHOWN]}")
                bar.advance(1)
                if not meta.num_rows and part != parts[-1]:
                    continue
                if meta.num_rows or not self.parts:
                    pieces += [(len(self.parts), i, rows) for i, rows in enumerate(sizes) if rows]
                    chunks.append(meta.num_row_groups * meta.num_columns)
                    columns = columns or _Columns(schema, part.name)
                    columns.join(schema, part.name)
                    self.parts.append(part)
        assert columns is not None  # of the last file at the latest
        self.schema, self._unlike = columns.schema, columns.unlike
        self.column_chunks = max(chunks)
        self._part, self._group, self.rows = np.array(pieces, dtype=np.int64).reshape(-1, 3).T

    def __len__(self) -> int:
        return int(self.rows.sum())

    def sha256(self) -> str:
        """The hash of the bytes of one file; of a folder or an address, that of what its files say of themselves.

        To hash all bytes would be to read them all. Of each file with rows its path within the folder, its size and
        the metadata at its end are hashed: columns, row groups, and for each column of a row group where it lies, its
        size, and with most writers its smallest and largest value. So a file that was written again has another hash,
        but for one in which values changed without any of these.
        """
        if not (self.is_folder or self._address):
            return sha256_of_file(self.path)
        digest = hashlib.sha256()
        for part in self.parts:
            with _errors(part), self._system.open_input_file(part.path) as file:
                length = int.from_bytes(file.read_at(4, part.size - _END), "little")
                digest.update(f"{part.relative}\0{part.size}\0".encode())
                digest.update(file.read_at(length, part.size - _END - length))
        return digest.hexdigest()

    def refuse_unlike(self, columns: Sequence[str] | None, *, label: str | None, fixed: bool = False) -> None:
        """Raise a ValueError where files differ in a column that is to be read.

        Args:
            columns: the features; None is all columns.
            label: the column that holds labels, or None.
            fixed: whether the columns are those of a run, so that no other ones can be read.
        """
        wanted = [*self.schema.names, *self._unlike] if columns is None else columns
        bad = [name for name in self._unlike if name in wanted or name == label]
        if bad:
            kept = [name for name in wanted if name not in (*bad, label)]
            line = f"write {as_columns(kept)} to leave {'them' if len(bad) > 1 else 'it'} out, or "
            others = f" (likewise {listed(bad[1:])})" if len(bad) > 1 else ""
            raise ValueError(
                f"the files of {self.name} must have the same columns, of the same types: {self._unlike[bad[0]]}"
                f"{others}; {'' if fixed or bad == [label] else line}write the file again, as the others are"
            )

    def file_of(self, piece: int) -> str:
        """The name of the file that holds a piece, for messages."""
        return self.parts[self._part[piece]].name

    def errors(self, piece: int) -> AbstractContextManager[None]:
        """Within, an error of arrow's names the file that holds a piece."""
        return _errors(self.parts[self._part[piece]])

    def batches(self, piece: int, rows: int, names: Sequence[str]) -> Iterator[Any]:
        """Some columns of a row group as record batches of at most so many rows, in the types of its file."""
        file = self._open(self.parts[self._part[piece]].path)
        return file.iter_batches(rows, row_groups=[int(self._group[piece])], columns=list(names), use_threads=False)

    def head(self, rows: int, names: Sequence[str] | None = None) -> Any:
        """The first rows, at most so many, as a table of arrow's; of all columns or some."""
        tables, left = [self._table([], names)], rows
        for part in self.parts:
            with _errors(part):
                file = self._open(part.path)
                for batch in file.iter_batches(min(left, CELLS), columns=self._names(names)):
                    tables.append(self._table([batch], names))
                    left -= batch.num_rows
                    if left <= 0:
                        return _joined(tables).slice(0, rows)
        return _joined(tables)

    def read(self, names: Sequence[str]) -> Any:
        """Whole columns, as a table of arrow's."""
        tables = [self._table([], names)]
        for part in self.parts:
            with _errors(part):
                tables.append(self._table(self._open(part.path).read(columns=list(names)).to_batches(), names))
        return _joined(tables)

    def by_column(self) -> Callable[[str], Any]:
        """A function from the name of a column to the whole column, for those who ask for one after the other.

        Columns behind the one that is asked for are read with it, as many as take little memory: else each of many
        small files would be opened once for every column.
        """
        ahead: dict[str, Any] = {}

        def column(name: str) -> Any:
            if name not in ahead:
                names = self.schema.names
                first, most = names.index(name), max(1, _TOGETHER // (8 * max(1, len(self))))
                table = self.read(names[first : first + most])
                ahead.clear()
                ahead.update(zip(table.schema.names, table.columns, strict=True))
            return ahead.pop(name)

        return column

    def _names(self, names: Sequence[str] | None) -> list[str]:
        return self.schema.names if names is None else list(names)

    def _table(self, batches: list[Any], names: Sequence[str] | None) -> Any:
        """Rows of one file in the columns and types of the table."""
        import pyarrow as pa

        schema = self.schema if names is None else pa.schema([self.schema.field(name) for name in names])
        if not batches:
            return schema.empty_table()
        table = pa.Table.from_batches(batches)
        return table if table.schema.equals(schema) else table.select(schema.names).cast(schema, safe=False)


@final
class _Columns:
    """The columns that files have in common, in types that hold those of all, and in what files differ.

    Attributes:
        unlike: what is said of each column that not all files have, or have in types that do not go together.
    """

    def __init__(self, schema: Any, file: str) -> None:
        self.schema, self.unlike = schema, dict[str, str]()
        self._first, self._last = file, schema

    def join(self, schema: Any, file: str) -> None:
        """Take in the columns of another file."""
        import pyarrow as pa

        if schema.equals(self._last):  # as nearly always
            return
        self._last = schema
        there: dict[str, Any] = {field.name: field.type for field in schema}
        kept: list[Any] = []
        for field in self.schema:
            kind = _wide_enough(field.type, there[field.name]) if field.name in there else None
            if kind is not None:
                kept.append(field.with_type(kind))
            elif field.name not in there:
                self.unlike[field.name] = f"{file} lacks {field.name!r}, which {self._first} has"
            else:
                self.unlike[field.name] = (
                    f"{field.name!r} is {there[field.name]} in {file}, and {field.type} in the files before it"
                )
        for name in there:
            if name not in self.schema.names and name not in self.unlike:
                self.unlike[name] = f"{file} has {name!r}, which {self._first} lacks"
        self.schema = pa.schema(kept, metadata=self.schema.metadata)


def _wide_enough(one: Any, other: Any) -> Any:
    """The type of arrow's that holds the values of both, or None."""
    import pyarrow as pa
    from pyarrow import types

    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if is_text(one) and is_text(other):
        return pa.string()
    if all(is_numeric(kind) and not types.is_boolean(kind) for kind in (one, other)):
        return pa.from_numpy_dtype(np.result_type(dtype_of(one), dtype_of(other)))
    return None


def is_address(source: Any) -> bool:
    """Whether a source is an address such as ``"s3://bucket/folder"``, and no path."""
    return isinstance(source, str) and "://" in source


def is_parquet_folder(path: Path) -> bool:
    """Whether a path is that of a folder with .parquet files in it, or in the folders within."""
    return path.is_dir() and any(
        _counts((Path(folder) / name).relative_to(path).as_posix())
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )


def _counts(relative: str) -> bool:
    """Whether a file of a folder holds rows of the table: not what Spark and Dask write beside them."""
    return relative.lower().endswith(SUFFIXES) and not any(part[:1] in ("_", ".") for part in relative.split("/"))


def _found(source: str | Path) -> tuple[Any, str, Any]:
    """The filesystem of a source, its path there, and what arrow says of the file, or of all that is in the folder."""
    from pyarrow import fs

    files: Any = fs
    system, base = (files.LocalFileSystem(), source.as_posix()) if isinstance(source, Path) else _reached(source)
    base = base.rstrip("/")
    found = system.get_file_info(base)
    if found.type == files.FileType.Directory:
        found = system.get_file_info(files.FileSelector(base, recursive=True))
    return system, base, found


def _reached(address: str) -> tuple[Any, str]:
    """The filesystem of an address, and the path there."""
    from pyarrow import fs

    if urlsplit(address).password:
        raise RefusedError(
            "the address of data must hold no password, for a run would record it; leave it out, and give it in the "
            "environment, as with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    files: Any = fs
    return files.FileSystem.from_uri(address)


def _joined(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _errors(part: _Part) -> AbstractContextManager[None]:
    return reading(part.name, "a .parquet file", "It may be cut short")
