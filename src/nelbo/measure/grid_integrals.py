"""Integrals over one or two dimensions, refined for each example where its mass lies.

``on_lattices``: evenly spaced points of equal weight integrate a smooth function that vanishes at both ends with an
error that falls faster than any power of their distance h: of a normal peak of width sigma it is
2 exp(-2 pi^2 sigma^2 / h^2), 5e-9 at h = sigma. A hundred points in the plane do what a product of Gauss-Legendre tiles
needs thousands for. What they cannot do is to be fine in one place and coarse in another: an example that would need
too many of them is left to ``on_tiles``. The points of a lattice fall into 2^d lattices of twice the distance, and the
lattice before was one more of those: all of them, on points of their own, have to give the same integral. By how much
they do not is known, and half of it stands for the error of the whole: where the integrand has kinks, as decoders of
ReLU do, the error falls with h^2.

``on_tiles``: the plane is cut into tiles that carry 8 x 8 Gauss-Legendre points each. An example splits the tiles in
which its integrand is, or between the points might be, more than e^-18 of its largest value, and goes on with those
whose parts do not add up to what the whole tile gave, until the last halving of all of them changed less than the
tolerance. No tile that matters is left with a curvature that its points do not resolve. Works for any integrand.

Source: Trefethen & Weideman 2014, "The exponentially convergent trapezoidal rule", SIAM Review 56.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nelbo.devices import CPU, wide
from nelbo.measure.adaptive_grid import SIDE, Grid, Leaves, LogIntegrands, Rule, Statistics

NEGLIGIBLE = 18.0
"""Nats below the largest value; a thousand points of that weigh 2e-5."""
_GROWTHS = 12
_RELEVANT = 7.0  # nats; what lies lower than that changes log Z by less than 1e-3
_UNRESOLVED = 1.0  # second difference in nats: points stand one standard deviation of a peak apart
_ROUNDED = 4.0  # a sum over features is off by some units in the last place of its value
_ROUNDS = 24
_MOST_TILES = 1 << 13
"""Tiles of one example."""
_LATTICE_NEGLIGIBLE = 12.0
"""Nats below the largest value: what lies lower counts, but its points stay as far apart as they are."""
_RESOLVED = 0.05
"""Once the lattices agree to so many nats, no peak is hidden: what is left is to be found in kinks, and those matter
only where the integrand is no more than ``_RELEVANT`` nats below the largest value."""
_LATTICE_ROUNDS = 16
_MOST_HALVED = 512
"""Tiles of one example that are halved at once; what needs more is not of one width."""


class Guard(NamedTuple):
    """A place where each example is expected to have its mass, and the integrands there: it is not stepped over."""

    place: Tensor
    """(n, d)."""
    value: Tensor
    """(K, n) in nats."""


@dataclass(frozen=True)
class Integrals:
    """For each example, with K integrands.

    Attributes:
        log_z: (K, n) logarithms of the integrals.
        statistics: (E, n) the wanted means under the last integrand.
        change: (n,) by how much the last halving of the points' distances changed log_z (or a watched statistic), or
            more: it is larger than the error that is left.
        inside: (n,) whether the integrands vanish at the border of what was looked at.
    """

    log_z: Tensor
    statistics: Tensor
    change: Tensor
    inside: Tensor

    @classmethod
    def unknown(cls, n: int, *, integrands: int = 1, statistics: int = 0, device: torch.device = CPU) -> "Integrals":
        """NaN for n examples, to be filled in."""
        missing = torch.full((integrands + statistics + 1, n), torch.nan, dtype=wide(device), device=device)
        log_z, means, change = missing.split([integrands, statistics, 1])
        return cls(log_z, means, change[0], torch.ones(n, dtype=torch.bool, device=device))

    def __setitem__(self, which: Tensor, others: "Integrals") -> None:
        """Fill in some of the examples, from wherever the others lie."""
        self.log_z[:, which], self.statistics[:, which] = others.log_z.to(self.log_z), others.statistics.to(self.log_z)
        self.change[which], self.inside[which] = others.change.to(self.change), others.inside.to(self.inside)

    def __getitem__(self, which: Tensor) -> "Integrals":
        return Integrals(self.log_z[:, which], self.statistics[:, which], self.change[which], self.inside[which])


def on_lattices(
    log_f: LogIntegrands,
    integrals: Integrals,
    low: Tensor,
    high: Tensor,
    *,
    like: Tensor,
    at_once: int,
    check: Callable[[], None] = lambda: None,
    tolerance: float,
    guard: Guard,
    done: Callable[[int], None],
) -> None:
    """Log of the integral of exp(f) over R^d for every example whose lattices agree, d = 1 or 2.

    Args:
        log_f: the integrand, K = 1.
        integrals: is filled in, example by example, as they are settled; what is not stays NaN.
        low: (d,) where to look; enlarged while an integrand has mass at the border.
        high: (d,).
        like: a tensor of the precision and on the device in which log_f wants its points.
        at_once: tiles of 64 points (16 in one dimension) whose values log_f can hold together.
        check: of a ``Grid``.
        tolerance: on half of what any lattice of twice the distance gives otherwise, in nats.
        guard: tiles are halved until their points know of the value there.
        done: called with the number of examples that were just finished.
    """
    n, d = integrals.log_z.shape[1], len(low)
    tiles, points = SIDE[d]
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    rule = Rule(tiles, middles, torch.full_like(middles, 1 / points))
    grid = Grid(log_f, rule, low, high, like=like, at_once=at_once, check=check, shares=_every_other(points, d))
    before = torch.full_like(integrals.log_z, torch.nan)

    def decide(leaves: Leaves, log_z: Tensor, means: Tensor) -> Decision:
        nonlocal before
        # NaN where nothing was before; halving the distance takes the error of a kink to a quarter, of chance to a half
        change = 0.5 * torch.cat([means.log(), before - log_z]).abs().amax(0)
        before = log_z
        tops = torch.maximum(_tops_of(leaves, n), guard.value)
        finest = _attainable(tops, grid, tolerance)
        hidden = _unseen(leaves, grid, tops, guard)
        deep = torch.where(change < _RESOLVED, _RELEVANT, _LATTICE_NEGLIGIBLE)
        split = (leaves.reach >= (tops - deep)[:, leaves.example]).any(0) | hidden
        settled = change < finest
        settled[leaves.example[hidden]] = False
        change = torch.where(finest > tolerance, change.maximum(finest), change)
        return Decision(split, change, settled, torch.bincount(leaves.example[split], minlength=n) > _MOST_HALVED)

    _refine(grid, n, decide, rounds=_LATTICE_ROUNDS, give_up=True, done=done, into=integrals)


def _every_other(points: int, d: int) -> Tensor:
    """(points^d, 2^d) factors that turn the sum over a tile into that of each lattice of twice the distance."""
    parity = torch.arange(points) % 2
    along = torch.stack([parity == 0, parity == 1], dim=1).double() * 2
    return along if d == 1 else torch.einsum("ia,jb->ijab", along, along).reshape(points**2, 4)


def on_tiles(
    log_f: LogIntegrands,
    examples: int,
    low: Tensor,
    high: Tensor,
    *,
    like: Tensor,
    at_once: int = 16,
    check: Callable[[], None] = lambda: None,
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
        check: of a ``Grid``.
        tolerance: on what the last halving of all tiles changed each log_z, and the watched statistics.
        guard: tiles are split until their points know of the value there.
        statistics: what to average under the last integrand.
        watched: the statistics that shall not change by more than the tolerance either.
        done: called with the number of examples that were just finished.

    Returns:
        Integrals, on the device of ``like``; an example whose change exceeds the tolerance was given up.
    """
    d = len(low)
    tiles, points = SIDE[d]
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(points))
    rule = Rule(tiles, 0.5 * (nodes + 1), 0.5 * weights)
    grid = Grid(
        log_f,
        rule,
        low,
        high,
        like=like,
        at_once=at_once,
        check=check,
        statistics=statistics,
        watched=watched,
        bends=True,
    )

    def decide(leaves: Leaves, log_z: Tensor, means: Tensor) -> Decision:
        tops = _tops_of(leaves, examples)
        hidden = torch.zeros_like(leaves.example, dtype=torch.bool)
        if guard is not None:
            tops = torch.maximum(tops, guard.value)
            hidden = _unseen(leaves, grid, tops, guard)
        lead = leaves.reach - tops[:, leaves.example]
        holds = (lead >= -NEGLIGIBLE).any(0)
        relative = torch.cat([log_z, log_z[-1:].expand(len(grid.watched), -1)])[:, leaves.example]
        error = (leaves.log_error - relative).exp().nan_to_num(nan=0.0, posinf=torch.inf)
        error = torch.where(holds, error, 0.0)
        change = error.new_zeros(len(error), examples)
        change = change.index_add_(1, leaves.example, error).amax(0)
        shared = torch.bincount(leaves.example[holds], minlength=examples)[leaves.example]
        finest = _attainable(tops, grid, tolerance)
        allowed = finest[leaves.example]  # a second difference has four times the rounding
        wrong = (change >= finest)[leaves.example] & (error >= allowed / shared).any(0)
        blurred = ((lead > -_RELEVANT) & (leaves.bend > (4 * allowed).clamp(min=_UNRESOLVED))).any(0)
        change = torch.where(finest > tolerance, change.maximum(finest), change)
        split = wrong | blurred | hidden
        settled = torch.bincount(leaves.example[split], minlength=examples) == 0
        many = torch.bincount(leaves.example, minlength=examples) > _MOST_TILES + tiles**d
        return Decision(split, change, settled, many)

    return _refine(grid, examples, decide, rounds=_ROUNDS, give_up=False, done=done)


class Decision(NamedTuple):
    """What becomes of the examples and their leaves in a round of :func:`_refine`."""

    split: Tensor
    """(p,) leaves that are halved, of the examples that go on."""
    change: Tensor
    """(n,) by how much the last halving changed each example."""
    settled: Tensor
    """(n,) examples whose integrals are exact enough."""
    hopeless: Tensor
    """(n,) examples that would take too many leaves."""


def _refine(
    grid: Grid,
    examples: int,
    decide: Callable[[Leaves, Tensor, Tensor], Decision],
    *,
    rounds: int,
    give_up: bool,
    done: Callable[[int], None],
    into: Integrals | None = None,
) -> Integrals:
    """Halve the tiles of each example until its integrals are settled.

    Args:
        grid: the first tiles, and how they are evaluated.
        examples: n.
        decide: from the leaves, log_z (K, n) and the means of the statistics (E, n).
        rounds: halvings, at most.
        give_up: leave the integrals of an example that is not settled NaN; else the last values stand.
        done: called with the number of examples that were just finished.
        into: is filled in, example by example; what Ctrl-C leaves is what was done.
    """
    leaves, inside = _first_tiles(grid, examples)
    device = grid.like.device
    result = into or Integrals.unknown(
        examples, integrands=len(leaves.top), statistics=len(leaves.moments), device=device
    )
    active = torch.ones(examples, dtype=torch.bool, device=device)
    for number in range(rounds):
        log_z, means = _totals(leaves, examples)
        decision = decide(leaves, log_z, means)
        last = decision.hopeless if number < rounds - 1 else torch.ones_like(active)
        finished = active & (decision.settled | last & (not give_up))
        result[finished] = Integrals(log_z, means[: len(result.statistics)], decision.change, inside)[finished]
        done(int(finished.sum()))
        active &= ~(decision.settled | last)
        if not bool(active.any()):
            break
        open_ = active[leaves.example]
        whole, halved = ((open_ & split).nonzero().flatten() for split in (~decision.split, decision.split))
        leaves = leaves[whole] + grid.halved(leaves[halved])
    return result


def _first_tiles(grid: Grid, examples: int) -> tuple[Leaves, Tensor]:
    """The first tiles of all examples, with more around them where one has mass at the border; and whether none has."""
    device = grid.like.device
    tiles = torch.cartesian_prod(*[torch.arange(grid.tiles, device=device)] * grid.d).reshape(-1, grid.d)
    leaves = grid.first(torch.arange(examples, device=device), tiles)
    ends = [[0, grid.tiles - 1] for _ in range(grid.d)]
    inside = torch.ones(examples, dtype=torch.bool, device=device)
    for growth in range(_GROWTHS + 1):
        reaches = (leaves.reach >= _tops_of(leaves, examples)[:, leaves.example] - NEGLIGIBLE).any(0)
        inside[:] = True
        for axis, (low, high) in enumerate(ends):
            for end, border in enumerate((low, high)):
                touching = leaves.example[reaches & (leaves.tile[:, axis] == border)].unique()
                if not len(touching):
                    continue
                inside[touching] = False
                if growth < _GROWTHS:
                    fresh = range(border + 1, border + 3) if end else range(border - 2, border)
                    ranges = [torch.arange(a, b + 1, device=device) for a, b in ends]
                    ranges[axis] = torch.tensor(fresh, device=device)
                    ends[axis][end] = fresh[-1] if end else fresh[0]
                    leaves = leaves + grid.first(touching, torch.cartesian_prod(*ranges).reshape(-1, grid.d))
                    reaches = torch.cat([reaches, reaches.new_zeros(len(leaves.example) - len(reaches))])
        if bool(inside.all()):
            break
    return leaves, inside


def _tops_of(leaves: Leaves, examples: int) -> Tensor:
    """The largest value of each example, (K, n)."""
    top = leaves.top.new_full((len(leaves.top), examples), -torch.inf)
    return top.scatter_reduce(1, leaves.example.expand_as(leaves.top), leaves.top, "amax")


def _totals(leaves: Leaves, examples: int) -> tuple[Tensor, Tensor]:
    """log_z (K, n) and the means of the statistics (E, n)."""
    tops = _tops_of(leaves, examples)
    scale = (leaves.top - tops[:, leaves.example]).exp()
    total = torch.zeros_like(tops).index_add_(1, leaves.example, leaves.mass * scale)
    means = leaves.moments.new_zeros(len(leaves.moments), examples)
    means = means.index_add_(1, leaves.example, leaves.moments * scale[-1]) / total[-1]
    return tops + total.log(), means


def _attainable(tops: Tensor, grid: Grid, tolerance: float) -> Tensor:
    """The tolerance of each example, (n,); where f is so large that rounding changes it by more than 0.05, that much.

    There the integrand between the points is noise, which thousands of tiles would go on resolving.
    """
    rounding = _ROUNDED * torch.finfo(grid.like.dtype).eps * tops.abs().amax(0)
    return torch.where(rounding > _RESOLVED, rounding, tolerance).clamp(min=tolerance)


def _unseen(leaves: Leaves, grid: Grid, tops: Tensor, guard: Guard) -> Tensor:
    """The leaves (p,) whose points do not know how high the integrand is at the guard, which stands in them."""
    at = (guard.place[leaves.example] - grid.low) / (grid.width / 2.0 ** leaves.level[:, None])
    counts = guard.value >= tops - NEGLIGIBLE
    higher = (guard.value[:, leaves.example] > leaves.reach) & counts[:, leaves.example]
    return (leaves.tile == at.floor()).all(1) & higher.any(0)
