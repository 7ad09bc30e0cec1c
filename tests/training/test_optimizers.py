"""Optimizers of torch, their state as tensors, the learning rate's schedules, and nelbo's Adam against torch's."""

import pytest
import torch
from torch import nn

from nelbo.files import read_tensors, write_tensors
from nelbo.training.optimizers import (
    Adam,
    factor_at,
    flat_state,
    learning_rates,
    load_flat_state,
    scalar,
    scale_learning_rates,
)

CPU = torch.device("cpu")
MAKERS = {
    "nelbo": lambda p: Adam(p, learning_rate=scalar(0.01, CPU), weight_decay=0.1),
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


def network(dtype=torch.float32):
    """With a weight in channels_last, whose state must lie in memory as it does, and a layer that gets no gradient."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2), nn.Linear(5, 5))
    return made.to(dtype=dtype, memory_format=torch.channels_last)


def steps(model, optimizer, numbers):
    for i in numbers:
        x = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(i)).to(model[0].weight.dtype)
        optimizer.zero_grad()
        model[:4](x).square().mean().backward()
        optimizer.step()


def equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("layers", [4, 5])
def test_adam_is_torch_s_bit_for_bit(dtype, weight_decay, layers):
    """With a gradient for every parameter, where it gathers no lists, and with one that has none."""
    ours, theirs = network(dtype)[:layers], network(dtype)[:layers]
    rate = scalar(0.01, CPU)
    a = Adam(ours.parameters(), learning_rate=rate, weight_decay=weight_decay)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=weight_decay, fused=True)
    start = ours[0].weight.clone()
    for i in range(20):
        rate.fill_(0.01 * (1 / (i + 1)))
        scale_learning_rates(b, [0.01], 1 / (i + 1))
        steps(ours, a, [i])
        steps(theirs, b, [i])
    assert equal(ours, theirs)
    assert not torch.equal(start, ours[0].weight)
    assert all(torch.equal(flat_state(a)[name], tensor) for name, tensor in flat_state(b).items())


def test_without_weight_decay_it_is_adam():
    ours, theirs = network(), network()
    steps(ours, Adam(ours.parameters(), learning_rate=scalar(0.01, CPU)), range(20))
    steps(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True), range(20))
    assert equal(ours, theirs)


@pytest.mark.parametrize("name", MAKERS)
def test_the_next_steps_after_a_round_trip_are_equal_bit_for_bit(name, tmp_path):
    one, two = network(), network()
    a = MAKERS[name](one.parameters())
    steps(one, a, range(4))
    write_tensors(tmp_path / "state", {f"o.{k}": v for k, v in flat_state(a).items()})
    two.load_state_dict(one.state_dict())
    b = MAKERS[name](two.parameters())
    saved = {k.removeprefix("o."): v for k, v in read_tensors(tmp_path / "state")[0].items()}
    load_flat_state(b, saved)
    before = {k: v.clone() for k, v in saved.items()}
    steps(one, a, range(4, 8))
    steps(two, b, range(4, 8))
    assert equal(one, two)
    assert all(torch.equal(saved[k], before[k]) for k in saved)  # what was loaded is not what is trained on


@pytest.mark.parametrize("name", ["nelbo", "adam", "sgd_momentum"])
def test_a_state_is_taken_up_by_the_same_tensors(name):
    """A captured graph goes on reading them."""
    model = network()
    optimizer = MAKERS[name](model.parameters())
    steps(model, optimizer, range(2))
    saved = {key: value.clone() for key, value in flat_state(optimizer).items()}
    places = {key: value.data_ptr() for key, value in flat_state(optimizer).items()}
    steps(model, optimizer, range(2, 4))
    load_flat_state(optimizer, saved)
    assert places == {key: value.data_ptr() for key, value in flat_state(optimizer).items()}
    assert all(torch.equal(value, saved[key]) for key, value in flat_state(optimizer).items())


def test_an_empty_state_is_the_beginning():
    model = network()
    start = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = MAKERS["adam"](model.parameters())
    steps(model, optimizer, range(3))
    first = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(start)
    load_flat_state(optimizer, {})
    steps(model, optimizer, range(3))
    assert all(torch.equal(first[k], v) for k, v in model.state_dict().items())


def test_learning_rates_keep_their_ratio():
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.2}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    rates = learning_rates(optimizer)
    assert rates == [0.1, 0.2]
    for factor in (0.5, 0.0, 0.1):
        scale_learning_rates(optimizer, rates, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * factor, 0.2 * factor])


def test_refusals():
    model = network()
    with pytest.raises(TypeError, match=r"optimizer must be a function .* it returned a str\. Write optimizer=lambda"):
        learning_rates("Adam")
    with pytest.raises(ValueError, match=r"first learning rate must be > 0 for a schedule to scale, got 0\.0"):
        learning_rates(torch.optim.SGD(model.parameters(), lr=0.0))
    with pytest.raises(ValueError, match="an entry for parameter 2, but this optimizer has 2"):
        load_flat_state(torch.optim.Adam(model[3].parameters(), lr=0.1), {"2.exp_avg": torch.zeros(5)})
    adam = Adam(model[3].parameters(), learning_rate=scalar(0.1, CPU))
    state = flat_state(adam)
    lacking = {name: tensor for name, tensor in state.items() if name != "1.exp_avg"}
    with pytest.raises(ValueError, match=r"1\.exp_avg of the saved optimizer state has shape None, expected \(2,\)"):
        load_flat_state(adam, lacking)
    with pytest.raises(
        ValueError, match=r"0\.exp_avg of the saved optimizer state has shape \(3,\), expected \(2, 36\)"
    ):
        load_flat_state(adam, {**state, "0.exp_avg": torch.zeros(3)})

    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["notes"] = ["a", "list"]

    odd = Odd(model.parameters(), lr=0.1)
    odd.step()
    with pytest.raises(TypeError, match=r"Odd keeps a list as 'notes' in its state, which a checkpoint cannot hold"):
        flat_state(odd)


# --- schedules of the learning rate, by tables ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [
        ("constant", 0, 1.0),
        ("constant", 9.99, 1.0),
        ("cosine", 0, 1.0),
        ("cosine", 2.5, 0.8535533905932737),
        ("cosine", 5, 0.5),
        ("cosine", 10, 0.0),
        ("cosine", 11, 0.0),
        ("exponential", 0, 1.0),
        ("exponential", 5, 0.1),
        ("exponential", 10, 0.01),
    ],
)
def test_by_table(schedule, epoch, expected):
    assert factor_at(schedule, epoch, 10) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [("constant", 0, 0.00025), ("constant", 1, 0.25025), ("constant", 4, 1.0), ("exponential", 2, 0.50025 * 100**-0.2)],
)
def test_warm_up_rises_from_almost_nothing(schedule, epoch, expected):
    assert factor_at(schedule, epoch, 10, 4.0) == pytest.approx(expected)


def test_burda_s_stages():
    """Stage i takes 3^i of 3280 passes at 10^(-i/7) (Burda et al. 2016, section 5)."""
    boundaries = [1, 4, 13, 40, 121, 364, 1093]
    for i, boundary in enumerate(boundaries):
        assert factor_at("burda", boundary - 1, 3280) == pytest.approx(10 ** (-i / 7))
        assert factor_at("burda", boundary - 1e-6, 3280) == pytest.approx(10 ** (-i / 7))
        assert factor_at("burda", boundary, 3280) == pytest.approx(10 ** (-(i + 1) / 7))
    assert factor_at("burda", 3279.9, 3280) == pytest.approx(0.1)
    lengths = [
        sum(factor_at("burda", e, 3280) == factor_at("burda", b, 3280) for e in range(3280)) for b in (0, *boundaries)
    ]
    assert lengths == [3**i for i in range(8)]


def test_burda_is_stretched():
    assert factor_at("burda", 10 * 364 / 3280, 10) == pytest.approx(10 ** (-6 / 7))
    assert factor_at("burda", 10 * 363.9 / 3280, 10) == pytest.approx(10 ** (-5 / 7))
