"""Points where a univariate density has structure: what an integrator must not step over."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, TransformedDistribution

# in units of the scale: the bulk, the shoulders, and far enough for a tail to be seen
_STEPS = (-30.0, -8.0, -3.0, -1.0, 0.0, 1.0, 3.0, 8.0, 30.0)
_QUANTILES = (1e-12, 1e-4, 0.02, 0.2, 0.5, 0.8, 0.98, 1 - 1e-4, 1 - 1e-12)


def landmarks(p: Distribution) -> Tensor:
    """Points (k, *batch_shape) in float64, unsorted, without gradient; some may be outside of the support or
    not finite.
    """
    with torch.no_grad():
        return _landmarks(p).detach().double()


def _landmarks(p: Any) -> Any:
    if isinstance(p, MixtureSameFamily):
        parts = _landmarks(p.component_distribution)
        return parts.movedim(-1, 0).flatten(0, 1)
    if _has(p, "loc") and _has(p, "scale") and not isinstance(p, TransformedDistribution):
        return _spread(p.loc, p.scale)
    if isinstance(p, TransformedDistribution):
        by_level = _quantiles(p)
        if by_level is not None and bool(torch.isfinite(by_level).any(0).all()):
            return by_level
        points = _landmarks(p.base_dist)
        for transform in p.transforms:
            points = transform(points)
        return points
    mean, deviation = _moments(p)
    if mean is not None and deviation is not None and bool((torch.isfinite(mean) & torch.isfinite(deviation)).all()):
        return _spread(mean, deviation)
    by_level = _quantiles(p)
    return by_level if by_level is not None else _drawn(p)


def _quantiles(p: Any) -> Tensor | None:
    levels = torch.tensor(_QUANTILES, dtype=torch.float64).reshape(-1, *(1 for _ in p.batch_shape))
    try:
        return p.icdf(levels.expand(-1, *p.batch_shape))
    except NotImplementedError:
        return None


def _spread(center: Tensor, scale: Tensor) -> Tensor:
    center, scale = torch.broadcast_tensors(center.double(), scale.double())
    steps = torch.tensor(_STEPS, dtype=torch.float64, device=center.device)
    return center + scale * steps.reshape(-1, *(1 for _ in center.shape))


def _has(p: Any, name: str) -> bool:
    return isinstance(getattr(p, name, None), Tensor)


def _moments(p: Any) -> tuple[Tensor | None, Tensor | None]:
    try:
        return p.mean, p.variance.sqrt()
    except NotImplementedError:
        return None, None


def _drawn(p: Distribution) -> Tensor:
    """Order statistics of draws with a seed of their own, for distributions that say nothing about
    themselves.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = p.sample(torch.Size([1024])).double()
    levels = torch.tensor(_QUANTILES[1:-1], dtype=torch.float64, device=draws.device)
    return torch.quantile(draws, levels, dim=0)
