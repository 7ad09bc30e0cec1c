"""What starting at the mean of the data is worth: validation NELBO of small VAEs on 2,700 digits, with it and without.

Both start from the same weights otherwise; a decoder inside nn.Sequential counts as somebody's own and starts as it is.
"""

import argparse
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import nelbo
from nelbo.randomness import seeded_weights

NETWORKS = {
    "dense 400, relu": {"hidden": (400,)},
    "dense 200-200, tanh": {"hidden": (200, 200), "activation": "tanh"},
    "convolutional": {"network": "conv", "channels": (8, 16), "hidden": (64,)},
}


def validation_nelbo(arguments: dict, epochs: int, seed: int, *, as_it_is: bool) -> float:
    """In nats, after so many epochs."""
    data = nelbo.data.load("mnist5k", binarize="dynamic", limit=3000)
    vae = nelbo.recipes.vae(data.event_shape, **arguments)
    with seeded_weights(seed):
        vae.draw_weights()
    if as_it_is:
        vae.decoder = nn.Sequential(vae.decoder)
    return nelbo.fit(vae, data, epochs=epochs, seed=seed, progress=False).history[-1]["validation_nelbo"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--latents", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("network", "latents", "epochs", "as it is", "at the mean", "gain", title="validation NELBO, nats")
    for name, arguments in NETWORKS.items():
        for latent in chosen.latents:
            for epochs in chosen.epochs:
                pair = [
                    [
                        validation_nelbo({**arguments, "latent": latent}, epochs, seed, as_it_is=as_it_is)
                        for seed in range(chosen.seeds)
                    ]
                    for as_it_is in (True, False)
                ]
                gains = [before - after for before, after in zip(*pair, strict=True)]
                shown = f"{mean(gains):.1f} ({min(gains):.1f} to {max(gains):.1f})"
                table.add_row(name, str(latent), str(epochs), f"{mean(pair[0]):.1f}", f"{mean(pair[1]):.1f}", shown)
    Console().print(table)


if __name__ == "__main__":
    main()
