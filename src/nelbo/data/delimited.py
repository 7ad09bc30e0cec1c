"""Text tables as people have them: separator, decimal comma, encoding and compression, told from the file."""

import codecs
import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nelbo.data.source import RefusedError, reading
from nelbo.wording import listed

TEXT = (".csv", ".tsv", ".txt")
COMPRESSIONS = (".gz", ".bz2", ".zst")

NOTHING = ("", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "null", "NULL")
"""Texts of cells without a value."""
_NO_NUMBER = ("?", "-", "--", ".", "None", "none", "missing")  # the same among numbers; among texts they are categories
_HEAD = 1 << 18  # bytes from which the separator and the decimal point are told
_LINES = 200  # of them
_BLOCK, _LONGEST_LINE = 1 << 20, 1 << 28  # bytes
_WORDS = b"nelbo.words"  # of the schema of a table
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "blanks"}
_QUOTED = re.compile(r'(?<![^\n\r,;\t| ])"(?:[^"]|"")*"')
_NEWLINE = re.compile(r"\r\n|\n|\r")
_COMMA = re.compile(r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*")
_POINT = re.compile(r"\s*[-+]?\d*\.\d+(?:[eE][-+]?\d+)?\s*")
_COMMA_OR_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2},\d{3}\s*")
_POINT_OR_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}\.\d{3}\s*")
_POINTS_AND_COMMA = re.compile(r"\s*[-+]?\d{1,3}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})\s*")
_COMMAS_AND_POINT = re.compile(r"\s*[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})\s*")


@dataclass(frozen=True)
class Dialect:
    """How the rows of a text table are written.

    Args:
        encoding: of its characters.
        separator: between columns; a blank stands for any number of them.
        decimal: the decimal point.
        skip: lines before the table.
        comments: those of them that begin with #.
        lines_in_cells: whether quoted cells hold line breaks.
        block: bytes that hold the longest line.
        first: cells of the first lines.
    """

    encoding: str
    separator: str
    decimal: str
    skip: int
    comments: int
    lines_in_cells: bool
    block: int
    first: list[list[str]]

    @classmethod
    def of(cls, path: Path) -> "Dialect":
        """Tell it from a file: the encoding from all of its bytes, the rest from the first lines.

        Raises:
            RefusedError: the file is not text, or text in none of the encodings that are recognized.
        """
        with opened(path) as file:
            head = file.read(_HEAD)
            if b"\n" not in head and b"\r" not in head:
                head += file.readline(_LONGEST_LINE)
            complete = not file.read(1)
        encoding = _encoding(path, head)
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
        hint = re.match(r"sep=(.)\r?\n", text)  # written by and for Excel
        text = text[hint.end() :] if hint else text
        comments, text = _without_comments(text)
        bare = _NEWLINE.split(_QUOTED.sub("q", text))
        lines = [line for line in (bare if complete else bare[:-1] or bare) if line.strip()][:_LINES]
        separator = hint[1] if hint else _separator(lines)
        cells = _cells(text, separator)
        return cls(
            encoding,
            separator,
            _decimal(cells[1:] if len(cells) > 1 else cells),
            comments + (hint is not None),
            comments,
            any(_NEWLINE.search(quoted) for quoted in _QUOTED.findall(text)),
            max(_BLOCK, 4 * len(head.splitlines()[0]) if head.strip() else 0),
            cells,
        )

    @property
    def words(self) -> str:
        """What is not as in most files, in words; empty where all is."""
        unusual = [
            f"columns separated by {_SEPARATORS.get(self.separator, repr(self.separator))}" * (self.separator != ","),
            "decimal commas" * (self.decimal == ","),
            f"encoding {self.encoding}" * (self.encoding != "utf-8"),
            f"{self.comments:,} lines of comments above the table" * (self.comments > 0),
        ]
        return ", ".join(filter(None, unusual))


@contextmanager
def opened(path: Path) -> Generator[io.BufferedReader]:
    """The bytes of a file, decompressed where the end of its name says that they are compressed."""
    import pyarrow as pa

    with pa.input_stream(str(path), compression="detect") as stream, io.BufferedReader(stream) as file:
        yield file


def read_text_table(path: Path, *, known: Mapping[str, bool] | None = None) -> tuple[Any, list[str]]:
    """The table of a text file in arrow's form, and notes on what was recognized.

    Arrow guesses the type of a column from its cells: "True" and "False" are texts where "unknown" stands beside them,
    and truth values where it does not.

    Args:
        path: of the file.
        known: of columns of an earlier table, by name, whether they hold texts; of others it is told from their cells.

    Raises:
        ValueError: the file is not a table.
    """
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import csv as arrow

    pc: Any = compute
    with reading(path.name, "a table", "It may be damaged, or compressed in another way than its name says"):
        dialect = Dialect.of(path)
    expected = f"Expected lines of equal length, separated by {_SEPARATORS.get(dialect.separator, dialect.separator)}"
    if len(dialect.first) > 1 and len(dialect.first[0]) == 1 < len(dialect.first[1]):
        line = "pd.read_csv(path, sep=..., skiprows=1).to_csv('plain.csv', index=False)"
        expected += f". If its first line is a title, write the table again in pandas: {line}"

    def options(*, header: bool, texts: Collection[str] = (), only: bool = False) -> dict[str, Any]:
        return {
            "read_options": arrow.ReadOptions(
                block_size=dialect.block, skip_rows=dialect.skip, autogenerate_column_names=not header
            ),
            "parse_options": arrow.ParseOptions(delimiter=dialect.separator, newlines_in_values=dialect.lines_in_cells),
            "convert_options": arrow.ConvertOptions(
                column_types=dict.fromkeys(texts, pa.string()),
                include_columns=list(texts) if only else [],
                decimal_point=dialect.decimal,
                null_values=[*arrow.ConvertOptions().null_values, *NOTHING, *_NO_NUMBER],
            ),
        }

    def read(*, header: bool, texts: Collection[str] = ()) -> Any:
        with _plain(path, dialect) as stream:
            return arrow.read_csv(stream, **options(header=header, texts=texts))

    def padded(names: Collection[str], *, header: bool) -> set[str]:
        """Those of columns of whole numbers that are written with zeros before them."""
        if not names or not _zeros_lead(path, dialect):
            return set()
        with (
            _plain(path, dialect) as stream,
            arrow.open_csv(stream, **options(header=header, texts=names, only=True)) as batches,
        ):
            columns = ((n, cells) for b in batches for n, cells in zip(b.schema.names, b.columns, strict=True))
            return {n for n, cells in columns if pc.any(pc.match_substring_regex(cells, r"^\s*0\d")).as_py()}

    notes = [f"{path.name} was read with {dialect.words}"] if dialect.words else []
    with reading(path.name, "a table", expected):
        table, header = read(header=True), True
        names = [str(name).strip() for name in table.column_names]
        if all(is_number(name.replace(dialect.decimal, ".")) for name in names):
            table, header = read(header=False), False
            names = table.column_names
            notes.append("the first line holds numbers, so it is data; columns are named f0, f1, ...")
        known, types = known or {}, {n: str(t) for n, t in zip(table.column_names, table.schema.types, strict=True)}
        raw = dict(zip(table.column_names, names, strict=True))
        texts = {n for n, kind in types.items() if kind != "string" and known.get(raw[n])}
        texts |= padded([n for n, kind in types.items() if kind == "int64" and raw[n] not in known], header=header)
        if texts:
            table = read(header=header, texts=texts)
        told = dict(zip(names, table.columns, strict=True))
        notes += _on_points(dialect, {name: cells for name, cells in told.items() if name not in known})
    if not table.num_rows:
        raise ValueError(f"{path.name} is empty: it has names of columns, but no line below them")
    booleans = [i for i, field in enumerate(table.schema) if str(field.type) == "bool"]
    words = {str(names[i]): found for i in booleans if (found := _words_of(dialect.first, i)) is not None}
    return table.rename_columns(names).replace_schema_metadata({_WORDS: json.dumps(words)} if words else None), notes


def _zeros_lead(path: Path, dialect: Dialect) -> bool:
    """Whether some cell may begin with a zero and another digit, as codes do: all cells are gone through, cheaply."""
    ends = f'{dialect.separator}\n\r" '.encode()
    alike = bytes.maketrans(b"23456789" + ends, b"1" * 8 + b"," * len(ends))
    with _plain(path, dialect) as stream:
        tail = b","
        while block := stream.read(_BLOCK):
            cells = tail + block.translate(alike)
            if b",00" in cells or b",01" in cells:
                return True
            tail = cells[-2:]
    return False


def words_of(schema: Any, name: str) -> tuple[str, str] | None:
    """How a column of a text table says false and true; None where it does so in lower case, or was no text."""
    found = json.loads((schema.metadata or {}).get(_WORDS, "{}")).get(name)
    return found and (found[0], found[1])


def _words_of(rows: list[list[str]], column: int) -> tuple[str, str] | None:
    cells = {row[column].strip() for row in rows if column < len(row)}
    return next((words for words in (("False", "True"), ("FALSE", "TRUE")) if cells & set(words)), None)


def is_number(text: str) -> bool:
    """Whether Python reads it as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _encoding(path: Path, head: bytes) -> str:
    """UTF-8 where every byte allows it, UTF-16 by its mark or its zeros, else the Western European of Windows."""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            return name
    if b"\0" in head:
        for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
            if zeros.count(0) > 0.5 * len(zeros) and head.count(0) == zeros.count(0):
                return name
        raise RefusedError(
            f"{path.name} is not text: it holds zero bytes. Expected a table as text, or a .parquet file"
        )
    for name in ("utf-8", "cp1252"):
        try:
            _check(path, name)
        except UnicodeDecodeError as error:
            bad = error.object[error.start]
        else:
            return name
    raise RefusedError(
        f"{path.name} is text neither in UTF-8 nor in cp1252, for it holds the byte 0x{bad:02x}; write it again in "
        f"UTF-8: open('plain.csv', 'w', encoding='utf-8').write(open({path.name!r}, encoding=...).read())"
    )


def _check(path: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    with opened(path) as file:
        while block := file.read(_BLOCK):
            if not block.isascii() or decoder.getstate()[0]:
                decoder.decode(block)
        decoder.decode(b"", final=True)


def _separator(lines: list[str]) -> str:
    """The separator that occurs equally often in each line; see the comments where several do."""
    counts = {s: [line.count(s) for line in lines] for s in ",\t;|"}
    counts[" "] = [len(re.findall(" +", line.strip(" "))) for line in lines]
    in_first = {s: c[0] for s, c in counts.items() if c and c[0]}
    constant = {s: n for s, n in in_first.items() if len(set(counts[s])) == 1}
    candidates = constant or in_first
    # blanks stand beside other separators, and within names
    unlike_blanks = {s: n for s, n in candidates.items() if s != " "}
    if constant and set(constant) > {","}:
        # commas as frequent as this may be the decimal points of numbers
        for other in set(constant) - {","}:
            cells = [cell for line in lines[1:] or lines for cell in re.split(f"[{other}]+", line.strip())]
            if all(_COMMA.fullmatch(cell) or is_number(cell) for cell in cells):
                return other
    if not constant and "," in in_first:
        return ","
    if not unlike_blanks:
        return " " if constant else ","
    return max(unlike_blanks, key=lambda s: unlike_blanks[s])


def _without_comments(text: str) -> tuple[int, str]:
    """The number of lines before the table that begin with #, and the text after them.

    The last of them may be the head of the table, as in "#id,length": where the line below has as many cells, and a
    number among them.
    """
    if not text.startswith("#"):
        return 0, text
    lines = _NEWLINE.split(text)
    n = sum(1 for _ in itertools.takewhile(lambda line: line.startswith("#"), lines))
    if n < len(lines):
        separator = _separator([line for line in lines[n : n + _LINES] if line.strip()])
        last, below = (_cells(line, separator) for line in lines[n - 1 : n + 1])
        n -= bool(last and below and len(last[0]) == len(below[0]) and any(map(is_number, below[0])))
    return n, _NEWLINE.split(text, n)[n] if n else text


def _cells(text: str, separator: str) -> list[list[str]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator == " ")
    try:
        return [row for row in itertools.islice(rows, _LINES) if row]
    except csv.Error:  # cells of more than 128 KiB, which are no numbers
        return []


def _decimal(rows: list[list[str]]) -> str:
    """A comma where some cells cannot be read otherwise, and none needs a decimal point."""
    seen: Counter[str] = Counter()
    for cell in itertools.chain.from_iterable(rows):
        comma = _COMMA.fullmatch(cell) is not None and _COMMA_OR_THOUSANDS.fullmatch(cell) is None
        point = _POINT.fullmatch(cell) is not None and _POINT_OR_THOUSANDS.fullmatch(cell) is None
        seen["comma"] += comma or _POINTS_AND_COMMA.fullmatch(cell) is not None
        seen["point"] += point or _COMMAS_AND_POINT.fullmatch(cell) is not None
    return "," if seen["comma"] and not seen["point"] else "."


def _on_points(dialect: Dialect, columns: Mapping[str, Any]) -> list[str]:
    """A note on columns of numbers each of whose points may as well separate thousands.

    Args:
        dialect: of the file, whose first rows show how the numbers are written.
        columns: of the table by name, in arrow's form.
    """
    found: dict[str, str] = {}
    for i, (name, column) in enumerate(columns.items()):
        points = [row[i].strip() for row in dialect.first[1:] if i < len(row) and "." in row[i]]
        if str(column.type) == "double" and points and all(_POINT_OR_THOUSANDS.fullmatch(cell) for cell in points):
            numbers: Any = np.from_dlpack(column.drop_null().combine_chunks())  # to_numpy would import pandas
            size = abs(numbers)  # a number of four digits without a point tells that those of others are decimal
            if ((size < 1000) & ((size == np.rint(size)) | ((size >= 1) & (size.round(3) == size)))).all():
                found[name] = points[0]
    if not found or dialect.decimal != ".":
        return []
    example = next(iter(found.values()))
    separator = "r'\\s+'" if dialect.separator == " " else repr(dialect.separator)
    return [
        f"three digits stand behind each point of {listed(found)}, as in {example!r}, and were read as decimals; if "
        "the points separate thousands, write the table again in pandas: "
        f"pd.read_csv(path, sep={separator}, thousands='.', decimal=',').to_csv('plain.csv', index=False)"
    ]


def _plain(path: Path, dialect: Dialect) -> Any:
    """A stream of arrow's of the text in UTF-8, with one blank between columns where blanks separate them.

    Arrow's threads never read from a stream of Python's: they would outlive it where a program ends early.
    """
    import pyarrow as pa

    if dialect.encoding == "utf-8" and dialect.separator != " ":
        return pa.input_stream(str(path), compression="detect")
    with opened(path) as file:
        text = file.read().decode(dialect.encoding).removeprefix("\ufeff")
    if dialect.separator == " ":
        text = re.sub(r"(?m)^ +| +(?=[ \r\n]|\Z)", "", text)
    return pa.BufferReader(text.encode())
