"""nelbo sample, reconstruct, embed: write a trained model's outputs to a file."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter
from torch import Tensor

from nelbo import runs
from nelbo.data import Dataset
from nelbo.data.loading import prepared_like
from nelbo.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGE_AXES = 3
_FORMATS = (".png", ".npy", ".parquet")
_PAIRS = 10  # images above their reconstructions, unless a number is given
Split = Literal["train", "validation", "test"]
Number = Annotated[int, Parameter(name=("-n", "--number"))]


def sample(
    run: Path,
    *,
    n: Number = 64,
    seed: int = 0,
    mean: bool = False,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Draw new examples: z ~ p(z), then x ~ p(x|z).

    Args:
        run: directory of a run.
        n: number of examples.
        seed: of the draws.
        mean: write the mean of p(x|z) instead of a draw.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .png, .npy or .parquet file; by default samples.png in the run, samples.npy for other examples.
    """
    _check_format(out)
    x = runs.load(run, device=device).sample(n, mean=mean, seed=seed)

    def picture() -> "Figure":
        from nelbo import figures

        return figures.image_grid(x)

    return _write(x, out or run / f"samples{_suffix(x.shape[1:])}", "samples", picture=picture)


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
        data: a named set or a path, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        n: the first n examples only; a picture shows 10 by default.
        seed: of dynamic binarization.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .png (originals above reconstructions), .npy or .parquet file; by default reconstructions.png in the run.
    """
    _check_format(out)
    loaded = runs.load(run, device=device)
    examples = examples_of(loaded, data, split)
    path = out or run / f"reconstructions{_suffix(examples.event_shape)}"
    n = n or (_PAIRS if path.suffix == ".png" else len(examples))
    batch = examples.examples(min(len(examples), n), seed=seed)
    back = loaded.reconstruct(batch)

    def picture() -> "Figure":
        from nelbo import figures

        return figures.reconstruction_pairs(batch.x, back)

    return _write(back, path, "reconstructions", picture=picture)


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
        data: a named set or a path, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        seed: of dynamic binarization.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .npy, .parquet or .png file (a scatter, coloured by label); by default embeddings.npy in the run.
    """
    _check_format(out)
    loaded = runs.load(run, device=device)
    examples = examples_of(loaded, data, split)
    z = loaded.encode(examples.examples(len(examples), seed=seed))
    path = out or run / "embeddings.npy"
    labels = {} if examples.labels is None else {"label": examples.labels}
    names = [f"z{i}" for i in range(z.shape[1])]

    def picture() -> "Figure":
        from nelbo import figures

        return figures.embedding(z, examples.labels)

    return _write(z, path, "embeddings", names=names, beside=labels, picture=picture)


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
    return prepared_like(run.record["data"], data)


def _suffix(event: Sequence[int]) -> str:
    """The format of examples of a shape where none is asked for: a picture of images."""
    return ".png" if len(event) == _IMAGE_AXES else ".npy"


def _check_format(out: Path | None) -> None:
    """Refuse, before anything is computed, a file of a kind that none is written of."""
    if out is not None and out.suffix not in _FORMATS:
        raise ValueError(f"--out must end in .png, .npy or .parquet, got {out.name!r}")


def _write(
    x: Tensor,
    path: Path,
    kind: str,
    *,
    picture: Callable[[], "Figure"],
    names: list[str] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> int:
    values = x.cpu().numpy()
    if path.suffix == ".png":
        from nelbo.figures import save

        save(picture(), path)
    elif path.suffix == ".npy":
        buffer = BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
    else:
        write_bytes(path, _parquet(values.reshape(len(values), -1), names, beside or {}))
    print(f"{len(x):,} {kind} of shape {tuple(x.shape[1:])}: {path}")
    return 0


def _parquet(table: np.ndarray, names: list[str] | None, beside: Mapping[str, Tensor]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: table[:, i] for i, name in enumerate(names or [f"x{i}" for i in range(table.shape[1])])}
    columns |= {name: np.asarray(values) for name, values in beside.items()}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()
