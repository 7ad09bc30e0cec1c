"""KL and tests of equality from two samples, and KL from log-ratios at draws."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.estimate import Estimate, Unit
from nelbo.randomness import as_seed

Estimator = Literal["k1", "k2", "k3"]
_Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class TestResult(Estimate):
    """The statistic of a two-sample test, with its p-value.

    Attributes:
        value: the statistic.
        p_value: the probability of a statistic at least as large if both samples came from one distribution.
        standard_error: of the statistic; nan where the test has none.
        method: the name of the test.
    """

    __test__ = False  # not a test class of pytest

    p_value: float = field(kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """The estimate and its p-value, ready for JSON."""
        return super().to_dict() | {"p_value": self.p_value}

    @classmethod
    def of(cls, statistic: float, standard_error: float, p_value: float, method: str, unit: Unit = "") -> "TestResult":
        """A result from plain numbers."""
        value, error = torch.tensor([statistic, standard_error], dtype=torch.float64)
        return cls(value, error, method, unit, p_value=p_value)


def _rows(x: Any, letter: str, what: str, least: int) -> _Rows:
    array = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or len(array) < least:
        raise ValueError(
            f"{what}: {letter} has shape {array.shape}; expected at least {least} rows, (n, features) or (n,). For "
            f"images, write {letter}.reshape(len({letter}), -1)."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: {letter} holds NaN or infinite values; drop those rows first.")
    return array


def _both(x: Any, y: Any, what: str, least: int) -> tuple[_Rows, _Rows]:
    a, b = _rows(x, "x", what, least), _rows(y, "y", what, least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{what}: x has {a.shape[1]} features and y {b.shape[1]}; expected the same.")
    return a, b


def kl_from_samples(x: Any, y: Any, *, neighbours: int = 5, bootstrap: int = 50, seed: int = 0) -> Estimate:
    """Estimate KL(p || q) from x ~ p and y ~ q: (d/n) sum_i log(nu_i / rho_i) + log(m / (n - 1)), nats.

    rho_i is the distance from x_i to its k-th nearest neighbour among the other x, nu_i that to its k-th nearest among
    y. Consistent; its bias falls like n^(-1/d), so that it is not to be trusted beyond some ten features.

    Args:
        x: draws from p, (n, d) or (n,).
        y: draws from q, (m, d) or (m,).
        neighbours: k; more of them lower the variance and raise the bias.
        bootstrap: how many subsamples of half the rows give the standard error (full bootstrap samples hold
            duplicates, at distance 0).
        seed: of the subsampling.

    Returns:
        Estimate with a 0-dimensional float64 value.

    Raises:
        ValueError: for mismatched or too few rows, and for rows that occur too often (discrete data).

    Source: Wang, Kulkarni & Verdu 2009, eq. 5 (IEEE Trans. Inf. Theory 55:2392).
    """
    if neighbours < 1:
        raise ValueError(f"kl_from_samples: neighbours must be a positive integer, got {neighbours!r}.")
    a, b = _both(x, y, "kl_from_samples", 2 * neighbours + 2)
    rng = np.random.default_rng(as_seed(seed))
    value = _nearest(a, b, neighbours)
    halves = [
        _nearest(a[rng.permutation(len(a))[: len(a) // 2]], b[rng.permutation(len(b))[: len(b) // 2]], neighbours)
        for _ in range(bootstrap)
    ]
    error = float(np.std(halves, ddof=1)) if bootstrap > 1 else float("nan")
    return Estimate(torch.tensor(value).double(), torch.tensor(error).double(), "nearest_neighbours")


def _nearest(a: _Rows, b: _Rows, k: int) -> float:
    from scipy.spatial import KDTree  # here and below: few need scipy, and its import costs every start

    within = np.asarray(KDTree(a).query(a, k=k + 1)[0])[:, -1]
    across = np.asarray(KDTree(b).query(a, k=[k])[0])[:, -1]  # pyright: ignore[reportArgumentType]
    if not (within > 0).all() or not (across > 0).all():
        raise ValueError(
            f"kl_from_samples: some row occurs more than {k} times, so that its neighbours are at distance 0: the data "
            "are discrete. Count the values and use Categorical, or add noise of the data's resolution."
        )
    return float(a.shape[1] * np.mean(np.log(across / within)) + np.log(len(b) / (len(a) - 1)))


def _squares(rows: _Rows) -> _Rows:
    """The squared distances between all rows."""
    sizes = (rows**2).sum(1)
    return sizes[:, None] + sizes[None, :] - 2 * rows @ rows.T


def mmd_test(x: Any, y: Any, *, bandwidth: float | None = None, permutations: int = 500, seed: int = 0) -> TestResult:
    """Test for equal distributions by permutations of the unbiased squared MMD with a Gaussian kernel.

    Args:
        x: draws, (n, d) or (n,).
        y: draws, (m, d) or (m,).
        bandwidth: of the kernel; None takes the median distance between rows.
        permutations: random relabellings; the p-value is (1 + how many reach the statistic) / (1 + permutations),
            which is exact.
        seed: of the relabellings.

    Returns:
        TestResult; its standard error is that of other draws from the same two distributions (Hoeffding's first order,
        about 1.5 times too large where the two are equal), not the spread under relabelling.

    Raises:
        ValueError: for mismatched or too few rows, and for a bandwidth that is not positive.

    Source: Gretton et al. 2012, eq. 3; Phipson & Smyth 2010 for the count.
    """
    a, b = _both(x, y, "mmd_test", 4)
    if bandwidth is not None and not bandwidth > 0:
        raise ValueError(f"mmd_test: bandwidth must be a positive number or None, got {bandwidth!r}.")
    rng = np.random.default_rng(as_seed(seed))
    pool = np.concatenate([a, b])
    n, total = len(a), len(pool)
    if bandwidth is None:
        few = pool[rng.permutation(total)[:1000]]
        bandwidth = float(np.sqrt(max(np.median(_squares(few)[np.triu_indices(len(few), 1)]), 1e-300)))
    gram = np.exp(-0.5 * np.maximum(_squares(pool), 0.0) / bandwidth**2)
    np.fill_diagonal(gram, 0.0)

    def statistic(order: Any) -> float:
        labels = np.zeros(total)
        labels[order[:n]] = 1.0
        within = gram @ labels
        xx, all_x = float(labels @ within), float(within.sum())
        xy = all_x - xx
        yy = float(gram.sum()) - xx - 2 * xy
        m = total - n
        return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)

    observed = statistic(np.arange(total))
    drawn = [statistic(rng.permutation(total)) for _ in range(permutations)]
    to_a, to_b = gram[:, :n].sum(1), gram[:, n:].sum(1)
    m = total - n
    a, b = to_a[:n] / (n - 1) - to_b[:n] / m, to_b[n:] / (m - 1) - to_a[n:] / n
    error = 2 * float(np.sqrt(np.var(a, ddof=1) / n + np.var(b, ddof=1) / m))
    p_value = (1 + sum(d >= observed for d in drawn)) / (1 + permutations)
    return TestResult.of(observed, error, p_value, f"mmd (bandwidth {bandwidth:.3g})")


def classifier_test(x: Any, y: Any, *, folds: int = 5, neighbours: int = 5, seed: int = 0) -> TestResult:
    """Test for equal distributions by how often a nearest-neighbour vote tells held-out x from y; 1/2 if it cannot.

    Args:
        x: draws, (n, d) or (n,).
        y: draws, (m, d) or (m,); the larger sample is cut to the size of the smaller.
        folds: parts, each of which is voted on by the others once.
        neighbours: votes; odd.
        seed: of the folds.

    Returns:
        TestResult: the accuracy (0 to 1), its standard error and its p-value (binomial, one-sided).

    Raises:
        ValueError: for mismatched or too few rows.

    Source: Lopez-Paz & Oquab 2017, section 3.
    """
    from scipy import stats
    from scipy.spatial import KDTree

    a, b = _both(x, y, "classifier_test", 2 * folds)
    rng = np.random.default_rng(as_seed(seed))
    n = min(len(a), len(b))
    a, b = a[rng.permutation(len(a))[:n]], b[rng.permutation(len(b))[:n]]
    rows, labels = np.concatenate([a, b]), np.repeat([0, 1], n)
    scale = rows.std(0)
    rows = rows / np.where(scale > 0, scale, 1.0)
    # a pair (x_i, y_i) shares its fold, so that every training set is balanced
    fold = np.tile(rng.permutation(np.arange(n) % folds), 2)
    right = 0
    for i in range(folds):
        out = fold == i
        ranks: Any = list(range(1, neighbours + 1))
        index = np.asarray(KDTree(rows[~out]).query(rows[out], k=ranks)[1])
        votes = labels[~out][index].mean(1)
        right += int(((votes > 0.5) == (labels[out] == 1)).sum())
    accuracy, p_value = right / (2 * n), float(stats.binom.sf(right - 1, 2 * n, 0.5))
    return TestResult.of(accuracy, float(np.sqrt(accuracy * (1 - accuracy) / (2 * n))), p_value, "classifier", "share")


def kl_from_log_ratios(log_ratio: Any, *, estimator: Estimator = "k3", dim: int = 0) -> Estimate:
    """Estimate KL(p || q) from r_i = log p(x_i) - log q(x_i) at draws x_i ~ p, in nats.

    Fine-tuning of language models has such log-ratios.

    - k1 = mean r: unbiased; single terms have either sign, its variance is Var[r].
    - k2 = mean r^2 / 2: never negative; biased by E[r^2]/2 - KL, of third order in r: small for p near q only.
    - k3 = mean exp(-r) - 1 + r: never negative, and unbiased where p > 0 wherever q > 0 (else too small by the mass of
      q that p misses); of small variance for p near q, of infinite variance where q has much heavier tails.

    These are estimators of the value. Differentiating them through the log-ratio does not estimate the gradient of
    KL(p || q): that of k1 has expectation 0, for instance. For a gradient use
    `nelbo.kl(p, q, method="monte_carlo")`.

    Args:
        log_ratio: r, with draws along `dim`.
        estimator: "k1", "k2" or "k3".
        dim: of the draws.

    Returns:
        Estimate: the mean over draws, its standard error, and "k1", "k2" or "k3".

    Raises:
        ValueError: for an unknown estimator, fewer than two draws, or NaN.

    Source: Schulman 2020, "Approximating KL divergence".
    """
    r = torch.as_tensor(log_ratio)
    r = r if r.is_floating_point() else r.to(torch.get_default_dtype())
    if estimator not in ("k1", "k2", "k3"):
        raise ValueError(f"kl_from_log_ratios: estimator must be 'k1', 'k2' or 'k3', got {estimator!r}.")
    if r.dim() == 0 or r.shape[dim] < 2:
        raise ValueError(
            f"kl_from_log_ratios: log_ratio has shape {tuple(r.shape)}; expected at least 2 draws along dim={dim}, "
            "whose spread gives the standard error."
        )
    if bool(torch.isnan(r).any()):
        raise ValueError("kl_from_log_ratios: log_ratio holds NaN; inf - inf arises where both log-densities are -inf.")
    terms = r if estimator == "k1" else 0.5 * r * r if estimator == "k2" else torch.expm1(-r) + r
    count = terms.shape[dim]
    error = terms.detach().var(dim).sqrt() / count**0.5
    return Estimate(terms.mean(dim), error, estimator)
