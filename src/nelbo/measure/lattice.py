"""Integrals over one or two dimensions on lattices of evenly spaced points, halved for each example until they agree.

Evenly spaced points of equal weight integrate a smooth function that vanishes at both ends with an error that falls
faster than any power of their distance h: of a normal peak of width sigma it is 2 exp(-2 pi^2 sigma^2 / h^2), 5e-9 at
h = sigma. A hundred points in the plane do what a product of Gauss-Legendre tiles needs thousands for. What they cannot
do is to be fine in one place and coarse in another: an example that would need too many of them is left to
``refinement``.

The points of a lattice fall into 2^d lattices of twice the distance, and the lattice before was one more of those: all
of them, on points of their own, have to give the same integral. By how much they do not is known, and half of it stands
for the error of the whole: where the integrand has kinks, as decoders of ReLU do, the error falls with h^2.

Source: Trefethen & Weideman 2014, "The exponentially convergent trapezoidal rule", SIAM Review 56.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nelbo.measure.tiles import (
    Grid,
    Guard,
    Integrals,
    LogIntegrands,
    Rule,
    first_tiles,
    tops_of,
    totals,
    unseen,
)

_SIDE = {1: (64, 16), 2: (6, 8)}
"""For each number of dimensions: tiles along an axis at first, and points along an axis of a tile."""
_NEGLIGIBLE = 12.0
"""Nats below the largest value: what lies lower counts, but its points stay as far apart as they are."""
_RESOLVED, _RELEVANT = 0.05, 7.0
"""Once the lattices agree to so many nats, no peak is hidden: what is left is to be found in kinks, and those matter
only where the integrand is no more than so many nats below the largest value."""
_ROUNDS = 16
_MOST_TILES = 512
"""Tiles of one example that are halved at once; what needs more is not of one width."""


def on_lattices(
    log_f: LogIntegrands,
    found: Integrals,
    low: Tensor,
    high: Tensor,
    *,
    like: Tensor,
    at_once: int,
    tolerance: float,
    guard: Guard,
    done: Callable[[int], None],
) -> None:
    """Log of the integral of exp(f) over R^d for every example whose lattices agree, d = 1 or 2.

    Args:
        log_f: the integrand, K = 1.
        found: is filled in, example by example, as they are settled; what is not stays NaN.
        low: (d,) where to look; enlarged while an integrand has mass at the border.
        high: (d,).
        like: a tensor of the precision and on the device in which log_f wants its points.
        at_once: tiles of 64 points (16 in one dimension) whose values log_f can hold together.
        tolerance: on half of what any lattice of twice the distance gives otherwise, in nats.
        guard: tiles are halved until their points know of the value there.
        done: called with the number of examples that were just finished.
    """
    n, d = found.log_z.shape[1], len(low)
    tiles, points = _SIDE[d]
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    rule = Rule(tiles, middles, torch.full_like(middles, 1 / points))
    grid = Grid(log_f, rule, low, high, like=like, at_once=at_once, shares=_every_other(points, d))
    leaves, inside = first_tiles(grid, n)
    before = torch.full((1, n), torch.nan, dtype=torch.float64)
    active = torch.ones(n, dtype=torch.bool)
    for _ in range(_ROUNDS):
        now, halves = totals(leaves, n)
        # NaN where nothing was before; halving the distance takes the error of a kink to a quarter, of chance to a half
        change = 0.5 * torch.cat([halves.log(), before - now]).abs().amax(0)
        tops = torch.maximum(tops_of(leaves, n), guard.value)
        hidden = unseen(leaves, grid, tops, guard)
        deep = torch.where(change < _RESOLVED, _RELEVANT, _NEGLIGIBLE)
        chosen = (leaves.reach >= (tops - deep)[:, leaves.example]).any(0) | hidden
        settled = active & (change < tolerance)
        settled[leaves.example[hidden]] = False
        found.log_z[:, settled], found.change[settled] = now[:, settled], change[settled]
        found.inside[settled] = inside[settled]
        done(int(settled.sum()))
        active &= ~settled & (torch.bincount(leaves.example[chosen], minlength=n) <= _MOST_TILES)
        if not bool(active.any()):
            return
        open_ = active[leaves.example]
        leaves, chosen, before = leaves[open_], chosen[open_], now
        leaves = leaves[~chosen] + grid.halved(leaves[chosen])


def _every_other(points: int, d: int) -> Tensor:
    """(points^d, 2^d) factors that turn the sum over a tile into that of each lattice of twice the distance."""
    parity = torch.arange(points) % 2
    along = torch.stack([parity == 0, parity == 1], dim=1).double() * 2
    return along if d == 1 else torch.einsum("ia,jb->ijab", along, along).reshape(points**2, 4)
