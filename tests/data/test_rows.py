import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo import likelihoods
from nelbo.data import as_data, load
from nelbo.data.rows import NpyRows, arrange, choose_layout


@pytest.mark.parametrize(
    ("shape", "event"),
    [
        ((5, 7), (7,)),
        ((5, 28, 20), (1, 28, 20)),
        ((5, 28, 20, 3), (3, 28, 20)),
        ((5, 28, 20, 1), (1, 28, 20)),
        ((5, 3, 28, 20), (3, 28, 20)),
        ((5, 1, 28, 20), (1, 28, 20)),
    ],
)
def test_clear_cases_are_recognized(shape, event):
    x = np.random.default_rng(0).random(shape)
    data = as_data(x, validation=0)
    assert data.event_shape == event
    seen = data.train.take(5).numpy()
    if len(shape) == 4 and shape[3] in (1, 3):
        x = np.moveaxis(x, 3, 1)
        assert any("moved" in note for note in data.origin["notes"])
    assert np.array_equal(seen.reshape(5, -1), x.astype(np.float32).reshape(5, -1))


@pytest.mark.parametrize(
    "shape", [(5,), (5, 3, 32, 3), (5, 28, 28, 4), (5, 2, 28, 28), (5, 20, 2), (5, 1, 20), (2, 3, 4, 5, 6)]
)
def test_unclear_cases_name_the_line_to_write(shape):
    with pytest.raises(ValueError, match=r"layout='vectors'|x\.reshape\(-1, 1\)"):
        as_data(np.zeros(shape))


@pytest.mark.parametrize(
    ("layout", "shape", "event"),
    [
        ("vectors", (5, 4, 3), (12,)),
        ("as_is", (5, 20, 2), (20, 2)),
        ("images", (5, 2, 2), (1, 2, 2)),
        ("channels_first", (5, 3, 32, 3), (3, 32, 3)),
        ("channels_last", (5, 3, 32, 3), (3, 3, 32)),
        ("channels_last", (5, 28, 28, 4), (4, 28, 28)),
    ],
)
def test_a_layout_that_is_said(layout, shape, event):
    assert as_data(np.zeros(shape), layout=layout).event_shape == event


def test_a_layout_that_does_not_fit():
    with pytest.raises(ValueError, match=r"expects an array of four axes, got shape \(5, 7\)"):
        choose_layout((5, 7), "channels_last")
    with pytest.raises(ValueError, match="must be one of"):
        choose_layout((5, 7), "hwc")


def test_arrange_gives_views():
    x = np.zeros((2, 4, 5, 3))
    assert np.shares_memory(arrange(x, "channels_last"), x)


@pytest.mark.parametrize("layout", ["as_is", "channels_last", "vectors"])
@settings(deadline=None, max_examples=20)
@given(rows=st.lists(st.integers(0, 499), max_size=60), piece=st.integers(1, 3000))
def test_rows_of_a_file_are_gathered_as_from_the_array(tmp_path_factory, layout, rows, piece):
    """Whatever their order, repetitions and distance, and wherever the edges of the pieces lie."""
    x = np.arange(500 * 3 * 2 * 3, dtype=np.int32).reshape(500, 3, 2, 3)
    path = tmp_path_factory.getbasetemp() / "rows.npy"
    if not path.exists():
        np.save(path, x)
    offset = path.stat().st_size - x.nbytes
    file = NpyRows(
        path=path,
        stored_dtype=x.dtype,
        dtype=np.dtype(np.int64),
        stored_shape=x.shape[1:],
        n=500,
        offset=offset,
        piece_bytes=piece,
        layout=layout,
    )
    rows = np.array(rows, dtype=np.int64)
    assert np.array_equal(file.gather(rows), arrange(x, layout)[rows])
    assert np.array_equal(np.concatenate([values for _, values in file.pieces()]), arrange(x, layout))


# --- series of sensors ------------------------------------------------------------------------------------------------

SENSORS = np.random.default_rng(0).normal(5, [0.01, 1, 300, 1, 1], (50, 24, 5)).astype(np.float32)


def test_each_sensor_of_a_series_is_standardized_by_itself(tmp_path):
    np.save(tmp_path / "x.npy", SENSORS)
    for source in (SENSORS, tmp_path / "x.npy"):
        for on_disk in (None, True):
            data = load(source, layout="series", standardize=True, validation=0, **_if_path(source, on_disk))
            x = data.train.take(50)
            assert data.event_shape == (5, 24)
            assert torch.allclose(x.mean((0, 2)), torch.zeros(5), atol=1e-4)
            assert torch.allclose(x.std((0, 2), correction=0), torch.ones(5), atol=1e-4)
            assert len(data.preparation.mean) == 5
    raw = load(SENSORS, layout="series", validation=0)
    assert np.array_equal(raw.train.take(50), SENSORS.transpose(0, 2, 1))
    assert any("channels differ in scale" in note and "of channel 2" in note for note in raw.origin["notes"])


def _if_path(source, on_disk):
    return {} if isinstance(source, np.ndarray) else {"on_disk": on_disk}


def test_negative_values_in_three_axes_are_asked_about():
    with pytest.raises(ValueError, match=r"negative values, and it is unclear.*'series' \(n, time, sensors\)"):
        load(SENSORS)
    assert load(abs(SENSORS[:, :, 3:4].repeat(8, 2))).event_shape == (1, 24, 8)
    with pytest.raises(ValueError, match="series' expects an array of"):
        load(SENSORS[0], layout="series")


@pytest.mark.parametrize("layout", ["as_is", "images"])
def test_sensors_that_a_layout_hides_are_named(layout):
    data = load(SENSORS, layout=layout, standardize=True)
    assert any("last axis differ in scale" in n and "layout='series'" in n for n in data.origin["notes"])
    assert not any("last axis" in n for n in load(SENSORS[:, :, 3:], layout=layout).origin["notes"])


# --- images of more than 8 bits ---------------------------------------------------------------------------------------

DEEP = np.random.default_rng(0).integers(615, 31255, (60, 8, 8))


@pytest.mark.parametrize(
    ("x", "options", "scale"),
    [
        (DEEP.astype(np.uint16), {}, 1 / 65535),
        (DEEP, {}, 1 / 65535),
        (DEEP.astype(np.float32), {}, 1 / 65535),
        (DEEP.astype(np.uint16).reshape(20, 8, 8, 3), {}, 1 / 65535),
        (DEEP.astype(np.uint16) // 8, {}, 1 / 4095),
        (DEEP.astype(np.float64) // 8, {}, 1 / 4095),
        (DEEP.astype(np.uint16), {"dequantize": True}, 1 / 65536),
        (DEEP.astype(np.uint16), {"scale": 1}, 1.0),
        (DEEP.astype(np.uint16).reshape(60, 64), {}, 1.0),  # vectors of counts
        (DEEP // 100, {}, 1.0),  # counts of photons
        (DEEP * 3, {}, 1.0),
    ],
)
def test_images_of_more_than_8_bits_are_no_counts(x, options, scale):
    data = load(x, validation=0, **options)
    assert data.preparation.scale == pytest.approx(scale, rel=1e-12)
    assert any("scale=1 leaves them as counts" in n for n in data.origin["notes"]) == (scale != 1)
    if scale != 1:
        assert likelihoods.fitting(data.train.take(20)).name == "continuous_bernoulli"
