"""The posteriors of a whole data set, and the aggregate posterior q(z) that they make up."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo.data import Dataset
from nelbo.divergences import Delta
from nelbo.measure.terms import batches_of
from nelbo.vae import Model

_AT_ONCE = 1 << 21  # densities computed together: they stay in the cache
_OTHERS_AT_MOST = 1000
"""Examples of a posterior whose parameters cannot be put one after the other, such as a flow's: all pass at once."""


def posteriors(model: Model, x: Tensor | Dataset, *, seed: int = 0, device: torch.device | None = None) -> Distribution:
    """q(z|x) of every example as one distribution of batch shape (n,); of a flow, of the first 1,000.

    Args:
        model: what encodes.
        x: (n, \\*event), or a Dataset, which is passed through in batches: only the posteriors are kept.
        seed: of a Dataset's random draws.
        device: of the model.
    """
    found: list[Distribution] = []
    for batch in batches_of(x, seed=seed):
        found.append(model.posterior(batch.to(device=device)))
        if not isinstance(_plain(found[0]), Normal | MultivariateNormal | Delta):
            return found[0]
    return joined(found)


def joined(parts: list[Distribution]) -> Distribution:
    """Normals or points of batch shapes (a,), (b,), ... as one distribution of batch shape (a + b + ...,)."""
    first = _plain(parts[0])
    if len(parts) == 1:
        return parts[0]

    def together(name: str) -> Tensor:
        return torch.cat([getattr(_plain(part), name) for part in parts])

    if isinstance(first, Normal):
        return Independent(Normal(together("loc"), together("scale"), validate_args=False), 1, validate_args=False)
    if isinstance(first, MultivariateNormal):
        return MultivariateNormal(together("loc"), scale_tril=together("scale_tril"), validate_args=False)
    return Delta(together("location"))


def _plain(distribution: Distribution) -> Distribution:
    return distribution.base_dist if isinstance(distribution, Independent) else distribution


def units(distribution: Distribution) -> Distribution | None:
    """The marginal distribution of each latent unit, batch shape (*batch, latent); None where it has no closed form."""
    if isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1:
        return distribution.base_dist
    if isinstance(distribution, MultivariateNormal):
        return Normal(distribution.mean, distribution.variance.sqrt(), validate_args=False)
    return None


def factorizes(distribution: Distribution) -> bool:
    """Whether the latent units are independent under it: then the marginals are all there is."""
    return isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1


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
        self.examples, self.latent = qz.batch_shape[0], qz.event_shape[0]
        self._units = units(qz)
        self._products = _products(self._units) if self._units is not None and factorizes(qz) else None

    def log_prob(self, z: Tensor, *, without: Tensor | None = None) -> Tensor:
        """Log q(z), (m,), float64.

        Args:
            z: (m, latent).
            without: (m,) for each z the number of the one posterior that is left out of its mixture.
        """
        found: list[Tensor] = []
        rows = max(1, _AT_ONCE // self.examples) if self._products is not None else self._rows()
        for start in range(0, len(z), rows):
            pairs = self._joint(z[start : start + rows])
            if without is not None:
                pairs.scatter_(1, without[start : start + rows, None], -torch.inf)
            found.append(torch.logsumexp(pairs, 1).double())
        return torch.cat(found) - math.log(self.examples - (without is not None))

    def log_densities(self, z: Tensor, own: Tensor) -> LogDensities:
        """The densities of which the KL is made up, at z: (m, latent), z_i ~ q(z|x_j) with j = own[i]."""
        given: list[Tensor] = []
        aggregate: list[Tensor] = []
        alone: list[Tensor] = []
        rows = self._rows()
        for start in range(0, len(z), rows):
            part, mine = z[start : start + rows], own[start : start + rows, None]
            per_unit = None if self._units is None else self._units.log_prob(part[:, None])
            pairs = self._joint(part)
            given.append(pairs.gather(1, mine)[:, 0].double())
            aggregate.append(torch.logsumexp(pairs, 1).double())
            if per_unit is not None:
                # no maximum is taken out first: z's own posterior is in the sum, and its density is no small number
                alone.append(per_unit.exp_().sum(1).double().log().sum(-1))
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
            z = z.double()
            return torch.addmm(constant, z, linear.T).addmm_(z.square(), precision.T, alpha=-0.5)
        return self.qz.log_prob(z[:, None].expand(-1, self.examples, -1))

    def _rows(self) -> int:
        return max(1, _AT_ONCE // (self.examples * self.latent))


def _products(base: Distribution) -> tuple[Tensor, Tensor, Tensor] | None:
    """What log N(z; mu_j, sigma_j^2) is made of, with squares multiplied out: two matrix products give all pairs.

    In float64: the squares cancel where posteriors are narrow.
    """
    if not isinstance(base, Normal):
        return None
    loc, scale = base.loc.double(), base.scale.double().expand_as(base.loc)
    precision = scale**-2
    constant = -(scale.log() + 0.5 * loc.square() * precision + 0.5 * math.log(2 * math.pi)).sum(1)
    return constant, loc * precision, precision
