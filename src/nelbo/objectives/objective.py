"""What an objective is, and the terms that all of them are made of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.data import Batch, as_batch
from nelbo.divergences import closed_form
from nelbo.objectives.schedules import Schedule
from nelbo.vae import Model, as_model, at_condition, placed


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
        weights: the scheduled weights at this time by the name of their setting, as tensors () that a compiled or
            captured step reads anew; a weight that is missing is computed from the epoch.
    """

    epoch: float = torch.inf
    examples: int | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def weight(self, name: str, setting: float | Schedule) -> float | Tensor:
        """The weight of that name now, whether it changes or not."""
        if not isinstance(setting, Schedule):
            return setting
        return self.weights[name] if name in self.weights else setting.at(self.epoch)


FINISHED = Progress()


class Terms(NamedTuple):
    """What an objective returns. The reported numbers and the gradient's source are kept apart on purpose."""

    loss: Loss
    """The terms of the negative ELBO, whatever is optimized."""
    value: Tensor
    """(batch,) of the objective itself, in nats, lower is better."""
    surrogate: Tensor
    """(batch,) whose gradient is the objective's (estimated) gradient; its value may mean nothing."""
    weights: Tensor | None = None
    """(samples, batch): what each draw of z counts for in the gradient of p(x|z), summing to 1; None is all alike."""


class Objective(ABC):
    """A function of the model that training makes small, as a value: a frozen dataclass with its settings."""

    def __call__(self, model: Any, x: Any, progress: Progress = FINISHED) -> Terms:
        """Evaluate on some examples.

        Args:
            model: a model, or a run.
            x: a Batch, or a tensor or array (batch, *event).
            progress: where the training stands.
        """
        model = as_model(model)
        return self.terms(model, placed(model, as_batch(x)), progress)

    @abstractmethod
    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        """The terms of each example of a batch.

        Args:
            model: the model.
            batch: the examples; where they have keys, draws come from those.
            progress: where the training stands.
        """

    def has_kl(self) -> bool:
        """Whether the KL of each example is part of it: then q(z|x) must be a distribution and no point."""
        return True

    def changes_until(self) -> float:
        """The epoch from which on all weights stay as they are."""
        return max((schedule.epochs for _, schedule in self.schedules().items()), default=0.0)

    def schedules(self) -> dict[str, Schedule]:
        """The settings that change while training, by name."""
        # an objective of the user's own need not be a dataclass
        settings = (
            {field.name: getattr(self, field.name) for field in fields(self)} if is_dataclass(self) else vars(self)
        )
        return {name: value for name, value in settings.items() if isinstance(value, Schedule)}

    def check(self, model: Model, epochs: int) -> None:
        """Raise a ValueError when this objective cannot train that model for that long."""
        if self.has_kl() and model.deterministic:
            raise ValueError(
                f"{type(self).__name__} has a KL term, which is infinite for an autoencoder: its q(z|x) is a point. "
                "Train it with objective=nelbo.objectives.Reconstruction(), or build a nelbo.VAE"
            )
        for name, schedule in self.schedules().items():
            if schedule.epochs > epochs:
                reached, final = f"{schedule.at(epochs):g}", f"{schedule.final:g}"
                # a cycle reaches its top before it falls again
                how = "before its last cycle" if reached == final else f"with {name}={reached} instead of {final}"
                raise ValueError(
                    f"{name} changes for {schedule.epochs:g} epochs, but the training ends after {epochs}: it would "
                    f"end {how}. Train for epochs={math.ceil(schedule.epochs)} or more, or shorten the schedule (in a "
                    f"recipe, warm_up={epochs} or over={epochs})"
                )


class Draw(NamedTuple):
    """The ELBO's terms together with what they were computed from."""

    loss: Loss
    qz: Distribution
    pz: Distribution
    z: Tensor
    """(batch, latent) for one sample, (samples, batch, latent) for more."""


def draw(model: Model, batch: Batch, samples: int = 1) -> Draw:
    """-E_q[log p(x|z)] by ``samples`` reparameterized draws, and KL(q(z|x) || p(z)) in closed form where there is one.

    Else the KL is estimated on the same draws by log q(z|x) - log p(z), which may come out negative for one example.
    """
    if samples < 1:
        raise ValueError(f"samples must be a positive integer, got {samples}")
    model, draws = at_condition(model, batch), None if samples == 1 else samples
    qz, pz = model.posterior(batch.x), model.prior
    kl = closed_form(qz, pz)
    if kl is None:
        z, log_qz = latents.draw_with_log_prob(qz, draws, batch.keys)
        kl = _over_draws(log_qz - pz.log_prob(z), draws)
    else:
        z = latents.draw(qz, draws, batch.keys)
    error = -_over_draws(model.log_likelihood(batch.x, z), draws)
    return Draw(Loss(error, kl, error + kl), qz, pz, z)


def _over_draws(values: Tensor, draws: int | None) -> Tensor:
    return values if draws is None else values.mean(0)


def kl_per_unit(qz: Distribution, pz: Distribution) -> Tensor | None:
    """KL of each latent unit in closed form, (batch, latent), where q and p factorize; else None."""
    if not (latents.factorizes(qz) and latents.factorizes(pz)):
        return None
    q, p = latents.marginals(qz), latents.marginals(pz)
    found = None if q is None or p is None else closed_form(q, p)
    return None if found is None else found.flatten(len(qz.batch_shape))
