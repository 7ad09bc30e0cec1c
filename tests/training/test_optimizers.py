"""FromTorch: any optimizer of torch, its state as tensors."""

import pytest
import torch
from torch import nn

from nelbo.files import read_tensors, write_tensors
from nelbo.training.optimizers import FromTorch

MAKERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adam_fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
}


def network():
    """With a weight in channels_last, whose state must lie in memory as it does."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2), nn.Linear(5, 5))
    return made.to(memory_format=torch.channels_last)


def steps(model, optimizer, numbers):
    for i in numbers:
        x = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        model[:4](x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", MAKERS)
def test_the_next_steps_after_a_round_trip_are_equal_bit_for_bit(name, tmp_path):
    one, two = network(), network()
    a = FromTorch(MAKERS[name](one.parameters()))
    steps(one, a, range(4))
    write_tensors(tmp_path / "state", {f"o.{k}": v for k, v in a.state_dict().items()})
    two.load_state_dict(one.state_dict())
    b = FromTorch(MAKERS[name](two.parameters()))
    saved = {k.removeprefix("o."): v for k, v in read_tensors(tmp_path / "state")[0].items()}
    b.load_state_dict(saved)
    before = {k: v.clone() for k, v in saved.items()}
    steps(one, a, range(4, 8))
    steps(two, b, range(4, 8))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(saved[k], before[k]) for k in saved)  # what was loaded is not what is trained on


def test_an_empty_state_is_the_beginning():
    model = network()
    start = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = FromTorch(MAKERS["adam"](model.parameters()))
    steps(model, optimizer, range(3))
    first = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(start)
    optimizer.load_state_dict({})
    steps(model, optimizer, range(3))
    assert all(torch.equal(first[k], v) for k, v in model.state_dict().items())


def test_learning_rates_keep_their_ratio():
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.2}]
    optimizer = FromTorch(torch.optim.SGD(groups, lr=0.1))
    assert optimizer.learning_rate == 0.1
    for value in (0.05, 0.0, 0.01):
        optimizer.learning_rate = value
        assert [group["lr"] for group in optimizer.optimizer.param_groups] == pytest.approx([value, 2 * value])


def test_refusals():
    model = network()
    with pytest.raises(ValueError, match=r"first learning rate is 0\.0; schedules need one above 0"):
        FromTorch(torch.optim.SGD(model.parameters(), lr=0.0))
    optimizer = FromTorch(torch.optim.Adam(model[3].parameters(), lr=0.1))
    with pytest.raises(ValueError, match="an entry for parameter 2, but this optimizer has 2"):
        optimizer.load_state_dict({"2.exp_avg": torch.zeros(5)})

    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["notes"] = ["a", "list"]

    odd = FromTorch(Odd(model.parameters(), lr=0.1))
    odd.step()
    with pytest.raises(TypeError, match=r"Odd keeps a list as 'notes' in its state, which a checkpoint cannot hold"):
        odd.state_dict()
