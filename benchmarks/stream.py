"""A folder of Parquet files that is larger than memory: an epoch of training on it, and its scores beside a plain loop.

Random numbers, float32, uncompressed. Claims: resident memory stays below 2 GiB (of the process, without the system's
cache of files), and `nelbo score --method elbo` into a folder takes at most 1.05 of a loop by hand over the same row
groups with the same model and batches, both in processes of their own and with the same draws of z in number.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

RESIDENT_GIB, SCORING = 2.0, 1.05
"""Goals."""
_GROUP, _GROUPS_A_FILE = 1 << 14, 16  # rows of a row group; row groups of a file

_EPOCH = """
import sys, time
import nelbo
start = time.perf_counter()
data = nelbo.data.load(sys.argv[1], on_disk=True, memory="1GiB", standardize=True)
print("opened", time.perf_counter() - start, flush=True)
model = nelbo.recipes.sigma_vae(data.event_shape, latent=8, hidden=(64,))
nelbo.fit(model, data, epochs=1, batch_size=1024, device="cpu", out=sys.argv[2], progress=False)
print("trained", time.perf_counter() - start, flush=True)
"""

_LOOP = """
import sys
from pathlib import Path
import pyarrow as pa, torch
from pyarrow import parquet
import nelbo
run = nelbo.load(sys.argv[1])
vae, prepare = run.model.eval(), run.data.train.prepare
out = Path(sys.argv[3])
out.mkdir()
rows = 0
for path in sorted(Path(sys.argv[2]).iterdir()):
    file = parquet.ParquetFile(path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        x = torch.stack([torch.from_numpy(column.to_numpy()) for column in table.columns], 1)
        found = []
        with torch.no_grad():
            for part in prepare(nelbo.data.Batch(x)).x.split(int(sys.argv[4])):
                qz = vae.posterior(part)
                z = qz.rsample((16,))
                error = -vae.likelihood(z).log_prob(part)
                kl = torch.distributions.kl_divergence(qz, vae.prior)
                found.append(torch.stack([-error.mean(0) - kl, error.std(0) / 4, error.mean(0), kl]))
        names = ["log_px", "standard_error", "reconstruction_error", "kl"]
        columns = dict(zip(names, torch.cat(found, 1).numpy()), id=range(rows, rows + len(x)))
        rows += len(x)
        parquet.write_table(pa.table(columns), out / f"part-{rows}.parquet")
"""


@dataclass(frozen=True)
class Watched:
    """What a process took."""

    seconds: float
    resident: float
    """GiB, the most at any of the moments looked at, of its own: without what the system caches of files."""
    output: str


def watched(*command: str | Path) -> Watched:
    """Run a command to its end, looking at its memory ten times a second."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        done = threading.Event()

        def look() -> None:
            nonlocal peak
            status = Path(f"/proc/{process.pid}/status")
            while not done.wait(0.1):
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                if "RssAnon" in lines:
                    peak = max(peak, int(lines["RssAnon"].split()[0]))

        thread = threading.Thread(target=look)
        thread.start()
        assert process.stdout is not None
        output = process.stdout.read()
        done.set()
        thread.join()
        if process.wait():
            raise SystemExit(f"{command} ended with {process.returncode}")
    return Watched(time.perf_counter() - start, peak / 2**20, output)


def generate(folder: Path, gib: float, columns: int) -> tuple[int, int]:
    """Write random numbers until so many GiB are there; the rows and the files."""
    r = np.random.default_rng(0)
    mixing, names = r.normal(size=(8, columns)).astype("f4"), [f"x{i}" for i in range(columns)]
    rows = files = 0
    while rows * columns * 4 < gib * 2**30:
        with parquet.ParquetWriter(
            folder / f"{files:05}.parquet",
            pa.schema([(name, pa.float32()) for name in names]),
            compression="none",
            use_dictionary=False,
        ) as writer:
            for _ in range(_GROUPS_A_FILE):
                x = r.standard_normal((_GROUP, 8), dtype="f4") @ mixing + r.standard_normal((_GROUP, columns), "f4")
                writer.write_table(pa.table(dict(zip(names, x.T.copy(), strict=True))), row_group_size=_GROUP)
        rows, files = rows + _GROUP * _GROUPS_A_FILE, files + 1
    return rows, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=20.0, help="of the folder (20)")
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--scored", type=int, default=1, help="files that are scored (1), by turns with the loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=512, help="rows that the loop scores at once (512)")
    parser.add_argument("--folder", type=Path, help="where the data are written, and removed again; a temporary folder")
    chosen = parser.parse_args()
    table = Table("", "", "goal")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder, run = Path(name) / "data", Path(name) / "run"
        folder.mkdir()
        rows, files = generate(folder, chosen.gib, chosen.columns)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**30
        what = f"{size:.1f} GiB, {rows:,} rows of {chosen.columns} numbers in {files} files"
        print(what, file=sys.stderr)
        epoch = watched(sys.executable, "-c", _EPOCH, folder, run)
        times = {line.split()[0]: float(line.split()[1]) for line in epoch.output.splitlines()}
        table.add_row("folder", what, "")
        table.add_row("opened, with the statistics of the columns", f"{times['opened']:.0f} s", "")
        seconds = times["trained"] - times["opened"]
        speed = f"{seconds:.0f} s, {1024 * size / seconds:.0f} MiB/s, {rows / seconds:,.0f} rows/s"
        table.add_row("an epoch, 64 hidden units", speed, "")
        print(f"an epoch: {speed}; resident {epoch.resident:.2f} GiB", file=sys.stderr)
        table.add_row("resident memory", f"{epoch.resident:.2f} GiB", f"< {RESIDENT_GIB:g} GiB")
        few = Path(name) / "few"
        few.mkdir()
        for path in sorted(folder.iterdir())[: chosen.scored]:
            (few / path.name).hardlink_to(path)
        ratios = []
        for i in range(chosen.rounds):
            command = [sys.executable, "-m", "nelbo", "score", run, few, "--method", "elbo", "--device", "cpu"]
            ours = watched(*command, "--out", Path(name) / f"scores{i}").seconds
            loop = watched(sys.executable, "-c", _LOOP, run, few, Path(name) / f"loop{i}", str(chosen.batch)).seconds
            ratios.append(ours / loop)
            print(f"scores: nelbo {ours:.1f} s, loop {loop:.1f} s", file=sys.stderr)
        table.add_row("nelbo score / a loop by hand", f"{sorted(ratios)[len(ratios) // 2]:.2f}", f"<= {SCORING:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
