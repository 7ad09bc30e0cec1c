import io
import itertools
import math
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.text import Text
from scipy import stats
from torch.distributions import Independent, MultivariateNormal, Normal

import nelbo
from nelbo import figures, measure
from nelbo.estimate import Estimate
from nelbo.figures import density, palette, points
from nelbo.figures.comparing import loss_in_words
from nelbo.runs import Run
from nelbo.training import fit
from tests.cases import POSTERIORS, PRIORS

IMAGE = (1, 8, 8)
PRIOR_NAMES = {"standard_normal": "standard_normal", "mixture": "mixture:3", "vamp": "vamp:4", "flow": "flow"}
FAMILIES = [*((q, "standard_normal") for q in POSTERIORS), *(("diagonal_normal", PRIOR_NAMES[p]) for p in PRIORS)]


@pytest.fixture(scope="module")
def x():
    """Bars at random places: one latent dimension tells where, the other whether upright."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(240, *IMAGE)
    place = torch.randint(8, (240,), generator=generator)
    for i, p in enumerate(place):
        if i % 2:
            images[i, 0, :, p] = 1
        else:
            images[i, 0, p] = 1
    return images


@pytest.fixture(scope="module")
def labels(x):
    return torch.arange(len(x)) % 2


def _train(recipe, x, epochs=4):
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        return fit(recipe(), x, epochs=epochs, batch_size=32, progress=False)


@pytest.fixture(scope="module")
def runs(x):
    return {
        "VAE": _train(lambda: nelbo.recipes.vae(IMAGE, hidden=(32,)), x),
        "Autoencoder": _train(lambda: nelbo.recipes.autoencoder(IMAGE, hidden=(32,)), x),
        "over-weighted": _train(lambda: nelbo.recipes.beta_vae(IMAGE, beta=20.0, hidden=(32,)), x),
    }


@pytest.fixture(scope="module")
def rows(runs, x, labels):
    return [
        figures.row(run.model, x[6:7], run.model.encode(x), labels, title=name, samples=512)
        for name, run in runs.items()
    ]


def words(figure):
    """Everything that is written on the figure, the pieces of a line in order."""
    return " ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def as_reported(value, error=0.0, with_error=True):
    """The number as a report shows it."""
    text = Estimate.number(value, error).text
    return text if with_error else text.partition(" ±")[0]


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=50)  # drawing raises every warning there is
    return figure


def by_gid(axes, gid):
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def latent_panels(figure):
    return [axes for axes in figure.axes if by_gid(axes, "posterior_mean")]


class TestRow:
    def test_numbers_are_those_of_the_loss(self, rows, runs, x):
        for row, run in zip(rows, runs.values(), strict=True):
            torch.manual_seed(3)
            with torch.no_grad():
                parts = [nelbo.loss(run.model, x[6:7].expand(4096, *IMAGE)) for _ in range(2)]
            error = torch.cat([part.reconstruction_error for part in parts])
            spread = math.hypot(row.standard_error, float(error.std()) / math.sqrt(len(error)))
            assert abs(row.reconstruction_error - float(error.mean())) <= 5 * spread + 1e-4
            assert row.kl == pytest.approx(float(parts[0].kl[0]), rel=1e-5)
            assert row.nelbo == row.reconstruction_error + row.kl

    def test_standard_error_is_the_spread_over_seeds(self, runs, x):
        model = runs["over-weighted"].model
        repeats = [figures.row(model, x[:1], model.encode(x), samples=64, seed=s) for s in range(60)]
        observed = np.std([r.reconstruction_error for r in repeats], ddof=1)
        expected = np.mean([r.standard_error for r in repeats])
        # the standard deviation of 60 values is known to about 1 / sqrt(120)
        assert abs(observed / expected - 1) < 5 / math.sqrt(120)

    def test_same_seed_same_numbers(self, runs, x):
        model = runs["VAE"].model
        first, again, other = (figures.row(model, x[:1], model.encode(x), samples=8, seed=s) for s in (0, 0, 1))
        assert first.reconstruction_error == again.reconstruction_error != other.reconstruction_error

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (lambda m, x: (x[0], m.encode(x)), r"\(1, 8, 8\)|one input"),
            (lambda m, x: (x[:2], m.encode(x)), r"x\[6:7\]"),
            (lambda m, x: (x[:1], m.encode(x)[:, :1]), r"must have shape \(n, 2\)"),
            (lambda m, x: (x[:1], m.encode(x), [1, 2]), r"expected \(240,\)"),
        ],
    )
    def test_what_does_not_fit_is_explained(self, runs, x, arguments, message):
        with pytest.raises(ValueError, match=message):
            figures.row(runs["VAE"].model, *arguments(runs["VAE"].model, x))

    def test_a_model_in_training_stays_as_it_was(self, x):
        model = _train(lambda: nelbo.recipes.sigma_vae(IMAGE, hidden=(8,)), x, epochs=1).model.train()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        row = figures.row(model, x[:1], model.encode(x), samples=8)
        drawn(figures.comparison([row]))
        assert model.training
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class TestComparison:
    def test_three_panels_for_each_model(self, rows):
        figure = drawn(figures.comparison(rows))
        assert len(figure.axes) == 9
        assert len(latent_panels(figure)) == 3

    def test_nothing_sticks_out(self, runs, rows, x):
        model = nelbo.recipes.vae(IMAGE, prior="mixture:2", hidden=(8,))
        mixture = figures.row(model, x[:1], model.encode(x), torch.arange(len(x)) % 10, samples=4)
        for figure in (figures.comparison([*rows, mixture]), figures.loss_curves(runs)):
            renderer = FigureCanvasAgg(figure).get_renderer()
            for text in figure.findobj(Text):
                if not text.get_text() or not text.get_visible() or text.get_clip_on():
                    continue
                box = text.get_window_extent(renderer)
                assert figure.bbox.x0 <= box.x0, text
                assert box.x1 <= figure.bbox.x1, text

    def test_titles_hold_the_numbers(self, rows):
        text = words(figures.comparison(rows))
        for row in rows:
            assert row.title in text
            assert f"reconstruction error {as_reported(row.reconstruction_error, row.standard_error, False)}" in text
        vae, autoencoder, _ = rows
        assert f"+ KL {as_reported(vae.kl)} = total loss {as_reported(vae.nelbo, vae.standard_error)} nats" in text
        shown = as_reported(autoencoder.reconstruction_error, autoencoder.standard_error)
        assert f"{shown} nats, no KL: q(z|x) is a point" in text
        assert "inf" not in text.replace("infinite", "")

    @pytest.mark.parametrize(("spread", "shown"), [(0.3, "11.25 ± 0.30"), (0.041, "11.249 ± 0.041"), (0.0, "11.25")])
    def test_the_digits_are_those_of_a_report(self, rows, spread, shown):
        row = figures.Row(rows[0].evaluation, "", rows[0].embeddings, None, 10.0, 1.249, spread)
        error, _, kl, _, total = (part[0] for part in loss_in_words(row))
        assert total == f"total loss {shown} nats"
        assert kl == "KL 1.249"
        assert error == f"reconstruction error {as_reported(10.0, spread, False)}"

    def test_ellipse_is_sigma_of_q(self, rows, x):
        figure = figures.comparison(rows)
        for row, axes in zip(rows, latent_panels(figure), strict=True):
            with torch.no_grad():
                qz = row.evaluation.model.posterior(x[6:7])
            (marker,) = by_gid(axes, "posterior_mean")
            assert np.ravel(marker.get_data()) == pytest.approx(qz.mean[0].cpu().numpy(), abs=1e-6)
            for k in (1, 2):
                shapes = by_gid(axes, f"posterior_{k}_sigma")
                assert len(shapes) == (0 if row.is_point else 1)
                for shape in shapes:
                    assert shape.center == pytest.approx(qz.mean[0].cpu().numpy(), abs=1e-6)
                    expected = 2 * k * qz.stddev[0].cpu().numpy()
                    assert sorted([shape.width, shape.height]) == pytest.approx(sorted(expected), rel=1e-5)
            for k in (1, 2, 3):
                (ring,) = by_gid(axes, f"prior_{k}_sigma")
                assert (ring.width, ring.height) == pytest.approx((2 * k, 2 * k))

    def test_vaes_share_a_scale_and_an_autoencoder_says_when_it_does_not(self, runs, x, labels):
        rows = [
            figures.row(run.model, x[:1], run.model.encode(x) * (30 if name == "Autoencoder" else 1), labels, samples=2)
            for name, run in runs.items()
        ]
        figure = figures.comparison(rows)
        vae, autoencoder, heavy = (np.ptp(axes.get_xlim()) for axes in latent_panels(figure))
        assert vae == pytest.approx(heavy)
        assert autoencoder > 1.5 * vae
        assert f"axes {autoencoder / vae:.2g}× wider" in words(figure)

    def test_every_embedding_lies_in_its_panel(self, rows):
        for row, axes in zip(rows, latent_panels(figures.comparison(rows)), strict=True):
            (cloud,) = [c for c in axes.collections if isinstance(c, PathCollection)]
            offsets = np.asarray(cloud.get_offsets())
            assert sorted(offsets[:, 0]) == pytest.approx(sorted(row.embeddings[:, 0].cpu().numpy()), abs=1e-6)
            inside = (offsets >= [axes.get_xlim()[0], axes.get_ylim()[0]]) & (
                offsets <= [axes.get_xlim()[1], axes.get_ylim()[1]]
            )
            assert inside.all()

    @pytest.mark.parametrize("latent", [1, 2, 3])
    @pytest.mark.parametrize(("posterior", "prior"), FAMILIES)
    def test_every_latent_space(self, x, labels, latent, posterior, prior):
        if latent == 1 and "flow" in (posterior, prior):
            pytest.skip("a coupling needs two dimensions")
        model = nelbo.recipes.vae(IMAGE, latent=latent, posterior=posterior, prior=prior, hidden=(8,))
        figure = drawn(figures.comparison([figures.row(model, x[:1], model.encode(x), labels, samples=4)]))
        assert ("2 most active of 3" in words(figure)) == (latent == 3)
        assert len(by_gid(figure.axes[0], "posterior_mean")) == 1

    def test_vectors_are_stems(self):
        t = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
        model = _train(lambda: nelbo.recipes.sigma_vae((5,), hidden=(8,)), t, epochs=1)
        figure = drawn(figures.comparison([figures.row(model, t[:1], model.encode(t), samples=4)]))
        original = figure.axes[1]
        assert original.get_lines()[0].get_ydata() == pytest.approx(t[0].numpy())
        assert original.get_xlabel() == "feature"

    def test_a_model_that_is_not_ours(self, runs, x, labels):
        class Foreign:
            """Nothing but the three distributions."""

            prior = runs["VAE"].model.prior
            posterior = staticmethod(runs["VAE"].model.posterior)
            likelihood = staticmethod(runs["VAE"].model.likelihood)

        z = runs["VAE"].model.encode(x)
        ours, theirs = (figures.row(m, x[:1], z, labels, samples=8) for m in (runs["VAE"].model, Foreign()))
        assert ours.nelbo == theirs.nelbo
        drawn(figures.comparison([theirs]))
        drawn(figures.latent_grid(Foreign(), n=3))
        drawn(figures.samples(Foreign(), n=2))

    def test_no_rows(self):
        with pytest.raises(ValueError, match="row for each model"):
            figures.comparison([])


class TestDensity:
    def test_tilted_ellipse_lies_on_its_mahalanobis_distance(self):
        covariance = np.array([[2.0, 1.2], [1.2, 1.0]])
        shape = density.ellipse(np.array([0.5, -1.0]), covariance, 2.0)
        turn = np.linspace(0, 2 * np.pi, 50)
        edge = shape.get_patch_transform().transform(np.stack([np.cos(turn), np.sin(turn)], 1)) - [0.5, -1.0]
        distance = np.einsum("ni,ij,nj->n", edge, np.linalg.inv(covariance), edge)
        assert distance == pytest.approx(4.0, rel=1e-9)

    def test_moments_of_chosen_dimensions(self):
        scale = torch.tensor([[2.0, 0, 0], [0.5, 1.0, 0], [0.3, -0.7, 0.9]]).double()
        mean = torch.tensor([1.0, 2.0, 3.0]).double()
        q = MultivariateNormal(mean[None], scale_tril=scale[None])
        m, c = density.moments(q, (0, 2))
        full = (scale @ scale.T).numpy()
        assert m == pytest.approx([1, 3])
        assert c == pytest.approx(full[[0, 2]][:, [0, 2]])
        diagonal = Independent(Normal(mean, mean), 1)
        assert density.moments(diagonal, (0, 2))[1] == pytest.approx(np.diag([1.0, 9.0]))

    def test_levels_hold_the_masses_of_sigma_rings(self):
        side = np.linspace(-6, 6, 400)
        grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        p = stats.multivariate_normal([0, 0]).pdf(grid)
        levels = density.highest_density(p, density.MASSES)
        expected = [stats.multivariate_normal([0, 0]).pdf([k, 0]) for k in (1, 2, 3)]
        assert levels == pytest.approx(expected, rel=0.02)

    def test_contours_of_a_normal_prior_as_any_other(self):
        axes = Figure().add_subplot()
        pz = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        density.contour(axes, pz, pz.sample((4000,)), (0, 1), masses=density.MASSES[:2])
        (contours,) = axes.collections
        radii = [np.linalg.norm(path.vertices, axis=1) for path in contours.get_paths()]
        assert np.mean(radii[0]) == pytest.approx(2, rel=0.02)
        assert np.mean(radii[1]) == pytest.approx(1, rel=0.02)

    def test_interval_of_any_distribution(self):
        torch.manual_seed(0)
        uniform = Independent(torch.distributions.Uniform(torch.zeros(1), torch.ones(1)), 1)
        low, high = density.interval(uniform, 1.0)
        error = 5 * math.sqrt(0.16 * 0.84 / 4000)
        assert low == pytest.approx(stats.norm.cdf(-1), abs=error)
        assert high == pytest.approx(stats.norm.cdf(1), abs=error)


class TestPoints:
    def test_most_active_dimensions(self):
        z = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3, 0.2, 0.1, 2, 1])
        assert points.active(z) == (1, 4)
        assert points.active(z[:, :2]) == (0, 1)
        assert points.active(z[:, :1]) == (0,)

    def test_spread_keeps_apart_and_leaves_the_distant_alone(self):
        places = np.array([[0.0, 0], [0, 0], [0.05, 0], [9, 9]])
        moved = points.spread(places, np.array([1.0, 1.0]), np.array([[0.0, 0.1]]))
        everything = np.concatenate([moved, [[0.0, 0.1]]])
        distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(everything, 2)]
        assert min(distances) > 0.99
        assert moved[3] == pytest.approx([9, 9], abs=1e-5)

    @pytest.mark.parametrize(
        ("labels", "names"),
        [
            ([3, 1, 3, 7], ("1", "3", "7")),
            ([1.0, 2.0, 1.0, 2.0], ("1", "2")),
            (["cat", "dog", "cat", "emu"], ("cat", "dog", "emu")),
            ([True, False, True, True], ("False", "True")),
            ([0.1, 0.2, 0.3, 0.4], ()),
        ],
    )
    def test_labels(self, labels, names):
        assert points.read_labels(labels, 4).names == names


class TestEmbedding:
    def test_names_stand_at_the_classes(self, runs, x):
        z = torch.tensor([[0.0, 0.0], [0.2, 0.0], [5.0, 5.0], [5.2, 5.0]])
        figure = drawn(figures.embedding(z, ["left", "left", "right", "right"]))
        places = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
        assert places["left"] == pytest.approx((0.1, 0), abs=1e-3)
        assert places["right"] == pytest.approx((5.1, 5), abs=1e-3)

    def test_more_than_two_dimensions_say_so(self):
        z = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1, 5.0])
        figure = drawn(figures.embedding(z, torch.arange(60) % 3, title="four"))
        text = words(figure)
        assert "the 2 most active of 4 latent dimensions" in text
        assert "$z_{2}$" in text
        assert "$z_{4}$" in text

    def test_values_get_a_scale(self):
        z = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
        assert len(drawn(figures.embedding(z, torch.linspace(0, 1, 60))).axes) == 2

    def test_one_dimension(self):
        z = torch.randn(60, 1, generator=torch.Generator().manual_seed(0))
        assert [t.get_text() for t in drawn(figures.embedding(z, torch.arange(60) % 3)).axes[0].get_yticklabels()] == [
            "0",
            "1",
            "2",
        ]

    def test_wrong_shapes(self):
        with pytest.raises(ValueError, match=r"embedding\(run\.encode"):
            figures.embedding(torch.zeros(3))
        with pytest.raises(ValueError, match="labels has shape"):
            figures.embedding(torch.zeros(3, 2), [1])


class TestLatentGrid:
    def test_tiles_are_decoded_quantiles(self, runs):
        model, n = runs["VAE"].model, 5
        figure = drawn(figures.latent_grid(model, n=n))
        picture = np.asarray(figure.axes[0].get_images()[0].get_array())
        assert picture.shape == (n * 8, n * 8, 3)
        z = stats.norm.ppf((np.arange(n) + 0.5) / n)
        for row, column in itertools.product(range(n), repeat=2):
            place = torch.tensor([[z[column], z[n - 1 - row]]], dtype=torch.float32)
            tile = picture[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8, 0]
            assert tile == pytest.approx(model.decode(place)[0, 0].detach().cpu().numpy(), abs=1e-5)

    def test_ticks_say_z(self, runs):
        axes = figures.latent_grid(runs["VAE"].model, n=9).axes[0]
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
            expected = stats.norm.ppf(place / 9)
            assert float(label.get_text().replace("−", "-")) == pytest.approx(expected, abs=0.051)
        for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            expected = stats.norm.ppf(1 - place / 9)
            assert float(label.get_text().replace("−", "-")) == pytest.approx(expected, abs=0.051)

    @pytest.mark.parametrize("latent", [1, 2, 4])
    @pytest.mark.parametrize("prior", ["standard_normal", "mixture:3"])
    def test_every_latent_space(self, latent, prior):
        model = nelbo.recipes.vae(IMAGE, latent=latent, prior=prior, hidden=(8,))
        figure = drawn(figures.latent_grid(model, n=4))
        picture = np.asarray(figure.axes[0].get_images()[0].get_array())
        assert picture.shape == ((8 if latent == 1 else 32), 32, 3)
        assert ("other 2 latents" in words(figure)) == (latent == 4)

    def test_vectors(self):
        model = nelbo.recipes.vae((5,), likelihood="normal", hidden=(8,))
        (bars,) = [
            c for c in drawn(figures.latent_grid(model, n=3)).axes[0].collections if isinstance(c, LineCollection)
        ]
        assert len(bars.get_segments()) == 9 * 5

    @pytest.mark.parametrize("wrong", [{"n": 1}, {"dims": (0, 2)}, {"dims": (1, 1)}, {"span": (2.0, -2.0)}])
    def test_what_cannot_be_meant(self, runs, wrong):
        with pytest.raises(ValueError, match="|".join(wrong)):
            figures.latent_grid(runs["VAE"].model, **wrong)


class TestSamples:
    def test_a_block_for_each_model_and_what_it_is(self, runs):
        figure = drawn(figures.samples({name: run.model for name, run in runs.items()}, n=3))
        assert len(figure.axes) == 3
        text = words(figure)
        assert text.count("mean of p(x|z)") == 3
        assert text.count("never trained on") == 1
        assert all(name in text for name in runs)

    def test_seeded(self, runs):
        def picture(seed):
            figure = figures.samples(runs["VAE"].model, n=3, seed=seed)
            return np.asarray(figure.axes[0].get_images()[0].get_array())

        assert np.array_equal(picture(0), picture(0))
        assert not np.array_equal(picture(0), picture(1))

    def test_names_of_a_sequence(self, runs):
        assert "VAE 2" in words(figures.samples([runs["VAE"].model, runs["over-weighted"].model], n=2))

    def test_nothing_to_show(self, runs):
        with pytest.raises(ValueError, match="nothing to draw; write samples"):
            figures.samples({})
        with pytest.raises(ValueError, match="n, the number of samples"):
            figures.samples(runs["VAE"].model, n=0)


class TestSheets:
    def test_pixel_for_pixel(self, tmp_path, x):
        path = figures.save(figures.image_grid(x[:6], columns=3), tmp_path / "grid.png")
        from matplotlib.image import imread

        picture = imread(path)[..., 0]
        height, width = 2 * 8 + 1, 3 * 8 + 2
        times = picture.shape[1] // width
        assert picture.shape == (height * times, width * times)
        small = picture[times // 2 :: times, times // 2 :: times]
        assert np.array_equal(small[9:17, 18:26], x[5, 0].numpy())

    @pytest.mark.parametrize("channels", [1, 3])
    def test_images_in_color_and_gray(self, channels):
        examples = torch.rand(5, channels, 6, 4, generator=torch.Generator().manual_seed(0))
        colors = examples.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        (image,) = drawn(figures.image_grid(examples, columns=2)).axes[0].get_images()
        assert image.get_array().shape == (3 * 6 + 2, 2 * 4 + 1, 3)
        for i, expected in enumerate(colors):
            top, left = 7 * (i // 2), 5 * (i % 2)
            np.testing.assert_array_equal(image.get_array()[top : top + 6, left : left + 4], expected)
        pairs = drawn(figures.reconstruction_pairs(examples, 1 - examples, columns=2)).axes
        assert len(pairs) == 3
        for i, expected in enumerate(colors):
            picture = pairs[i // 2].get_images()[0].get_array()
            left = 4 * (i % 2)
            np.testing.assert_array_equal(picture[:6, left : left + 4], expected)
            np.testing.assert_allclose(picture[6:, left : left + 4], 1 - expected, atol=1e-6)

    def test_vectors_are_bars_as_long_as_their_values(self):
        values = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).double().numpy()
        sheet = drawn(figures.image_grid(values, columns=2)).axes
        pairs = drawn(figures.reconstruction_pairs(values, -values, columns=5)).axes
        for axes, columns, shown in ((sheet, 2, values), (pairs, 5, np.concatenate([values, -values]))):
            (bars,) = [c for c in axes[0].collections if isinstance(c, LineCollection)]
            ends = np.array(bars.get_segments())
            lengths = ends[:, 0, 1] - ends[:, 1, 1]  # upwards is to smaller y
            np.testing.assert_allclose(lengths / lengths[0], shown.ravel() / shown.ravel()[0], rtol=1e-4)
            across = ends[:, 0, 0].reshape(len(shown), 7)
            assert bool((np.diff(across) > 0).all())
            assert [int(x) for x in across[:, 0]] == [i % columns for i in range(len(shown))]

    def test_pairs_stand_one_above_the_other(self, x, runs):
        shown = runs["VAE"].model.reconstruct(x[:4])
        (axes,) = drawn(figures.reconstruction_pairs(x[:4], shown)).axes
        picture = np.asarray(axes.get_images()[0].get_array())[..., 0]
        assert np.array_equal(picture[:8, 8:16], x[1, 0].numpy())
        assert picture[8:, 8:16] == pytest.approx(shown[1, 0].cpu().numpy())
        assert [label.get_text() for label in axes.get_yticklabels()] == ["input", "reconstruction"]

    def test_errors(self, x):
        with pytest.raises(ValueError, match="expected the same"):
            figures.reconstruction_pairs(x[:2], x[:3])
        with pytest.raises(ValueError, match="at least (1|one)"):
            figures.image_grid(x[:0])
        with pytest.raises(ValueError, match="columns"):
            figures.image_grid(x[:2], columns=0)


class TestLossCurves:
    def test_three_panels_for_each_run_and_last_values(self, runs):
        figure = drawn(figures.loss_curves(runs))
        assert len(figure.axes) == 9
        text = words(figure)
        last = runs["VAE"].history[-1]
        error, spread = last["validation_reconstruction_error"], last["validation_reconstruction_error_standard_error"]
        assert f"{as_reported(error, spread)} nats" in text
        assert f"{as_reported(last['validation_kl'], last['validation_kl_standard_error'])} nats" in text
        assert text.count("infinite:") == 2

    def test_lines_are_the_history(self, runs):
        axes = figures.loss_curves(runs["VAE"]).axes
        history = runs["VAE"].history
        for panel, term in zip(axes, ("reconstruction_error", "kl", "nelbo"), strict=True):
            train, validation = panel.get_lines()
            assert list(train.get_xdata()) == [epoch["epoch"] for epoch in history]
            assert list(train.get_ydata()) == [epoch[f"train_{term}"] for epoch in history]
            assert list(validation.get_ydata()) == [epoch[f"validation_{term}"] for epoch in history]
            assert train.get_linestyle() == "-"
            assert validation.get_linestyle() == "--"
            (band,) = panel.collections
            low = min(e[f"validation_{term}"] - e[f"validation_{term}_standard_error"] for e in history)
            assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(low)
            assert panel.get_ylabel() == "nats"

    def test_same_scale_for_all_runs_unless_told(self, runs):
        for share in (True, False):
            axes = figures.loss_curves([runs["VAE"], runs["over-weighted"]], share=share).axes
            assert (axes[2].get_ylim() == axes[3].get_ylim()) == share

    def test_history_from_disk_has_none_for_infinity(self, runs):
        history = [{k: None if v == math.inf else v for k, v in e.items()} for e in runs["Autoencoder"].history]
        run = Run(runs["Autoencoder"].model, history)
        assert words(drawn(figures.loss_curves(run))).count("infinite:") == 2

    def test_one_epoch_and_no_validation(self, runs):
        history = [{"epoch": 1, "train_reconstruction_error": 5.0, "train_kl": 1.0, "train_nelbo": 6.0}]
        figure = drawn(figures.loss_curves(Run(runs["VAE"].model, history)))
        line = figure.axes[0].get_lines()[0]
        assert line.get_marker() == "o"
        assert not line.get_clip_on()  # at the end of a scale it stays whole
        assert [tick for tick in figure.axes[0].get_xticks() if 0.5 <= tick <= 1.5] == [1]
        assert figure.legends[0].get_lines()[0].get_marker() == "o"

    def test_nothing_to_show(self, runs):
        with pytest.raises(ValueError, match="nothing to draw; write loss_curves"):
            figures.loss_curves([])
        with pytest.raises(ValueError, match="no epoch"):
            figures.loss_curves(Run(runs["VAE"].model, []))


class TestSave:
    @pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
    def test_formats_and_same_bytes(self, tmp_path, rows, suffix, start):
        one, two = (figures.save(figures.comparison(rows[1:2]), tmp_path / f"{i}{suffix}") for i in (1, 2))
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == two.read_bytes()
        assert [p.name for p in sorted(tmp_path.iterdir())] == [one.name, two.name]

    def test_another_suffix(self, tmp_path, rows):
        with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg, got 'a\.gif'"):
            figures.save(figures.comparison(rows[:1]), tmp_path / "a.gif")

    def test_notebooks_show_it(self, x):
        assert figures.image_grid(x[:2])._repr_png_().startswith(b"\x89PNG")


def test_nothing_global_changes(runs, rows, x, labels):
    settings, model = dict(mpl.rcParams), runs["VAE"].model
    torch.manual_seed(5)
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    figures.row(model, x[:1], model.encode(x), labels, samples=4)
    for figure in (
        figures.comparison(rows),
        figures.latent_grid(model, n=3),
        figures.samples(model, n=2),
        figures.loss_curves(runs),
        figures.embedding(model.encode(x), labels, prior=model.prior),
        figures.image_grid(x[:2]),
        figures.reconstruction_pairs(x[:2], x[:2]),
    ):
        drawn(figure)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert dict(mpl.rcParams) == settings


def test_pyplot_is_never_imported():
    code = "import nelbo.figures, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Machado, Oliveira & Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def _linear(color):
    rgb = np.array(mpl.colors.to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _oklab(linear):
    """Ottosson 2020, "A perceptual color space for image processing"."""
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    lms = np.cbrt(np.array([*to_lms, [0.0883024619, 0.2817188376, 0.6299787005]]) @ np.clip(linear, 0, 1))
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    return np.array([*to_lab, [0.0259040371, 0.7827717662, -0.8086757660]]) @ lms


def _nearest(colors, vision):
    seen = [_oklab(np.array(VISION[vision]) @ _linear(color)) for color in colors]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


QUANTITIES = [palette.P, palette.Q, palette.RECONSTRUCTION_ERROR, palette.KL, palette.NELBO]


@pytest.mark.parametrize("vision", list(VISION))
def test_colors_differ_for_every_eye(vision):
    assert len(palette.CLASSES) == 10
    assert _nearest(palette.CLASSES, vision) > 0.1
    assert _nearest(QUANTITIES, vision) > 0.08
    tab10 = mpl.color_sequences["tab10"]
    assert vision == "normal" or _nearest(palette.CLASSES, vision) > 1.5 * _nearest(tab10, vision)


@pytest.mark.parametrize("color", [*QUANTITIES, palette.FAINT, palette.INK])
def test_text_colors_have_contrast(color):
    luminance = _linear(color) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 4.5


def test_names_of_rings_are_legible():
    """They stand on their ring, above everything, and clear of the names of classes."""
    turn = torch.linspace(0, 0.9 * math.pi, 8)  # classes where the names would stand otherwise
    places = torch.stack([turn.cos(), turn.sin()], 1)
    z = torch.cat([places, 2 * places, torch.tensor([[-3.0, -3.0], [3.0, 3.0]])]).repeat_interleave(2, 0)
    labels = torch.arange(len(z)) // 2
    figure = drawn(figures.embedding(z, labels, prior=Independent(Normal(torch.zeros(2), torch.ones(2)), 1)))
    axes = figure.axes[0]
    rings = {text.get_text(): text for text in axes.texts if "σ" in text.get_text()}
    assert {"1σ", "2σ"} <= set(rings)
    others = [text for text in axes.texts if "σ" not in text.get_text() and text.get_bbox_patch()]
    assert len(others) == 18
    assert axes.texts.index(rings["1σ"]) > axes.texts.index(others[-1])
    renderer = FigureCanvasAgg(figure).get_renderer()
    for name, text in rings.items():
        assert np.linalg.norm(text.get_position()) == pytest.approx(int(name[0]), abs=1e-6)
        assert text.get_zorder() > max(other.get_zorder() for other in others)
        box = text.get_window_extent(renderer)
        assert not any(box.overlaps(other.get_window_extent(renderer)) for other in others)


def test_rings_of_a_tilted_normal_are_named_on_their_edge():
    axes = Figure().add_subplot(xlim=(-7, 7), ylim=(-7, 7))
    covariance = torch.tensor([[4.0, 2.0], [2.0, 3.0]])
    density.draw_prior(axes, MultivariateNormal(torch.zeros(2), covariance), (0, 1))
    for text in axes.texts:
        z = np.array(text.get_position())
        distance = float(z @ np.linalg.inv(covariance.double().numpy()) @ z) ** 0.5
        assert distance == pytest.approx(int(text.get_text()[0]), abs=1e-4)
    assert [text.get_text() for text in axes.texts] == ["1σ", "2σ", "3σ"]


def test_rings_are_named_at_the_upper_right_where_there_is_room():
    axes = Figure().add_subplot(xlim=(-5, 5), ylim=(-5, 5))
    density.draw_prior(axes, Independent(Normal(torch.zeros(2), torch.ones(2)), 1), (0, 1))
    for text in axes.texts:
        assert text.get_position() == pytest.approx([int(text.get_text()[0]) / math.sqrt(2)] * 2)


def test_arrays_are_drawn_as_tensors_are(runs, x, labels):
    model = runs["VAE"].model
    z = model.encode(x).detach()
    one, other = (figures.row(model, *given, samples=8) for given in ((x[:1], z), (x[:1].numpy(), z.cpu().numpy())))
    assert one.nelbo == other.nelbo
    dots = [figures.embedding(each, labels).axes[0].collections[0].get_offsets() for each in (z, z.cpu().numpy())]
    np.testing.assert_allclose(*dots, atol=1e-6)
    drawn(figures.latent_units(np.array([0.5, 0.1]), np.array([1.0, 0.001])))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda run, x: figures.loss_curves("runs/x"), r"takes runs.*nelbo\.load.*got str"),
        (lambda run, x: figures.loss_curves(run.model), r"takes runs.*got VAE"),
        (lambda run, x: figures.loss_curves(np.zeros(3)), r"takes runs.*got ndarray"),
        (lambda run, x: figures.row("runs/x", x[:1], x), "model must be .*got str"),
        (lambda run, x: figures.row(run.model, "x", x), "x must be a tensor or array.*got str"),
        (lambda run, x: figures.row(run, x[:1], "z"), "embeddings must be a tensor or array, got str"),
        (lambda run, x: figures.embedding(run), "z must be a tensor or array, got Run"),
        (lambda run, x: figures.embedding(run.encode(x), prior="standard_normal"), "prior must be .*got str"),
        (lambda run, x: figures.embedding(run.encode(x), prior=run.model), "prior must be .*run.model.prior.*got VAE"),
        (lambda run, x: figures.comparison(run), r"list of rows; write comparison\(\[row.*got Run"),
        (lambda run, x: figures.comparison([run]), "list of rows.*got Run"),
        (lambda run, x: figures.comparison(figures.row(run, x[:1], run.encode(x), samples=2)), "list of rows.*got Row"),
        (lambda run, x: figures.bounds("x"), r"importance_bounds\(run, x\)\); got str"),
        (lambda run, x: figures.bounds(np.zeros(3)), "importance_bounds.*got ndarray"),
        (lambda run, x: figures.rate_distortion("x"), "list of points.*got str"),
        (lambda run, x: figures.rate_distortion(figures.Point("VAE", 1.0, 2.0)), "list of points.*got Point"),
        (lambda run, x: figures.rate_distortion([("VAE", 1.0, 2.0)]), "list of points.*got tuple"),
        (lambda run, x: figures.latent_units("kl", "variance"), "variance must be a tensor or array, got str"),
        (lambda run, x: figures.latent_grid("runs/x"), "model must be .*got str"),
        (lambda run, x: figures.samples({"VAE": np.zeros(3)}), "model must be .*got ndarray"),
        (lambda run, x: figures.image_grid("x"), "x must be a tensor or array.*got str"),
        (lambda run, x: figures.save("figure", "a.png"), "takes a figure of matplotlib.*got str"),
    ],
)
def test_something_else_is_refused_in_words(runs, x, draw, words):
    with pytest.raises(TypeError, match=words):
        draw(runs["VAE"], x)


def test_bounds_show_the_numbers_of_a_report(runs, x):
    bounds = measure.importance_bounds(runs["VAE"], x[:30])
    figure = drawn(figures.bounds(bounds))
    for k in bounds.samples:
        below = bounds.bounds[k].value - bounds.log_evidence.value
        assert Estimate.mean_of(below).text.partition(" ±")[0] in words(figure)
    assert "1 examples" not in words(drawn(figures.bounds(measure.importance_bounds(runs["VAE"], x[:1]))))


def test_latents_that_are_maps_are_drawn_as_a_map_for_each_channel():
    variance = torch.zeros(4, 32, 32)
    variance[1, :16] = 0.5
    page = drawn(figures.latent_units(None, variance))
    titles = [axes.get_title() for axes in page.axes if axes.get_title()]
    assert titles == ["1: 0 % active", "2: 50 % active", "3: 0 % active", "4: 0 % active"]


@pytest.mark.parametrize("variance", [0.001, 0.004, 2.0])
def test_the_scale_of_one_unit_shows_powers_of_ten_alone(variance):
    axes = drawn(figures.latent_units(torch.tensor([0.5]), torch.tensor([variance]))).axes[1]
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticklabels(which="both") if low <= tick.get_position()[1] <= high]
    shown = [tick.get_text() for tick in ticks if tick.get_text()]
    assert shown
    assert all(text.startswith("$\\mathdefault{10^") for text in shown)


def test_a_ring_for_a_learned_normal_prior():
    axes = Figure().add_subplot(xlim=(-9, 9), ylim=(-9, 9))
    density.draw_prior(axes, Independent(Normal(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.0])), 1), (0, 1))
    rings = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert sorted((ring.width, ring.height) for ring in rings)[0] == pytest.approx((4.0, 1.0))
    assert all(ring.center == pytest.approx((1.0, 2.0)) for ring in rings)
