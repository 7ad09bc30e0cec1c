"""Seconds per epoch of 12,800 images: 1-32-64 channels, 4x4 kernels, stride 2, dense 3136-256-32 and back, batch 128.

Claim: nelbo needs at most as long as a loop written by hand in the channels_last layout.
"""

import sys
from pathlib import Path

from benchmarks import mnist, referee
from benchmarks.results import Row, options, rows_of, show
from benchmarks.turns import Peer, take_turns

PEERS = (
    Peer("nelbo", "benchmarks.peers.conv_nelbo"),
    Peer("PyTorch by hand, channels_last", "benchmarks.peers.conv_loop", ("channels_last",)),
    Peer("PyTorch by hand, default layout", "benchmarks.peers.conv_loop"),
)
GOALS = {"PyTorch by hand, channels_last": 1.0}


def measure(path: Path, *, rounds: int, images: int | None, patience: float) -> list[Row]:
    courses = take_turns(
        PEERS,
        path,
        rounds=rounds,
        images=images or 12_800,
        patience=patience,
        say=lambda line: print(line, file=sys.stderr),
    )
    x = mnist.test(path)
    for course in courses:
        course.nelbo = referee.nelbo_conv(course.weights, x)
    return rows_of(f"convolutions, {images or 12_800:,} images", courses, GOALS)


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    found = measure(mnist.find(chosen.mnist), rounds=chosen.rounds, images=chosen.images, patience=chosen.patience)
    show(found, as_json=chosen.json)
