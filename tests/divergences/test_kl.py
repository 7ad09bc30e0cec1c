"""The engine around the closed forms: what torch gets wrong, gradients, shapes, errors."""

import itertools
import math

import mpmath as mp
import pytest
import torch
import torch.distributions as D
from divergence_cases import FAMILIES
from torch import tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacrev, jvp, vmap

import nelbo
from nelbo.divergences import TruncatedNormal, closed_form


def t(x, **kwargs):
    return tensor(x, dtype=torch.float64, **kwargs)


def test_torch_says_inf_where_continuous_bernoulli_and_uniform_share_their_support():
    p, q = D.ContinuousBernoulli(t(0.3)), D.Uniform(t(0.0), t(1.0))
    assert torch.isinf(D.kl_divergence(p, q))  # torch 2.13; drop this line when torch is right
    assert float(nelbo.kl(p, q)) == pytest.approx(0.0294, abs=5e-5)
    assert float(nelbo.kl(q, p)) == pytest.approx(0.0297, abs=5e-5)


def test_broadcast_bernoullis_where_torch_raises():
    p, q = D.Bernoulli(t([[0.1], [0.2]])), D.Bernoulli(t([0.0, 0.5, 1.0]))
    with pytest.raises((IndexError, RuntimeError)):
        D.kl_divergence(p, q)
    value = nelbo.kl(p, q).value
    assert value.shape == (2, 3)
    assert torch.isinf(value[:, [0, 2]]).all()
    assert float(value[0, 1]) == pytest.approx(0.1 * math.log(0.2) + 0.9 * math.log(1.8), rel=1e-14)


@pytest.mark.parametrize("size", [1e-12, 1e-11, 1e-10, 1e-8, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("scale", [1.0, 0.37, 3e4])
@pytest.mark.parametrize("part", ["loc", "scale"])
def test_float32_keeps_collapsed_units(size, scale, part):
    m = tensor(math.sqrt(2 * size) * scale if part == "loc" else 0.0)
    s = tensor(scale if part == "loc" else scale * (1 + math.sqrt(size)))
    p, q = D.Normal(m, s), D.Normal(tensor(0.0), tensor(scale))
    with mp.workdps(40):
        r, d = mp.mpf(float(s)) / mp.mpf(float(q.scale)), mp.mpf(float(m)) / mp.mpf(float(q.scale))
        exact = float((r**2 + d**2 - 1) / 2 - mp.log(r))
    value = nelbo.kl(p, q).value
    assert value.dtype == torch.float32
    assert abs(float(value) / exact - 1) < 0.01 * (1e-3 if size > 1e-9 else 1)


def test_torch_loses_the_collapsed_unit():
    p, q = D.Normal(tensor(1e-4), tensor(1.0)), D.Normal(tensor(0.0), tensor(1.0))
    assert float(nelbo.kl(p, q)) == pytest.approx(5e-9, rel=1e-6)
    assert float(D.kl_divergence(p, q)) == 0.0


def test_folding_transforms_are_not_cancelled():
    """|N(1, 1)| and |N(-1, 1)| are the same distribution; torch answers KL(N(1, 1) || N(-1, 1)) = 2."""
    p, q = (D.TransformedDistribution(D.Normal(m, 1.0), D.AbsTransform()) for m in (1.0, -1.0))
    assert float(D.kl_divergence(p, q)) == 2.0
    assert closed_form(p, q) is None


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (D.Uniform(t(0.0), t(1.0)), D.Uniform(t(0.5), t(2.0))),
        (D.Normal(t(0.0), t(1.0)), D.Exponential(t(1.0))),
        (D.Poisson(t(1.0)), D.Binomial(5, t(0.5))),
        (D.StudentT(t(3.0)), D.Gamma(t(1.0), t(1.0))),
        (D.Poisson(t(1.0)), D.Normal(t(0.0), t(1.0))),
        (D.Cauchy(t(0.0), t(1.0)), D.Normal(t(0.0), t(1.0))),
        (D.Categorical(t([0.5, 0.5])), D.Categorical(t([1.0, 0.0]))),
        (TruncatedNormal(t(0.0), t(1.0), t(-1.0), t(1.0)), TruncatedNormal(t(0.0), t(1.0), t(-0.5), t(2.0))),
    ],
)
def test_mass_outside_of_q_is_exactly_infinite(p, q):
    estimate = nelbo.kl(p, q)
    assert estimate.value == torch.inf
    assert estimate.standard_error == 0


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (D.StudentT(t(3.0)), D.StudentT(t(5.0), t(1.0))),
        (D.Poisson(t(3.0)), D.Geometric(t(0.2))),
        (D.Binomial(3, t(0.2)), D.Binomial(5, t(0.4))),
        (D.Gamma(t(2.0), t(1.0)), D.Gumbel(t(0.0), t(1.0))),
        (
            D.MixtureSameFamily(D.Categorical(t([0.3, 0.7])), D.Normal(t([0.0, 5.0]), t([1.0, 0.1]))),
            D.Normal(t(0.0), t(3.0)),
        ),
        (
            D.Normal(t(0.0), t(3.0)),
            D.MixtureSameFamily(D.Categorical(t([0.3, 0.7])), D.Normal(t([0.0, 5.0]), t([1.0, 0.1]))),
        ),
        (D.Kumaraswamy(t(2.0), t(3.0)), D.Beta(t(2.0), t(2.0))),
    ],
)
def test_without_closed_form_two_methods_agree(p, q):
    auto = nelbo.kl(p, q)
    draws = nelbo.kl(p, q, method="monte_carlo", samples=100_000, seed=0)
    assert float(auto.standard_error) < 1e-8
    assert abs(float(auto) - float(draws)) < 5 * float(draws.standard_error)


UNIT = [
    D.Uniform(t(0.0), t(1.0)),
    D.Beta(t(0.6), t(2.0)),
    D.Kumaraswamy(t(2.0), t(0.7)),
    D.ContinuousBernoulli(t(0.3)),
]
HALF_LINE = [
    D.Exponential(t(1.5)),
    D.Gamma(t(0.5), t(1.0)),
    D.Weibull(t(1.5), t(0.7)),
    D.HalfNormal(t(1.0)),
]
HEAVY = [
    D.LogNormal(t(0.0), t(1.0)),
    D.HalfCauchy(t(1.0)),
    D.FisherSnedecor(t(3.0), t(4.0)),
    D.GeneralizedPareto(t(0.0), t(1.0), t(0.3)),
]
PAIRS = [
    *(pair for group in (UNIT, HALF_LINE, HEAVY) for pair in itertools.permutations(group, 2)),
    *itertools.product(HALF_LINE, HEAVY),  # the other way round, E_p[x^k] of a heavy tail may not exist
]


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=str)
def test_a_small_density_at_an_end_is_not_missing_mass(p, q):
    """Quadrature and the mean over draws agree; one that takes a density of e^-40 for none says infinity."""
    by_quadrature = nelbo.kl(p, q, method="quadrature")
    by_draws = nelbo.kl(p, q, method="monte_carlo", samples=20_000)
    assert bool(torch.isfinite(by_quadrature.value))
    assert abs(float(by_quadrature.value - by_draws.value)) < 5 * float(by_draws.standard_error) + 1e-6


def test_uniform_against_kumaraswamy():
    unit = D.Uniform(t(0.0), t(1.0))
    assert float(nelbo.kl(unit, D.Kumaraswamy(t(1.0), t(1.0))).value) == pytest.approx(0, abs=1e-9)
    # the mean of -log(6 x (1 - x^2)^2), by mpmath
    assert float(nelbo.kl(unit, D.Kumaraswamy(t(2.0), t(3.0))).value) == pytest.approx(0.43565180853216, rel=1e-9)


def test_batches_of_quadratures_are_the_single_ones():
    locs, scales = t([-1.0, 0.0, 30.0]), t([1e-3, 1.0, 1e4])
    batch = nelbo.kl(D.StudentT(t(4.0), locs, scales), D.StudentT(t(2.5), t(0.3), t(2.0)))
    for i in range(3):
        one = nelbo.kl(D.StudentT(t(4.0), locs[i], scales[i]), D.StudentT(t(2.5), t(0.3), t(2.0)))
        assert float(batch.value[i]) == pytest.approx(float(one), rel=1e-10)


def test_monte_carlo_reaches_the_requested_error_and_keeps_the_generator():
    p, q = D.StudentT(t(9.0)), D.Normal(t(0.0), t(2.0))
    state = torch.random.get_rng_state()
    estimate = nelbo.kl(p, q, method="monte_carlo", standard_error=2e-3, seed=5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert 0 < float(estimate.standard_error) <= 2e-3
    assert float(nelbo.kl(p, q, method="monte_carlo", samples=100, seed=5)) == float(
        nelbo.kl(p, q, method="monte_carlo", samples=100, seed=5)
    )


@pytest.mark.parametrize(
    "P",
    [P for P in FAMILIES if FAMILIES[P].kinds and P not in (D.Binomial, D.NegativeBinomial)],
    ids=lambda P: P.__name__,
)
def test_gradients_of_the_same_family(P):
    a, b = FAMILIES[P].usual
    params = [t(x, requires_grad=True) for x in (*a, *b)]

    def value(*xs):
        order = [n for n in P.arg_constraints if n != "logits"]
        k = len(a)
        return nelbo.kl(P(**dict(zip(order, xs[:k], strict=True))), P(**dict(zip(order, xs[k:], strict=True)))).value

    assert torch.autograd.gradcheck(value, params)


def test_gradgradcheck_of_normals():
    xs = [
        t([0.3, 1.0], requires_grad=True),
        t([0.7, 1.0], requires_grad=True),
        t(-1.0, requires_grad=True),
        t(2.0, requires_grad=True),
    ]
    assert torch.autograd.gradgradcheck(lambda a, b, c, d: closed_form(D.Normal(a, b), D.Normal(c, d)), xs)


def kl_of_normals(m, s, n, r):
    return closed_form(D.Normal(m, s, validate_args=False), D.Normal(n, r, validate_args=False))


def kl_from_the_textbook(m, s, n, r):
    return (r / s).log() + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5


# of torch's forward mode, about itself
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, x: vmap(f)(*x),
        lambda f, x: [vmap(f, tuple(0 if i == k else None for i in range(4)))(*x) for k in range(4)],
        lambda f, x: [vmap(grad(f, k))(*x) for k in range(4)],
        lambda f, x: vmap(grad(lambda m, s: f(m, s, *x[2:]).sum(), (0, 1)), (0, None))(*x[:2]),
        lambda f, x: jvp(f, x, x[::-1]),
        lambda f, x: jvp(lambda s: f(x[0], s, *x[2:]), (x[1],), (x[0],)),
        lambda f, x: hessian(lambda s: f(x[0], s, *x[2:]).sum())(x[1]),
        lambda f, x: jacrev(jacrev(lambda s: f(x[0], s, *x[2:])))(x[1]),
    ],
    ids=["vmap", "vmap of one", "vmap grad", "vmap grad of one", "jvp", "jvp of one", "hessian", "jacrev twice"],
)
def test_normals_under_torch_func(transformed, dtype):
    x = tuple(tensor(v, dtype=dtype) for v in ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [0.5, 0.2, 0.1], [1.5, 1.0, 2.0]))
    torch.testing.assert_close(transformed(kl_of_normals, x), transformed(kl_from_the_textbook, x))


def test_slices_of_large_batches_under_vmap():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(4, 2, 70_000, generator=g) + 0.5
    expected = kl_from_the_textbook(x[0, :1], x[1], *x[2:, :1])
    torch.testing.assert_close(vmap(kl_of_normals, (None, 0, None, None))(x[0, 0], x[1], *x[2:, 0]), expected)


# of torch's forward mode, about itself
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_forward_mode_of_normals():
    m, s = t([0.0, 1.0]), t([1.0, 2.0])
    for needs_gradient in (False, True):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(m.clone().requires_grad_(needs_gradient), s)
            tangent = forward_ad.unpack_dual(kl_of_normals(dual, s, t(0.5), t(1.5))).tangent
        torch.testing.assert_close(tangent.detach(), s * (m - 0.5) / 1.5**2)


def test_quadrature_gradient_is_that_of_the_closed_form():
    for method in ("closed_form", "quadrature"):
        low = t(0.1, requires_grad=True)
        value = nelbo.kl(D.Uniform(low, t(1.0)), D.Normal(t(0.0), t(1.0)), method=method).value
        (gradient,) = torch.autograd.grad(value, low)
        assert float(gradient) == pytest.approx(1 / 0.9 + (1 + 2 * 0.1) / 6, rel=1e-8)


def test_score_function_gradient_without_rsample():
    rate = t(3.0, requires_grad=True)
    value = nelbo.kl(D.Poisson(rate), D.Poisson(t(2.0)), method="monte_carlo", samples=200_000, seed=0).value
    (gradient,) = torch.autograd.grad(value, rate)
    assert float(gradient) == pytest.approx(math.log(1.5), abs=0.02)


def test_dtype_and_broadcast_shape_are_kept():
    p, q = D.Normal(torch.zeros(3, 1), torch.ones(3, 1)), D.Laplace(torch.zeros(4), torch.ones(4))
    for method in ("closed_form", "quadrature"):
        estimate = nelbo.kl(p, q, method=method)
        assert estimate.value.shape == estimate.standard_error.shape == (3, 4)
        assert estimate.value.dtype == torch.float32


def test_independent_coordinates_add_up():
    p, q = D.Independent(D.StudentT(t([3.0, 4.0])), 1), D.Independent(D.StudentT(t([5.0, 2.0])), 1)
    parts = nelbo.kl(p.base_dist, q.base_dist)
    whole = nelbo.kl(p, q)
    assert whole.value.shape == ()
    assert float(whole) == pytest.approx(float(parts.value.sum()))
    assert whole.method == "quadrature"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nelbo.kl(1.0, D.Normal(0.0, 1.0)), TypeError, ["float", "Distribution", "kl_from_samples"]),
        (
            lambda: nelbo.kl(D.Normal(torch.zeros(3), 1.0), D.MultivariateNormal(torch.zeros(3), torch.eye(3))),
            ValueError,
            ["event_shape", "Independent(p, 1)"],
        ),
        (
            lambda: nelbo.kl(D.Normal(torch.zeros(3), 1.0), D.Normal(torch.zeros(4), 1.0)),
            ValueError,
            ["(3,)", "(4,)", "broadcast"],
        ),
        (
            lambda: nelbo.kl(D.Normal(0.0, -1.0, validate_args=False), D.Normal(0.0, 1.0)),
            ValueError,
            ["scale", "-1"],
        ),
        (
            lambda: nelbo.kl(D.Normal(math.nan, 1.0, validate_args=False), D.Normal(0.0, 1.0)),
            ValueError,
            ["loc", "nan"],
        ),
        (
            lambda: nelbo.kl(D.StudentT(3.0), D.StudentT(4.0), method="closed_form"),
            ValueError,
            ["StudentT", "register_kl"],
        ),
        (
            lambda: nelbo.kl(D.Normal(0.0, 1.0), D.Normal(0.0, 1.0), method="exact_sum"),
            ValueError,
            ["counts", "quadrature"],
        ),
        (
            lambda: nelbo.kl(D.Poisson(1.0), D.Poisson(1.0), method="quadrature"),
            ValueError,
            ["Poisson", "exact_sum"],
        ),
        (
            lambda: nelbo.kl(D.Normal(0.0, 1.0), D.Normal(0.0, 1.0), method="guess"),
            ValueError,
            ["guess", "monte_carlo"],
        ),
    ],
)
def test_errors_say_what_to_write(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


class Silent(D.Distribution):
    arg_constraints = {}  # noqa: RUF012
    support = D.constraints.real_vector


def test_a_distribution_without_log_prob_names_the_ways_out():
    with pytest.raises(ValueError, match=r"Silent has no log_prob.*kl_from_samples"):
        nelbo.kl(Silent(torch.Size([]), torch.Size([2])), Silent(torch.Size([]), torch.Size([2])))


def test_categories_of_other_numbers():
    """Category 2 of three has no mass among two."""
    two, three = D.Categorical(t([0.5, 0.5])), D.Categorical(t([0.25, 0.25, 0.5]))
    assert float(nelbo.kl(two, three)) == pytest.approx(math.log(2))
    assert float(nelbo.kl(three, two)) == math.inf
    assert float(nelbo.kl(D.Categorical(t([1.0])), three)) == pytest.approx(math.log(4))


def test_counts_beyond_what_can_be_summed_are_not_summed():
    p, q = D.Poisson(t(1e15)), D.Poisson(t(1.1e15))
    assert nelbo.divergences.jensen_shannon(p, q, seed=0).method == "monte_carlo"
    with pytest.raises(ValueError, match="Poisson spreads over .* counts"):
        nelbo.divergences.jensen_shannon(p, q, method="exact_sum")


def test_a_mixture_beside_counts_that_spread_is_not_summed_member_by_member():
    members = D.Poisson(torch.ones(40, dtype=torch.float64))
    p = D.MixtureSameFamily(D.Categorical(torch.ones(40, dtype=torch.float64)), members)
    assert nelbo.divergences.jensen_shannon(p, D.Poisson(t(1e6)), seed=0).method == "monte_carlo"
    assert nelbo.divergences.jensen_shannon(p, D.Poisson(t(1e3)), seed=0).method == "exact_sum"
