"""What the explorers ask of Python: the same numbers from nelbo, with their standard errors."""

from typing import Any

import torch
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal

from nelbo import divergences
from nelbo.divergences import SkewNormal, TruncatedNormal
from nelbo.estimate import Estimate
from nelbo.studio.session import Buffers, Content, Reply, Session, answers


def distribution(parameters: Content) -> Distribution:
    """The distribution that the explorer's parameters stand for, in float64.

    Raises:
        ValueError: an unknown family.
        KeyError: a parameter is missing.
    """

    def number(*names: str) -> torch.Tensor:
        values = [float(parameters[name]) for name in names]
        return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)

    family = parameters["family"]
    if family == "normal":
        return Normal(number("mu"), number("sigma"))
    if family == "skew":
        return SkewNormal(number("mu"), number("sigma"), skew=number("skew"))
    if family == "truncated":
        low = torch.minimum(number("low"), number("high") - 1e-6)
        return TruncatedNormal(number("mu"), number("sigma"), low=low, high=number("high"))
    if family == "mixture":
        share = float(parameters["weight"])
        weights = torch.tensor([1 - share, share], dtype=torch.float64)
        return MixtureSameFamily(Categorical(weights), Normal(number("mu", "mu2"), number("sigma", "sigma2")))
    raise ValueError(f"no family {family!r}; expected normal, skew, truncated or mixture")


@answers("explore.kl")
def kl(_: Session, content: Content, __: Buffers) -> Reply:
    """Both KL divergences as [value, standard error, method], and W2."""
    p, q = distribution(content["p"]), distribution(content["q"])
    with torch.no_grad():
        both = [divergences.kl(a, b, seed=0) for a, b in ((p, q), (q, p))]
        w2 = divergences.wasserstein(p, q, order=2)
    return Reply({"pq": _plain(both[0]), "qp": _plain(both[1]), "w2": float(w2)})


def _plain(e: Estimate) -> list[Any]:
    return [float(e), float(e.standard_error), e.method]
