"""What a loss function really weighs: its two terms are varied independently, and the loss is regressed on them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nelbo.diagnosis import reasons
from nelbo.diagnosis.loss_calls import Answers, LossFunction, Role
from nelbo.diagnosis.readings import DECLARED, SQUARED, Reading, components, kl_readings, reconstruction_readings
from nelbo.diagnosis.reasons import Cause
from nelbo.divergences import Estimate
from nelbo.foreign.view import Wrapped, seen_as_foreign
from nelbo.objectives import Objective
from nelbo.training.seeds import own_randomness, seed_noise
from nelbo.vae import VAE

_POINTS = 8  # answers in each block: one term varied, the other, both
_REPEATS = 2  # evaluations of each, by which a loss that draws at random shows its noise
_LARGEST = 128
_MISFIT = 2e-3  # of the spread of the loss within a block that a fit may leave: float32 leaves 1e-5
_ROUNDING = 3e-7
_FALSE_ALARM = 1e-4


@dataclass(frozen=True, eq=False)
class EffectiveBeta:
    """loss = a * reconstruction_error + b * kl + c, as measured; beta = b / a.

    Attributes:
        beta: the weight of the KL relative to the reconstruction error, with its standard error: the loss is the
            negative ELBO, times a number, if it is 1.
        a: weight of the reconstruction error, a mean over the batch of nats summed over features.
        b: weight of the KL, likewise, summed over latents.
        c: what is left where both are 0.
        r2: share of the loss's variance that the combination explains.
        is_combination: whether nothing is left but the loss's own noise and rounding.
        reconstruction: what the reconstruction term is: "declared" (the model's likelihood), another error, "unknown".
        kl: what the KL term is: "declared", another reading of it, "unknown".
        sigma: for a squared error, the standard deviation of the normal likelihood under which beta would be 1.
        cause: what the weights come from, as a stable name.
        reason: the same in words.
        evaluations: how often the loss was evaluated.
    """

    beta: Estimate
    a: Estimate
    b: Estimate
    c: float
    r2: float
    is_combination: bool
    reconstruction: str
    kl: str
    sigma: float | None
    cause: Cause
    reason: str
    evaluations: int

    def __str__(self) -> str:
        numbers = ", ".join(
            f"{name} = {float(e):.4g} ± {float(e.standard_error):.1g}"
            for name, e in (("beta", self.beta), ("a", self.a), ("b", self.b))
        )
        return f"{numbers} (r2 = {self.r2:.6f}, {self.evaluations} evaluations)\n{self.reason}"


def effective_beta(
    loss_fn: Callable[..., Any] | Objective,
    model: VAE,
    x: Tensor,
    *,
    arguments: Sequence[Role] | None = None,
    seed: int = 0,
) -> EffectiveBeta:
    """Measure which weights a loss function gives to its two terms.

    loss = a * reconstruction_error + b * kl + c, fitted by least squares to the loss at answers of encoder and decoder
    that are chosen so that first one term varies, then the other, then both. beta = b / a. The weights are measured
    for two sizes of the batch, which tells sums over it from means.

    The loss is evaluated in training mode; the model, its running statistics, counters and the caller's randomness are
    as they were afterwards.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,)).model
    >>> x = torch.bernoulli(torch.full((64, 6), 0.5))
    >>> weighed = nelbo.diagnosis.effective_beta(nelbo.objectives.Beta(4.0), vae, x)
    >>> round(float(weighed.beta), 3), weighed.is_combination
    (4.0, True)

    Args:
        loss_fn: one of ``loss_function(recon_x, x, mu, logvar)`` (told by the names of its arguments, or as
            ``arguments`` says), ``loss(model, x)``, ``loss(x)`` such as a model whose forward gives its loss,
            ``module.training_step`` of Lightning, an objective of nelbo. It returns a scalar, a dict or an object with
            ``loss``, or a tuple that starts with it.
        model: a model from ``nelbo.wrap``, or a nelbo.VAE.
        x: (batch, \\*event), examples as in training; at most the first 128 are used.
        arguments: the roles of the function's arguments, in order, of "reconstruction", "x", "mu", "second" (the
            encoder's second output), "z", "model".
        seed: of the answers that are chosen.

    Returns:
        EffectiveBeta.

    Raises:
        TypeError: the loss is no function, or the model no VAE.
        ValueError: the loss fails, returns no scalar, or never calls the model's parts; the message says what to write.
    """
    if not isinstance(model, VAE):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"effective_beta takes a model from nelbo.wrap or a nelbo.VAE, got {type(model).__name__}; write "
            "nelbo.wrap(encode=model.encode, decode=model.decode, likelihood=..., x=x)"
        )
    if x.dim() < 2 or len(x) < 8:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (batch, *event) with 8 or more examples")
    own = isinstance(loss_fn, Objective) or not isinstance(model, Wrapped)
    view: Wrapped = seen_as_foreign(model) if own else model  # pyright: ignore[reportAssignmentType]
    loss = LossFunction(loss_fn, view, model, arguments)
    x = view.fitting(x)[:_LARGEST]
    with torch.no_grad(), own_randomness(x.device):
        seed_noise(x.device, seed)
        whole, half = (_measured(loss, view, x[:n], seed) for n in (len(x), len(x) // 2))
    return _weighed(view, whole, half)


class _Block(NamedTuple):
    """The loss at answers among which one or both terms vary."""

    answers: list[Answers]
    losses: np.ndarray
    """(points, repeats)."""

    @property
    def mean(self) -> np.ndarray:
        return self.losses.mean(1)


class _Blocks(NamedTuple):
    reconstruction: _Block
    kl: _Block
    both: _Block
    batch: int

    @property
    def noise(self) -> float:
        """Standard deviation of one evaluation at the same answers."""
        within = np.concatenate([block.losses.var(1, ddof=1) for block in self[:3]])  # pyright: ignore[reportAttributeAccessIssue]
        return float(np.sqrt(within.mean()))


def _measured(loss: LossFunction, view: Wrapped, x: Tensor, seed: int) -> _Blocks:
    choose = _Choice(view, x)
    if not math.isfinite(loss(choose.answers(0.5, 0.5), seed)):
        raise ValueError(
            "the loss is NaN or infinite at harmless answers (decoded values near the model's own, spreads of about "
            "0.5); look for a logarithm or a root of the encoder's output, or of a probability of 0"
        )
    grid = torch.linspace(0, 1, _POINTS).tolist()
    shuffled = [grid[i] for i in torch.randperm(_POINTS).tolist()]
    plans = ([(u, None) for u in grid], [(None, v) for v in grid], list(zip(grid, shuffled, strict=True)))
    fixed = choose.answers(0.5, 0.5)
    blocks: list[_Block] = []
    for plan in plans:
        answers = [choose.answers(u, v, fixed) for u, v in plan]
        losses = [[loss(a, seed + 1 + repeat * 1000 + i) for repeat in range(_REPEATS)] for i, a in enumerate(answers)]
        blocks.append(_Block(answers, np.array(losses, dtype=float)))
    first, second, both = blocks
    return _Blocks(first, second, both, len(x))


class _Choice:
    """Answers of encoder and decoder, from near what the model itself says of x to far from it."""

    def __init__(self, view: Wrapped, x: Tensor) -> None:
        self.view, self.x = view, x
        with view.running():
            encoded = view.encoding.call(x)
            layout = view.encoding.layout
            if layout is None:
                raise ValueError(
                    "encode returns a distribution that is no diagonal normal, and only the two outputs of one can be "
                    "stood in for; there is no effective beta to measure"
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

    def _encoded(self, wide: float) -> tuple[Tensor, Tensor]:
        """Means of about this size; spreads that are positive, so that every reading of them exists."""
        kind = self.view.encoding.second
        mean = 2 * wide * torch.randn_like(self.mean) + 0.01
        none = 1.0 if kind in ("sigma", "variance") else 0.02  # the spread at which there is next to no KL
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
        if decoding.scale.holds is None and not self.squashed:
            size = self.x.std() if decoding.output == "mean" else 1.0
            disturbed = value + 2 * far * size * torch.randn_like(value)
            return decoding.place.write(self.template, disturbed)
        squash, back = (torch.sigmoid, torch.logit) if self.squashed else (torch.exp, torch.log)
        inner = back(value.clamp(1e-3, 1 - 1e-3) if self.squashed else value.clamp(min=1e-3))
        disturbed = (1 - 0.5 * far) * inner + 2 * far * torch.randn_like(value)
        return decoding.place.write(self.template, squash(disturbed.clamp(-6, 6)))


class _Fit(NamedTuple):
    reading: Reading
    values: np.ndarray
    slope: float
    misfit: float
    """Standard deviation of what is left, over what noise and rounding explain and a fit may leave; good below 1."""


def _best(block: _Block, readings: list[Reading], noise: float) -> _Fit:
    """The first reading that explains the block, else the one that leaves least."""
    fits = [_fit(block, reading, noise) for reading in readings]
    return next((fit for fit in fits if fit.misfit <= 1), min(fits, key=lambda fit: fit.misfit))


def _fit(block: _Block, reading: Reading, noise: float) -> _Fit:
    values = np.array([reading.value(a) for a in block.answers])
    if not np.isfinite(values).all() or values.std() == 0:
        return _Fit(reading, values, 0.0, math.inf)
    design = np.stack([values, np.ones_like(values)], axis=1)
    (slope, offset), *_ = np.linalg.lstsq(design, block.mean, rcond=None)
    left = block.mean - slope * values - offset
    return _Fit(reading, values, float(slope), _misfit(left, 2, block.mean, noise))


def _misfit(left: np.ndarray, parameters: int, losses: np.ndarray, noise: float) -> float:
    free = len(left) - parameters
    deviation = math.sqrt(float(left @ left) / free)
    return deviation / (_MISFIT * float(losses.std()) + _rounding(losses) + _beyond(free, noise))


def _rounding(losses: np.ndarray) -> float:
    return _ROUNDING * float(np.abs(losses).max())


def _beyond(free: int, noise: float) -> float:
    """How far means of evaluations scatter by noise alone, but for a probability of _FALSE_ALARM (F test)."""
    from scipy.stats import f

    evaluations = 3 * _POINTS * (_REPEATS - 1)
    return math.sqrt(float(f.isf(_FALSE_ALARM, free, evaluations))) * noise / math.sqrt(_REPEATS)


def _absent(block: _Block, weight: float, error: float, noise: float) -> bool:
    """Whether the loss does not change while a term does: not at all, or not beyond its noise in any respect."""
    scatter = float(block.mean.std(ddof=1))
    if scatter <= _rounding(block.mean):
        return True
    return scatter <= _rounding(block.mean) + _beyond(len(block.losses) - 1, noise) and abs(weight) < 4 * error


def _weighed(view: Wrapped, blocks: _Blocks, half: _Blocks) -> EffectiveBeta:
    noise = blocks.noise
    errors, kls = reconstruction_readings(view), kl_readings(view)
    first, second = _best(blocks.reconstruction, errors, noise), _best(blocks.kl, kls, noise)
    fit = _joint(blocks, first.reading, second.reading)
    no_error = _absent(blocks.reconstruction, fit.a, fit.errors[0], noise)
    no_kl = _absent(blocks.kl, fit.b, fit.errors[1], noise)
    if no_error or no_kl:  # what is not there fits no reading better than the declared one
        first = first if not no_error else _Fit(errors[0], first.values, 0.0, 0.0)
        second = second if not no_kl else _Fit(kls[0], second.values, 0.0, 0.0)
        fit = _joint(blocks, first.reading, second.reading)
    smaller = _joint(half, first.reading, second.reading)
    weights = reasons.Weights(
        fit.a,
        fit.b,
        smaller.a,
        smaller.b,
        batch=blocks.batch,
        smaller=half.batch,
        features=blocks.both.answers[0].x[0].numel(),
        latent=view.latent,
        error=max(3 * fit.relative_error, 1e-3),
    )
    together = _misfit(fit.left_both, 1, blocks.both.mean, noise)
    parts = None
    if second.misfit > 1:
        parts, together = _parts(view, blocks, first, noise)
    is_combination = max(first.misfit, second.misfit, together) <= 1
    squared = first.reading.name == SQUARED or (
        first.reading.name == DECLARED and type(view.likelihood_family).__name__ == "Normal"
    )
    cause, reason = reasons.explain(
        weights,
        first.reading,
        second.reading,
        fits=(first.misfit <= 1, second.misfit <= 1, together <= 1),
        absent=(no_error, no_kl),
        unit_normal=first.reading.name == SQUARED or (squared and _unit(view)),
        likelihood=type(view.likelihood_family).__name__,
        parts=parts,
    )
    beta = fit.b / fit.a if fit.a and not no_error else math.nan
    sigma = math.sqrt(beta) * _sigma(view, first.reading.name) if squared and first.misfit <= 1 and beta > 0 else None
    return EffectiveBeta(
        _estimate(beta, abs(beta) * fit.relative_error if math.isfinite(beta) else math.nan),
        _estimate(fit.a, fit.errors[0]),
        _estimate(fit.b, fit.errors[1]),
        fit.c,
        fit.r2,
        is_combination,
        first.reading.name if first.misfit <= 1 else "unknown",
        second.reading.name if second.misfit <= 1 else "unknown",
        sigma,
        cause,
        reason,
        6 * _POINTS * _REPEATS + 2,
    )


class _Joint(NamedTuple):
    a: float
    b: float
    c: float
    errors: tuple[float, float]
    relative_error: float
    """Of b / a."""
    r2: float
    left_both: np.ndarray
    """What is left where both terms vary."""


def _joint(blocks: _Blocks, error: Reading, kl: Reading) -> _Joint:
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
    return _Joint(a, b, c, (errors[0], errors[1]), relative if b else 0.0, r2, left[2 * _POINTS :])


def _parts(
    view: Wrapped, blocks: _Blocks, error: _Fit, noise: float
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


def _estimate(value: float, error: float) -> Estimate:
    return Estimate(
        torch.tensor(value, dtype=torch.float64), torch.tensor(error, dtype=torch.float64), "regression of the loss"
    )


def _unit(view: Wrapped) -> bool:
    return getattr(view.likelihood_family, "scale", None) == 1


def _sigma(view: Wrapped, reading: str) -> float:
    """Sigma of the normal likelihood that the reconstruction error is measured with."""
    scale = getattr(view.likelihood_family, "scale", None)
    if reading == SQUARED:
        return 1.0
    if scale == "optimal":
        return float(view.likelihood_family.mean_square.sqrt())  # pyright: ignore[reportArgumentType, reportCallIssue]
    return float(scale) if isinstance(scale, int | float) else math.nan
