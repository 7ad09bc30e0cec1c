"""Holes: where the prior puts samples and no data lie, as `nelbo.measure.aggregate_match` defines and measures them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo import latents
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate, evaluation_mode
from nelbo.measure.aggregate import DensityRatio, prior_and_codes
from nelbo.studio.inspection import Inspection
from nelbo.studio.planes import Plane, prior_density

_DRAWS, _SEED = 1000, 0  # the defaults of aggregate_match
_LEAST = 1e-6  # the variance along a direction below which q(z|x) counts as a point there


@dataclass(frozen=True, eq=False)
class Holes:
    """The holes of a run in a plane of its latent space.

    Attributes:
        share: of the prior's mass that lies in holes of the whole latent space; about 2 % where p(z) = q(z).
        in_plane: the same of the marginals of p(z) and q(z) in the plane; None where the plane is the latent space.
        examples: of the training set, whose posteriors make up q(z).
    """

    share: Estimate
    in_plane: Estimate | None
    examples: int
    _ratio: DensityRatio

    def over(self, plane: Plane, n: int) -> Tensor:
        """Whether each cell of a plane's grid lies in a hole, (n * n,)."""
        with torch.no_grad():
            return self._ratio.is_hole(plane.points(n) if self.in_plane is None else plane.grid(n))


def holes(inspection: Inspection, directions: Tensor) -> Holes:
    """The holes in a plane of these directions, (1 or 2, latent); measured once, and kept with the inspection.

    Raises:
        ValueError: the training set has fewer than 20 examples.
    """
    key = str(directions.tolist())
    if key not in inspection.holes:
        inspection.holes[key] = _measured(inspection, directions)
    return inspection.holes[key]


def _measured(inspection: Inspection, directions: Tensor) -> Holes:
    evaluation = evaluate(inspection.model, inspection.run.data.train, seed=_SEED)
    with evaluation_mode(evaluation.model, _SEED):
        _, fresh, ratio = prior_and_codes(evaluation, _DRAWS)
        share = ratio.holes(fresh, _SEED)
        if evaluation.latent == len(directions):
            return Holes(share, None, len(evaluation), ratio)
        qz = None if evaluation.is_point else _along(directions, evaluation.qz)
        prior = prior_density(inspection, directions)
        in_plane = DensityRatio(ratio.codes @ directions.T, ratio.own, qz, prior)
        return Holes(share, in_plane.holes(fresh @ directions.T, _SEED), len(evaluation), in_plane)


def _along(directions: Tensor, qz: Distribution) -> Distribution | None:
    """The marginals of normals q(z|x) along the directions; None, as for points, where q(z|x) is another family."""
    known = latents.moments(qz)
    if known is None:
        return None
    mean, covariance = known[0] @ directions.T, directions @ known[1] @ directions.T
    variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=_LEAST)
    if torch.equal(covariance, torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))):
        return Independent(Normal(mean, variance.sqrt()), 1)  # whose densities come several times as fast
    return MultivariateNormal(mean, covariance + _LEAST * torch.eye(len(directions)).to(covariance))
