"""FusedAdam against torch's own optimizers, bit for bit."""

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from nelbo.training.adam import FusedAdam


def networks(n: int = 2, *, dtype: torch.dtype = torch.float32) -> list[nn.Sequential]:
    """Equal networks, with a weight in channels_last and a parameter that never gets a gradient."""
    torch.manual_seed(0)
    made = [
        nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.Flatten(), nn.Tanh(), nn.Linear(200, 3), nn.Linear(7, 7))
        for _ in range(n)
    ]
    for network in made:
        network.load_state_dict(made[0].state_dict())
        network.to(dtype=dtype, memory_format=torch.channels_last)
    return made


def backward(network: nn.Sequential, i: int) -> None:
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(i)).to(network[3].weight.dtype)
    network.zero_grad()
    network[:4](x).square().sum().backward()


def train(network: nn.Sequential, optimizer: FusedAdam | torch.optim.Optimizer, steps: range) -> None:
    for i in steps:
        backward(network, i)
        optimizer.step()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("settings", [{}, {"betas": (0.5, 0.99), "eps": 1e-4}])
def test_equals_torch_bit_for_bit(dtype: torch.dtype, weight_decay: float, settings: dict) -> None:
    ours, theirs = networks(dtype=dtype)
    a = FusedAdam(ours.parameters(), learning_rate=0.01, weight_decay=weight_decay, **settings)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=weight_decay, fused=True, **settings)
    before = ours[0].weight.clone()
    train(ours, a, range(20))
    train(theirs, b, range(20))
    assert equal(ours, theirs)
    assert not torch.equal(before, ours[0].weight)


def test_without_weight_decay_it_is_adam() -> None:
    ours, theirs = networks()
    train(ours, FusedAdam(ours.parameters(), learning_rate=0.01), range(20))
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True), range(20))
    assert equal(ours, theirs)


def test_formula() -> None:
    """Two steps by hand, in double precision."""
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    adam = FusedAdam([w], learning_rate=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5)
    expected, m, v = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for t, gradient in enumerate([[3.0, 0.1], [-1.0, 0.2]], start=1):
        w.grad = torch.tensor(gradient, dtype=torch.float64)
        adam.step()
        for i, g in enumerate(gradient):
            m[i], v[i] = 0.8 * m[i] + 0.2 * g, 0.9 * v[i] + 0.1 * g * g
            move = (m[i] / (1 - 0.8**t)) / (math.sqrt(v[i] / (1 - 0.9**t)) + 1e-3)
            expected[i] -= 0.1 * (0.5 * expected[i] + move)
    assert w.tolist() == pytest.approx(expected, rel=1e-12)


def test_learning_rate_set_before_each_step() -> None:
    ours, theirs = networks()
    a = FusedAdam(ours.parameters())
    b = torch.optim.AdamW(theirs.parameters(), weight_decay=0.0, fused=True)
    for i in range(10):
        a.learning_rate = b.param_groups[0]["lr"] = 0.01 / (1 + i)
        train(ours, a, range(i, i + 1))
        train(theirs, b, range(i, i + 1))
    assert a.learning_rate == 0.001
    assert equal(ours, theirs)


def test_a_parameter_whose_gradient_comes_and_goes_keeps_its_own_count() -> None:
    ours, theirs = networks()
    a = FusedAdam(ours.parameters(), learning_rate=0.01, weight_decay=0.1)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    for i in range(9):
        for network, optimizer in ((ours, a), (theirs, b)):
            backward(network, i)
            if i % 3 == 0:
                network[0].weight.grad = None
            if i == 5:
                optimizer.zero_grad()
            optimizer.step()
    assert equal(ours, theirs)
    state = a.state_dict()
    assert [float(state[f"{i}.step"]) for i in range(6)] == [5, 8, 8, 8, 0, 0]


def test_all_parameters_moved_takes_the_short_way() -> None:
    """Where nobody is skipped, all counters are one tensor; the numbers are torch's all the same."""
    ours, theirs = (network[:4] for network in networks())
    train(ours, FusedAdam(ours.parameters(), learning_rate=0.01), range(5))
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True), range(5))
    assert equal(ours, theirs)


def test_without_the_kernel_the_same_to_rounding() -> None:
    ours, theirs = networks(dtype=torch.float64)
    train(ours, FusedAdam(ours.parameters(), learning_rate=0.01, weight_decay=0.1, fused=False), range(20))
    train(theirs, FusedAdam(theirs.parameters(), learning_rate=0.01, weight_decay=0.1, fused=True), range(20))
    for x, y in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_two_dtypes() -> None:
    single, double = (nn.Parameter(torch.ones(3, dtype=dtype)) for dtype in (torch.float32, torch.float64))
    adam = FusedAdam([double, single], learning_rate=0.01)
    for parameter in (single, double):
        parameter.grad = torch.full_like(parameter, 2.0)
    adam.step()
    # the first step of Adam has the length of the learning rate
    assert double.tolist() == pytest.approx([0.99] * 3, abs=1e-9)
    assert single.tolist() == pytest.approx([0.99] * 3, abs=1e-6)
    assert adam.state_dict()["0.exp_avg"].dtype == torch.float64


@pytest.mark.parametrize("fused", [True, False])
def test_resumes_bit_for_bit_through_safetensors(*, fused: bool) -> None:
    straight, halfway, resumed = networks(3)
    train(straight, FusedAdam(straight.parameters(), learning_rate=0.01, fused=fused), range(10))
    first = FusedAdam(halfway.parameters(), learning_rate=0.01, fused=fused)
    train(halfway, first, range(5))
    saved = save(first.state_dict())
    resumed.load_state_dict(halfway.state_dict())
    second = FusedAdam(resumed.parameters(), learning_rate=0.01, fused=fused)
    second.load_state_dict(load(saved))
    train(resumed, second, range(5, 10))
    assert equal(straight, resumed)


def test_takes_up_the_state_of_torch() -> None:
    """The names are torch's, so a state moves from one to the other."""
    ours, theirs = (network[:4] for network in networks())
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0, fused=True)
    train(theirs, b, range(5))
    ours.load_state_dict(theirs.state_dict())
    a = FusedAdam(ours.parameters(), learning_rate=0.01)
    a.load_state_dict({f"{i}.{k}": v for i, entry in b.state_dict()["state"].items() for k, v in entry.items()})
    train(theirs, b, range(5, 10))
    train(ours, a, range(5, 10))
    assert equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("1.exp_avg_sq"),
            r"lacks 1\.exp_avg_sq; this optimizer of 2 parameters has 6 entries",
        ),
        (lambda s: s.update({"2.step": torch.zeros(())}), r"also has 2\.step"),
        (lambda s: s.update({"0.exp_avg": torch.zeros(3)}), r"0\.exp_avg .* shape \(3,\), expected \(2, 3\)"),
    ],
)
def test_refuses_a_foreign_state_and_changes_nothing(change: object, message: str) -> None:
    network = nn.Linear(3, 2)
    adam = FusedAdam(network.parameters())
    state = {name: torch.ones_like(tensor) for name, tensor in adam.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        adam.load_state_dict(state)
    assert all(not tensor.any() for tensor in adam.state_dict().values())


def test_sparse_gradients_are_refused() -> None:
    embedding = nn.Embedding(5, 2, sparse=True)
    adam = FusedAdam(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises((RuntimeError, NotImplementedError)):
        adam.step()


WEIGHT = nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("parameters", "settings", "error", "message"),
    [
        ([], {}, ValueError, r"write FusedAdam\(model\.parameters\(\)\)"),
        ([WEIGHT, WEIGHT], {}, ValueError, "parameter 1 .* twice"),
        ([torch.ones(2, dtype=torch.int64)], {}, TypeError, "int64 leaf, expected a floating point leaf"),
        ([WEIGHT * 2], {}, TypeError, "result of a computation"),
        (["weight"], {}, TypeError, "is a str, expected a tensor"),
        (
            [WEIGHT],
            {"learning_rate": -1.0},
            ValueError,
            r"learning_rate is a number in \[0, inf\), got -1\.0",
        ),
        ([WEIGHT], {"learning_rate": math.nan}, ValueError, "got nan"),
        ([WEIGHT], {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] is a number in \[0, 1\), got 1\.0"),
        ([WEIGHT], {"eps": -1e-8}, ValueError, "eps"),
        ([WEIGHT], {"weight_decay": -0.1}, ValueError, "weight_decay"),
        ([nn.Parameter(torch.ones(2, device="meta"))], {"fused": True}, ValueError, "no fused Adam for meta"),
    ],
)
def test_refuses(parameters: list[Tensor], settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FusedAdam(parameters, **settings)


def test_refuses_a_learning_rate_that_is_none() -> None:
    adam = FusedAdam([nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="got inf"):
        adam.learning_rate = math.inf
    assert adam.learning_rate == 0.001
