"""A model looked at: nothing about it, nor about the caller's random state, is changed."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nelbo.training.seeds import derive, own_randomness, seed_noise


@contextmanager
def at_rest(model: Any, seed: int = 0) -> Generator[torch.device | None]:
    """Within, the model is in evaluation mode without gradients, and draws come from ``seed``; all is put back.

    Gives the device that the model is on, or None where that cannot be seen.
    """
    module = model if isinstance(model, nn.Module) else nn.Module()
    device = next((tensor.device for tensor in [*module.parameters(), *module.buffers()]), None)
    drawing = device or torch.device("cpu")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), own_randomness(drawing):
            seed_noise(drawing, derive(seed, "figure"))
            yield device
    finally:
        for part, training in modes:
            part.training = training
