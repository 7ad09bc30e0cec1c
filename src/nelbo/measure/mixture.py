"""Log p(x) by importance sampling from a mixture: q(z|x), the prior, and normals fitted to p(z|x) from several starts.

Draws from q(z|x) alone say nothing of a part of the posterior that q(z|x) misses: where q sits beside the posterior, or
on one of its modes, all weights may agree on a value that is nats too low. Here a fifth of the draws is still made from
q(z|x) and the prior, which bound the weights from above; the others come from local posteriors, found in three steps:

1. starts: the center of q(z|x), and those of some draws of the prior at which p(x, z) is largest;
2. from each start a quasi-Newton ascent to a mode of p(z|x);
3. around the best modes a normal, moved and widened until it matches the slopes of log p(x, z) that it meets one
   standard deviation out in every direction (the fixed point of variational inference with a full covariance).

All draws are weighted by the density of the whole mixture. The mixture is fixed before the first of them is made, so
the mean weight is p(x) whatever the three steps found. The draws of each component, weighted by its density alone, are
an estimate of their own: where that of q(z|x) is lower, q(z|x) misses a part of the posterior that another finds.

Sources: Owen & Zhou 2000, "Safe and effective importance sampling" (defensive mixtures); Veach & Guibas 1995,
"Optimally combining sampling techniques" (the balance heuristic); Bugallo et al. 2017, "Adaptive importance sampling".
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from nelbo import latents
from nelbo.devices import widened
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.measure.evidence import Evidence, Finite
from nelbo.measure.importance import Weights, at_draws, refuse_points, weighted
from nelbo.measure.quadrature import Joint, by_condition
from nelbo.randomness import derive, normal

_FROM_Q, _FROM_PRIOR, _BLOCK = 3, 1, 20
"""Of a block of so many draws, those from q(z|x) and from the prior; the others come from local posteriors."""
_RANKS = (8, 3, 2, 2, 1)
"""Draws of a block from each local posterior, best first; the best has also what is left of the block."""
_WITHOUT_MODES = (15, 5)
"""Draws of a block from q(z|x) and from the prior, where there are no local posteriors."""
COMPONENTS = ("q(z|x)", "prior", "fits")
_NO_SLOPE = (
    "log p(x|z) has no slope in z: the decoder leaves torch (.numpy(), .item(), .detach()) or does not use z, so that "
    "nothing could be fitted to p(z|x), and z was drawn from q(z|x) and the prior alone: log p(x) is too low where "
    "both miss a part of p(z|x). Keep the decoder's operations in torch"
)
_MOST_FITTED = 1024
"""Latent units up to which normals are fitted to p(z|x), whose covariances are matrices of their squares."""
_TOO_MANY = (
    f"normals are fitted to p(z|x) in up to {_MOST_FITTED:,} latent dimensions, of which there are {{latent:,}}: z was "
    "drawn from q(z|x) and the prior alone, so that log p(x) is too low where both miss a part of p(z|x)"
)
_PER_MATRIX = 64  # numbers of a covariance that take as much memory as one that the network is given or gives
_FREEDOM = 7
"""Degrees of freedom of Student's t, whose tails are heavier than a normal's."""
_ROUNDS = 3  # of a fit
_FLATTEST = 0.1  # curvature of log p(x, z), times the prior's variance
_TILE = 64  # draws of the prior that are decoded at once
_MOST_SCREENED = 4096
_APART, _FAR = 3.0, 0.5
"""Between two starts, in each direction: standard deviations of q(z|x); of the prior, for half of the starts."""
_LONGEST = 24  # steps of an ascent
_SCREENED = 0.5  # of the number of draws: draws of the prior that are shared, among which starts are looked for
_SLOPES = 1 / 3  # of the draws: how many are spent on slopes


class Modes(NamedTuple):
    """Local posteriors: t distributions around ``center`` with the scale ``tril``."""

    center: Tensor
    """(k, n, d)."""
    tril: Tensor
    """(k, n, d, d) lower triangular."""
    level: Tensor
    """(k, n) logarithm of the mass that each stands for, but for a constant."""

    def where(self, better: Tensor, others: "Modes") -> "Modes":
        """These where ``better``, (k, n), and else the others."""
        pairs = zip(self, others, strict=True)
        return Modes(*(torch.where(_beside(better, mine), mine, its) for mine, its in pairs))

    def ordered(self) -> "Modes":
        """The best of each example first."""
        # starts that end in one mode differ by rounding, which shall not decide
        order = (100 * self.level).round().argsort(dim=0, descending=True, stable=True)
        return Modes(*(part.gather(0, _beside(order, part).expand_as(part)) for part in self))

    def __add__(self, others: "Modes") -> "Modes":  # pyright: ignore[reportIncompatibleMethodOverride]
        return Modes(*(torch.cat(pair) for pair in zip(self, others, strict=True)))

    def first(self, k: int) -> "Modes":
        return Modes(*(part[:k] for part in self))

    def rest(self, k: int) -> "Modes":
        return Modes(*(part[k:] for part in self))


def _beside(flags: Tensor, part: Tensor) -> Tensor:
    """Flags (k, n) in the dimensions of a part of Modes."""
    return flags.reshape(*flags.shape, *(1,) * (part.dim() - 2))


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _log_volume(tril: Tensor) -> Tensor:
    return tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


@final
class LogJoint:
    """Log p(x, z) and its slope, (k, n) and (k, n, d), at flat z of shape (k, n, d)."""

    def __init__(self, part: Evaluation) -> None:
        self.part, self.model, self.pz, self.finite = part, part.conditioned, part.pz, Finite()

    def has_slope(self) -> bool:
        """Whether log p(x|z) can be differentiated: not where a decoder leaves torch, or ignores z."""
        with torch.enable_grad():
            z = self.part.embedding.detach().requires_grad_()
            try:
                value = self.model.log_likelihood(self.part.x, z)
                slopes: Any = torch.autograd.grad(value.sum(), z, allow_unused=True)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError):  # torch's, and that of other libraries given its tensors
                return False
        return slopes[0] is not None

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        found: list[tuple[Tensor, Tensor]] = []
        for some in z.split(rows_at_once(len(self.part) * self.part.features, on=z.device)):
            with torch.enable_grad():
                at = some.detach().requires_grad_()
                codes = at.unflatten(-1, self.pz.event_shape)
                joint = self.model.log_likelihood(self.part.x, codes) + self.pz.log_prob(codes)
                (slope,) = torch.autograd.grad(joint.sum(), at)
            # a density of 0, as beyond the ends of a prior, has no slope
            found.append((self.finite(joint.detach()), slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)))
        value, slope = (torch.cat(column) for column in zip(*found, strict=True))
        return value, slope


def climbed(joint: LogJoint, z: Tensor, scale: Tensor, steps: int) -> Modes:
    """Modes of log p(x, z), by quasi-Newton ascents (BFGS) whose steps are no longer than a radius that they adapt.

    Args:
        joint: what is climbed.
        z: (k, n, d) the starts.
        scale: (n, d) standard deviations to begin with.
        steps: slopes that may be taken from each start.
    """
    d = z.shape[-1]
    covariance = torch.diag_embed(scale.square()).expand(*z.shape, d)
    widest = latents.spread(joint.pz, joint.part.keys("spread")).flatten(-len(joint.pz.event_shape)).clamp(min=1e-6)
    value, slope = joint(z)
    radius = torch.full_like(value, 3 * math.sqrt(d))
    for _ in range(steps - 1):
        step = _times(covariance, slope)
        length = (step / scale).norm(dim=-1)
        step = step * (radius / length.clamp(min=1e-12)).clamp(max=1)[..., None]
        length = torch.minimum(length, radius)
        new_value, new_slope = joint(z + step)
        fall = slope - new_slope
        curved = (step * fall).sum(-1)
        # a mode is no wider than the prior by much, whatever rounding says of the slopes at its top
        usable = curved > _FLATTEST * (step / widest).square().sum(-1)
        rho = (usable / torch.where(usable, curved, 1.0))[..., None, None]
        along = covariance @ fall[..., None]
        cross = along * step[..., None, :]
        outer = step[..., :, None] * step[..., None, :]
        covariance = covariance + rho * ((1 + rho * (fall[..., None, :] @ along)) * outer - cross - cross.mT)
        better = new_value > value
        radius = torch.where(better, torch.maximum(2 * length, radius), 0.3 * length)
        z = torch.where(better[..., None], z + step, z)
        slope = torch.where(better[..., None], new_slope, slope)
        value = torch.where(better, new_value, value)
    tril, failed = torch.linalg.cholesky_ex(covariance)
    sound = (failed == 0) & tril.isfinite().all(-1).all(-1)
    tril = torch.where(sound[..., None, None], tril, torch.diag_embed(scale).expand_as(tril))
    return Modes(z, tril, value - 0.5 * d + _log_volume(tril))  # of a normal, E[log f] is d / 2 below its top


def fitted(joint: LogJoint, modes: Modes, rounds: int) -> Modes:
    """The modes as normals that are moved and widened until they match the slopes around them.

    With z = m + L e and e ~ N(0, I), the best normal has E[df/dz] = 0 and -L' E[d^2 f / dz^2] L = I. Both expectations
    are taken over the 2 d points e = +-sqrt(d) along each axis, and a step is kept where E[f] + log det L rises.
    """
    reach = math.sqrt(modes.center.shape[-1])
    trial, best = modes, modes._replace(level=torch.full_like(modes.level, -torch.inf))
    for number in range(rounds + 1):
        columns = reach * trial.tril.movedim(-1, 0)
        value, slope = joint(torch.cat([trial.center + columns, trial.center - columns]).flatten(0, 1))
        value, slope = (part.unflatten(0, (2, len(columns), -1)) for part in (value, slope))
        trial = trial._replace(level=value.mean((0, 1)) + _log_volume(trial.tril))
        better = trial.level > best.level
        last, best = best, trial.where(better, best)
        if number == rounds:
            break
        bend = torch.einsum("knai,jkna->knij", trial.tril, slope[1] - slope[0]) / (2 * reach)
        precision, axes = torch.linalg.eigh(0.5 * (bend + bend.mT).nan_to_num(nan=1.0))
        root = trial.tril @ axes * precision.clamp(0.1, 50)[..., None, :].rsqrt()
        covariance = root @ root.mT
        tril, failed = torch.linalg.cholesky_ex(covariance)
        tril = torch.where(_beside(failed == 0, tril), tril, trial.tril)
        slopes = slope.mean((0, 1))
        move = _times(covariance, slopes)
        # what is told by points at a distance of sqrt(d) says nothing of places that are farther
        far = (slopes * move).sum(-1).clamp(min=0).sqrt()
        move = move * (reach / far.clamp(min=1e-12)).clamp(max=1)[..., None]
        onward = Modes(trial.center + move, tril, trial.level)
        halfway = Modes(0.5 * (trial.center + last.center), 0.5 * (trial.tril + last.tril), trial.level)
        trial = onward.where(better, halfway)
    return best.where(best.level.isfinite(), modes)


def _starts(part: Evaluation, draws: int, k: int) -> Tensor:
    """(k, n, d): the center of q(z|x), and of some draws of the prior those where p(x, z) is largest, but apart.

    The draws are the same for all examples (of one condition), so that they are decoded once; no weight comes of them.
    """
    d, scale = part.latent, part.spread.flatten(1)
    found = torch.empty(k - 1, len(part), d, dtype=scale.dtype, device=scale.device)
    tiles = -(-draws // _TILE)
    for same, group, model, pz in by_condition(part):
        key = torch.tensor([derive(part.seed, "starts")], device=scale.device)
        z = latents.draw(pz, tiles * _TILE, key)[:, 0]
        joint = Joint(group, model, pz, z, z)
        tile = z.unflatten(0, (tiles, _TILE))
        everyone = torch.arange(len(group), device=scale.device)
        value = joint(tile, [everyone] * tiles)[0].unflatten(0, (tiles, -1))
        joint.finite.check()
        value, z = value.transpose(0, 1).flatten(1), z.flatten(1)
        near = _APART * d**0.5 * scale[same].square().mean(1).sqrt()
        far = (_FAR * z.var(0).sum().sqrt()).expand_as(near)  # one of two modes may have all of the largest values
        closest = torch.cdist(group.embedding.flatten(1), z)
        for number in range(k - 1):
            apart = near if number < (k - 1) // 2 else torch.maximum(near, far)
            best = z[value.masked_fill(closest < apart[:, None], -torch.inf).argmax(1)]
            found[number, same] = best
            closest = torch.minimum(closest, torch.cdist(best, z))
    return torch.cat([part.embedding.flatten(1)[None], found])


@final
class Mixture:
    """The proposal of some examples: q(z|x), the prior, and local posteriors, which are looked for at once.

    Args:
        part: the examples; the model is in evaluation mode.
        samples: draws that are to be made, which what the search costs is a share of.
        modes: the local posteriors, where they are known.
        weights: of the draws of each component alone, where some were made.
    """

    def __init__(
        self, part: Evaluation, samples: int, modes: Modes | None = None, weights: Sequence[Weights] | None = None
    ) -> None:
        self.part, self.samples = part, samples
        self.modes = self._search() if modes is None else modes
        k = len(self.modes.level)
        others = _RANKS[1:k]
        best = _BLOCK - _FROM_Q - _FROM_PRIOR - sum(others)
        self.shares = (_FROM_Q, _FROM_PRIOR, best, *others) if k else _WITHOUT_MODES
        tril = self.modes.tril
        self.inverse = torch.linalg.inv(tril)
        self.log_shares = torch.tensor(self.shares, dtype=tril.dtype, device=tril.device).log() - math.log(_BLOCK)
        self.members = [slice(0, 1), slice(1, 2), slice(2, None)][: len(self.shares)]
        self.weights = [Weights(len(part), 0, part.device) for _ in self.members] if weights is None else weights

    @classmethod
    def without_modes(cls, part: Evaluation, samples: int) -> "Mixture":
        """Q(z|x) and the prior alone."""
        z = part.embedding.flatten(1)[None][:0]
        return cls(part, samples, Modes(z, torch.diag_embed(z), z.sum(-1)))

    def _search(self) -> Modes:
        part, slopes = self.part, int(_SLOPES * self.samples)
        k, d = len(_RANKS), part.latent
        starts = _starts(part, min(_MOST_SCREENED, int(_SCREENED * self.samples)), k)
        steps = min(_LONGEST, max(1, slopes // (3 * k)))
        joint = LogJoint(part)
        modes = climbed(joint, starts, part.spread.flatten(1).clamp(min=1e-6), steps).ordered()
        left = (slopes - steps * k) // (2 * d)
        rounds = min(_ROUNDS, left - 1)
        if rounds > 0:
            some = min(k, left // (rounds + 1))
            modes = (fitted(joint, modes.first(some), rounds) + modes.rest(some)).ordered()
        joint.finite.check()
        return modes

    def __getitem__(self, which: Tensor) -> "Mixture":
        weights = [some[which] for some in self.weights]
        return Mixture(self.part[which], self.samples, Modes(*(part[:, which] for part in self.modes)), weights)

    def alone(self) -> Tensor:
        """Log p(x) and its standard error by the draws of each component alone, (2 * components, examples)."""
        return torch.stack([row for some in self.weights for row in (some.log_mean, some.standard_error)])

    def draws(self, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws z, (samples, n, latent), in whole blocks, and the log-densities of the prior and the mixture there."""
        z, log_pz, each = self._draws(0, -(-samples // _BLOCK))
        return z, log_pz, torch.logsumexp(each, 0)

    def log_weights(self, stop: int, *, start: int = 0) -> Iterator[Tensor]:
        """Log p(x, z) - log of the mixture's density at draws ``start`` to ``stop``, multiples of a block."""
        blocks = rows_at_once(len(self.part) * self.part.latent * _BLOCK, passes=4, on=self.part.device)
        finite = Finite()
        for first in range(start // _BLOCK, stop // _BLOCK, blocks):
            some = min(blocks, stop // _BLOCK - first)
            z, log_pz, each = self._draws(first, some)
            log_mixture = torch.logsumexp(each, 0)
            log_w = torch.cat(list(at_draws(self.part, z, log_pz, log_mixture, finite)))
            yield log_w
            begin = 0
            for members, weights in zip(self.members, self.weights, strict=True):
                share = sum(self.shares[members])
                drawn = slice(begin, begin + share * some)
                log_own = torch.logsumexp(each[members, drawn], 0) - math.log(share / _BLOCK)
                weights.add(log_w[drawn] + widened(log_mixture[drawn] - log_own))
                begin = drawn.stop
        finite.check()

    def _draws(self, first: int, blocks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws z of some blocks, the log-density of the prior there, and each member's of the mixture with its share.

        Those of a member stand together, in the order of the shares.
        """
        part, modes, d = self.part, self.modes, self.part.latent
        codes: list[Tensor] = []
        for number, share in enumerate(self.shares):
            keys = part.keys(f"mixture {number}")
            if number < 2:
                q = part.qz if number == 0 else part.pz
                codes.append(latents.draw(q, share * blocks, keys, start=share * first).flatten(2))
                continue
            noise = normal(keys, share * blocks, d + _FREEDOM, start=share * first).to(modes.tril.dtype)
            wide = (noise[..., d:].square().mean(-1, keepdim=True)).rsqrt()
            codes.append(modes.center[number - 2] + _times(modes.tril[number - 2], noise[..., :d] * wide))
        z = torch.cat(codes)
        at = z.unflatten(-1, part.pz.event_shape)
        log_pz = part.pz.log_prob(at)
        off = self.inverse @ (z.permute(1, 2, 0) - modes.center[..., None])  # (k, n, d, draws)
        log_t = -0.5 * (_FREEDOM + d) * torch.log1p(off.square().sum(2) / _FREEDOM).movedim(-1, 1)
        constant = math.lgamma((_FREEDOM + d) / 2) - math.lgamma(_FREEDOM / 2) - 0.5 * d * math.log(_FREEDOM * math.pi)
        log_t = log_t + (constant - _log_volume(modes.tril))[:, None]
        each = torch.cat([torch.stack([part.qz.log_prob(at), log_pz]), log_t])
        return at, log_pz, each + self.log_shares[:, None, None]


def by_mixture(
    evaluation: Evaluation, *, samples: int | None, target_standard_error: float | None, why: str, progress: bool
) -> Evidence:
    """Log (1/S sum_s p(x, z_s) / mixture(z_s)) with z_s from the mixture: on average a lower bound of log p(x).

    Args:
        evaluation: whose model is in evaluation mode.
        samples: S; None means 1,000, or as many as the standard error needs.
        target_standard_error: draw until each example reaches it, 100,000 draws at most.
        why: for the result.
        progress: show a bar.
    """
    refuse_points(evaluation)
    latent = evaluation.latent
    few = latent <= _MOST_FITTED
    fits = few and LogJoint(evaluation[:1]).has_slope()
    matrices = len(_RANKS) * latent**2 // _PER_MATRIX if fits else 0
    return weighted(
        evaluation,
        Mixture if fits else Mixture.without_modes,
        "mixture",
        samples=samples,
        target_standard_error=target_standard_error,
        numbers=max(evaluation.features, matrices),
        why=why,
        progress=progress,
        block=_BLOCK,
        components=COMPONENTS if fits else COMPONENTS[:2],
        notes=() if fits else (_NO_SLOPE if few else _TOO_MANY.format(latent=latent),),
    )
