"""The aggregate posterior q(z) of a data set, and whether the codes lie where the prior says."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.devices import widened
from nelbo.divergences import TestResult, classifier_test, mmd_test
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, rows_at_once, within_memory
from nelbo.measure.importance import refuse_codes
from nelbo.randomness import folded, generator

LEVEL = 0.02
"""Mass of q(z) where it counts as absent: a prior that equals q(z) has this much in holes."""
_NEIGHBOURS = 5
_BOOTSTRAPS = 200
_PASSES = 8  # a row of densities costs little beside the call


class LogDensities(NamedTuple):
    """Logarithms of densities at z ~ q(z|x_i), each (m,), in nats."""

    given_x: Tensor
    """log q(z|x_i)."""
    aggregate: Tensor
    """log q(z)."""
    units: Tensor | None
    """sum_d log q_d(z_d), or None where the posterior's marginals have no closed form."""


@final
class AggregatePosterior:
    """q(z) = 1/N sum_j q(z|x_j), the exact mixture of N posteriors; densities are streamed, N at a time.

    Args:
        qz: batch shape (N,), event shape (latent,); no points, which have no density.
    """

    def __init__(self, qz: Distribution) -> None:
        self.qz = qz
        self.examples, self.latent = qz.batch_shape[0], qz.event_shape.numel()
        self._units = latents.marginals(qz)
        self._products = _products(qz)

    def log_prob(self, z: Tensor, *, without: Tensor | None = None) -> Tensor:
        """Log q(z), (m,), float64.

        Args:
            z: (m, latent).
            without: (m,) for each z the number of the one posterior that is left out of its mixture.
        """
        parts: list[Tensor] = []
        rows = (
            rows_at_once(self.examples, passes=_PASSES, on=z.device)
            if self._products is not None
            else self._rows(z.device)
        )
        for start in range(0, len(z), rows):
            pairs = self._joint(z[start : start + rows])
            if without is not None:
                pairs.scatter_(1, without[start : start + rows, None], -torch.inf)
            parts.append(widened(torch.logsumexp(pairs, 1)))
        return torch.cat(parts) - math.log(self.examples - (without is not None))

    def log_densities(self, z: Tensor, own: Tensor) -> LogDensities:
        """The densities in the parts of the KL, at z: (m, latent), z_i ~ q(z|x_j) with j = own[i]."""
        given: list[Tensor] = []
        aggregate: list[Tensor] = []
        alone: list[Tensor] = []
        rows = self._rows(z.device)
        for start in range(0, len(z), rows):
            part, mine = z[start : start + rows], own[start : start + rows, None]
            per_unit = None if self._units is None else self._units.log_prob(part[:, None])
            pairs = self._joint(part)
            given.append(widened(pairs.gather(1, mine)[:, 0]))
            aggregate.append(widened(torch.logsumexp(pairs, 1)))
            if per_unit is not None:
                # no maximum is taken out first: z's own posterior is in the sum, and its density is no small number
                alone.append(widened(per_unit.exp_().sum(1)).log().flatten(1).sum(-1))
        log_n = math.log(self.examples)
        return LogDensities(
            torch.cat(given),
            torch.cat(aggregate) - log_n,
            torch.cat(alone) - self.latent * log_n if alone else None,
        )

    def _joint(self, z: Tensor) -> Tensor:
        """Log q(z_i|x_j), (m, N)."""
        if self._products is not None:
            constant, linear, precision = self._products
            z = widened(z)
            return torch.addmm(constant, z, linear.T).addmm_(z.square(), precision.T, alpha=-0.5)
        return self.qz.log_prob(z[:, None].expand(-1, self.examples, -1))

    def _rows(self, on: torch.device) -> int:
        return rows_at_once(self.examples * self.latent, passes=_PASSES, on=on)


def _products(qz: Distribution) -> tuple[Tensor, Tensor, Tensor] | None:
    """The coefficients of log N(z; mu_j, sigma_j^2), with squares multiplied out: two matrix products give all pairs.

    In float64: the squares cancel where posteriors are narrow. None where q(z|x) is not a diagonal normal.
    """
    units = latents.marginals(qz)
    if units is None or len(qz.event_shape) != 1 or not latents.factorizes(qz) or not latents.has_moments(qz):
        return None
    loc, scale = widened(units.mean), widened(units.stddev).expand_as(units.mean)
    precision = scale**-2
    constant = -(scale.log() + 0.5 * loc.square() * precision + 0.5 * math.log(2 * math.pi)).sum(1)
    return constant, loc * precision, precision


@dataclass(frozen=True, eq=False)
class AggregateMatch:
    """The aggregate posterior q(z) = E_x q(z|x) beside the prior p(z).

    Attributes:
        mmd: permutation test of z ~ q(z) against z ~ p(z).
        classifier: how often a nearest-neighbour vote tells a code from a draw of the prior; 1/2 if it cannot.
        holes: share of the prior's mass where no data live, 0 to 1; ``LEVEL`` where p(z) = q(z).
        draws: from each of the two.
        examples: whose posteriors make up q(z).
    """

    mmd: TestResult
    classifier: TestResult
    holes: Estimate
    draws: int
    examples: int


@within_memory
def aggregate_match(model: Any, x: Any, *, draws: int = 1000, seed: int = 0) -> AggregateMatch:
    """Two-sample tests of q(z) against p(z), and the share of the prior's mass where no data live.

    A hole is where q(z) / p(z) is lower than at all but 2 % of the codes z ~ q(z) themselves, each judged by the
    posteriors of the other examples. For an autoencoder, whose q(z|x) have no density, the distance to the 5th nearest
    code gives that of q(z).

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (n, \\*event), or a Dataset, which is encoded once for whoever asks.
        draws: from q(z) and from p(z), at most n.
        seed: of the draws and of the tests; torch's generators are left as they were.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: fewer than 20 examples.
    """
    evaluation = evaluate(model, x, seed=seed)
    refuse_codes(evaluation.model)
    with evaluation_mode(evaluation.model, seed):
        codes, fresh, ratio = prior_and_codes(evaluation, draws)
        holes = ratio.holes(fresh, seed)
    z, fresh = codes.cpu(), fresh.cpu()
    return AggregateMatch(
        mmd_test(z, fresh, permutations=200, seed=seed),
        classifier_test(z, fresh, seed=seed),
        holes,
        len(z),
        len(evaluation),
    )


@final
class DensityRatio:
    """Log q(z) - log p(z), and the level that all but 2 % of the codes z ~ q(z) exceed: below it lie the holes.

    Args:
        codes: (N, d), a draw z ~ q(z|x_j) of each example, or their coordinates in a plane.
        own: (m,) numbers of the codes that set the level, each judged by the posteriors of the other examples.
        qz: batch shape (N,), event shape (d,); None for points, whose density the 5th nearest code gives.
        log_prior: log p(z), (k,), at z: (k, d).
    """

    def __init__(
        self, codes: Tensor, own: Tensor, qz: Distribution | None, log_prior: Callable[[Tensor], Tensor]
    ) -> None:
        self.codes, self.own, self.log_prior = codes, own, log_prior
        self.density = None if qz is None else AggregatePosterior(qz)
        z = codes[own]
        if self.density is None:
            inside = -z.shape[1] * _reach(z, codes, itself=True).log()
        else:
            inside = self.density.log_prob(z, without=own)
        self.inside = (inside - log_prior(z)).cpu().double()

    def __call__(self, z: Tensor) -> Tensor:
        """At z: (k, d), up to a constant for points; (k,), float64, on the CPU."""
        if self.density is None:
            outside = -z.shape[1] * _reach(z, self.codes, itself=False).log()
        else:
            outside = self.density.log_prob(z)
        return (outside - self.log_prior(z)).cpu().double()

    def is_hole(self, z: Tensor) -> Tensor:
        """Whether each z: (k, d) lies in a hole, (k,)."""
        return self(z) < torch.quantile(self.inside, LEVEL)

    def holes(self, fresh: Tensor, seed: int) -> Estimate:
        """The share of the prior's mass in holes, from draws of it, (m, d); the error by bootstrap."""
        by = "" if self.density is not None else f", q(z) by the {_NEIGHBOURS}th nearest code"
        return _holes(self.inside, self(fresh), f"{LEVEL:.0%} quantile of q(z) / p(z){by}", seed)


def prior_and_codes(evaluation: Evaluation, draws: int) -> tuple[Tensor, Tensor, DensityRatio]:
    """As many codes z ~ q(z) as draws of p(z), (m, latent) each, and the ratio of the two densities.

    Args:
        evaluation: of the examples whose posteriors make up q(z); under `evaluation_mode`, which seeds the draws.
        draws: of each, at most as many as there are examples.

    Raises:
        ValueError: fewer than 20 examples.
    """
    n = len(evaluation)
    if n < 20:
        raise ValueError(f"aggregate_match needs 20 or more examples, got {n}; write aggregate_match(vae, data.train)")
    m = min(n, draws)
    codes, own = one_code_each(evaluation, "aggregate", m)
    fresh = evaluation.pz.sample(torch.Size((m,)))
    qz = None if evaluation.is_point else evaluation.qz
    return codes[own], fresh, DensityRatio(codes, own, qz, evaluation.pz.log_prob)


def one_code_each(evaluation: Evaluation, purpose: str, m: int) -> tuple[Tensor, Tensor]:
    """A draw z ~ q(z|x) of every example, (n, latent), and the numbers of m examples, (m,).

    Equal examples get different draws here. The m are those of the smallest keys, whatever the order of the examples.
    """
    keys = evaluation.keys(purpose)
    place = torch.arange(len(keys), device=keys.device)
    ordered, order = keys.sort(stable=True)
    first = torch.where(ordered != ordered.roll(1), place, 0).cummax(0).values
    keys[order] = folded(ordered, place - first)
    return latents.draw(evaluation.qz, keys=keys), keys.argsort(stable=True)[:m]


def _holes(inside: Tensor, outside: Tensor, method: str, seed: int) -> Estimate:
    """The share of ``outside`` below the level that all but 2 % of ``inside`` exceed; the error by bootstrap."""
    source = generator(seed)

    def share(a: Tensor, b: Tensor) -> Tensor:
        return (b < torch.quantile(a, LEVEL)).double().mean()

    def again(values: Tensor) -> Tensor:
        return values[torch.randint(len(values), (len(values),), generator=source)]

    spread = torch.stack([share(again(inside), again(outside)) for _ in range(_BOOTSTRAPS)]).std()
    return Estimate(share(inside, outside), spread, method, "share")


def _reach(z: Tensor, codes: Tensor, *, itself: bool) -> Tensor:
    """Distance of each z to its k-th nearest code, (m,), not counting itself."""
    k = _NEIGHBOURS + itself
    size = rows_at_once(len(codes), passes=_PASSES, on=codes.device)
    parts = [torch.cdist(part, codes).kthvalue(min(k, len(codes)), dim=1).values for part in z.split(size)]
    return torch.cat(parts).clamp(min=1e-30)  # equal codes lie no distance apart
