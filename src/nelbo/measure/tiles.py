"""Integrals over one or two dimensions, for many examples at once, refined for each where its mass lies.

The plane is cut into tiles that carry 8 x 8 Gauss-Legendre points each. An example splits the tiles in which its
integrand is, or between the points might be, more than e^-18 of its largest value, and goes on with those whose
parts do not add up to what the whole tile gave, until halving all of them again would change less than the tolerance.
The tiles are a partition at every moment. Examples share them, and with them whatever is computed once for each point.

Between two points an integrand may rise: where neighbours differ by d nats, by about d/2 per axis to the middle between
them. As long as the points stand farther apart than a peak is wide, this keeps the tiles in which it may hide; and no
tile that matters is left with a curvature that its points do not resolve.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import final

import numpy as np
import torch
from torch import Tensor

LogIntegrands = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(z (tiles, points, d), for each tile the numbers of its examples, ascending) -> (integrands, m, points) in nats, for
the m pairs of a tile and an example, tile after tile."""
Statistics = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""(z (m, points, d), log_f) -> functions g, (m, points), whose means under the last integrand are wanted."""

_SIDE = {1: (64, 16), 2: (6, 8)}
"""For each number of dimensions: tiles along an axis at first, and points along an axis of a tile."""
_NEGLIGIBLE = 18.0  # nats below the largest value; a thousand points of that weigh 2e-5
_RELEVANT = 7.0  # nats; what lies lower than that changes log Z by less than 1e-3
_UNRESOLVED = 1.0  # second difference in nats: points stand one standard deviation of a peak apart
_SUSPECT = 100.0  # nats; below that, not even the place that is guarded can hold the mass
_ROUNDS = 24
_GROWTHS = 12
_GAIN = 2.0
"""By how much halving a tile makes its error smaller at least: a kink's, such as a ReLU's, by 4."""
_MOST_TILES = 1 << 13
"""Tiles of one example."""
_PAIRS_AT_ONCE = 1 << 14
"""Pairs of an example and a tile whose values are held together."""


@dataclass(frozen=True)
class Integrals:
    """For each example, with K integrands.

    Attributes:
        log_z: (K, n) logarithms of the integrals.
        statistics: (E, n) the wanted means under the last integrand.
        change: (n,) by how much halving every tile once more would change log_z (or a watched statistic), by what the
            last halving changed; the tiles' changes are added up as independent errors are.
        inside: (n,) whether the integrands vanish at the border of what was looked at.
    """

    log_z: Tensor
    statistics: Tensor
    change: Tensor
    inside: Tensor


@dataclass(frozen=True)
class _Leaves:
    """Pairs of an example and a tile, p of them; (K, p) for each integrand."""

    example: Tensor
    """(p,)."""
    level: Tensor
    """(p,) how often the tile was halved."""
    tile: Tensor
    """(p, d) whole numbers."""
    top: Tensor
    """(K, p) largest value at the points."""
    reach: Tensor
    """(K, p) how high it may rise between them."""
    bend: Tensor
    """(K, p) the largest second difference near the top."""
    mass: Tensor
    """(K, p) integral of exp(f - top)."""
    moments: Tensor
    """(E, p) integrals of exp(f - top) g."""
    log_error: Tensor
    """(K + watched, p) logarithm of what halving the tile would change, by what its own making did; inf at first."""

    def __getitem__(self, which: Tensor) -> "_Leaves":
        return _Leaves(*(v[which] if name in _BY_ROW else v[:, which] for name, v in self._columns()))

    def __add__(self, other: "_Leaves") -> "_Leaves":
        return _Leaves(
            *(
                torch.cat([mine, its], dim=0 if name in _BY_ROW else 1)
                for (name, mine), (_, its) in zip(self._columns(), other._columns(), strict=True)
            )
        )

    def _columns(self) -> list[tuple[str, Tensor]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self)]


_BY_ROW = ("example", "level", "tile")


@final
class _Grid:
    """Evaluates the integrands, tile by tile."""

    def __init__(
        self,
        log_f: LogIntegrands,
        statistics: Statistics | None,
        watched: Sequence[int],
        low: Tensor,
        high: Tensor,
        like: Tensor,
        at_once: int,
    ) -> None:
        self.log_f, self.statistics, self.watched, self.like = log_f, statistics, list(watched), like
        self.at_once = at_once
        self.d = len(low)
        self.tiles, self.points = _SIDE[self.d]
        self.low, self.width = low, (high - low) / self.tiles
        nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(self.points))
        axis = 0.5 * (nodes + 1)
        self.offsets = torch.cartesian_prod(*[axis] * self.d).reshape(-1, self.d)
        self.weights = torch.cartesian_prod(*[0.5 * weights] * self.d).reshape(-1, self.d).prod(-1).to(like)
        self.gaps = axis.diff().to(like)
        self.widest = float(self.gaps.max())
        self.halves = torch.cartesian_prod(*[torch.arange(2)] * self.d).reshape(-1, self.d)

    def first(self, example: Tensor, tiles: Tensor) -> _Leaves:
        """All these tiles, not yet halved, for all these examples."""
        return self.evaluate(
            example.repeat(len(tiles)),
            torch.zeros(len(tiles) * len(example), dtype=torch.long),
            tiles.repeat_interleave(len(example), dim=0),
        )

    def evaluate(self, example: Tensor, level: Tensor, tile: Tensor) -> _Leaves:
        """The leaves with their values; every tile's points are computed once for all examples that look at it."""
        key = tile[:, 0] if self.d == 1 else (tile[:, 0] << 30) + tile[:, 1]
        # by level, by tile, by example: three stable sorts, the least important first
        order = example.argsort(stable=True)
        order = order[key[order].argsort(stable=True)]
        order = order[level[order].argsort(stable=True)]
        which = torch.stack([level[order], key[order]])
        counts = torch.unique_consecutive(which, dim=1, return_counts=True)[1].tolist()
        example_, level_, tile_ = example[order], level[order], tile[order]
        parts: list[tuple[Tensor, ...]] = []
        start = 0
        for several in self._together(counts):
            ends = torch.tensor([0, *several]).cumsum(0) + start
            first, start = ends[:-1], int(ends[-1])
            width = self.width / 2.0 ** level_[first][:, None]
            z = (self.low + width * tile_[first])[:, None] + width[:, None] * self.offsets
            z = z.to(self.like)
            f = self.log_f(z, example_[ends[0] : start].split(several))
            of = torch.arange(len(several)).repeat_interleave(torch.tensor(several))
            parts.append(self._summary(z, of, f, width.prod(1)[of], bend=bool(level_[ends[0]] > 0)))
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        found = [torch.cat(column, dim=1)[:, back] for column in zip(*parts, strict=True)]
        unknown = torch.full((len(found[0]) + len(self.watched), len(example)), torch.inf, dtype=torch.float64)
        return _Leaves(example, level, tile, *found, log_error=unknown)

    def _together(self, counts: list[int]) -> Iterator[list[int]]:
        """The tiles' numbers of examples, in groups that are evaluated at once."""
        group: list[int] = []
        for count in counts:
            if group and (len(group) >= self.at_once or sum(group) + count > _PAIRS_AT_ONCE):
                yield group
                group = []
            group.append(count)
        yield group

    def split(self, parents: _Leaves) -> _Leaves:
        """The parts of each leaf, with what the splitting changed."""
        k = len(self.halves)
        tile = (2 * parents.tile[:, None] + self.halves).flatten(0, 1)
        parts = self.evaluate(parents.example.repeat_interleave(k), (parents.level + 1).repeat_interleave(k), tile)
        scale = torch.maximum(parts.top.unflatten(1, (-1, k)).amax(-1), parents.top)
        sizes = (parts.top - scale.repeat_interleave(k, dim=1)).exp(), (parents.top - scale).exp()
        before = torch.cat([parents.mass * sizes[1], parents.moments[self.watched] * sizes[1][-1:]])
        after = torch.cat([parts.mass * sizes[0], parts.moments[self.watched] * sizes[0][-1:]])
        changed = (after.unflatten(1, (-1, k)).sum(-1) - before).abs()
        scale = torch.cat([scale, scale[-1:].expand(len(self.watched), -1)])
        log_error = ((changed / (_GAIN * k**0.5)).log() + scale).repeat_interleave(k, dim=1)
        return _Leaves(*(getattr(parts, f.name) for f in fields(parts)[:-1]), log_error=log_error)

    def _summary(self, z: Tensor, of: Tensor, f: Tensor, volume: Tensor, *, bend: bool) -> tuple[Tensor, ...]:
        """(top, reach, bend, mass, moments) of the pairs, each (K or E, m), float64 on the CPU.

        Without ``bend`` it is 0: tiles that were not halved yet are, if they matter at all.
        """
        volume = volume.to(f.device)
        top = f.amax(-1).clamp(min=torch.finfo(f.dtype).min)  # -inf where the prior allows nothing
        w = (f - top[..., None]).exp() * self.weights
        mass = w.sum(-1).double() * volume
        wanted = self.statistics(z[of.to(z.device)], f) if self.statistics is not None else ()
        # where a density is 0, its logarithm may make g infinite
        sums = [torch.where(w[-1] > 0, w[-1] * g, 0.0).sum(-1).double() * volume for g in wanted]
        moments = torch.stack(sums) if sums else mass.new_empty(0, f.shape[1])
        surface = f.unflatten(-1, (self.points,) * self.d)
        rise, curved = torch.zeros_like(surface), torch.zeros_like(surface)
        bounded = bool(f.isfinite().all())
        for axis in range(2, 2 + self.d):
            step = surface.diff(dim=axis)
            if not bounded:
                step = step.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            rise += 0.5 * _largest_beside(step.abs(), axis, 1)
            if bend:
                gaps = self.gaps.reshape(-1, *(1,) * (1 + self.d - axis))
                middles = 0.5 * (self.gaps[1:] + self.gaps[:-1]).reshape(-1, *(1,) * (1 + self.d - axis))
                curve = ((step / gaps).diff(dim=axis) / middles).abs() * self.widest**2
                curved = torch.maximum(curved, _largest_beside(curve, axis, 2))
        high = surface + rise
        curved = torch.where(high >= top.reshape(*top.shape, *(1,) * self.d) - 8, curved, 0.0)
        return tuple(
            part.double().cpu() for part in (top, high.flatten(2).amax(-1), curved.flatten(2).amax(-1), mass, moments)
        )


def _largest_beside(values: Tensor, axis: int, fewer: int) -> Tensor:
    """For each of n points along the axis, the largest of the n - fewer values that belong to it and its neighbours."""
    n = values.shape[axis]
    found = values.new_zeros([size + fewer * (i == axis) for i, size in enumerate(values.shape)])
    for shift in range(fewer + 1):
        place = found.narrow(axis, shift, n)
        torch.maximum(place, values, out=place)
    return found


def integrate(
    log_f: LogIntegrands,
    examples: int,
    low: Tensor,
    high: Tensor,
    *,
    like: Tensor,
    at_once: int = 16,
    tolerance: float = 1e-3,
    guard: Tensor | None = None,
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
        tolerance: on what halving all tiles again would change each log_z, and the watched statistics.
        guard: (n, d) a place where each example is expected to have its mass: it is never left unresolved.
        statistics: what to average under the last integrand.
        watched: the statistics that shall not change by more than the tolerance either.
        done: called with the number of examples that were just finished.

    Returns:
        Integrals, float64, on the CPU; an example whose change exceeds the tolerance was given up.
    """
    grid = _Grid(log_f, statistics, watched, low.double().cpu(), high.double().cpu(), like, at_once)
    leaves, inside = _first(grid, examples)
    log_z, means = _totals(leaves, examples)
    change = torch.full((examples,), torch.inf, dtype=torch.float64)
    active = torch.ones(examples, dtype=torch.bool)
    for _ in range(_ROUNDS):
        now_z, now_means = _totals(leaves, examples)
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
        leaves = leaves[~chosen] + grid.split(leaves[chosen])
    return Integrals(log_z, means, change, inside)


def _first(grid: _Grid, examples: int) -> tuple[_Leaves, Tensor]:
    """The first tiles of all examples, with more around them where one has mass at the border; and whether none has."""
    tiles = torch.cartesian_prod(*[torch.arange(grid.tiles)] * grid.d).reshape(-1, grid.d)
    leaves = grid.first(torch.arange(examples), tiles)
    ends = [[0, grid.tiles - 1] for _ in range(grid.d)]
    inside = torch.ones(examples, dtype=torch.bool)
    for growth in range(_GROWTHS + 1):
        reaches = (leaves.reach >= _tops(leaves, examples)[:, leaves.example] - _NEGLIGIBLE).any(0)
        inside[:] = True
        for axis, (low, high) in enumerate(ends):
            for end, border in enumerate((low, high)):
                touching = leaves.example[reaches & (leaves.tile[:, axis] == border)].unique()
                if not len(touching):
                    continue
                inside[touching] = False
                if growth < _GROWTHS:
                    fresh = range(border + 1, border + 3) if end else range(border - 2, border)
                    ranges = [torch.arange(a, b + 1) for a, b in ends]
                    ranges[axis] = torch.tensor(fresh)
                    ends[axis][end] = fresh[-1] if end else fresh[0]
                    leaves = leaves + grid.first(touching, torch.cartesian_prod(*ranges).reshape(-1, grid.d))
                    reaches = torch.cat([reaches, torch.zeros(len(leaves.example) - len(reaches), dtype=torch.bool)])
        if bool(inside.all()):
            break
    return leaves, inside


def _tops(leaves: _Leaves, examples: int) -> Tensor:
    """The largest value of each example, (K, n)."""
    top = torch.full((len(leaves.top), examples), -torch.inf, dtype=torch.float64)
    return top.scatter_reduce(1, leaves.example.expand_as(leaves.top), leaves.top, "amax")


def _totals(leaves: _Leaves, examples: int) -> tuple[Tensor, Tensor]:
    """log_z (K, n) and the means of the statistics (E, n)."""
    tops = _tops(leaves, examples)
    scale = (leaves.top - tops[:, leaves.example]).exp()
    total = torch.zeros_like(tops).index_add_(1, leaves.example, leaves.mass * scale)
    means = torch.zeros(len(leaves.moments), examples, dtype=torch.float64)
    means = means.index_add_(1, leaves.example, leaves.moments * scale[-1]) / total[-1]
    return tops + total.log(), means


def _chosen(
    leaves: _Leaves, grid: _Grid, log_z: Tensor, tolerance: float, guard: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which leaves have to be split, (p,), and by how much the last splittings changed each example, (n,)."""
    n = log_z.shape[1]
    lead = leaves.reach - _tops(leaves, n)[:, leaves.example]
    holds = (lead >= -_NEGLIGIBLE).any(0)
    relative = torch.cat([log_z, log_z[-1:].expand(len(grid.watched), -1)])[:, leaves.example]
    error = (leaves.log_error - relative).exp().nan_to_num(nan=0.0, posinf=torch.inf)
    error = torch.where(holds, error, 0.0)
    change = torch.zeros(len(error), n, dtype=torch.float64).index_add_(1, leaves.example, error.square())
    change = change.sqrt().amax(0)
    shared = torch.bincount(leaves.example[holds], minlength=n)[leaves.example]
    wrong = (change >= tolerance)[leaves.example] & (error >= tolerance / shared.sqrt()).any(0)
    matters = lead > -_RELEVANT
    if guard is not None:
        place = (guard[leaves.example] - grid.low) / (grid.width / 2.0 ** leaves.level[:, None])
        matters |= (leaves.tile == place.floor()).all(1) & (lead > -_SUSPECT)
    return wrong | (matters & (leaves.bend > _UNRESOLVED)).any(0), change
