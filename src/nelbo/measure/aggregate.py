"""Do the codes of the data lie where the prior says: the aggregate posterior q(z) against p(z)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.data import Dataset
from nelbo.divergences import Delta, TestResult, classifier_test, mmd_test
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.encoded import AggregatePosterior, posteriors
from nelbo.vae import Model

LEVEL = 0.02
"""Mass of q(z) where it counts as absent: a prior that equals q(z) has this much in holes."""
_NEIGHBOURS = 5
_BOOTSTRAPS = 200


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


def aggregate_match(model: Model, x: Tensor | Dataset, *, draws: int = 1000, seed: int = 0) -> AggregateMatch:
    """Two-sample tests of q(z) against p(z), and the share of the prior's mass where no data live.

    A hole is where q(z) / p(z) is lower than at all but 2 % of the codes z ~ q(z) themselves, each judged by the
    posteriors of the other examples. For an autoencoder, whose q(z|x) have no density, the distance to the 5th nearest
    code gives that of q(z).

    Args:
        model: a VAE, or anything with prior, posterior and likelihood.
        x: (n, \\*event), or a Dataset.
        draws: from q(z) and from p(z), at most n.
        seed: of the draws and of the tests; torch's generators are left as they were.

    Raises:
        ValueError: fewer than 20 examples.
    """
    with evaluation_mode(model, seed) as device:
        qz, pz = posteriors(model, x, seed=seed, device=device), model.prior
        n = qz.batch_shape[0]
        if n < 20:
            raise ValueError(
                f"aggregate_match needs 20 or more examples, got {n}; write aggregate_match(vae, data.train)"
            )
        m = min(n, draws)
        own = torch.randperm(n, device=qz.mean.device if isinstance(qz, Delta) else None)[:m]
        codes, fresh = qz.sample(), pz.sample((m,))
        if isinstance(qz, Delta):
            d = codes.shape[1]
            inside = -d * _reach(codes[own], codes, itself=True).log()
            outside = -d * _reach(fresh, codes, itself=False).log()
            method = f"{LEVEL:.0%} quantile of q(z) / p(z), q(z) by the {_NEIGHBOURS}th nearest code"
        else:
            density = AggregatePosterior(qz)
            inside = density.log_prob(codes[own.to(codes.device)], without=own.to(codes.device))
            outside = density.log_prob(fresh)
            method = f"{LEVEL:.0%} quantile of q(z) / p(z)"
        inside = inside - pz.log_prob(codes[own.to(codes.device)])
        outside = outside - pz.log_prob(fresh)
        z = codes[own.to(codes.device)].cpu()
        fresh = fresh.cpu()
    return AggregateMatch(
        mmd_test(z, fresh, permutations=200, seed=seed),
        classifier_test(z, fresh, seed=seed),
        _holes(inside.double().cpu(), outside.double().cpu(), method, seed),
        m,
        n,
    )


def _holes(inside: Tensor, outside: Tensor, method: str, seed: int) -> Estimate:
    """The share of ``outside`` below the level that all but 2 % of ``inside`` exceed; the error by bootstrap."""
    generator = torch.Generator().manual_seed(seed)

    def share(a: Tensor, b: Tensor) -> Tensor:
        return (b < torch.quantile(a, LEVEL)).double().mean()

    def again(values: Tensor) -> Tensor:
        return values[torch.randint(len(values), (len(values),), generator=generator)]

    spread = torch.stack([share(again(inside), again(outside)) for _ in range(_BOOTSTRAPS)]).std()
    return Estimate(share(inside, outside), spread, method, "share")


def _reach(z: Tensor, codes: Tensor, *, itself: bool) -> Tensor:
    """Distance of each z to its k-th nearest code, (m,), not counting itself."""
    k = _NEIGHBOURS + itself
    parts = [torch.cdist(part, codes).kthvalue(min(k, len(codes)), dim=1).values for part in z.split(256)]
    return torch.cat(parts).clamp(min=1e-30)  # equal codes lie no distance apart
