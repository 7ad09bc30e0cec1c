"""The test statistics of the checks, as functions of numbers: each with the distribution it has when nothing is wrong.

All tests are made at the level ALPHA. Where a check asks for more than significance (a size of the effect), its rate of
false alarms is lower still.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.divergences import TestResult
from nelbo.estimate import Estimate

ALPHA = 1e-3
"""The largest probability with which a check's test may call a healthy model faulty."""


def z_critical(alpha: float = ALPHA) -> float:
    """The standard normal's one-sided critical value: 3.09 for the level 0.001."""
    from scipy.stats import norm

    return float(norm.isf(alpha))


def factor_gain(x: Tensor, factors: int, *, features: int = 1024) -> Estimate:
    """Nats per example that a linear latent variable model explains of x beyond independent features.

    Probabilistic PCA (Tipping & Bishop 1999, eq. 7 and 8) with this number of factors is fitted to the standardized
    features of one half of the examples, and its log density on the other half is compared with that of independent
    normals; both halves take both parts. Where the features are independent, what is fitted is noise and loses on the
    other half: the expectation is below 0, and t is above z_critical() with a probability below ALPHA.

    Args:
        x: (n, \\*event), examples in random order.
        factors: number of latent dimensions; fewer are used where the data have fewer features.
        features: the largest number of features to look at, those that vary most.
    """
    flat = x.flatten(1).double()
    varies = flat.std(0) > 1e-8
    if int(varies.sum()) < 2:
        return Estimate.number(0.0)
    flat = flat[:, varies]
    if flat.shape[1] > features:
        flat = flat[:, flat.var(0).topk(features).indices]
    half = len(flat) // 2
    gains = [_gain_of(flat[:half], flat[half:], factors), _gain_of(flat[half:], flat[:half], factors)]
    return Estimate.mean_of(torch.cat(gains))


def _gain_of(fit: Tensor, held_out: Tensor, factors: int) -> Tensor:
    """(n,) log density under probabilistic PCA minus that under independent normals, both fitted to the first half."""
    # a feature that one half does not know (a pixel that is never on) tells nothing about either model
    varies = fit.std(0) > 1e-6 * fit.std(0).max()
    fit, held_out = fit[:, varies], held_out[:, varies]
    center, spread = fit.mean(0), fit.std(0)
    # one that it hardly knows must not outweigh all others
    fit, held_out = (((part - center) / spread).clamp(-5, 5) for part in (fit, held_out))
    center, spread = fit.mean(0), fit.std(0, correction=0)
    fit, held_out = ((part - center) / spread for part in (fit, held_out))
    n, d = fit.shape
    if d < 2:
        return torch.zeros(len(held_out), dtype=fit.dtype, device=fit.device)
    k = min(factors, d - 1, n - 2)
    values, vectors = torch.linalg.eigh(fit.T @ fit / n)
    values, vectors = values.flip(0).clamp(min=1e-6), vectors.flip(1)
    noise = values[k:].mean()
    top = values[:k].clamp(min=float(noise))
    # the squares that the factors take up, against those of independent features of variance 1
    along = (held_out @ vectors[:, :k]) ** 2
    total = (held_out**2).sum(1)
    quadratic = (along / top).sum(1) + (total - along.sum(1)) / noise
    log_det = top.log().sum() + (d - k) * noise.log()
    return 0.5 * (total - quadratic - log_det)


def scale_gain(residual: Tensor, *, least: float = 0.1) -> Estimate:
    """Nats per example that a standard deviation for each feature gains over one for all.

    Both are fitted to one half of the examples, and the normal log densities of the other half are compared; both
    halves take both parts. Where all features have the same variance, what is fitted is noise and loses on the other
    half: the expectation is below 0, and t is above z_critical() with a probability below ALPHA.

    Args:
        residual: (n, \\*event), about 0, examples in random order.
        least: no standard deviation below so much of the common one is counted: what never varies gains no infinity.
    """
    flat = residual.flatten(1).double()
    half = len(flat) // 2
    gains: list[Tensor] = []
    for fit, held_out in ((flat[:half], flat[half:]), (flat[half:], flat[:half])):
        variance = fit.square().mean(0)
        common = variance.mean()
        each = variance.clamp(min=float(least**2 * common))
        gains.append(0.5 * (held_out.square() * (1 / common - 1 / each) + (common / each).log()).sum(1))
    return Estimate.mean_of(torch.cat(gains))


_MOMENTS = "moments of q(z)"


def moment_drift(z: Tensor) -> TestResult:
    """KL(N(m, S) || N(0, I)) for the mean m and the covariance S of draws z, and a likelihood ratio test of 0.

    Since N(0, I) is in the exponential family of the moments, KL(q || N(0, I)) = KL(q || N(m, S)) + KL(N(m, S) ||
    N(0, I)): what is returned is a lower bound on the KL of whatever z was drawn from. 2 n times it is chi squared with
    d (d + 3) / 2 degrees of freedom where z ~ N(0, I) (Wilks; n should be 20 d or more).

    Args:
        z: (n, d), independent draws.

    Returns:
        TestResult in nats, with what chance adds to the KL subtracted; its error is by the jackknife.
    """
    from scipy.stats import chi2

    z = z.double()
    n, d = z.shape
    value = _moment_kl(z)
    freedom = d * (d + 3) / 2
    if value <= 0 or n <= d + 1:
        return TestResult.of(0.0, math.inf, 1.0, _MOMENTS, "nats")
    # jackknife over ten blocks of examples
    blocks = [_moment_kl(torch.cat([z[: i * n // 10], z[(i + 1) * n // 10 :]])) for i in range(10)]
    error = math.sqrt(0.9 * sum((b - sum(blocks) / 10) ** 2 for b in blocks))
    p_value = float(chi2.sf(2 * n * value, freedom))
    return TestResult.of(max(value - freedom / (2 * n), 0.0), error, p_value, _MOMENTS, "nats")


def _moment_kl(z: Tensor) -> float:
    d = z.shape[1]
    center = z.mean(0)
    covariance = (z - center).T @ (z - center) / len(z)
    sign, log_det = torch.linalg.slogdet(covariance)
    if sign <= 0:
        return 0.0
    return float(0.5 * (covariance.trace() + center @ center - d - log_det))


def ratio_of(top: Tensor, bottom: Tensor) -> Estimate:
    """mean(top) / mean(bottom) over examples, (n,) each; NaN where the lower mean is within 3 errors of 0."""
    top, bottom = top.double(), bottom.double()
    below = Estimate.mean_of(bottom)
    if abs(below.t) < 3:
        return Estimate.number(math.nan, math.nan, unit="")
    value = float(top.mean()) / float(below)
    error = float((top - value * bottom).std() / math.sqrt(len(top)) / abs(float(below)))
    return Estimate.number(value, error, unit="")


_LINE = "least squares"


def slope_of(values: NDArray[np.float64], noise: float) -> TestResult:
    """Least squares through (0, v_0), (1, v_1), ..., with a test of a slope below 0.

    Args:
        values: (n,), one for each epoch.
        noise: the standard deviation of one value about its course, or more. That of the residuals would count the
            bend of a course as noise.

    Returns:
        TestResult: the slope; its p-value is that of a slope as far below 0 of numbers that only scatter.
    """
    from scipy.stats import norm

    n = len(values)
    if n < 2 or not noise > 0:
        return TestResult.of(0.0, math.inf, 1.0, _LINE, "nats")
    time = np.arange(n) - (n - 1) / 2
    squares = float((time**2).sum())
    value, error = float((time * values).sum()) / squares, noise / math.sqrt(squares)
    return TestResult.of(value, error, float(norm.cdf(value / error)), _LINE, "nats")


def roughness(values: NDArray[np.float64]) -> float:
    """The standard deviation of the noise about a smooth course: rms of second differences / sqrt(6).

    For independent noise of standard deviation s about a line its expectation is s.
    """
    if len(values) < 4:
        return 0.0
    return float(np.sqrt(np.mean(np.diff(values, 2) ** 2) / 6))


def binomial_excess(found: int, of: int, rate: float) -> float:
    """The probability of ``found`` successes or more in ``of`` trials, each with probability ``rate``."""
    from scipy.stats import binom

    return float(binom.sf(found - 1, of, rate))
