"""The precision that networks are trained in, and what it does to the ELBO of the weights that it trained."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from nelbo.data import Dataset
from nelbo.devices import CPU, device_of, has_tf32, products_in_tf32, widened
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate
from nelbo.vae import Model

_EXAMPLES = 1000  # at most, whose ELBO is computed in both precisions


@contextmanager
def mixed_precision(model: Model, precision: str) -> Generator[None]:
    """Within, the model's networks run in that precision; what is measured is measured in the model's own."""
    before = model.network_precision
    if before == precision:  # torch.compile, for one, cannot set an attribute of a model
        yield
        return
    model.network_precision = precision
    try:
        with products_in_tf32(device_of(model) or CPU, True) if precision == "tf32" else nullcontext():
            yield
    finally:
        model.network_precision = before


def not_there(precision: str, device: torch.device) -> str | None:
    """Why training on a device is in float32 after all, in words; None where it is as asked."""
    if precision != "tf32" or has_tf32(device):
        return None
    return f"precision='tf32' changes nothing on {device.type}, which has no TF32: training runs in float32"


def change_of_elbo(model: Model, dataset: Dataset, precision: str, *, seed: int) -> Estimate:
    """ELBO(x) in that precision minus ELBO(x) in float32, by the same draw of z ~ q(z|x), as a mean over examples.

    Args:
        model: with the weights that were trained.
        dataset: of whose examples 1,000 are taken, or all.
        precision: of the networks.
        seed: of the draws, and of which examples.

    Returns:
        In nats; of an autoencoder, whose ELBO is minus infinity, the change of log p(x|z). The standard error is over
        the examples.
    """
    batch = evaluate(model, dataset, n=_EXAMPLES, seed=seed).batch

    def elbo() -> Tensor:
        found = Evaluation(model, batch, seed=seed)
        return widened(found.log_px if found.is_point else -found.nelbo)

    with mixed_precision(model, precision):
        rounded = elbo()
    return Estimate.mean_of((rounded - elbo()).cpu())
