"""Peak resident memory of a training on MNIST, libraries and data included.

Claim: nelbo's trainer stays under 1 GiB.
"""

import sys
from pathlib import Path

from benchmarks import mnist
from benchmarks.results import Row, options, show
from benchmarks.train_mlp import PEERS
from benchmarks.turns import take_turns

GOAL_MIB = 1024.0


def measure(path: Path, *, rounds: int) -> list[Row]:
    peers = [peer for peer in PEERS if peer.name in ("nelbo", "PyTorch by hand")]
    courses = take_turns(peers, path, rounds=rounds, images=60_000, say=lambda line: print(line, file=sys.stderr))
    ours = next(course for course in courses if course.peer == "nelbo")
    rows = []
    for course in courses:
        own = course is ours
        details = {"before_training_mib": course.memory_before}
        ratio = None if own else ours.memory / course.memory
        rows.append(
            Row("peak memory, MNIST", course.peer, course.memory, "MiB", ratio, GOAL_MIB if own else None, details)
        )
    return rows


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(mnist.find(chosen.mnist), rounds=1), as_json=chosen.json)
