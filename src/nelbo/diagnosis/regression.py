"""The loss regressed on its terms: which reading of each explains it, with which weight, and what is left."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nelbo.diagnosis.probing import POINTS, REPEATS, Block, Blocks
from nelbo.diagnosis.readings import DECLARED, SQUARED, Reading, components, kl_readings, reconstruction_readings
from nelbo.wrapping.view import Wrapped

_MISFIT = 2e-3  # of the spread of the loss within a block that a fit may leave: float32 leaves 1e-5
_ROUNDING = 3e-7
_FALSE_ALARM = 1e-4


class Fit(NamedTuple):
    """A block of losses as a multiple of one reading of a term."""

    reading: Reading
    values: np.ndarray
    slope: float
    misfit: float
    """Standard deviation of what is left, over what noise and rounding explain and a fit may leave; good below 1."""

    @property
    def explains(self) -> bool:
        """Whether nothing but noise and rounding is left."""
        return self.misfit <= 1


def _best(block: Block, readings: list[Reading], noise: float) -> Fit:
    """The first reading that explains the block, else the one that leaves least."""
    fits = [_fit(block, reading, noise) for reading in readings]
    return next((fit for fit in fits if fit.explains), min(fits, key=lambda fit: fit.misfit))


def _fit(block: Block, reading: Reading, noise: float) -> Fit:
    values = np.array([reading.value(a) for a in block.answers])
    if not np.isfinite(values).all() or values.std() == 0:
        return Fit(reading, values, 0.0, math.inf)
    design = np.stack([values, np.ones_like(values)], axis=1)
    (slope, offset), *_ = np.linalg.lstsq(design, block.mean, rcond=None)
    left = block.mean - slope * values - offset
    return Fit(reading, values, float(slope), _misfit(left, 2, block.mean, noise))


def _misfit(left: np.ndarray, parameters: int, losses: np.ndarray, noise: float) -> float:
    """The standard deviation that a fit leaves, over what noise and rounding explain and it may leave."""
    free = len(left) - parameters
    deviation = math.sqrt(float(left @ left) / free)
    return deviation / (_MISFIT * float(losses.std()) + _rounding(losses) + _beyond(free, noise))


def _rounding(losses: np.ndarray) -> float:
    return _ROUNDING * float(np.abs(losses).max())


def _beyond(free: int, noise: float) -> float:
    """The scatter of means of evaluations by noise alone, but for a probability of _FALSE_ALARM (F test)."""
    from scipy.stats import f

    evaluations = 3 * POINTS * (REPEATS - 1)
    return math.sqrt(float(f.isf(_FALSE_ALARM, free, evaluations))) * noise / math.sqrt(REPEATS)


def _absent(block: Block, weight: float, error: float, noise: float) -> bool:
    """Whether the loss does not change while a term does: not at all, or not beyond its noise in any respect."""
    scatter = float(block.mean.std(ddof=1))
    if scatter <= _rounding(block.mean):
        return True
    return scatter <= _rounding(block.mean) + _beyond(len(block.losses) - 1, noise) and abs(weight) < 4 * error


class Joint(NamedTuple):
    """loss = a * reconstruction_error + b * kl + c over all blocks."""

    a: float
    b: float
    c: float
    errors: tuple[float, float]
    relative_error: float
    """Of b / a."""
    r2: float
    left_both: np.ndarray
    """The residuals where both terms vary."""


def _joint(blocks: Blocks, error: Reading, kl: Reading) -> Joint:
    """Least squares over all three blocks; errors from what it leaves, robust to its size changing (HC1)."""
    answers = [a for block in blocks[:3] for a in block.answers]  # pyright: ignore[reportAttributeAccessIssue]
    losses = np.concatenate([block.mean for block in blocks[:3]])  # pyright: ignore[reportAttributeAccessIssue]
    columns = np.array([[error.value(a), kl.value(a), 1.0] for a in answers])
    scale = np.abs(columns).max(0)
    design = columns / scale
    inverse = np.linalg.pinv(design.T @ design)
    weights = inverse @ design.T @ losses
    left = losses - design @ weights
    meat = design.T @ (design * left[:, None] ** 2) * len(left) / (len(left) - 3)
    covariance = inverse @ meat @ inverse / np.outer(scale, scale)
    a, b, c = (weights / scale).tolist()
    errors = np.sqrt(np.diag(covariance)).tolist()
    relative = math.inf
    if a and b:
        gradient = np.array([-1 / a, 1 / b, 0.0])
        relative = math.sqrt(max(float(gradient @ covariance @ gradient), 0.0))
    total = float(((losses - losses.mean()) ** 2).sum())
    r2 = 1 - float(left @ left) / total if total else 1.0
    return Joint(a, b, c, (errors[0], errors[1]), relative if b else 0.0, r2, left[2 * POINTS :])


def _parts_of_kl(
    view: Wrapped, blocks: Blocks, error: Fit, noise: float
) -> tuple[tuple[float, float, float] | None, float]:
    """Weights of the three parts of the KL relative to the reconstruction error's, if they explain the loss; misfit."""
    design = np.array([[*components(view, a), 1.0] for a in blocks.kl.answers])
    weights, *_ = np.linalg.lstsq(design, blocks.kl.mean, rcond=None)
    if _misfit(blocks.kl.mean - design @ weights, 4, blocks.kl.mean, noise) > 1:
        return None, math.inf
    rest = np.array([[*components(view, a), error.reading.value(a)] for a in blocks.both.answers])
    left = blocks.both.mean - rest @ np.array([*weights[:3], error.slope])
    together = _misfit(left - left.mean(), 1, blocks.both.mean, noise)
    first, second, third = (weights[:3] / error.slope).tolist()
    return (first, second, third), together


@dataclass(frozen=True)
class Regression:
    """A loss regressed on its two terms, for two sizes of the batch.

    Attributes:
        reconstruction: the reading of the reconstruction term that explains it, or the closest one.
        kl: the same of the KL term.
        joint: the weights of both.
        smaller: the weights for the smaller batch.
        missing: the term that the loss does not depend on, or "".
        together: the misfit where both terms vary.
        parts: weights of the KL's three parts, relative to that of the reconstruction error, where those explain what
            no reading of the KL does.
        sigma: of the normal likelihood that the reconstruction error is measured with, or None.
        likelihood: name of the declared family.
        batches: sizes of the two batches.
        event: the shape of an example.
        latent: the shape of its z.
    """

    reconstruction: Fit
    kl: Fit
    joint: Joint
    smaller: Joint
    missing: Literal["", "reconstruction", "kl"]
    together: float
    parts: tuple[float, float, float] | None
    sigma: float | None
    likelihood: str
    batches: tuple[int, int]
    event: tuple[int, ...]
    latent: tuple[int, ...]

    @property
    def beta(self) -> float:
        """Weight of the KL relative to that of the reconstruction error."""
        return self.joint.b / self.joint.a if self.joint.a and self.missing != "reconstruction" else math.nan

    @property
    def is_combination(self) -> bool:
        """Whether a * reconstruction_error + b * kl explains the loss."""
        return max(self.reconstruction.misfit, self.kl.misfit, self.together) <= 1

    @property
    def tolerance(self) -> float:
        """Relative difference within which two weights are the same."""
        return max(3 * self.joint.relative_error, 1e-3)


def regress(view: Wrapped, blocks: Blocks, half: Blocks) -> Regression:
    """Find the readings of both terms that explain the losses, and their weights.

    Args:
        view: the model.
        blocks: losses on a batch.
        half: losses on half of it.
    """
    noise = blocks.noise
    errors, kls = reconstruction_readings(view), kl_readings(view)
    error, kl = _best(blocks.reconstruction, errors, noise), _best(blocks.kl, kls, noise)
    joint = _joint(blocks, error.reading, kl.reading)
    no_error = _absent(blocks.reconstruction, joint.a, joint.errors[0], noise)
    no_kl = _absent(blocks.kl, joint.b, joint.errors[1], noise)
    if no_error or no_kl:  # no reading fits an absent term better than the declared one
        error = Fit(errors[0], error.values, 0.0, 0.0) if no_error else error
        kl = Fit(kls[0], kl.values, 0.0, 0.0) if no_kl else kl
        joint = _joint(blocks, error.reading, kl.reading)
    together, parts = _misfit(joint.left_both, 1, blocks.both.mean, noise), None
    if not kl.explains:
        parts, together = _parts_of_kl(view, blocks, error, noise)
    return Regression(
        error,
        kl,
        joint,
        _joint(half, error.reading, kl.reading),
        "reconstruction" if no_error else "kl" if no_kl else "",
        together,
        parts,
        {SQUARED: 1.0, DECLARED: view.px_family.sigma}.get(error.reading.name),
        type(view.px_family).__name__,
        (blocks.batch, half.batch),
        tuple(blocks.both.answers[0].x.shape[1:]),
        tuple(view.latent_shape),
    )
