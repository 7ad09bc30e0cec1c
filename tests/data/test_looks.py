import json
import math

import numpy as np
import pytest
import torch

from nelbo.data import looks_like

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
    looks = looks_like(x)
    assert looks.kind == kind
    assert looks.values == x.numel()
    assert str(looks) == looks.sentence
    json.dumps(looks.to_dict(), allow_nan=False)
    if x.numel():
        assert (looks.minimum, looks.maximum) == (x.min().item(), x.max().item())
        v = x.double()
        assert looks.integer_share == pytest.approx((v == v.round()).double().mean().item())
        if looks.levels is not None:
            assert looks.levels == len(x.unique())


def test_broken_values_are_counted_and_left_out():
    x = torch.tensor([[0.5, float("nan"), 2.0], [float("inf"), -float("inf"), float("nan")]])
    looks = looks_like(x)
    assert (looks.nan, looks.inf, looks.minimum, looks.maximum, looks.integer_share) == (2, 2, 0.5, 2.0, 0.5)
    assert "2 NaN" in looks.sentence
    assert "none of them finite" in looks_like(torch.full((3,), math.nan)).sentence


def test_more_than_one_block():
    """The answer of the whole, also where the telling value stands in the last of several blocks."""
    x = torch.zeros(3_000_001)
    x[-1] = 0.5
    assert looks_like(x).kind == "unit interval"
    x[-1] = 300
    looks = looks_like(x)
    assert (looks.kind, looks.levels, looks.maximum) == ("counts", None, 300)


def test_strided_and_integer_types():
    x = torch.arange(24).view(2, 3, 4).transpose(0, 2)
    assert looks_like(x).maximum == 23
    for dtype in (torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float64):
        assert looks_like(torch.ones(3, dtype=dtype)).kind == "binary"


def test_what_is_no_tensor_of_real_numbers():
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        looks_like(np.zeros(3))
    with pytest.raises(TypeError, match="view_as_real"):
        looks_like(torch.zeros(3, dtype=torch.complex64))
