"""Integrals over one or two dimensions on Gauss-Legendre tiles, refined for each example where its mass lies.

The plane is cut into tiles that carry 8 x 8 points each. An example splits the tiles in which its integrand is, or
between the points might be, more than e^-18 of its largest value, and goes on with those whose parts do not add up to
what the whole tile gave, until the last halving of all of them changed less than the tolerance. No tile that matters is
left with a curvature that its points do not resolve. Works for any integrand; for smooth ones of one width ``lattice``
needs far fewer points.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nelbo.measure.tiles import (
    NEGLIGIBLE,
    Grid,
    Guard,
    Integrals,
    Leaves,
    LogIntegrands,
    Rule,
    Statistics,
    first_tiles,
    tops_of,
    totals,
    unseen,
)

_SIDE = {1: (64, 16), 2: (6, 8)}
"""For each number of dimensions: tiles along an axis at first, and points along an axis of a tile."""
_RELEVANT = 7.0  # nats; what lies lower than that changes log Z by less than 1e-3
_UNRESOLVED = 1.0  # second difference in nats: points stand one standard deviation of a peak apart
_ROUNDS = 24
_MOST_TILES = 1 << 13
"""Tiles of one example."""


def integrate(
    log_f: LogIntegrands,
    examples: int,
    low: Tensor,
    high: Tensor,
    *,
    like: Tensor,
    at_once: int = 16,
    tolerance: float = 1e-3,
    guard: Guard | None = None,
    statistics: Statistics | None = None,
    watched: Sequence[int] = (),
    done: Callable[[int], None] = lambda finished: None,
) -> Integrals:
    """Log of the integral of exp(f) over R^d for every example, d = 1 or 2.

    Args:
        log_f: the integrands.
        examples: n.
        low: (d,) where to look; enlarged while an integrand has mass at the border.
        high: (d,).
        like: a tensor of the precision and on the device in which log_f wants its points.
        at_once: tiles of 64 points (16 in one dimension) whose values log_f can hold together.
        tolerance: on what the last halving of all tiles changed each log_z, and the watched statistics.
        guard: tiles are split until their points know of the value there.
        statistics: what to average under the last integrand.
        watched: the statistics that shall not change by more than the tolerance either.
        done: called with the number of examples that were just finished.

    Returns:
        Integrals, float64, on the CPU; an example whose change exceeds the tolerance was given up.
    """
    rule = _rule(len(low))
    grid = Grid(log_f, rule, low, high, like=like, at_once=at_once, statistics=statistics, watched=watched, bends=True)
    leaves, inside = first_tiles(grid, examples)
    log_z, means = totals(leaves, examples)
    change = torch.full((examples,), torch.inf, dtype=torch.float64)
    active = torch.ones(examples, dtype=torch.bool)
    for _ in range(_ROUNDS):
        now_z, now_means = totals(leaves, examples)
        chosen, now_change = _chosen(leaves, grid, now_z, tolerance, guard)
        log_z, means = torch.where(active, now_z, log_z), torch.where(active, now_means, means)
        change = torch.where(active, now_change, change)
        goes_on = torch.zeros_like(active)
        goes_on[leaves.example[chosen]] = True
        goes_on &= torch.bincount(leaves.example, minlength=examples) <= _MOST_TILES + grid.tiles**grid.d
        done(int((active & ~goes_on).sum()))
        active &= goes_on
        if not bool(active.any()):
            break
        open_ = active[leaves.example]
        leaves, chosen = leaves[open_], chosen[open_]
        leaves = leaves[~chosen] + _split(grid, leaves[chosen])
    return Integrals(log_z, means, change, inside)


def _rule(d: int) -> Rule:
    tiles, points = _SIDE[d]
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(points))
    return Rule(tiles, 0.5 * (nodes + 1), 0.5 * weights)


def _split(grid: Grid, parents: Leaves) -> Leaves:
    """The parts of each leaf, with what the splitting changed."""
    k = 2**grid.d
    parts = grid.halved(parents)
    scale = torch.maximum(parts.top.unflatten(1, (-1, k)).amax(-1), parents.top)
    sizes = (parts.top - scale.repeat_interleave(k, dim=1)).exp(), (parents.top - scale).exp()
    before = torch.cat([parents.mass * sizes[1], parents.moments[grid.watched] * sizes[1][-1:]])
    after = torch.cat([parts.mass * sizes[0], parts.moments[grid.watched] * sizes[0][-1:]])
    changed = (after.unflatten(1, (-1, k)).sum(-1) - before).abs()
    scale = torch.cat([scale, scale[-1:].expand(len(grid.watched), -1)])
    return replace(parts, log_error=((changed / k).log() + scale).repeat_interleave(k, dim=1))


def _chosen(leaves: Leaves, grid: Grid, log_z: Tensor, tolerance: float, guard: Guard | None) -> tuple[Tensor, Tensor]:
    """Which leaves have to be split, (p,), and by how much the last splittings changed each example, (n,)."""
    n = log_z.shape[1]
    tops = tops_of(leaves, n)
    hidden = torch.zeros(len(leaves.example), dtype=torch.bool)
    if guard is not None:
        tops = torch.maximum(tops, guard.value)
        hidden = unseen(leaves, grid, tops, guard)
    lead = leaves.reach - tops[:, leaves.example]
    holds = (lead >= -NEGLIGIBLE).any(0)
    relative = torch.cat([log_z, log_z[-1:].expand(len(grid.watched), -1)])[:, leaves.example]
    error = (leaves.log_error - relative).exp().nan_to_num(nan=0.0, posinf=torch.inf)
    error = torch.where(holds, error, 0.0)
    change = torch.zeros(len(error), n, dtype=torch.float64).index_add_(1, leaves.example, error).amax(0)
    shared = torch.bincount(leaves.example[holds], minlength=n)[leaves.example]
    wrong = (change >= tolerance)[leaves.example] & (error >= tolerance / shared).any(0)
    blurred = ((lead > -_RELEVANT) & (leaves.bend > _UNRESOLVED)).any(0)
    return wrong | blurred | hidden, change
