"""The figures of the report, by what stands in them."""

import numpy as np
import pytest
import torch

from nelbo import figures
from nelbo.estimate import Estimate
from nelbo.measure import importance_bounds, latent_usage
from tests.measure.models import binary, random_vae
from tests.measure.simple import given, normals


@pytest.fixture(scope="module")
def usage():
    """Of three units the second holds nothing."""
    means = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-3, 0.5])
    sigma = torch.tensor([0.1, 1.0, 0.5]).expand_as(means)
    return latent_usage(given(3), normals(means, sigma), draws=50)


def test_latent_units_stand_by_their_kl_and_the_idle_one_is_faint(usage, tmp_path):
    figure = figures.latent_units(usage.kl_per_unit.value, usage.variance_of_means.value)
    bars, points = figure.axes
    heights = [bar.get_height() for bar in bars.patches]
    assert heights == pytest.approx(sorted(usage.kl_per_unit.value.tolist(), reverse=True))
    assert heights[0] == pytest.approx(float(usage.kl_per_unit.value[0]))
    shades = [bar.get_facecolor() for bar in bars.patches]
    assert shades[0] == shades[1] != shades[2]
    assert [label.get_text() for label in points.get_xticklabels()] == ["1", "3", "2"]
    variances = np.asarray(points.collections[-1].get_offsets())[:, 1]
    assert variances == pytest.approx(usage.variance_of_means.value[[0, 2, 1]].tolist())
    assert any("2 of 3 units active" in text.get_text() for text in figure.texts)
    assert figures.save(figure, tmp_path / "units.png").stat().st_size > 5000


def test_latent_units_without_a_kl_per_unit(usage):
    figure = figures.latent_units(None, usage.variance_of_means.value)
    assert len(figure.axes) == 1
    with pytest.raises(ValueError, match="one value for each unit"):
        figures.latent_units(usage.kl_per_unit.value[:2], usage.variance_of_means.value)


def test_bounds_rise_to_log_evidence_for_each_example(tmp_path):
    found = importance_bounds(random_vae(), binary(12), samples=(1, 10, 100))
    figure = figures.bounds(found)
    axes = figure.axes[0]
    lines = [line.get_ydata() for line in axes.lines]
    below = torch.stack([found.bounds[k].value - found.log_evidence.value for k in found.samples])
    order = below[0].argsort()
    for line, expected in zip(lines[:12], below[:, order].T, strict=True):
        assert line == pytest.approx(expected.tolist())
        assert (np.diff(line) >= 0).all()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n(ELBO)", "10", "100"]
    written = [text.get_text() for text in axes.texts]
    means = [Estimate.mean_of(each) for each in below]  # with the digits that their errors leave
    assert written == [each.text.partition(" ±")[0] for each in means]
    assert [float(text.replace("−", "-")) for text in written] == pytest.approx(below.mean(1).tolist(), rel=0.05)
    assert figures.save(figure, tmp_path / "bounds.png").stat().st_size > 10_000
