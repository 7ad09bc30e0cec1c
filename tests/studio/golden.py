"""What the browser's mathematics has to give: closed forms in forty digits, and integrals by nelbo.

`python -m tests.studio.golden` writes js/golden.json, which Node's tests read; test_golden.py holds it to be current.
"""

import json
from pathlib import Path

import mpmath as mp
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.distributions import Normal

import nelbo
from nelbo import divergences, likelihoods
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
OTHERS = [
    {"family": "laplace", "mu": -1.0, "sigma": 0.8},
    {"family": "laplace", "mu": 0.3, "sigma": 5.0},
    {"family": "cauchy", "mu": 1.0, "sigma": 0.6},
    {"family": "cauchy", "mu": -2.0, "sigma": 3.0},
    {"family": "student", "mu": 0.0, "sigma": 1.2, "nu": 3.0},
    {"family": "student", "mu": 1.0, "sigma": 0.4, "nu": 0.7},
    {"family": "student", "mu": -0.5, "sigma": 2.0, "nu": 60.0},
    {"family": "exponential", "rate": 0.7},
    {"family": "exponential", "rate": 4.0},
]
COUNTS = [
    *({"family": "bernoulli", "prob": prob} for prob in (0.0, 0.02, 0.3, 0.9, 1.0)),
    *({"family": "poisson", "rate": rate} for rate in (0.03, 1.0, 2.5, 40.0, 900.0)),
]
# tails so heavy that the mean of -log q is only just finite, or is infinite
HEAVY = [
    ({"family": "student", "mu": 0.0, "sigma": 1.2, "nu": 2.01}, {"family": "normal", "mu": 0.5, "sigma": 1.5}),
    ({"family": "student", "mu": 1.0, "sigma": 0.1, "nu": 2.2}, SHAPES[1]),
    ({"family": "student", "mu": -1.0, "sigma": 0.3, "nu": 2.5}, SHAPES[5]),
    ({"family": "student", "mu": 0.0, "sigma": 1.2, "nu": 1.05}, OTHERS[0]),
    ({"family": "student", "mu": 0.0, "sigma": 1.0, "nu": 2.0}, SHAPES[0]),
    ({"family": "student", "mu": 0.0, "sigma": 1.0, "nu": 1.0}, OTHERS[0]),
    (OTHERS[2], SHAPES[5]),
    (OTHERS[7], OTHERS[3]),
    (OTHERS[3], OTHERS[7]),
]
CHAINS = [
    (1.5, 0.0, 1.0, 1.0, 0.7),
    (-3.0, 0.4, 0.02, 2.5, 0.05),
    (0.2, -1.0, 3.0, 0.0, 2.0),
    (20.0, 5.0, 0.1, 1.0, 10.0),
]
# of the decoder, and x: what each feature costs under the likelihoods that a page computes
FEATURES = {
    "bernoulli": (likelihoods.Bernoulli(), [-40.0, -3.0, 0.0, 0.2, 5.0, 60.0], [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]),
    "continuous_bernoulli": (
        likelihoods.ContinuousBernoulli(),
        [-40.0, -3.0, 0.0, 0.009, 0.011, 60.0],
        [0.1, 0.9, 0.5, 0.0, 1.0, 0.99],
    ),
    "poisson": (likelihoods.Poisson(), [-4.0, 0.0, 1.5, 3.0, 5.0], [0.0, 2.0, 3.0, 40.0, 170.0]),
    "normal": (likelihoods.Normal(0.7), [-2.0, 0.0, 1.5], [0.4, 0.0, -30.0]),
    "decoded": (likelihoods.Normal("decoded"), [-2.0, 0.0, 1.5, -9.0, 0.3, 4.0], [0.4, 0.0, -30.0]),
}
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


def pairs_with_others():
    """Each of OTHERS beside three shapes, with two of them both ways."""
    found = []
    for k, other in enumerate(OTHERS):
        shape, next_one, third = SHAPES[k % len(SHAPES)], OTHERS[(k + 1) % len(OTHERS)], OTHERS[(k + 4) % len(OTHERS)]
        found += [(other, shape), (shape, other), (other, next_one), (next_one, other), (other, third)]
    return found


def pairs_of_counts():
    return [(a, b) for a in COUNTS for b in COUNTS if a["family"] == b["family"]]


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


def laplace(m, b, n, c):
    d = abs(m - n)
    return mp.log(c / b) + (b * mp.exp(-d / b) + d) / c - 1


def cauchy(m, b, n, c):
    return mp.log(((b + c) ** 2 + (m - n) ** 2) / (4 * b * c))


def exponential(a, b):
    return mp.log(a / b) + b / a - 1


def poisson(a, b):
    return b - a + a * mp.log(a / b)


def bernoulli(a, b):
    return sum(u * mp.log(u / v) if u else 0 for u, v in ((a, b), (1 - a, 1 - b)))


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
OF_WIDTHS = {"laplaceKL": laplace, "cauchyKL": cauchy}
RATES = {"exponentialKL": exponential, "poissonKL": poisson}


def two_numbers():
    """Rates: extremes, and what a hand might drag."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.exp(2 * torch.randn(40, 2, generator=generator, dtype=torch.float64)).tolist()
    return [(1.0, 1.0), (1.0, 1.0 + 1e-9), (1e-3, 1e3), (1e3, 1e-3), *map(tuple, drawn)]


def two_probabilities():
    generator = torch.Generator().manual_seed(2)
    drawn = torch.rand(40, 2, generator=generator, dtype=torch.float64).tolist()
    return [(0.5, 0.5), (0.3, 0.3 + 1e-9), (0.0, 0.4), (1.0, 0.4), (1e-9, 0.5), *map(tuple, drawn)]


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


def log_ndtr(z):
    """log of the normal distribution function in thirty digits, however far out."""
    if z > -30:
        return mp.log(mp.ncdf(z))
    series = sum((-1) ** k * mp.fac2(2 * k - 1) / z ** (2 * k) for k in range(12))
    return -z * z / 2 - mp.log(-z * mp.sqrt(2 * mp.pi)) + mp.log(series)


def log_mixture(one, other):
    """log(exp(one) + exp(other))"""
    high, low = max(one, other), min(one, other)
    return high if high - low > 100 else high + mp.log(1 + mp.exp(low - high))


def exact_log(shape):
    """The log-density by its definition, in mpmath's digits."""
    m, s, nu, rate, prob = (mp.mpf(shape.get(name, 0)) for name in ("mu", "sigma", "nu", "rate", "prob"))
    slant, m2, s2, share = (mp.mpf(shape.get(name, 0)) for name in ("skew", "mu2", "sigma2", "weight"))

    def normal(x, m, s):
        return -mp.log(2 * mp.pi * s**2) / 2 - ((x - m) / s) ** 2 / 2

    def student(x):
        top = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2 - mp.log(s)
        return top - (nu + 1) / 2 * mp.log(1 + ((x - m) / s) ** 2 / nu)

    def bernoulli(x):
        mass = {1: prob, 0: 1 - prob}.get(x, 0)
        return mp.log(mass) if mass else mp.ninf

    return {
        "normal": lambda x: normal(x, m, s),
        "laplace": lambda x: -abs(x - m) / s - mp.log(2 * s),
        "cauchy": lambda x: -mp.log(mp.pi * s * (1 + ((x - m) / s) ** 2)),
        "student": student,
        "skew": lambda x: mp.log(2) + normal(x, m, s) + log_ndtr(slant * (x - m) / s),
        "mixture": lambda x: log_mixture(mp.log(1 - share) + normal(x, m, s), mp.log(share) + normal(x, m2, s2)),
        "exponential": lambda x: mp.log(rate) - rate * x if x >= 0 else mp.ninf,
        "bernoulli": bernoulli,
        "poisson": lambda x: x * mp.log(rate) - rate - mp.loggamma(x + 1) if x >= 0 and x == int(x) else mp.ninf,
    }[shape["family"]]


def exact_logs(shape):
    """At POINTS, or at the first counts and some around the mean."""
    points = POINTS
    if shape in COUNTS:
        mean = int(shape.get("rate", 0))
        points = [-1.0, 0.5, *map(float, sorted({0, 1, 2, 9, 10, 11, mean, mean + 5, 2 * mean}))]
    with mp.workdps(40):
        log = exact_log(shape)
        values = [(x, log(mp.mpf(x))) for x in points]
    return [[x, None if value == mp.ninf else float(value)] for x, value in values]


def exact_sums(a, b):
    """Over the counts, in forty digits; None where KL is infinite."""
    with mp.workdps(40):
        log_p, log_q = exact_log(a), exact_log(b)
        last = 1 if "prob" in a else int(max(d["rate"] + 14 * d["rate"] ** 0.5 for d in (a, b))) + 40
        logs = [(log_p(k), log_q(k)) for k in range(last + 1)]
        masses = [(mp.exp(u), mp.exp(v)) for u, v in logs]

        def relative(u, v):
            return u * mp.log(u / v) if u else mp.mpf(0)

        infinite = any(u and not v for u, v in masses)
        halves = ((relative(u, (u + v) / 2) + relative(v, (u + v) / 2)) / 2 for u, v in masses)
        return {
            "pq": None
            if infinite
            else float(sum(m * (u - v) for (u, v), (m, _) in zip(logs, masses, strict=True) if m)),
            "js": float(sum(halves)),
            "hellinger": float(mp.sqrt(sum((mp.sqrt(u) - mp.sqrt(v)) ** 2 for u, v in masses) / 2)),
            "tv": float(sum(abs(u - v) for u, v in masses) / 2),
        }


def exact_kl(a, b):
    """KL(a || b) over t, x = m + s sinh t; None where p escapes from q, or the mean of -log q diverges."""
    needs = {"laplace": 1, "exponential": 1, "normal": 2, "skew": 2, "mixture": 2}.get(b["family"], 0)
    moments = {"student": a.get("nu"), "cauchy": 1.0}.get(a["family"], 99.0)
    if (needs and moments <= needs) or (b["family"] == "exponential" and a["family"] != "exponential"):
        return None
    with mp.workdps(20):
        log_p, log_q = exact_log(a), exact_log(b)
        m, s = mp.mpf(a.get("mu", 0)), mp.mpf(a.get("sigma", 1))
        far = 60 / min(moments - needs, 5)
        bends = [b.get("mu", 0), b.get("mu2", 0), 0] if a["family"] != "exponential" else []
        inner = sorted({0.0, 0.5, 1.0, *(float(mp.asinh(abs(x - m) / s)) for x in bends)})
        ends = [*inner, *(max(inner) + 2.0**k for k in range(14) if 2.0**k < far), far + max(inner)]

        def integrand(t):
            x = m + s * mp.sinh(t)
            at = log_p(x)
            return mp.exp(at) * (at - log_q(x)) * s * mp.cosh(t)

        right = mp.quad(integrand, ends, maxdegree=5)
        if a["family"] == "exponential":
            return float(right)
        return float(right + mp.quad(integrand, [-t for t in reversed(ends)], maxdegree=5))


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


# of small VAEs: sizes, examples in a batch, beta, learning rate
NETWORKS = [
    ({"features": 6, "hidden": 5, "latent": 2}, 4, 1.0, 0.003),
    ({"features": 6, "hidden": 5, "latent": 2}, 3, 0.0, 0.01),
    ({"features": 7, "hidden": 4, "latent": 3}, 2, 20.0, 0.1),
]


def waves(n, shift, scale):
    """Numbers that JavaScript makes too."""
    return scale * torch.sin(1.7 * torch.arange(n, dtype=torch.float64) + shift)


def vae_of(sizes, weights):
    """A recipe's VAE in double precision, its parameters filled from one list in their order."""
    with torch.random.fork_rng([]):
        model = nelbo.recipes.vae((sizes["features"],), hidden=(sizes["hidden"],), latent=sizes["latent"]).double()
        model.posterior(torch.zeros(1, sizes["features"], dtype=torch.float64))
    torch.nn.utils.vector_to_parameters(weights, model.parameters())
    return model


def terms_and_gradient(model, x, eps, beta):
    """Reconstruction error and KL under given noise, means over the batch, and the gradient of their weighed sum."""
    q = model.posterior(x)
    z = q.mean + q.stddev * eps
    reconstruction, kl = -model.log_likelihood(x, z).mean(), nelbo.kl(q, model.prior).value.mean()
    gradient = torch.autograd.grad(reconstruction + beta * kl, list(model.parameters()))
    return float(reconstruction.detach()), float(kl.detach()), torch.cat([part.flatten() for part in gradient])


def network_steps(sizes, examples, beta, rate):
    """Two steps of Adam on a batch of a small VAE: terms, gradient and weights of each."""
    count = sum((i + 1) * o for i, o in layer_sizes(**sizes))
    weights = waves(count, 0.3, 0.6)
    x = (waves(examples * sizes["features"], 2.0, 1.0) > 0).double().reshape(examples, -1)
    eps = waves(examples * sizes["latent"], 5.0, 1.5).reshape(examples, -1)
    model = vae_of(sizes, weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = []
    for _ in range(2):
        reconstruction, kl, gradient = terms_and_gradient(model, x, eps, beta)
        torch.nn.utils.vector_to_parameters(gradient, (made := [torch.empty_like(p) for p in model.parameters()]))
        for parameter, part in zip(model.parameters(), made, strict=True):
            parameter.grad = part
        optimizer.step()
        moved = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        steps.append([reconstruction, kl, gradient.tolist(), moved.tolist()])
    return [{**sizes, "examples": examples, "beta": beta, "rate": rate}, steps]


def layer_sizes(*, features, hidden, latent):
    return [(features, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, features)]


REPARAM = {
    "square": lambda z, c: z**2,
    "shifted": lambda z, c: (z - c) ** 2,
    "sine": lambda z, c: torch.sin(3 * z),
    "elbo": lambda z, c: -Normal(z, 0.7).log_prob(double(1.5)) - Normal(0.0, 1.0).log_prob(z),
}
HELD = [(-1.0, 0.4, 0.5, 1.2), (2.0, 0.05, -0.3, -2.7), (0.3, 1.5, 1.0, 0.0)]


def double(value, **options):
    return torch.tensor(value, dtype=torch.float64, **options)


def one_draw(fn, mu, sigma, c, eps):
    """z, f(z), its slope, and both gradients by mu and sigma, by autograd."""
    m, s = double(mu, requires_grad=True), double(sigma, requires_grad=True)
    z = m + s * eps
    value = REPARAM[fn](z, c)
    slope, *pathwise = torch.autograd.grad(value, (z, m, s))
    score = torch.autograd.grad(value.detach() * Normal(m, s).log_prob(z.detach()), (m, s))
    return {
        "z": z.item(),
        "f": value.item(),
        "slope": float(slope),
        "pathwise": [float(g) for g in pathwise],
        "score": [float(g) for g in score],
    }


def descent(fn, mu, sigma, c, rate, estimator, pairs):
    """The mean of q after each step by the mean gradient of two draws, of which each is the other's baseline."""
    m = double(mu, requires_grad=True)
    places = [mu]
    for pair in pairs:
        z = m + sigma * double(pair)
        values = REPARAM[fn](z, c)
        if estimator == "pathwise":
            surrogate = values.mean()
        else:
            taken = values.flip(0) if estimator == "baseline" else torch.zeros(2)
            surrogate = ((values - taken).detach() * Normal(m, sigma).log_prob(z.detach())).mean()
        (gradient,) = torch.autograd.grad(surrogate, m)
        m = (m - rate * gradient).detach().requires_grad_()
        places.append(m.item())
    return places


def variances_of_gradients(fn, mu, sigma, c):
    """Of one draw of d/dmu, by Gauss-Hermite quadrature, which is exact for a quadratic f."""
    nodes, weights = (torch.from_numpy(v) for v in hermegauss(20))
    z = (mu + sigma * nodes).requires_grad_()
    values = REPARAM[fn](z, c)
    (slopes,) = torch.autograd.grad(values.sum(), z)
    weights = weights / weights.sum()
    score = values.detach() * nodes / sigma

    def variance(g):
        return float((weights * (g - (weights * g).sum()) ** 2).sum())

    return {"pathwise": variance(slopes), "score": variance(score)}


def descents():
    pairs = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).tolist()
    for fn, mu, sigma, c, rate in (("elbo", -1.0, 0.4, 0.5, 0.03), ("shifted", 2.0, 0.7, -0.3, 0.05)):
        state = {"fn": fn, "mu": mu, "sigma": sigma, "c": c, "rate": rate}
        ways = ("pathwise", "score", "baseline")
        yield [state, pairs, {way: descent(fn, mu, sigma, c, rate, way, pairs) for way in ways}]


def costs(family, outputs, x):
    """-log p(x_i|z) of each feature, by nelbo in float64, and the form in which the page is told the family."""
    parameters, x = (torch.tensor([v], dtype=torch.float64) for v in (outputs, x))
    px = family(parameters, 1)
    return [family.browser_form(), *parameters.tolist(), *x.tolist(), (-px.base_dist.log_prob(x))[0].tolist()]


def unit_kl(m, s):
    """The KL of a unit to N(0, 1), for its place and for its width."""
    with mp.workdps(40):
        m, s = mp.mpf(m), mp.mpf(s)
        return [float(m**2 / 2), float((s**2 - 1) / 2 - mp.log(s))]


def vectors(each=1):
    """All of them; of the sums and integrals, which take a while, every so many."""
    numbers = four_numbers()
    return {
        "numbers": numbers,
        "closed": {name: [in_forty_digits(f, four) for four in numbers] for name, f in CLOSED.items()},
        "chains": [[list(case), chain(*case)] for case in CHAINS],
        "points": POINTS,
        "shapes": [[shape, log_densities(shape)] for shape in SHAPES],
        "pairs": [[a, b, integrals(a, b)] for a, b in (*pairs_of_shapes(), *pairs_with_others())[::each]],
        "widths": {name: [in_forty_digits(f, four) for four in numbers] for name, f in OF_WIDTHS.items()},
        "rates": [[*pair, {name: in_forty_digits(f, pair) for name, f in RATES.items()}] for pair in two_numbers()],
        "coins": [[*pair, in_forty_digits(bernoulli, pair)] for pair in two_probabilities()],
        "logs": [[shape, exact_logs(shape)] for shape in (*OTHERS, *COUNTS)],
        "counts": [[a, b, exact_sums(a, b)] for a, b in pairs_of_counts()[::each]],
        "networks": [network_steps(*case) for case in NETWORKS],
        "features": {name: costs(*case) for name, case in FEATURES.items()},
        "units": [[m, s, *unit_kl(m, s)] for m, s, *_ in numbers],
        "heavy": [[a, b, exact_kl(a, b)] for a, b in HEAVY[::each]],
        "draws": [
            [dict(zip(("fn", "mu", "sigma", "c", "eps"), (fn, *held), strict=True)), one_draw(fn, *held)]
            for fn in REPARAM
            for held in HELD
        ],
        "descents": list(descents()),
        "gradientVariances": [
            [{"fn": fn, "mu": mu, "sigma": sigma, "c": c}, variances_of_gradients(fn, mu, sigma, c)]
            for fn in ("square", "shifted", "elbo")
            for mu, sigma, c, _ in HELD
        ],
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
