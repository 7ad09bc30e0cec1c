"""nelbo sample, reconstruct, embed: write a trained model's outputs to a file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor

from nelbo import runs
from nelbo.cli.results import (
    ByRay,
    Columns,
    Parts,
    Split,
    Totals,
    array_bytes,
    beside,
    check_format,
    examples_of,
    in_parts,
    is_folder,
    kinds_of,
    model_of,
    rows_of,
    table_bytes,
)
from nelbo.data import Batch, Dataset
from nelbo.data.kinds import ColumnKind
from nelbo.evaluation import Evaluation
from nelbo.files import write_bytes
from nelbo.measure.scores import filled_up
from nelbo.randomness import derive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGE_AXES = 3
_FORMATS = (".png", ".npy", ".parquet", ".csv")
_PAIRS = 10  # images above their reconstructions, unless a number is given
_TOGETHER = 256  # examples of a batch: fewer cost as much
_BLOCK = 1 << 16  # samples that are drawn by one seed, and of one file in a folder
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
    ray: int | None = None,
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
            file. A folder, written without an ending, gets Parquet files of 65,536 rows, and a restart draws those that
            are missing. By default samples.png in the run, samples.npy for other examples.
        ray: write the files of a folder by so many processes of a Ray cluster, as in nelbo score.
    """
    by = ByRay.of(sample, **locals())
    if not is_folder(out):
        check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)
    complete = complete or mean
    kinds = kinds_of(loaded)
    holes = {name: kind.missing for name, kind in kinds.items() if kind.missing}

    def seed_of(block: slice) -> int:
        return seed if block.start == 0 else derive(seed, "samples", block.start // _BLOCK)

    def drawn(block: slice) -> Tensor:
        return loaded.sample(block.stop - block.start, mean=mean, seed=seed_of(block))

    def table(block: slice, x: Tensor) -> Columns:
        return loaded.table(x, means=mean, empty=None if complete else seed_of(block))

    blocks = [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)] or [slice(0, n)]
    if out is not None and is_folder(out):
        how = {"rows": n, "seed": seed, "mean": mean, "complete": complete}
        parts = Parts(out, "samples", {**model_of(loaded), **how}, blocks)
        parts.write(lambda b: [(table(b, drawn(b)), {"rows": b.stop - b.start})], kinds=kinds, by=by)
        return _said(parts)
    x = torch.cat([drawn(block) for block in blocks])

    def picture() -> "Figure":
        from nelbo import figures

        return figures.image_grid(x)

    def columns() -> Columns:
        tables = [table(block, x[block]) for block in blocks]
        return {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}

    path = out or run / f"samples{_suffix(x.shape[1:])}"
    if path.suffix in (".csv", ".parquet") and holes and not complete:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in holes.items())
        print(f"Cells are left empty as often as in the training data, in each column at random: {shares}")
        print("Why they are empty, and which are so together, is not modelled; --complete leaves none empty.")
    return _write(x, path, "samples", picture=picture, columns=columns, kinds=kinds)


def reconstruct(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    n: Annotated[int | None, Parameter(name=("-n", "--number"))] = None,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    ray: int | None = None,
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
            what the model gives; or a .png file, originals above reconstructions. A folder, written without an ending,
            gets a Parquet file for each row group of the data, as in nelbo score. By default reconstructions.png in
            the run, reconstructions.npy for other examples.
        ray: write the files of a folder by so many processes of a Ray cluster, as in nelbo score.
    """
    by = ByRay.of(reconstruct, **locals())
    if not is_folder(out):
        check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)
    if out is not None and is_folder(out):
        if n is not None:
            raise ValueError("--number is for one file; leave it out, or write --out with an ending such as .csv")

        def compute(examples: Dataset, some: Batch) -> tuple[Columns, Totals]:
            back = _of_each(loaded, some, lambda evaluation: evaluation.reconstruction)
            return beside(rows_of(examples, some.rows), loaded.table(back, means=True)), {"rows": len(some)}

        return _said(in_parts(loaded, out, "reconstructions", compute, data=data, split=split, seed=seed, by=by))
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
    ray: int | None = None,
) -> int:
    """Encode each example: write the mean of q(z|x), its place in latent space.

    Args:
        run: directory of a run.
        data: a named set or a path, columns by name, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        seed: of dynamic binarization.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .npy file, a .csv or .parquet file with the number of each row and its label, or a .png file (a scatter,
            coloured by label); by default embeddings.npy in the run. A folder, written without an ending, gets a
            Parquet file for each row group of the data, as in nelbo score.
        ray: write the files of a folder by so many processes of a Ray cluster, as in nelbo score.
    """
    by = ByRay.of(embed, **locals())
    if not is_folder(out):
        check_format(out, *_FORMATS)
    loaded = runs.load(run, device=device)

    def table(z: Tensor, rows: np.ndarray, labels: Tensor | None) -> Columns:
        columns = {f"z{i}": z[:, i].cpu().numpy() for i in range(z.shape[1])}
        if labels is not None:
            columns["label"] = _named_labels(labels, loaded.origin.get("label_names"))
        return beside(rows, columns)

    if out is not None and is_folder(out):

        def compute(examples: Dataset, some: Batch) -> tuple[Columns, Totals]:
            z = _of_each(loaded, some, lambda evaluation: evaluation.embedding)
            return table(z, rows_of(examples, some.rows), some.labels), {"rows": len(some)}

        return _said(in_parts(loaded, out, "embeddings", compute, data=data, split=split, seed=seed, by=by))
    examples = examples_of(loaded, data, split)
    z = _of_each(loaded, examples.examples(len(examples), seed=seed), lambda evaluation: evaluation.embedding)
    path = out or run / "embeddings.npy"

    def picture() -> "Figure":
        from nelbo import figures

        return figures.embedding(z, examples.labels)

    return _write(
        z, path, "embeddings", picture=picture, columns=lambda: table(z, rows_of(examples, None), examples.labels)
    )


def _of_each(run: runs.Run, batch: Batch, value: Callable[[Evaluation], Tensor]) -> Tensor:
    """A value of each example, computed in batches of one size, so that its bits do not depend on the other rows."""
    return torch.cat([value(evaluation)[:n] for evaluation, n in filled_up(run.model, batch, _TOGETHER)])


def _said(parts: Parts) -> int:
    """Print what was written."""
    totals = parts.totals()
    if totals is not None:
        print(f"{int(totals['rows']):,} {parts.what}: {parts.where}")
    return 0


def _suffix(event: Sequence[int]) -> str:
    """The format of examples of a shape where none is asked for: a picture of images."""
    return ".png" if len(event) == _IMAGE_AXES else ".npy"


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


def _named_labels(labels: Tensor, names: Sequence[str] | None) -> np.ndarray:
    """Labels as the data name them, where they are text."""
    numbers = labels.cpu().numpy()
    if not names:
        return numbers
    return np.asarray([names[i] if i < len(names) else f"unknown {i}" for i in numbers.tolist()])
