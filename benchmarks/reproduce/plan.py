"""What is trained, for how long, how it is measured, and which published number it is held against."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

import nelbo
from nelbo.data import Data

NETWORK: dict[str, Any] = {"latent": 50, "hidden": (200, 200), "activation": "tanh"}
SETTINGS: dict[str, Any] = {"batch_size": 100, "learning_rate": 3e-3, "schedule": "cosine", "ema": 0.999}
DATA: dict[str, Any] = {"binarize": "dynamic", "layout": "vectors"}


@dataclass(frozen=True)
class Training:
    """One model, and what was published for it."""

    name: str
    """Of its folder."""
    title: str
    recipe: str
    objective: dict[str, Any]
    """The recipe's own arguments."""
    epochs: int
    published: float
    """-log p(x) of the test images, in nats."""
    goal: float | None = None
    """What ours shall not exceed."""
    published_epochs: int = 0


STL, FIVE = {"samples": 1, "gradient": "stl"}, {"samples": 5, "gradient": "plain"}

TRAININGS = (
    # XavierXiao/Stick-the-Landing-with-IWAE, README: L_1000 of the same network after 50 epochs
    Training("vae", "VAE", "vae", {}, 50, 92.67, 92.7, 50),
    Training("iwae-5", "IWAE, k = 5", "iwae", FIVE, 50, 90.40, 90.4, 50),
    Training("vae-stl", "VAE, sticking the landing", "iwae", STL, 50, 92.02, 92.0, 50),
    # Burda, Grosse & Salakhutdinov 2016, table 1
    Training("iwae-5-long", "IWAE, k = 5, longer", "iwae", FIVE, 100, 85.54, None, 3280),
    Training("vae-long", "VAE, longer", "vae", {}, 100, 86.76, None, 3280),
)

CROSSED = ("vae", "iwae-5")
"""Trained by the ELBO and by L_5 for as long, to be judged by both: the pattern of Nowozin 2018, table 1."""


@dataclass(frozen=True)
class Plan:
    """All trainings and how much they are measured."""

    trainings: tuple[Training, ...] = TRAININGS
    limit: int | None = None
    """Of the training and the test images."""
    held_out: int = 400
    """Of the training images, for the curves: as many as in Burda's code."""
    elbo_draws: int = 10
    few: tuple[int, ...] = (5, 100)
    """The k of the L_k that are measured on all test images."""
    many: int = 5000
    """The k of the L_k that is measured on every tenth."""
    every: int = 10
    block: int = 500_000
    """Draws of z behind one file: what is lost at most where a measurement is stopped."""


FULL = Plan()
QUICK = Plan(
    tuple(replace(training, epochs=1) for training in TRAININGS),
    1000,
    held_out=100,
    few=(5, 20),
    many=100,
    block=100_000,
)


def load(mnist: str, plan: Plan) -> Data:
    return nelbo.data.load(mnist, validation=plan.held_out, limit=plan.limit, **DATA)


def make(training: Training, data: Data) -> nelbo.Model:
    """The freshly initialized model: Glorot's weights, and a decoder that begins at the mean image.

    Both as in Burda's code (datasets.py, get_train_bias_np). Without the bias, the first epochs go into learning the
    mean image.
    """
    model = nelbo.recipes.make(training.recipe, data.event_shape, **training.objective, **NETWORK)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    mean = data.train.stored(range(len(data.train))).float().mean(0) / 255
    with torch.no_grad():
        model.decoder.layers[-1].bias.copy_(mean.clamp(0.001, 0.999).logit())
    return model
