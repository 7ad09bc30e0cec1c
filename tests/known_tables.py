"""Distributions over mixed tables whose log-probability is known: a Bayesian network, and a latent class model."""

import numpy as np
from scipy import stats
from scipy.special import logsumexp

SEASON = np.array([0.4, 0.35, 0.25])
RAIN = np.array([0.7, 0.3, 0.1])  # by season
SPRINKLER = np.array([[0.1, 0.4, 0.7], [0.01, 0.05, 0.1]])  # by rain and season
WET = np.array([[0.02, 0.85], [0.9, 0.99]])  # by rain and sprinkler
WARM = np.array([5.0, 15.0, 25.0])  # by season


def network(n, *, seed=0):
    """Rows of a network: season -> rain, temperature; season, rain -> sprinkler; rain, sprinkler -> wet."""
    r = np.random.default_rng(seed)
    season = r.choice(3, n, p=SEASON)
    rain = (r.random(n) < RAIN[season]).astype(int)
    sprinkler = (r.random(n) < SPRINKLER[rain, season]).astype(int)
    wet = (r.random(n) < WET[rain, sprinkler]).astype(int)
    return {
        "season": [("winter", "spring", "summer")[s] for s in season],
        "rain": [bool(v) for v in rain],
        "sprinkler": [bool(v) for v in sprinkler],
        "wet": [bool(v) for v in wet],
        "temperature": r.normal(WARM[season], 3.0).tolist(),
    }


def network_log_prob(rows):
    """log p of each row of such a network, in nats."""
    season = np.array([("winter", "spring", "summer").index(s) for s in rows["season"]])
    rain, sprinkler, wet = (np.asarray(rows[name]).astype(int) for name in ("rain", "sprinkler", "wet"))

    def bernoulli(value, p):
        return np.log(np.where(value == 1, p, 1 - p))

    return (
        np.log(SEASON[season])
        + bernoulli(rain, RAIN[season])
        + bernoulli(sprinkler, SPRINKLER[rain, season])
        + bernoulli(wet, WET[rain, sprinkler])
        + stats.norm.logpdf(rows["temperature"], WARM[season], 3.0)
    )


CLASSES = np.array([0.4, 0.3, 0.2, 0.1])
JOB = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25, 0.25, 0.25, 0.25]])
OWNS = np.array([0.9, 0.5, 0.1, 0.3])
VISITS = np.array([0.5, 2.0, 5.0, 1.0])
AGE = np.array([30.0, 45.0, 60.0, 75.0])


def classes(n, *, seed=0):
    """Rows of a latent class model: job, ownership of a house, visits and age are independent given the class."""
    r = np.random.default_rng(seed)
    k = r.choice(4, n, p=CLASSES)
    job = (r.random(n)[:, None] > JOB[k].cumsum(1)).sum(1)
    return {
        "job": [("clerk", "farmer", "nurse", "teacher")[j] for j in job],
        "owns": [bool(v) for v in r.random(n) < OWNS[k]],
        "visits": r.poisson(VISITS[k]).tolist(),
        "age": r.normal(AGE[k], 4.0).tolist(),
    }


def classes_log_prob(rows):
    """log p of each row of such a model, by enumerating the classes, in nats."""
    job = np.array([("clerk", "farmer", "nurse", "teacher").index(j) for j in rows["job"]])
    owns = np.asarray(rows["owns"]).astype(int)
    with np.errstate(divide="ignore"):
        each = [
            np.log(CLASSES[k])
            + np.log(JOB[k][job])
            + np.log(np.where(owns == 1, OWNS[k], 1 - OWNS[k]))
            + stats.poisson.logpmf(rows["visits"], VISITS[k])
            + stats.norm.logpdf(rows["age"], AGE[k], 4.0)
            for k in range(4)
        ]
    return logsumexp(each, axis=0)
