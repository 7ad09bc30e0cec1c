"""nelbo sample, reconstruct, embed: write a trained model's outputs to a file."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter
from torch import Tensor

from nelbo import runs
from nelbo.data import Dataset, as_data
from nelbo.files import write_bytes

Split = Literal["train", "validation", "test"]
Number = Annotated[int, Parameter(name=("-n", "--number"))]


def sample(run: Path, *, n: Number = 64, seed: int = 0, mean: bool = False, out: Path | None = None) -> int:
    """Draw new examples: z ~ p(z), then x ~ p(x|z).

    Args:
        run: directory of a run.
        n: number of examples.
        seed: of the draws.
        mean: write the mean of p(x|z) instead of a draw.
        out: a .png, .npy or .parquet file; by default samples.png in the run, samples.npy for other examples.
    """
    return _write(runs.load(run).sample(n, mean=mean, seed=seed), out, run, "samples")


def reconstruct(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    n: Annotated[int | None, Parameter(name=("-n", "--number"))] = None,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Reconstruct each example: decode the mean of q(z|x).

    Args:
        run: directory of a run.
        data: a named set or a path, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        n: the first n examples only; a picture shows 10 by default.
        seed: of dynamic binarization.
        out: a .png (originals above reconstructions), .npy or .parquet file; by default reconstructions.png in the run.
    """
    loaded = runs.load(run)
    examples = examples_of(loaded, data, split)
    picture = _is_picture(out, examples.event_shape)
    n = min(len(examples), n or (10 if picture else len(examples)))
    x = examples.take(n, seed=seed)
    back = loaded.reconstruct(x)
    if picture:
        from nelbo import figures

        path = out or run / "reconstructions.png"
        figures.save(figures.reconstruction_pairs(x, back), path)
        print(f"{n} originals above their reconstructions: {path}")
        return 0
    return _write(back, out, run, "reconstructions")


def embed(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Encode each example: write the mean of q(z|x), its place in latent space.

    Args:
        run: directory of a run.
        data: a named set or a path, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        seed: of dynamic binarization.
        out: a .npy, .parquet or .png file (a scatter, coloured by label); by default embeddings.npy in the run.
    """
    loaded = runs.load(run)
    examples = examples_of(loaded, data, split)
    z = loaded.encode(examples.examples(len(examples), seed=seed))
    path = out or run / "embeddings.npy"
    if path.suffix == ".png":
        from nelbo import figures

        figures.save(figures.embedding(z, examples.labels), path)
        print(f"{len(z):,} embeddings: {path}")
        return 0
    labels = {} if examples.labels is None else {"label": examples.labels}
    return _write(z, path, run, "embeddings", names=[f"z{i}" for i in range(z.shape[1])], beside=labels)


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
    options = dict(run.record["data"]["options"], validation=0, limit=None)
    examples = as_data(data, **options).train
    if run.data.preparation.mean is not None:
        examples.preparation = run.data.preparation  # the training set's mean and deviation, not those of the new data
    if examples.event_shape != tuple(run.data.event_shape):
        raise ValueError(
            f"{data} holds examples of shape {examples.event_shape}, the run was trained on {run.data.event_shape}"
        )
    return examples


def _is_picture(out: Path | None, event: tuple[int, ...]) -> bool:
    return out.suffix == ".png" if out else len(event) == 3


def _write(
    x: Tensor,
    out: Path | None,
    run: Path,
    stem: str,
    *,
    names: list[str] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> int:
    path = out or run / f"{stem}{'.png' if _is_picture(None, tuple(x.shape[1:])) else '.npy'}"
    values = x.cpu().numpy()
    if path.suffix == ".png":
        from nelbo import figures

        figures.save(figures.image_grid(x), path)
    elif path.suffix == ".npy":
        buffer = BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
    elif path.suffix == ".parquet":
        write_bytes(path, _parquet(values.reshape(len(values), -1), names, beside or {}))
    else:
        raise ValueError(f"--out must end in .png, .npy or .parquet, got {path.name!r}")
    print(f"{len(x):,} {stem} of shape {tuple(x.shape[1:])}: {path}")
    return 0


def _parquet(table: np.ndarray, names: list[str] | None, beside: Mapping[str, Tensor]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportError("a .parquet file needs pyarrow: pip install 'nelbo[tables]', or write a .npy file") from None
    columns = {name: table[:, i] for i, name in enumerate(names or [f"x{i}" for i in range(table.shape[1])])}
    columns |= {name: np.asarray(values) for name, values in beside.items()}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()
