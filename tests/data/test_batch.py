import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.data import Batch, InMemory, Preparation, as_batch

N = 23
WHOLE = Batch(
    torch.arange(N * 3.0).view(N, 3), c=torch.arange(N)[:, None], labels=torch.arange(N) * 10, rows=torch.arange(N)
)


def same(a, b):
    return all(
        (one is None) == (other is None) and (one is None or torch.equal(one, other))
        for one, other in ((getattr(a, name), getattr(b, name)) for name in ("x", "c", "labels", "rows", "keys"))
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30))
def test_what_was_split_joins_to_the_whole(size):
    parts = list(WHOLE.split(size))
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert same(Batch.cat(parts), WHOLE)


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(
        st.slices(N),
        st.lists(st.integers(-N, N - 1), max_size=30),
        st.lists(st.booleans(), min_size=N, max_size=N).map(torch.tensor),
    )
)
def test_every_part_is_cut_as_x_is(index):
    if isinstance(index, slice):
        where = index = slice(index.start, index.stop, abs(index.step or 1))  # a tensor knows no negative step
    else:
        where = index.numpy() if isinstance(index, torch.Tensor) else np.array(index, dtype=int)
    part = WHOLE[index]
    expected = np.arange(N)[where]
    assert part.rows.tolist() == expected.tolist()
    assert torch.equal(part.x, WHOLE.x[torch.from_numpy(expected)])
    assert part.labels.tolist() == (expected * 10).tolist()
    assert part.c[:, 0].tolist() == expected.tolist()
    assert part.keys is None


def test_positions_outside_are_errors():
    for index in ([N], [-N - 1]):
        with pytest.raises(IndexError):
            WHOLE[index]


def test_what_one_of_them_lacks_is_dropped_when_joined():
    joined = Batch.cat([WHOLE, Batch(torch.zeros(2, 3), labels=torch.zeros(2, dtype=torch.int64))])
    assert len(joined) == N + 2
    assert joined.labels.tolist()[-3:] == [220, 0, 0]
    assert joined.c is None
    assert joined.rows is None


def test_precision_is_that_of_real_numbers_alone():
    batch = WHOLE.to(dtype=torch.float64)
    assert (batch.x.dtype, batch.c.dtype, batch.labels.dtype) == (torch.float64, torch.int64, torch.int64)


def test_as_batch_takes_arrays_and_data_sets():
    x = torch.randint(0, 256, (9, 4), dtype=torch.uint8)
    data = InMemory(x, preparation=Preparation(scale=1 / 255), labels=torch.arange(9))
    batch = as_batch(data)
    assert torch.equal(batch.x, x / 255)
    assert batch.labels.tolist() == batch.rows.tolist() == list(range(9))
    assert torch.equal(as_batch(x.numpy()).x, x)
    assert as_batch(batch) is batch
    with pytest.raises(TypeError, match=r"data\.validation\.take"):
        as_batch([1.0])
    with pytest.raises(ValueError, match=r"x\[None\]"):
        as_batch(torch.zeros(3))
    with pytest.raises(ValueError, match="at least one example"):
        as_batch(torch.zeros(0, 3))
