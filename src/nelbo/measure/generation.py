"""Samples of the model against data it has not seen: are they like them, do they cover them, are they copies."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.divergences import TestResult, classifier_test, mmd_test
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.features import Features, features_for
from nelbo.vae import Model

NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Closeness:
    """How the one set of rows lies among the other.

    Attributes:
        density: how many of the others' neighbourhoods a row falls into, over k; 1 where both come from one
            distribution, and no upper bound.
        coverage: share of the others' neighbourhoods that hold a row at all, 0 to 1.
    """

    density: Estimate
    coverage: Estimate


@dataclass(frozen=True, eq=False)
class SampleMatch:
    """Samples of the model beside held-out data, in named features.

    Attributes:
        samples: density and coverage of the model's samples among the held-out data.
        data: the same of as many training examples: what real data get.
        mmd: permutation test of samples against held-out data.
        classifier: how often a nearest-neighbour vote tells a sample from held-out data; 1/2 if it cannot.
        copying: the chance that a sample lies nearer to its nearest training example than held-out data do; 1/2
            where it generalizes, more where it copies; the p-value is that of copying.
        features: what distances were taken in.
        size: samples, and held-out examples.
        drawn: (shown, \\*event), the first samples, as the mean of p(x|z).
        neighbours: (shown, \\*event), the training example nearest to each.
    """

    samples: Closeness
    data: Closeness
    mmd: TestResult
    classifier: TestResult
    copying: TestResult
    features: str
    size: int
    drawn: Tensor
    neighbours: Tensor


def sample_match(
    model: Model,
    train: Tensor,
    held_out: Tensor,
    *,
    features: Features | None = None,
    samples: int = 1000,
    mean: bool = False,
    shown: int = 10,
    seed: int = 0,
) -> SampleMatch:
    """Density, coverage, two-sample tests and nearest training neighbours of samples from the prior.

    Args:
        model: a VAE, or anything with prior, posterior and likelihood.
        train: (n, \\*event), what it was trained on.
        held_out: (m, \\*event), what it was not.
        features: where distances are taken; None takes :func:`features_for` of the training data.
        samples: of the model, and at most as many held-out and training examples beside them.
        mean: compare the means of p(x|z), which figures show, instead of draws from it, which the model stands for.
        shown: samples that are returned with their neighbours.
        seed: of the draws and the tests; torch's generators are left as they were.

    Returns:
        SampleMatch; density and coverage with k = 5 neighbours.

    Raises:
        ValueError: fewer than 20 training or held-out examples.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics", eq. 4 and 5; Lopez-Paz & Oquab 2017
    (classifier test); Gretton et al. 2012 (MMD); Meehan, Chaudhuri & Dasgupta 2020, "A non-parametric test to detect
    data-copying in generative models" (nearest training neighbours).
    """
    if min(len(train), len(held_out)) < 20:
        raise ValueError(
            f"sample_match needs 20 or more training and held-out examples, got {len(train)} and {len(held_out)}; "
            "write sample_match(vae, data.train.take(1000), data.validation.take(1000))"
        )
    features = features or features_for(train)
    size = min(samples, len(held_out), len(train))
    with evaluation_mode(model, seed) as device:
        drawn = [_draw(model, n, mean=mean) for n in _portions(size)]
        x, means = (torch.cat([part[i].cpu() for part in drawn]).to(held_out) for i in (0, 1))
        chosen = torch.randperm(len(train), device="cpu")[:size]
        del device
    real, fake, own, everything = features(held_out[:size]), features(x), features(train[chosen]), features(train)
    to_train = _nearest(fake, everything)
    return SampleMatch(
        samples=closeness(fake, real),
        data=closeness(own, real),
        mmd=mmd_test(fake, real, permutations=200, seed=seed),
        classifier=classifier_test(fake, real, seed=seed),
        copying=_copying(to_train[0], _nearest(real, everything)[0]),
        features=features.name,
        size=size,
        drawn=means[:shown],
        neighbours=train[_nearest(features(means[:shown]), everything)[1]],
    )


def closeness(rows: Tensor, others: Tensor, *, neighbours: int = NEIGHBOURS) -> Closeness:
    """Density and coverage of rows (m, features) among others (n, features).

    density = 1/(k m) sum_j sum_i 1[row_j in ball_i], coverage = 1/n sum_i 1[some row in ball_i], where ball_i reaches
    from other i to its k-th nearest among the others. For rows from the same distribution density is 1 in expectation
    and coverage 1 - 2^-k for m = n.

    Source: Naeem et al. 2020, eq. 4 and 5.
    """
    if len(others) <= neighbours:
        raise ValueError(f"density and coverage need more than {neighbours} examples, got {len(others)}")
    within = torch.zeros(len(rows), dtype=torch.float64)
    covered: list[Tensor] = []
    for part in others.split(512):
        radius = torch.cdist(part, others).kthvalue(neighbours + 1, dim=1).values  # the first is the row itself
        inside = torch.cdist(part, rows) <= radius[:, None]
        within += inside.sum(0)
        covered.append(inside.any(1))
    share = torch.cat(covered).double()
    each = within / neighbours
    method = f"{neighbours} nearest neighbours"
    return Closeness(
        Estimate(each.mean(), each.std() / math.sqrt(len(each)), method, ""),
        Estimate(share.mean(), share.std() / math.sqrt(len(share)), method, "share"),
    )


def _draw(model: Model, n: int, *, mean: bool) -> tuple[Tensor, Tensor]:
    """Samples as they are compared, and as they are shown: the means of the same p(x|z)."""
    z = model.prior.sample((n,))
    means = model.decode(z)
    return (means if mean else model.likelihood(z).sample()), means


def _portions(n: int, most: int = 500) -> list[int]:
    return [min(most, n - start) for start in range(0, n, most)]


def _nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of the others, (m,), and which it is."""
    found = [torch.cdist(part, others).min(1) for part in rows.split(256)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _copying(samples: Tensor, held_out: Tensor) -> TestResult:
    """Mann-Whitney: P(a sample's distance < a held-out example's), ties counted half; p is small where it is high."""
    from scipy.stats import mannwhitneyu

    test = mannwhitneyu(samples.numpy(), held_out.numpy(), alternative="less")
    n, m = len(samples), len(held_out)
    chance = 1 - float(test.statistic) / (n * m)
    # Hanley & McNeil 1982, eq. 2, for the error of an area under a curve
    q1, q2 = chance / (2 - chance), 2 * chance**2 / (1 + chance)
    variance = chance * (1 - chance) + (n - 1) * (q1 - chance**2) + (m - 1) * (q2 - chance**2)
    error = math.sqrt(max(variance, 0.0) / (n * m))
    return TestResult.of(chance, error, float(test.pvalue), "mann_whitney", "share")
