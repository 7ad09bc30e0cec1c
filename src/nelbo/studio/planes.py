"""Densities and pictures over a plane through the latent space: prior, aggregate posterior, decoded grid, stretch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.evaluation import decode, evaluation_mode, rows_at_once
from nelbo.latents import moments as normal_moments
from nelbo.studio.inspection import Inspection
from nelbo.vae import Model

_DRAWS = 2000  # of a prior whose marginal has no closed form
_SIGMAS, _MARGIN = 3.4, 1.08  # of the prior that a plane shows at least; and room around the outermost example
_STEP = 0.01  # of the central differences: float32 pictures leave four digits of a slope
_SMOOTHED = 0.5
_COMPONENTS = 2000  # of the aggregate posterior's mixture: more examples would move no line of a picture
_NARROWEST = 0.35  # of a grid cell: a narrower normal would fall between the points of the grid


@dataclass(frozen=True, eq=False)
class Plane:
    """A rectangle through the latent space, or an interval along one direction.

    Args:
        directions: (1 or 2, latent) orthonormal: rows of the identity for latent units.
        low: lower end along each direction, in coordinates <direction, z>.
        high: upper end along each direction.
        at: (latent,) a point that the plane goes through.
    """

    directions: Tensor
    low: tuple[float, ...]
    high: tuple[float, ...]
    at: tuple[float, ...]

    def grid(self, n: int) -> Tensor:
        """Cell centers, (n, 2) per row from the top down, (n * n, 2) in all; (n, 1) along one direction."""
        sides = [
            low + (high - low) * (torch.arange(n) + 0.5) / n for low, high in zip(self.low, self.high, strict=True)
        ]
        if len(sides) == 1:
            return sides[0][:, None]
        down, across = torch.meshgrid(sides[1].flip(0), sides[0], indexing="ij")
        return torch.stack([across, down], -1).reshape(-1, 2)

    def points(self, n: int) -> Tensor:
        """The grid as points of the whole latent space, (n * n, latent)."""
        at = torch.tensor(self.at)
        return at + (self.grid(n) - self.directions @ at) @ self.directions


def units(chosen: Sequence[int], latent: int) -> Tensor:
    """The directions of some latent units, (len(chosen), latent)."""
    return torch.eye(latent)[list(chosen)]


def principal(mean: Tensor) -> Tensor:
    """The two directions in which posterior means (n, latent) vary most, (2, latent); the largest entry is positive."""
    _, _, directions = torch.linalg.svd((mean - mean.mean(0)).double(), full_matrices=False)
    first = directions[:2]
    largest = first.gather(1, first.abs().argmax(1, keepdim=True))
    return (first * largest.sign()).to(mean)


def around(inspection: Inspection, directions: Tensor, at: tuple[float, ...]) -> Plane:
    """The square (or interval) that shows the examples; centered on the prior, where that is a normal and near them."""
    z = (inspection.mean @ directions.T).double()
    known = normal_moments(inspection.evaluation.pz)
    if known is not None and not inspection.evaluation.is_point:
        mean, covariance = _along(directions, *known)
        center = mean.double()
        widest = float(covariance.diagonal().max().sqrt())
        half = max(_SIGMAS * widest, _MARGIN * float((z - center).abs().max()))
    else:
        low, high = z.min(0).values, z.max(0).values
        center = (low + high) / 2
        half = _MARGIN * max(float((high - low).max()) / 2, 1e-3)
    return Plane(directions, tuple((center - half).tolist()), tuple((center + half).tolist()), at)


def around_prior(inspection: Inspection, directions: Tensor) -> Plane:
    """The square (or interval) that holds nearly all of the prior's mass."""
    with evaluation_mode(inspection.model):
        pz = inspection.evaluation.pz
        known = normal_moments(pz)
        if known is not None:
            mean, covariance = _along(directions, *known)
            center, half = mean.double(), _SIGMAS * float(covariance.diagonal().max().sqrt())
        else:
            drawn = (pz.sample(torch.Size((_DRAWS,))) @ directions.T).double()
            low, high = drawn.quantile(torch.tensor([0.005, 0.995]).to(drawn), dim=0)
            center, half = (low + high) / 2, _MARGIN * float((high - low).max()) / 2
    at = (0.0,) * inspection.model.latent
    return Plane(directions, tuple((center - half).tolist()), tuple((center + half).tolist()), at)


def log_prior(inspection: Inspection, plane: Plane, n: int) -> Tensor:
    """Log of the marginal of p(z) in the plane's coordinates over its grid, (n * n,), in nats."""
    with evaluation_mode(inspection.model):
        return prior_density(inspection, plane.directions)(plane.grid(n))


def prior_density(inspection: Inspection, directions: Tensor) -> Callable[[Tensor], Tensor]:
    """Log of the marginal of p(z) at coordinates (k, d) along d directions, in nats; under `evaluation_mode`.

    Exact for a normal and where the latent space has no other dimensions; else a kernel estimate from draws.
    """
    pz = inspection.evaluation.pz
    known = normal_moments(pz)
    if known is not None:
        mean, covariance = _along(directions, *known)
        return lambda at: _log_mixture(at, mean[None], covariance[None])
    if inspection.model.latent == len(directions):
        return lambda at: pz.log_prob(at @ directions)
    drawn = pz.sample(torch.Size((_DRAWS,))) @ directions.T
    kernel = torch.diag(_silverman(drawn).square()).expand(len(drawn), -1, -1)
    return lambda at: _log_mixture(at, drawn, kernel)


def log_aggregate(inspection: Inspection, plane: Plane, n: int) -> Tensor:
    """Log of the aggregate posterior q(z) = mean_n q(z|x_n) in the plane's coordinates over its grid, (n * n,), nats.

    Smoothed by a kernel of half of Silverman's width: the examples stand for a population, and a narrow q(z|x) or the
    point of an autoencoder would leave only islands.
    """
    some = slice(_COMPONENTS)
    mean, covariance = _along(plane.directions, inspection.mean[some], inspection.covariance[some])
    cell = torch.tensor([(high - low) / n for low, high in zip(plane.low, plane.high, strict=True)])
    width = torch.maximum(_SMOOTHED * _silverman(mean), _NARROWEST * cell.to(mean))
    return _log_mixture(plane.grid(n), mean, covariance + torch.diag(width.square()))


def decoded(inspection: Inspection, plane: Plane, n: int) -> Tensor:
    """The mean of p(x|z) over the plane's grid, (n * n, \\*event)."""
    return decode(inspection.model, plane.points(n))


def stretch(model: Model, plane: Plane, n: int) -> Tensor:
    """How much the decoder magnifies areas of the plane: log sqrt det(J'J) over its grid, (n * n,).

    J is the Jacobian of the decoded mean with respect to the plane's coordinates, by central differences.

    Source: Arvanitidis, Hansen & Hauberg 2018, "Latent space oddity", eq. 4.
    """
    z = plane.points(n)
    columns: list[Tensor] = []
    for direction in plane.directions:
        step = _STEP * direction
        columns.append((decode(model, z + step) - decode(model, z - step)).flatten(1) / (2 * _STEP))
    jacobian = torch.stack(columns, 2).double()
    metric = jacobian.transpose(1, 2) @ jacobian
    return 0.5 * torch.logdet(metric + 1e-12 * torch.eye(len(plane.directions)).to(metric)).float()


def _along(directions: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (..., k) and covariance (..., k, k) of <direction, z>, for those of z."""
    w = directions.to(mean)
    return mean @ w.T, w @ covariance.to(mean) @ w.T


def _silverman(points: Tensor) -> Tensor:
    """Silverman's rule for a kernel's width in each of d dimensions, for points (n, d) that are close to normal."""
    return len(points) ** (-1 / (points.shape[1] + 4)) * points.std(0)


def _log_mixture(grid: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Log of the equal mixture of normals over grid points: grid (g, d), mean (k, d), covariance (k, d, d)."""
    root = torch.linalg.cholesky(covariance.double())
    inverse = torch.linalg.inv(root)
    constant = (
        -inverse.new_tensor(0.5 * grid.shape[1] * math.log(2 * math.pi))
        + inverse.diagonal(dim1=1, dim2=2).log().sum(1)
        - math.log(len(mean))
    )
    parts: list[Tensor] = []
    for points in grid.double().split(rows_at_once(len(mean), passes=16)):
        off = torch.einsum("kij,gkj->gki", inverse, points[:, None] - mean.double())
        parts.append(torch.logsumexp(constant - 0.5 * off.square().sum(-1), 1))
    return torch.cat(parts).float()
