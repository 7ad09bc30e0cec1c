"""``make bench-gpu``: peers by turns, the step by hand in other forms, the goals, and in small the whole program."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import nelbo
from benchmarks import gpu
from benchmarks.goals import Goal, Measured, Results, judge, markdown
from benchmarks.peers.whole_step import Captured, Whole
from benchmarks.turns import Peer, PeerEnded, in_one_line, take_turns
from nelbo import devices


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    x = nelbo.data.load("mnist5k", validation=0, scale=None).train.stored(range(1000)).numpy().reshape(-1, 28, 28)
    path = tmp_path_factory.mktemp("digits") / "mnist.npz"
    np.savez(path, x_train=x[:700], x_test=x[700:])
    return path


# --- turns


def peers(**how):
    return [Peer(name, "tests.benchmarked", (argument,)) for name, argument in how.items()]


@pytest.mark.parametrize("first_together", [False, True])
def test_a_peer_that_ends_is_noted_and_the_others_go_on(digits, first_together):
    failures = {}
    chosen = [
        *peers(a="well", b="raises=0", c="raises=1", d="well"),
        Peer("e", "tests.benchmarked", ("well",), needs=("no_such_package",)),
    ]
    courses = take_turns(
        chosen, digits, rounds=2, images=10, failures=failures, first_together=first_together, say=lambda line: None
    )
    assert [course.peer for course in courses] == ["a", "d"]
    assert all(len(course.seconds) == 2 and course.first > 0 for course in courses)
    assert courses[0].note == "as it is written"
    assert list(courses[0].weights) == ["weight"]
    reason = "ValueError: the third weight is NaN"
    assert failures == {"b": reason, "c": reason, "e": "no_such_package not installed"}


def test_a_peer_that_does_not_answer_is_ended(digits):
    failures = {}
    assert not take_turns(peers(a="sleeps=0"), digits, rounds=1, images=10, failures=failures, limit=0.5)
    assert failures == {"a": "no answer within 0.5 s"}


def test_without_a_place_for_reasons_an_end_stops_all(digits):
    with pytest.raises(PeerEnded, match="a ended with status 1:\n(.*\n)*ValueError: the third weight is NaN"):
        take_turns(peers(a="raises=0"), digits, rounds=1, images=10)


def test_an_error_in_one_line():
    assert in_one_line("Traceback:\n  x\ntorch.AcceleratorError: CUDA error\nCompile with ...\n") == (
        "torch.AcceleratorError: CUDA error"
    )
    assert in_one_line("JAX is installed without its part for this card\n") == (
        "JAX is installed without its part for this card"
    )
    assert in_one_line("") == ""


# --- the step by hand


def network_and_data(device):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6)).to(device)
    return network, torch.randn(20, 6, device=device)


def loss_of(network, batch):
    return (network(batch) - batch).square().sum() / len(batch)


ORDER = torch.arange(20).split(8)  # the last one is shorter


def by_optimizer(device, **options):
    network, x = network_and_data(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, **options)
    total = torch.zeros((), device=device)

    def step(rows):
        loss = loss_of(network, x[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * len(rows))

    return network, total, step


def test_the_whole_step_is_that_of_the_optimizer():
    expected, expected_total, step = by_optimizer("cpu")
    network, x = network_and_data("cpu")
    total = torch.zeros(())
    whole = Whole(loss_of, network, x, total, compiled=False)
    for rows in ORDER * 3:
        step(rows)
        whole(rows)
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=0, atol=1e-6)
    torch.testing.assert_close(total, expected_total)


@pytest.mark.device
@pytest.mark.parametrize("kind", ["optimizer", "whole"])
def test_a_captured_step_is_the_step(device, kind):
    if not devices.has_graphs(device):
        pytest.skip("this accelerator has no graphs")

    def made():
        if kind == "optimizer":
            return by_optimizer(device, capturable=True)
        network, x = network_and_data(device)
        total = torch.zeros((), device=device)
        return network, total, Whole(loss_of, network, x, total, compiled=False)

    (expected, expected_total, step), (network, total, other) = made(), made()
    captured = Captured(other)
    for rows in [each.to(device) for each in ORDER * 3]:
        if len(rows) not in captured.graphs:
            for _ in range(3):  # what it warms up with
                step(rows)
        step(rows)
        captured(rows)
    assert list(captured.graphs) == [8, 4]
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=0, atol=1e-6)
    torch.testing.assert_close(total, expected_total)


# --- goals

RESULTS = Results(
    {
        "training, s": {"nelbo": Measured([1.0, 2.0, 3.0], 9.0, 101.5), "peer": Measured([1.0, 1.0, 2.0])},
        "other, s": {},
    },
    {"training, s": {"nelbo, fast": "OutOfMemoryError: none", "absent": "absent not installed"}},
)


@pytest.mark.parametrize(
    ("goal", "value", "short"),
    [
        (Goal("training, s", "nelbo", "peer", 1.5), 1.5, False),
        (Goal("training, s", "nelbo", "peer", 1.4), 1.5, True),
        (Goal("training, s", "nelbo", "peer"), 1.5, False),
        (Goal("training, s", "nelbo", None, 2.5), 2.0, False),
        (Goal("training, s", "nelbo", None, 1.9), 2.0, True),
        (Goal("training, s", "nelbo, fast", "peer", 1.0), None, True),
        (Goal("training, s", "nelbo", "absent", 1.0), None, False),
        (Goal("other, s", "nelbo", None, 1.0), None, True),
    ],
)
def test_what_falls_short(goal, value, short):
    (verdict,) = judge([goal], RESULTS)
    assert verdict.value == value
    assert verdict.short == short
    row = markdown({"device": "none"}, RESULTS, [verdict]).splitlines()[-1]
    assert ("**short**" in row) == short


def test_a_table_that_was_not_asked_for_is_not_judged():
    assert not judge([Goal("third, s", "nelbo", None, 1.0)], RESULTS)


def test_the_report_says_what_is_missing_and_why():
    text = markdown({"device": "none"}, RESULTS, judge([Goal("training, s", "nelbo", "absent", 1.0)], RESULTS))
    assert "| nelbo | 2 | 1 - 3 | 9 | 101.500 |  |" in text
    assert "| absent | | | | | absent not installed |" in text
    assert "training: nelbo against absent: not compared, absent is missing (absent not installed)" in text


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_goal_is_of_a_row_that_is_measured(device):
    size = gpu.SIZES[device]
    rows = {
        gpu.MLP: {peer.name for peer in gpu.mlp_peers(device, size)},
        gpu.CONV: {peer.name for peer in gpu.conv_peers(device, size)},
    }
    for goal in gpu.goals(device, size):
        for name in (goal.ours, goal.against):
            assert name is None or name in rows.get(goal.table, {name}), f"{goal.table}: {name}"


# --- the program


def test_log_evidence_by_hand_is_nelbo_s(digits):
    size = replace(gpu.QUICK, evidence=((20, 200),), fitted=300)
    rows = gpu.run(digits, device="cpu", size=size, tables=["evidence"]).rows[gpu.EVIDENCE]
    ours, theirs = (rows[f"20 images, 200 draws: {who}"] for who in ("nelbo", "by hand"))
    assert abs(ours.found - theirs.found) < 5 * 2**0.5 * ours.error
    assert len(ours.seconds) == len(theirs.seconds) == 1


def test_the_smallest_form_of_what_is_measured(digits, capsys):
    assert gpu.main(["--device", "cpu", "--quick", "--only", "quadrature", "--mnist", str(digits)]) == 0
    printed = capsys.readouterr().out
    assert "| nelbo |" in printed
    assert "torch" in printed


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--device", "cuda:1", "CUDA_VISIBLE_DEVICES=1"),
        ("--device", "toaster", "'auto' or one of"),
        ("--rounds", "0", "--rounds must be a positive integer, got 0"),
    ],
)
def test_an_option_that_cannot_be_had(option, value, says, capsys):
    with pytest.raises(SystemExit):
        gpu.main([option, value])
    assert says in capsys.readouterr().err


@pytest.mark.slow  # eight processes that import torch
def test_the_whole_program_in_small(digits, capsys):
    assert gpu.main(["--device", "cpu", "--quick", "--json", "--mnist", str(digits)]) == 0
    found = json.loads(capsys.readouterr().out)
    for table in gpu.TABLES.values():
        assert any(name.endswith("nelbo") for name in found["rows"][table]), found["missing"]
    assert {"nelbo", "by hand"} <= found["rows"][gpu.MLP].keys()
    assert all("not installed" in why for reasons in found["missing"].values() for why in reasons.values())
    assert not found["short"]
