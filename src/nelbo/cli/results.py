"""What commands compute of examples, as tables in files, and in folders where it is long."""

import contextlib
import functools
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from nelbo import runs
from nelbo.cluster import announce, check_workers, side_by_side
from nelbo.data import Batch, Dataset
from nelbo.data.kinds import ColumnKind
from nelbo.data.loading import prepared_like
from nelbo.data.source import sha256_of_arrays
from nelbo.estimate import Estimate
from nelbo.files import read_json, write_bytes, write_json
from nelbo.progress import ProgressBar
from nelbo.wording import listed
from nelbo.workers import dealt, given

FILE = "parts.json"
AT_ONCE = 4096  # rows between two steps of the progress bar
_TOTALS = b"nelbo"  # key of the totals in the metadata of a file
Totals = Mapping[str, float]
Split = Literal["train", "validation", "test"]
Columns = dict[str, np.ndarray]


def examples_of(run: runs.Run, data: str | None, split: Split) -> Dataset:
    """A part of the run's own data, or other data, prepared as the run's were."""
    if data is None:
        parts = {"train": run.data.train, "validation": run.data.validation, "test": run.data.test}
        examples = parts[split]
        if examples is None:
            available = ", ".join(name for name, part in parts.items() if part is not None)
            raise ValueError(
                f"the run's data have no {split} part; they have: {available}. Write --split {available.split(', ')[0]}"
            )
        return examples
    return run.examples(data)


def check_format(out: Path | None, *suffixes: str) -> None:
    """Refuse, before anything is computed, a file of a kind that none is written of."""
    if out is not None and out.suffix not in suffixes:
        raise ValueError(f"--out must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got {out.name!r}")


def rows_of(examples: Dataset, positions: Tensor | None) -> np.ndarray:
    """The row of each example in its file."""
    rows = examples.source_rows
    rows = torch.arange(len(examples)) if rows is None else rows
    return (rows if positions is None else rows[positions]).cpu().numpy()


def beside(rows: np.ndarray, table: Columns) -> Columns:
    """A table with the number of each row in its first column."""
    return {"source_row" if "row" in table else "row": rows, **table}


def kinds_of(run: runs.Run) -> dict[str, ColumnKind]:
    """What each column of a mixed table is, from the run's record; empty of other data."""
    kinds = (run.record.get("data") or {}).get("kinds") or {}
    return {name: ColumnKind.from_dict(kind) for name, kind in kinds.items()}


def array_bytes(values: np.ndarray) -> bytes:
    """A .npy file of this array."""
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def table_bytes(
    columns: Columns,
    suffix: str,
    kinds: Mapping[str, ColumnKind] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """A .csv or .parquet file of these columns, in which NaN is an empty cell; true and false in the source's words."""
    import pyarrow as pa
    from pyarrow import compute, csv, parquet

    pc: Any = compute
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    for name, kind in (kinds or {}).items() if suffix == ".csv" else ():
        if kind.words is not None:
            false, true = kind.words
            texts = pc.if_else(table.column(name), true, false)
            table = table.set_column(table.column_names.index(name), name, texts)
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(table, sink)
    return sink.getvalue().to_pybytes()


def is_folder(out: Path | None) -> bool:
    """Whether an output is to be a folder of files: a path without an ending."""
    return out is not None and (not out.suffix or out.is_dir())


def moments(values: np.ndarray) -> dict[str, float]:
    """Totals by which `mean_of` knows the mean over all parts."""
    return {"sum": float(values.sum()), "squares": float(np.square(values).sum())}


def mean_of(totals: Totals) -> Estimate:
    """The mean over all parts in nats, with its standard error over the rows."""
    n = int(totals["rows"])
    mean = totals["sum"] / n
    variance = max(0.0, totals["squares"] / n - mean**2)
    return Estimate.number(mean, math.sqrt(variance / max(1, n - 1)))


def in_parts(
    run: runs.Run,
    folder: Path,
    what: str,
    compute: Callable[[Dataset, Batch], tuple[Columns, Totals]],
    *,
    data: str | None,
    split: Split,
    seed: int,
    at_once: int | None = AT_ONCE,
    by: "ByRay | None" = None,
    **task: Any,
) -> "Parts":
    """Write what is computed of a part of the run's own data, or of other data, into a folder, and say so.

    Args:
        run: the run.
        folder: of the files.
        what: is computed, for people.
        compute: gives the columns of some examples, and what is to be added up over all of them.
        data: as for `examples_of`; what can be read in parts is.
        split: likewise.
        seed: of the draws.
        at_once: examples that are computed between two steps of the progress bar; None is all of a part.
        by: the processes that compute instead of this one.
        task: what else tells these results from others, ready for JSON.
    """
    if data is None:
        examples = examples_of(run, None, split)
        which: dict[str, Any] = {"data": run.data.origin["sha256"], "split": split}
    else:
        found = prepared_like(run.origin, data, in_order=True)
        examples, which = found.train, {"data": found.origin["sha256"]}
    which = {**which, "rows": len(examples), "seed": seed}
    parts = Parts(folder, what, {**model_of(run), **which, **task}, examples.parts)

    def each(part: slice) -> Iterator[tuple[Columns, Totals]]:
        batch = examples.examples(part, seed=seed)
        for some in batch.split(at_once or len(batch)):
            yield compute(examples, some)

    parts.write(each, kinds=kinds_of(run), by=by)
    return parts


def model_of(run: runs.Run) -> dict[str, Any]:
    """What tells the model of a run from others."""
    weights = run.model.state_dict()
    values = [weights[name].detach().cpu() for name in sorted(weights)]
    arrays = [v.float().numpy() if v.is_floating_point() else v.numpy() for v in values]
    return {"model": sha256_of_arrays(*(np.atleast_1d(array) for array in arrays))}


@final
class ByRay:
    """Processes of a Ray cluster that compute the parts of a long output; one that is lost is started again.

    Args:
        processes: at most.
        command: what each of them calls, in the place of the one that was asked for.
        **arguments: of the command.
    """

    def __init__(self, processes: int, command: Callable[..., int], **arguments: Any) -> None:
        check_workers(processes)
        self.processes, self.command, self.arguments = processes, command, arguments

    @classmethod
    def of(cls, command: Callable[..., int], out: Path | None, ray: int | None, **arguments: Any) -> "ByRay | None":
        """The processes that a command was asked to take, or None.

        Raises:
            ValueError: the output is one file.
        """
        if ray is None:
            return None
        if out is None or not is_folder(out):
            raise ValueError(
                f"ray={ray} processes share the files of a folder; write --out with a path without an ending"
            )
        return cls(ray, command, out=out, **arguments)

    def write(self, missing: Sequence[int], parts: "Parts", bar: ProgressBar) -> None:
        """Compute and write parts."""
        size = min(self.processes, len(missing))
        shares = [missing[rank::size] for rank in range(size)]
        tasks = [functools.partial(_write_share, share, self.command, self.arguments) for share in shares]
        left, rows = [list(reversed(share)) for share in shares], 0

        def look(_: int, retried: int) -> None:
            nonlocal rows
            for share in left:  # each is written in order
                while share and parts.paths[share[-1]].is_file():
                    rows += parts.rows(share.pop())
            bar.reach(rows, retried)

        if tasks:
            announce(size)
            accelerated = self.arguments.get("device") != "cpu"
            side_by_side(tasks, size, accelerated=accelerated, look=look)


def _write_share(numbers: Sequence[int], command: Callable[..., int], arguments: dict[str, Any]) -> None:
    """Write these parts, in a process of Ray; what the command would print, the caller says."""
    with given(numbers), contextlib.redirect_stdout(io.StringIO()):
        command(**arguments)


@final
class Parts:
    """A folder with a Parquet file for each part of a long output.

    A file is there whole or not at all: those that are there are not computed again. Several processes that a launcher
    such as torchrun started deal the parts among themselves, without waiting for each other.

    Args:
        folder: which is made where it is missing.
        what: is computed, for people.
        task: what else tells it from others, ready for JSON: of which data, by which model, how.
        slices: the positions of the examples of each part.

    Raises:
        ValueError: the folder holds something else, or the parts of another task.
    """

    def __init__(self, folder: Path, what: str, task: Mapping[str, Any], slices: Sequence[slice]) -> None:
        self.folder, self.what, self.slices = folder, what, slices
        self.paths = [folder / f"part-{number:05d}.parquet" for number in range(len(slices))]
        task = json.loads(json.dumps({"what": what, **task, "parts": len(slices)}))
        path = folder / FILE
        if path.is_file():
            there = read_json(path)
            other = [name for name in {**task, **there} if there.get(name) != task.get(name)]
            if other and any(folder.glob("part-*.parquet")):
                raise ValueError(
                    f"{folder} holds parts of another task, whose {listed(other)} "
                    f"{'was' if len(other) == 1 else 'were'} "
                    f"{listed([str(there.get(name)) for name in other])} instead of "
                    f"{listed([str(task.get(name)) for name in other])}; write --out with another folder, or remove it"
                )
            if not other:
                return
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} holds other files, and no {FILE}; write --out with a new folder")
        write_json(path, task)

    @property
    def where(self) -> str:
        """The files, for people."""
        return f"{len(self.paths):,} {'file' if len(self.paths) == 1 else 'files'} in {self.folder}"

    def write(
        self,
        compute: Callable[[slice], Iterable[tuple[Columns, Totals]]],
        *,
        kinds: Mapping[str, ColumnKind] | None = None,
        by: "ByRay | None" = None,
    ) -> None:
        """Compute and write the parts that are missing, with a progress bar.

        Args:
            compute: gives the rows of a part, some at a time, and what is to be added up over all of them, in any case
                the number of their "rows".
            kinds: of the columns of a mixed table.
            by: the processes that compute instead of this one.

        Raises:
            KeyboardInterrupt: with a sentence that says how to go on.
        """
        mine, first = dealt(len(self.paths)) if by is None else (range(len(self.paths)), True)
        missing = [number for number in mine if not self.paths[number].is_file()]
        there = len(mine) - len(missing)
        title = f"{self.what} ({there:,} of {len(self.paths):,} files were there)" if there else self.what
        rows = sum(map(self.rows, missing))
        with ProgressBar(title, rows, show=first, unit="rows") as bar:
            try:
                if by is not None:
                    by.write(missing, self, bar)
                    return
                for number in missing:
                    blocks: list[Columns] = []
                    totals: Counter[str] = Counter()
                    for columns, sums in compute(self.slices[number]):
                        blocks.append(columns)
                        totals.update(sums)
                        bar.advance(int(sums["rows"]))
                    table = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
                    metadata = {_TOTALS: json.dumps(totals).encode()}
                    write_bytes(self.paths[number], table_bytes(table, ".parquet", kinds, metadata))
            except KeyboardInterrupt as stop:
                written = sum(path.is_file() for path in self.paths)
                raise KeyboardInterrupt(
                    f"stopped with {written:,} of {len(self.paths):,} files in {self.folder}; the same command goes on"
                ) from stop

    def rows(self, number: int) -> int:
        """Of a part."""
        return self.slices[number].stop - self.slices[number].start

    def totals(self) -> dict[str, float] | None:
        """What was added up over all parts, or None, and a line says so, where others are still writing some."""
        from pyarrow import parquet

        if not all(path.is_file() for path in self.paths):
            print(f"other processes are still writing some of the {len(self.paths):,} files in {self.folder}")
            return None
        totals: Counter[str] = Counter()
        for path in self.paths:
            totals.update(json.loads(parquet.read_metadata(path).metadata[_TOTALS]))
        return dict(totals)
