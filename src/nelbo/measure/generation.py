"""Samples of the model against data it has not seen: are they like them, do they cover them, are they copies."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nelbo.data import as_batch, summarize
from nelbo.data.loading import seen_by
from nelbo.divergences import TestResult, classifier_test, mmd_test
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode, rows_at_once
from nelbo.vae import Model, as_model

NEIGHBOURS = 5
_RAW_AT_MOST = 16
_COMPONENTS = 32
FITTED = 2000
"""Examples that the components are fitted to."""


@dataclass(frozen=True, eq=False)
class Features:
    """A map from examples to rows of numbers whose distances mean something, and its name.

    Attributes:
        name: what the features are, for tables and captions.
        of: (n, \\*event) to (n, features), float64.
    """

    name: str
    of: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The features of x: (n, \\*event) to (n, features), on the CPU."""
        return self.of(x.cpu())


def features_for(
    train: Tensor, *, components: int = _COMPONENTS, seen_as: Callable[[Tensor], Tensor] | None = None
) -> Features:
    """Features that fit the data: the values themselves where they are few, else their principal components.

    Counts are taken as log(1 + x), categories as one-hot; up to 16 values are standardized each; more are projected on
    the first principal components of the training data, not whitened, so that a distance is one in the data's own
    units and pixel noise, which spreads over all directions, hardly counts.

    Args:
        train: (n, \\*event), examples of the training set.
        components: principal components, at most.
        seen_as: numbers to take in place of the values, (n, \\*event) to (n, numbers), as of a table of several kinds.
    """
    train = train.cpu()
    kind = summarize(train).kind
    if seen_as is not None:
        plain = Features("numbers of the columns, categories one-hot", lambda x: seen_as(x).flatten(1).double())
    elif kind == "categories":
        classes = int(train.max()) + 1
        plain = Features(
            "one-hot values", lambda x: F.one_hot(x.long().clamp(0, classes - 1), classes).flatten(1).double()
        )
    elif kind == "counts":
        plain = Features("log(1 + counts)", lambda x: x.flatten(1).double().clamp(min=0).log1p())
    else:
        what = "pixels" if train.dim() == 4 else "values"
        plain = Features(what, lambda x: x.flatten(1).double())
    rows = plain(train[:FITTED])
    mean = rows.mean(0)
    if rows.shape[1] <= _RAW_AT_MOST:
        scale = rows.std(0)
        scale = torch.where(scale > 0, scale, 1.0)
        return Features(f"the {rows.shape[1]} {plain.name}, standardized", lambda x: (plain(x) - mean) / scale)
    directions, share = principal_components(rows - mean, components)
    name = (
        f"the first {len(directions)} principal components of the training {plain.name} ({share:.0%} of their variance)"
    )
    return Features(name, lambda x: (plain(x) - mean) @ directions.T)


def principal_components(centered: Tensor, components: int) -> tuple[Tensor, float]:
    """The first directions, (k, features), orthonormal, and their share of the variance of centered (n, features)."""
    n, width = centered.shape
    k = min(components, n - 1, width)
    if n < width:  # the smaller of the two products has the same non-zero eigenvalues
        values, vectors = torch.linalg.eigh(centered @ centered.T)
        values, vectors = values.flip(0)[:k].clamp(min=1e-300), vectors.flip(1)[:, :k]
        directions = (centered.T @ vectors / values.sqrt()).T
    else:
        values, vectors = torch.linalg.eigh(centered.T @ centered)
        values, directions = values.flip(0)[:k], vectors.flip(1)[:, :k].T
    total = float(centered.square().sum())
    return directions, float(values.clamp(min=0).sum()) / total if total else 1.0


@dataclass(frozen=True, eq=False)
class DensityCoverage:
    """How one set of rows lies among another.

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

    samples: DensityCoverage
    data: DensityCoverage
    mmd: TestResult
    classifier: TestResult
    copying: TestResult
    features: str
    size: int
    drawn: Tensor
    neighbours: Tensor


def sample_match(
    model: Any,
    train: Any,
    held_out: Any,
    *,
    features: Features | None = None,
    samples: int = 1000,
    mean: bool = False,
    shown: int = 10,
    seed: int = 0,
) -> SampleMatch:
    """Density, coverage, two-sample tests and nearest training neighbours of samples from the prior.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        train: (n, \\*event), what it was trained on: a tensor, an array, a Batch or a Dataset.
        held_out: (m, \\*event), what it was not trained on.
        features: the space of distances; None takes :func:`features_for` of the training data.
        samples: of the model, and at most as many held-out and training examples beside them.
        mean: compare the means of p(x|z), which figures show, instead of draws from it, which the model stands for.
        shown: samples that are returned with their neighbours.
        seed: of the draws and the tests; torch's generators are left as they were.

    Returns:
        SampleMatch; density and coverage with k = 5 neighbours. Where values are missing, samples lack what held-out
        examples lack, and the training mean takes the place of all that is missing: samples of a good model then look
        like the data if values are missing completely at random.

    Raises:
        ValueError: fewer than 20 training or held-out examples.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics", eq. 4 and 5; Lopez-Paz & Oquab 2017
    (classifier test); Gretton et al. 2012 (MMD); Meehan, Chaudhuri & Dasgupta 2020, "A non-parametric test to detect
    data-copying in generative models" (nearest training neighbours).
    """
    train, held_out = (as_batch(seen_by(model, part)).x.cpu() for part in (train, held_out))
    model = as_model(model)
    if min(len(train), len(held_out)) < 20:
        raise ValueError(
            f"sample_match needs 20 or more training and held-out examples, got {len(train)} and {len(held_out)}; "
            "write sample_match(vae, data.train.take(1000), data.validation.take(1000))"
        )
    average, missing = train.nanmean(0), held_out.isnan()
    train, held_out = (torch.where(part.isnan(), average, part) for part in (train, held_out))
    if features is None:
        seen_as = model.px_family.for_distances(train.shape[1:])
        features = features_for(train, seen_as=seen_as)
    size = min(samples, len(held_out), len(train))
    with evaluation_mode(model, seed):
        x, means = _drawn(model, held_out, size, mean=mean)
        chosen = torch.randperm(len(train), device="cpu")[:size]
    x, means = (torch.where(missing[:size], average, part) for part in (x, means))
    real, fake, own, everything = features(held_out[:size]), features(x), features(train[chosen]), features(train)
    to_train = _nearest(fake, everything)
    return SampleMatch(
        samples=density_coverage(fake, real),
        data=density_coverage(own, real),
        mmd=mmd_test(fake, real, permutations=200, seed=seed),
        classifier=classifier_test(fake, real, seed=seed),
        copying=_copying(to_train[0], _nearest(real, everything)[0]),
        features=features.name,
        size=size,
        drawn=means[:shown],
        neighbours=train[_nearest(features(means[:shown]), everything)[1]],
    )


def density_coverage(rows: Tensor, others: Tensor, *, neighbours: int = NEIGHBOURS) -> DensityCoverage:
    """Density and coverage of rows (m, features) among others (n, features).

    density = 1/(k m) sum_j sum_i 1[row_j in ball_i], coverage = 1/n sum_i 1[some row in ball_i], where ball_i reaches
    from other i to its k-th nearest among the others. For rows from the same distribution density is 1 in expectation
    and coverage 1 - 2^-k for m = n.

    Source: Naeem et al. 2020, eq. 4 and 5.
    """
    if len(others) <= neighbours:
        raise ValueError(f"density and coverage need more than {neighbours} examples, got {len(others)}")
    rows, others = rows.cpu(), others.cpu()
    within = torch.zeros(len(rows), dtype=torch.float64)
    covered: list[Tensor] = []
    for part in others.split(rows_at_once(len(others), passes=4)):
        radius = torch.cdist(part, others).kthvalue(neighbours + 1, dim=1).values  # the first is the row itself
        inside = torch.cdist(part, rows) <= radius[:, None]
        within += inside.sum(0)
        covered.append(inside.any(1))
    share = torch.cat(covered).double()
    each = within / neighbours
    method = f"{neighbours} nearest neighbours"
    return DensityCoverage(
        Estimate(each.mean(), each.std() / math.sqrt(len(each)), method, ""),
        Estimate(share.mean(), share.std() / math.sqrt(len(share)), method, "share"),
    )


def _drawn(model: Model, like: Tensor, n: int, *, mean: bool) -> tuple[Tensor, Tensor]:
    """Samples as they are compared, and as they are shown: the means of the same p(x|z)."""
    z = model.prior.sample(torch.Size((n,)))
    samples: list[Tensor] = []
    means: list[Tensor] = []
    for part in z.split(rows_at_once(like[0].numel())):
        means.append(model.decode(part).cpu().to(like))
        samples.append(means[-1] if mean else model.likelihood(part).sample().cpu().to(like))
    return torch.cat(samples), torch.cat(means)


def _nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of the others, (m,), and which it is."""
    size = rows_at_once(len(others), passes=4)
    nearest = [torch.cdist(part, others).min(1) for part in rows.split(size)]
    return torch.cat([part.values for part in nearest]), torch.cat([part.indices for part in nearest])


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
