import numpy as np
import pytest
import torch

from nelbo.data import InMemory, Preparation, as_data


def rows_of(n=103, f=5):
    return torch.arange(n * f, dtype=torch.float32).view(n, f)


def test_an_epoch_holds_every_example_once():
    data = InMemory(rows_of())
    batches = list(data.batches(10, order=1))
    assert [len(b) for b in batches] == [10] * 10 + [3]
    assert torch.equal(torch.cat([b.x for b in batches]).sort(0).values, rows_of())
    assert torch.equal(torch.cat([b.x for b in data.batches(10)]), rows_of())


@pytest.mark.parametrize("order", [None, 0, 7, 2**62])
@pytest.mark.parametrize("start", [0, 1, 5, 10, 11, 40])
def test_a_resumed_epoch_gives_what_was_left(order, start):
    data = InMemory(rows_of())
    whole = list(data.batches(10, order=order))
    rest = list(data.batches(10, order=order, start=start))
    assert len(rest) == max(0, len(whole) - start)
    assert all(torch.equal(a.x, b.x) for a, b in zip(rest, whole[start:], strict=True))
    assert all(torch.equal(a.x, data.x[a.rows]) for a in rest)


def test_orders_differ_and_repeat():
    data = InMemory(rows_of())
    a, b, c = (torch.cat([b.x for b in data.batches(10, order=o)]) for o in (1, 2, 1))
    assert torch.equal(a, c)
    assert not torch.equal(a, b)


def test_batches_leave_the_generator_alone():
    before = torch.get_rng_state()
    list(InMemory(rows_of()).batches(10, order=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_stay_bytes_and_become_float_when_prepared():
    data = as_data(torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8), validation=0)
    raw = next(data.train.batches(4, order=0))
    assert raw.x.dtype == torch.uint8
    assert data.train.prepare(raw).x.dtype == torch.float32


@pytest.mark.parametrize("order", [None, 3])
def test_a_batch_carries_what_belongs_to_its_examples(order):
    x = rows_of()
    data = InMemory(x, c=x[:, :2] + 0.5, labels=torch.arange(103) * 7)
    for raw in data.batches(10, order=order, start=2):
        batch = data.prepare(raw)
        assert torch.equal(batch.x, x[batch.rows])
        assert torch.equal(batch.c, batch.x[:, :2] + 0.5)
        assert torch.equal(batch.labels, batch.rows * 7)
    some = data.examples([7, -1])
    assert some.rows.tolist() == [7, 102]
    assert some.labels.tolist() == [49, 714]
    assert torch.equal(some.c, some.x[:, :2] + 0.5)
    assert next(InMemory(x).batches(10, order=order)).labels is None


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": 1.5}, {"batch_size": 4, "start": -1}])
def test_batches_that_cannot_be_meant(arguments):
    with pytest.raises(ValueError, match="must be"):
        InMemory(rows_of()).batches(**arguments)  # at once, not when the first batch is asked for


def test_take_by_number_slice_positions_and_mask():
    data = InMemory(rows_of())
    x = rows_of()
    assert torch.equal(data.take(4), x[:4])
    assert torch.equal(data.take(slice(3, 9, 2)), x[3:9:2])
    assert torch.equal(data.take([5, -1, 5]), x[[5, -1, 5]])
    assert torch.equal(data.take(torch.tensor([2, 1])), x[[2, 1]])
    assert torch.equal(data.take(x[:, 0] > 500), x[x[:, 0] > 500])
    assert data.take(0).shape == (0, 5)
    assert data.take([]).shape == (0, 5)


@pytest.mark.parametrize("wanted", [104, -1, [103], [-104], torch.ones(5, dtype=torch.bool)])
def test_take_outside(wanted):
    with pytest.raises(IndexError, match="103"):
        InMemory(rows_of()).take(wanted)


@pytest.mark.parametrize(
    "prep", [Preparation(scale=1 / 255, binarize="dynamic"), Preparation(scale=1 / 256, dequantize=True)]
)
def test_fixed_draws(prep):
    raw = torch.randint(0, 256, (300, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = InMemory(raw, preparation=prep)
    before = torch.get_rng_state()
    all_of_it = data.take(300, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    # an example keeps its draw whoever else is asked for
    assert torch.equal(data.take([17, 250, 3], seed=3), all_of_it[[17, 250, 3]])
    assert not torch.equal(data.take(300, seed=4), all_of_it)
    assert not torch.equal(InMemory(raw, preparation=prep, stream=1).take(300, seed=3), all_of_it)
    # and the frozen set shows the same to whoever goes through it
    frozen = data.fixed(seed=3)
    for _ in range(2):
        seen = torch.cat([frozen.prepare(b).x for b in frozen.batches(64)])
        assert torch.equal(seen, all_of_it)
    assert torch.equal(frozen.take(300, seed=99), all_of_it)
    assert frozen.fixed(seed=5) is frozen


def test_labels_follow_their_examples_through_a_split():
    y = np.arange(200)
    x = np.repeat(y[:, None], 3, axis=1).astype(np.float32)
    data = as_data((x, y), validation=0.25)
    for part in (data.train, data.validation):
        assert torch.equal(part.take(len(part))[:, 0].long(), part.labels)
        assert torch.equal(part.source_rows, part.labels)
    together = torch.cat((data.train.source_rows, data.validation.source_rows))
    assert torch.equal(together.sort().values, torch.arange(200))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"reshape\(-1, 1\)"):
        InMemory(torch.zeros(5))
    with pytest.raises(ValueError, match="5 entries, one for each example, got 4"):
        InMemory(torch.zeros(5, 2), labels=torch.zeros(4))


def test_an_array_is_kept_without_a_copy():
    x = torch.rand(10, 4)
    assert as_data(x, validation=0).train.x.data_ptr() == x.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_are_those_of_the_cpu():
    data = InMemory(torch.randint(0, 256, (500, 1, 6, 6), dtype=torch.uint8))
    for device in ("cuda", "cuda:0", torch.device("cuda", 0)):
        for a, b in zip(data.batches(64, order=3), data.batches(64, order=3, device=device), strict=True):
            assert b.x.device.type == "cuda"
            assert torch.equal(a.x, b.x.cpu())
    assert data.to("cuda") is data.to("cuda:0")
