"""Schedules by tables."""

import pytest

from nelbo.training.learning_rate import check, factor


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
    assert factor(schedule, epoch, 10) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [("constant", 0, 0.00025), ("constant", 1, 0.25025), ("constant", 4, 1.0), ("exponential", 2, 0.50025 * 100**-0.2)],
)
def test_warm_up_rises_from_almost_nothing(schedule, epoch, expected):
    assert factor(schedule, epoch, 10, 4.0) == pytest.approx(expected)


def test_burda_s_stages():
    """Stage i takes 3^i of 3280 passes at 10^(-i/7) (Burda et al. 2016, section 5)."""
    boundaries = [1, 4, 13, 40, 121, 364, 1093]
    for i, boundary in enumerate(boundaries):
        assert factor("burda", boundary - 1, 3280) == pytest.approx(10 ** (-i / 7))
        assert factor("burda", boundary - 1e-6, 3280) == pytest.approx(10 ** (-i / 7))
        assert factor("burda", boundary, 3280) == pytest.approx(10 ** (-(i + 1) / 7))
    assert factor("burda", 3279.9, 3280) == pytest.approx(0.1)
    lengths = [sum(factor("burda", e, 3280) == factor("burda", b, 3280) for e in range(3280)) for b in (0, *boundaries)]
    assert lengths == [3**i for i in range(8)]


def test_burda_is_stretched():
    assert factor("burda", 10 * 364 / 3280, 10) == pytest.approx(10 ** (-6 / 7))
    assert factor("burda", 10 * 363.9 / 3280, 10) == pytest.approx(10 ** (-5 / 7))


def test_an_unknown_schedule():
    with pytest.raises(ValueError, match="one of constant, cosine, exponential, burda; got 'linear'"):
        check("linear")
