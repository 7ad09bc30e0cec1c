"""A value and its error, as they are shown."""

import math

import pytest
import torch

from nelbo.estimate import Estimate


@pytest.mark.parametrize(
    ("value", "error", "unit", "text"),
    [
        (-123.456, 0.78, "nats", "−123.46 ± 0.78 nats"),
        (1234.5, 23.4, "nats", "1,234 ± 23 nats"),
        (0.0123, 0.00047, "nats", "0.01230 ± 0.00047 nats"),
        (1e-9, 1e-10, "", "1e−09 ± 1e−10"),
        (0.6776, 0.0123, "share", "67.8 ± 1.2 %"),
        (0.25, 0.0, "share", "25.0 %"),
        (2.0, 0.0, "units", "2"),
        (12345.0, 0.0, "", "12,345"),
        (0.003906, 0.0, "", "0.003906"),
        (0.5, 0.01, "bits per dimension", "0.500 ± 0.010 bits/dim"),
        (3.14159, 0.0, "nats", "3.142 nats"),
        (3.0, math.nan, "nats", "3 nats"),
        (math.inf, 0.0, "nats", "∞ nats"),
        (-math.inf, 0.0, "nats", "−∞ nats"),
        (math.nan, 0.0, "", "n/a"),
    ],
)
def test_an_estimate_shows_as_many_digits_as_its_error_allows(value, error, unit, text):
    estimate = Estimate.number(value, error, unit=unit)
    assert estimate.text_with_unit == text
    assert estimate.to_dict()["text"] == text


def test_a_label_comes_first_and_survives():
    estimate = Estimate.mean_of([1.0, 2.0, 3.0, 4.0]).named("KL", method="counted")
    assert str(estimate) == "KL: 2.50 ± 0.65 nats"
    assert estimate.to_dict()["label"] == "KL"
    assert estimate.method == "counted"
    assert str(Estimate(torch.zeros(2), torch.zeros(2), label="two")).startswith("Estimate(value=")
