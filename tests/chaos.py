"""Kill trainings and scorings at random, and start them again: ``python -m tests.chaos [--kills 100] [--minutes 45]``.

Each run is trained as the command would be used, by 1, 2 or 4 processes that change at every start, and ends in the
weights of its twin, which nobody disturbed. Between two starts a temporary file may lie half-written, and a disk may
be full for a while: then files beyond a size are refused by the kernel.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nelbo.runs import WEIGHTS
from tests.training.test_sharded import started

_GRACE = 60.0  # seconds within which a process whose peer died at work has ended by itself
ROWS, GROUP, PROCESSES = 6000, 500, (1, 2, 4)
_VAE = ["table.parquet", "--standardize", "--recipe", "vae", "--likelihood", "normal"]
FITS = {
    "vae": _VAE,
    "mixture prior, clipped, averaged": [*_VAE, "--prior", "mixture", "--clip", "1", "--ema", "0.99"],
    "holes": ["holes.parquet", "--standardize", "--missing", "observed"],
    "rows on disk": ["table.parquet", "--standardize", "--on-disk", "--memory", "1MiB"],
    "mixed columns": ["mixed.parquet"],
}
COMMON = ["--shards", "4", "--epochs", "12", "--batch-size", "128", "--device", "cpu", "--threads", "1"]


def tables(folder: Path) -> None:
    """Tables of numbers, of numbers with holes, and of mixed columns."""
    r = np.random.default_rng(0)
    x = r.normal(size=(ROWS, 3)) @ r.normal(size=(3, 8)) + r.normal(size=(ROWS, 8))
    columns = {f"c{i}": x[:, i] for i in range(8)}
    parquet.write_table(pa.table(columns), folder / "table.parquet", row_group_size=GROUP)
    kinds = {"job": np.array(list("abcd"))[r.integers(0, 4, ROWS)], "visits": r.poisson(3.0, ROWS)}
    parquet.write_table(pa.table(columns | kinds), folder / "mixed.parquet", row_group_size=GROUP)
    holes = {name: pa.array(np.where(r.random(ROWS) < 0.2, np.nan, v), from_pandas=True) for name, v in columns.items()}
    parquet.write_table(pa.table(holes), folder / "holes.parquet", row_group_size=GROUP)


def run(
    command: list[str], processes: int, disturb: Callable[[list[subprocess.Popen[str]]], bool]
) -> tuple[bool, bool, str]:
    """Start a command by so many processes: whether they were disturbed, whether all ended well, what they said."""
    if processes == 1:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "nelbo", *command]
        alive = [subprocess.Popen(arguments, env=environment, stdout=-1, stderr=-1, text=True)]
    else:
        alive = started(processes, "-m", "nelbo", *command)
    hit = disturb(alive)
    said = [process.communicate(timeout=600) for process in alive]
    return hit, all(process.returncode == 0 for process in alive), "\n".join(text for pair in said for text in pair)


def _end_those_left(alive: list[subprocess.Popen[str]], *, met: bool) -> None:
    """End the peers of a process that died, as a launcher does; an error where they were at work and did not end.

    Those that never met it wait for half an hour, as torch does.
    """
    threads = [threading.Thread(target=process.wait, daemon=True) for process in alive]
    for thread in threads:
        thread.start()
    until = time.monotonic() + (_GRACE if met else 1.0)
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    left = [process for process in alive if process.poll() is None]
    for process in left:
        process.kill()
    assert not (left and met), f"{len(left)} processes still run {_GRACE:.0f} s after one of them was killed at work"


def quietly(_: list[subprocess.Popen[str]]) -> bool:
    return False


class Killer:
    """Sends SIGKILL to one of the processes, or to all, at a random moment; one time in five it lets them end.

    Args:
        r: chooses.
        out: the folder that is written, whose size says that work is under way.
        seconds: that the work takes when nothing disturbs it.
    """

    def __init__(self, r: random.Random, out: Path, seconds: float) -> None:
        self.r, self.out, self.seconds, self.kills = r, out, seconds, 0

    def __call__(self, alive: list[subprocess.Popen[str]]) -> bool:
        if self.r.random() < 0.2:
            return False
        at_work, before = self.r.random() < 0.7, _written(self.out)
        moment = None if at_work else time.monotonic() + self.r.uniform(0.3, self.seconds)
        delay = self.r.uniform(0.0, 0.3 * self.seconds)
        while all(process.poll() is None for process in alive):
            if moment is None and _written(self.out) != before:
                moment = time.monotonic() + delay
            if moment is not None and time.monotonic() > moment:
                break
            time.sleep(0.02)  # nothing is waited for: the moment is drawn
        victims = alive if self.r.random() < 0.3 else [self.r.choice(alive)]
        hit = [process for process in victims if process.poll() is None]
        for process in hit:
            process.send_signal(signal.SIGKILL)
        self.kills += bool(hit)
        if hit:
            _end_those_left(alive, met=_written(self.out) != before)
        return bool(hit)


def _written(out: Path) -> int:
    """Bytes in a folder."""
    return sum(path.stat().st_size for path in out.glob("*") if path.is_file()) if out.is_dir() else 0


def weights(out: Path) -> str:
    return hashlib.sha256((out / WEIGHTS).read_bytes()).hexdigest()


def rows(out: Path) -> str:
    """A hash of all scores in order; an error where a row is there twice or not at all."""
    table = pa.concat_tables([parquet.read_table(path) for path in sorted(out.glob("*.parquet"))])
    assert table["id"].to_pylist() == list(range(ROWS)), "a row is there twice or not at all"
    return hashlib.sha256(json.dumps(table.to_pydict()).encode()).hexdigest()


def litter(out: Path, r: random.Random) -> None:
    """What a writer leaves that is killed in the middle of a file."""
    if out.is_dir() and r.random() < 0.3:
        names = [path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")]
        for name in r.sample(names, min(2, len(names))):
            (out / f".{name}.{r.randrange(1 << 32):08x}.part").write_bytes(r.randbytes(100))


def disturbed(command: list[str], again: list[str], out: Path, killer: Killer) -> tuple[int, str]:
    """Start until it ended well, with other numbers of processes; the number of starts, and what the last one said."""
    for start in range(1, 60):
        litter(out, killer.r)
        full = killer.r.random() < 0.1
        if full:  # files end at 4 KiB, as on a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        there = (out / "run.json").is_file() or (out / "parts.json").is_file()
        try:
            hit, ok, said = run(again if there else command, killer.r.choice(PROCESSES), killer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if ("Traceback" in said or not (ok or hit)) and not full:
            raise AssertionError(f"undisturbed, or with a traceback:\n{said}")
        if ok:
            return start, said
    raise AssertionError(f"{out} did not end in 60 starts; the last one said:\n{said}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # and of the children: a write then fails as on a full disk
    r, started_at, kills, runs = random.Random(chosen.seed), time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables(folder)
        os.environ["PYTHONPATH"] = f"{Path(__file__).parents[1] / 'src'}:{Path(__file__).parents[1]}"
        twins: dict[str, tuple[str, float]] = {}

        def attempt(title: str, command: list[str], again: list[str], what: Callable[[Path], str], out: Path) -> None:
            nonlocal kills, runs
            if title not in twins:
                begin = time.monotonic()
                twin = folder / f"twin{len(twins)}"
                _, ok, said = run([*command, "--out", str(twin)], 1, quietly)
                assert ok, said
                twins[title] = what(twin), time.monotonic() - begin
            expected, seconds = twins[title]
            killer = Killer(r, out, seconds)
            starts, _ = disturbed([*command, "--out", str(out)], again, out, killer)
            kills, runs = kills + killer.kills, runs + 1
            verdict = "the same" if what(out) == expected else "OTHER"
            print(f"{title}: {starts} starts, {killer.kills} killed: {verdict}", flush=True)
            assert verdict == "the same", f"{title} ended in other numbers than its twin"

        while kills < chosen.kills and time.monotonic() - started_at < 60 * chosen.minutes:
            for title, (table, *arguments) in FITS.items():
                out = folder / f"run{runs}"
                attempt(
                    title,
                    ["fit", str(folder / table), *arguments, *COMMON],
                    ["fit", "--resume", str(out)],
                    weights,
                    out,
                )
            out = folder / f"scores{runs}"
            score = [
                "score",
                str(folder / "twin0"),
                str(folder / "table.parquet"),
                "--samples",
                "2000",
                "--device",
                "cpu",
            ]
            attempt("scores", score, [*score, "--out", str(out)], rows, out)
            if kills >= chosen.kills:
                break
    minutes = (time.monotonic() - started_at) / 60
    print(f"{kills} killed in {runs} runs, {minutes:.0f} minutes: every one ended in the numbers of its twin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
