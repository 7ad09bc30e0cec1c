"""Tables of many rows: a mixed one trained from Parquet, beside its encoded matrix, and `nelbo score --method elbo`.

The matrix holds what the encoder of the mixed table sees (categories one-hot, logarithms of counts), in memory, and is
trained with the same networks, importance samples and batches, by turns: one epoch of either. Scores are those of a
table of 20 numbers, as text, from the start of the command to its end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv, parquet
from rich.console import Console
from rich.table import Table

import nelbo

SPEED, SECONDS = 0.7, 30.0
"""Goals: speed of the mixed table as a share of that of the matrix; seconds for the scores of 1,000,000 rows."""


def mixed(n: int, r: np.random.Generator) -> pa.Table:
    """Eight real, three positive, three count, two binary columns and four of 3 to 12 categories."""
    z = r.normal(size=n)
    columns = {f"real{i}": (z * r.normal() + r.normal(size=n)).round(3) for i in range(8)}
    columns |= {f"positive{i}": np.exp(r.normal(size=n) + 0.3 * z).round(2) for i in range(3)}
    columns |= {f"count{i}": r.poisson(np.exp(0.5 + 0.3 * z)) for i in range(3)}
    columns |= {f"binary{i}": r.random(n) < 1 / (1 + np.exp(-z)) for i in range(2)}
    for k in (3, 5, 8, 12):
        columns[f"category{k}"] = np.array([f"v{j}" for j in range(k)])[r.integers(0, k, n)]
    return pa.table(columns)


def numbers(n: int, r: np.random.Generator) -> pa.Table:
    x = r.normal(size=(n, 3)) @ r.normal(size=(3, 20)) + r.normal(size=(n, 20))
    return pa.table({f"c{i}": x[:, i].round(4) for i in range(20)})


def speeds(path: Path, rounds: int, on_disk: bool | None) -> list[tuple[float, float]]:
    """Examples per second of the mixed table and of the matrix, round by round; a first one of each is not counted."""
    data = nelbo.data.load(path, columns="all", validation=0, on_disk=on_disk)
    model = nelbo.recipes.table_vae(data)
    encode = model.px_family.for_distances(data.event_shape)
    parts = [encode(data.train.prepare(batch).x) for batch in data.train.batches(10_000)]
    matrix = nelbo.data.load(torch.cat(parts), validation=0)
    pairs = [(model, data), (nelbo.recipes.table_vae(matrix.event_shape), matrix)]

    def epoch(model, data) -> float:
        run = nelbo.fit(model, data, epochs=1, batch_size=256, device="cpu", progress=False)
        return run.history[-1]["examples_per_second"]

    found = [tuple(epoch(*pair) for pair in pairs) for _ in range(rounds + 1)]
    return found[1:]


def seconds_of_scores(table: pa.Table, folder: Path) -> float:
    """Seconds of `nelbo score --method elbo`, in a process of its own, with the threads it takes by itself."""
    csv.write_csv(table, folder / "numbers.csv")
    csv.write_csv(table.slice(0, 2000), folder / "train.csv")
    command = [sys.executable, "-c", "import sys; from nelbo.cli import main; sys.exit(main())"]
    fit = ["fit", folder / "train.csv", "--standardize", "--epochs", "3", "--device", "cpu", "--out", folder / "run"]
    subprocess.run([*command, *fit], check=True, stdout=subprocess.DEVNULL)
    score = ["score", folder / "run", folder / "numbers.csv", "--method", "elbo", "--device", "cpu"]
    start = time.perf_counter()
    subprocess.run([*command, *score, "--out", folder / "scores.csv"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["in memory", "on disk", "score"])
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    r = np.random.default_rng(0)
    results: dict[str, dict[str, float]] = {}
    table = Table("of a table", "measured", "goal", title=f"{chosen.rows:,} rows x 20 columns")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parquet.write_table(mixed(chosen.rows, r), folder / "mixed.parquet", row_group_size=50_000)
        for where in [w for w in ("in memory", "on disk") if w in chosen.only]:
            found = speeds(folder / "mixed.parquet", chosen.rounds, where == "on disk")
            ratio = statistics.median(a / b for a, b in found)
            table.add_row(f"mixed, Parquet {where}: speed, of that of its matrix", f"{ratio:.2f}", f"at least {SPEED}")
            results[where] = {"ratio": ratio, "rows_per_second": statistics.median(a for a, _ in found)}
        if "score" in chosen.only:
            took = seconds_of_scores(numbers(chosen.rows, r), folder)
            limit = SECONDS * chosen.rows / 1_000_000
            table.add_row("score --method elbo, text to text", f"{took:.1f} s", f"at most {limit:.0f} s")
            results["score"] = {"seconds": took, "ratio": took / limit}
    Console().print(table)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
