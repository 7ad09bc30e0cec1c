"""Batches cut into pieces: what pieces cost one process, and what a second process gains.

Each arrangement trains MNIST's 784-400-20 network for some epochs in processes of its own, one thread each, by turns;
the first epoch of each is not counted. The ceiling is what two processes reach that train the same by themselves at the
same time: they share the machine's memory and its clock, whatever they are told.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import mnist

COST, GAIN = 1.35, 1.5
"""Goals: time of four pieces in one process by that of one; speed of two processes by that of one, with two pieces."""
ARRANGEMENTS = {"1 shard": (1, 1, 1), "2 shards": (2, 1, 1), "4 shards": (4, 1, 1), "2 processes": (2, 2, 1),
                "2 by themselves": (2, 1, 2)}  # fmt: skip
"""Of each: shards, processes of a training, and trainings at the same time."""


def train(path: str, shards: int, batch: int, epochs: int) -> None:
    """One process of a training; the first prints its speed in each epoch."""
    import nelbo

    images = mnist.train(path)
    run = nelbo.fit(
        nelbo.recipes.vae((784,), latent=20, hidden=(400,), likelihood="gray_bernoulli"),
        nelbo.data.load(images, layout="vectors", scale=1 / 255, validation=0),
        epochs=epochs, batch_size=batch, shards=shards, threads=1, device="cpu", progress=False,
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps([line["examples_per_second"] for line in run.history[1:]]))


def speed(path: Path, arrangement: Sequence[int], batch: int, epochs: int, port: int) -> float:
    """Examples per second of a training, the mean of those that run at the same time."""
    shards, processes, trainings = arrangement
    command = [sys.executable, "-m", "benchmarks.shards", "--one", str(path), str(shards), str(batch), str(epochs)]
    shared = {"OMP_NUM_THREADS": "1"}
    if processes > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for _ in range(trainings)
        for rank in range(processes)
    ]
    found = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    return statistics.mean(statistics.median(json.loads(text)) for text in found if text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="a .npz file with x_train and x_test")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the speeds of each round as JSON")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        path, *numbers = chosen.one
        train(path, *map(int, numbers))
        return
    path = mnist.find(chosen.mnist)
    rounds = [
        {
            name: speed(path, arrangement, chosen.batch, chosen.epochs, 29500 + 10 * turn + i)
            for i, (name, arrangement) in enumerate(ARRANGEMENTS.items())
        }
        for turn in range(chosen.rounds)
    ]
    if chosen.json:
        print(json.dumps(rounds))
        return
    table = Table("", "median of the rounds", "goal", title=f"784-400-20 on MNIST, batches of {chosen.batch}, 1 thread")
    for words, above, below, goal in (
        ("time of 2 shards, of that of 1", "1 shard", "2 shards", ""),
        ("time of 4 shards, of that of 1", "1 shard", "4 shards", f"at most {COST}"),
        ("speed of 2 processes, of that of 1, 2 shards", "2 processes", "2 shards", f"at least {GAIN}"),
    ):
        ratio = statistics.median(each[above] / each[below] for each in rounds)
        table.add_row(words, f"{ratio:.2f}", goal)
    ceiling = statistics.median(2 * each["2 by themselves"] / each["2 shards"] for each in rounds)
    table.add_row("that of two trainings by themselves: the ceiling", f"{ceiling:.2f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
