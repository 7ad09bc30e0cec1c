"""Every bound and gradient against a model whose log p(x) and posterior are known exactly."""

import math

import pytest
import torch
from torch import nn

from nelbo.objectives import ELBO, ImportanceWeighted, loss
from nelbo.objectives.importance import Gradient
from nelbo.vae import VAE
from tests.linear_gaussian import LinearGaussian

MODEL = LinearGaussian.random()
ORTHOGONAL = LinearGaussian.random(orthogonal=True, seed=3)


def test_the_oracle_agrees_with_quadrature():
    """log p(x) of a model with one latent unit by the trapezoidal rule."""
    model = LinearGaussian.random(latent=1)
    x = model.sample(4)
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    vae = model.vae()
    with torch.no_grad():
        joint = vae.likelihood(z[:, None, None]).log_prob(x) + vae.prior.log_prob(z[:, None, None])
    expected = torch.trapezoid(joint.exp(), z, dim=0).log()
    torch.testing.assert_close(model.evidence().log_prob(x), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("model", "full"), [(MODEL, True), (ORTHOGONAL, True), (ORTHOGONAL, False)])
def test_elbo_is_log_evidence_where_q_is_exact(model, full):
    """For one draw of z the reconstruction error varies; log p(x, z) - log q(z|x) does not."""
    torch.manual_seed(0)
    vae, x = model.vae(full=full), model.sample(50)
    expected = model.evidence().log_prob(x)
    with torch.no_grad():
        bound = -ImportanceWeighted(1)(vae, x).value
        torch.testing.assert_close(bound, expected, atol=1e-5, rtol=0)
        draws = torch.stack([loss(vae, x, samples=1000).elbo for _ in range(20)])
    # where the KL is estimated on the same draws, the two errors cancel to the last bits
    error = draws.std(0) / 20**0.5 + 1e-9
    assert ((draws.mean(0) - expected).abs() < 6 * error).all()


def test_elbo_of_the_exact_posterior_in_closed_form():
    x = MODEL.sample(50)
    nelbo = MODEL.exact_nelbo(MODEL.vae(), x)
    torch.testing.assert_close(-nelbo, MODEL.evidence().log_prob(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("error", [0.1, 0.5])
def test_elbo_is_never_above_log_evidence(seed, error):
    """The exact ELBO of a random q stays below log p(x), and the estimate agrees with it."""
    torch.manual_seed(seed)
    vae, x = MODEL.vae(error=error, seed=seed), MODEL.sample(20, seed=seed)
    with torch.no_grad():
        exact = -MODEL.exact_nelbo(vae, x)
        assert (exact <= MODEL.evidence().log_prob(x) + 1e-9).all()
        draws = torch.stack([loss(vae, x, samples=500).elbo for _ in range(20)])
    error_of_mean = draws.std(0) / 20**0.5
    assert ((draws.mean(0) - exact).abs() < 6 * error_of_mean).all()


def test_importance_weighted_bound_rises_with_k_towards_log_evidence():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.05), MODEL.sample(200)
    log_evidence = MODEL.evidence().log_prob(x).mean()
    bounds, errors = [], []
    with torch.no_grad():
        for k in (1, 4, 16, 64):
            draws = torch.stack([-ImportanceWeighted(k)(vae, x).value.mean() for _ in range(30)])
            bounds.append(float(draws.mean()))
            errors.append(float(draws.std() / 30**0.5))
    gaps = [log_evidence - b for b in bounds]
    assert all(gap > -5 * error for gap, error in zip(gaps, errors, strict=True))
    for i in range(3):
        assert bounds[i + 1] > bounds[i] + 5 * math.hypot(errors[i], errors[i + 1])
    assert gaps[-1] < gaps[0] / 4


def test_importance_weighted_with_one_sample_is_the_elbo():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.3), MODEL.sample(50)
    with torch.no_grad():
        draws = torch.stack([-ImportanceWeighted(1)(vae, x).value for _ in range(400)])
        exact = -MODEL.exact_nelbo(vae, x)
    assert ((draws.mean(0) - exact).abs() < 6 * draws.std(0) / 400**0.5).all()


class Given(nn.Module):
    """An encoder that gives numbers decided beforehand."""

    def __init__(self, h):
        super().__init__()
        self.h = nn.Parameter(h)

    def forward(self, x):
        return self.h


def encoder_gradients(objective, vae, x, draws):
    """(draws, len(x) * encoder_outputs): the gradient of the surrogate to q's parameters, for fresh noise in each row.

    One backward pass over copies of x: the examples of these objectives do not see each other.
    """
    copies = x.repeat(draws, 1)
    encoder = Given(vae.encoder(copies).detach())
    twin = VAE(
        encoder,
        vae.decoder,
        latent=vae.latent,
        likelihood=vae.px_family,
        prior=vae.pz_family,
        posterior=vae.qz_family,
    )
    (gradient,) = torch.autograd.grad(objective(twin, copies).surrogate.sum(), [encoder.h])
    return gradient.reshape(draws, -1)


@pytest.mark.parametrize(("gradient", "samples"), [("stl", 1), ("stl", 5), ("dreg", 1), ("dreg", 5)])
def test_gradient_has_no_variance_where_q_is_exact(gradient: Gradient, samples):
    torch.manual_seed(0)
    vae, x = MODEL.vae(), MODEL.sample(10)
    assert encoder_gradients(ImportanceWeighted(samples, gradient), vae, x, 5).abs().max() < 1e-12
    # which is not so for the plain one: the test can fail
    assert encoder_gradients(ImportanceWeighted(samples), vae, x, 5).std(0).max() > 1e-2


def agree(a, b, sigmas=5.0):
    """Whether two samples of gradients have the same mean, in every number."""
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    return bool(((a.mean(0) - b.mean(0)).abs() < sigmas * error + 1e-12).all())


def test_dreg_is_unbiased_and_stl_is_biased():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.05), MODEL.sample(5)
    plain, dreg, stl = (
        encoder_gradients(ImportanceWeighted(8, gradient), vae, x, 6000) for gradient in ("plain", "dreg", "stl")
    )
    assert agree(plain, dreg)
    assert not agree(plain, stl)


def test_dreg_has_far_less_variance_near_the_exact_posterior():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.01), MODEL.sample(5)
    plain, dreg = (encoder_gradients(ImportanceWeighted(8, gradient), vae, x, 2000) for gradient in ("plain", "dreg"))
    assert agree(plain, dreg)
    assert dreg.var(0).sum() < 0.2 * plain.var(0).sum()


def test_stl_is_unbiased_for_one_sample():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.05), MODEL.sample(5)
    stl, elbo = (encoder_gradients(o, vae, x, 20_000) for o in (ImportanceWeighted(1, "stl"), ELBO()))
    assert agree(stl, elbo)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_the_decoder_s_gradient_is_the_plain_one(gradient: Gradient):
    """Draw by draw: only what reaches the encoder is estimated differently."""
    vae, x = MODEL.vae(error=0.3), MODEL.sample(5)
    found = []
    for which in ("plain", gradient):
        torch.manual_seed(0)
        found.append(
            torch.autograd.grad(ImportanceWeighted(8, which)(vae, x).surrogate.mean(), list(vae.decoder.parameters()))
        )
    torch.testing.assert_close(*found)


def test_elbo_gradient_is_that_of_the_closed_form():
    torch.manual_seed(0)
    vae, x = MODEL.vae(error=0.1), MODEL.sample(5)
    h = vae.encoder(x).detach().requires_grad_()
    (exact,) = torch.autograd.grad(MODEL.exact_nelbo_of(vae.qz_family(h), x).sum(), [h])
    drawn = encoder_gradients(ELBO(samples=20), vae, x, 2000)
    assert ((drawn.mean(0) - exact.flatten()).abs() < 5 * drawn.std(0) / 2000**0.5).all()
