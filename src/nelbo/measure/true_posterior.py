"""p(z|x) itself, for one or two latent dimensions, and how far q(z|x) is from it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.devices import widened
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, rows_at_once, within_memory
from nelbo.measure.evidence import Evidence
from nelbo.measure.grid_integrals import Guard, Integrals
from nelbo.measure.importance import refuse_codes, refuse_points
from nelbo.measure.quadrature import MOST_DIMENSIONS, TOLERANCE, Joint, evidence_of, joints, tiles_of
from nelbo.measure.rounding import with_rounding

_POINTS = {1: 201, 2: 61}
_SIGMAS = 5.0


@dataclass(frozen=True, eq=False)
class TruePosterior:
    """p(z|x) = p(z) p(x|z) / p(x) for each example; everything float64, on the CPU.

    Attributes:
        log_evidence: log p(x), by quadrature.
        mean: (batch, latent).
        covariance: (batch, latent, latent).
        grid: (batch, points[, points], latent), an even grid over five standard deviations around the mean.
        log_density: (batch, points[, points]) log p(z|x) on it, in nats.
        evaluation: of the model on the examples.
        notes: warnings in words.
    """

    log_evidence: Evidence
    mean: Tensor
    covariance: Tensor
    grid: Tensor
    log_density: Tensor
    evaluation: Evaluation
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"TruePosterior({len(self.mean):,} examples, {self.mean.shape[1]} latent dimensions)"

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z|x) in nats, (\\*samples, batch), for z of shape (\\*samples, batch, latent)."""
        z = z.to(self.evaluation.x)
        with evaluation_mode(self.evaluation.model):
            joint = self.evaluation.log_likelihood(z) + self.evaluation.pz.log_prob(z)
        return joint.cpu().double() - self.log_evidence.value

    def kl_from(self, qz: Distribution, *, tolerance: float = TOLERANCE) -> Estimate:
        """KL(q(z) || p(z|x)) for each example in nats, (batch,), by quadrature where q and the posterior have mass.

        Args:
            qz: batch shape (batch,), event shape (latent,); inf for a point.
            tolerance: the most that doubling the grid may change, in nats.
        """
        n = len(self.mean)
        if qz.batch_shape != torch.Size((n,)):
            raise ValueError(
                f"q has batch shape {tuple(qz.batch_shape)}, and there are {n} posteriors; write "
                "posterior.kl_from(vae.posterior(x)) with the same x"
            )
        if not latents.has_density(qz):
            return Estimate.exactly(torch.full((n,), torch.inf, dtype=torch.float64))
        integrals = Integrals.unknown(n, integrands=2, statistics=1)
        with evaluation_mode(self.evaluation.model):
            for index, joint in joints(self.evaluation, around=qz):
                both = _WithQ(joint, latents.rows(qz, index))
                integrals[index] = joint.integrals(
                    log_f=both,
                    guard=both.guard(),
                    tolerance=tolerance,
                    statistics=_log_ratio,
                    watched=[0],
                )
        # E_q[log q - log p(x, z)] + log p(x); q sums to one but for the error of the grid, which is taken out
        value = integrals.statistics[0] - integrals.log_z[1] + integrals.log_z[0]
        found = Estimate(value, integrals.change, "quadrature")
        return with_rounding(found, self.evaluation, self.log_evidence.value)


def _log_ratio(z: Tensor, f: Tensor) -> list[Tensor]:
    return [f[1] - f[0]]


class _WithQ:
    """log p(x, z) and log q(z) at the points of the tiles."""

    def __init__(self, joint: Joint, qz: Distribution) -> None:
        self.joint, self.qz = joint, qz

    def __call__(self, z: Tensor, examples: Sequence[Tensor]) -> Tensor:
        tile, example = tiles_of(examples), torch.cat(list(examples))
        size = rows_at_once(z.shape[1] * self.joint.evaluation.x[0].numel(), on=z.device)
        pairs = zip(example.split(size), tile.split(size), strict=True)
        # (points, pairs, latent): a q that is a network is run once for all these pairs
        log_q = [latents.rows(self.qz, index).log_prob(z[at].movedim(1, 0)).T for index, at in pairs]
        joint = self.joint(z, examples)[0]
        return torch.stack([joint, torch.cat(log_q).to(joint)])

    def guard(self) -> Guard:
        """The center of q, where q is sharp and the posterior may be."""
        evaluation = self.joint.evaluation
        z = latents.center(self.qz, evaluation.keys("center of q")).to(evaluation.x)
        joint = evaluation.log_likelihood(z) + self.joint.pz.log_prob(z)
        return Guard(widened(z), widened(torch.stack([joint, self.qz.log_prob(z)])))


@within_memory
def true_posterior(model: Any, x: Any, *, tolerance: float = TOLERANCE) -> TruePosterior:
    """p(z|x) = p(z) p(x|z) / p(x) of each example, by quadrature; one or two latent dimensions.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> posterior = nelbo.measure.true_posterior(vae, torch.ones(3, 6))
    >>> posterior.mean.shape, posterior.covariance.shape, posterior.log_density.shape
    (torch.Size([3, 2]), torch.Size([3, 2, 2]), torch.Size([3, 61, 61]))

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        tolerance: the most that doubling the grid may change, in nats.

    Returns:
        TruePosterior.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: more than two latent dimensions, or data that do not fit the model.
    """
    evaluation = evaluate(model, x)
    refuse_codes(evaluation.model)
    d, n = evaluation.latent, len(evaluation)
    if d > MOST_DIMENSIONS:
        raise ValueError(
            f"the true posterior is computed on a grid, for one or two latent dimensions; this model has {d}. "
            "KL(q(z|x) || p(z|x)) = log p(x) - ELBO all the same: write nelbo.measure.inference_gap(model, x).total"
        )

    def moments(z: Tensor, f: Tensor) -> list[Tensor]:
        z = widened(z)
        return [*z.unbind(-1), *(z[..., i] * z[..., j] for i in range(d) for j in range(i, d))]

    integrals = Integrals.unknown(n, statistics=d + d * (d + 1) // 2)
    with evaluation_mode(evaluation.model):
        for index, joint in joints(evaluation):
            integrals[index] = joint.integrals(tolerance=tolerance, statistics=moments)
    mean = integrals.statistics[:d].T
    second = torch.empty(n, d, d, dtype=torch.float64)
    upper = torch.triu_indices(d, d)
    second[:, upper[0], upper[1]] = integrals.statistics[d:].T
    second[:, upper[1], upper[0]] = integrals.statistics[d:].T
    covariance = second - mean[:, :, None] * mean[:, None]
    evidence = evidence_of(integrals, tolerance, "Quadrature: the posterior itself was requested.")
    evidence = with_rounding(evidence, evaluation)
    notes: tuple[str, ...] = ()
    if bool(evidence.flagged.any()):
        notes = (
            f"the grid of {int(evidence.flagged.sum()):,} of {n:,} examples is not exact to {tolerance:g} nats: "
            "log_evidence.change says how far it may be off",
        )
        warnings.warn(notes[0], stacklevel=2)
    grid = _grid(mean, covariance)
    posterior = TruePosterior(evidence, mean, covariance, grid, grid[..., 0], evaluation, notes)
    density = posterior.log_prob(grid.flatten(1, -2).transpose(0, 1))
    return replace(posterior, log_density=density.T.reshape(grid.shape[:-1]))


def _grid(mean: Tensor, covariance: Tensor) -> Tensor:
    n, d = mean.shape
    deviation = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    axis = torch.linspace(-_SIGMAS, _SIGMAS, _POINTS[d], dtype=torch.float64)
    units = torch.stack(torch.meshgrid(*[axis] * d, indexing="ij"), dim=-1)
    spread = deviation.reshape(n, *(1,) * d, d)
    return mean.reshape(n, *(1,) * d, d) + spread * units


@within_memory
def posterior_kl(model: Any, x: Any, *, tolerance: float = TOLERANCE) -> Estimate:
    """KL(q(z|x) || p(z|x)) = log p(x) - ELBO for each example, in nats: how far the encoder is from the true posterior.

    Args:
        model: as for :func:`true_posterior`, with one or two latent dimensions.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        tolerance: the most that doubling the grid may change, in nats.

    Returns:
        Estimate of shape (batch,), by quadrature.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: more than two latent dimensions, an autoencoder, or data that do not fit the model.
    """
    evaluation = evaluate(model, x)
    refuse_codes(evaluation.model)
    refuse_points(evaluation)
    return true_posterior(model, evaluation, tolerance=tolerance).kl_from(evaluation.qz, tolerance=tolerance)
