"""Reconstruction from embeddings only: what is left of x when nothing but its point in latent space is kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.features import principal_components
from nelbo.measure.terms import over_examples
from nelbo.vae import Model

_ROWS = 2000


@dataclass(frozen=True, eq=False)
class FromEmbeddings:
    """What the decoder gives back from embeddings alone.

    Attributes:
        error: (batch,), -log p(x|z) at z = the embedding, in nats: without the noise of q(z|x).
        explained: share of the data's variance that the decoded means explain, at most 1; 0 is what the mean of the
            data explains.
        linear: the same of as many principal components of the training data: the best linear embedding.
        x: (batch, \\*event), the decoded means.
    """

    error: Estimate
    explained: Estimate
    linear: Estimate
    x: Tensor


def from_embeddings(model: Model, x: Tensor, train: Tensor, *, seed: int = 0) -> FromEmbeddings:
    """Decode the embeddings of x: the error in nats, and the variance explained beside that of PCA.

    explained = 1 - sum |x - decoded|^2 / sum |x - mean|^2, with the mean of the training data; its error by the delta
    method over the examples.

    Args:
        model: a VAE, autoencoder, or anything with prior, posterior and likelihood.
        x: (batch, \\*event).
        train: (n, \\*event), for the mean and the principal components; the first 2,000 are used.
        seed: of a posterior without a closed mean.
    """
    errors: list[Tensor] = []
    decoded: list[Tensor] = []
    with evaluation_mode(model, seed) as device:
        for batch in x.split(1000):
            on_device = batch.to(device=device)
            z = model.encode(on_device)
            errors.append(-model.log_likelihood(on_device, z).double().cpu())
            decoded.append(model.decode(z).cpu())
    rebuilt = torch.cat(decoded)
    rows, known = x.flatten(1).double().cpu(), train[:_ROWS].flatten(1).double().cpu()
    mean = known.mean(0)
    directions, _ = principal_components(known - mean, model.prior.event_shape[-1])
    projected = (rows - mean) @ directions.T @ directions + mean
    error = torch.cat(errors)
    return FromEmbeddings(
        Estimate(error, torch.zeros_like(error), "closed_form"),
        _explained(rows, rebuilt.flatten(1).double(), mean, "decoded means"),
        _explained(rows, projected, mean, f"PCA with {len(directions)} components"),
        rebuilt,
    )


def _explained(x: Tensor, rebuilt: Tensor, mean: Tensor, method: str) -> Estimate:
    left, all_of_it = (x - rebuilt).square().sum(1), (x - mean).square().sum(1)
    ratio = left.mean() / all_of_it.mean()
    error = over_examples((left - ratio * all_of_it) / all_of_it.mean()).standard_error
    return Estimate(1 - ratio, error, method, "share")
