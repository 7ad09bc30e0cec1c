"""State and Snapshot: complete, independent of each other, exact through a file."""

import torch

import nelbo
from nelbo.training.checkpoint import Position, Snapshot, State
from nelbo.training.optimizers import Adam
from tests.training.simple import binary, by_hand


def state(seed=0):
    model = by_hand(seed=seed)
    made = State(model, Adam(model.parameters(), learning_rate=torch.tensor(0.01)))
    made.average = {name: p.detach().clone() for name, p in model.named_parameters()}
    made.best = {name: t.clone() for name, t in model.state_dict().items()}
    return made


def train(made, steps):
    for _ in range(steps):
        made.optimizer.zero_grad()
        nelbo.loss(made.model, binary(20)).nelbo.mean().backward()
        made.optimizer.step()
        with torch.no_grad():
            for name, p in made.model.named_parameters():
                made.average[name].lerp_(p, 0.5)
        made.totals += 1
        made.position.step += 1


def tensors(made):
    return {name: tensor.detach().clone() for name, tensor in made.tensors().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_through_a_file(tmp_path):
    one, two = state(), state(seed=1)
    torch.manual_seed(0)
    train(one, 3)
    one.position.best, one.position.stopped = 1.5, True
    one.snapshot().save(tmp_path)
    two.restore(Snapshot.load(tmp_path))
    assert equal(tensors(one), tensors(two))
    assert two.position == one.position == Position(step=3, best=1.5, stopped=True)


def test_a_snapshot_stays_what_it_is():
    """Neither the training that it was taken of nor the one that took it up moves it."""
    made = state()
    torch.manual_seed(0)
    train(made, 2)
    snapshot, expected = made.snapshot(), tensors(made)
    for _ in range(2):
        train(made, 2)
        assert equal(snapshot.tensors, expected)
        assert snapshot.position["step"] == 2
        assert not equal(tensors(made), expected)
        made.restore(snapshot)
        assert equal(tensors(made), expected)
