"""Examples that a function of the epoch yields: batches, positions, random numbers and errors."""

import itertools
import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nelbo.data import Batch, ChangedError, InMemory, Streamed, as_data, load, streamed
from nelbo.data.dataset import Lane

X = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def in_parts(*sizes):
    """A function that yields the rows of X, those of epoch e in reverse where e is odd, in parts of these sizes."""

    def batches(epoch):
        x = X.flip(0) if epoch % 2 else X
        for start, stop in itertools.pairwise((0, *itertools.accumulate(sizes))):
            yield x[start:stop]

    return batches


@pytest.mark.parametrize("sizes", [(100,), (1,) * 100, (30, 0, 33, 37), (64, 36)])
@pytest.mark.parametrize("order", [None, 1, 2])
def test_batches_are_those_of_the_examples_in_a_row(sizes, order):
    data = Streamed(in_parts(*sizes))
    expected = InMemory(X.flip(0) if order == 1 else X)
    for start in (0, 2, 3, 4):
        got, right = (list(each.batches(32, order=o, start=start)) for each, o in ((data, order), (expected, None)))
        assert [batch.x.tolist() for batch in got] == [batch.x.tolist() for batch in right]
        if order is None:
            assert [batch.rows.tolist() for batch in got] == [batch.rows.tolist() for batch in right]


def test_pieces_of_a_batch_are_a_cut_of_it_as_long_as_lanes_are():
    data, size, lanes = Streamed(in_parts(30, 70)), 36, 3
    whole = list(data.batches(size, order=0))
    for taken in ([0], [1, 2], [0, 1, 2]):
        shares = list(data.batches(size, order=0, lanes=lanes, taken=taken))
        for number, (batch, share) in enumerate(zip(whole, shares, strict=True)):
            spans = (Lane(k, lanes).within(len(data)) for k in range(lanes))  # as ShardedUpdates counts them
            sizes = [max(0, min(size // lanes, last - first - number * size // lanes)) for first, last in spans]
            assert torch.cat([batch.x.split(sizes)[k] for k in taken]).equal(share.x)


def test_positions_are_those_of_epoch_0_in_memory_or_not(monkeypatch):
    monkeypatch.setattr(streamed, "_HEAD", 10)
    calls = []

    def batches(epoch):
        calls.append(epoch)
        return in_parts(7, 50, 43)(epoch)

    data = Streamed(batches, examples=90)
    calls.clear()
    assert torch.equal(data.take([3, 9, 0, 3]), X[[3, 9, 0, 3]])
    assert torch.equal(data.take(data.spread(50)), X[:10])
    assert not calls  # they lie in memory
    rows = torch.tensor([88, 3, 60, 88, 12])
    assert torch.equal(data.take(rows), X[rows])
    assert torch.equal(data.stored(rows), X[rows])
    assert calls == [0, 0]
    assert torch.equal(data.take(90), X[:90])


def test_labels_and_conditions_come_along():
    y, c = torch.arange(100), X[:, :1]
    pairs = Streamed(lambda epoch: [(X[:60].numpy(), y[:60].numpy()), [X[60:], y[60:]]])
    assert pairs.examples([99, 0]).labels.tolist() == [99, 0]
    given = Streamed(lambda epoch: [Batch(X, c)])
    assert torch.equal(next(given.batches(32, order=5, start=1)).c, c[32:64])
    assert given.examples(3).c.shape == (3, 1)
    alone = Streamed(lambda epoch: DataLoader(TensorDataset(X), batch_size=40))
    assert len(alone) == 100


def test_memory_that_is_used_again_is_copied_before():
    buffer = np.empty((10, 3), dtype=np.float32)

    def batches(epoch):
        for part in X.split(10):
            buffer[:] = part.numpy()
            yield buffer

    data = Streamed(batches)
    assert torch.equal(data.take(100), X)
    assert torch.equal(torch.cat([batch.x for batch in data.batches(32, order=3)]), X)


def test_draws_of_torch_repeat_and_leave_those_of_the_caller():
    data = Streamed(lambda epoch: DataLoader(TensorDataset(X), batch_size=30, shuffle=True))
    assert data.repeats
    before = torch.get_rng_state()
    epochs = [torch.cat([batch.x for batch in data.batches(32, order=epoch)]) for epoch in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])
    interleaved = []
    for batch in Streamed(lambda epoch: (part + torch.randn(1) for part in X.split(20))).batches(20, order=1):
        interleaved.append(batch.x - X[len(interleaved) * 20][0])
        torch.manual_seed(0)  # as a step of the training does
    assert len({float(each[0, 0]) for each in interleaved}) == 5


def test_an_endless_iterable_is_read_as_far_as_it_is_said():
    def endless(epoch):
        for number in itertools.count():
            yield torch.full((7, 2), float(number))

    data = Streamed(endless, examples=30)
    assert [len(batch) for batch in data.batches(16, order=4)] == [16, 14]
    assert not data.counted


def test_a_function_that_does_not_repeat_is_told_by_its_first_batch():
    rng = np.random.default_rng(0)
    data = as_data(lambda epoch: [rng.normal(size=(20, 3))])
    assert data.origin["sha256"] is None
    assert "gave other examples when it was called again" in data.origin["notes"][-1]
    assert as_data(in_parts(100)).origin["sha256"]


SPENT = iter([X])


@pytest.mark.parametrize(
    ("batches", "error", "words"),
    [
        (X, TypeError, "must be a function from the number of an epoch to an iterable of batches, got Tensor"),
        (lambda: [X], TypeError, "must be a function from the number of an epoch"),
        (lambda epoch: None, TypeError, "must return an iterable of batches, got NoneType; yield them"),
        (lambda epoch: [], ValueError, "must yield batches of examples, and yielded none"),
        (lambda epoch: [X[0]], ValueError, r"of shape (batch, *event), got (3,); for one example yield x[None]"),
        (
            lambda epoch: ["x"],
            TypeError,
            "a tensor or array x, a pair (x, labels) or nelbo.data.Batch(x, c), got str",
        ),
        (lambda epoch: [(X, X, X)], TypeError, "got (Tensor, Tensor, Tensor)"),
        (lambda epoch: [(X, X[:5])], ValueError, "labels for each of 100 examples, got shape (5, 3)"),
        (lambda epoch: [X, X[:, :2]], ChangedError, "of shape (3,), as the first of epoch 0, got (2,) after 100"),
        (lambda epoch: [X, (X, X[:, 0])], ChangedError, "got (3,) with labels after 100 examples"),
        (lambda epoch: [np.array([["a"]])], TypeError, "must hold booleans, integers or floats"),
        (lambda epoch: SPENT, ValueError, "yields nothing when it is called again"),
    ],
)
def test_what_a_function_may_not_give(batches, error, words):
    with pytest.raises(error, match=re.escape(words)):
        Streamed(batches)


def test_epochs_that_are_shorter_are_named():
    data = Streamed(lambda epoch: [X[: 100 - 10 * epoch]])
    with pytest.raises(ChangedError, match=r"batches\(2\) ended after 80 of 100 examples.*examples=80"):
        list(data.batches(32, order=2))
    with pytest.raises(ValueError, match=r"must yield 200 examples, and yielded 100; of a new run, write examples=100"):
        Streamed(in_parts(100), examples=200)
    with pytest.raises(ValueError, match="examples must be a positive integer"):
        Streamed(in_parts(100), examples=0)


def test_held_out_examples_are_given_beside_them():
    for held in (X[:20], X[:20].numpy(), (X[:20], torch.arange(20)), InMemory(X[:20]), lambda epoch: [X[:20]]):
        data = as_data(in_parts(100), validation=held)
        assert torch.equal(data.validation.take(20), X[:20])
        assert data.origin["sizes"] == {"train": 100, "validation": 20, "test": 0}
    assert as_data(in_parts(100), validation=0).validation is None
    with pytest.raises(ValueError, match=r"validation=0\.1 was given for a Streamed, which is used as it is;"):
        as_data(in_parts(100), validation=0.1)
    with pytest.raises(ValueError, match=r"validation must hold examples of shape \(3,\)"):
        as_data(in_parts(100), validation=X[:, :2])
    with pytest.raises(TypeError, match="standardize cannot apply to a Streamed"):
        as_data(in_parts(100), standardize=True)
    with pytest.raises(TypeError, match="pass it to nelbo.fit"):
        load(in_parts(100))
