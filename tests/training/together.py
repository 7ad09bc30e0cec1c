"""Trainings by several processes: ``python -m tests.training.together FOLDER NAME ...`` under torchrun's variables."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import nelbo
from tests.training.simple import small

X = np.random.default_rng(0).normal(size=(203, 5)).astype(np.float32)


def _holes() -> Any:
    x = X.copy()
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    return nelbo.data.load(x, missing="observed", validation=20)


def _normed() -> nelbo.VAE:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))
        decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 5))
        encoder.without_gradient = nn.Parameter(torch.ones(2))
        return nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Normal("optimal"))


def _on_disk(folder: Path) -> Any:
    return nelbo.data.load(folder / "table.npy", standardize=True, validation=40, on_disk=True, memory="4KiB")


TRAININGS: dict[str, tuple[Callable[[Path], tuple[Any, Any]], dict[str, Any]]] = {
    "sigma": (lambda _: (small("sigma_vae", event=(5,)), X), {"ema": 0.9, "clip": 1.0, "schedule": "cosine"}),
    "batch_norm": (lambda _: (_normed(), X), {"weight_decay": 0.1, "patience": 3}),
    "within_pieces": (lambda _: (small("info_vae", event=(5,), likelihood="normal"), X), {}),
    "holes": (lambda _: (small("missing_vae", event=(5,), likelihood="normal"), _holes()), {}),
    "dynamic": (
        lambda _: (small(event=(5,)), nelbo.data.load(np.abs(np.tanh(X)), binarize="dynamic", validation=21)),
        {},
    ),
    "on_disk": (lambda folder: (small("sigma_vae", event=(5,)), _on_disk(folder)), {}),
}


def train(name: str, folder: Path, out: Path, **more: Any) -> nelbo.Run:
    """The training of that name, of a batch of 24 in 6 pieces; the last batch has fewer examples than pieces."""
    make, settings = TRAININGS[name]
    model, data = make(folder)
    common = {"epochs": 2, "batch_size": 24, "shards": 6, "progress": False, "device": "cpu", "threads": 1}
    return nelbo.fit(model, data, out=out, **(common | settings | more))


if __name__ == "__main__":
    place, *names = sys.argv[1:]
    for each in names:
        train(each, Path(place), Path(place) / "two" / each)
