import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.data import as_data
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
    x = np.random.default_rng(0).normal(size=shape)
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
