"""What every p(x|z) must do."""

import itertools
import json

import pytest
import torch

from nelbo import likelihoods
from tests.cases import EVENT, LIKELIHOODS, each, parameters_for

UNSUGGESTED = ("log_normal", "truncated_normal", "columns")
"""Families of columns, which the values of a whole table do not suggest."""

pytestmark = pytest.mark.parametrize("name", **each(LIKELIHOODS))


def test_every_member_of_the_package_is_in_the_table(name):
    families = {c for c in vars(likelihoods).values() if isinstance(c, type) and issubclass(c, likelihoods.Likelihood)}
    tested = {type(make()) for make, _ in LIKELIHOODS.values()}
    assert families - {likelihoods.Likelihood} == tested


def test_shapes(name):
    make, data = LIKELIHOODS[name]
    family = make()
    px = family(parameters_for(family, 4), 1)
    assert (px.batch_shape, px.event_shape) == ((4,), EVENT)
    assert px.log_prob(data(4)).shape == (4,)
    assert px.sample().shape == family.point_estimate(px).shape == (4, *EVENT)


def test_a_leading_sample_axis_broadcasts(name):
    make, data = LIKELIHOODS[name]
    family, x = make(), data(4)
    parameters = torch.stack([parameters_for(family, 4, seed=s) for s in (1, 2, 3)])
    together = family(parameters, 1).log_prob(x)
    apart = torch.stack([family(p, 1).log_prob(x) for p in parameters])
    torch.testing.assert_close(together, apart)


def test_images_give_the_sum_over_pixels(name):
    make, data = LIKELIHOODS[name]
    family = make()
    if name == "columns":
        return  # a table has no pixels
    if name == "normal_per_feature":
        family = likelihoods.Normal(torch.full((2, 1, 3), 0.7))
    flat = parameters_for(family, 4)
    k = family.parameters_per_feature
    image = flat.reshape(4, k, 2, 1, 3).reshape(4, 2 * k, 1, 3)
    x = data(4)
    expected = LIKELIHOODS[name][0]()(flat, 1).log_prob(x)
    torch.testing.assert_close(family(image, 3).log_prob(x.reshape(4, 2, 1, 3)), expected)


def test_gradients_are_those_of_finite_differences(name):
    make, data = LIKELIHOODS[name]
    family = make().double()
    parameters = parameters_for(family, 2).double().requires_grad_()
    x = data(2).double()
    assert torch.autograd.gradcheck(lambda p: family(p, 1).log_prob(x), (parameters,))


def test_samples_are_accepted_and_have_the_distribution_s_mean(name):
    family = LIKELIHOODS[name][0]()
    px = family(parameters_for(family, 3, scale=0.5), 1)
    torch.manual_seed(0)
    draws = px.sample((4000,))
    family.check(draws.reshape(-1, *EVENT))
    if name == "categorical":
        mode = draws.mode(0).values
        assert (mode == family.point_estimate(px)).float().mean() > 0.8
        return
    error = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - family.point_estimate(px)).abs() < 5 * error + 1e-6).all()


def test_extreme_decoder_outputs_stay_finite(name):
    make, data = LIKELIHOODS[name]
    family = make()
    for scale in (0.0, 30.0, 80.0):
        parameters = parameters_for(family, 3, scale=scale).requires_grad_()
        log_prob = family(parameters, 1).log_prob(data(3))
        log_prob.sum().backward()
        assert torch.isfinite(log_prob).all()
        assert torch.isfinite(parameters.grad).all()


def test_data_outside_the_support_is_refused_with_another_family_named(name):
    family = LIKELIHOODS[name][0]()
    if name == "columns":
        return  # which names the column
    with pytest.raises(ValueError, match=r"NaN or infinite, out of 3"):
        family.check(torch.tensor([[0.0, float("nan"), 1.0]]))
    if name.startswith("normal"):
        return
    with pytest.raises(ValueError, match=rf"{type(family).__name__} needs .*Got x of shape .*What fits: likelihoods\."):
        family.check(torch.tensor([[-3.7, 0.5]]))


def test_moves_with_its_module(name):
    family = LIKELIHOODS[name][0]().double()
    assert (
        family(parameters_for(family, 2).double(), 1).log_prob(LIKELIHOODS[name][1](2).double()).dtype == torch.float64
    )


def test_at_mean_is_where_a_constant_decoder_does_well(name):
    make, data = LIKELIHOODS[name]
    family, x = make(), data(400)
    start = family.at_mean(x)
    assert start.shape == family.decoder_event(EVENT)

    def mean_log_prob(parameters):
        return float(family(parameters.expand(len(x), *parameters.shape), 1).log_prob(x).detach().mean())

    at_start = mean_log_prob(start)
    assert at_start >= mean_log_prob(torch.zeros_like(start)) - 1e-4
    if name != "categorical":
        # half a count more than there are, a logistic for what is none
        torch.testing.assert_close(family(start[None], 1).mean[0], x.mean(0), atol=0.02, rtol=0.02)
    if name != "columns" and (
        family.parameters_per_feature == 1 or name == "categorical"
    ):  # the mean says all there is to a feature
        for parameter, step in itertools.product(range(len(start)), (-0.3, 0.3)):
            moved = start.clone()
            moved[parameter] += step
            assert mean_log_prob(moved) < at_start


def test_at_mean_of_one_example_is_finite(name):
    """A standard deviation of one value must not become a NaN in a decoder."""
    make, data = LIKELIHOODS[name]
    assert torch.isfinite(make().at_mean(data(1))).all()


def test_its_own_data_suggest_it_or_a_wider_family(name):
    make, data = LIKELIHOODS[name]
    if name in UNSUGGESTED:
        return
    family, x = make(), data(400)
    if name == "discretized_logistic":
        x = (255 * x).to(torch.uint8)  # levels are recognized before they are scaled
    suggestion = likelihoods.fitting(x)
    wanted = eval(family.wider) if family.wider else family
    assert isinstance(likelihoods.named(suggestion.name), type(wanted))
    assert isinstance(eval(suggestion.line.split(",")[0].split(" and ")[0]), type(wanted))


def test_an_encoder_sees_finite_numbers_of_data_and_of_pseudo_inputs(name):
    make, data = LIKELIHOODS[name]
    family = make()
    transform = family.encoder_transform(EVENT) or torch.nn.Identity()
    assert torch.isfinite(transform(data(20))).all()
    assert transform(data(20)).shape == (20, *transform(torch.zeros(1, *EVENT)).shape[1:])
    start = family.pseudo_inputs(30, EVENT)
    if start is None:
        assert name in ("categorical", "columns")
        return
    u, bounds = start
    assert u.shape == (30, *EVENT)
    assert torch.isfinite(transform(u)).all()
    if bounds is not None:
        assert u.min() >= bounds[0]
        assert u.max() <= bounds[1]
        x = data(1000)
        assert x.min() >= bounds[0]
        assert x.max() <= bounds[1]


def test_a_linear_form_is_log_prob(name):
    make, data = LIKELIHOODS[name]
    family, x = make().double(), data(5).double()
    with torch.no_grad():
        shared = family(parameters_for(family, 7).double()[:, None], 1)
        form = family.linear(shared, x)
        none = (*UNSUGGESTED, "discretized_logistic", "categorical", "poisson", "negative_binomial")
        assert (form is None) == (name in none)
        if form is not None:
            torch.testing.assert_close(form.rows @ form.coefficients.T + form.offset, shared.log_prob(x).T)
            again = family.linear(shared, x, form.rows)
            assert torch.equal(again.rows, form.rows)


def test_readings_invert_each_other_and_the_first_is_on_the_scale_of_x(name):
    make, data = LIKELIHOODS[name]
    family = make()
    parameters = parameters_for(family, 9).double()
    for scale in family.readings.values():
        written = scale.from_parameters(parameters)
        again = scale.to_parameters(written)
        # logits but for a constant
        torch.testing.assert_close(family(again, 1).log_prob(data(9)), family(parameters, 1).log_prob(data(9)))
        assert scale.holds is None or scale.holds(written).all()
        assert (scale.holds is None) == (not scale.domain)
    for scale in list(family.readings.values())[:1]:
        assert scale.holds is None or scale.holds(data(50)).all()


def test_lookalikes_take_the_same_parameters_for_another_density(name):
    make, data = LIKELIHOODS[name]
    family, parameters = make(), parameters_for(make(), 4)
    for other in family.lookalikes():
        own, mistaken = family(parameters, 1).log_prob(data(4)), other(parameters, 1).log_prob(data(4))
        assert own.shape == mistaken.shape
        assert not torch.allclose(own, mistaken)


def test_the_browser_s_form_is_ready_for_json_and_has_the_same_sigma(name):
    family = LIKELIHOODS[name][0]()
    form = family.browser_form()
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    px = family(parameters_for(family, 1), 1)
    if form is not None and form.get("scale") is not None:
        sigma = torch.as_tensor(form["scale"]).expand(EVENT)
        torch.testing.assert_close(sigma, px.base_dist.scale.detach().expand(1, *EVENT)[0])
    assert family.sigma is None or family.sigma == pytest.approx(float(px.base_dist.scale.flatten()[0]))
