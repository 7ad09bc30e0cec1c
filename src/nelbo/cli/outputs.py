"""nelbo sample, reconstruct, embed: write a trained model's outputs to a file."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor

from nelbo import runs
from nelbo.data import Dataset
from nelbo.data.kinds import ColumnKind
from nelbo.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGE_AXES = 3
_FORMATS = (".png", ".npy", ".parquet", ".csv")
_PAIRS = 10  # images above their reconstructions, unless a number is given
Split = Literal["train", "validation", "test"]
Columns = dict[str, np.ndarray]
Number = Annotated[int, Parameter(name=("-n", "--number"))]


def sample(
    run: Path,
    *,
    n: Number = 64,
    seed: int = 0,
    mean: bool = False,
    complete: bool = False,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Draw new examples: z ~ p(z), then x ~ p(x|z).

    Args:
        run: directory of a run.
        n: number of examples.
        seed: of the draws.
        mean: write the mean of p(x|z) instead of a draw.
        complete: of a mixed table with missing values, leave no cell empty; by default as many are empty as in the
            training data, in each column at random.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .csv or .parquet file, in the names and units of the data; a .npy file of what the model gives; or a .png
            file. By default samples.png in the run, samples.npy for other examples.
    """
    check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)
    x = loaded.sample(n, mean=mean, seed=seed)

    def picture() -> "Figure":
        from nelbo import figures

        return figures.image_grid(x)

    path = out or run / f"samples{_suffix(x.shape[1:])}"
    complete = complete or mean
    kinds = kinds_of(loaded)
    holes = {name: kind.missing for name, kind in kinds.items() if kind.missing}
    if path.suffix in (".csv", ".parquet") and holes and not complete:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in holes.items())
        print(f"Cells are left empty as often as in the training data, in each column at random: {shares}")
        print("Why they are empty, and which are so together, is not modelled; --complete leaves none empty.")
    return _write(
        x,
        path,
        "samples",
        picture=picture,
        columns=lambda: loaded.table(x, means=mean, empty=None if complete else seed),
        kinds=kinds,
    )


def reconstruct(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    n: Annotated[int | None, Parameter(name=("-n", "--number"))] = None,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Reconstruct each example: decode the mean of q(z|x).

    Args:
        run: directory of a run.
        data: a named set or a path, columns by name, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        n: the first n examples only; a picture shows 10 by default.
        seed: of dynamic binarization.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .csv or .parquet file, in the names and units of the data beside the number of each row; a .npy file of
            what the model gives; or a .png file, originals above reconstructions. By default reconstructions.png in
            the run, reconstructions.npy for other examples.
    """
    check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)
    examples = examples_of(loaded, data, split)
    path = out or run / f"reconstructions{_suffix(examples.event_shape)}"
    n = n or (_PAIRS if path.suffix == ".png" else len(examples))
    batch = examples.examples(min(len(examples), n), seed=seed)
    back = loaded.reconstruct(batch)

    def picture() -> "Figure":
        from nelbo import figures

        return figures.reconstruction_pairs(batch.x, back)

    def columns() -> Columns:
        rows = rows_of(examples, batch.rows)
        return beside(rows, loaded.table(back, means=True))

    return _write(back, path, "reconstructions", picture=picture, columns=columns, kinds=kinds_of(loaded))


def embed(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Encode each example: write the mean of q(z|x), its place in latent space.

    Args:
        run: directory of a run.
        data: a named set or a path, columns by name, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        seed: of dynamic binarization.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .npy file, a .csv or .parquet file with the number of each row and its label, or a .png file (a scatter,
            coloured by label); by default embeddings.npy in the run.
    """
    check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)
    examples = examples_of(loaded, data, split)
    z = loaded.encode(examples.examples(len(examples), seed=seed))
    path = out or run / "embeddings.npy"

    def picture() -> "Figure":
        from nelbo import figures

        return figures.embedding(z, examples.labels)

    def columns() -> Columns:
        table = {f"z{i}": z[:, i].cpu().numpy() for i in range(z.shape[1])}
        if examples.labels is not None:
            table["label"] = _named_labels(examples.labels, loaded.origin.get("label_names"))
        return beside(rows_of(examples, None), table)

    return _write(z, path, "embeddings", picture=picture, columns=columns)


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


def _suffix(event: Sequence[int]) -> str:
    """The format of examples of a shape where none is asked for: a picture of images."""
    return ".png" if len(event) == _IMAGE_AXES else ".npy"


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


def _named_labels(labels: Tensor, names: Sequence[str] | None) -> np.ndarray:
    """Labels as the data name them, where they are text."""
    numbers = labels.cpu().numpy()
    if not names:
        return numbers
    return np.asarray([names[i] if i < len(names) else f"unknown {i}" for i in numbers.tolist()])


def kinds_of(run: runs.Run) -> dict[str, ColumnKind]:
    """What each column of a mixed table is, from the run's record; empty of other data."""
    kinds = (run.record.get("data") or {}).get("kinds") or {}
    return {name: ColumnKind.from_dict(kind) for name, kind in kinds.items()}


def _write(
    x: Tensor,
    path: Path,
    kind: str,
    *,
    picture: Callable[[], "Figure"],
    columns: Callable[[], Columns],
    kinds: Mapping[str, ColumnKind] | None = None,
) -> int:
    values = x.cpu().numpy()
    if path.suffix == ".png":
        from nelbo.figures import save

        save(picture(), path)
    elif path.suffix == ".npy":
        write_bytes(path, array_bytes(values))
    else:
        write_bytes(path, table_bytes(columns(), path.suffix, kinds))
    print(f"{len(x):,} {kind} of shape {tuple(x.shape[1:])}: {path}")
    return 0


def array_bytes(values: np.ndarray) -> bytes:
    """A .npy file of this array."""
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def table_bytes(columns: Columns, suffix: str, kinds: Mapping[str, ColumnKind] | None = None) -> bytes:
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
    sink = pa.BufferOutputStream()
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(table, sink)
    return sink.getvalue().to_pybytes()
