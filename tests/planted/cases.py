"""What the suite is made of: a model trained with one fault, or with none, and what a user would hand to nelbo."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

FAULTS: dict[str, "Planted"] = {}
HEALTHY: dict[str, "Planted"] = {}
WILD: dict[str, "Planted"] = {}
"""Faulty and healthy models as other projects write them, a suite of their own."""


@dataclass
class Subject:
    """A trained model in plain PyTorch and what its user knows about it.

    x: a tensor, or a Batch with the conditions of a conditional model; held_out too.
    likelihood: bernoulli, continuous_bernoulli, normal:SIGMA, normal_decoded, poisson or negative_binomial; None hands
        the model to nelbo.wrap as a whole, with extra.
    beta: the weight of the KL that its user chose on purpose and says so; None says nothing.
    differentiated: the loss as it was at the end of the training, which the user of most cases does not hand over.
    extra: further arguments of nelbo.wrap (encode=, decode=, scale=, output=, forward= ...).
    """

    model: Any
    x: Any
    held_out: Any
    likelihood: str | None = None
    history: list[dict[str, float]] | None = None
    loss: Callable[..., Any] | None = None
    beta: float | None = None
    reported: dict[str, float] | None = None
    differentiated: Callable[..., Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Planted:
    """A case of the suite."""

    name: str
    finding: str | None
    """The id that must be named first; None for a healthy model."""
    data: str
    network: str
    build: Callable[[], Subject]


def plant(finding, data, network, *, wild=False):
    """Register a builder as a fault that ``finding`` must name; None: as a healthy model; wild: of the other suite."""

    def register(build):
        table = WILD if wild else HEALTHY if finding is None else FAULTS
        name = build.__name__
        assert name not in table, name
        table[name] = Planted(name, finding, data, network, build)
        return build

    return register


def seeded(planted):
    """The subject, trained with draws of its own; the caller's random state is left as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return planted.build()
