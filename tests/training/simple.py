"""Small models and data that the tests of training share, importable from their subprocesses too."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import nelbo
from nelbo import likelihoods, recipes
from nelbo.nn import MLP
from nelbo.vae import VAE, Model


def binary(n: int = 200, features: int = 6, seed: int = 0) -> Tensor:
    return torch.bernoulli(torch.full((n, features), 0.4), generator=torch.Generator().manual_seed(seed))


def bytes_file(folder: Path, n: int = 200) -> Path:
    """8-bit images 6x6 in a .npy file: dynamic binarization has something to draw."""
    path = folder / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (n, 6, 6), dtype=np.uint8))
    return path


def table_file(folder: Path, n: int = 200) -> Path:
    """Correlated real values in a .npy file."""
    path = folder / "table.npy"
    rng = np.random.default_rng(0)
    np.save(path, (rng.normal(size=(n, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(n, 5))).astype("f4"))
    return path


def small(name: str = "vae", seed: int = 0, event: tuple[int, ...] = (6,), **arguments: Any) -> Model:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = recipes.make(name, event, **({"hidden": (8,)} | arguments))
        made.draw_weights()  # now: its weights are given, not drawn by fit's seed
        return made


def by_hand(decoder: nn.Module | None = None, seed: int = 0, features: int = 6) -> VAE:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return VAE(
            MLP(features, 4, hidden=(8,)),
            decoder or MLP(2, features, hidden=(8,)),
            latent=2,
            likelihood=likelihoods.Bernoulli(),
        )


def quick(model: Any, data: Any, **settings: Any) -> Any:
    """fit() without a bar, for three epochs."""
    return nelbo.fit(model, data, **({"epochs": 3, "batch_size": 32, "progress": False} | settings))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name].cpu(), b[name].cpu()) for name in a)


TIMING = {"seconds", "examples_per_second"}


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in epoch.items() if name not in TIMING} for epoch in history]
