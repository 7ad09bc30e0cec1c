"""Log p(x) by every method, against closed forms, brute force and each other."""

import warnings

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal

import nelbo
from nelbo import likelihoods
from nelbo.evaluation import mode
from nelbo.measure import log_evidence
from nelbo.measure.grid_integrals import Guard, on_tiles
from tests.linear_gaussian import LinearGaussian
from tests.measure.models import Foreign, autoencoder, binary, random_vae


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return log_evidence(*arguments, progress=False, **options)


@pytest.mark.parametrize("latent", [1, 2])
@pytest.mark.parametrize("sigma", [0.7, 0.03, 0.001])
@pytest.mark.parametrize("error", [0.0, 1.0])
def test_quadrature_is_exact_however_narrow_the_posterior_and_however_wrong_the_encoder(latent, sigma, error):
    model = LinearGaussian.random(features=8, latent=latent, sigma=sigma)
    x = model.sample(20)
    found = log_evidence(model.vae(error=error), x, method="quadrature")
    assert (found.value - model.evidence().log_prob(x)).abs().max() < 1e-3
    assert found.notes == ()
    assert float(found.change.max()) < 1e-3


def test_quadrature_of_a_kinked_decoder_agrees_with_brute_force():
    vae, x = random_vae(strength=3.0, activation="relu"), binary(15)
    found = log_evidence(vae, x)
    assert found.method == "quadrature"
    axis = torch.linspace(-8, 8, 1601)[:-1] + 0.005
    total = []
    with torch.no_grad():
        for row in axis.split(40):
            z = torch.cartesian_prod(row, axis)
            logits = vae.likelihood(z).base_dist.logits
            joint = x @ logits.T - torch.nn.functional.softplus(logits).sum(1) + vae.prior.log_prob(z)
            total.append(torch.logsumexp(joint.double(), 1))
    exact = torch.logsumexp(torch.stack(total), 0) + 2 * torch.tensor(0.01).log()
    assert (found.value - exact).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("likelihood", "data"),
    [
        (likelihoods.Normal(0.05), lambda x: x - 0.3),
        (likelihoods.Normal("decoded"), lambda x: x - 0.3),
        (likelihoods.ContinuousBernoulli(), lambda x: 0.25 + 0.5 * x),
        (likelihoods.Poisson(), lambda x: 3 * x),
        (likelihoods.Categorical(3), lambda x: 2 * x),
    ],
    ids=["normal", "normal_decoded", "continuous_bernoulli", "poisson", "categorical"],
)
def test_quadrature_of_every_kind_of_likelihood(likelihood, data):
    """Families that are linear in statistics of x, and those evaluated pair by pair."""
    vae = random_vae(latent=1, features=6, likelihood=likelihood)
    x = data(binary(5, features=6))
    z = torch.linspace(-9, 9, 60_001)[:, None, None].double()
    vae = vae.double()
    with torch.no_grad():
        joint = torch.cat([vae.likelihood(part).log_prob(x.double()) for part in z.split(10_000)])
        exact = torch.logsumexp(joint + vae.prior.log_prob(z), 0) + torch.tensor(18 / 60_000).log()
    assert (log_evidence(vae, x).value - exact).abs().max() < 1e-3


def test_peaks_that_the_first_grid_steps_over_are_found():
    """Wide, narrow at an angle, narrow and far out; and a narrow one beside a wide one, where a guard stands on it."""
    eye = torch.eye(2, dtype=torch.float64)
    turned = torch.tensor([[1.0, 0.999], [0.999, 1.0]], dtype=torch.float64)
    means = torch.tensor([[0.0, 0.0], [2.03, 1.01], [-13.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    covariances = torch.stack([0.5 * eye, 0.01 * turned, 1e-4 * eye, eye])
    peaks = MultivariateNormal(means, covariances)
    hidden = MultivariateNormal(means[1], 1e-4 * eye)
    share = torch.tensor([0.0, 0.0, 0.0, 0.5], dtype=torch.float64)

    def log_f(z, examples):
        found = [
            torch.logaddexp(
                peaks.log_prob(at[:, None])[:, i] + (1 - share[i]).log(), hidden.log_prob(at)[:, None] + share[i].log()
            ).T
            for at, i in zip(z, examples, strict=True)
        ]
        return torch.cat(found)[None]

    box = torch.tensor([8.0, 8.0], dtype=torch.float64)
    place = means[[0, 0, 2, 1]]
    value = torch.stack([log_f(p[None, None], [torch.tensor([i])])[0, 0, 0] for i, p in enumerate(place)])[None]
    found = on_tiles(
        log_f,
        4,
        -box,
        box,
        like=means,
        guard=Guard(place, value),
        statistics=lambda z, f: [z[..., 0], z[..., 1]],
    )
    assert found.inside.all()
    assert found.log_z.abs().max() < 1e-3
    expected = means.clone()
    expected[3] = 0.5 * means[1]
    torch.testing.assert_close(found.statistics.T, expected, atol=2e-3, rtol=0)


def test_random_decoder_all_methods_agree_within_five_standard_errors_on_every_image():
    vae, x = random_vae(), binary(12)
    exact = quietly(vae, x, method="quadrature")
    importance = quietly(vae, x, method="importance", samples=10_000)
    annealed = quietly(vae, x, method="annealed", temperatures=100, chains=48, start="prior")
    for found in (importance, annealed):
        off = (found.value - exact.value).abs()
        assert (off < 5 * (found.standard_error.square() + exact.standard_error.square()).sqrt()).all(), found.method
        assert float(found.standard_error.max()) < 0.25
    assert ((annealed.acceptance > 0.4) & (annealed.acceptance < 0.95)).all()


@pytest.mark.parametrize("method", ["importance", "mixture", "annealed"])
def test_linear_gaussian_in_more_dimensions(method):
    model = LinearGaussian.random(features=8, latent=3)
    x = model.sample(30)
    found = quietly(model.vae(full=False), x, method=method, temperatures=100)
    off = (found.value - model.evidence().log_prob(x)) / found.standard_error
    assert off.abs().max() < 4.5
    assert off.square().mean() < 2.5  # the standard errors say what they should, not only enough


def test_weights_of_the_exact_posterior_have_no_spread():
    model = LinearGaussian.random(latent=3)
    x = model.sample(5)
    found = log_evidence(model.vae(), x, method="importance", samples=200)
    torch.testing.assert_close(found.value, model.evidence().log_prob(x), atol=1e-9, rtol=0)
    assert found.standard_error.max() < 1e-8
    torch.testing.assert_close(found.ess, torch.full((5,), 200.0, dtype=torch.float64))


def test_a_target_standard_error_is_reached_with_the_draws_it_needs():
    model = LinearGaussian.random(latent=3)
    vae, x = model.vae(error=0.02), model.sample(20)
    loose = quietly(vae, x, method="importance", target_standard_error=0.05)
    tight = quietly(vae, x, method="importance", target_standard_error=0.02)
    assert loose.standard_error.max() <= 0.05
    assert tight.standard_error.max() <= 0.02
    assert loose.samples.sum() < tight.samples.sum()
    assert ((tight.value - model.evidence().log_prob(x)).abs() < 5 * tight.standard_error).all()


def test_an_encoder_that_misses_the_posterior_is_named():
    model = LinearGaussian.random(latent=3, sigma=0.2)
    with pytest.warns(UserWarning, match="Pareto k is above"):
        found = log_evidence(model.vae(error=0.3), model.sample(10), method="importance", samples=500)
    assert "annealed" in found.notes[0]
    assert found.pareto_k.max() > 0.7


def test_auto_says_which_and_why():
    assert "integrated over exactly" in log_evidence(random_vae(), binary(2)).why
    found = quietly(random_vae(latent=3), binary(2), samples=50)
    assert (found.method, found.why[:19]) == ("mixture", "Importance sampling")
    point = quietly(autoencoder(latent=3), binary(2, features=6), temperatures=20)
    assert point.method == "annealed"
    assert "autoencoder" in point.why


def test_the_evidence_of_an_autoencoder_is_that_of_its_decoder_under_its_prior():
    vae, x = autoencoder(), binary(6, features=6)
    exact = log_evidence(vae, x)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        z = vae.prior.sample((200_000,))
    with torch.no_grad():
        log_px = vae.likelihood(z[:, None]).log_prob(x)
    weights = log_px.double().exp()
    error = weights.std(0) / weights.mean(0) / len(z) ** 0.5
    assert ((exact.value - weights.mean(0).log()).abs() < 5 * error + 1e-3).all()
    with pytest.raises(ValueError, match=r"q\(z\|x\) is a point.*quadrature"):
        log_evidence(vae, x, method="importance")


def test_any_object_with_prior_posterior_and_likelihood_will_do():
    vae, x = random_vae(), binary(5)
    torch.testing.assert_close(log_evidence(Foreign(vae), x).value, log_evidence(vae, x).value)
    full = Foreign(LinearGaussian.random(latent=3).vae(error=0.02))
    assert quietly(full, torch.zeros(2, 6).double(), samples=500).value.isfinite().all()


@pytest.mark.parametrize("prior", ["mixture:3", "flow"])
def test_other_priors_and_posteriors(prior):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,), prior=prior, posterior="flow").eval()
        vae.posterior(binary(4, features=6))  # draws the weights
    x = binary(4, features=6)
    exact, drawn = log_evidence(vae, x), quietly(vae, x, method="importance", samples=2000)
    assert ((exact.value - drawn.value).abs() < 4.5 * drawn.standard_error + 2e-3).all()


@pytest.mark.parametrize("method", ["quadrature", "importance", "mixture", "annealed"])
def test_a_seed_repeats_the_result_and_nothing_of_the_caller_s_is_touched(method):
    vae, x = random_vae().train(), binary(3)
    before = torch.get_rng_state()
    first, second = (quietly(vae, x, method=method, samples=60, temperatures=10, chains=4) for _ in range(2))
    assert torch.equal(first.value, second.value)
    assert torch.equal(torch.get_rng_state(), before)
    assert vae.training
    assert all(parameter.grad is None for parameter in vae.parameters())
    if method != "quadrature":
        other = quietly(vae, x, method=method, samples=60, temperatures=10, chains=4, seed=1)
        assert not torch.equal(first.value, other.value)


class Broken(torch.nn.Module):
    def forward(self, z):
        return torch.full((len(z), 16), torch.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(0, 16)}, "at least one example"),
        ({"x": torch.zeros(16)}, r"x\[None\]"),
        ({"x": torch.zeros(3, 9)}, "inputs of shape"),
        ({"x": torch.full((3, 16), 0.5)}, "What fits"),
        ({"x": torch.full((3, 16), torch.nan)}, "NaN"),
        ({"method": "exact"}, "method must be one of"),
        ({"method": "anealed"}, "did you mean 'annealed'"),
        ({"method": "importance", "samples": 1}, "samples must be at least 2"),
        ({"method": "importance", "samples": 0}, "samples must be at least 2"),
        ({"method": "annealed", "chains": 1}, "chains must be at least 2"),
        ({"method": "annealed", "temperatures": 1}, "temperatures must be at least 2"),
        ({"target_standard_error": 0.0}, "> 0"),
        ({"model": random_vae(latent=3), "method": "quadrature"}, "one or two latent dimensions"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input_is_named(change, message):
    arguments = {"model": random_vae(), "x": binary(3)} | change
    with pytest.raises(ValueError, match=message):
        log_evidence(**arguments)


def test_a_decoder_that_returns_nan_is_named():
    vae = random_vae()
    vae.decoder = Broken()
    for method in ("quadrature", "importance", "mixture", "annealed"):
        with pytest.raises(ValueError, match="decoder"):
            log_evidence(vae, binary(3), method=method)


def test_too_few_draws_to_judge_their_tail_are_said():
    with pytest.warns(UserWarning, match="too few to tell"):
        log_evidence(random_vae(latent=3), binary(2), method="importance", samples=10)


def test_ctrl_c_keeps_what_was_done(monkeypatch):
    from nelbo.measure import Interrupted, importance

    calls = []

    def stop(*arguments, **options):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return log_weights(*arguments, **options)

    log_weights = importance.log_weights
    monkeypatch.setattr(importance, "log_weights", stop)
    monkeypatch.setattr(mode, "BUDGET", 16 * 50)
    with pytest.raises(Interrupted, match="interrupted after 2 of 5") as stopped:
        quietly(random_vae(latent=3), binary(5), method="importance", samples=50)
    partial = stopped.value.partial
    assert partial.value.isfinite().tolist() == [True, True, False, False, False]


def test_a_prior_that_ends_somewhere():
    """-inf beyond the ends of a uniform prior is a density of zero, not an error."""
    model = random_vae(latent=1)
    given = Foreign(model)
    type(given).prior = property(
        lambda self: Independent(torch.distributions.Uniform(-torch.ones(1), torch.ones(1), validate_args=False), 1)
    )
    try:
        with pytest.raises(ValueError, match="x"):
            log_evidence(given, torch.zeros(0, 16))
        found = quietly(given, binary(3), tolerance=1e-3)
    finally:
        type(given).prior = property(lambda self: self.vae.prior)
    z = torch.linspace(-1, 1, 20_001)[:, None, None]
    with torch.no_grad():
        exact = torch.trapezoid(model.likelihood(z).log_prob(binary(3)).double().exp(), z[:, 0, 0].double(), dim=0)
    assert (found.value - (0.5 * exact).log()).abs().max() < 0.01


def test_ctrl_c_keeps_the_integrals_that_were_done(monkeypatch):
    from nelbo.measure import Interrupted, quadrature

    def stop(self, amount):
        if amount:
            raise KeyboardInterrupt

    monkeypatch.setattr(mode, "BUDGET", 5 * 36)  # ten examples share their grids
    vae, x = random_vae(), binary(30)
    whole = log_evidence(vae, x)
    monkeypatch.setattr(quadrature.ProgressBar, "advance", stop)
    with pytest.raises(Interrupted, match=r"interrupted after \d+ of 30") as stopped:
        quietly(vae, x)
    partial = stopped.value.partial
    done = partial.value.isfinite()
    assert 0 < int(done.sum()) <= 10
    torch.testing.assert_close(partial.value[done], whole.value[done], rtol=0, atol=1e-5)
    assert partial.change[~done].isnan().all()
