"""The test statistics of the checks, as functions of numbers: each with the distribution it has when nothing is wrong.

All tests are made at the level ALPHA. Where a check asks for more than significance (a size of the effect), its rate of
false alarms is lower still.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.diagnosis.registry import ALPHA


class Mean(NamedTuple):
    """A mean over independent examples and its standard error."""

    value: float
    standard_error: float

    @property
    def t(self) -> float:
        """The mean in standard errors: about standard normal where the expectation is 0."""
        if self.value == 0:
            return 0.0
        return self.value / self.standard_error if self.standard_error > 0 else math.copysign(math.inf, self.value)


def mean_of(values: Tensor) -> Mean:
    """Mean and standard error of numbers, one for each example, (n,)."""
    values = values.double()
    return Mean(float(values.mean()), float(values.std() / math.sqrt(len(values))))


def z_critical(alpha: float = ALPHA) -> float:
    """The standard normal's one-sided critical value: 3.09 for the level 0.001."""
    from scipy.stats import norm

    return float(norm.isf(alpha))


def factor_gain(x: Tensor, factors: int, *, features: int = 1024) -> Mean:
    """How many nats per example a linear latent variable model explains of x beyond independent features.

    Probabilistic PCA (Tipping & Bishop 1999, eq. 7 and 8) with so many factors is fitted to the standardized features
    of one half of the examples, and its log density on the other half is compared with that of independent normals;
    both halves take both parts. Where the features are independent, what is fitted is noise and loses on the other
    half: the expectation is below 0, and t is above z_critical() with a probability below ALPHA.

    Args:
        x: (n, \\*event), examples in random order.
        factors: number of latent dimensions; fewer are used where the data have fewer features.
        features: at most so many features are looked at, those that vary most.
    """
    flat = x.flatten(1).double()
    varies = flat.std(0) > 1e-8
    if int(varies.sum()) < 2:
        return Mean(0.0, 0.0)
    flat = flat[:, varies]
    if flat.shape[1] > features:
        flat = flat[:, flat.var(0).topk(features).indices]
    half = len(flat) // 2
    gains = [_gain_of(flat[:half], flat[half:], factors), _gain_of(flat[half:], flat[:half], factors)]
    return mean_of(torch.cat(gains))


def _gain_of(fit: Tensor, held_out: Tensor, factors: int) -> Tensor:
    """(n,) log density under probabilistic PCA minus that under independent normals, both fitted to the first half."""
    # a feature that one half does not know (a pixel that is never on) tells nothing about either model
    varies = fit.std(0) > 1e-6 * fit.std(0).max()
    fit, held_out = fit[:, varies], held_out[:, varies]
    center, spread = fit.mean(0), fit.std(0)
    # and one that it hardly knows shall not outweigh all others
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


def scale_gain(residual: Tensor, *, least: float = 0.1) -> Mean:
    """How many nats per example a standard deviation for each feature gains over one for all.

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
        own = variance.clamp(min=float(least**2 * common))
        gains.append(0.5 * (held_out.square() * (1 / common - 1 / own) + (common / own).log()).sum(1))
    return mean_of(torch.cat(gains))


class Drift(NamedTuple):
    """How far the moments of draws are from a standard normal's."""

    nats: float
    """KL(N(m, S) || N(0, I)) of the draws' moments, with what chance adds to it taken off."""
    standard_error: float
    p_value: float


def moment_drift(z: Tensor) -> Drift:
    """KL(N(m, S) || N(0, I)) for the mean m and the covariance S of draws z, and a likelihood ratio test of 0.

    Since N(0, I) is in the exponential family of the moments, KL(q || N(0, I)) = KL(q || N(m, S)) + KL(N(m, S) ||
    N(0, I)): what is returned is a lower bound on the KL of whatever z was drawn from. 2 n times it is chi squared with
    d (d + 3) / 2 degrees of freedom where z ~ N(0, I) (Wilks; n should be 20 d or more).

    Args:
        z: (n, d), independent draws.
    """
    from scipy.stats import chi2

    z = z.double()
    n, d = z.shape
    value = _moment_kl(z)
    freedom = d * (d + 3) / 2
    if value <= 0 or n <= d + 1:
        return Drift(0.0, math.inf, 1.0)
    # jackknife over ten blocks of examples
    blocks = [_moment_kl(torch.cat([z[: i * n // 10], z[(i + 1) * n // 10 :]])) for i in range(10)]
    error = math.sqrt(0.9 * sum((b - sum(blocks) / 10) ** 2 for b in blocks))
    return Drift(max(value - freedom / (2 * n), 0.0), error, float(chi2.sf(2 * n * value, freedom)))


def _moment_kl(z: Tensor) -> float:
    d = z.shape[1]
    center = z.mean(0)
    covariance = (z - center).T @ (z - center) / len(z)
    sign, log_det = torch.linalg.slogdet(covariance)
    if sign <= 0:
        return 0.0
    return float(0.5 * (covariance.trace() + center @ center - d - log_det))


class Ratio(NamedTuple):
    """A ratio of two means over the same examples, with its standard error by the delta method."""

    value: float
    standard_error: float


def ratio_of(top: Tensor, bottom: Tensor) -> Ratio:
    """mean(top) / mean(bottom) over examples, (n,) each; NaN where the lower mean is within 3 errors of 0."""
    top, bottom = top.double(), bottom.double()
    below = mean_of(bottom)
    if abs(below.t) < 3:
        return Ratio(math.nan, math.nan)
    value = float(top.mean()) / below.value
    error = float((top - value * bottom).std() / math.sqrt(len(top)) / abs(below.value))
    return Ratio(value, error)


class Slope(NamedTuple):
    """The slope of a line through numbers in time."""

    value: float
    standard_error: float
    p_value: float
    """Of a slope as far below 0, where the numbers only scatter about a constant."""


def slope_of(values: NDArray[np.float64], noise: float) -> Slope:
    """Least squares through (0, v_0), (1, v_1), ..., with a test of a slope below 0.

    Args:
        values: (n,), one for each epoch.
        noise: the standard deviation of one value about its course, or more. That of the residuals would count the
            bend of a course as noise.
    """
    from scipy.stats import norm

    n = len(values)
    if n < 2 or not noise > 0:
        return Slope(0.0, math.inf, 1.0)
    time = np.arange(n) - (n - 1) / 2
    squares = float((time**2).sum())
    value, error = float((time * values).sum()) / squares, noise / math.sqrt(squares)
    return Slope(value, error, float(norm.cdf(value / error)))


def roughness(values: NDArray[np.float64]) -> float:
    """The standard deviation of the noise about a smooth course: rms of second differences / sqrt(6).

    For independent noise of standard deviation s about a line its expectation is s.
    """
    if len(values) < 4:
        return 0.0
    return float(np.sqrt(np.mean(np.diff(values, 2) ** 2) / 6))


def binomial_excess(found: int, of: int, rate: float) -> float:
    """The probability of so many or more out of ``of`` where each has the probability ``rate``."""
    from scipy.stats import binom

    return float(binom.sf(found - 1, of, rate))
