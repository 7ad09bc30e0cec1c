"""Every registered closed form against 50-digit quadrature, and against the other methods."""

import random
import zlib

import mpmath as mp
import pytest
import torch
from divergence_cases import COUNTS, FAMILIES, VECTORS, near, oracle, ugly
from torch.distributions import Distribution

import nelbo
from nelbo.divergences import Delta, registered

# a point has no density to integrate: tests/contract/test_latents.py has its infinite KL; that of a point on discrete
# codes, whatever their distribution, is in tests/wrapping/test_codes.py
REGISTERED = [pair for pair in registered() if Delta not in pair and Distribution not in pair]
PAIRS = [pair for pair in REGISTERED if not (set(pair) & set(VECTORS))]
IDS = [f"{p.__name__}-{q.__name__}" for p, q in PAIRS]


def check(value, exact, log_p, log_q, same):
    if exact == mp.inf:
        assert value == float("inf")
        return
    # across families the answer is a difference of two expectations, and their size limits what float64 can
    # know
    size = 1 + abs(float(log_p)) + abs(float(log_q))
    tolerance = 2e-9 * abs(float(exact)) + (1e-20 if same else 0) + (1e-13 if not same else 2e-16) * size
    assert abs(value - float(exact)) <= tolerance, (value, float(exact), tolerance)


def test_every_registered_pair_has_a_row():
    missing = {t for pair in REGISTERED for t in pair} - set(FAMILIES) - set(VECTORS)
    assert not missing, f"add {missing} to FAMILIES (or VECTORS) in divergence_cases.py"


@pytest.mark.parametrize(("P", "Q"), PAIRS, ids=IDS)
def test_closed_form_is_the_integral(P, Q):
    args = FAMILIES[P].usual[0], FAMILIES[Q].usual[1]
    p, q = FAMILIES[P].build(*args[0]), FAMILIES[Q].build(*args[1])
    estimate = nelbo.kl(p, q, method="closed_form")
    assert estimate.method == "closed_form"
    assert estimate.standard_error == 0
    check(float(estimate), *oracle(P, args[0], Q, args[1], digits=25), P is Q)


@pytest.mark.parametrize(("P", "Q"), PAIRS, ids=IDS)
def test_methods_agree_within_their_errors(P, Q):
    p, q = FAMILIES[P].build(*FAMILIES[P].usual[0]), FAMILIES[Q].build(*FAMILIES[Q].usual[1])
    exact = nelbo.kl(p, q, method="closed_form")
    other = nelbo.kl(p, q, method="exact_sum" if P in COUNTS else "quadrature")
    if torch.isinf(exact.value):
        assert torch.isinf(other.value)
        return
    assert abs(float(other) - float(exact)) <= float(other.standard_error) + 1e-13 * (1 + abs(float(exact)))
    assert float(other.standard_error) < 1e-6 * (1 + float(exact))
    draws = nelbo.kl(p, q, method="monte_carlo", samples=20_000, seed=1)
    assert abs(float(draws) - float(exact)) <= 5 * float(draws.standard_error) + 1e-12


@pytest.mark.parametrize("P", [P for P, Q in PAIRS if P is Q], ids=lambda P: P.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_parameters_give_exactly_zero(P, dtype):
    rng = random.Random(7)
    searched = [ugly(P, rng) for _ in range(30)] if FAMILIES[P].kinds else []
    for args in [*FAMILIES[P].usual, *searched]:
        p, q = (FAMILIES[P].build(*args) for _ in range(2))
        if dtype == torch.float32:
            p, q = single(p), single(q)
        value = nelbo.kl(p, q).value
        assert value == 0, (args, value)


def single(p):
    """The distribution with float32 parameters, from its constructor arguments."""
    keys = [k for k in p.arg_constraints if k in vars(p)]
    keys = [k for k in keys if k != "logits"] if "probs" in keys else keys
    keys = keys or list(p.arg_constraints)
    values = {k: getattr(p, k) for k in keys}
    # rounding must not carry a probability out of its domain, nor glue an interval together
    return type(p)(**{k: (v.float().clamp(max=1 - 1e-7) if k == "probs" else v.float()) for k, v in values.items()})


@pytest.mark.slow
@pytest.mark.parametrize(("P", "Q"), PAIRS, ids=IDS)
def test_closed_form_at_the_ugly_ends(P, Q):
    rng = random.Random(zlib.crc32(f"{P.__name__}-{Q.__name__}".encode()))
    cases = [(a, b) for a in FAMILIES[P].usual for b in FAMILIES[Q].usual]
    if FAMILIES[P].kinds and FAMILIES[Q].kinds:
        for _ in range(6):
            a = ugly(P, rng)
            cases.append((a, near(P, a, rng) if P is Q and rng.random() < 0.5 else ugly(Q, rng)))
    for a, b in cases:
        value = float(nelbo.kl(FAMILIES[P].build(*a), FAMILIES[Q].build(*b), method="closed_form"))
        exact, log_p, log_q = oracle(P, a, Q, b)
        if exact != mp.inf and float(exact) > 1e290:
            continue
        check(value, exact, log_p, log_q, P is Q)
