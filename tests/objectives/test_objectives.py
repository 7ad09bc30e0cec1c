"""Each objective by hand, and the gradient of its surrogate by finite differences."""

import math

import pytest
import torch
from torch import nn

from nelbo import likelihoods, objectives, posteriors
from nelbo.objectives import (
    ELBO,
    MMD,
    Beta,
    BetaTC,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Linear,
    Progress,
    Reconstruction,
    loss,
)
from nelbo.objectives.aggregate import kl_parts, mmd_squared
from nelbo.vae import VAE, Autoencoder
from tests.cases import OBJECTIVES, binary, each, make_vae


class Given(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.h = nn.Parameter(h)

    def forward(self, x):
        return self.h


def vae_with(h, latent=2, features=4):
    """A VAE in float64 whose q(z|x) has the parameters h, whatever x is."""
    generator = torch.Generator().manual_seed(0)
    decoder = nn.Linear(latent, features, dtype=torch.float64)
    with torch.no_grad():
        for p in decoder.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return VAE(Given(h), decoder, latent=latent, likelihood=likelihoods.Bernoulli()).double()


def h_of(n, latent=2, seed=1):
    return 0.5 * torch.randn(n, 2 * latent, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = binary(5, (4,)).double()


# --- gradients --------------------------------------------------------------------------------------------------------

DIRECT = [name for name, o in OBJECTIVES.items() if getattr(o, "gradient", "plain") == "plain"]


@pytest.mark.parametrize("name", DIRECT)
def test_gradient_is_that_of_finite_differences(name):
    """With the noise held fixed, in mu and log sigma^2 and in the decoder's weights."""
    objective, h = OBJECTIVES[name], h_of(5).requires_grad_()
    vae = vae_with(h.detach())

    def surrogate(h, weight, bias):
        del vae.encoder.h
        vae.encoder.h = h
        for name, value in (("weight", weight), ("bias", bias)):
            delattr(vae.decoder, name)
            setattr(vae.decoder, name, value)
        torch.manual_seed(7)
        return objective(vae, X, Progress(4.0, 50)).surrogate

    inputs = [h, *(p.detach().clone().requires_grad_() for p in (vae.decoder.weight, vae.decoder.bias))]
    assert torch.autograd.gradcheck(surrogate, inputs)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
@pytest.mark.parametrize("samples", [1, 4])
def test_path_gradients_by_their_formula(gradient, samples):
    """d/dh = sum_k c_k (d log w_k / d z_k) (d z_k / dh) for h = (mu, log sigma^2), c = w (stl) or w^2 (dreg).

    d log w / d z by finite differences (torch.autograd.functional on numbers alone).
    """
    h = h_of(5)
    vae = vae_with(h)
    torch.manual_seed(7)
    surrogate = ImportanceWeighted(samples, gradient)(vae, X).surrogate
    (got,) = torch.autograd.grad(surrogate.sum(), [vae.encoder.h])

    mu, log_sigma = h[:, :2], 0.5 * h[:, 2:]
    torch.manual_seed(7)
    eps = torch.randn(samples, *mu.shape, dtype=torch.float64)
    z = mu + log_sigma.exp() * eps

    def log_weight(z):
        with torch.no_grad():
            q = torch.distributions.Normal(mu, log_sigma.exp())
            p = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
            return vae.likelihood(z).log_prob(X) + p.log_prob(z).sum(-1) - q.log_prob(z).sum(-1)

    w = torch.softmax(log_weight(z), 0)
    slope = torch.empty_like(z)
    for d in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[d] = 1e-5
        slope[..., d] = (log_weight(z + step) - log_weight(z - step)) / 2e-5
    share = (w if gradient == "stl" else w**2)[..., None] * slope
    expected = -torch.cat([share.sum(0), (0.5 * share * eps * log_sigma.exp()).sum(0)], -1)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


# --- values -----------------------------------------------------------------------------------------------------------


def test_elbo_is_the_mean_over_its_samples():
    vae = vae_with(h_of(5))
    torch.manual_seed(0)
    got = ELBO(3)(vae, X).loss
    torch.manual_seed(0)
    z = vae.posterior(X).rsample((3,))
    torch.testing.assert_close(got.reconstruction_error, -vae.likelihood(z).log_prob(X).mean(0))
    mu, log_variance = vae.encoder.h.chunk(2, -1)
    kl = 0.5 * (mu**2 + log_variance.exp() - log_variance - 1).sum(-1)
    torch.testing.assert_close(got.kl, kl)


def test_samples_are_at_least_one():
    for make in (
        lambda: ELBO(0)(make_vae(), binary(2)),
        lambda: ImportanceWeighted(0),
        lambda: loss(make_vae(), binary(2), samples=0),
    ):
        with pytest.raises(ValueError, match="samples must be a positive integer, got 0"):
            make()


def test_reconstruction_of_a_vae_is_beta_zero():
    vae = make_vae()
    values = []
    for objective in (Reconstruction(), Beta(0.0)):
        torch.manual_seed(0)
        values.append(objective(vae, binary(4)).value)
    torch.testing.assert_close(*values)


def test_importance_weights_by_hand():
    """-log mean w, from w itself, at numbers where nothing overflows."""
    vae = vae_with(h_of(5))
    torch.manual_seed(0)
    got = ImportanceWeighted(6)(vae, X)
    torch.manual_seed(0)
    qz = vae.posterior(X)
    z = qz.rsample((6,))
    w = (vae.likelihood(z).log_prob(X) + vae.prior.log_prob(z) - qz.log_prob(z)).exp()
    torch.testing.assert_close(got.value, -w.mean(0).log())
    torch.testing.assert_close(got.loss.reconstruction_error, -vae.likelihood(z).log_prob(X).mean(0))


def units(mu):
    """q(z|x) with sigma = 1, so that unit j of example i has KL mu^2 / 2."""
    mu = torch.tensor(mu, dtype=torch.float64)
    return torch.cat([mu, torch.zeros_like(mu)], -1)


def test_free_bits_by_hand():
    """KL per unit 0.5 mu^2: means over the batch 0.125 and 1.25; the floor is 0.5."""
    vae, x = vae_with(units([[0.5, 1.0], [0.5, 2.0]])), X[:2]
    torch.manual_seed(0)
    terms = FreeBits(0.5)(vae, x)
    torch.testing.assert_close(terms.loss.kl, torch.tensor([0.625, 2.125], dtype=torch.float64))
    paid = terms.value - terms.loss.reconstruction_error
    torch.testing.assert_close(paid, torch.tensor([0.5 + 0.5, 0.5 + 2.0], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(paid.sum(), [vae.encoder.h])
    assert torch.equal(gradient[:, 0], torch.zeros(2, dtype=torch.float64))  # no price, no pull
    torch.testing.assert_close(gradient[:, 1], torch.tensor([1.0, 2.0], dtype=torch.float64))
    torch.manual_seed(0)
    nothing = FreeBits(0.0)(vae, x)
    torch.testing.assert_close(nothing.value, nothing.loss.nelbo)


def test_free_bits_of_a_posterior_that_does_not_factorize_is_one_group():
    vae, x = make_vae(posterior="full_covariance_normal"), binary(6)
    torch.manual_seed(0)
    terms = FreeBits(100.0)(vae, x)
    torch.testing.assert_close(terms.value - terms.loss.reconstruction_error, torch.full((6,), 300.0))
    torch.manual_seed(0)
    terms = FreeBits(0.0)(vae, x)
    torch.testing.assert_close(terms.value, terms.loss.nelbo)


def test_capacity_by_hand():
    """Mean KL 1.375, capacity 1: over by 0.375; capacity 2: under by 0.625; at the schedule's half, 0.5."""
    vae, x = vae_with(units([[0.5, 1.0], [0.5, 2.0]])), X[:2]
    for capacity, epoch, expected in ((1.0, 0, 0.375), (2.0, 0, 0.625), (Linear(10, end=1.0), 5, 0.875)):
        torch.manual_seed(0)
        terms = Capacity(capacity, gamma=3.0)(vae, x, Progress(epoch))
        distance = (terms.value - terms.loss.reconstruction_error).detach().mean()
        assert float(distance) == pytest.approx(3.0 * expected)


@pytest.mark.parametrize("make", [lambda: Beta(-1.0), lambda: Beta(math.inf), lambda: Beta(math.nan)])
def test_beta_that_cannot_be(make):
    with pytest.raises(ValueError, match="beta must be a finite number >= 0 or a schedule"):
        make()


def test_other_settings_that_cannot_be():
    with pytest.raises(ValueError, match="floor must be a number of nats >= 0"):
        FreeBits(-0.1)
    with pytest.raises(
        ValueError, match=r"gradient must be one of 'plain', 'stl', 'dreg'; got 'drg', did you mean 'dreg'\?"
    ):
        ImportanceWeighted(2, "drg")
    with pytest.raises(ValueError, match="kernel must be one of 'imq', 'rbf'; got 'laplace'"):
        MMD(kernel="laplace")


# --- aggregate posterior ----------------------------------------------------------------------------------------------


def test_parts_of_the_kl_sum_to_the_log_ratio():
    vae = vae_with(h_of(5))
    qz, pz = vae.posterior(X), vae.prior
    z = qz.rsample()
    parts = kl_parts(qz, pz, z, 50)
    torch.testing.assert_close(sum(parts), qz.log_prob(z) - pz.log_prob(z))


def test_beta_tc_with_all_weights_one_is_the_elbo_on_draws():
    """Its KL is the draw's log ratio; the mean over many draws is the closed form."""
    vae = vae_with(h_of(5))
    with torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([BetaTC(1.0)(vae, X, Progress(0, 50)).value for _ in range(1000)])
        exact = torch.stack([ELBO(500)(vae, X).value for _ in range(20)])
    error = (draws.var(0) / 1000 + exact.var(0) / 20).sqrt()
    assert ((draws.mean(0) - exact.mean(0)).abs() < 5 * error).all()


def test_parts_by_a_plain_loop():
    """q(z_i) = q(z_i|x_i) / N + (N - 1) / (N (M - 1)) sum_j q(z_i|x_j), and so for each unit."""
    vae = vae_with(h_of(5))
    vae.requires_grad_(False)
    qz, z = vae.posterior(X), torch.randn(5, 2, dtype=torch.float64)
    q = qz.base_dist
    got = kl_parts(qz, vae.prior, z, 50)
    for i in range(5):
        whole, by_unit = 0.0, [0.0, 0.0]
        for j in range(5):
            share = 1 / 50 if i == j else 49 / (50 * 4)
            densities = [
                math.exp(float(torch.distributions.Normal(q.loc[j, d], q.scale[j, d]).log_prob(z[i, d])))
                for d in range(2)
            ]
            whole += share * math.prod(densities)
            by_unit = [total + share * density for total, density in zip(by_unit, densities, strict=True)]
        assert float(got.total_correlation[i]) == pytest.approx(math.log(whole) - sum(map(math.log, by_unit)))
        assert float(got.mutual_information[i]) == pytest.approx(float(qz.log_prob(z)[i]) - math.log(whole))


def test_the_estimate_of_the_aggregate_density_is_unbiased():
    """Over random batches that hold x_i, the mean of the estimate of q(z_i) is q(z_i) over the whole data."""
    n, m = 40, 4
    h = h_of(n, latent=1)
    everyone = posteriors.DiagonalNormal(1)(h)
    z = everyone.mean[0] + 0.3
    exact = everyone.log_prob(z).exp().mean()
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(1500):
        rows = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(n - 1, generator=generator)[: m - 1]])
        qz = posteriors.DiagonalNormal(1)(h[rows])
        parts = kl_parts(
            qz, torch.distributions.Independent(torch.distributions.Normal(torch.zeros(1), 1.0), 1), z.expand(m, 1), n
        )
        found.append((qz.log_prob(z.expand(m, 1))[0] - parts.mutual_information[0]).exp())
    found = torch.stack(found)
    assert abs(found.mean() - exact) < 5 * found.std() / 1500**0.5


def test_what_has_no_parts():
    with pytest.raises(ValueError, match=r"factorizes over the latent units \(posteriors\.DiagonalNormal\)"):
        BetaTC()(make_vae(posterior="full_covariance_normal"), binary(4))
    with pytest.raises(ValueError, match=r"a batch of two or more examples; got Independent and 1"):
        BetaTC()(make_vae(), binary(1))
    with pytest.raises(ValueError, match="a batch must have at least 2 examples"):
        MMD()(make_vae(), binary(1))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_by_a_plain_loop(kernel):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 2, generator=generator), 1 + torch.randn(3, 2, generator=generator)

    def k(a, b):
        d2 = float(((a - b) ** 2).sum())
        if kernel == "rbf":
            return math.exp(-d2 / 4)
        return sum(s * 4 / (s * 4 + d2) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))

    within_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    within_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 6
    between = sum(k(a, b) for a in x for b in y) / 12
    assert float(mmd_squared(x, y, kernel=kernel)) == pytest.approx(within_x + within_y - 2 * between, rel=1e-5)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_unbiased_at_zero_and_positive_apart(kernel):
    torch.manual_seed(0)
    same = torch.stack([mmd_squared(torch.randn(20, 2), torch.randn(20, 2), kernel=kernel) for _ in range(500)])
    assert abs(same.mean()) < 5 * same.std() / 500**0.5
    apart = torch.stack([mmd_squared(torch.randn(20, 2), 1 + torch.randn(20, 2), kernel=kernel) for _ in range(100)])
    assert apart.mean() > 10 * apart.std() / 10


def test_info_vae_s_weights():
    """alpha = 0 keeps the whole KL, alpha = 1 drops it; lambda enters as alpha + lambda - 1."""
    from nelbo import recipes

    assert recipes.info_vae((6,), alpha=0.0, mmd_weight=10.0).objective == MMD(9.0, kl_weight=1.0)
    assert recipes.info_vae((6,), alpha=1.0, mmd_weight=10.0).objective == MMD(10.0, kl_weight=0.0)


# --- autoencoders and checks ------------------------------------------------------------------------------------------


def autoencoder():
    return Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latent=2, likelihood=likelihoods.Bernoulli())


@pytest.mark.parametrize("name", **each(OBJECTIVES))
def test_which_objectives_train_an_autoencoder(name):
    objective, model = OBJECTIVES[name], autoencoder()
    if objective.has_kl():
        with pytest.raises(
            ValueError, match=r"infinite for an autoencoder: its q\(z\|x\) is a point.*Reconstruction\(\)"
        ):
            objective.check(model, 100)
    else:
        objective.check(model, 100)
        objective(model, binary(4)).surrogate.mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_an_autoencoder_s_terms():
    model, x = autoencoder(), binary(4)
    terms = Reconstruction()(model, x)
    assert torch.isinf(terms.loss.kl).all()
    assert torch.isinf(terms.loss.nelbo).all()
    torch.testing.assert_close(terms.value, -model.likelihood(model.encode(x)).log_prob(x))
    assert torch.isinf(loss(model, x).nelbo).all()


@pytest.mark.parametrize("name", ["beta_linear", "beta_cyclical", "capacity"])
def test_a_warm_up_longer_than_the_training(name):
    objective, vae = OBJECTIVES[name], make_vae()
    (schedule,) = [v for v in vars(objective).values() if isinstance(v, objectives.Schedule)]
    objective.check(vae, int(schedule.epochs))
    assert objective.changes_until() == schedule.epochs
    with pytest.raises(ValueError, match=rf"Train for epochs={schedule.epochs} or more, or shorten the schedule"):
        objective.check(vae, int(schedule.epochs) - 1)


def test_loss_checks_the_data():
    with pytest.raises(ValueError, match="Bernoulli needs values in"):
        loss(make_vae(), binary(3) + 0.5)


def test_objectives_from_json_that_nelbo_does_not_know():
    with pytest.raises(ValueError, match=r"'Hinge' is not one of nelbo's .* pass objective= again"):
        objectives.from_dict({"name": "Hinge"})
    with pytest.raises(ValueError, match=r"saved objective .* does not fit nelbo's Beta"):
        objectives.from_dict({"name": "Beta", "betta": 3})
