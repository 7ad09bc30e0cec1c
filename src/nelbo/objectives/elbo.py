"""The evidence lower bound, and objectives that weigh its two terms differently."""

from dataclasses import dataclass
from typing import Any, final

import torch

from nelbo.data import Batch
from nelbo.objectives.objective import Loss, Objective, Progress, Terms, draw, kl_per_unit
from nelbo.objectives.schedules import Schedule
from nelbo.vae import Model, conditioned, on_model


def loss(model: Any, x: Any, *, samples: int = 1) -> Loss:
    """The negative ELBO of each example and its two terms, in nats: what ``.backward()`` sees after ``.mean()``.

    reconstruction_error = -E_q[log p(x|z)], kl = KL(q(z|x) || p(z)), nelbo = reconstruction_error + kl.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> terms = nelbo.loss(vae, torch.ones(3, 6))
    >>> terms.nelbo.shape, bool((terms.nelbo == terms.reconstruction_error + terms.kl).all())
    (torch.Size([3]), True)

    Args:
        model: a model or a run; it is not changed.
        x: (batch, *event), a tensor, an array, a Batch or a data set; moved to where the model is.
        samples: draws of z for the expectation over q(z|x).

    Returns:
        Loss(reconstruction_error, kl, nelbo), each (batch,), in nats, summed over features and latents, where the model
        is. For an autoencoder kl and nelbo are infinite: it gives no bound.

    Raises:
        TypeError: model or x are of another type.
        ValueError: x does not fit the model or its likelihood; the message says what to write.

    Source: Kingma & Welling 2014, eq. 7.
    """
    model, batch = on_model(model, x)
    with conditioned(model, batch.c):
        return draw(model, batch, samples).loss


@final
@dataclass(frozen=True)
class ELBO(Objective):
    """reconstruction_error + kl: the negative evidence lower bound.

    Source: Kingma & Welling 2014, eq. 7.

    Args:
        samples: draws of z for each example.
    """

    samples: int = 1

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        terms = draw(model, batch, self.samples).loss
        return Terms(terms, terms.nelbo, terms.nelbo)


@final
@dataclass(frozen=True)
class Reconstruction(Objective):
    """reconstruction_error alone: what an autoencoder is trained on; on a VAE, beta = 0.

    Args:
        samples: draws of z for each example.
    """

    samples: int = 1

    def has_kl(self) -> bool:
        return False

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        terms = draw(model, batch, self.samples).loss
        return Terms(terms, terms.reconstruction_error, terms.reconstruction_error)


@final
@dataclass(frozen=True)
class Beta(Objective):
    """reconstruction_error + beta * kl.

    Source: Higgins et al. 2017, "beta-VAE", eq. 4; warm-up: Sonderby et al. 2016; cycles: Fu et al. 2019.

    Args:
        beta: weight of the KL, or a schedule of it such as ``Linear(10)`` for a warm-up over 10 epochs.
        samples: draws of z for each example.
    """

    beta: float | Schedule = 4.0
    samples: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.beta, Schedule) and not 0 <= self.beta < torch.inf:
            raise ValueError(f"beta must be a finite number >= 0 or a schedule, got {self.beta}")

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        terms = draw(model, batch, self.samples).loss
        value = terms.reconstruction_error + progress.weight("beta", self.beta) * terms.kl
        return Terms(terms, value, value)


@final
@dataclass(frozen=True)
class FreeBits(Objective):
    """reconstruction_error + sum_j max(floor, E_batch[kl_j]): each latent unit may use ``floor`` nats at no cost.

    The KL of a unit counts through its mean over the batch. Where q or p does not factorize over the units, all of
    them form one group with the floor ``latent * floor``.

    Source: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", appendix C.8.

    Args:
        floor: nats per latent unit.
        samples: draws of z for each example.
    """

    floor: float = 0.1
    samples: int = 1

    def __post_init__(self) -> None:
        if not self.floor >= 0:
            raise ValueError(f"floor must be a number of nats >= 0, got {self.floor}")

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        drawn = draw(model, batch, self.samples)
        units = kl_per_unit(drawn.qz, drawn.pz)
        groups = drawn.loss.kl[:, None] if units is None else units
        floor = self.floor * model.latent / groups.shape[-1]
        # where a group's mean lies below the floor, a constant replaces it: no gradient pulls it down further
        paid = torch.where(groups.mean(0) > floor, groups, torch.full_like(groups, floor)).sum(-1)
        value = drawn.loss.reconstruction_error + paid
        return Terms(drawn.loss, value, value)


@final
@dataclass(frozen=True)
class Capacity(Objective):
    """reconstruction_error + gamma * |kl - C(t)|: the KL is led to a capacity that grows while training.

    Source: Burgess et al. 2018, "Understanding disentangling in beta-VAE", eq. 8.

    Args:
        capacity: nats of KL to aim at, or a schedule such as ``Linear(50, end=25.0)``.
        gamma: weight of the distance.
        samples: draws of z for each example.
    """

    capacity: float | Schedule = 25.0
    gamma: float = 30.0
    samples: int = 1

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        terms = draw(model, batch, self.samples).loss
        over = terms.kl - progress.weight("capacity", self.capacity)
        # the absolute value is of the mean over the batch: examples may differ in what they need
        distance = over * torch.sign(over.mean().detach())
        value = terms.reconstruction_error + self.gamma * distance
        return Terms(terms, value, value)
