"""nelbo impute: fill in what is missing of a table."""

from pathlib import Path

import numpy as np
import torch

from nelbo import runs
from nelbo.cli.outputs import (
    Columns,
    Split,
    array_bytes,
    beside,
    check_format,
    examples_of,
    kinds_of,
    rows_of,
    table_bytes,
)
from nelbo.files import write_bytes
from nelbo.measure import impute as impute_in
from nelbo.measure.importance import SAMPLES

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
        out: a .csv, .parquet or .npy file (the values alone); by default imputed.csv in the run.
    """
    path = out or run / "imputed.csv"
    check_format(path, *_FORMATS)
    loaded = runs.load(run, device=device)
    if not loaded.model.takes_missing:
        raise ValueError(
            f"the model of {run} does not take missing values; train one that does: nelbo fit DATA --missing observed"
        )
    examples = examples_of(loaded, data, split)
    batch = examples.examples(len(examples), seed=seed)
    found = impute_in(loaded, batch, draws=draws, samples=samples, seed=seed, progress=True)
    stored = examples.stored(torch.arange(len(examples))).double()
    tables = [found.value] if found.draws is None else list(found.draws)
    filled = [torch.where(stored.isnan(), examples.preparation.inverse(x.double()), stored) for x in tables]
    if path.suffix == ".npy":
        write_bytes(path, array_bytes(torch.stack(filled).numpy() if draws else filled[0].numpy()))
    else:
        features = loaded.record["data"].get("features") or [f"x{i}" for i in range(stored[0].numel())]
        table: Columns = dict(zip(features, torch.cat(filled).flatten(1).T.numpy(), strict=True))
        kept = np.tile(~stored.isnan().flatten(1).numpy(), (len(filled), 1))
        kinds = kinds_of(loaded)
        for i, (name, kind) in enumerate(kinds.items()):
            table[name] = kind.decoded(table[name], means=draws is None, kept=kept[:, i])
        rows = rows_of(examples, None)
        draw, ess = (name if name not in table else f"nelbo_{name}" for name in ("draw", "ess"))
        number = {draw: np.arange(len(filled)).repeat(len(rows))} if draws else {}
        table = number | beside(np.tile(rows, len(filled)), table) | {ess: np.tile(found.ess.numpy(), len(filled))}
        write_bytes(path, table_bytes(table, path.suffix, kinds))
    print(f"{int(stored.isnan().sum()):,} missing values in {len(examples):,} examples filled in: {path}")
    ess = found.ess[~found.ess.isnan()]
    if len(ess):
        print(
            f"effective sample size: median {float(ess.median()):,.0f}, smallest {float(ess.min()):,.0f} of {samples:,}"
        )
    return 0
