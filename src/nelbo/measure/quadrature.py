"""Log p(x) by integrating over z, for one or two latent dimensions."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.measure.estimate import Evidence
from nelbo.measure.importance import warned
from nelbo.measure.inputs import AT_ONCE, center, finite, latent_dimensions, spread
from nelbo.measure.lattice import on_lattices
from nelbo.measure.refinement import integrate
from nelbo.measure.tiles import Guard, Integrals, unknown
from nelbo.measure.waiting import interrupted
from nelbo.progress import ProgressBar
from nelbo.vae import Model

MOST_DIMENSIONS = 2
TOLERANCE = 1e-3
_SHARED = 10_000  # examples that share their grids; more would only take more memory
_DRAWS = 4096
_DECODED = 1 << 20  # numbers decoded together: here a tile costs more by itself than by its points


def by_quadrature(model: Model, x: Tensor, *, tolerance: float = TOLERANCE, why: str, progress: bool) -> Evidence:
    """Log of the integral of p(z) p(x|z) dz on grids that are refined until doubling them changes it little.

    Args:
        model: at rest.
        x: (batch, \\*event), checked.
        tolerance: the largest change in nats.
        why: for the result.
        progress: show a bar.
    """
    d = latent_dimensions(model)
    if d > MOST_DIMENSIONS:
        raise ValueError(
            f"quadrature is for one or two latent dimensions, and this model has {d}: a grid of 100 points along each "
            f'would have 1e{2 * d} points. Write method="importance" or method="annealed"'
        )
    found = unknown(1, len(x))
    start = 0
    with ProgressBar("log p(x) by quadrature", len(x), show=progress) as bar:
        try:
            for part in x.split(_SHARED):
                Joint(model, part).fill(found[start : start + len(part)], tolerance=tolerance, done=bar.advance)
                start += len(part)
        except KeyboardInterrupt as error:
            raise interrupted(_evidence(found, why), int((~found.change.isnan()).sum()), len(x)) from error
    return _with_notes(_evidence(found, why), tolerance)


@final
class Joint:
    """Log p(x, z) at points that all examples share, and where to look for its mass.

    Args:
        model: at rest.
        x: (batch, \\*event), checked.
    """

    def __init__(self, model: Model, x: Tensor) -> None:
        self.model, self.x, self.pz = model, x, model.prior
        self.qz: Distribution = model.posterior(x)
        where = center(self.qz)
        self.like = where
        self.centers = where.double().cpu()
        self.rows: Tensor | None = None

    def __call__(self, z: Tensor, examples: Sequence[Tensor]) -> Tensor:
        """(1, m, points), for a ``tiles.Grid``."""
        found: list[Tensor] = []
        # decoded in parts that stay in the cache
        several = max(1, AT_ONCE // (z.shape[1] * prod(self.x.shape[1:])))
        for start in range(0, len(z), several):
            found += self._log_px(z[start : start + several], examples[start : start + several])
        log_pz = self.pz.log_prob(z)
        of = torch.arange(len(z)).repeat_interleave(torch.tensor([len(index) for index in examples]))
        return finite(torch.cat(found) + log_pz[of.to(log_pz.device)])[None]

    def _log_px(self, z: Tensor, examples: Sequence[Tensor]) -> list[Tensor]:
        """For each tile log p(x|z) of its examples at its points."""
        form = self.model.px_family.linear(self.model.likelihood(z.flatten(0, 1)[:, None]), self.x, self.rows)
        if form is None:
            parts = zip(z, examples, strict=True)
            return [_pairwise(self.model.likelihood(at[:, None]), self._pick(self.x, index)) for at, index in parts]
        self.rows = form.rows
        shape = z.shape[:2]
        parts = zip(form.coefficients.unflatten(0, shape), form.offset.unflatten(0, shape), examples, strict=True)
        return [torch.addmm(add, self._pick(form.rows, index), one.T) for one, add, index in parts]

    def guard(self) -> Guard:
        """The encoder's means, and log p(x, z) there."""
        rows = max(1, AT_ONCE // prod(self.x.shape[1:]))
        parts = zip(self.x.split(rows), self.like.split(rows), strict=True)
        values = [self.model.log_likelihood(x, z) for x, z in parts]
        return Guard(self.centers, (torch.cat(values) + self.pz.log_prob(self.like)).double().cpu()[None])

    def integrals(self, **options: Any) -> Integrals:
        """``refinement.integrate`` over the box, with its other options (tolerance, statistics, done)."""
        low, high = self.box()
        return integrate(
            self, len(self.x), low, high, like=self.like, at_once=self.at_once, guard=self.guard(), **options
        )

    def fill(self, found: Integrals, *, tolerance: float, done: Callable[[int], None]) -> None:
        """Log p(x) on lattices, and where those do not do on tiles; ``found`` is filled in as examples are done."""
        low, high = self.box()
        options: dict[str, Any] = {"like": self.like, "at_once": self.at_once, "tolerance": tolerance, "done": done}
        on_lattices(self, found, low, high, guard=self.guard(), **options)
        left = found.log_z[0].isnan()
        if bool(left.any()):
            rest = Joint(self.model, self._pick(self.x, left.nonzero().flatten()))
            refined = rest.integrals(tolerance=tolerance, done=done)
            found.log_z[:, left], found.change[left] = refined.log_z, refined.change
            found.inside[left] = refined.inside

    @property
    def at_once(self) -> int:
        """Tiles of 64 points that can be decoded together."""
        return max(1, _DECODED // (64 * prod(self.x.shape[1:])))

    @staticmethod
    def _pick(x: Tensor, index: Tensor) -> Tensor:
        # all examples look at most tiles of the coarsest level: no copy of x for those
        return x if len(index) == len(x) else x[index.to(x.device)]

    def box(self, *, around: Distribution | None = None) -> tuple[Tensor, Tensor]:
        """Corners of a box with the prior's mass, the encoder's means, and the mass of ``around``, (latent,) each."""
        draws = self.pz.sample(torch.Size((_DRAWS,))).double().cpu()
        low, high = draws.amin(0), draws.amax(0)
        margin = 0.2 * (high - low)
        low, high = low - margin, high + margin
        try:
            mean, deviation = self.pz.mean.double().cpu(), self.pz.variance.sqrt().double().cpu()
            low, high = torch.minimum(low, mean - 8.5 * deviation), torch.maximum(high, mean + 8.5 * deviation)
        except NotImplementedError:
            pass
        # an encoder may claim any width, and where it is wrong the box grows by itself
        width = torch.minimum(6 * spread(self.qz).double().cpu(), 0.25 * (high - low))
        corners = [low, (self.centers - width).amin(0)], [high, (self.centers + width).amax(0)]
        if around is not None:
            place, far = center(around).double().cpu(), 8 * spread(around).double().cpu()
            corners[0].append((place - far).amin(0))
            corners[1].append((place + far).amax(0))
        return torch.stack(corners[0]).amin(0), torch.stack(corners[1]).amax(0)


def _pairwise(px: Distribution, x: Tensor) -> Tensor:
    """Log p(x_i|z_j) in nats, (batch, points), pair by pair, for px of batch shape (points, 1)."""
    step = max(1, AT_ONCE // (px.batch_shape[0] * prod(x.shape[1:])))
    return torch.cat([px.log_prob(part[None]) for part in x.split(step)], dim=1).T


def _evidence(found: Integrals, why: str) -> Evidence:
    change = torch.where(found.inside, found.change, torch.inf)
    return Evidence(found.log_z[0], change, "quadrature", why=why, change=change)


def _with_notes(found: Evidence, tolerance: float) -> Evidence:
    notes: list[str] = []
    change = found.change
    assert change is not None
    if bool((outside := change.isinf()).any()):
        notes.append(
            f"for {int(outside.sum()):,} of {len(change):,} examples p(x, z) does not vanish far from the prior's "
            "mass: the integral goes on beyond the grid, and log p(x) is at least the value"
        )
    if bool((rough := (change >= tolerance) & change.isfinite()).any()):
        notes.append(
            f"for {int(rough.sum()):,} of {len(change):,} examples the grid could not be made fine enough for "
            f"{tolerance:g} nats: its last doubling still changed log p(x) by up to {float(change[rough].max()):.2g}, "
            "which stands as their standard error"
        )
    return warned(found, notes)
