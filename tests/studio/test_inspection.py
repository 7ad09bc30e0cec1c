"""What the inspector shows, against nelbo.loss, quadrature and numpy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from nelbo import VAE, fit, latents, likelihoods, nn, priors, recipes, runs
from nelbo import data as nelbo_data
from nelbo.data import Preparation
from nelbo.divergences import Delta
from nelbo.evaluation import evaluate
from nelbo.measure import aggregate_match
from nelbo.objectives import loss
from nelbo.studio import planes
from nelbo.studio.alignment import align
from nelbo.studio.holes import holes
from nelbo.studio.inspect import looked_at, opened
from nelbo.studio.inspection import (
    DRAWS_OF_ONE,
    checkpoint_epoch,
    inspect,
    kl_per_unit,
    terms_of,
    terms_under,
)
from nelbo.studio.library import Library
from nelbo.studio.networks import decoder_of, encoder_of, network
from nelbo.studio.planes import Plane
from nelbo.studio.session import Session
from nelbo.vae import Model, as_model
from tests.cases import EVENT, LATENT, LIKELIHOODS, POSTERIORS, PRIORS, each, make_vae
from tests.studio.runs import many_examples, small_run


def test_terms_are_those_of_nelbo_loss():
    vae = make_vae()
    x = LIKELIHOODS["bernoulli"][1](5)
    evaluation = evaluate(vae, x)
    found = terms_of(evaluation, 400)
    torch.manual_seed(3)
    with torch.no_grad():
        again = torch.stack([torch.stack(loss(vae, x)) for _ in range(400)]).double()
    kl, reconstruction_error = found["kl"].value, found["reconstruction_error"]
    torch.testing.assert_close(kl, again[0, 1])
    error = (again[:, 0].std(0) / 20).square().add(reconstruction_error.standard_error.square()).sqrt()
    assert bool(((reconstruction_error.value - again[:, 0].mean(0)).abs() < 5 * error).all())
    torch.testing.assert_close(found["nelbo"].value, reconstruction_error.value + kl)
    torch.testing.assert_close(kl_per_unit(evaluation, 400).sum(1), kl)


def test_what_was_looked_at_closely_stands_among_the_others():
    inspection = inspect(small_run(), limit=10, draws=4)
    first = {name: each.value.clone() for name, each in inspection.terms.items()}
    alone = terms_of(evaluate(inspection.model, inspection.x[3:4]), DRAWS_OF_ONE)
    one = terms_of(inspection.closely(3), DRAWS_OF_ONE)
    assert inspection.draws_of_each.tolist() == [*[4] * 3, DRAWS_OF_ONE, *[4] * 6]
    others = [i for i in range(10) if i != 3]
    for name, term in inspection.terms.items():
        assert term[3].value == one[name][0].value, name
        assert term[3].standard_error == one[name][0].standard_error, name
        torch.testing.assert_close(one[name].value, alone[name].value)  # whatever else is in the batch
        torch.testing.assert_close(term.value[others], first[name][others], rtol=0, atol=0)


def test_the_caller_s_random_numbers_are_left_alone():
    vae, x = make_vae(), LIKELIHOODS["bernoulli"][1](3)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = looked_at([evaluate(vae, x[:1])], [None])
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == looked_at([evaluate(vae, x[:1])], [None])


@pytest.mark.parametrize("name", **each(POSTERIORS))
def test_moments_of_every_posterior(name):
    vae, x = make_vae(posterior=name), LIKELIHOODS["bernoulli"][1](4)
    mean, covariance, is_normal = evaluate(vae, x).moments
    with torch.no_grad():
        drawn = vae.posterior(x).sample(torch.Size((4000,)))
    assert mean.shape == (4, LATENT)
    assert is_normal == (name != "flow")
    torch.testing.assert_close(mean, vae.encode(x).detach())
    for i in range(4):
        sampled = np.cov(drawn[:, i].T.numpy())
        scale = math.sqrt(2 / (256 if name == "flow" else 4000)) * covariance[i].diagonal().max()
        np.testing.assert_allclose(covariance[i].numpy(), sampled, atol=6 * float(scale))


@pytest.mark.parametrize("name", **each(LIKELIHOODS))
def test_every_likelihood_has_its_picture(name):
    vae, x = make_vae(name), LIKELIHOODS[name][1](2)
    reply = looked_at([evaluate(vae, x[:1])], [7])
    (one,) = reply.content["examples"]
    read = (torch.frombuffer(bytearray(buffer), dtype=torch.float32) for buffer in reply.buffers)
    shown, picture, mean, _, errors = read
    torch.testing.assert_close(shown, x[0].flatten())
    with torch.no_grad():
        px = vae.likelihood(mean[None])
        torch.testing.assert_close(picture, vae.decode(mean[None])[0].flatten().float())
    assert one["at_mean"] == pytest.approx(-float(px.log_prob(x[:1]).detach()), rel=1e-5)
    assert (one["row"], one["draws"]) == (7, DRAWS_OF_ONE)
    assert one["nelbo"] == pytest.approx(one["reconstruction_error"] + one["kl"])
    # the reconstruction error is the sum of what each feature costs, over the same draws
    assert len(errors) == len(shown)
    assert float(errors.double().sum()) == pytest.approx(one["reconstruction_error"], rel=1e-5)


@pytest.mark.parametrize("name", **each(LIKELIHOODS))
def test_what_a_feature_costs_is_the_mean_over_draws_of_its_log_probability(name):
    vae, x = make_vae(name), LIKELIHOODS[name][1](3)
    evaluation = evaluate(vae, x)
    with torch.no_grad():
        z = latents.draw(evaluation.qz, 5, evaluation.keys("elbo"))
        px = vae.likelihood(z)
        by_hand = torch.stack([-px.base_dist.log_prob(x)[k] for k in range(5)]).double().mean(0)
    torch.testing.assert_close(evaluation.error_per_feature(5), by_hand)
    at_z = evaluation.with_posterior(Delta(z[0]))
    torch.testing.assert_close(at_z.error_per_feature().flatten(1).sum(1).float(), at_z.error_at_embedding)


def test_features_that_depend_on_each_other_have_no_error_of_their_own():
    vae, x = make_vae(), LIKELIHOODS["bernoulli"][1](2)

    class Joint:
        prior, posterior = vae.prior, staticmethod(vae.posterior)

        @staticmethod
        def likelihood(z):
            return MultivariateNormal(torch.zeros(x.shape[1:]), torch.eye(x.shape[1])).expand(z.shape[:-1])

    evaluation = evaluate(Joint(), x)
    assert evaluation.terms(4).reconstruction_error.value.isfinite().all()
    assert evaluation.error_per_feature(4) is None


@pytest.mark.parametrize("name", **each(PRIORS))
def test_densities_over_a_plane_are_densities(name):
    """The marginals of p(z) and of q(z) in two of three dimensions integrate to 1 over a wide rectangle."""
    run = small_run(prior=name)
    inspection = inspect(run, limit=40, draws=2)
    plane = Plane(planes.units((0, 2), LATENT), (-12.0, -12.0), (12.0, 12.0), (0.0,) * LATENT)
    cell = (24 / 96) ** 2
    for log_density in (planes.log_prior, planes.log_aggregate):
        assert float(log_density(inspection, plane, 96).exp().sum()) * cell == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_holes_are_those_of_the_report(kind):
    """The number is that of aggregate_match, and what is shaded holds about as much of the prior's mass."""
    run = small_run(kind)
    inspection = inspect(run, limit=20, draws=2)
    whole = torch.eye(LATENT)[:, :LATENT]
    match = aggregate_match(run, run.data.train).holes
    found = holes(inspection, whole)
    assert (found.share.text, found.in_plane, found.examples) == (match.text, None, 60)
    assert holes(inspection, whole) is found  # measured once
    # of the marginals in a plane of two of the three units: by draws of the prior, and by the shaded cells of its grid
    flat = holes(inspection, planes.units((0, 1), LATENT))
    assert flat.share.text == match.text
    plane = Plane(planes.units((0, 1), LATENT), (-5.0, -5.0), (5.0, 5.0), (0.0,) * LATENT)
    mass = planes.log_prior(inspection, plane, 100).exp() * 0.01
    shaded = float(mass[flat.over(plane, 100)].sum())
    assert (
        abs(shaded - float(flat.in_plane)) < 5 * (float(flat.in_plane) * (1 - float(flat.in_plane)) / 60) ** 0.5 + 0.02
    )


def test_a_prior_has_a_box_in_the_plane():
    for prior in ("standard_normal", "mixture"):
        inspection = inspect(small_run(prior=prior), limit=20, draws=2)
        box = planes.around_prior(inspection, planes.units((0, 2), LATENT))
        with torch.no_grad():
            drawn = inspection.model.prior.sample(torch.Size((4000,)))[:, [0, 2]]
        inside = (drawn > torch.tensor(box.low)) & (drawn < torch.tensor(box.high))
        assert float(inside.all(1).double().mean()) > 0.97


def test_the_grid_starts_at_the_upper_left():
    grid = Plane(torch.eye(2), (0.0, 10.0), (4.0, 14.0), (0.0, 0.0)).grid(4)
    assert grid[0].tolist() == [0.5, 13.5]
    assert grid[1].tolist() == [1.5, 13.5]
    assert grid[-1].tolist() == [3.5, 10.5]


def test_principal_directions_turn_the_plane_and_leave_a_standard_normal_one():
    inspection = inspect(small_run(), limit=40, draws=2)
    w = planes.principal(inspection.mean)
    torch.testing.assert_close(w @ w.T, torch.eye(2), atol=1e-5, rtol=0)
    centered = inspection.mean - inspection.mean.mean(0)
    largest = torch.linalg.eigvalsh(centered.T @ centered)[-1]
    torch.testing.assert_close((centered @ w[0]).square().sum(), largest)
    at = (0.3, -1.0, 2.0)
    plane = Plane(w, (-12.0, -12.0), (12.0, 12.0), at)
    points = plane.points(4)
    torch.testing.assert_close(points @ w.T, plane.grid(4), atol=1e-5, rtol=0)
    across = torch.tensor(at) - (torch.tensor(at) @ w.T) @ w  # where the plane does not go, its points stay
    torch.testing.assert_close(points - (points @ w.T) @ w, across.expand(16, 3), atol=1e-5, rtol=0)
    expected = -0.5 * plane.grid(4).square().sum(1) - math.log(2 * math.pi)
    torch.testing.assert_close(planes.log_prior(inspection, plane, 4), expected)


def test_stretch_of_a_linear_decoder_is_its_determinant():
    torch.manual_seed(0)
    linear = torch.nn.Linear(2, 6)
    vae = VAE(nn.MLP(6, 4), linear, latent=2, likelihood=likelihoods.Normal(1.0))
    found = planes.stretch(vae, Plane(torch.eye(2), (-1.0, -1.0), (1.0, 1.0), (0.0, 0.0)), 3)
    w = linear.weight.detach().double().numpy()
    np.testing.assert_allclose(found.numpy(), 0.5 * np.log(np.linalg.det(w.T @ w)), atol=1e-3)


def test_terms_under_a_q_of_one_s_own_by_quadrature():
    """-E_q[log p(x|z)] by Gauss-Hermite nodes in one dimension, and the KL by its formula."""
    torch.manual_seed(1)
    vae = VAE(nn.MLP(6, 2), nn.MLP(1, 6, hidden=(8,)), latent=1, likelihood=likelihoods.Bernoulli()).eval()
    x, mean, sd = LIKELIHOODS["bernoulli"][1](1), 0.4, 0.7
    terms = terms_under(vae, x, torch.tensor([mean]), torch.tensor([[sd**2]]))
    error, kl = terms["reconstruction_error"], terms["kl"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    with torch.no_grad():
        z = torch.tensor(mean + sd * nodes, dtype=torch.float32)[:, None]
        values = -vae.likelihood(z).log_prob(x.expand(60, 6)).double().numpy()
    exact = float((weights * values).sum() / weights.sum())
    assert abs(float(error) - exact) < 5 * float(error.standard_error)
    assert float(kl) == pytest.approx(0.5 * (mean**2 + sd**2 - 1) - math.log(sd), rel=1e-5)


def test_terms_under_a_q_against_a_mixture_prior():
    vae = make_vae(prior="mixture")
    x, mean = LIKELIHOODS["bernoulli"][1](1), torch.zeros(LATENT)
    kl = terms_under(vae, x, mean, 0.1 * torch.eye(LATENT))["kl"]
    assert kl.method == f"monte_carlo ({DRAWS_OF_ONE} draws of z)"
    assert float(kl) + 5 * float(kl.standard_error) > 0
    assert float(terms_under(vae, x, mean, torch.zeros(LATENT, LATENT))["kl"]) == math.inf


def test_alignment_finds_the_map_that_made_the_second_space():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 2, generator=generator)
    turn = torch.tensor([[math.cos(0.7), math.sin(0.7)], [math.sin(0.7), -math.cos(0.7)]])  # with a reflection
    target = 1.7 * z @ turn + torch.tensor([3.0, -1.0])
    found = align(z, target)
    torch.testing.assert_close(found(z.double()), target.double(), atol=1e-5, rtol=0)
    assert found.scale == pytest.approx(1.7)
    assert found.unexplained < 1e-9
    noisy = align(z, target + 3 * torch.randn(200, 2, generator=generator))
    assert 0.2 < noisy.unexplained < 1
    with pytest.raises(ValueError, match="the same examples"):
        align(z, target[:5])
    with pytest.raises(ValueError, match="nothing to align"):
        align(z, torch.zeros(200, 2))


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "gelu", "elu", "leaky_relu", "softplus"])
def test_dense_steps_are_the_network(activation):
    module = nn.MLP(3, (2, 4, 4), hidden=(5, 7), activation=activation)
    found = network(module, (3,))
    assert found is not None
    assert [step["kind"] for step in found.steps] == ["dense", activation, "dense", activation, "dense"]
    assert found.size == sum(p.numel() for p in module.parameters())
    assert found.work == 3 * 5 + 5 * 7 + 7 * 32


@pytest.mark.parametrize("event", [(1, 28, 28), (3, 32, 32), (1, 7, 9)])
def test_convolutional_steps_keep_the_shapes_of_the_network(event):
    module = nn.ConvDecoder(2, event, channels=(4, 6), hidden=5, residual=1)
    found = network(module, (2,))
    assert found is not None
    assert found.size == sum(p.numel() for p in module.parameters())
    assert found.steps[-1]["to"] == list(event)
    last = {"kind": "conv", "to": [6, event[1] // 4, event[2] // 4]}
    encoder = network(nn.ConvEncoder(event, 4, channels=(4, 6), hidden=5), event)
    assert encoder is not None
    assert last.items() <= encoder.steps[2].items()


def hooked():
    layer = torch.nn.Linear(2, 3)
    layer.register_forward_hook(lambda _, __, outputs: 2 * outputs)
    return layer


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LeakyReLU(0.2)),
        torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Unflatten(1, (2, 2, 2)), torch.nn.Conv2d(2, 2, 1, groups=2)
        ),
        torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8)),
        nn.MLP(2, 784, hidden=(4000,)),  # 3 million weights
        nn.ConvDecoder(2, (1, 128, 128), channels=(32, 32, 32), hidden=8),  # much work
        Doubled(2, 3),
        hooked(),
        torch.nn.Identity(),
        None,
    ],
)
def test_what_a_browser_does_not_compute_is_left_to_python(module):
    assert network(module, (2,)) is None


def test_networks_travel_with_the_families_on_top_of_them():
    model = make_vae("bernoulli")
    assert encoder_of(model, EVENT) is not None
    assert decoder_of(model) is not None
    assert encoder_of(make_vae("bernoulli", posterior="flow"), EVENT) is None
    model.network_precision = "bfloat16"
    assert (encoder_of(model, EVENT), decoder_of(model)) == (None, None)

    class Scaled(Model):
        """Its decoder's output is not p(x|z)'s parameters."""

        px_family, latent, prior = model.px_family, 2, model.prior
        posterior = model.posterior

        def __init__(self):
            super().__init__()
            self.decoder = nn.MLP(2, EVENT)

        def likelihood(self, z):
            return self.px_family(3 * self.decoder(z), 1)

    assert decoder_of(Scaled()) is None


def test_splits_and_autoencoders():
    run = small_run("autoencoder")
    inspection = inspect(run, split="train", limit=10)
    assert inspection.evaluation.is_point
    terms = terms_of(inspection.evaluation, inspection.draws)
    assert bool(terms["kl"].value.isinf().all())
    assert bool(terms["reconstruction_error"].standard_error.isfinite().all())
    with pytest.raises(ValueError, match="have no test part; they have: validation, train"):
        inspect(run, split="test")


def test_priors_of_the_table_are_all_here():
    assert {type(make()) for make in PRIORS.values()} == {
        priors.StandardNormal,
        priors.Mixture,
        priors.VampPrior,
        priors.Flow,
    }


def test_labels_that_were_words_keep_them_and_values_their_units():
    run = small_run()
    content = opened(inspect(run, limit=9)).content
    assert content["label_names"] == ["0", "1", "2"]
    assert content["preparation"] == {"mean": None, "std": None, "scale": 1.0}
    assert len(content["columns"]["low"]) == 6
    run.record["data"] = {"label_names": ["lark", "wren", "owl"]}
    assert opened(inspect(run, limit=9)).content["label_names"] == ["lark", "wren", "owl"]
    run.data.train.preparation = Preparation(mean=(1.0,) * 6, std=(2.0,) * 6)
    content = opened(inspect(run, limit=9)).content
    assert content["preparation"] == {"mean": (1.0,) * 6, "std": (2.0,) * 6, "scale": 1.0}


def test_a_run_without_weights_is_loaded_from_its_checkpoint(tmp_path):
    data = nelbo_data.load("digits", binarize="threshold", limit=200)

    def stop(epoch):
        if epoch["epoch"] == 2:
            raise KeyboardInterrupt

    settings = {"epochs": 5, "seed": 1, "progress": False, "checkpoint_every": 1e-6}
    with pytest.raises(KeyboardInterrupt):
        fit(recipes.vae(data.event_shape, hidden=(8,)), data, out=tmp_path / "cut", callback=stop, **settings)
    epoch = checkpoint_epoch(tmp_path / "cut")
    run = runs.read(tmp_path / "cut")
    assert 1 <= epoch == len(run.history)
    assert checkpoint_epoch(tmp_path) is None
    expected = fit(recipes.vae(data.event_shape, hidden=(8,)), data, **{**settings, "epochs": epoch})
    for name, weight in expected.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=0, atol=0)


def test_columns_of_a_table_keep_their_names():
    run = small_run()
    assert opened(inspect(run, limit=5)).content["features"] is None
    names = ["age", "height", "weight", "pulse", "sleep", "steps"]
    run.record["data"] = {"features": names}  # as nelbo.data writes it
    assert opened(inspect(run, limit=5)).content["features"] == names


def test_models_of_all_kinds_open():
    """A model that states no families, only distributions, is shown as well."""
    run = small_run()

    class Plain:
        prior, posterior, likelihood = run.model.prior, run.model.posterior, run.model.likelihood

    content = opened(inspect(dataclasses.replace(run, model=as_model(Plain())), limit=5)).content
    assert (content["posterior"], content["in_page"]) == ("Independent", {"decoder": False, "encoder": False})
    assert content["standard_normal_prior"]
    assert not opened(inspect(small_run(prior="mixture"), limit=5)).content["standard_normal_prior"]


def test_all_examples_of_a_part_with_fewer_draws_of_more():
    session = Session()
    name = Library.of(session).add(many_examples(12_000))
    first, all_of_them = (
        session.ask({"kind": "inspect.open", "id": 1, "run": name, **more}) for more in ({}, {"all": True})
    )
    assert [first.content["n"], all_of_them.content["n"]] == [1000, 12_000]
    assert [first.content["draws"], all_of_them.content["draws"]] == [8, 2]
    assert first.content["of"] == all_of_them.content["of"] == 12_000
    # what does not depend on draws is the same number
    means = [np.frombuffer(reply.buffers[0], "<f4").reshape(-1, 2) for reply in (first, all_of_them)]
    np.testing.assert_allclose(means[1][:1000], means[0], atol=1e-6)
    kl = [np.frombuffer(reply.buffers[3], "<f4") for reply in (first, all_of_them)]
    np.testing.assert_allclose(kl[1][:1000], kl[0], rtol=1e-4, atol=1e-5)
    # the last one is looked at like the others
    asked = {"kind": "inspect.pictures", "id": 1, "run": name, "all": True, "rows": [11_999], "inputs": True}
    (x,) = session.ask(asked).buffers
    assert np.frombuffer(x, "<f4").shape == (64,)
    assert "error" in session.ask({**asked, "all": False}).content


def test_large_sets_make_room_for_each_other(monkeypatch):
    monkeypatch.setattr("nelbo.studio.library._KEPT_EXAMPLES", 5000)
    library = Library()
    names = [library.add(many_examples(n)) for n in (3000, 3001)]
    one = library.inspection(names[0], whole=True)
    assert library.inspection(names[0], whole=True) is one
    library.inspection(names[1], whole=True)
    assert library.inspection(names[0], whole=True) is not one
