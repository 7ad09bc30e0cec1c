"""Two latent spaces of the same examples laid over each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Alignment:
    """z' = scale * (z - center) @ rotation + target_center: a map between two latent planes.

    Args:
        scale: of lengths.
        rotation: (d, d), orthogonal; its determinant is -1 where one plane is the mirror image of the other.
        center: (d,) in the first plane.
        target_center: (d,) in the second plane.
        unexplained: share of the variance of the second plane's points that the map leaves, from 0 to 1.
    """

    scale: float
    rotation: Tensor
    center: Tensor
    target_center: Tensor
    unexplained: float

    def __call__(self, z: Tensor) -> Tensor:
        """Points of the first plane in the second: (n, d) to (n, d)."""
        return self.scale * (z - self.center) @ self.rotation + self.target_center


def align(z: Tensor, target: Tensor) -> Alignment:
    """The rotation, reflection, scaling and shift that bring z nearest to target in the sum of squares.

    Args:
        z: (n, d).
        target: (n, d), the same examples in another space.

    Returns:
        Alignment.

    Raises:
        ValueError: the shapes differ, or one of the spaces has no extent.

    Source: Schoenemann & Carroll 1970, "Fitting one matrix to another under choice of a central dilation and a rigid
    motion".
    """
    if z.shape != target.shape or z.dim() != 2:
        raise ValueError(
            f"align takes two tensors (n, d) of the same examples, got {tuple(z.shape)} and {tuple(target.shape)}; "
            "choose the same number of axes in both"
        )
    z, target = z.double(), target.double()
    center, target_center = z.mean(0), target.mean(0)
    from_, to = z - center, target - target_center
    extent, target_extent = float(from_.square().sum()), float(to.square().sum())
    if min(extent, target_extent) == 0:
        raise ValueError("all points of one of the two spaces coincide: there is nothing to align")
    left, singular, right = torch.linalg.svd(from_.T @ to)
    scale = float(singular.sum()) / extent
    return Alignment(
        scale, left @ right, center, target_center, max(0.0, 1 - float(singular.sum()) ** 2 / (extent * target_extent))
    )


def turned(spaces: Sequence[Tensor], reference: int) -> list[Tensor]:
    """The rotations, with reflections, (d, d), that bring each space nearest to its neighbor; the reference stays.

    The neighbor towards the reference was turned before. Lengths and the origin stay what they are, so that a standard
    normal prior stays one and a space that collapses is seen to.

    Args:
        spaces: (n, d) each, the same examples in one space after the other.
        reference: the position of the space that is left as it is.
    """
    d = spaces[reference].shape[1]
    rotations = {reference: torch.eye(d).double()}
    outwards = [(i, i - 1) for i in range(reference + 1, len(spaces))] + [
        (i, i + 1) for i in reversed(range(reference))
    ]
    for own, neighbor in outwards:
        target = spaces[neighbor].double() @ rotations[neighbor]
        try:
            rotations[own] = align(spaces[own], target).rotation
        except ValueError:  # all codes are one: any rotation is as good as the neighbor's
            rotations[own] = rotations[neighbor]
    return [rotations[i] for i in range(len(spaces))]
