"""The ELBO's terms with their errors, against models with exact answers."""

import pytest
import torch

from nelbo.likelihoods import Bernoulli
from nelbo.measure import elbo_terms, rate_distortion
from nelbo.nn import MLP
from nelbo.vae import Autoencoder
from tests.cases import binary, make_vae
from tests.linear_gaussian import LinearGaussian

pytestmark = pytest.mark.device


def test_elbo_is_exact_within_its_error():
    model = LinearGaussian.random()
    vae, x = model.vae(full=False, error=0.3), model.sample(50)
    terms = elbo_terms(vae, x, samples=400)
    exact = -model.exact_nelbo(vae, x)
    z = (terms.elbo.value - exact) / terms.elbo.standard_error
    assert z.abs().max() < 5
    assert 0.7 < z.square().mean() < 1.4  # the errors are neither too small nor too large
    assert (terms.kl.standard_error == 0).all()
    assert terms.kl.method == "closed_form"
    torch.testing.assert_close(-terms.elbo.value, terms.reconstruction_error.value + terms.kl.value)


@pytest.mark.parametrize(("posterior", "prior"), [("flow", "flow"), ("full_covariance_normal", "mixture")])
def test_a_sampled_kl_has_an_error(posterior, prior):
    terms = elbo_terms(make_vae(posterior=posterior, prior=prior), binary(7), samples=8)
    assert (terms.kl.standard_error > 0).all()
    assert terms.kl.value.shape == (7,)


def test_an_autoencoder_has_no_bound():
    model = Autoencoder(MLP((6,), 2), MLP(2, (6,)), latent=2, likelihood=Bernoulli())
    terms = elbo_terms(model, binary(5))
    assert terms.kl.value.isinf().all()
    assert (terms.elbo.value == -torch.inf).all()
    assert terms.reconstruction_error.value.isfinite().all()
    assert (terms.elbo.standard_error == 0).all()
    at = rate_distortion(model, binary(5))
    assert float(at.rate) == torch.inf
    assert float(at.rate.standard_error) == 0


def test_the_same_seed_and_the_caller_s_randomness():
    vae, x = make_vae(), binary(5)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = elbo_terms(vae, x, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.elbo.value, elbo_terms(vae, x, seed=1).elbo.value)
    assert not torch.equal(first.elbo.value, elbo_terms(vae, x, seed=2).elbo.value)


def test_rate_and_distortion_of_a_linear_model():
    model = LinearGaussian.random(orthogonal=True)
    vae, x = model.vae(), model.sample(2000)
    at = rate_distortion(vae, x)
    # of the exact posterior: E KL = I(x; z), half the sum of log(1 + s_i^2 / sigma^2)
    rate = 0.5 * torch.log1p(torch.linalg.svdvals(model.weight) ** 2 / model.sigma**2).sum()
    assert abs(float(at.rate) - rate) < 5 * float(at.rate.standard_error)
    assert float(at.total) == pytest.approx(float(at.rate) + float(at.distortion), rel=1e-9)
    assert abs(float(at.total) - float(model.evidence().entropy())) < 5 * float(at.total.standard_error)


def test_too_few_samples():
    with pytest.raises(ValueError, match="samples must be at least 2, for a standard error; got 1"):
        elbo_terms(make_vae(), binary(3), samples=1)
