"""Families over vectors: against matrices in 40 digits where the formula is of matrices, else against
draws."""

import mpmath as mp
import pytest
import torch
import torch.distributions as D

import nelbo
from nelbo.divergences import closed_form

g = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def covariance(n, scale=1.0):
    A = randn(n, n)
    return scale * (A @ A.T + 0.3 * torch.eye(n, dtype=torch.float64))


def matrix(x):
    return mp.matrix(x.tolist())


def in_digits(p, q):
    with mp.workdps(40):
        S, T, m = matrix(p.covariance_matrix), matrix(q.covariance_matrix), matrix((p.mean - q.mean)[:, None])
        n = p.event_shape[0]
        inverse = T**-1
        trace = sum((inverse * S)[i, i] for i in range(n))
        return float((trace + (m.T * inverse * m)[0] - n + mp.log(mp.det(T) / mp.det(S))) / 2)


class _Diagonal:
    def __init__(self, p):
        self.mean, self.event_shape = p.mean, p.event_shape
        self.covariance_matrix = torch.diag(p.base_dist.scale**2)


def normals():
    loc = lambda: randn(4)  # noqa: E731
    return {
        "full": D.MultivariateNormal(loc(), covariance(4)),
        "tiny": D.MultivariateNormal(loc(), covariance(4, 1e-12)),
        "precision": D.MultivariateNormal(loc(), precision_matrix=covariance(4)),
        "low rank": D.LowRankMultivariateNormal(
            loc(), randn(4, 2), torch.rand(4, generator=g, dtype=torch.float64) + 0.1
        ),
        "diagonal": D.Independent(D.Normal(loc(), torch.rand(4, generator=g, dtype=torch.float64) + 0.1), 1),
    }


NORMALS = normals()


@pytest.mark.parametrize("p", NORMALS)
@pytest.mark.parametrize("q", NORMALS)
def test_normals_of_every_covariance(p, q):
    p, q = NORMALS[p], NORMALS[q]
    exact = in_digits(*(_Diagonal(d) if isinstance(d, D.Independent) else d for d in (p, q)))
    if p is q:
        assert float(nelbo.kl(p, q)) == 0
    else:
        assert float(nelbo.kl(p, q)) == pytest.approx(exact, rel=1e-9)


def test_collapsed_vector_keeps_its_kl_in_float32():
    scale = torch.eye(3) * (1 + 1e-5)
    p, q = (
        D.MultivariateNormal(torch.zeros(3), scale_tril=scale),
        D.MultivariateNormal(torch.zeros(3), torch.eye(3)),
    )
    e = float(scale[0, 0]) - 1
    assert float(nelbo.kl(p, q)) == pytest.approx(3 * e**2, rel=1e-3)


def test_batches_broadcast():
    p = D.MultivariateNormal(randn(5, 1, 3), torch.eye(3, dtype=torch.float64))
    q = D.MultivariateNormal(randn(2, 3), covariance(3))
    assert closed_form(p, q).shape == (5, 2)


VECTORS = {
    "dirichlet": (
        D.Dirichlet(torch.tensor([1.5, 2.0, 0.7]).double()),
        D.Dirichlet(torch.tensor([1.0, 3.0, 1.2]).double()),
    ),
    "wishart": (
        D.Wishart(torch.tensor(5.0).double(), covariance(2)),
        D.Wishart(torch.tensor(6.5).double(), covariance(2)),
    ),
    "one-hot": (
        D.OneHotCategorical(torch.tensor([0.2, 0.3, 0.5]).double()),
        D.OneHotCategorical(torch.tensor([0.4, 0.4, 0.2]).double()),
    ),
    "multinomial": (
        D.Multinomial(4, torch.tensor([0.2, 0.3, 0.5]).double()),
        D.Multinomial(4, torch.tensor([0.4, 0.4, 0.2]).double()),
    ),
    "categorical": (
        D.Categorical(torch.tensor([0.2, 0.3, 0.5]).double()),
        D.Categorical(torch.tensor([0.4, 0.4, 0.2]).double()),
    ),
    "independent": (
        D.Independent(D.Gamma(torch.tensor([1.0, 2.0]).double(), 1.0), 1),
        D.Independent(D.Gamma(torch.tensor([2.0, 2.0]).double(), 1.5), 1),
    ),
    "transformed": (
        D.TransformedDistribution(
            D.Normal(torch.tensor(0.0).double(), 1.0), [D.ExpTransform(), D.AffineTransform(1.0, 2.0)]
        ),
        D.TransformedDistribution(
            D.Normal(torch.tensor(1.0).double(), 1.5), [D.ExpTransform(), D.AffineTransform(1.0, 2.0)]
        ),
    ),
}


@pytest.mark.filterwarnings("ignore:Singular sample")  # torch's Wishart, about itself
@pytest.mark.parametrize("which", VECTORS)
def test_against_draws(which):
    p, q = VECTORS[which]
    exact = nelbo.kl(p, q)
    assert exact.method == "closed_form"
    torch.manual_seed(3)
    x = p.sample((50_000,))
    r = p.log_prob(x) - q.log_prob(x)
    assert abs(float(r.mean() - exact.value)) < 5 * float(r.std()) / 50_000**0.5
    assert abs(float(nelbo.kl(p, p))) == 0


def test_rare_categories_given_as_logits_are_not_impossible():
    p = D.Categorical(logits=torch.tensor([0.0, 0.0]))
    q = D.Categorical(logits=torch.tensor([0.0, -200.0]))  # e^-200 is below float32
    assert float(nelbo.kl(p, q)) == pytest.approx(99.3069, rel=1e-5)


def test_a_flow_is_estimated_with_its_error():
    zuko = pytest.importorskip("zuko")
    torch.distributions.Distribution.set_default_validate_args(True)  # zuko turns it off for everybody
    torch.manual_seed(0)
    flow = zuko.flows.MAF(2, transforms=2, hidden_features=(8,))()
    q = D.Independent(D.Normal(torch.zeros(2), torch.ones(2)), 1)
    estimate = nelbo.kl(flow, q, standard_error=0.02, seed=0)
    assert estimate.method == "monte_carlo"
    assert 0 < float(estimate.standard_error) <= 0.02
    estimate.value.backward()
    assert float(nelbo.kl(q, flow, standard_error=0.05, seed=0)) > -0.2
