"""A value, how far it may be off, in which unit, and how it was computed: what every measurement returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

Unit = Literal["nats", "bits", "bits per dimension", "share", "units", "variance", ""]
"""Of a value; a share is shown in percent, and "" is a pure number."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its standard error.

    >>> Estimate.mean_of([1.0, 2.0, 3.0, 4.0])
    Estimate(2.5 ± 0.65 nats, mean over 4 examples)

    Attributes:
        value: any shape; of a divergence differentiable with respect to the parameters.
        standard_error: of the shape of value: one standard deviation of a Monte Carlo value, the estimated error of a
            quadrature or a sum; of a closed form 0 in float64, and in float32 what rounding may have moved it.
        method: "closed_form", "exact_sum", "quadrature", "monte_carlo", "nearest_neighbours", ...
        unit: of both.
        label: the quantity in words, where it is shown among others: "KL per example".
    """

    value: Tensor
    standard_error: Tensor
    method: str = ""
    unit: Unit = "nats"
    label: str = field(default="", kw_only=True)

    @classmethod
    def number(
        cls, value: float, standard_error: float = 0.0, method: str = "", unit: Unit = "nats", *, label: str = ""
    ) -> "Estimate":
        """An estimate of one number, float64.

        >>> print(Estimate.number(12.3456, 0.0123, label="KL per example"))
        KL per example: 12.346 ± 0.012 nats
        """
        mean, error = torch.tensor([float(value), float(standard_error)], dtype=torch.float64)
        return Estimate(mean, error, method, unit, label=label)

    @classmethod
    def exactly(cls, value: Tensor | float, method: str = "closed_form", unit: Unit = "nats") -> "Estimate":
        """An estimate without error."""
        value = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
        return Estimate(value, torch.zeros_like(value), method, unit)

    @classmethod
    def mean_of(
        cls, values: "Tensor | Estimate | Sequence[float]", method: str | None = None, unit: Unit | None = None
    ) -> "Estimate":
        """The mean over examples with its standard error, s / sqrt(n).

        The spread s over the examples holds the errors of the single values too, where those are independent: nothing
        needs to be added for them.

        Args:
            values: (n, \\*rest), one for each example, or an Estimate of that shape.
            method: by which the values were computed; of an Estimate, its own.
            unit: of the values; of an Estimate, its own, else nats.

        Returns:
            Estimate of shape (\\*rest,), float64.
        """
        if isinstance(values, Estimate):
            values, method, unit = values.value, method or values.method, unit or values.unit
        each = torch.as_tensor(values).detach().double()
        n = len(each)
        mean = each.mean(0)
        error = each.std(0) / math.sqrt(n) if n > 1 else torch.full_like(mean, torch.nan)
        # the mean of infinite values is infinite for certain
        error = torch.where(mean.isinf(), 0.0, error)
        over = f"mean over {n:,} examples"
        return Estimate(mean, error, f"{method}, {over}" if method else over, unit or "nats")

    @classmethod
    def share_of(cls, count: int, n: int, method: str = "", *, label: str = "") -> "Estimate":
        """The share of n examples that something holds of, with the standard error of a binomial proportion.

        The error is taken at (count + 1/2) / (n + 1), the estimate by Jeffreys' prior: that none of ten examples shows
        something does not make it impossible.

        >>> Estimate.share_of(0, 10)
        Estimate(0 ± 0.066 share)
        """
        near = (count + 0.5) / (n + 1)
        return cls.number(count / n, math.sqrt(near * (1 - near) / n), method, "share", label=label)

    def __float__(self) -> float:
        """The value as a Python number, for estimates of one element."""
        return float(self.value.detach())

    @property
    def error(self) -> float:
        """The standard error as a Python number, for estimates of one element."""
        return float(self.standard_error.detach())

    @property
    def t(self) -> float:
        """The value in standard errors: about standard normal where the quantity is 0."""
        value, error = float(self), self.error
        if value == 0:
            return 0.0
        return value / error if error > 0 else math.copysign(math.inf, value)

    @property
    def text(self) -> str:
        """The value and its error, without the unit, in as many digits as the error allows; of a share, in percent."""
        share = self.unit == "share"
        factor = 100.0 if share else 1.0
        value, error = float(self) * factor, self.error * factor
        sign = " %" if share else ""
        if math.isnan(value):
            return "n/a"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if not error or not math.isfinite(error):
            text = f"{value:.1f}" if share else f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"
        else:
            digits = max(1 - math.floor(math.log10(error)), 0)
            digits = min(digits, 1) if share and error >= 0.05 else digits
            text = f"{value:.4g} ± {error:.1g}" if digits > 6 else f"{value:,.{digits}f} ± {error:.{digits}f}"
        return text.replace("-", "−") + sign

    @property
    def unit_text(self) -> str:
        """The unit as it is shown after a value: "nats", "bits/dim"; nothing for counts and pure numbers."""
        return {"nats": "nats", "bits": "bits", "bits per dimension": "bits/dim"}.get(self.unit, "")

    @property
    def text_with_unit(self) -> str:
        """The value, its error and its unit."""
        return f"{self.text} {self.unit_text}".rstrip()

    def __str__(self) -> str:
        return f"{self.label}: {self.text_with_unit}" if self.label and self.value.numel() == 1 else repr(self)

    def __repr__(self) -> str:
        if self.value.numel() != 1:
            return f"Estimate(value={self.value}, standard_error={self.standard_error}, method={self.method!r})"
        unit = f" {self.unit}" if self.unit else ""
        method = f", {self.method}" if self.method else ""
        return f"Estimate({float(self):.6g} ± {self.error:.2g}{unit}{method})"

    def __getitem__(self, index: Any) -> "Estimate":
        """Some of the values."""
        return replace(self, value=self.value[index], standard_error=self.standard_error[index])

    def named(self, label: str, *, unit: Unit | None = None, method: str | None = None) -> "Estimate":
        """The same estimate under a label, in another unit or by another method if those are given."""
        unit, method = self.unit if unit is None else unit, self.method if method is None else method
        return replace(self, label=label, unit=unit, method=method)

    def scaled(self, factor: float) -> "Estimate":
        """The estimate of ``factor`` times the quantity."""
        return replace(self, value=self.value * factor, standard_error=self.standard_error * abs(factor))

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum of two estimates that were made independently of one another."""
        error = torch.sqrt(self.standard_error**2 + other.standard_error**2)
        methods = dict.fromkeys([*self.method.split(" + "), *other.method.split(" + ")])
        return Estimate(self.value + other.value, error, " + ".join(methods), self.unit)

    def sum_rightmost(self, dimensions: int) -> "Estimate":
        """The sum over the last ``dimensions`` batch dimensions (independent coordinates add up)."""
        if dimensions == 0:
            return self
        over = tuple(range(-dimensions, 0))
        return replace(self, value=self.value.sum(over), standard_error=torch.sqrt((self.standard_error**2).sum(over)))

    def to_dict(self) -> dict[str, Any]:
        """One element, ready for JSON: value, standard error, unit, method, text, and the label if there is one."""
        label = {"label": self.label} if self.label else {}
        numbers = {"value": float(self), "standard_error": self.error, "unit": self.unit, "method": self.method}
        return label | numbers | {"text": self.text_with_unit}
