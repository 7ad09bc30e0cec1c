"""How many nats the latent carries, and what they buy."""

from dataclasses import dataclass

from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.measure.terms import ElboTerms, elbo_terms, over_examples
from nelbo.vae import Model


@dataclass(frozen=True, eq=False)
class RateDistortion:
    """A model's point: scalar Estimates in nats per example.

    Attributes:
        rate: E_x KL(q(z|x) || p(z)), what z costs to send; infinite for an autoencoder.
        distortion: -E_x E_q[log p(x|z)], what it costs to send x when z is known.
        total: rate + distortion = NELBO, a bound of -log p(x) from above: points of equal total lie on one line.
    """

    rate: Estimate
    distortion: Estimate
    total: Estimate


def rate_distortion(model: Model, x: Tensor, *, samples: int = 16, seed: int = 0) -> RateDistortion:
    """Where a model stands in the plane of rate and distortion.

    H - D <= I(x; z) <= R, with H the entropy of the data: a model without a latent has R = 0 and D >= H.

    Args:
        model: a VAE, autoencoder, or anything with prior, posterior and likelihood.
        x: (batch, \\*event), held out.
        samples: draws of z for each example.
        seed: of the draws.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", eq. 7 to 9.
    """
    return point(elbo_terms(model, x, samples=samples, seed=seed))


def point(terms: ElboTerms) -> RateDistortion:
    """The point of the terms of some examples."""
    return RateDistortion(
        over_examples(terms.kl), over_examples(terms.reconstruction_error), over_examples(terms.elbo).scaled(-1)
    )
