import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nelbo.data import Preparation

BYTES = torch.arange(256, dtype=torch.uint8).view(1, 256)

CASES = [
    Preparation(),
    Preparation(scale=1 / 255),
    Preparation(scale=1 / 255, binarize="dynamic"),
    Preparation(binarize="static"),
    Preparation(scale=1 / 255, binarize="threshold"),
    Preparation(scale=1 / 256, dequantize=True),
    Preparation(mean=(1.0, 2.0), std=(3.0, 4.0)),
]


@pytest.mark.parametrize("prep", CASES, ids=lambda p: p.sentence)
def test_round_trip_through_json(prep):
    assert Preparation.from_dict(json.loads(json.dumps(prep.to_dict()))) == prep
    assert prep.sentence.endswith(".")
    assert "\n" not in prep.sentence
    hash(prep)


def test_an_unknown_field_is_an_error():
    with pytest.raises(ValueError, match="got blur"):
        Preparation.from_dict({"blur": 1})


def test_scaling_is_exact_at_every_byte():
    x = Preparation(scale=1 / 255)(BYTES)
    assert torch.equal(x, (BYTES.double() / 255).float())
    assert x.max() == 1


@pytest.mark.parametrize("top", range(2, 300))
def test_no_scale_reaches_above_one(top):
    assert Preparation(scale=1 / top)(torch.tensor([[top]])).item() == 1


def test_output_is_float32_whatever_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        for prep in CASES[:-1]:
            assert prep(torch.zeros(2, 3, dtype=torch.uint8)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_threshold_is_above_one_half():
    x = Preparation(scale=1 / 255, binarize="threshold")(BYTES)
    assert torch.equal(x, (BYTES.double() / 255 > 0.5).float())
    x = Preparation(binarize="threshold")(torch.tensor([[0.5, 0.50001, 1.0]]))
    assert x.tolist() == [[0, 1, 1]]
    assert Preparation(scale=1 / 16, binarize="threshold")(torch.tensor([[8, 9]])).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "raw",
    [
        torch.tensor([0, 5, 51, 200, 255], dtype=torch.uint8),  # the path of bytes
        torch.tensor([0.0, 5.0, 51.0, 200.0, 255.0]),
        torch.tensor([0, 5, 51, 200, 255]),
    ],
    ids=["uint8", "float32", "int64"],
)
def test_dynamic_binarization_has_the_right_means(raw):
    torch.manual_seed(0)
    n = 100_000
    x = Preparation(scale=1 / 255, binarize="dynamic")(raw.repeat(n, 1))
    p = raw.double() / 255
    assert ((x.double().mean(0) - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


def test_dynamic_draws_come_from_the_global_generator():
    prep = Preparation(scale=1 / 255, binarize="dynamic")
    raw = torch.full((50, 50), 100, dtype=torch.uint8)
    torch.manual_seed(5)
    a, b = prep(raw), prep(raw)
    torch.manual_seed(5)
    assert torch.equal(prep(raw), a)
    assert not torch.equal(a, b)


def test_fixed_draws_have_the_right_means_and_leave_the_generator_alone():
    prep = Preparation(scale=1 / 255, binarize="dynamic")
    values = torch.tensor([0, 5, 51, 200, 255], dtype=torch.uint8)
    n = 100_000
    before = torch.get_rng_state()
    x = prep.drawn(prep.draw(values.repeat(n, 1), rows=torch.arange(n)))
    assert torch.equal(torch.get_rng_state(), before)
    p = values.double() / 255
    assert ((x.double().mean(0) - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


def test_dequantized_bytes_are_uniform_within_their_cell_and_never_reach_the_next():
    torch.manual_seed(0)
    prep = Preparation(scale=1 / 256, dequantize=True)
    raw = torch.full((1_000_000, 1), 255, dtype=torch.uint8)
    x = prep(raw).double() * 256
    assert x.min() >= 255
    assert x.max() < 256
    # float32 has steps of 2^-16 here, so a coarser sample is compared with the uniform distribution
    assert stats.kstest(x[:20_000, 0].numpy() - 255, "uniform").pvalue > 1e-6
    fixed = prep.drawn(prep.draw(raw[:20_000], rows=torch.arange(20_000))).double() * 256
    assert stats.kstest(fixed[:, 0].numpy() - 255, "uniform").pvalue > 1e-6


def test_standardizing_keeps_small_differences_of_large_numbers():
    start = 1_700_000_000.0
    raw = torch.tensor([[start], [start + 1], [start + 2]], dtype=torch.float64)
    prep = Preparation(mean=(start + 1,), std=(math.sqrt(2 / 3),))
    expected = torch.tensor([-1.0, 0.0, 1.0]) * math.sqrt(3 / 2)
    torch.testing.assert_close(prep(raw)[:, 0], expected)
    torch.testing.assert_close(prep(raw.to(torch.int64))[:, 0], expected)


def test_images_are_standardized_by_channel():
    raw = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = Preparation(mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))(raw)
    for c, (m, s) in enumerate(((1, 1), (2, 2), (3, 4))):
        torch.testing.assert_close(x[:, c], (raw[:, c] - m) / s)


@pytest.mark.parametrize(
    ("prep", "event"),
    [(Preparation(scale=1 / 255), (2,)), (Preparation(mean=(1.0, 2.0), std=(3.0, 0.5)), (2,))],
)
def test_log_jacobian_against_autograd(prep, event):
    raw = torch.tensor([[0.3, 0.7]], dtype=torch.float32)
    jacobian = torch.autograd.functional.jacobian(lambda r: prep(r)[0], raw)[:, 0]
    assert prep.log_jacobian(event) == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-5)


def test_log_jacobian_of_images_and_of_binarized_values():
    prep = Preparation(mean=(0.0, 0.0, 0.0), std=(2.0, 3.0, 4.0))
    assert prep.log_jacobian((3, 5, 5)) == pytest.approx(-25 * math.log(24))
    with pytest.raises(ValueError, match="no density"):
        Preparation(binarize="threshold").log_jacobian((4,))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0.0}, "positive"),
        ({"scale": float("nan")}, "positive"),
        ({"binarize": "soft"}, "'dynamic'"),
        ({"binarize": "dynamic", "dequantize": True}, "exclude each other"),
        ({"binarize": "static", "mean": (0.0,), "std": (1.0,)}, "exclude each other"),
        ({"mean": (0.0,)}, "together"),
        ({"mean": (0.0,), "std": (0.0,)}, "positive"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Preparation(**fields)


def test_draw_of_a_float_image_matches_its_uniform():
    """x = 1 exactly where the row's fixed uniform lies below the value."""
    from nelbo.data.draws import fixed_uniform

    raw = torch.rand(20, 9, generator=torch.Generator().manual_seed(0))
    drawn = Preparation(binarize="dynamic").draw(raw, rows=torch.arange(20), seed=4, stream=2)
    u = fixed_uniform(np.arange(20), 9, seed=4, stream=2)
    assert torch.equal(drawn.bool(), torch.from_numpy(u) < raw)


PREPARATIONS = st.one_of(
    st.builds(Preparation, scale=st.integers(1, 300).map(lambda k: 1 / k), dequantize=st.booleans()),
    st.builds(Preparation, scale=st.just(1 / 255), binarize=st.sampled_from(["dynamic", "threshold"])),
    st.builds(
        lambda mean, std: Preparation(mean=tuple(mean), std=tuple(std)),
        st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4),
        st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    ),
)


@settings(deadline=None, max_examples=60)
@given(
    PREPARATIONS,
    st.lists(st.integers(0, 255), min_size=12, max_size=12),
    st.integers(0, 2**40),
    st.permutations([0, 1, 2]),
)
def test_an_example_is_prepared_alike_in_whatever_company(prep, values, seed, order):
    """Row by row, in another order, or through JSON: the same numbers, within their range."""
    raw, rows = torch.tensor(values, dtype=torch.uint8).view(3, 4), torch.tensor([5, 90, 2**33])
    seen = prep.drawn(prep.draw(raw, rows=rows, seed=seed)) if prep.is_random else prep(raw)
    again = Preparation.from_dict(json.loads(json.dumps(prep.to_dict())))
    for i in order:
        drawn = again.draw(raw[i : i + 1], rows=rows[i : i + 1], seed=seed)
        alone = again.drawn(drawn) if again.is_random else again(drawn)
        assert torch.equal(alone[0], seen[i])
    assert seen.dtype == torch.float32
    assert seen.isfinite().all()
    if prep.binarize:
        assert set(seen.unique().tolist()) <= {0, 1}
        assert torch.equal(seen[raw == 0], torch.zeros(int((raw == 0).sum())))
        assert bool(seen[raw == 255].all())
    elif prep.dequantize:
        assert torch.equal(
            (seen.double() / prep.scale + 1e-3).floor().clamp(max=255).byte() >= raw, torch.ones(3, 4, dtype=torch.bool)
        )
