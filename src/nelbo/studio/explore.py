"""What the explorers ask of Python: the same numbers from nelbo, with their standard errors."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Cauchy,
    Distribution,
    Exponential,
    Laplace,
    MixtureSameFamily,
    Normal,
    Poisson,
    StudentT,
)

from nelbo import divergences
from nelbo.divergences import SkewNormal, TruncatedNormal
from nelbo.estimate import Estimate
from nelbo.studio.session import Buffers, Content, Reply, Session, answers

Numbers = Callable[..., Tensor]
"""Parameters by name, as one tensor of float64."""


def _truncated(of: Numbers) -> Distribution:
    low = torch.minimum(of("low"), of("high") - 1e-6)
    return TruncatedNormal(of("mu"), of("sigma"), low=low, high=of("high"))


def _mixture(of: Numbers) -> Distribution:
    share = of("weight")
    return MixtureSameFamily(
        Categorical(torch.stack([1 - share, share])), Normal(of("mu", "mu2"), of("sigma", "sigma2"))
    )


_FAMILIES: dict[str, Callable[[Numbers], Distribution]] = {
    "normal": lambda of: Normal(of("mu"), of("sigma")),
    "laplace": lambda of: Laplace(of("mu"), of("sigma")),
    "cauchy": lambda of: Cauchy(of("mu"), of("sigma")),
    "student": lambda of: StudentT(of("nu"), of("mu"), of("sigma")),
    "skew": lambda of: SkewNormal(of("mu"), of("sigma"), skew=of("skew")),
    "truncated": _truncated,
    "mixture": _mixture,
    "exponential": lambda of: Exponential(of("rate")),
    "bernoulli": lambda of: Bernoulli(of("prob")),
    "poisson": lambda of: Poisson(of("rate")),
}


def distribution(parameters: Content) -> Distribution:
    """The distribution that the explorer's parameters stand for, in float64; those of other families may be there.

    Raises:
        ValueError: an unknown family.
        KeyError: a parameter is missing.
    """

    def of(*names: str) -> Tensor:
        values = [float(parameters[name]) for name in names]
        return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)

    build = _FAMILIES.get(parameters["family"])
    if build is None:
        raise ValueError(f"no family {parameters['family']!r}; expected one of {', '.join(_FAMILIES)}")
    return build(of)


@answers("explore.kl")
def kl(_: Session, content: Content, __: Buffers) -> Reply:
    """Both KL divergences as [value, standard error, method], and W2, or null where there is no number to show."""
    p, q = distribution(content["p"]), distribution(content["q"])
    with torch.no_grad():
        both = [divergences.kl(a, b, seed=0) for a, b in ((p, q), (q, p))]
        w2 = _transport(p, q)
    return Reply({"pq": _plain(both[0]), "qp": _plain(both[1]), "w2": w2})


def _transport(p: Distribution, q: Distribution) -> float | None:
    """W2 to three digits at least; None for a family without a cdf, and where a heavy tail leaves fewer digits."""
    try:
        found = divergences.wasserstein(p, q, order=2)
    except ValueError:
        return None
    value, error = float(found), float(found.standard_error)
    return value if math.isfinite(value) and error <= 1e-3 * value else None


def _plain(e: Estimate) -> list[Any]:
    return [float(e), float(e.standard_error), e.method]
