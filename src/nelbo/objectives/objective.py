"""What an objective is, and the terms that all of them are made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.divergences import closed_form
from nelbo.objectives.schedules import Schedule
from nelbo.posteriors import PointMass
from nelbo.vae import VAE, fits


class Model(Protocol):
    """What an objective or a measurement needs of a model; :class:`nelbo.VAE` has it."""

    @property
    def prior(self) -> Distribution:
        """p(z)."""
        ...

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x)."""
        ...

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z)."""
        ...


class Loss(NamedTuple):
    """The two terms of the negative ELBO and their sum, for each example, in nats.

    nelbo = reconstruction_error + kl = -E_q[log p(x|z)] + KL(q(z|x) || p(z)) >= -log p(x). All of shape (batch,).
    """

    reconstruction_error: Tensor
    kl: Tensor
    nelbo: Tensor

    @property
    def elbo(self) -> Tensor:
        """-nelbo, (batch,): a lower bound of log p(x)."""
        return -self.nelbo


@dataclass(frozen=True)
class Progress:
    """Where a training stands: what a schedule or a dataset-wide estimate depends on.

    Args:
        epoch: epochs done, with the fraction of the running one; infinity when the training is over.
        examples: size of the training set, if known.
    """

    epoch: float = torch.inf
    examples: int | None = None


FINISHED = Progress()


class Terms(NamedTuple):
    """What an objective returns. The reported numbers and the gradient's source are kept apart on purpose."""

    loss: Loss
    """The terms of the negative ELBO, whatever is optimized."""
    value: Tensor
    """(batch,) of the objective itself, in nats, lower is better."""
    surrogate: Tensor
    """(batch,) whose gradient is the objective's (estimated) gradient; its value may mean nothing."""


class Objective(ABC):
    """A function of the model that training makes small, as a value: a frozen dataclass with its settings."""

    @abstractmethod
    def __call__(self, model: VAE, x: Tensor, progress: Progress = FINISHED) -> Terms:
        """Evaluate on a batch.

        Args:
            model: the VAE.
            x: (batch, *event).
            progress: where the training stands.
        """

    def has_kl(self) -> bool:
        """Whether the KL of each example is part of it: then q(z|x) must be a distribution and no point."""
        return True

    def changes_until(self) -> float:
        """The epoch from which on all weights stay as they are."""
        return max((schedule.epochs for _, schedule in self._schedules()), default=0.0)

    def _schedules(self) -> list[tuple[str, Schedule]]:
        # an objective of the user's own need not be a dataclass
        settings = (
            {field.name: getattr(self, field.name) for field in fields(self)} if is_dataclass(self) else vars(self)
        )
        return [(name, value) for name, value in settings.items() if isinstance(value, Schedule)]

    def check(self, model: VAE, epochs: int) -> None:
        """Raise a ValueError when this objective cannot train that model for that long."""
        if self.has_kl() and isinstance(model.posterior_family, PointMass):
            raise ValueError(
                f"{type(self).__name__} has a KL term, which is infinite for an autoencoder: its q(z|x) is a point. "
                "Train it with objective=nelbo.objectives.Reconstruction(), or build a nelbo.VAE"
            )
        for name, schedule in self._schedules():
            if schedule.epochs > epochs:
                raise ValueError(
                    f"{name} changes for {schedule.epochs:g} epochs, but the training ends after {epochs}: it "
                    f"would end with {name}={schedule.at(epochs):g} instead of {schedule.final:g}. Train for "
                    f"epochs={int(-(-schedule.epochs // 1))} or more, or shorten the schedule"
                )


class Draw(NamedTuple):
    """The ELBO's terms together with what they were computed from."""

    loss: Loss
    qz: Distribution
    pz: Distribution
    z: Tensor
    """(batch, latent) for one sample, (samples, batch, latent) for more."""


def draw(model: Model, x: Tensor, samples: int = 1) -> Draw:
    """-E_q[log p(x|z)] by ``samples`` reparameterized draws, and KL(q(z|x) || p(z)) in closed form where there is one.

    Else the KL is estimated on the same draws by log q(z|x) - log p(z), which may come out negative for one example.
    """
    if samples < 1:
        raise ValueError(f"samples is at least 1, got {samples}")
    shape = torch.Size() if samples == 1 else torch.Size((samples,))
    qz, pz = model.posterior(x), model.prior
    kl = closed_form(qz, pz)
    if kl is None:
        z, log_qz = sample_and_log_prob(qz, shape)
        kl = log_qz - pz.log_prob(z)
        kl = kl if samples == 1 else kl.mean(0)
    else:
        z = qz.rsample(shape)
    error = -log_likelihood(model, x, z)
    error = error if samples == 1 else error.mean(0)
    return Draw(Loss(error, kl, error + kl), qz, pz, z)


def log_likelihood(model: Model, x: Tensor, z: Tensor) -> Tensor:
    """Log p(x|z) in nats, (*samples, batch), for z of shape (*samples, batch, latent)."""
    px = model.likelihood(z)
    fits(px, x, model.likelihood_family.parameters_per_feature if isinstance(model, VAE) else 1)
    if isinstance(model, VAE) and model.training:
        model.likelihood_family.adapt(px, x)
    return px.log_prob(x)


def center(model: Model, x: Tensor) -> Tensor:
    """The embedding of x, (batch, latent): the one z that stands for q(z|x)."""
    return model.embed(x) if isinstance(model, VAE) else model.posterior(x).mean


def decode(model: Model, z: Tensor) -> Tensor:
    """The picture of z: the mean of p(x|z), (n, *event) for z of shape (n, latent)."""
    return model.decode(z) if isinstance(model, VAE) else model.likelihood(z).mean


def sample_and_log_prob(q: Distribution, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Z ~ q and log q(z); a flow gives both in one pass."""
    both = getattr(q, "rsample_and_log_prob", None)
    if both is not None:
        return both(shape)
    z = q.rsample(shape)
    return z, q.log_prob(z)
