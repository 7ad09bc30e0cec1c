"""Seconds per epoch of MNIST: the 784-400-20-400-784 network, Adam 1e-3, batches of 128, float32.

Claim: nelbo needs at most as long as JAX with the whole epoch compiled, and 0.4 of pythae.
"""

import sys
from pathlib import Path

from benchmarks import mnist, referee
from benchmarks.results import Row, options, rows_of, show
from benchmarks.turns import Peer, take_turns

PEERS = (
    Peer("nelbo", "benchmarks.peers.mlp_nelbo"),
    Peer("PyTorch by hand", "benchmarks.peers.mlp_loop"),
    Peer("PyTorch DataLoader", "benchmarks.peers.mlp_dataloader"),
    Peer("pythae", "benchmarks.peers.mlp_pythae", needs=("pythae",)),
    Peer("JAX, one scan", "benchmarks.peers.mlp_jax", needs=("jax", "optax")),
)
COMPILED = Peer("PyTorch compiled", "benchmarks.peers.mlp_loop", ("compile",))
GOALS = {"JAX, one scan": 1.0, "pythae": 0.4}


def measure(path: Path, *, rounds: int, images: int | None, patience: float, compiled: bool = False) -> list[Row]:
    courses = take_turns(
        (*PEERS, COMPILED) if compiled else PEERS,
        path,
        rounds=rounds,
        images=images or 60_000,
        patience=patience,
        say=lambda line: print(line, file=sys.stderr),
    )
    x = mnist.test(path)
    for course in courses:
        course.nelbo = referee.nelbo_mlp(course.weights, x)
    return rows_of(f"MLP, {images or 60_000:,} images", courses, GOALS)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--compiled", action="store_true", help="also the loop by hand under torch.compile")
    chosen = parser.parse_args()
    found = measure(
        mnist.find(chosen.mnist),
        rounds=chosen.rounds,
        images=chosen.images,
        patience=chosen.patience,
        compiled=chosen.compiled,
    )
    show(found, as_json=chosen.json)
