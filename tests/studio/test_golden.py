"""The browser's mathematics gives Python's numbers to 1e-12: nelbo writes the vectors, Chromium runs core/*.js on them.

Closed forms and quadratures of both sides are held to mpmath, which integrates in thirty digits. What is tiny is held
to 1e-15 instead: a distance between two all but equal normals is a difference of numbers near 1.
"""

import json
import math
from itertools import pairwise

import mpmath as mp
import pytest
import torch
from torch.distributions import Normal

import nelbo
from nelbo import axioms, divergences
from nelbo.studio.explore import distribution
from tests.studio import golden, golden_networks
from tests.studio.golden import SHAPES, four_numbers, pairs_of_shapes


def doubles(*values):
    return [torch.tensor(v, dtype=torch.float64) for v in values]


MODULES = """async (argument) => {
    const load = (name) => import(`/${name}.js`);
    const [math, families, link] = [await load("core/math"), await load("core/families"), await load("core/link")];
    const [chain, gradients] = [await load("pages/elbo/model"), await load("pages/reparam/estimators")];
    const metric = await load("pages/metric/divergences");
    const over = (f) => argument.map((a) => f(...a));
    return BODY;
}"""


def same(found, expected):
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and list(found) == list(expected)
            and same(list(found.values()), list(expected.values()))
        )
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == (pytest.approx(expected, rel=1e-12, abs=1e-15) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("each", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_what_node_reads_is_current(each):
    kept = json.loads(golden.PATH.read_text("utf-8"))
    kept |= {name: kept[name][::each] for name in ("pairs", "counts", "heavy")}
    for name, values in golden.vectors(each).items():
        assert same(kept[name], values), f"{name} has changed: python -m tests.studio.golden"


def near(found, expected):
    """The same text, and the same numbers but for the order of a sum in float32."""
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(near(found[name], each) for name, each in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(near, found, expected))
    return found == (pytest.approx(expected, rel=1e-5, abs=1e-6) if isinstance(expected, float) else expected)


def test_what_node_reads_of_networks_is_current():
    kept = json.loads(golden_networks.PATH.read_text("utf-8"))
    assert list(kept) == list(golden_networks.CASES)
    for name in golden_networks.CASES:
        message = f"{name} has changed: python -m tests.studio.golden_networks"
        assert near(kept[name], json.loads(json.dumps(golden_networks.vector(name)))), message


@pytest.fixture(scope="module")
def run(chromium, studio):
    """Run JavaScript with the modules math, families, chain and estimators at hand."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(studio.address())
    yield lambda body, argument=None: page.evaluate(MODULES.replace("BODY", body), argument)
    context.close()


def close(found, expected, *, rtol=1e-12, atol=0.0):
    for f, e, case in zip(found, expected, range(len(found)), strict=True):
        assert f == pytest.approx(e, rel=rtol, abs=atol), case


@pytest.mark.parametrize(
    ("function", "python", "atol"),
    [
        ("math.normalKL", nelbo.kl, 0.0),
        ("math.normalW2", divergences.wasserstein, 1e-15),
    ],
)
def test_closed_forms_between_normals(run, function, python, atol):
    cases = four_numbers()
    m, s, n, r = torch.tensor(cases, dtype=torch.float64).T
    expected = python(Normal(m, s), Normal(n, r)).value.tolist()
    close(run(f"over({function})", cases), expected, atol=atol)


def test_asymmetry_of_kl(run):
    cases = four_numbers()
    m, s, n, r = torch.tensor(cases, dtype=torch.float64).T
    close(run("over(math.klAsymmetry)", cases), axioms.kl_asymmetry(Normal(m, s), Normal(n, r)).tolist(), atol=1e-300)


def test_hellinger_and_total_variation_in_forty_digits(run):
    """Against mpmath too, which also knows where two widths are 10,000 apart."""
    cases = four_numbers()
    m, s, n, r = torch.tensor(cases, dtype=torch.float64).T
    p, q = Normal(m, s), Normal(n, r)
    python = [f(p, q).value.tolist() for f in (divergences.hellinger, divergences.total_variation)]
    found = run("argument.map((a) => [math.normalHellinger(...a), math.normalTV(...a)])", cases)
    for i, (case, pair) in enumerate(zip(cases, found, strict=True)):
        for name, value, by_torch in zip(("normalHellinger", "normalTV"), pair, python, strict=True):
            expected = golden.in_forty_digits(golden.CLOSED[name], case)
            assert [value, by_torch[i]] == pytest.approx([expected, expected], rel=1e-12, abs=1e-15), (name, case)


def test_jensen_shannon_between_normals(run):
    cases = four_numbers()
    m, s, n, r = torch.tensor(cases, dtype=torch.float64).T
    expected = divergences.jensen_shannon(Normal(m, s), Normal(n, r)).value.tolist()
    found = run("over(families.normalJS)", cases)
    close(found, expected, atol=1e-15)
    for i in range(3, len(cases), 16):
        m, s, n, r = cases[i]
        p, q = ({"family": "normal", "mu": mean, "sigma": width} for mean, width in ((m, s), (n, r)))
        exact = exact_integrals(p, q)["js"]
        assert [found[i], expected[i]] == pytest.approx([exact, exact], rel=1e-11, abs=1e-15), cases[i]


def exact_density(shape):
    """The density by its definition, in mpmath's digits, and the places between which it is smooth."""
    family, m, s = shape["family"], mp.mpf(shape["mu"]), mp.mpf(shape["sigma"])
    if family == "normal":
        return lambda x: mp.npdf(x, m, s), [m + k * s for k in (-40, -8, -2, 0, 2, 8, 40)]
    if family == "skew":
        places = [m + k * s for k in (-40, -8, -2, 0, 2, 8, 40)]
        return lambda x: 2 * mp.npdf(x, m, s) * mp.ncdf(mp.mpf(shape["skew"]) * (x - m) / s), places
    if family == "truncated":
        low, high = mp.mpf(shape["low"]), mp.mpf(shape["high"])
        mass = mp.ncdf((high - m) / s) - mp.ncdf((low - m) / s)
        inside = [low + (high - low) * k / 4 for k in range(5)]
        return lambda x: mp.npdf(x, m, s) / mass if low <= x <= high else mp.mpf(0), inside
    other, width, share = (mp.mpf(shape[name]) for name in ("mu2", "sigma2", "weight"))
    places = [a + k * b for a, b in ((m, s), (other, width)) for k in (-40, -8, -2, 0, 2, 8, 40)]
    return lambda x: (1 - share) * mp.npdf(x, m, s) + share * mp.npdf(x, other, width), places


def exact_integrals(p, q):
    """KL(p || q), Jensen-Shannon and Hellinger between two shapes, by mpmath."""
    with mp.workdps(30):
        (f, ends), (g, others) = exact_density(p), exact_density(q)
        places = sorted({*ends, *others})

        def integral(of):
            return mp.quad(lambda x: of(f(x), g(x)), places)

        def relative(a, b):
            return a * mp.log(a / b) if a else mp.mpf(0)

        reaches = all(g(x) for x in ends[1:-1])
        return {
            "pq": float(integral(relative)) if reaches else math.inf,
            "js": float(integral(lambda a, b: (relative(a, (a + b) / 2) + relative(b, (a + b) / 2)) / 2)),
            "hellinger": float(mp.sqrt(1 - integral(lambda a, b: mp.sqrt(a * b)))),
        }


@pytest.mark.parametrize(
    ("first", "second"),
    [(0, 1), (2, 5), (5, 0), (3, 0), (0, 3), (4, 1)],
)
def test_quadrature_of_both_sides_in_thirty_digits(run, first, second):
    a, b = SHAPES[first], SHAPES[second]
    found = run("families.integrals(families.density(argument[0]), families.density(argument[1]))", [a, b])
    p, q = distribution(a), distribution(b)
    python = {
        "pq": nelbo.kl(p, q),
        "js": divergences.jensen_shannon(p, q),
        "hellinger": divergences.hellinger(p, q),
    }
    for name, exact in exact_integrals(a, b).items():
        in_browser = math.inf if found[name] is None else found[name]
        assert [in_browser, float(python[name])] == pytest.approx([exact, exact], rel=1e-11), name


def test_log_densities_of_all_families(run):
    points = [-30.0, -3.0, -0.9, 0.0, 0.3, 1.7, 3.2, 25.0]
    found = run("argument[0].map((d) => argument[1].map(families.density(d).log))", [SHAPES, points])
    for shape, values in zip(SHAPES, found, strict=True):
        d = distribution(shape)
        for x, value in zip(points, values, strict=True):
            inside = shape["family"] != "truncated" or shape["low"] <= x <= shape["high"]
            expected = float(d.log_prob(*doubles(x))) if inside else -math.inf
            assert value == pytest.approx(expected, rel=1e-12), (shape, x)


def test_quadrature_over_all_pairs_of_families(run):
    pairs = pairs_of_shapes()
    found = run(
        "argument.map(([a, b]) => families.integrals(families.density(a), families.density(b)))",
        pairs,
    )
    for (a, b), values in zip(pairs, found, strict=True):
        p, q = distribution(a), distribution(b)
        expected = {
            "pq": nelbo.kl(p, q),
            "js": divergences.jensen_shannon(p, q),
            "hellinger": divergences.hellinger(p, q),
            "tv": divergences.total_variation(p, q),
        }
        for name, e in expected.items():
            assert values[name] == pytest.approx(float(e), rel=1e-12), (name, a, b, e)
        assert values["mass"] == pytest.approx(1.0, rel=1e-12)


def test_binning_never_raises_kl(run):
    pairs = pairs_of_shapes()
    edges = [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]
    found = run(
        "argument[0].map(([a, b]) => { const [p, q] = [families.density(a), families.density(b)];"
        " return [families.binned(p, q, argument[1]).pq, families.integrals(p, q).pq]; })",
        [pairs, edges],
    )
    assert all(cut <= whole * (1 + 1e-9) + 1e-12 for cut, whole in found)


def test_the_chain_of_the_elbo(run):
    cases = [
        (1.5, 0.0, 1.0, 1.0, 0.7),
        (-3.0, 0.4, 0.02, 2.5, 0.05),
        (0.2, -1.0, 3.0, 0.0, 2.0),
        (20.0, 5.0, 0.1, 1.0, 10.0),
    ]
    found = run("over(math.elboChain)", cases)
    for (x, m, v, w, s), values in zip(cases, found, strict=True):
        chain = divergences.elbo_chain(x, Normal(*doubles(m, v)), weight=w, noise=s)
        expected = [chain.log_evidence, chain.reconstruction_error, chain.kl, chain.elbo, chain.gap_to_posterior]
        names = ["logEvidence", "reconstructionError", "kl", "elbo", "gap"]
        close([values[n] for n in names], [float(e) for e in expected], atol=1e-15)


def test_the_bound_with_two_bumps_closes_by_its_kl(run):
    states = [
        {"model": "square", "x": 2.0, "w": 1.0, "s": 0.5, "m": 1.4, "v": 0.2},
        {"model": "square", "x": -1.0, "w": 0.5, "s": 0.3, "m": 0.0, "v": 1.0},
    ]
    for state, found in zip(states, run("argument.map(chain.terms)", states), strict=True):
        step = 1e-3  # z[1] - z[0] would carry the rounding of 10 into it
        z = torch.linspace(-10, 10, 20001, dtype=torch.float64)
        x, w, s, m, v = doubles(*(state[name] for name in ("x", "w", "s", "m", "v")))
        joint = Normal(w * z * z, s).log_prob(x) + Normal(*doubles(0.0, 1.0)).log_prob(z)
        evidence = torch.logsumexp(joint, 0) + math.log(step)
        q = Normal(m, v).log_prob(z)
        elbo = (q.exp() * (joint - q)).sum() * step
        assert found["evidence"] == pytest.approx(float(evidence), rel=1e-12)
        assert found["elbo"] == pytest.approx(float(elbo), rel=1e-12)
        assert found["gap"] == pytest.approx(float(evidence - elbo), rel=1e-12)


@pytest.mark.parametrize("model", ["linear", "square"])
def test_the_importance_weighted_bound_rises_from_the_elbo_to_log_p(run, model):
    state = {"model": model, "x": 1.5, "w": 1.0, "s": 0.7, "m": 0.4, "v": 0.8}
    body = """(() => {
        const random = math.randomness(2);
        const bound = chain.bounds(argument, 512);
        for (let i = 0; i < 2000; i++) bound.add(Float64Array.from({length: 512}, () => random.normal()));
        return [chain.terms(argument), bound.found()];
    })()"""
    terms, found = run(body, state)
    assert [one["k"] for one in found] == [2**i for i in range(10)]
    assert abs(found[0]["mean"] - terms["elbo"]) < 5 * found[0]["error"]
    for one, more in pairwise(found):
        assert one["mean"] < more["mean"] + more["error"]
    assert terms["evidence"] - 0.02 < found[-1]["mean"] < terms["evidence"] + 5 * found[-1]["error"]


def test_estimators_from_log_ratios(run):
    ratios = torch.randn(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.8 + 0.3
    found = run("math.fromLogRatios(argument)", ratios.tolist())
    for name, values in zip(("k1", "k2", "k3"), found, strict=True):
        e = divergences.kl_from_log_ratios(ratios, estimator=name)
        assert values["mean"] == pytest.approx(float(e), rel=1e-12)
        assert values["error"] == pytest.approx(float(e.standard_error), rel=1e-12)


@pytest.mark.parametrize("name", ["square", "shifted", "sine", "step", "elbo"])
def test_gradients_agree_with_the_truth_and_with_autograd(run, name):
    state = {"fn": name, "mu": 0.6, "sigma": 0.8, "c": 0.5}
    body = """(() => {
        const random = math.randomness(3);
        const eps = Float64Array.from({length: 40000}, () => random.normal());
        const made = gradients.gradients(argument, eps);
        const f = gradients.FUNCTIONS[argument.fn];
        const h = 1e-5;
        const value = (m, s) => f.exact(m, s, argument.c)[0];
        return {
            exact: f.exact(argument.mu, argument.sigma, argument.c),
            numeric: [(value(argument.mu + h, argument.sigma) - value(argument.mu - h, argument.sigma)) / (2 * h),
                      (value(argument.mu, argument.sigma + h) - value(argument.mu, argument.sigma - h)) / (2 * h)],
            found: Object.fromEntries(Object.entries(made).map(([k, v]) => [k, v.map((g) => math.meanAndError(g))])),
        };
    })()"""
    result = run(body, state)
    assert result["numeric"] == pytest.approx(result["exact"][1:], rel=1e-6)
    for way, (mu, sigma) in result["found"].items():
        if (name, way) == ("step", "pathwise"):
            assert mu["mean"] == sigma["mean"] == 0  # the trap that the page shows
            continue
        for found, exact in ((mu, result["exact"][1]), (sigma, result["exact"][2])):
            assert abs(found["mean"] - exact) < 5 * found["error"], way


def test_frames_pass_both_ways(run):
    from nelbo.studio.wire import pack, unpack

    frame = pack({"kind": "x", "id": 3, "text": "µ", "big": math.inf}, [b"abc", memoryview(bytes(8))])
    content, lengths, back = run(
        "(() => { const [content, buffers] = link.unpack(Uint8Array.from(argument).buffer);"
        " return [content, buffers.map((b) => b.byteLength), [...new Uint8Array(link.pack(content, buffers))]]; })()",
        list(frame),
    )
    assert content == {"kind": "x", "id": 3, "text": "µ", "big": None}
    assert lengths == [3, 8]
    again, buffers = unpack(bytes(back))
    assert again == content
    assert [bytes(b) for b in buffers] == [b"abc", bytes(8)]
