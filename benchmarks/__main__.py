"""All benchmarks, one table: ``python -m benchmarks``."""

from benchmarks import (
    divergences,
    evidence,
    flagged,
    memory,
    mnist,
    startup,
    studio,
    studio_latent,
    studio_playground,
    studio_quality,
    train_conv,
    train_mlp,
)
from benchmarks.results import options, show


def main() -> None:
    chosen = options(__doc__).parse_args()
    path = mnist.find(chosen.mnist)
    rows = [
        *train_mlp.measure(path, rounds=chosen.rounds, images=chosen.images, patience=chosen.patience),
        *train_conv.measure(path, rounds=chosen.rounds, images=chosen.images, patience=chosen.patience),
        *evidence.measure(path, rounds=chosen.rounds, patience=chosen.patience),
        *flagged.measure(),
        *memory.measure(path, rounds=1),
        *divergences.measure(),
        *startup.measure(rounds=chosen.rounds),
        *studio.measure(rounds=chosen.rounds),
        *studio_latent.measure(),
        *studio_playground.measure(),
        *studio_quality.measure(rounds=chosen.rounds),
    ]
    show(rows, as_json=chosen.json)


if __name__ == "__main__":
    main()
