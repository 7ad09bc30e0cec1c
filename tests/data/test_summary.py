import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.data import summarize
from nelbo.data.summary import Tally

G = torch.Generator().manual_seed(0)

CASES = [
    ("binary", torch.randint(0, 2, (50, 20), generator=G)),
    ("binary", torch.randint(0, 2, (50, 20), generator=G).bool()),
    ("binary", torch.randint(0, 2, (50, 20), generator=G).float()),
    ("binary", torch.zeros(3, 3)),
    ("unit interval", torch.rand(50, 20, generator=G)),
    ("unit interval", torch.randint(0, 256, (50, 20), generator=G) / 255),
    ("8-bit integers", torch.randint(0, 256, (50, 20), generator=G).to(torch.uint8)),
    ("8-bit integers", torch.randint(0, 256, (50, 20), generator=G).double()),
    ("8-bit integers", torch.randint(0, 60, (50, 20), generator=G).to(torch.uint8)),
    ("counts", torch.poisson(torch.full((500, 20), 3.0), generator=G)),
    ("counts", torch.poisson(torch.full((500, 20), 900.0), generator=G).long()),
    ("counts", torch.tensor([0, 1, 0, 2, 70_000])),
    ("categories", torch.randint(0, 10, (500,), generator=G)),
    ("categories", torch.randint(0, 17, (500, 8), generator=G).to(torch.uint8)),
    ("real", torch.randn(50, 20, generator=G)),
    ("real", torch.randint(-5, 5, (50, 20), generator=G)),
    ("real", torch.rand(50, 20, generator=G) * 3),
    ("real", torch.tensor([])),
]


@pytest.mark.parametrize(("kind", "x"), CASES)
def test_kind_and_facts(kind, x):
    summary = summarize(x)
    assert summary.kind == kind
    assert summary.values == x.numel()
    assert str(summary) == summary.sentence
    json.dumps(summary.to_dict(), allow_nan=False)
    if x.numel():
        assert (summary.minimum, summary.maximum) == (x.min().item(), x.max().item())
        v = x.double()
        assert summary.integer_share == pytest.approx((v == v.round()).double().mean().item())
        if summary.levels is not None:
            assert summary.levels == len(x.unique())


def test_broken_values_are_counted_and_left_out():
    x = torch.tensor([[0.5, float("nan"), 2.0], [float("inf"), -float("inf"), float("nan")]])
    summary = summarize(x)
    assert (summary.nan, summary.inf, summary.minimum, summary.maximum, summary.integer_share) == (2, 2, 0.5, 2.0, 0.5)
    assert "2 NaN" in summary.sentence
    assert "none of them finite" in summarize(torch.full((3,), math.nan)).sentence


def test_more_than_one_block():
    """The answer of the whole, also where the telling value stands in the last of several blocks."""
    x = torch.zeros(3_000_001)
    x[-1] = 0.5
    assert summarize(x).kind == "unit interval"
    x[-1] = 300
    summary = summarize(x)
    assert (summary.kind, summary.levels, summary.maximum) == ("counts", None, 300)


def test_strided_and_integer_types():
    x = torch.arange(24).view(2, 3, 4).transpose(0, 2)
    assert summarize(x).maximum == 23
    for dtype in (torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float64):
        assert summarize(torch.ones(3, dtype=dtype)).kind == "binary"


def test_what_is_no_tensor_of_real_numbers():
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        summarize(np.zeros(3))
    with pytest.raises(TypeError, match="view_as_real"):
        summarize(torch.zeros(3, dtype=torch.complex64))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(width=32), max_size=40), st.integers(0, 40), st.sampled_from([1, 1 / 255, 3]))
def test_a_summary_depends_on_neither_order_nor_cuts(values, cut, scale):
    """NaN and infinities included, and what it tells holds of the values."""
    x = torch.tensor(values) * scale
    whole = summarize(x)
    tally = Tally()
    for part in (x[cut:], x[:cut].flip(0)):
        tally.add(part)
    assert tally.summary(x.dtype).to_dict() == whole.to_dict()
    finite = x[x.isfinite()]
    assert (whole.values, whole.nan, whole.inf) == (len(x), int(x.isnan().sum()), int(x.isinf().sum()))
    if len(finite):
        assert (whole.minimum, whole.maximum) == (finite.min(), finite.max())
        assert whole.kind != "binary" or set(finite.tolist()) <= {0, 1}
        assert whole.kind in ("real", "unit interval") or bool((finite == finite.round()).all())
