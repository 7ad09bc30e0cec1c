"""The state in which a model is measured, and how much is computed at a time."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nelbo.randomness import derive, own_randomness, seed_noise

BUDGET = 1 << 18
"""Numbers decoded together: 1 MB of float32, which with its log-probabilities stays in a processor's cache."""


def rows_at_once(numbers: int, *, passes: int = 1) -> int:
    """The rows that are computed together, one at least: the one memory budget of everything that is measured.

    Args:
        numbers: of one row: features times draws, or pairs of an example and a code.
        passes: budgets that may be taken at once, where a row costs little beside what a call costs by itself.
    """
    return max(1, passes * BUDGET // max(1, numbers))


@contextmanager
def evaluation_mode(model: Any, seed: int = 0) -> Generator[torch.device | None]:
    """Within, the model is in evaluation mode without gradients and draws come from ``seed``; all is put back.

    Yields:
        The device that the model is on, or None where that cannot be seen.
    """
    module = model if isinstance(model, nn.Module) else nn.Module()
    device = next((tensor.device for tensor in [*module.parameters(), *module.buffers()]), None)
    drawing = device or torch.device("cpu")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), own_randomness(drawing):
            seed_noise(drawing, derive(seed, "measure"))
            yield device
    finally:
        for part, training in modes:
            part.training = training
