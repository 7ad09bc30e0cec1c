"""What every divergence returns: a value, how far it may be off, and how it was found."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number of nats with its error.

    Attributes:
        value: the divergence, shape batch_shape; differentiable with respect to the parameters.
        standard_error: shape batch_shape; one standard deviation of a Monte Carlo value, the estimated error
        of a quadrature or
            a sum, exactly 0 for a closed form.
        method: how it was found: "closed_form", "exact_sum", "quadrature", "monte_carlo",
        "nearest_neighbours", ...
    """

    value: Tensor
    standard_error: Tensor
    method: str

    def __float__(self) -> float:
        """The value as a Python number, for estimates of one element."""
        return float(self.value.detach())

    def __repr__(self) -> str:
        if self.value.numel() != 1:
            return f"Estimate(value={self.value}, standard_error={self.standard_error}, method={self.method!r})"
        value, error = float(self.value.detach()), float(self.standard_error.detach())
        return f"Estimate({value:.6g} ± {error:.2g} nats, {self.method})"

    def scaled(self, factor: float) -> "Estimate":
        """The estimate of `factor` times the quantity."""
        return Estimate(self.value * factor, self.standard_error * abs(factor), self.method)

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum of two estimates that were made independently of one another."""
        error = torch.sqrt(self.standard_error**2 + other.standard_error**2)
        methods = dict.fromkeys([*self.method.split(" + "), *other.method.split(" + ")])
        return Estimate(self.value + other.value, error, " + ".join(methods))

    def sum_rightmost(self, dimensions: int) -> "Estimate":
        """The sum over the last `dimensions` batch dimensions (independent coordinates add up)."""
        if dimensions == 0:
            return self
        over = tuple(range(-dimensions, 0))
        return Estimate(self.value.sum(over), torch.sqrt((self.standard_error**2).sum(over)), self.method)


def exactly(value: Tensor, method: str = "closed_form") -> Estimate:
    """An estimate without error."""
    return Estimate(value, torch.zeros_like(value), method)
