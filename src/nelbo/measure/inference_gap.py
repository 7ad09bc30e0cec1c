"""What the bound hides, split in two: the family of q(z|x), and the one encoder that serves all examples."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal
from torch.optim.adam import adam

from nelbo import latents
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, within_memory
from nelbo.measure.evidence import Evidence, Finite, part_by_part, unmeasured
from nelbo.measure.importance import log_weights, refuse_codes, refuse_points
from nelbo.measure.log_evidence import Method, log_evidence
from nelbo.measure.quadrature import MOST_DIMENSIONS
from nelbo.measure.rounding import rounding
from nelbo.posteriors import ConditionalFlow, DiagonalNormal, FullCovarianceNormal
from nelbo.training import Interrupted
from nelbo.vae import encoded as encoder_outputs

Family = Callable[[Tensor], Distribution]
"""h, (batch, numbers), to q."""
_DRAWS = 8  # of z, in each step of an optimization
_LEARNING_RATE = 0.05


@dataclass(frozen=True, eq=False)
class InferenceGap:
    """log p(x) - ELBO = approximation + amortization, for each example; Estimates of shape (batch,), in nats.

    Attributes:
        approximation: log p(x) - ELBO(q*), with q* the best q of the family for this example: only a richer family of
            posteriors makes it smaller.
        amortization: ELBO(q*) - ELBO(q(z|x)) >= 0: what the encoder loses by not being optimal for this example.
        total: their sum, log p(x) - ELBO = KL(q(z|x) || p(z|x)).
        elbo: of the encoder's q(z|x).
        optimized_elbo: of q*.
        log_evidence: log p(x).
        notes: warnings in words.
    """

    approximation: Estimate
    amortization: Estimate
    total: Estimate
    elbo: Estimate
    optimized_elbo: Estimate
    log_evidence: Evidence
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{name} {float(getattr(self, name).value.mean()):.2f}" for name in ("approximation", "amortization")]
        return f"InferenceGap({len(self.elbo.value):,} examples, means in nats: {' + '.join(parts)})"


@within_memory
def inference_gap(
    model: Any,
    x: Any,
    *,
    steps: int = 300,
    samples: int = 500,
    method: Method = "auto",
    evidence: Evidence | None = None,
    seed: int = 0,
    progress: bool = True,
) -> InferenceGap:
    """Log p(x) - ELBO of each example, split by optimizing q for each example by itself.

    q* is the best of three on the same fresh draws: the encoder's q(z|x), and the results of optimizations that start
    there and from q = N(0, I). So ELBO(q*) is never below the encoder's, on any example.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> gap = nelbo.measure.inference_gap(vae, torch.ones(3, 6), steps=20)
    >>> bool((gap.amortization.value >= 0).all())
    True

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``; q(z|x) is a normal,
            a flow of nelbo, or of a family of your own in a VAE.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        steps: of Adam, from each of the two starts.
        samples: fresh draws of z on which the three are compared.
        method: of log p(x); "auto" is quadrature for one or two latent dimensions, and else importance sampling from
            q*, which lies closer to p(z|x) than the encoder's q(z|x) does.
        evidence: log p(x) of the same examples, where it is known already.
        seed: of the draws, each a function of seed and example; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        InferenceGap. The amortization gap is at most the true one: an optimization can stop early.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: an autoencoder, a q(z|x) of an unknown family, data that do not fit the model.
        Interrupted: Ctrl-C; its ``partial`` holds the InferenceGap of the examples that were done, NaN for the others.

    Source: Cremer, Li & Duvenaud 2018, "Inference suboptimality in variational autoencoders", eq. 4.
    """
    if samples < 2 or steps < 1:
        raise ValueError(f"samples must be at least 2 and steps at least 1; got samples={samples} and steps={steps}")
    evaluation = evaluate(model, x, seed=seed)
    refuse_codes(evaluation.model)
    refuse_points(evaluation)
    n = len(evaluation)
    best: list[Distribution] = []

    def measure(part: Evaluation) -> Tensor:
        q, values = _best(part, steps, samples)
        best.append(q)
        return values

    def partial(values: Tensor) -> InferenceGap:
        return _gap(evaluation, values, samples, unmeasured(n) if evidence is None else evidence)

    title, numbers = "optimizing q(z|x) for each example", _DRAWS * evaluation.features
    with evaluation_mode(evaluation.model):
        values = part_by_part(title, evaluation, numbers, measure, 6, partial, progress=progress)
    try:
        if evidence is None and method == "auto" and evaluation.latent > MOST_DIMENSIONS:
            q = latents.join(best)
            latents.rows(q, slice(0, 1))  # or the parts would go back to the encoder's q(z|x) unnoticed
            evidence = _from_best(evaluation.with_posterior(q), samples, progress=progress)
        elif evidence is None:
            evidence = log_evidence(model, evaluation, method=method, progress=progress)
    except Interrupted as stop:
        raise Interrupted(f"log p(x) was {stop}", _gap(evaluation, values, samples, stop.partial)) from stop
    gap = _gap(evaluation, values, samples, evidence)
    below = gap.approximation.value < -4 * gap.approximation.standard_error - 0.01
    if not bool(below.any()):
        return gap
    note = (
        f"for {int(below.sum()):,} of {n:,} examples the optimized ELBO lies above log p(x) by {evidence.method}: that "
        "one is too low there, and the approximation gap with it"
    )
    warnings.warn(note, stacklevel=2)
    return replace(gap, notes=(*gap.notes, note))


def _best(part: Evaluation, steps: int, samples: int) -> tuple[Distribution, Tensor]:
    """q*, and (6, batch): the means of the two ELBOs and of their difference, then their errors."""
    h, family = _parameters(part)
    candidates = [h, *(_optimized(part, family, start, steps) for start in (h, torch.zeros_like(h)))]
    # the same noise for all three
    log_w = torch.stack(
        [
            torch.cat(list(log_weights(part.with_posterior(family(candidate)), "inference gap", samples)))
            for candidate in candidates
        ]
    )
    chosen, position = log_w.mean(1).argmax(0), torch.arange(len(part), device=h.device)
    best = torch.stack(candidates)[chosen, position]
    log_best = log_w[chosen, :, position].T
    each = torch.stack([log_w[0], log_best, log_best - log_w[0]])
    return family(best), torch.cat([each.mean(1), each.std(1) / sqrt(samples)])


def _gap(evaluation: Evaluation, values: Tensor, samples: int, evidence: Evidence) -> InferenceGap:
    how, errors = f"monte_carlo ({samples:,} draws of z)", values[3:].hypot(rounding(evaluation, values[0]))
    elbo, optimized, amortization = (Estimate(values[i], errors[i], how) for i in range(3))
    approximation, total = (
        Estimate(
            evidence.value - bound.value,
            (evidence.standard_error.square() + bound.standard_error.square()).sqrt(),
            f"{evidence.method} - {how}",
        )
        for bound in (optimized, elbo)
    )
    return InferenceGap(approximation, amortization, total, elbo, optimized, evidence, evidence.notes)


def _parameters(part: Evaluation) -> tuple[Tensor, Family]:
    """The numbers that make up each q(z|x), and the family that they are numbers of; zeros give (nearly) N(0, I)."""
    numbers = _numbers(part.qz)
    if numbers is not None:
        return numbers
    model = part.conditioned
    family = getattr(model, "qz_family", None)
    if family is None:
        raise ValueError(
            f"the gap is split by optimizing the parameters of q(z|x), which are known for diagonal and full normals; "
            f"got a {type(part.qz).__name__}. Let model.posterior(x) return Independent(Normal(mu, sigma), 1)"
        )
    return encoder_outputs(model, part.x, family.encoder_outputs, type(family).__name__), family


@singledispatch
def _numbers(q: Distribution) -> tuple[Tensor, Family] | None:
    """The numbers that make up q, and their family; None where none is known."""
    return None


@_numbers.register
def _(q: Independent) -> tuple[Tensor, Family] | None:
    if not latents.has_moments(q):
        return None
    return torch.cat([q.mean, 2 * q.base_dist.stddev.log()], dim=-1), DiagonalNormal(q.event_shape[0])


@_numbers.register
def _(q: MultivariateNormal) -> tuple[Tensor, Family]:
    family = FullCovarianceNormal(q.event_shape[0]).to(q.loc.device)
    below = q.scale_tril[:, family.below[0], family.below[1]]
    return torch.cat([q.loc, q.scale_tril.diagonal(dim1=-2, dim2=-1).log(), below], dim=-1), family


@_numbers.register
def _(q: ConditionalFlow) -> tuple[Tensor, Family]:
    return q.h, q.family


def _optimized(part: Evaluation, family: Family, start: Tensor, steps: int) -> Tensor:
    """The numbers of q after so many steps of Adam on the ELBO of each example; the examples do not see each other."""
    keys, model = part.keys("optimization"), part.conditioned
    with torch.enable_grad():
        h = start.detach().clone().requires_grad_()
        moments, squares, count = torch.zeros_like(h), torch.zeros_like(h), torch.zeros(())
        finite = Finite()
        for step in range(steps):
            z, log_q = latents.draw_with_log_prob(family(h), _DRAWS, keys, start=step * _DRAWS)
            log_joint = finite(model.log_likelihood(part.x, z) + part.pz.log_prob(z))
            (gradient,) = torch.autograd.grad(-(log_joint - log_q).mean(0).sum(), h)
            # one example far from any data must not become NaN, and stay so
            gradient = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            with torch.no_grad():  # the function: to make an optimizer imports torch's compiler, two seconds
                adam(
                    [h],
                    [gradient],
                    [moments],
                    [squares],
                    [],
                    [count],
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=_LEARNING_RATE * (1 - step / steps),
                    weight_decay=0.0,
                    eps=1e-8,
                    maximize=False,
                )
    finite.check()
    return h.detach()


def _from_best(evaluation: Evaluation, samples: int, *, progress: bool) -> Evidence:
    """Log p(x) by importance sampling from q*."""
    why = (
        "Importance sampling from q*, which was optimized for each example and lies closer to p(z|x) than q(z|x) does."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they stand in the notes, and speak of q(z|x)
        evidence = log_evidence(
            evaluation.model, evaluation, method="importance", samples=max(samples, 1000), progress=progress
        )
    return replace(evidence, why=why, notes=tuple(note.replace("q(z|x)", "q*") for note in evidence.notes))
