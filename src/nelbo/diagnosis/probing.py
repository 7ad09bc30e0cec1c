"""The loss at answers of encoder and decoder that are chosen: one term varies, then the other, then both."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nelbo.diagnosis.loss_calls import Answers, LossFunction
from nelbo.wrapping.view import Wrapped

POINTS = 8
"""Answers in each block: one term varied, the other, both."""
REPEATS = 2
"""Evaluations of each, by which a loss that draws at random shows its noise."""
_UNCLAMPED = (-6.0, 8.0)  # log sigmas that no family of nelbo clamps


class Block(NamedTuple):
    """The loss at answers among which one or both terms vary."""

    answers: list[Answers]
    losses: np.ndarray
    """(points, repeats)."""

    @property
    def mean(self) -> np.ndarray:
        """(points,) over the repeats."""
        return self.losses.mean(1)


class Blocks(NamedTuple):
    """Both terms varied apart and together, on one batch."""

    reconstruction: Block
    kl: Block
    both: Block
    batch: int

    @property
    def noise(self) -> float:
        """Standard deviation of one evaluation at the same answers."""
        within = np.concatenate([block.losses.var(1, ddof=1) for block in self[:3]])  # pyright: ignore[reportAttributeAccessIssue]
        return float(np.sqrt(within.mean()))


def probe(loss: LossFunction, view: Wrapped, x: Tensor, seed: int) -> Blocks:
    """The loss where the reconstruction, the KL and both vary.

    Raises:
        ValueError: the loss is not finite at harmless answers.
    """
    choose = _Choice(view, x)
    harmless = choose.answers(0.5, 0.5)
    first, second = loss(harmless, seed), loss(harmless, seed)
    if not math.isfinite(first):
        raise ValueError(
            "the loss is NaN or infinite at harmless answers (decoded values near the model's own, spreads of about "
            "0.5); look for a logarithm or a root of the encoder's output, or of a probability of 0"
        )
    if abs(first - second) > 1e-3 * abs(first):
        raise ValueError(
            f"the loss changes between two equal calls, from {first:.6g} to {second:.6g}, with the same answers and "
            "the same random numbers: it depends on something that moves by itself, such as a schedule that each call "
            "advances; hold that still while it is measured"
        )
    grid = torch.linspace(0, 1, POINTS).tolist()
    shuffled = [grid[i] for i in torch.randperm(POINTS).tolist()]
    plans = ([(u, None) for u in grid], [(None, v) for v in grid], list(zip(grid, shuffled, strict=True)))
    fixed = choose.answers(0.5, 0.5)
    blocks: list[Block] = []
    for plan in plans:
        answers = [choose.answers(u, v, fixed) for u, v in plan]
        losses = [[loss(a, seed + 1 + repeat * 1000 + i) for repeat in range(REPEATS)] for i, a in enumerate(answers)]
        blocks.append(Block(answers, np.array(losses, dtype=float)))
    first, second, both = blocks
    return Blocks(first, second, both, len(x))


class _Choice:
    """Answers of encoder and decoder, from near what the model itself says of x to far from it."""

    def __init__(self, view: Wrapped, x: Tensor) -> None:
        self.view, self.x = view, x
        with view.running():
            encoded = view.encoding.call(x)
            layout = view.encoding.layout
            if layout is None:
                raise ValueError(
                    "encode returns a distribution that is not a diagonal normal, and only the two outputs of one can "
                    "be replaced; there is no effective beta to measure"
                )
            mean, self.spread = layout.read(encoded)
            self.mean = mean
            self.template = view.decoding.call(mean.flatten(1))
        value = view.decoding.place.read(self.template)
        # where the decoder's own answers lie in [0, 1], a loss may rely on that
        self.squashed = isinstance(value, Tensor) and bool(((value >= 0) & (value <= 1)).all())

    def answers(self, far: float | None, wide: float | None, fixed: Answers | None = None) -> Answers:
        if fixed is None:
            return Answers(self.x, *self._encoded(wide or 0.5), self._decoded(far or 0.5))
        mean, spread = (fixed.mean, fixed.spread) if wide is None else self._encoded(wide)
        return Answers(self.x, mean, spread, fixed.decoded if far is None else self._decoded(far))

    def _size(self, value: Tensor) -> Tensor:
        """How far the decoder's answers are disturbed: means by the data's spread, a log sigma by a little."""
        if self.view.px_family.decodes_spread:
            mean, log_std = (torch.ones_like(half) for half in value.chunk(2, 1))
            return torch.cat([self.x.std() * mean, 0.2 * log_std], 1)
        return self.x.std() if self.view.decoding.output == "mean" else torch.ones(())

    def _encoded(self, wide: float) -> tuple[Tensor, Tensor]:
        """Means of about this size; spreads that are positive, so that every reading of them exists."""
        kind = self.view.encoding.scale
        mean = 2 * wide * torch.randn_like(self.mean) + 0.01
        none = 1.0 if kind in ("std", "variance") else 0.02  # the spread at which there is next to no KL
        target = 0.3 + 1.2 * torch.rand(()).item()
        spread = none + wide * (target - none) + 0.2 * wide * torch.rand_like(self.spread)
        return mean, spread

    def _decoded(self, far: float) -> Any:
        """The model's own answer, more and more disturbed."""
        decoding = self.view.decoding
        if decoding.scale is None:
            with self.view.running():
                return decoding.call((self.mean + 3 * far * torch.randn_like(self.mean)).flatten(1))
        value = decoding.place.read(self.template)
        if self.view.px_family.parameters_per_feature > 1:
            parameters = decoding.scale.to_parameters(value)
            disturbed = parameters + 2 * far * self._size(parameters) * torch.randn_like(parameters)
            if self.view.px_family.decodes_spread:
                means, log_std = disturbed.chunk(2, 1)
                disturbed = torch.cat([means, log_std.clamp(*_UNCLAMPED)], 1)
            return decoding.place.write(self.template, decoding.scale.from_parameters(disturbed))
        if decoding.scale.holds is None and not self.squashed:
            disturbed = value + 2 * far * self._size(value) * torch.randn_like(value)
            return decoding.place.write(self.template, disturbed)
        noise = 2 * far * torch.randn_like(value)
        if self.squashed:
            disturbed = (1 - 0.5 * far) * torch.logit(value.clamp(1e-3, 1 - 1e-3)) + noise
            return decoding.place.write(self.template, torch.sigmoid(disturbed.clamp(-6, 6)))
        # rates of about 1, whatever the model's own: a loss that takes them for their logarithms stays finite
        inner = value.clamp(min=1e-3).log()
        disturbed = (1 - 0.5 * far) * (inner - inner.mean()) + noise
        return decoding.place.write(self.template, disturbed.clamp(-6, 1.5).exp())
