"""p(z|x) itself, for one or two latent dimensions, and how far q(z|x) is from it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.estimate import Evidence
from nelbo.measure.importance import refuse_points
from nelbo.measure.inputs import center, checked, chosen, is_point, latent_dimensions
from nelbo.measure.quadrature import MOST_DIMENSIONS, TOLERANCE, Joint
from nelbo.measure.refinement import integrate
from nelbo.measure.tiles import Guard
from nelbo.vae import Model

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
        notes: warnings in words.
    """

    log_evidence: Evidence
    mean: Tensor
    covariance: Tensor
    grid: Tensor
    log_density: Tensor
    model: Model
    x: Tensor
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"TruePosterior({len(self.mean):,} examples, {self.mean.shape[1]} latent dimensions)"

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z|x) in nats, (\\*samples, batch), for z of shape (\\*samples, batch, latent)."""
        with evaluation_mode(self.model):
            z = z.to(self.x)
            joint = self.model.log_likelihood(self.x, z) + self.model.prior.log_prob(z)
        return joint.double().cpu() - self.log_evidence.value

    def kl_from(self, qz: Distribution, *, tolerance: float = TOLERANCE) -> Estimate:
        """KL(q(z) || p(z|x)) for each example in nats, (batch,), by quadrature where q and the posterior have mass.

        Args:
            qz: batch shape (batch,), event shape (latent,); inf for a point.
            tolerance: what doubling the grid may change, in nats.
        """
        n = len(self.mean)
        if qz.batch_shape != torch.Size((n,)):
            raise ValueError(
                f"q has batch shape {tuple(qz.batch_shape)}, and there are {n} posteriors; write "
                "posterior.kl_from(vae.posterior(x)) with the same x"
            )
        if is_point(qz):
            infinite = torch.full((n,), torch.inf, dtype=torch.float64)
            return Estimate(infinite, torch.zeros_like(infinite), "closed_form")
        with evaluation_mode(self.model):
            joint = Joint(self.model, self.x)
            both = _WithQ(joint, qz)
            low, high = joint.box(around=qz)
            found = integrate(
                both,
                n,
                low,
                high,
                like=joint.like,
                at_once=joint.at_once,
                tolerance=tolerance,
                guard=_guard(self, qz),
                statistics=lambda z, f: [f[1] - f[0]],
                watched=[0],
            )
        # E_q[log q - log p(x, z)] + log p(x); q sums to one but for the error of the grid, which is taken out
        return Estimate(found.statistics[0] - found.log_z[1] + found.log_z[0], found.change, "quadrature")


def _guard(posterior: TruePosterior, qz: Distribution) -> Guard:
    """The center of q, where q is sharp and the posterior may be."""
    z = center(qz).to(posterior.x)
    joint = posterior.model.log_likelihood(posterior.x, z) + posterior.model.prior.log_prob(z)
    return Guard(z.double().cpu(), torch.stack([joint, qz.log_prob(z)]).double().cpu())


class _WithQ:
    """log p(x, z) and log q(z) at the points of the tiles."""

    def __init__(self, joint: Joint, qz: Distribution) -> None:
        self.joint, self.qz = joint, qz
        self.pickable = chosen(qz, slice(0, 1)) is not None

    def __call__(self, z: Tensor, examples: Sequence[Tensor]) -> Tensor:
        joint = self.joint(z, examples)[0]
        indices = [index.to(z.device) for index in examples]
        if self.pickable:
            found = [chosen(self.qz, i).log_prob(at[:, None]).T for at, i in zip(z, indices, strict=True)]
        else:  # a flow's examples cannot be told apart: all of them, at all points, in one pass
            every = self.qz.log_prob(z[:, :, None].expand(-1, -1, self.qz.batch_shape[0], -1))
            found = [at[:, i].T for at, i in zip(every, indices, strict=True)]
        return torch.stack([joint, torch.cat(found).to(joint)])


def true_posterior(vae: Model, x: Tensor, *, tolerance: float = TOLERANCE) -> TruePosterior:
    """p(z|x) = p(z) p(x|z) / p(x) of each example, by quadrature; one or two latent dimensions.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> found = nelbo.measure.true_posterior(vae, torch.ones(3, 6))
    >>> found.mean.shape, found.covariance.shape, found.log_density.shape
    (torch.Size([3, 2]), torch.Size([3, 2, 2]), torch.Size([3, 61, 61]))

    Args:
        vae: a VAE, an autoencoder, or anything with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event).
        tolerance: what doubling the grid may change, in nats.

    Returns:
        TruePosterior.

    Raises:
        ValueError: more than two latent dimensions, or data that do not fit the model.
    """
    with evaluation_mode(vae):
        x = checked(vae, x)
        d = latent_dimensions(vae)
        if d > MOST_DIMENSIONS:
            raise ValueError(
                f"the true posterior is computed on a grid, for one or two latent dimensions; this model has {d}. "
                "KL(q(z|x) || p(z|x)) = log p(x) - ELBO all the same: write nelbo.measure.inference_gap(vae, x).total"
            )
        joint = Joint(vae, x)

        def moments(z: Tensor, f: Tensor) -> list[Tensor]:
            z = z.double()
            return [*z.unbind(-1), *(z[..., i] * z[..., j] for i in range(d) for j in range(i, d))]

        found = joint.integrals(tolerance=tolerance, statistics=moments)
        mean = found.statistics[:d].T
        second = torch.empty(len(x), d, d, dtype=torch.float64)
        upper = torch.triu_indices(d, d)
        second[:, upper[0], upper[1]] = found.statistics[d:].T
        second[:, upper[1], upper[0]] = found.statistics[d:].T
        covariance = second - mean[:, :, None] * mean[:, None]
        grid = _grid(mean, covariance)
        density = torch.stack([_on_grid(vae, one, points) for one, points in zip(x.split(1), grid, strict=True)])
    why = "Quadrature: the posterior itself was asked for."
    evidence = Evidence(found.log_z[0], found.change, "quadrature", why=why, change=found.change)
    notes: tuple[str, ...] = ()
    if bool((found.change >= tolerance).any() or ~found.inside.all()):
        notes = (
            f"the grid of {int(((found.change >= tolerance) | ~found.inside).sum()):,} of {len(x):,} examples is not "
            f"exact to {tolerance:g} nats: log_evidence.change says how far it may be off",
        )
        warnings.warn(notes[0], stacklevel=2)
    shape = density.shape
    return TruePosterior(
        evidence, mean, covariance, grid, density - evidence.value.reshape(-1, *(1,) * (len(shape) - 1)), vae, x, notes
    )


def _grid(mean: Tensor, covariance: Tensor) -> Tensor:
    n, d = mean.shape
    deviation = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    axis = torch.linspace(-_SIGMAS, _SIGMAS, _POINTS[d], dtype=torch.float64)
    units = torch.stack(torch.meshgrid(*[axis] * d, indexing="ij"), dim=-1)
    spread = deviation.reshape(n, *(1,) * d, d)
    return mean.reshape(n, *(1,) * d, d) + spread * units


def _on_grid(model: Model, x: Tensor, points: Tensor) -> Tensor:
    """Log p(x, z) of one example at points of any shape (..., latent)."""
    z = points.flatten(0, -2).to(x)[:, None]
    found = torch.cat([model.log_likelihood(x, part)[:, 0] + model.prior.log_prob(part)[:, 0] for part in z.split(512)])
    return found.double().cpu().reshape(points.shape[:-1])


def posterior_kl(vae: Model, x: Tensor, *, tolerance: float = TOLERANCE) -> Estimate:
    """KL(q(z|x) || p(z|x)) = log p(x) - ELBO for each example, in nats: how far the encoder is from the true posterior.

    Args:
        vae: a VAE with one or two latent dimensions.
        x: (batch, \\*event).
        tolerance: what doubling the grid may change, in nats.

    Returns:
        Estimate of shape (batch,), by quadrature.

    Raises:
        ValueError: more than two latent dimensions, an autoencoder, or data that do not fit the model.
    """
    with evaluation_mode(vae):
        x = checked(vae, x)
        qz = vae.posterior(x)
        refuse_points(qz)
    return true_posterior(vae, x, tolerance=tolerance).kl_from(qz, tolerance=tolerance)
