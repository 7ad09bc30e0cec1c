"""The weights that a loss function gives to its two terms: both are varied, and the loss is regressed on them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nelbo.data import as_batch
from nelbo.diagnosis import reasons
from nelbo.diagnosis.loss_calls import LossFunction, Role
from nelbo.diagnosis.probing import POINTS, REPEATS, Blocks, probe
from nelbo.diagnosis.reasons import Cause
from nelbo.diagnosis.regression import regress
from nelbo.estimate import Estimate
from nelbo.objectives import Objective
from nelbo.randomness import own_randomness, seed_noise
from nelbo.vae import as_model, at_condition, placed
from nelbo.wrapping.view import Wrapped, as_wrapped

_LARGEST = 128


@dataclass(frozen=True, eq=False)
class EffectiveBeta:
    """loss = a * reconstruction_error + b * kl + c, as measured; beta = b / a.

    Attributes:
        beta: the weight of the KL relative to the reconstruction error, with its standard error: the loss is the
            negative ELBO, times a number, if it is 1.
        a: weight of the reconstruction error, a mean over the batch of nats summed over features.
        b: weight of the KL, likewise, summed over latents.
        c: the loss where both are 0.
        r2: share of the loss's variance that the combination explains.
        is_combination: whether nothing is left but the loss's own noise and rounding.
        reconstruction: the reconstruction term: "declared" (the model's likelihood), another error, or "unknown".
        kl: the KL term: "declared", another reading of it, or "unknown".
        sigma: for a squared error, the standard deviation of the normal likelihood under which beta would be 1.
        cause: of the weights, as a stable name.
        reason: the same in words.
        evaluations: number of evaluations of the loss.
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
    model: Any,
    x: Any,
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
    >>> vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,))
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
        x: (batch, \\*event), examples as in training, or a ``Batch`` of them with their conditions; at most the first
            128 are used.
        arguments: the roles of the function's arguments, in order, of "reconstruction", "x", "mu", "spread" (the
            encoder's second output), "z", "model".
        seed: of the answers that are chosen.

    Returns:
        EffectiveBeta.

    Raises:
        TypeError: the loss is not a function, or the model has no encoder and decoder to replace.
        ValueError: the loss fails, does not return a scalar, or never calls the model's parts; the message says what
            to write.
    """
    model = as_model(model)
    batch = placed(model, as_batch(x))[:_LARGEST]
    if len(batch) < 8:
        raise ValueError(f"x must hold 8 or more examples, got shape {tuple(batch.x.shape)}")
    views: list[Wrapped] = []
    blocks: list[Blocks] = []
    with torch.no_grad(), own_randomness(batch.x.device):
        seed_noise(batch.x.device, seed)
        for part in (batch, batch[: len(batch) // 2]):
            given = at_condition(model, part)
            views.append(as_wrapped(given, len(part)))
            loss = LossFunction(loss_fn, views[-1], given, arguments)
            blocks.append(probe(loss, views[-1], part.x, seed))
    regression = regress(views[0], *blocks)
    cause, reason = reasons.explain(regression)
    error, kl, joint, beta = regression.reconstruction, regression.kl, regression.joint, regression.beta
    sigma = regression.sigma if error.explains and beta > 0 else None
    return EffectiveBeta(
        _estimate(beta, abs(beta) * joint.relative_error if math.isfinite(beta) else math.nan),
        _estimate(joint.a, joint.errors[0]),
        _estimate(joint.b, joint.errors[1]),
        joint.c,
        joint.r2,
        regression.is_combination,
        error.reading.name if error.explains else "unknown",
        kl.reading.name if kl.explains else "unknown",
        None if sigma is None else math.sqrt(beta) * sigma,
        cause,
        reason,
        6 * POINTS * REPEATS + 4,
    )


def _estimate(value: float, error: float) -> Estimate:
    return Estimate.number(value, error, "regression of the loss", unit="")
