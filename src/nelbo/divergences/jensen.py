"""Jensen's inequality, and the chain from log p(x) to the ELBO on a model where every term is exact."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from nelbo.divergences.divergence import type_name
from nelbo.divergences.exact_sum import counts_of
from nelbo.divergences.integration import integrate
from nelbo.divergences.normals import normal_kl
from nelbo.divergences.supports import is_discrete, scalar_support


@dataclass(frozen=True)
class Jensen:
    """E[f(X)] >= f(E[X]) for convex f.

    Attributes:
        mean_of_f: E[f(X)], shape batch_shape.
        f_of_mean: f(E[X]).
        error: the estimated error of both.
    """

    mean_of_f: Tensor
    f_of_mean: Tensor
    error: Tensor

    @property
    def gap(self) -> Tensor:
        """E[f(X)] - f(E[X]), which is 0 exactly if f is linear where X lives or X does not vary."""
        return self.mean_of_f - self.f_of_mean


def jensen(f: Callable[[Tensor], Tensor], x: Distribution) -> Jensen:
    """Compute both sides of Jensen's inequality for a univariate X, by quadrature or by a sum.

    Args:
        f: an elementwise function; convex, for the gap to be >= 0.
        x: the distribution of X, event_shape ().

    Raises:
        ValueError: for vectors, and for supports that are not intervals.

    >>> from torch.distributions import Uniform
    >>> float(jensen(lambda x: -x.log(), Uniform(1.0, 3.0)).gap)  # log 2 - (3 log 3 - 2)/2
    0.0452287...
    """
    if x.event_shape or scalar_support(x) is None:
        raise ValueError(
            f"jensen: X = {type_name(x)} has event_shape {tuple(x.event_shape)}; expected a univariate distribution, "
            "as in jensen(torch.exp, Normal(0.0, 1.0))."
        )
    if is_discrete(x):
        values, mass, _ = counts_of(x, x)
        grid = values.reshape(-1, *(1 for _ in x.batch_shape))

        def weighted(g: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            terms = torch.where(mass > 0, mass * g(grid.expand_as(mass)), 0.0)
            return terms.sum(0), 2.3e-16 * terms.abs().sum(0)
    else:

        def weighted(g: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            # x itself comes along in place of a second log-density
            def density_then_value(d: Any, at: Tensor) -> Tensor:
                return at if isinstance(d, _Value) else d.log_prob(at)

            def integrand(log_p: Tensor, at: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
                mass = torch.exp(log_p + log_dx)
                value = torch.where(mass > 0, mass * g(at), 0.0)
                return value, value.abs()

            result = integrate(integrand, x, _Value(x, 0), over_p=True, of=density_then_value)
            return torch.where(result.diverges, torch.inf, result.value), result.error

    mean_of_f, error = weighted(f)
    mean, mean_error = weighted(lambda v: v)
    return Jensen(mean_of_f, f(mean), error + mean_error)


class _Value(Independent):
    """A second distribution for `integrate`, which lives where X does."""


@dataclass(frozen=True)
class Chain:
    """The terms from log p(x) to the ELBO for one x, in nats; all exact.

    Attributes:
        log_evidence: log p(x) = log E_q[p(x, z)/q(z)].
        reconstruction_error: -E_q[log p(x|z)].
        kl: KL(q(z) || p(z)).
        elbo: -(reconstruction_error + kl) = E_q[log(p(x, z)/q(z))], which Jensen puts below log_evidence.
        gap_to_posterior: KL(q(z) || p(z|x)), which is log_evidence - elbo.
    """

    log_evidence: Tensor
    reconstruction_error: Tensor
    kl: Tensor
    elbo: Tensor
    gap_to_posterior: Tensor


def elbo_chain(x: Tensor | float, qz: Normal, *, weight: Tensor | float = 1.0, noise: Tensor | float = 1.0) -> Chain:
    """Compute every term of the bound for z ~ N(0, 1), x | z ~ N(weight z, noise^2) and any normal q(z).

    log p(x) = log E_q[p(x, z)/q(z)] >= E_q[log(p(x, z)/q(z))] = -reconstruction_error - kl, by Jensen for the concave
    log; log p(x) - ELBO = KL(q(z) || p(z|x)), with p(z|x) = N(weight x / v, noise^2 / v), v = weight^2 + noise^2.

    Args:
        x: the data, any shape.
        qz: a normal over z whose parameters broadcast with x.
        weight: of z in the mean of x.
        noise: standard deviation of x given z, > 0.

    Raises:
        ValueError: where noise is not positive.
    """
    x, w, s = (torch.as_tensor(value, dtype=qz.loc.dtype, device=qz.loc.device) for value in (x, weight, noise))
    if not bool((s > 0).all()):
        raise ValueError(f"elbo_chain: noise must be a positive standard deviation, got {noise}.")
    total = w * w + s * s
    log_evidence = -0.5 * (math.log(2 * math.pi) + total.log() + x * x / total)
    miss = (x - w * qz.loc) ** 2 + (w * qz.scale) ** 2
    reconstruction_error = 0.5 * (math.log(2 * math.pi) + 2 * s.log() + miss / (s * s))
    prior = Normal(torch.zeros_like(qz.loc), torch.ones_like(qz.scale), validate_args=False)
    posterior = Normal(w * x / total, s / total.sqrt() * torch.ones_like(x), validate_args=False)
    kl = normal_kl(qz, prior)
    return Chain(
        log_evidence=log_evidence,
        reconstruction_error=reconstruction_error,
        kl=kl,
        elbo=-(reconstruction_error + kl),
        gap_to_posterior=normal_kl(qz, posterior),
    )
