"""Importance weights as they stream by: their mean in log space, its error, and what their tail says."""

from typing import final

import torch
from torch import Tensor

from nelbo.measure.pareto import tail_length


@final
class Weights:
    """The sums of w and w^2 over draws and the largest w, for each example; nothing else is kept.

    Args:
        batch: number of examples.
        at_most: draws for each example that may still come: the length of the tail that is kept depends on it.
    """

    def __init__(self, batch: int, at_most: int) -> None:
        self.count = 0
        self._keep = tail_length(at_most) + 1
        self._shift = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self._sum = torch.zeros(batch, dtype=torch.float64)
        self._squares = torch.zeros(batch, dtype=torch.float64)
        self._largest = torch.empty(0, batch, dtype=torch.float64)

    def __len__(self) -> int:
        return len(self._sum)

    def add(self, log_w: Tensor) -> None:
        """Take in (samples, batch) logarithms of weights."""
        log_w = log_w.detach().double().cpu()
        shift = torch.maximum(self._shift, log_w.amax(0))
        # an example whose weights are all zero so far has no scale yet
        safe = torch.where(shift.isfinite(), shift, torch.zeros_like(shift))
        old = torch.where(self._shift.isfinite(), (self._shift - safe).exp(), torch.zeros_like(safe))
        w = (log_w - safe).exp()
        self._sum = self._sum * old + w.sum(0)
        self._squares = self._squares * old**2 + w.square().sum(0)
        self._shift, self.count = shift, self.count + len(log_w)
        together = torch.cat([self._largest, log_w])
        self._largest = together.topk(min(self._keep, len(together)), dim=0).values

    @property
    def log_mean(self) -> Tensor:
        """Log (1/S sum w), (batch,)."""
        safe = torch.where(self._shift.isfinite(), self._shift, torch.zeros_like(self._shift))
        return safe + (self._sum / self.count).log()

    @property
    def standard_error(self) -> Tensor:
        """Of log_mean, by the delta method: the weights' standard deviation over their mean and sqrt(S)."""
        if self.count < 2:
            return torch.full_like(self._sum, torch.nan)
        relative = self.count * self._squares / self._sum.square() - 1
        return (relative.clamp(min=0) / (self.count - 1)).sqrt().nan_to_num(nan=torch.inf)

    @property
    def ess(self) -> Tensor:
        """Effective sample size (sum w)^2 / sum w^2."""
        return (self._sum.square() / self._squares).nan_to_num(nan=0.0)

    @property
    def tail(self) -> Tensor:
        """The largest log weights and the one below them, (tail + 1, batch)."""
        return self._largest[: tail_length(self.count) + 1]
