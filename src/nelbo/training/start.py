"""Where a training starts: with a p(x|z) that has the mean of the data, whatever z is."""

import torch

from nelbo.data import Dataset
from nelbo.nn import MLP, ConvDecoder
from nelbo.vae import Model

_EXAMPLES = 10_000


@torch.no_grad()
def start_at_mean(model: Model, data: Dataset) -> None:
    """Set the output bias of an untrained decoder of nelbo.nn to the mean of the data.

    Otherwise the first hundreds of steps go into finding out how often each pixel is on, by way of the latents:
    benchmarks/start.py measures what that costs. Burda et al. 2016 do so in their code. A bias that is not 0 was
    trained or set by somebody, and stays.
    """
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, MLP | ConvDecoder) or bool(decoder.output_bias.any()):
        return
    x = data.take(min(len(data), _EXAMPLES))
    if isinstance(decoder, ConvDecoder):
        x = x.movedim(1, -1).flatten(0, -2)  # one bias for all pixels of a channel
    start = model.px_family.at_mean(x)
    if start is not None:
        decoder.output_bias.copy_(start.flatten())
