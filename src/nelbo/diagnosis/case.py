"""The case under diagnosis: a model on its training and held-out examples, and what came with them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from nelbo import latents
from nelbo.diagnosis.budget import Budget
from nelbo.diagnosis.history import History
from nelbo.diagnosis.registry import NotApplicable
from nelbo.diagnosis.significance import factor_gain
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluation_mode, rows_at_once
from nelbo.likelihoods.observed import resampled
from nelbo.measure.aggregate import AggregatePosterior
from nelbo.objectives import ELBO, Beta, ImportanceWeighted, Objective, Reconstruction, Schedule
from nelbo.wrapping.view import Wrapped, as_wrapped

_Result = TypeVar("_Result")


class Case:
    """A model on examples, each quantity computed when the first check asks for it, and once.

    Args:
        train: the model on examples it was trained on (or simply on the data), in random order.
        held_out: on examples it was not trained on, or None.
        history: of the training, or None.
        loss: the user's own loss function, or None.
        objective: what the model was trained on, if that is known; a beta in it is intended.
        reported: what the user reports of the model: "nelbo", "nll" and "samples", as :func:`diagnose` takes it.
        sets: gives the training and the held-out examples, many more than are measured.
        failure: what stopped the training, where a NaN or an infinity did.
        settings: of the training by nelbo.fit, as run.json has them; empty of another.
        budget: of time; None is without end.
    """

    def __init__(
        self,
        train: Evaluation,
        held_out: Evaluation | None = None,
        *,
        history: History | None = None,
        loss: Callable[..., Any] | None = None,
        objective: Objective | None = None,
        reported: Mapping[str, float] | None = None,
        sets: Callable[[], tuple[Tensor, Tensor]] | None = None,
        failure: str | None = None,
        settings: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.train = train.independent()
        self.held_out = None if held_out is None else held_out.independent()
        self.model, self.seed = train.model, train.seed
        self.history, self.loss, self.objective = history, loss, objective
        self.reported, self.sets, self.failure = reported, sets, failure
        self.settings, self.budget = settings or {}, budget or Budget()
        self._results: dict[Callable[..., Any], Any] = {}

    @cached_property
    def missing(self) -> Tensor | None:
        """(n, \\*event) bool, what was not observed of the training examples; None where everything was."""
        missing = self.train.x.isnan()
        return missing if self.model.takes_missing and bool(missing.any()) else None

    @property
    def x(self) -> Tensor:
        """(n, \\*event), the training examples; NotApplicable where values are missing."""
        if self.missing is not None:
            raise NotApplicable("needs examples without missing values")
        return self.train.x

    @property
    def parts(self) -> dict[str, Evaluation]:
        """The examples by the name of their set."""
        held_out = {} if self.held_out is None else {"held-out": self.held_out}
        return {"training": self.train, **held_out}

    @property
    def judged(self) -> Evaluation:
        """The examples that numbers are reported of: held-out ones, if there are any."""
        return self.train if self.held_out is None else self.held_out

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The model's modules, under the names that their user gave them; may be empty."""
        networks = self.model.networks
        if len(networks) < 2:
            return networks
        return (nn.ModuleDict({f"{type(module).__name__}{i or ''}": module for i, module in enumerate(networks)}),)

    @property
    def foreign(self) -> bool:
        """Whether the model is built of other parts than nelbo's."""
        return self.model.foreign

    @cached_property
    def wrapped(self) -> Wrapped:
        """The model as a view whose encoder and decoder can be replaced."""
        try:
            return as_wrapped(self.train[:2].conditioned, rows=2)
        except TypeError as error:
            raise NotApplicable("needs a model from nelbo.wrap, or a VAE with a diagonal normal q(z|x)") from error

    @cached_property
    def latent(self) -> int:
        """Number of latent units."""
        return self.train.pz.event_shape.numel()

    @property
    def declared_beta(self) -> float | None:
        """The intended weight of the KL: 1 of an ELBO, or where no objective is known; None of another objective."""
        objective = self.objective
        if isinstance(objective, Beta):
            return objective.beta.final if isinstance(objective.beta, Schedule) else objective.beta
        if isinstance(objective, Reconstruction):
            return 0.0
        return 1.0 if objective is None or isinstance(objective, ELBO | ImportanceWeighted) else None

    @property
    def loss_tells_beta(self) -> bool:
        """Whether the loss is reconstruction_error + beta * KL, so that its values tell beta.

        It is taken to be so in a user's own code; not where nelbo.fit trained on an objective that it cannot name.
        """
        objective = self.objective
        return isinstance(objective, ELBO | Beta | Reconstruction) or (objective is None and not self.settings)

    def once(self, compute: "Callable[[Case], _Result]") -> _Result:
        """The result of a function of this case that several checks share, or the reason why there is none."""
        if compute not in self._results:
            try:
                self._results[compute] = compute(self)
            except NotApplicable as reason:
                self._results[compute] = reason
        result = self._results[compute]
        if isinstance(result, NotApplicable):
            raise result
        return result

    # of the training examples

    @cached_property
    def normal(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of q(z|x), (n, latent) each; NotApplicable to other families."""
        qz = self.train.qz
        units = latents.marginals(qz) if latents.factorizes(qz) else None
        if not isinstance(units, Normal):
            raise NotApplicable(f"needs a diagonal normal q(z|x), which {type(qz).__name__} is not")
        return units.loc, units.scale.expand_as(units.loc)

    @cached_property
    def standard_normal_prior(self) -> bool:
        """Whether the prior is N(0, I)."""
        return is_standard_normal(self.train.pz)

    def need_standard_normal_prior(self) -> None:
        """NotApplicable to any other prior."""
        if not self.standard_normal_prior:
            raise NotApplicable("needs a standard normal prior")

    @cached_property
    def kl(self) -> Estimate:
        """Mean KL per example."""
        return Estimate.mean_of(self.train.kl_estimate).named("KL per example")

    @cached_property
    def gain_of_z(self) -> Estimate:
        """Nats by which an example's own z explains it better than another example's z: E log p(x|z) - log p(x|z').

        Its expectation is 0 where the decoder ignores z or z says nothing about x.
        """
        others = self.train.z.roll(1, 0)  # the examples are in random order
        gain = Estimate.mean_of(self.train.log_px - self.train.log_likelihood(others))
        return gain.named("gain of an example's own z over another's")

    @cached_property
    def information(self) -> Estimate:
        """I_q(x; z) in nats: mean of log q(z|x) - log q(z), q(z) the mixture of these examples' posteriors.

        At most log n; the estimate has a small upward bias, for each example is part of its own mixture.
        """
        z = self.train.z
        information = Estimate.mean_of(self.train.qz.log_prob(z) - self.log_aggregate(z))
        return information.named("mutual information I(x; z)")

    def log_aggregate(self, z: Tensor, *, leave_one_out: bool = False) -> Tensor:
        """Log q(z), (m,), the mixture of these examples' posteriors, for z of shape (m, latent).

        With ``leave_one_out``, z_i is judged by the mixture of the other examples.
        """
        mu, sigma = self.normal
        qz = Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)
        rows = torch.arange(len(z), device=z.device) if leave_one_out else None
        return AggregatePosterior(qz).log_prob(z, without=rows)

    @cached_property
    def structure_left(self) -> Estimate:
        """Nats per example that up to 8 linear latents would still explain of x - E[x|z]; see `factor_gain`."""
        px, x = self.train.px, self.train.x
        try:
            mean = px.mean
        except NotImplementedError:
            mean = None
        if mean is None or mean.shape != x.shape or not bool(torch.isfinite(mean).all()):
            raise NotApplicable(f"needs a mean of p(x|z), which {type(latents.base_of(px)).__name__} does not have")
        residual = x - mean
        # a residual of 0 for what is missing can only hide structure
        residual = residual if self.missing is None else residual.masked_fill(self.missing, 0.0)
        left = factor_gain(residual, 8)
        return left.named("linear latents would still explain", method="probabilistic PCA of the residuals")

    @cached_property
    def gain_over_mean(self) -> Estimate:
        """Nats by which the ELBO exceeds log p(x) of the same likelihood with the mean of x for every example."""
        constant = self.model.px_family.at_mean(resampled(self.train.x) if self.missing is not None else self.x)
        if constant is None:
            raise NotApplicable("needs a likelihood whose parameters at the mean of the data are known")
        px = self.model.over_observed(self.model.px_family(constant, constant.dim()))
        gain = px.log_prob(self.train.x) + self.train.nelbo
        return Estimate.mean_of(gain).scaled(-1).named("ELBO, minus that of the mean")


def log_weights(evaluation: Evaluation, samples: int, purpose: str) -> Tensor:
    """Log p(x, z) - log q(z|x) in nats, (samples, n) float64, at draws z ~ q(z|x) for this purpose."""
    with evaluation_mode(evaluation.model, evaluation.seed):
        z, log_qz = latents.draw_with_log_prob(evaluation.qz, samples, evaluation.keys(purpose))
        at_once = rows_at_once(len(evaluation) * evaluation.features, passes=8, on=evaluation.device)
        log_px = torch.cat([evaluation.log_likelihood(part) for part in z.split(at_once)])
        return (log_px + evaluation.pz.log_prob(z) - log_qz).double()


def is_standard_normal(distribution: Distribution) -> bool:
    """Whether it is N(0, I)."""
    base = latents.base_of(distribution)
    return isinstance(base, Normal) and bool((base.loc == 0).all()) and bool((base.scale == 1).all())
