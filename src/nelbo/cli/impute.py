"""nelbo impute: fill in what is missing of a table."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo import runs
from nelbo.cli.results import (
    ByRay,
    Columns,
    Split,
    Totals,
    array_bytes,
    beside,
    check_format,
    examples_of,
    in_parts,
    is_folder,
    kinds_of,
    rows_of,
    table_bytes,
)
from nelbo.data import Batch, Dataset
from nelbo.files import write_bytes
from nelbo.measure import Imputation
from nelbo.measure import impute as impute_in
from nelbo.measure.importance import SAMPLES
from nelbo.measure.scores import OF_MANY

_FORMATS = (".csv", ".parquet", ".npy")


def impute(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "validation",
    draws: int | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    ray: int | None = None,
) -> int:
    """Fill in the missing values of each example: E[x_missing|x_observed], or draws of what is missing.

    The file has the columns of the data, in their units, and beside them the effective sample size (ess) of the
    weights that the values were found by; it is empty where nothing was missing. What was observed stays as it is; what
    is filled into a mixed table has the categories, words and decimals of its column, the most probable category.

    Args:
        run: directory of a run whose model takes missing values: nelbo fit DATA --missing observed.
        data: a named set or a path, prepared as the run's data were; by default the run's own data.
        split: which part of the run's own data.
        draws: multiple imputations: so many tables below each other, told apart by the columns draw and row. Their
            spread is the uncertainty about what is missing, which the mean does not show.
        samples: draws of z for each example.
        seed: of the draws.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: a .csv, .parquet or .npy file (the values alone); by default imputed.csv in the run. A folder, written
            without an ending, gets a Parquet file for each row group of the data, as in nelbo score.
        ray: write the files of a folder by so many processes of a Ray cluster, as in nelbo score.
    """
    by = ByRay.of(impute, **locals())
    path = out or run / "imputed.csv"
    if not is_folder(path):
        check_format(path, *_FORMATS)
    loaded = runs.load(run, device=device)
    if not loaded.model.takes_missing:
        raise ValueError(
            f"the model of {run} does not take missing values; train one that does: nelbo fit DATA --missing observed"
        )
    kinds = kinds_of(loaded)

    def filled(examples: Dataset, batch: Batch, *, progress: bool) -> tuple[list[Tensor], Tensor, Imputation]:
        found = impute_in(loaded, batch, draws=draws, samples=samples, seed=seed, progress=progress)
        assert batch.rows is not None
        stored = examples.stored(batch.rows).double()
        tables = [found.value] if found.draws is None else list(found.draws)
        values = [torch.where(stored.isnan(), examples.preparation.inverse(x.double()), stored) for x in tables]
        return values, stored.isnan(), found

    def table_of(rows: np.ndarray, values: list[Tensor], missing: Tensor, ess: Tensor) -> Columns:
        features = loaded.record["data"].get("features") or [f"x{i}" for i in range(missing[0].numel())]
        table: Columns = dict(zip(features, torch.cat(values).flatten(1).T.numpy(), strict=True))
        kept = np.tile(~missing.flatten(1).numpy(), (len(values), 1))
        for i, (name, kind) in enumerate(kinds.items()):
            table[name] = kind.decoded(table[name], means=draws is None, kept=kept[:, i])
        draw, size = (name if name not in table else f"nelbo_{name}" for name in ("draw", "ess"))
        number = {draw: np.arange(len(values)).repeat(len(rows))} if draws else {}
        return number | beside(np.tile(rows, len(values)), table) | {size: np.tile(ess.numpy(), len(values))}

    if is_folder(path):

        def compute(examples: Dataset, some: Batch) -> tuple[Columns, Totals]:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", OF_MANY)  # they are counted over all parts
                values, missing, found = filled(examples, some, progress=False)
            table = table_of(rows_of(examples, some.rows), values, missing, found.ess)
            flagged = int(found.flagged.sum())
            return table, {"rows": len(some), "missing": int(missing.sum()), "flagged": flagged}

        # the stored values of a part are read once
        parts = in_parts(
            loaded,
            path,
            "imputed rows",
            compute,
            data=data,
            split=split,
            seed=seed,
            at_once=None,
            by=by,
            draws=draws,
            samples=samples,
        )
        totals = parts.totals()
        if totals is not None:
            print(_said(totals["missing"], totals["rows"], parts.where))
            if totals["flagged"]:
                print(
                    f"of {totals['flagged']:,.0f} examples a few draws of z carry the sum (Pareto k), and neither the "
                    "imputed values nor their standard errors can be relied on there"
                )
        return 0
    examples = examples_of(loaded, data, split)
    values, missing, found = filled(examples, examples.examples(len(examples), seed=seed), progress=True)
    if path.suffix == ".npy":
        write_bytes(path, array_bytes(torch.stack(values).numpy() if draws else values[0].numpy()))
    else:
        table = table_of(rows_of(examples, None), values, missing, found.ess)
        write_bytes(path, table_bytes(table, path.suffix, kinds))
    print(_said(int(missing.sum()), len(examples), path))
    known = found.ess[~found.ess.isnan()]
    if len(known):
        median, smallest = float(known.median()), float(known.min())
        print(f"effective sample size: median {median:,.0f}, smallest {smallest:,.0f} of {samples:,}")
    return 0


def _said(missing: float, examples: float, where: Path | str) -> str:
    return f"{missing:,.0f} missing values in {examples:,.0f} examples filled in: {where}"
