"""Log p(x) by integrating over z, for one or two latent dimensions."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.devices import launches, widened
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.measure.adaptive_grid import SIDE, LogIntegrands
from nelbo.measure.evidence import Evidence, Finite, interrupted
from nelbo.measure.grid_integrals import Guard, Integrals, on_lattices, on_tiles
from nelbo.progress import ProgressBar
from nelbo.randomness import derive
from nelbo.vae import Model

MOST_DIMENSIONS = 2
TOLERANCE = 1e-3
_DRAWS = 4096


def by_quadrature(evaluation: Evaluation, *, tolerance: float = TOLERANCE, why: str, progress: bool) -> Evidence:
    """Log of the integral of p(z) p(x|z) dz on grids that are refined until doubling them changes it little.

    Args:
        evaluation: whose model is in evaluation mode.
        tolerance: the largest change in nats.
        why: for the result.
        progress: show a bar.
    """
    d, n = evaluation.latent, len(evaluation)
    if d > MOST_DIMENSIONS:
        raise ValueError(
            f"quadrature is for one or two latent dimensions, and this model has {d}: a grid of 100 points along each "
            f'would have 1e{2 * d} points. Write method="importance" or method="annealed"'
        )
    integrals = Integrals.unknown(n)
    with ProgressBar("log p(x) by quadrature", n, show=progress) as bar:
        try:
            for index, joint in joints(evaluation):
                part = Integrals.unknown(len(index), device=joint.like.device)
                try:
                    joint.fill(part, tolerance=tolerance, done=bar.advance)
                finally:
                    integrals[index] = part
        except KeyboardInterrupt as error:
            done = int((~integrals.change.isnan()).sum())
            raise interrupted(evidence_of(integrals, tolerance, why), done, n) from error
    return evidence_of(integrals, tolerance, why).warned()


def joints(evaluation: Evaluation, around: Distribution | None = None) -> Iterator[tuple[Tensor, "Joint"]]:
    """The examples in groups that share a condition, a box and so their points: their positions, and log p(x, z).

    An example's box depends on nothing but the example. It holds the prior's mass, and is doubled until it holds the
    mass of q(z|x) too, where that lies elsewhere.

    Args:
        evaluation: at most two latent dimensions.
        around: another q, batch shape (n,), whose mass the box is to hold.
    """
    for same, group, model, pz in by_condition(evaluation):
        # all draws of the prior come from one key: its box is that of every example
        key = torch.tensor([derive(evaluation.seed, "box")], device=group.content.device)
        low, high = _box(pz, key)
        # an encoder may claim any width, and where it is wrong the box grows by itself
        reach = torch.minimum(6 * group.spread.cpu().double(), 0.25 * (high - low))
        doublings = _doublings(group.embedding.cpu().double(), reach, low, high)
        if around is not None:
            q = latents.rows(around, same.to(group.content.device))
            doublings = torch.maximum(doublings, _doublings(*_place(q, group), low, high))
        margin = 0.5 * (high - low)
        for number in doublings.unique().tolist():
            members = (doublings == number).nonzero().flatten()
            grown = (2.0**number - 1) * margin
            for some in members.split(rows_at_once(SIDE[len(low)][0] ** len(low), passes=2, on=group.device)):
                part = group if len(some) == len(group) else group[some]
                yield same[some], Joint(part, model, pz, low - grown, high + grown)


def by_condition(evaluation: Evaluation) -> Iterator[tuple[Tensor, Evaluation, Model, Distribution]]:
    """The examples in groups that share a condition: their positions, they, the model there, and its prior."""
    which = torch.zeros(len(evaluation), dtype=torch.long)
    if evaluation.conditional:
        assert evaluation.batch.c is not None
        _, which = evaluation.batch.c.flatten(1).unique(dim=0, return_inverse=True)
    for number in range(int(which.max()) + 1):
        same = (which == number).nonzero().flatten().cpu()
        group = evaluation if len(same) == len(evaluation) else evaluation[same]
        model = evaluation.model.given(group.batch.c[:1]) if group.batch.c is not None else evaluation.model
        yield same, group, model, model.prior if evaluation.conditional else evaluation.pz


def _box(pz: Distribution, key: Tensor) -> tuple[Tensor, Tensor]:
    """Corners of a box with the prior's mass, (latent,) each."""
    draws = latents.draw(pz, _DRAWS, key).cpu().double().flatten(0, -2)
    low, high = draws.amin(0), draws.amax(0)
    margin = 0.2 * (high - low)
    low, high = low - margin, high + margin
    try:
        mean, deviation = (part.cpu().double().reshape(-1) for part in (pz.mean, pz.variance.sqrt()))
        return torch.minimum(low, mean - 8.5 * deviation), torch.maximum(high, mean + 8.5 * deviation)
    except NotImplementedError:
        return low, high


def _place(q: Distribution, group: Evaluation) -> tuple[Tensor, Tensor]:
    place = latents.center(q, group.keys("center of q")), 8 * latents.spread(q, group.keys("spread of q"))
    return place[0].cpu().double(), place[1].cpu().double()


def _doublings(center: Tensor, reach: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(n,) how often the box must be doubled to hold center +- reach, (n, latent) each."""
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return (((center - middle).abs() + reach) / half).amax(1).clamp(min=1).log2().ceil().long()


@final
class Joint:
    """Log p(x, z) at points that the examples share.

    Args:
        evaluation: of examples with one condition; its model is in evaluation mode.
        model: at that condition.
        pz: its prior.
        low: (latent,) corner of where to look.
        high: (latent,) the opposite one.
    """

    def __init__(self, evaluation: Evaluation, model: Any, pz: Distribution, low: Tensor, high: Tensor) -> None:
        self.evaluation, self.model, self.pz, self.low, self.high = evaluation, model, pz, low, high
        self.x, self.like = evaluation.x, evaluation.embedding
        self.rows: Tensor | None = None
        self.finite = Finite()

    def __call__(self, z: Tensor, examples: Sequence[Tensor]) -> Tensor:
        """(1, m, points), for an ``adaptive_grid.Grid``."""
        log_px: list[Tensor] = []
        # decoded in parts that stay in the cache
        several = rows_at_once(z.shape[1] * self.evaluation.features, on=z.device)
        for start in range(0, len(z), several):
            log_px += self._log_px(z[start : start + several], examples[start : start + several])
        return self.finite(torch.cat(log_px) + self.pz.log_prob(z).index_select(0, tiles_of(examples)))[None]

    def _log_px(self, z: Tensor, examples: Sequence[Tensor]) -> list[Tensor]:
        """For each tile log p(x|z) of its examples at its points; of all tiles together on an accelerator."""
        px = self.model.likelihood(z.flatten(0, 1)[:, None])
        form = self.model.px_family.linear(px, self.x, self.rows)
        if form is None and launches(z.device) and latents.picks(px):
            return [self._picked(px, z.shape[1], examples)]
        if form is None:
            parts = zip(z, examples, strict=True)
            return [_pairwise(self.model.likelihood(at[:, None]), self._pick(self.x, index)) for at, index in parts]
        self.rows = form.rows
        shape = z.shape[:2]
        coefficients, offset = form.coefficients.unflatten(0, shape), form.offset.unflatten(0, shape)
        if launches(z.device):
            return [_products(form.rows, coefficients, offset, examples)]
        parts = zip(coefficients, offset, examples, strict=True)
        return [torch.addmm(add, self._pick(form.rows, index), one.T) for one, add, index in parts]

    def _picked(self, px: Distribution, points: int, examples: Sequence[Tensor]) -> Tensor:
        """Log p(x|z) of the examples at the points of their tiles, from p(x|z) of batch shape (tiles * points, 1)."""
        tile, x = tiles_of(examples), self.x[torch.cat(list(examples))]
        place = tile[:, None] * points + torch.arange(points, device=tile.device)
        size = rows_at_once(points * self.evaluation.features, on=tile.device)
        return torch.cat(
            [
                latents.rows(px, at).log_prob(some[:, None, None])[..., 0]
                for at, some in zip(place.split(size), x.split(size), strict=True)
            ]
        )

    def guard(self) -> Guard:
        """The encoder's means, and log p(x, z) there."""
        values = self.evaluation.log_likelihood(self.like) + self.pz.log_prob(self.like)
        return Guard(widened(self.like), widened(values)[None])

    @property
    def options(self) -> dict[str, Any]:
        """Of both ways to integrate."""
        # a tile costs more by itself than by its points
        return {
            "like": self.like,
            "at_once": rows_at_once(64 * self.evaluation.features, passes=4, on=self.like.device),
            "check": self.finite.check,
        }

    def integrals(self, log_f: LogIntegrands | None = None, guard: Guard | None = None, **options: Any) -> Integrals:
        """``grid_integrals.on_tiles`` over the box, with its other options (tolerance, statistics, done)."""
        n, guard = len(self.evaluation), guard or self.guard()
        return on_tiles(log_f or self, n, self.low, self.high, guard=guard, **self.options, **options)

    def fill(self, integrals: Integrals, *, tolerance: float, done: Callable[[int], None]) -> None:
        """Log p(x) on lattices, and where those do not do on tiles; filled in as examples are done."""
        options: dict[str, Any] = {"tolerance": tolerance, "done": done}
        on_lattices(self, integrals, self.low, self.high, guard=self.guard(), **self.options, **options)
        left = integrals.log_z[0].isnan().nonzero().flatten()
        if len(left):
            rest = Joint(self.evaluation[left], self.model, self.pz, self.low, self.high)
            integrals[left] = rest.integrals(**options)

    @staticmethod
    def _pick(x: Tensor, index: Tensor) -> Tensor:
        # all examples look at most tiles of the coarsest level: no copy of x for those
        return x if len(index) == len(x) else x.index_select(0, index)  # in half the time of x[index]


def tiles_of(examples: Sequence[Tensor]) -> Tensor:
    """For each pair of a tile and an example, tile after tile, the number of the tile: (m,), where the examples are."""
    counts = torch.tensor([len(index) for index in examples])
    return torch.arange(len(examples)).repeat_interleave(counts).to(examples[0].device)


def _products(rows: Tensor, coefficients: Tensor, offset: Tensor, examples: Sequence[Tensor]) -> Tensor:
    """``rows[i] @ coefficients[j].T + offset[j]`` for the examples i of each tile j, (m, points).

    Tiles of about as many examples are one product: the number of calls grows with neither the tiles nor the examples.

    Args:
        rows: (n, k).
        coefficients: (tiles, points, k).
        offset: (tiles, points).
        examples: of each tile.
    """
    counts = torch.tensor([len(index) for index in examples])
    m, most = int(counts.sum()), int(counts.max())
    example = torch.cat([*examples, examples[0][:1]])  # one more, for the places that a tile does not fill
    log_px = rows.new_empty(m + 1, offset.shape[1])
    powers, order = (counts - 1).clamp(min=1).log2().floor().long().sort(stable=True)
    powers, groups = powers.unique_consecutive(return_counts=True)
    # all that the device is told, in one copy
    facts = torch.stack([order, counts[order], (counts.cumsum(0) - counts)[order]]).to(rows.device)
    for power, group in zip(powers.tolist(), facts.split(groups.tolist(), dim=1), strict=True):
        width = min(2 << power, most)
        place = torch.arange(width, device=rows.device)
        for tile, count, first in group.split(rows_at_once(width * rows.shape[1], on=rows.device), dim=1):
            pairs = torch.where(place < count[:, None], first[:, None] + place, m)
            log_px[pairs] = torch.baddbmm(offset[tile][:, None], rows[example[pairs]], coefficients[tile].mT)
    return log_px[:m]


def _pairwise(px: Distribution, x: Tensor) -> Tensor:
    """Log p(x_i|z_j) in nats, (batch, points), pair by pair, for px of batch shape (points, 1)."""
    size = rows_at_once(px.batch_shape[0] * x[0].numel(), on=x.device)
    return torch.cat([px.log_prob(part[None]) for part in x.split(size)], dim=1).T


def evidence_of(integrals: Integrals, tolerance: float, why: str) -> Evidence:
    """Log p(x) from its integrals; flagged where they do not end, or are not exact to the tolerance."""
    change = torch.where(integrals.inside, integrals.change, torch.inf)
    outside = change.isinf()
    rough = (change >= tolerance) & ~outside
    found = Evidence(
        integrals.log_z[0], change, "quadrature", flagged=torch.zeros_like(outside), why=why, change=change
    )
    return found.doubted(
        (
            outside,
            lambda: (
                "p(x, z) does not vanish far from the prior's mass: the integral goes on beyond the grid, and "
                "log p(x) is at least the value"
            ),
        ),
        (
            rough,
            lambda: (
                f"the grid could not be made fine enough for {tolerance:g} nats: its last doubling, or the "
                f"rounding of log p(x, z), still changed log p(x) by up to {float(change[rough].max()):.2g}, which "
                "stands as their standard error"
            ),
        ),
    )
