"""A row of a table, each column with a family of its own."""

import pytest
import torch
from scipy import stats

import nelbo
from nelbo import latents, likelihoods
from nelbo.likelihoods import Columns, Observed

FAMILIES = {
    "age": "normal",
    "job": "categorical:3",
    "visits": "negative_binomial",
    "town": "categorical:5",
    "smokes": "bernoulli",
    "income": "log_normal",
    "share": "truncated_normal",
    "height": "normal",
}
ROWS = torch.tensor(
    [[0.3, 2, 4, 0, 1, 2.5, 0.2, -1.0], [-1.2, 0, 0, 4, 0, 0.1, 1.0, 0.5], [0.0, 1, 9, 3, 1, 1.0, 0.0, 2.0]]
)


def parameters(family, n=3, seed=0):
    return torch.randn(n, *family.decoder_event((8,)), generator=torch.Generator().manual_seed(seed))


def test_the_sum_is_that_of_each_column_by_itself():
    family = Columns(FAMILIES)
    assert family.decoder_event((8,)) == (1 + 3 + 2 + 5 + 1 + 2 + 2 + 1,)
    given = parameters(family)
    px = family(given, 1)
    each = px.base_dist.log_prob(ROWS)
    assert each.shape == (3, 8)
    torch.testing.assert_close(px.log_prob(ROWS), each.sum(1))
    # the decoder gives families that are alike beside each other: both normals, then the categories, ...
    normals, categories, rest = given[:, :2], given[:, 2:10], given[:, 10:]
    normal = torch.distributions.Normal(normals, 1.0).log_prob(ROWS[:, [0, 7]])
    torch.testing.assert_close(each[:, [0, 7]], normal)
    # first classes beside each other, then the second ones, until the classes of one end
    logits = {"job": categories[:, [0, 2, 4]], "town": categories[:, [1, 3, 5, 6, 7]]}
    for place, name in ((1, "job"), (3, "town")):
        expected = torch.log_softmax(logits[name], 1).gather(1, ROWS[:, place : place + 1].long())[:, 0]
        torch.testing.assert_close(each[:, place], expected)
    count = likelihoods.NegativeBinomial()(rest[:, :2], 1).log_prob(ROWS[:, 2:3])
    torch.testing.assert_close(each[:, 2], count)
    torch.testing.assert_close(each[:, 4], likelihoods.Bernoulli()(rest[:, 2:3], 1).log_prob(ROWS[:, 4:5]))


def test_a_missing_value_counts_nothing_and_has_no_gradient():
    family = Columns(FAMILIES)
    given = parameters(family).requires_grad_()
    each = family(given, 1).base_dist.log_prob(ROWS).detach()
    for place in range(8):
        holes = ROWS.clone()
        holes[:, place] = torch.nan
        log_prob = Observed(family(given, 1), family.filler).log_prob(holes)
        torch.testing.assert_close(log_prob, each.sum(1) - each[:, place])
        (gradient,) = torch.autograd.grad(log_prob.sum(), given)
        assert torch.isfinite(gradient).all()


def test_each_normal_column_has_the_sigma_of_its_residuals():
    family = Columns({"a": "normal", "b": "categorical:2", "c": "normal"})
    x = torch.stack([3.0 * torch.randn(500), torch.zeros(500), 0.2 * torch.randn(500)], 1)
    x[:100, 0] = torch.nan
    px = Observed(family(torch.zeros(500, 4), 1), family.filler)
    assert not family.adapted
    family.adapt(family.optimum(px, x))
    assert family.adapted
    sigma = family(torch.zeros(1, 4), 1).base_dist.bases[0].scale
    expected = torch.stack([x[100:, 0].square().mean(), x[:, 2].square().mean()]).sqrt()
    torch.testing.assert_close(sigma.expand(1, 2)[0], expected)
    nothing = x.clone()
    nothing[:, 0] = torch.nan
    family.settle(family.optimum(px, nothing))  # a column that no row of the batch has keeps its sigma
    torch.testing.assert_close(family(torch.zeros(1, 4), 1).base_dist.bases[0].scale.expand(1, 2)[0], expected)


def test_an_encoder_sees_categories_one_hot_and_logarithms():
    family = Columns(FAMILIES)
    seen = family.encoder_transform((8,))(ROWS)
    assert seen.shape == (3, 2 + 3 + 5 + 1 + 1 + 1 + 1)
    torch.testing.assert_close(seen[:, :2], ROWS[:, [0, 7]])
    torch.testing.assert_close(seen[:, 2:5], torch.nn.functional.one_hot(ROWS[:, 1].long(), 3).float())
    torch.testing.assert_close(seen[:, 5:10], torch.nn.functional.one_hot(ROWS[:, 3].long(), 5).float())
    torch.testing.assert_close(seen[:, 10], ROWS[:, 2].log1p())
    assert torch.isfinite(family.encoder_transform((8,))(torch.zeros(1, 8))).all()


def test_a_decoder_starts_at_the_frequencies_of_the_categories():
    family = Columns(FAMILIES)
    x = ROWS.repeat(40, 1)
    start = family.at_mean(x)
    assert start.shape == family.decoder_event((8,))
    px = family(start[None], 1)
    probabilities = px.base_dist.bases[1].probs[0]
    torch.testing.assert_close(probabilities[0, :3], torch.full((3,), 1 / 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(probabilities[1], torch.tensor([1, 0, 0, 1, 1]) / 3, atol=2e-2, rtol=0)


def test_draws_are_rows_that_are_accepted_and_depend_on_their_keys_alone():
    family = Columns(FAMILIES)
    px = family(parameters(family), 1)
    family.check(px.sample((50,)).flatten(0, 1))
    keys = torch.tensor([5, 6, 7])
    drawn = latents.draw(px, 4, keys)
    assert drawn.shape == (4, 3, 8)
    family.check(drawn.flatten(0, 1))
    torch.testing.assert_close(latents.draw(latents.rows(px, slice(1, 2)), 4, keys[1:2]), drawn[:, 1:2])


def test_what_is_averaged_gives_means_and_most_probable_categories():
    family = Columns(FAMILIES)
    px = family(parameters(family), 1)
    average = family.averaged(px)
    value, error = family.from_average(average, torch.zeros_like(average))
    torch.testing.assert_close(value, family.point_estimate(px))
    assert error.shape == (3, 8)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [(1, 3.0, "'job'.*Categorical"), (5, 0.0, "'income'.*greater than 0"), (2, 0.5, "'visits'")],
)
def test_a_value_outside_the_support_names_its_column(place, value, said):
    rows = ROWS.clone()
    rows[0, place] = value
    with pytest.raises(ValueError, match=said):
        Columns(FAMILIES).check(rows)


def test_a_wrong_number_of_columns_or_of_outputs_is_told():
    with pytest.raises(ValueError, match=r"rows of 8 columns.*got \(2, 7\)"):
        Columns(FAMILIES).check(torch.zeros(2, 7))
    with pytest.raises(ValueError, match=r"end the decoder with nn.Linear\(..., 17\)"):
        Columns(FAMILIES)(torch.zeros(2, 8), 1)
    with pytest.raises(TypeError, match="family of column 'a'"):
        Columns({"a": 3})
    with pytest.raises(ValueError, match="at least"):
        Columns({})


def test_a_recipe_records_the_families_and_builds_them_again():
    vae = nelbo.recipes.table_vae((8,), likelihood=FAMILIES, latent=2, hidden=(8,))
    assert vae.recipe["arguments"]["likelihood"] == FAMILIES
    again = nelbo.recipes.make(vae.recipe["name"], **vae.recipe["arguments"])
    again.load_state_dict(vae.state_dict())
    z = torch.zeros(1, 2)
    torch.testing.assert_close(again.likelihood(z).log_prob(ROWS[:1]), vae.likelihood(z).log_prob(ROWS[:1]))
    objects = nelbo.recipes.vae(
        (2,), likelihood=Columns({"a": likelihoods.Categorical(4), "b": likelihoods.Normal(0.5)})
    )
    assert objects.recipe["arguments"]["likelihood"] == {"a": "categorical:4", "b": "normal:0.5"}


def test_the_densities_are_those_of_scipy():
    loc, log_scale = torch.tensor([[-0.8, 0.3, 1.6]]).double(), torch.tensor([[-1.0, 0.5, -2.0]]).double()
    x = torch.tensor([[0.2, 0.0, 1.0]]).double()
    at = 0.5 + 1.5 * torch.tanh(loc / 1.5)
    scale = log_scale.exp()
    px = likelihoods.TruncatedNormal()(torch.cat([loc, log_scale], 1), 1).base_dist
    low, high = (-at / scale).numpy(), ((1 - at) / scale).numpy()
    known = stats.truncnorm(low, high, loc=at.numpy(), scale=scale.numpy())
    torch.testing.assert_close(px.log_prob(x), torch.from_numpy(known.logpdf(x.numpy())))
    torch.testing.assert_close(px.mean, torch.from_numpy(known.mean()))
    u = torch.tensor([[0.1, 0.5, 0.99]]).double()
    torch.testing.assert_close(px.icdf(u), torch.from_numpy(known.ppf(u.numpy())))
    log_normal = likelihoods.LogNormal()(torch.cat([loc, log_scale], 1), 1).base_dist
    known = stats.lognorm(scale.numpy(), scale=loc.exp().numpy())
    positive = x + 0.5
    torch.testing.assert_close(log_normal.log_prob(positive), torch.from_numpy(known.logpdf(positive.numpy())))
    torch.testing.assert_close(log_normal.mean, torch.from_numpy(known.mean()))


@pytest.mark.parametrize("order", [1, -1])
def test_means_keep_their_fractions_and_gradients_wherever_the_categories_stand(order):
    """A first column of categories, whose most probable one is an integer, made integers of all means."""
    family = Columns(dict(list({"job": "categorical:3", "height": "normal"}.items())[::order]))
    given = torch.tensor([{1: [3.0, 1.0, 0.0, 0.25], -1: [0.25, 3.0, 1.0, 0.0]}[order]], requires_grad=True)
    value = family.point_estimate(family(given, 1))
    at = list(family.families).index("height")
    assert value.is_floating_point()
    (slope,) = torch.autograd.grad(value[0, at], given)
    assert float(slope.abs().sum()) == 1.0
    assert float(value[0, at].detach()) == 0.25
