"""What is diagnosed, and what the checks look at: everything is measured once, when the first check asks for it."""

import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from nelbo import latents
from nelbo.data import Data
from nelbo.diagnosis.history import History
from nelbo.diagnosis.registry import NotApplicable
from nelbo.diagnosis.statistics import factor_gain
from nelbo.divergences import closed_form
from nelbo.estimate import Estimate
from nelbo.foreign import Wrapped
from nelbo.objectives import ELBO, Beta, ImportanceWeighted, Objective, Reconstruction, Schedule
from nelbo.randomness import derive, own_randomness, seed_noise
from nelbo.vae import VAE, Model

_BATCH = 250


class Case:
    """A model, data, and what came with them.

    Args:
        model: in evaluation mode.
        x: (n, \\*event), examples it was trained on (or simply the data), on the model's device.
        held_out: (m, \\*event), examples it was not trained on, or None.
        history: of the training, or None.
        loss: the user's own loss function, or None.
        objective: what the model was trained on, if that is known: a beta in it is on purpose.
        data: the whole data with their preparation, if they came as nelbo.data.
        networks: the model's modules, for checks that look inside; may be empty.
        reported: what the user says of the model: "nelbo", "nll" and "samples", as :func:`diagnose` takes it.
        sets: gives the training and the held-out examples, many more than are measured.
        failure: what stopped the training, where a NaN or an infinity did.
        seed: of every draw.
    """

    def __init__(
        self,
        model: Model,
        x: Tensor,
        *,
        held_out: Tensor | None = None,
        history: History | None = None,
        loss: Callable[..., Any] | None = None,
        objective: Objective | None = None,
        data: Data | None = None,
        networks: Sequence[nn.Module] = (),
        reported: Mapping[str, float] | None = None,
        sets: Callable[[], tuple[Tensor, Tensor]] | None = None,
        failure: str | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.x = model, x
        self.history, self.loss, self.objective, self.data = history, loss, objective, data
        self.networks, self.seed = tuple(networks), seed
        self.reported, self.sets, self.failure = reported, sets, failure
        self.train = Seen(model, x, seed=seed, name="training")
        """The data (training data, where it is known which are)."""
        self.held_out = None if held_out is None else Seen(model, held_out, seed=seed, name="held-out")
        """What was held out of the training, or None."""

    @property
    def foreign(self) -> bool:
        """Whether the model is not made of nelbo's parts."""
        return isinstance(self.model, Wrapped) or not isinstance(self.model, VAE)

    @property
    def pz(self) -> Distribution:
        """The prior."""
        return self.model.prior

    @cached_property
    def latent(self) -> int:
        """Number of latent dimensions."""
        return int(self.pz.event_shape[-1])

    @property
    def declared_beta(self) -> float | None:
        """The weight of the KL that was chosen on purpose: 1 for an ELBO; None where the objective says no such thing.

        Without an objective it is 1: a model that is called a VAE is taken for one.
        """
        objective = self.objective
        if isinstance(objective, Beta):
            return objective.beta.final if isinstance(objective.beta, Schedule) else objective.beta
        if isinstance(objective, Reconstruction):
            return 0.0
        return 1.0 if objective is None or isinstance(objective, ELBO | ImportanceWeighted) else None

    @contextmanager
    def draws(self, name: str) -> Generator[None]:
        """Within, draws depend on the seed and the name alone; the caller's random state is left as it was."""
        with drawing(self.x.device, self.seed, name):
            yield


class Seen:
    """A set of examples under the model: q(z|x), a draw of z, p(x|z), and the terms of the bound for each example.

    Args:
        model: the model.
        x: (n, \\*event).
        seed: of the draws.
        name: of the set, which keeps its draws apart.
    """

    def __init__(self, model: Model, x: Tensor, *, seed: int, name: str) -> None:
        self.model, self.x, self.seed, self.name = model, x, seed, name

    def __len__(self) -> int:
        return len(self.x)

    @contextmanager
    def draws(self, name: str) -> Generator[None]:
        """As :meth:`Case.draws`."""
        with drawing(self.x.device, self.seed, f"{self.name}: {name}"):
            yield

    @cached_property
    def qz(self) -> Distribution:
        """q(z|x), batch shape (n,), event shape (latent,)."""
        with torch.no_grad():
            return self.model.posterior(self.x)

    @cached_property
    def normal(self) -> tuple[Tensor, Tensor]:
        """The means and standard deviations of q(z|x), each (n, latent); NotApplicable for other families."""
        base = base_of(self.qz)
        if not isinstance(base, Normal):
            raise NotApplicable(f"needs a diagonal normal q(z|x), which {type(self.qz).__name__} is not")
        return base.loc.detach(), base.scale.detach().expand_as(base.loc)

    @property
    def mu(self) -> Tensor:
        """(n, latent) means of q(z|x)."""
        return self.normal[0]

    @property
    def sigma(self) -> Tensor:
        """(n, latent) standard deviations of q(z|x)."""
        return self.normal[1]

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), self.draws("z"):
            z, log_qz = latents.draw_with_log_prob(self.qz)
            return z.detach(), log_qz.detach()

    @property
    def z(self) -> Tensor:
        """(n, latent): one draw z ~ q(z|x) for each example; every check sees the same."""
        return self._drawn[0]

    @cached_property
    def kl(self) -> Tensor:
        """(n,) KL(q(z|x) || p(z)) in nats, in closed form or from the one draw."""
        with torch.no_grad():
            pz = self.model.prior
            kl = closed_form(self.qz, pz)
            return (self._drawn[1] - pz.log_prob(self.z) if kl is None else kl).detach()

    @cached_property
    def kl_per_unit(self) -> Tensor:
        """(n, latent) KL of each unit in nats, for a diagonal normal q and a standard normal prior."""
        if not standard_normal(self.model.prior):
            raise NotApplicable("needs a standard normal prior")
        mu, sigma = self.normal
        return 0.5 * (mu**2 + sigma**2 - 1) - sigma.log()

    @cached_property
    def log_px(self) -> Tensor:
        """(n,) log p(x|z) at the one draw of z."""
        return self.log_likelihood(self.z)

    @property
    def reconstruction_error(self) -> Tensor:
        """(n,) -log p(x|z) at the one draw of z, in nats."""
        return -self.log_px

    @property
    def nelbo(self) -> Tensor:
        """(n,) reconstruction_error + kl, in nats."""
        return self.reconstruction_error + self.kl

    def log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x|z), (n,), for z of shape (n, latent)."""
        with torch.no_grad():
            return torch.cat(
                [
                    self.model.likelihood(part).log_prob(x)
                    for part, x in zip(z.split(_BATCH), self.x.split(_BATCH), strict=True)
                ]
            )

    @cached_property
    def gain_of_z(self) -> Estimate:
        """Nats by which an example's own z explains it better than another example's z: E log p(x|z) - log p(x|z').

        Its expectation is 0 where the decoder ignores z or z says nothing about x.
        """
        with self.draws("permutation"):
            # a derangement: no example keeps its own z
            others = torch.randperm(len(self), device=self.x.device)
        theirs = torch.empty_like(others)
        theirs[others] = others.roll(1)
        return Estimate.mean_of(self.log_px - self.log_likelihood(self.z[theirs]))

    @cached_property
    def information(self) -> Estimate:
        """I_q(x; z) in nats: mean of log q(z|x) - log q(z), q(z) the mixture of these examples' posteriors.

        At most log n; the estimate has a small upward bias, for each example is part of its own mixture.
        """
        mu, sigma = self.normal
        with torch.no_grad():
            return Estimate.mean_of(self.qz.log_prob(self.z) - log_aggregate(self.z, mu, sigma))

    @cached_property
    def residual(self) -> Tensor:
        r"""(n, \*event) x minus the mean of p(x|z) at the one draw of z."""
        px = self.px
        try:
            mean = px.mean
        except NotImplementedError as error:
            raise NotApplicable(f"needs a mean of p(x|z), which {type(base_of(px)).__name__} has not") from error
        if mean.shape != self.x.shape or not bool(torch.isfinite(mean).all()):
            raise NotApplicable(f"needs a mean of p(x|z), which {type(base_of(px)).__name__} has not")
        return self.x - mean

    @cached_property
    def structure_left(self) -> Estimate:
        """Nats per example that up to 8 linear latents would still explain of the residuals; see `factor_gain`."""
        return factor_gain(self.residual, 8)

    @cached_property
    def px(self) -> Distribution:
        """p(x|z) at the one draw of z, batch shape (n,)."""
        with torch.no_grad():
            return self.model.likelihood(self.z)

    @cached_property
    def log_px_gradient(self) -> Tensor:
        """(n, latent): gradient of log p(x|z) with respect to z, at the one draw of z."""
        gradients: list[Tensor] = []
        with torch.enable_grad():
            for part, x in zip(self.z.split(_BATCH), self.x.split(_BATCH), strict=True):
                z = part.detach().clone().requires_grad_()
                log_px = self.model.likelihood(z).log_prob(x).sum()
                gradients.append(torch.autograd.grad(log_px, z)[0])
        return torch.cat(gradients)


def log_aggregate(z: Tensor, mu: Tensor, sigma: Tensor, *, without_own: bool = False) -> Tensor:
    """Log of the mean of the normal densities N(mu_i, sigma_i^2) at each z, (m,); all of (m or n, latent).

    With ``without_own``, z_i is judged by the mixture of the others.
    """
    from nelbo.measure.encoded import AggregatePosterior

    qz = Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)
    own = torch.arange(len(z), device=z.device) if without_own else None
    return AggregatePosterior(qz).log_prob(z, without=own)


@contextmanager
def drawing(device: torch.device, seed: int, name: str) -> Generator[None]:
    """Within, draws are a function of seed and name; outside, the random state is as it was."""
    with own_randomness(device):
        seed_noise(device, derive(seed, "noise", zlib.crc32(name.encode())))
        yield


def base_of(distribution: Distribution) -> Distribution:
    """The distribution of one feature or unit: what Independent wraps."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def standard_normal(pz: Distribution) -> bool:
    """Whether the prior is N(0, I)."""
    base = base_of(pz)
    return isinstance(base, Normal) and bool((base.loc == 0).all()) and bool((base.scale == 1).all())
