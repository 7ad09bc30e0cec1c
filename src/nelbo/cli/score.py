"""nelbo score: the anomaly score of each example."""

import warnings
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from nelbo import runs
from nelbo.cli.results import (
    ByRay,
    Columns,
    Parts,
    Split,
    Totals,
    check_format,
    examples_of,
    in_parts,
    is_folder,
    mean_of,
    moments,
    rows_of,
    table_bytes,
)
from nelbo.data import Batch, Dataset
from nelbo.estimate import Estimate
from nelbo.files import write_bytes
from nelbo.measure import Scores, score_samples, threshold
from nelbo.measure.scores import BOUND, OF_MANY, Method, Threshold, check_contamination

_FORMATS = (".csv", ".parquet")
_REFERENCE = 10_000  # examples at most that a threshold is taken from


class _Settings(TypedDict):
    """What two scores have in common that can be compared."""

    method: Method
    samples: int | None
    seed: int


def score(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    method: Method = "auto",
    samples: int | None = None,
    contributions: bool = False,
    flag: bool = False,
    contamination: float | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    ray: int | None = None,
) -> int:
    """Write log p(x) of each example in nats: the higher, the more normal.

    The file has id (the number of the row), log_px, standard_error, method, reconstruction_error and kl, each beside
    its own standard error in a column ending in _se, which is 0 where the KL is exact, and ess (effective sample size)
    and pareto_k of the importance weights. -log_px = reconstruction_error + kl - (log_px - ELBO).

    Args:
        run: directory of a run.
        data: a named set or a path, columns by name, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        method: of log p(x): importance sampling (auto), mixture, quadrature, annealed, or elbo, which is fast and a
            lower bound.
        samples: draws of z for each example: 1,000 by default, and for the ELBO 16.
        contributions: also write what each feature contributes to the reconstruction error, in nats, in columns named
            contribution_FEATURE.
        flag: also write whether each example scores below the run's threshold, in the column anomaly.
        contamination: take the threshold, which --flag uses, as the score below which this share of the run's
            validation set lies (of the training set where there is none), and keep it in the run.
        seed: of the draws.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .csv or .parquet file; by default scores.csv in the run. A folder, written without an ending, gets a
            Parquet file for each row group of the data, which are read one after the other; after an interruption the
            same command does those that are missing, and processes that torchrun started share them.
        ray: write the files of a folder by so many processes of a Ray cluster, that of RAY_ADDRESS or one that is
            started here, of one CPU each. Needs nelbo[cluster].
    """
    # the threshold is taken here, and the others read it from the run
    if contamination is not None:
        check_contamination(contamination)
    arguments: dict[str, Any] = {**locals(), "contamination": None, "flag": flag or contamination is not None}
    by = ByRay.of(score, **arguments)
    path = out or run / "scores.csv"
    if not is_folder(path):
        check_format(path, *_FORMATS)
    loaded = runs.load(run, device=device)
    settings: _Settings = {"method": method, "samples": samples, "seed": seed}
    limit = None
    if contamination is not None:
        limit = _taken(loaded, contamination, **settings)
        limit.write(run)
    elif flag:
        limit = _kept(loaded, run, **settings)

    def scored(examples: Dataset, some: Dataset | Batch, *, progress: bool) -> tuple[Scores, Columns]:
        scores = score_samples(loaded, some, contributions=contributions, progress=progress, **settings)
        table = {"id": rows_of(examples, some.rows if isinstance(some, Batch) else None)} | _columns(scores)
        if limit is not None:
            table["anomaly"] = scores.value.numpy() < limit.value
        if scores.contributions is not None:
            features = loaded.origin.get("features") or [f"x{i}" for i in range(scores.contributions[0].numel())]
            parts = scores.contributions.flatten(1).T.numpy()
            table |= {f"contribution_{name}": part for name, part in zip(features, parts, strict=True)}
        return scores, table

    if is_folder(path):

        def compute(examples: Dataset, some: Batch) -> tuple[Columns, Totals]:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", OF_MANY)  # they are counted over all parts
                scores, table = scored(examples, some, progress=False)
            below = {} if limit is None else {"below": int((scores.value < limit.value).sum())}
            totals = {"rows": len(some), "flagged": int(scores.flagged.sum())}
            return table, moments(scores.value.numpy()) | totals | below

        flags = None if limit is None else limit.value
        parts = in_parts(
            loaded,
            path,
            f"scores by {BOUND if method == 'elbo' else method}",
            compute,
            data=data,
            split=split,
            by=by,
            **settings,
            contributions=contributions,
            anomalies_below=flags,
        )
        return _said_of_parts(parts, limit)
    examples = examples_of(loaded, data, split)
    scores, table = scored(examples, examples, progress=True)
    write_bytes(path, table_bytes(table, path.suffix))
    mean = Estimate.mean_of(scores).text_with_unit
    print(f"{len(examples):,} scores by {scores.method}, mean {mean}: {path}")
    if limit is not None:
        print(_counted(scores, limit))
    return 0


def _said_of_parts(parts: Parts, limit: Threshold | None) -> int:
    """Print what the scores of all parts say together."""
    totals = parts.totals()
    if totals is None:
        return 0
    rows, flagged = int(totals["rows"]), int(totals["flagged"])
    print(f"{rows:,} {parts.what}, mean {mean_of(totals).text_with_unit}: {parts.where}")
    if flagged:
        print(
            f"of {flagged:,} of {rows:,} examples log p(x) may be off by more than its standard error says (pareto_k); "
            "--method mixture looks also where q(z|x) does not"
        )
    if limit is not None:
        print(f"{int(totals['below']):,} are below the threshold {limit.value:.2f} nats")
    return 0


def _columns(scores: Scores) -> Columns:
    return {
        "log_px": scores.value.numpy(),
        "standard_error": scores.standard_error.numpy(),
        "method": np.full(len(scores.value), scores.method, dtype=object),
        "reconstruction_error": scores.reconstruction_error.value.numpy(),
        "reconstruction_error_se": scores.reconstruction_error.standard_error.numpy(),
        "kl": scores.kl.value.numpy(),
        "kl_se": scores.kl.standard_error.numpy(),
        "ess": scores.ess.numpy(),
        "pareto_k": scores.pareto_k.numpy(),
    }


def _taken(run: runs.Run, contamination: float, **settings: Unpack[_Settings]) -> Threshold:
    """The threshold at a share of the run's own data."""
    split, data = ("train", run.data.train) if run.data.validation is None else ("validation", run.data.validation)
    some = data.examples(_first(data), seed=settings["seed"])
    scores = score_samples(run, some, progress=True, **settings)
    found = threshold(scores, contamination)
    return Threshold(
        float(found),
        found.error,
        contamination,
        examples=len(some),
        split=split,
        epochs=len(run.history),
        **settings,
    )


def _first(data: Dataset) -> slice:
    """Examples throughout the data, as many as a threshold is taken from."""
    return slice(0, None, -(-len(data) // _REFERENCE))


def _kept(run: runs.Run, path: Path, **settings: Unpack[_Settings]) -> Threshold:
    """The threshold that the run keeps, or a ValueError where there is none for these scores."""
    found = Threshold.read(path)
    if found is None:
        raise ValueError(f"{path} has no threshold yet; write --contamination 0.01, which takes one and keeps it")
    again = f"take it again: --contamination {found.contamination:g}"
    if found.epochs != len(run.history):
        raise ValueError(f"the threshold of {path} is that of epoch {found.epochs} of {len(run.history)}; {again}")
    other = [f"{name} {getattr(found, name)}" for name, value in settings.items() if getattr(found, name) != value]
    if other:
        raise ValueError(f"the threshold of {path} is that of scores with {', '.join(other)}; {again}")
    return found


def _counted(scores: Scores, limit: Threshold) -> str:
    """How many examples are below the threshold, and how many might be."""
    below = scores.value < limit.value
    near = (scores.value - limit.value).abs() < 2 * scores.standard_error.hypot(
        scores.value.new_tensor(limit.standard_error)
    )
    where = f"{limit.contamination:.3g} of {limit.examples:,} {limit.split} examples score below it"
    value = Estimate.number(limit.value, limit.standard_error).text_with_unit
    share = Estimate.mean_of(below.double(), unit="share").text
    return (
        f"threshold {value} ({where}): {int(below.sum()):,} examples ({share}) are below, and {int(near.sum()):,} lie "
        "within two standard errors of it"
    )
