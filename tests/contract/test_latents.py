"""What every p(z) and q(z|x) must do, alone and together."""

import pytest
import torch

from nelbo import latents, posteriors, priors
from nelbo.objectives import loss
from tests.cases import EVENT, LATENT, PAIRS, POSTERIORS, PRIORS, binary, each, make_vae


def members(module, kind):
    return {c for c in vars(module).values() if isinstance(c, type) and issubclass(c, kind) and c is not kind}


def test_every_member_is_in_a_table():
    assert members(priors, priors.Prior) == {type(make()) for make in PRIORS.values()}
    assert members(posteriors, posteriors.Posterior) == {type(make()) for make in POSTERIORS.values()}


@pytest.mark.parametrize("name", **each(PRIORS))
def test_prior_is_a_distribution_over_the_latents(name):
    vae = make_vae(prior=name)
    pz = vae.prior
    assert (pz.batch_shape, pz.event_shape) == ((), (LATENT,))
    assert pz.log_prob(pz.sample((5, 2))).shape == (5, 2)


@pytest.mark.parametrize("name", **each(PRIORS))
def test_prior_density_integrates_to_one(name):
    torch.manual_seed(0)
    # importance sampling with a wide normal: E_r[p/r] = 1
    wide = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(LATENT), torch.full((LATENT,), 2.5)), 1
    )
    z = wide.sample((200_000,))
    with torch.no_grad():
        weights = (make_vae(prior=name).prior.log_prob(z) - wide.log_prob(z)).exp()
    assert abs(weights.mean() - 1) < 5 * weights.std() / 200_000**0.5


@pytest.mark.parametrize("name", **each(POSTERIORS))
def test_posterior_density_integrates_to_one(name):
    torch.manual_seed(0)
    qz = make_vae(posterior=name).posterior(binary(1))
    with torch.no_grad():
        spread = qz.sample((2000,)).std((0, 1)).clamp(min=0.05)
        wide = torch.distributions.Independent(
            torch.distributions.Normal(qz.sample((2000,)).mean((0, 1)), 2.5 * spread), 1
        )
        z = wide.sample((200_000,))
        weights = (qz.log_prob(z[:, None])[:, 0] - wide.log_prob(z)).exp()
    assert abs(weights.mean() - 1) < 5 * weights.std() / 200_000**0.5


@pytest.mark.parametrize("name", **each(POSTERIORS))
def test_a_detached_posterior_has_the_same_density_with_gradient_to_z_alone(name):
    vae = make_vae(posterior=name)
    qz = vae.posterior(binary(4))
    z = qz.rsample().detach().requires_grad_()
    fixed = latents.detached(qz).log_prob(z)
    torch.testing.assert_close(fixed, qz.log_prob(z))
    fixed.sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(p.grad is None for p in vae.parameters())


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_kl_agrees_with_monte_carlo(posterior, prior):
    torch.manual_seed(0)
    vae, x = make_vae(posterior=posterior, prior=prior), binary(3)
    with torch.no_grad():
        qz, pz = vae.posterior(x), vae.prior
        z = qz.sample((5_000,))
        ratio = qz.log_prob(z) - pz.log_prob(z)
        kl = loss(vae, x, samples=5_000).kl
    error = ratio.std(0) / 5_000**0.5
    assert ((kl - ratio.mean(0)).abs() < 5 * 2**0.5 * error).all()
    assert (kl > -5 * error).all()


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_every_weight_gets_a_gradient_and_the_loss_has_the_right_parts(posterior, prior):
    vae, x = make_vae(posterior=posterior, prior=prior), binary(4)
    terms = loss(vae, x)
    assert all(term.shape == (4,) for term in terms)
    torch.testing.assert_close(terms.nelbo, terms.reconstruction_error + terms.kl)
    torch.testing.assert_close(terms.elbo, -terms.nelbo)
    terms.nelbo.mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vae.parameters())


@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_weights_survive_a_round_trip_through_safetensors(posterior, prior, tmp_path):
    from nelbo.files import read_tensors, write_tensors
    from nelbo.runs import load_weights

    vae, twin = (make_vae(posterior=posterior, prior=prior, seed=s) for s in (0, 1))
    write_tensors(tmp_path / "w.safetensors", vae.state_dict())
    load_weights(twin, read_tensors(tmp_path / "w.safetensors")[0])
    x = binary(4)
    for model in (vae, twin):
        torch.manual_seed(3)
        model.result = loss(model, x).nelbo
    assert torch.equal(vae.result, twin.result)


@pytest.mark.parametrize("posterior", **each(POSTERIORS))
def test_shapes_of_the_model_s_answers(posterior):
    vae, x = make_vae(posterior=posterior), binary(4)
    assert vae.encode(x).shape == (4, LATENT)
    assert vae.reconstruct(x).shape == (4, *EVENT)
    assert vae.sample(7).shape == (7, *EVENT)
    assert vae.decode(torch.zeros(2, 5, LATENT)).shape == (2, 5, *EVENT)
    assert vae(x).shape == (4, *EVENT)


def test_the_kl_of_a_point_is_infinite_whatever_the_prior():
    from nelbo.divergences import Delta, closed_form

    point = Delta(torch.zeros(4, LATENT))
    for name in PRIORS:
        kl = closed_form(point, make_vae(prior=name).prior)
        assert kl.shape == (4,)
        assert (kl == torch.inf).all()
