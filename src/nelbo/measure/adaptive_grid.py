"""One or two dimensions cut into tiles: integrands of many examples, evaluated at points that the examples share.

Each example has its own set of tiles, a partition of the plane at every moment, finer where its mass lies. A tile that
several examples look at is computed once: with its points goes whatever is decoded for each of them.

Between two points an integrand may rise: where neighbours differ by d nats, by about d/2 per axis to the middle between
them. As long as the points stand farther apart than a peak is wide, this keeps the tiles in which it may hide.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import NamedTuple, final

import torch
from torch import Tensor

from nelbo.devices import launches, widened
from nelbo.evaluation import rows_at_once

LogIntegrands = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(z (tiles, points, d), for each tile the numbers of its examples, ascending) -> (integrands, m, points) in nats, for
the m pairs of a tile and an example, tile after tile."""
Statistics = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""(z (m, points, d), log_f) -> functions g, (m, points), whose means under the last integrand are wanted."""

SIDE = {1: (64, 16), 2: (6, 8)}
"""For each number of dimensions: tiles along an axis at first, and points along an axis of a tile."""


class Rule(NamedTuple):
    """How the points of a tile stand along each axis."""

    tiles: int
    """Along an axis, at first."""
    nodes: Tensor
    """(points,) in [0, 1]."""
    weights: Tensor
    """(points,) that add up to 1."""


@dataclass(frozen=True)
class Leaves:
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
    """(K + watched, p) logarithm of the tile's share of what the halving that made it changed; inf at first."""

    def __getitem__(self, which: Tensor) -> "Leaves":
        return Leaves(*(v[which] if name in _BY_ROW else v[:, which] for name, v in self._columns()))

    def __add__(self, other: "Leaves") -> "Leaves":
        return Leaves(
            *(
                torch.cat([mine, its], dim=0 if name in _BY_ROW else 1)
                for (name, mine), (_, its) in zip(self._columns(), other._columns(), strict=True)
            )
        )

    def _columns(self) -> list[tuple[str, Tensor]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self)]


_BY_ROW = ("example", "level", "tile")


@final
class Grid:
    """Evaluates the integrands, tile by tile.

    Args:
        log_f: the integrands.
        rule: of a tile.
        low: (d,) corner of the first tiles.
        high: (d,) the opposite one.
        like: a tensor of the precision and on the device in which log_f wants its points.
        at_once: tiles whose values log_f can hold together.
        check: called when all tiles are evaluated; raises if log_f gave values that are none.
        statistics: what to average under the last integrand.
        watched: the statistics whose change matters.
        shares: (points, E) instead of statistics: factors that depend on the place in a tile alone.
        bends: whether leaves know their second differences.
    """

    def __init__(
        self,
        log_f: LogIntegrands,
        rule: Rule,
        low: Tensor,
        high: Tensor,
        *,
        like: Tensor,
        at_once: int,
        check: Callable[[], None] = lambda: None,
        statistics: Statistics | None = None,
        watched: Sequence[int] = (),
        shares: Tensor | None = None,
        bends: bool = False,
    ) -> None:
        self.log_f, self.statistics, self.watched, self.like = log_f, statistics, list(watched), like
        self.at_once, self.check, self.bends = at_once, check, bends
        self.pairs_at_once = rows_at_once(len(rule.nodes) ** len(low), passes=4, on=like.device)
        self.shares = None if shares is None else shares.to(like)
        self.d = len(low)
        self.tiles, self.points = rule.tiles, len(rule.nodes)
        self.low = widened(low.to(like.device))
        self.width = (widened(high.to(like.device)) - self.low) / self.tiles
        self.offsets = torch.cartesian_prod(*[rule.nodes] * self.d).reshape(-1, self.d).to(self.low)
        self.weights = torch.cartesian_prod(*[rule.weights] * self.d).reshape(-1, self.d).prod(-1).to(like)
        gaps = rule.nodes.diff().to(like.dtype)
        self.gaps, self.widest = gaps.to(like.device), float(gaps.max())
        self.halves = torch.cartesian_prod(*[torch.arange(2)] * self.d).reshape(-1, self.d).to(like.device)

    def first(self, example: Tensor, tiles: Tensor) -> Leaves:
        """All these tiles, not yet halved, for all these examples."""
        return self.evaluate(
            example.repeat(len(tiles)),
            torch.zeros(len(tiles) * len(example), dtype=torch.long, device=example.device),
            tiles.repeat_interleave(len(example), dim=0),
        )

    def evaluate(self, example: Tensor, level: Tensor, tile: Tensor) -> Leaves:
        """The leaves with their values; every tile's points are computed once for all examples that look at it."""
        key = tile[:, 0] if self.d == 1 else (tile[:, 0] << 30) + tile[:, 1]
        # by level, by tile, by example: three stable sorts, the least important first
        order = example.argsort(stable=True)
        order = order[key[order].argsort(stable=True)]
        order = order[level[order].argsort(stable=True)]
        example_, level_, tile_, key_ = example[order], level[order], tile[order], key[order]
        begins = torch.ones_like(order, dtype=torch.bool)
        begins[1:] = (level_[1:] != level_[:-1]) | (key_[1:] != key_[:-1])
        starts, number = begins.nonzero().flatten(), begins.cumsum(0) - 1
        firsts, levels = torch.stack([starts, level_[starts]]).tolist()  # all that is asked for before the values
        counts = [end - begin for begin, end in pairwise([*firsts, len(order)])]
        parts: list[tuple[Tensor, ...]] = []
        start = 0
        for several in self._together(counts):
            pairs, tiles = slice(firsts[start], firsts[start] + sum(several)), slice(start, start + len(several))
            first, of = starts[tiles], number[pairs] - start
            width = self.width / 2.0 ** level_[first][:, None]
            z = (self.low + width * tile_[first])[:, None] + width[:, None] * self.offsets
            z = z.to(self.like)
            f = self.log_f(z, example_[pairs].split(several))
            # tiles that were not halved yet are, if they matter at all
            parts.append(self._summary(z, of, f, width.prod(1)[of], bend=self.bends and levels[start] > 0))
            start = tiles.stop
        self.check()
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        columns = [torch.cat(column, dim=1)[:, back] for column in zip(*parts, strict=True)]
        unknown = self.low.new_full((len(columns[0]) + len(self.watched), len(example)), torch.inf)
        return Leaves(example, level, tile, *columns, log_error=unknown)

    def _together(self, counts: list[int]) -> Iterator[list[int]]:
        """The tiles' numbers of examples, in groups that are evaluated at once."""
        group: list[int] = []
        for count in counts:
            if group and (len(group) >= self.at_once or sum(group) + count > self.pairs_at_once):
                yield group
                group = []
            group.append(count)
        yield group

    def halved(self, parents: Leaves) -> Leaves:
        """The 2^d parts of each leaf, one leaf's after the other's, with what the halving changed."""
        k = len(self.halves)
        tile = (2 * parents.tile[:, None] + self.halves).flatten(0, 1)
        parts = self.evaluate(parents.example.repeat_interleave(k), (parents.level + 1).repeat_interleave(k), tile)
        top = torch.maximum(parts.top.unflatten(1, (-1, k)).amax(-1), parents.top)
        sizes = (parts.top - top.repeat_interleave(k, dim=1)).exp(), (parents.top - top).exp()
        after, before = (
            torch.cat([leaves.mass * size, leaves.moments[self.watched] * size[-1:]])
            for leaves, size in zip((parts, parents), sizes, strict=True)
        )
        changed = (after.unflatten(1, (-1, k)).sum(-1) - before).abs()
        top = torch.cat([top, top[-1:].expand(len(self.watched), -1)])
        return replace(parts, log_error=((changed / k).log() + top).repeat_interleave(k, dim=1))

    def _summary(self, z: Tensor, of: Tensor, f: Tensor, volume: Tensor, *, bend: bool) -> tuple[Tensor, ...]:
        """(top, reach, bend, mass, moments) of the pairs, each (K or E, m), where f is; without ``bend`` 0."""
        top = f.amax(-1).clamp(min=torch.finfo(f.dtype).min)  # -inf where the prior allows nothing
        w = (f - top[..., None]).exp() * self.weights
        mass = widened(w.sum(-1)) * volume
        if self.shares is not None:
            moments = widened((w[-1] @ self.shares.to(w)).T) * volume
        else:
            wanted = self.statistics(z[of], f) if self.statistics is not None else ()
            # where a density is 0, its logarithm may make g infinite
            sums = [widened(torch.where(w[-1] > 0, w[-1] * g, 0.0).sum(-1)) * volume for g in wanted]
            moments = torch.stack(sums) if sums else mass.new_empty(0, f.shape[1])
        surface = f.unflatten(-1, (self.points,) * self.d)
        rise, curved = torch.zeros_like(surface), torch.zeros_like(surface if bend else top)
        # to ask costs an accelerator more than to replace; a sum is finite only where all of it is
        bounded = not launches(f.device) and bool(f.sum().isfinite())
        for axis in range(2, 2 + self.d):
            step = surface.diff(dim=axis)
            if not bounded:
                step = step.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            rise += _largest_beside(step.abs().mul_(0.5), axis, 1)
            if bend:
                gaps = self.gaps.reshape(-1, *(1,) * (1 + self.d - axis))
                middles = 0.5 * (self.gaps[1:] + self.gaps[:-1]).reshape(-1, *(1,) * (1 + self.d - axis))
                curve = ((step / gaps).diff(dim=axis) / middles).abs() * self.widest**2
                curved = torch.maximum(curved, _largest_beside(curve, axis, 2))
        high = rise.add_(surface).flatten(2)
        if bend:
            curved = torch.where(high >= top[..., None] - 8, curved.flatten(2), 0.0).amax(-1)
        return tuple(map(widened, (top, high.amax(-1), curved, mass, moments)))


def _largest_beside(values: Tensor, axis: int, fewer: int) -> Tensor:
    """For each of n points along the axis, the largest of the n - fewer values that belong to it and its neighbours."""
    n = values.shape[axis]
    largest = values.new_zeros([size + fewer * (i == axis) for i, size in enumerate(values.shape)])
    for shift in range(fewer + 1):
        place = largest.narrow(axis, shift, n)
        torch.maximum(place, values, out=place)
    return largest
