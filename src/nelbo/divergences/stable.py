"""Differences that vanish where two distributions are equal, computed without cancellation.

Every closed form of KL(p || q) is a sum of such gaps. Each gap is non-negative, exactly 0 where its arguments say
"equal", and keeps its relative accuracy next to that point; a collapsed latent unit of a VAE lives there.
"""

import math

import torch
from torch import Tensor

EULER = 0.57721566490153286061

# sum_n z^(2n) / (2n + 3) up to z^2 = 0.04: ten terms reach 1e-16 of the gap, four reach 1e-7
_ATANH = tuple(1 / (2 * n + 3) for n in range(11))
# Stirling: lgamma(k) = (k - 1/2) log k - k + log(2 pi)/2 + sum_n c_n k^(1 - 2n)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_STIRLING_FROM = 12.0


def _horner(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def split(x: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """The mask |x| < radius, x inside of it (else 0), x outside (else 1): a series and a formula, finite gradients."""
    near = x.abs() < radius
    return near, torch.where(near, x, torch.zeros_like(x)), torch.where(near, torch.ones_like(x), x)


def log_gap(w: Tensor, log_ratio: Tensor | None = None) -> Tensor:
    """The gap w - log(1 + w) >= 0 for w > -1; log_ratio = log(1 + w) where it is known more exactly (w near -1).

    With z = w / (2 + w), log1p(w) = 2 atanh(z) and w - 2z = w z exactly, so the leading terms cancel on paper
    instead of in floating point.
    """
    near = (w > -0.3) & (w < 0.5)
    safe = torch.where(near, w, torch.zeros_like(w))
    z = safe / (2 + safe)
    z2 = z * z
    close = z * (safe - 2 * z2 * _horner(_ATANH if w.dtype == torch.float64 else _ATANH[:5], z2))
    far_w = torch.where(near, torch.ones_like(w), w)
    far_log = torch.log1p(far_w) if log_ratio is None else torch.where(near, torch.zeros_like(w), log_ratio)
    return torch.where(near, close, far_w - far_log)


def ratio_gap(a: Tensor, b: Tensor) -> Tensor:
    """a/b - 1 - log(a/b) >= 0 for positive a, b, exactly 0 where a == b."""
    return log_gap((a - b) / b, a.log() - b.log())


def log_ratio(a: Tensor, b: Tensor) -> Tensor:
    """log(a/b) for positive a, b, with full relative accuracy also next to a == b."""
    w = (a - b) / b
    near = w.abs() < 0.3
    return torch.where(near, torch.log1p(torch.where(near, w, torch.zeros_like(w))), a.log() - b.log())


def exp_gap(u: Tensor) -> Tensor:
    """exp(u) - 1 - u >= 0, exactly 0 at u = 0."""
    near, safe, far = split(u, 0.3)
    coefficients = tuple(1 / math.factorial(n + 2) for n in range(12 if u.dtype == torch.float64 else 6))
    return torch.where(near, safe * safe * _horner(coefficients, safe), torch.expm1(far) - far)


def mass_gap(p: Tensor, q: Tensor, log_p: Tensor | None = None, log_q: Tensor | None = None) -> Tensor:
    """The term of KL between counts, q - p + p log(p/q) >= 0 for masses; q where p = 0, inf where only q = 0."""
    positive = (p > 0) & (q > 0)
    p_safe, q_safe = torch.where(positive, p, torch.ones_like(p)), torch.where(positive, q, torch.ones_like(q))
    log_p = p_safe.log() if log_p is None else torch.where(positive, log_p, torch.zeros_like(p_safe))
    log_q = q_safe.log() if log_q is None else torch.where(positive, log_q, torch.zeros_like(q_safe))
    w = (q_safe - p_safe) / p_safe
    near = (w > -0.3) & (w < 0.5)
    # far apart, p times the gap could overflow where p is tiny; the sum below cannot
    close = p_safe * log_gap(torch.where(near, w, torch.zeros_like(w)))
    gap = torch.where(near, close, q_safe - p_safe + p_safe * (log_p - log_q))
    absent = torch.where(p > 0, torch.full_like(gap, torch.inf), q + torch.zeros_like(gap))
    return torch.where(positive, gap, absent)


def lgamma_gap(a: Tensor, b: Tensor) -> Tensor:
    """lgamma(a) - lgamma(b) - (a - b) digamma(b) >= 0: the Bregman divergence of lgamma, exactly 0 where a == b.

    For large arguments lgamma itself is large; Stirling's series is subtracted term by term instead.
    """
    big = (a > _STIRLING_FROM) & (b > _STIRLING_FROM)
    one = torch.ones_like(a * b)
    a_small, b_small = torch.where(big, one, a), torch.where(big, one, b)
    direct = torch.lgamma(a_small) - torch.lgamma(b_small) - (a_small - b_small) * torch.digamma(b_small)
    a, b = torch.where(big, a, one), torch.where(big, b, one)
    w = (a - b) / b
    log_ratio = a.log() - b.log()
    gap = log_gap(w, log_ratio)
    # (1 + w) log1p(w) - w = w log1p(w) - gap(w); near 0 the logarithm is exact only as w - gap(w)
    main = b * (w * torch.where(w.abs() < 0.5, w - gap, log_ratio) - gap) + 0.5 * gap
    series, slope = torch.zeros_like(main), torch.zeros_like(main)
    for n, c in enumerate(_STIRLING):
        series = series + c * (a ** (-1 - 2 * n) - b ** (-1 - 2 * n))
        slope = slope + c * (-1 - 2 * n) * b ** (-2 - 2 * n)
    return torch.where(big, main + series - (a - b) * slope, direct)


def log_sinhc_gap(a: Tensor, b: Tensor) -> Tensor:
    """A(a) - A(b) - (a - b) A'(b) >= 0 for A = `log_expm1c`, the log-normalizer of the continuous Bernoulli."""
    return log_expm1c(a) - log_expm1c(b) - (a - b) * expm1c_mean(b)


def log_expm1c(t: Tensor) -> Tensor:
    """log((exp(t) - 1) / t), which is 0 at t = 0."""
    near, safe, far = split(t, 0.5)
    # log(sinh(t/2) / (t/2)) = t^2/24 - t^4/2880 + t^6/181440 - ...
    x = safe * safe
    series = x * _horner((1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600, -691 / 15692092416000), x)
    far = far.abs()
    return torch.where(near, 0.5 * safe + series, t.clamp(min=0) + torch.log(-torch.expm1(-far)) - far.log())


def expm1c_mean(t: Tensor) -> Tensor:
    """The derivative of `log_expm1c`, a continuous Bernoulli's mean: 1 / (1 - exp(-t)) - 1 / t, 1/2 at t = 0."""
    near, safe, far = split(t, 0.5)
    x = safe * safe
    odd = _horner((1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000), x)
    return torch.where(near, 0.5 + safe * odd, -1 / torch.expm1(-far) - 1 / far)


def expm1c_variance(t: Tensor) -> Tensor:
    """The second derivative of `log_expm1c`, a continuous Bernoulli's variance; 1/12 at t = 0."""
    near, safe, far = split(t, 0.5)
    x = safe * safe
    even = _horner((1 / 12, -3 / 720, 5 / 30240, -7 / 1209600, 9 / 47900160, -11 * 691 / 1307674368000), x)
    return torch.where(near, even, far**-2 - 0.25 / torch.sinh((0.5 * far).clamp(-350, 350)) ** 2)


def trigamma(x: Tensor) -> Tensor:
    """The derivative of digamma for x > 0; torch.polygamma(1, x) is right to 1e-9 only."""
    total = torch.zeros_like(x)
    for i in range(12):
        total = total + (x + i) ** -2
    y = 1 / (x + 12)
    y2 = y * y
    return total + y + 0.5 * y2 + y * y2 * _horner((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730), y2)
