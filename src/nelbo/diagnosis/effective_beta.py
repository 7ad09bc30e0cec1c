"""What a loss function really weighs: its two terms are varied independently, and the loss is regressed on them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.diagnosis import reasons
from nelbo.diagnosis.loss_calls import LossFunction, Role
from nelbo.diagnosis.probing import POINTS, REPEATS, Blocks, probe
from nelbo.diagnosis.readings import DECLARED, SQUARED, kl_readings, reconstruction_readings
from nelbo.diagnosis.reasons import Cause
from nelbo.diagnosis.regression import Fit, absent, best, joint, misfit, parts_of_kl
from nelbo.estimate import Estimate
from nelbo.foreign.view import Wrapped, seen_as_foreign
from nelbo.objectives import Objective
from nelbo.randomness import own_randomness, seed_noise
from nelbo.vae import VAE

_LARGEST = 128


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
        whole, half = (probe(loss, view, x[:n], seed) for n in (len(x), len(x) // 2))
    return _weighed(view, whole, half)


def _weighed(view: Wrapped, blocks: Blocks, half: Blocks) -> EffectiveBeta:
    noise = blocks.noise
    errors, kls = reconstruction_readings(view), kl_readings(view)
    first, second = best(blocks.reconstruction, errors, noise), best(blocks.kl, kls, noise)
    fit = joint(blocks, first.reading, second.reading)
    no_error = absent(blocks.reconstruction, fit.a, fit.errors[0], noise)
    no_kl = absent(blocks.kl, fit.b, fit.errors[1], noise)
    if no_error or no_kl:  # what is not there fits no reading better than the declared one
        first = first if not no_error else Fit(errors[0], first.values, 0.0, 0.0)
        second = second if not no_kl else Fit(kls[0], second.values, 0.0, 0.0)
        fit = joint(blocks, first.reading, second.reading)
    smaller = joint(half, first.reading, second.reading)
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
    together = misfit(fit.left_both, 1, blocks.both.mean, noise)
    parts = None
    if second.misfit > 1:
        parts, together = parts_of_kl(view, blocks, first, noise)
    is_combination = max(first.misfit, second.misfit, together) <= 1
    # of the normal likelihood that the reconstruction error is measured with
    unit = {SQUARED: 1.0, DECLARED: view.px_family.sigma}.get(first.reading.name)
    cause, reason = reasons.explain(
        weights,
        first.reading,
        second.reading,
        fits=(first.misfit <= 1, second.misfit <= 1, together <= 1),
        absent=(no_error, no_kl),
        unit_normal=unit == 1,
        likelihood=type(view.px_family).__name__,
        parts=parts,
    )
    beta = fit.b / fit.a if fit.a and not no_error else math.nan
    sigma = math.sqrt(beta) * unit if unit is not None and first.misfit <= 1 and beta > 0 else None
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
        6 * POINTS * REPEATS + 2,
    )


def _estimate(value: float, error: float) -> Estimate:
    return Estimate(
        torch.tensor(value, dtype=torch.float64), torch.tensor(error, dtype=torch.float64), "regression of the loss"
    )
