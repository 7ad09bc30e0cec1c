"""What the browser's mathematics has to give: closed forms in forty digits, and integrals by nelbo.

`python -m tests.studio.golden` writes js/golden.json, which Node's tests read; test_golden.py holds it to be current.
"""

import json
from pathlib import Path

import mpmath as mp
import torch

import nelbo
from nelbo import divergences
from nelbo.studio.explore import distribution

PATH = Path(__file__).parent / "js" / "golden.json"
EXTREMES = [
    (0.0, 1.0, 0.0, 1.0),
    (0.0, 1e-2, 0.0, 1e2),
    (0.0, 1e2, 0.0, 1e-2),
    (1e3, 1.0, 0.0, 1.0),
    (0.0, 1.0, 1e-6, 1.0),
    (0.0, 1.0 + 1e-9, 0.0, 1.0),
    (3.0, 1.29999, 3.0, 1.0),
    (-2.0, 0.7001, 1.0, 1.0),
]
SHAPES = [
    {"family": "normal", "mu": 0.5, "sigma": 1.5},
    {"family": "skew", "mu": -1.0, "sigma": 2.0, "skew": 4.0},
    {"family": "skew", "mu": 1.0, "sigma": 0.7, "skew": -1.0},
    {"family": "truncated", "mu": 0.0, "sigma": 1.0, "low": -1.0, "high": 2.5},
    {"family": "truncated", "mu": 0.0, "sigma": 0.4, "low": 3.0, "high": 3.5},
    {"family": "mixture", "mu": -2.0, "sigma": 0.6, "mu2": 2.0, "sigma2": 0.9, "weight": 0.3},
]
CHAINS = [
    (1.5, 0.0, 1.0, 1.0, 0.7),
    (-3.0, 0.4, 0.02, 2.5, 0.05),
    (0.2, -1.0, 3.0, 0.0, 2.0),
    (20.0, 5.0, 0.1, 1.0, 10.0),
]
POINTS = [-30.0, -3.0, -0.9, 0.0, 0.3, 1.7, 3.2, 25.0]


def four_numbers():
    """Means and widths of two normals: extremes, and what a hand might drag."""
    generator = torch.Generator().manual_seed(0)
    means = 4 * torch.randn(60, 2, generator=generator, dtype=torch.float64)
    widths = torch.exp(1.5 * torch.randn(60, 2, generator=generator, dtype=torch.float64))
    drawn = torch.stack([means[:, 0], widths[:, 0], means[:, 1], widths[:, 1]], 1).tolist()
    return [*EXTREMES, *map(tuple, drawn)]


def pairs_of_shapes():
    return [(a, b) for a in SHAPES for b in SHAPES if a is not b]


def kl(m, s, n, r):
    return mp.log(r / s) + (s**2 + (m - n) ** 2) / (2 * r**2) - mp.mpf(1) / 2


def kl_asymmetry(m, s, n, r):
    return kl(m, s, n, r) - kl(n, r, m, s)


def wasserstein(m, s, n, r):
    return mp.sqrt((m - n) ** 2 + (s - r) ** 2)


def hellinger(m, s, n, r):
    overlap = mp.sqrt(2 * s * r / (s**2 + r**2)) * mp.exp(-((m - n) ** 2) / (4 * (s**2 + r**2)))
    return mp.sqrt(1 - overlap)


def total_variation(m, s, n, r):
    """Between the points where the densities cross."""
    a, b = s**-2 - r**-2, -2 * (m / s**2 - n / r**2)
    c = (m / s) ** 2 - (n / r) ** 2 + 2 * mp.log(s / r)
    if a == 0:
        roots = [] if b == 0 else [-c / b]
    else:
        roots = sorted((-b + sign * mp.sqrt(b * b - 4 * a * c)) / (2 * a) for sign in (1, -1))
    ends = [mp.ninf, *roots, mp.inf]
    masses = [[mp.ncdf((x - u) / v) if mp.isfinite(x) else x > 0 for x in ends] for u, v in ((m, s), (n, r))]
    gaps = [masses[0][i] - masses[1][i] for i in range(len(ends))]
    return sum(abs(gaps[i + 1] - gaps[i]) for i in range(len(ends) - 1)) / 2


def in_forty_digits(function, numbers):
    with mp.workdps(40):
        return float(function(*map(mp.mpf, numbers)))


CLOSED = {
    "normalKL": kl,
    "klAsymmetry": kl_asymmetry,
    "normalW2": wasserstein,
    "normalHellinger": hellinger,
    "normalTV": total_variation,
}


def chain(x, m, v, w, s):
    """The terms of the bound, by quadrature over z in forty digits."""
    with mp.workdps(40):
        x, m, v, w, s = map(mp.mpf, (x, m, v, w, s))
        evidence = mp.log(mp.npdf(x, 0, mp.sqrt(w**2 + s**2)))
        # out to 14 widths of q: exp(-98) is left
        nodes = [-14, -6, -3, -1, 0, 1, 3, 6, 14]
        error = mp.quad(lambda e: -mp.npdf(e) * mp.log(mp.npdf(x, w * (m + v * e), s)), nodes)
        posterior = kl(m, v, w * x / (w**2 + s**2), s / mp.sqrt(w**2 + s**2))
        prior = kl(m, v, mp.mpf(0), mp.mpf(1))
        return {
            "logEvidence": float(evidence),
            "reconstructionError": float(error),
            "kl": float(prior),
            "elbo": float(-error - prior),
            "gap": float(posterior),
        }


def log_densities(shape):
    """At POINTS, by torch; None where the density is 0."""
    low, high = shape.get("low", -torch.inf), shape.get("high", torch.inf)
    d = distribution(shape)
    return [float(d.log_prob(torch.tensor(x, dtype=torch.float64))) if low <= x <= high else None for x in POINTS]


def integrals(a, b):
    """By nelbo's quadrature, whose panels and rules are others than the browser's; None where one is infinite."""
    p, q = distribution(a), distribution(b)
    found = {
        "pq": nelbo.kl(p, q),
        "js": divergences.jensen_shannon(p, q),
        "hellinger": divergences.hellinger(p, q),
        "tv": divergences.total_variation(p, q),
    }
    values = {name: float(value) for name, value in found.items()}
    return {name: value if value < torch.inf else None for name, value in values.items()}


def vectors():
    numbers = four_numbers()
    return {
        "numbers": numbers,
        "closed": {name: [in_forty_digits(f, four) for four in numbers] for name, f in CLOSED.items()},
        "chains": [[list(case), chain(*case)] for case in CHAINS],
        "points": POINTS,
        "shapes": [[shape, log_densities(shape)] for shape in SHAPES],
        "pairs": [[a, b, integrals(a, b)] for a, b in pairs_of_shapes()],
    }


def written(values):
    """As JSON, a row on a line."""
    parts = []
    for name, part in values.items():
        rows = [f"{json.dumps(key)}: " for key in part] if isinstance(part, dict) else [""] * len(part)
        items = part.values() if isinstance(part, dict) else part
        lines = ",\n".join(row + json.dumps(item) for row, item in zip(rows, items, strict=True))
        parts.append(f"{json.dumps(name)}: " + ("{\n%s\n}" if isinstance(part, dict) else "[\n%s\n]") % lines)
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(written(vectors()), "utf-8")
