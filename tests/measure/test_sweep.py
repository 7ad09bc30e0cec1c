"""A sweep of beta: every run stays, and the curve is that of the runs."""

import json
import math

import pytest

from nelbo import figures
from nelbo.figures import Point
from nelbo.measure import rate_distortion, sweep

SETTINGS = {"model": {"hidden": (32,)}, "epochs": 10, "progress": False}


def test_points_are_those_of_the_runs(swept, digits):
    assert swept.names == ("VAE (β = 1)", "β = 5", "autoencoder")
    x = digits.validation.take(len(digits.validation))
    for run, at in zip(swept.runs, swept.points, strict=True):
        assert float(rate_distortion(run.model, x).distortion) == pytest.approx(float(at.distortion))
    assert float(swept.points[0].rate) > float(swept.points[1].rate)
    assert float(swept.points[0].distortion) < float(swept.points[1].distortion)
    assert float(swept.points[2].rate) == math.inf


def test_finished_runs_stay_and_others_join(swept, digits):
    out = swept.runs[0].path.parent
    times = {run.path: (run.path / "weights.safetensors").stat().st_mtime_ns for run in swept.runs}
    wider = sweep(digits, out=out, betas=(5.0, 1.0, 0.2), **SETTINGS)
    assert wider.betas == (0.2, 1.0, 5.0, None)
    assert all((path / "weights.safetensors").stat().st_mtime_ns == time for path, time in times.items())
    record, picture = wider.save(out)
    models = json.loads(record.read_text())["models"]
    assert [model["beta"] for model in models] == [0.2, 1.0, 5.0, None]
    assert models[-1]["rate"]["value"] is None
    assert picture.stat().st_size > 5000


def test_other_settings_are_refused(swept, digits):
    out = swept.runs[0].path.parent
    with pytest.raises(ValueError, match="trained with epochs=10, not 11; choose another --out, or write --epochs 10"):
        sweep(digits, out=out, betas=(1.0,), **(SETTINGS | {"epochs": 11}))
    with pytest.raises(ValueError, match=r"trained with hidden=\[32\]"):
        sweep(digits, out=out, betas=(1.0,), **(SETTINGS | {"model": {"hidden": (16,)}}))


@pytest.mark.parametrize("betas", [(), (0.0, 1.0), (1.0, 1.0), (math.inf,)])
def test_betas_that_cannot_be_meant(digits, tmp_path, betas):
    with pytest.raises(ValueError, match="betas must be different positive numbers"):
        sweep(digits, out=tmp_path, betas=betas)


def test_the_figure_of_an_autoencoder_alone():
    with pytest.raises(ValueError, match="needs a model with a finite KL"):
        figures.rate_distortion([Point("autoencoder", math.inf, 3.0)])


def test_nothing_sticks_out_of_the_figure(swept):
    figure = swept.figure()
    figure.canvas.draw()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1 + 1
