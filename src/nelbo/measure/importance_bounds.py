"""From the ELBO up to log p(x): the importance-weighted bounds of each example."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, sqrt
from typing import Any

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, within_memory
from nelbo.measure.evidence import Evidence, part_by_part, unmeasured
from nelbo.measure.importance import log_weights
from nelbo.measure.log_evidence import log_evidence
from nelbo.measure.rounding import rounding
from nelbo.training import Interrupted

_GROUPS = 10
"""Groups of the largest k that are drawn, for a standard error."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """ELBO = L_1 <= L_k <= log p(x) for each example; Estimates of shape (batch,), in nats.

    Attributes:
        samples: the k.
        bounds: for each k, L_k = E[log 1/k sum w]; a lower bound of log p(x).
        elbo: L_1.
        log_evidence: log p(x), to which they rise.
        notes: warnings in words.
    """

    samples: tuple[int, ...]
    bounds: dict[int, Estimate]
    elbo: Estimate
    log_evidence: Evidence
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        means = [f"L_{k} {float(bound.value.mean()):.2f}" for k, bound in self.bounds.items()]
        last = f"log p(x) {float(self.log_evidence.value.mean()):.2f} ({self.log_evidence.method})"
        return f"Bounds({len(self.elbo.value):,} examples, means in nats: {', '.join([*means, last])})"


@within_memory
def importance_bounds(
    model: Any,
    x: Any,
    samples: Sequence[int] = (1, 10, 100, 1000),
    *,
    evidence: Evidence | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Bounds:
    """L_k = E[log 1/k sum_i p(x, z_i) / q(z_i|x)] with z_1..z_k ~ q(z|x), for each example and each k, in nats.

    All L_k are estimated on the same draws, ten times as many as the largest k, in groups of k. Where each k divides
    the next, the estimates rise with k for certain, as the bounds themselves do.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> bounds = nelbo.measure.importance_bounds(vae, torch.ones(3, 6), samples=(1, 10))
    >>> bool((bounds.elbo.value <= bounds.bounds[10].value).all())
    True

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        samples: the k, in rising order.
        evidence: log p(x) of the same examples, where it is known already; else ``log_evidence(model, x)`` is called.
        seed: of the draws, each a function of seed and example; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Bounds. Of an autoencoder, whose q(z|x) is a point, every bound is -inf.

    Raises:
        ValueError: k that are not positive integers in rising order; data that do not fit the model.
        Interrupted: Ctrl-C; its ``partial`` holds the Bounds of the examples that were done, NaN for the others.

    Source: Burda, Grosse & Salakhutdinov 2016, theorem 1.
    """
    ks = tuple(samples)
    if not ks or any(k < 1 or k != int(k) for k in ks) or any(a >= b for a, b in pairwise(ks)):
        raise ValueError(f"samples must be positive integers in rising order, got {ks}. Write samples=(1, 10, 100)")
    evaluation = evaluate(model, x, seed=seed)
    n = len(evaluation)
    bounds = _bounds(evaluation, ks, unmeasured(n) if evidence is None else evidence, progress=progress)
    try:
        evidence = log_evidence(model, evaluation, seed=seed, progress=progress) if evidence is None else evidence
    except Interrupted as stop:
        raise Interrupted(f"log p(x) was {stop}", replace(bounds, log_evidence=stop.partial)) from stop
    notes = list(evidence.notes)
    highest = bounds.bounds[ks[-1]]
    error = (highest.standard_error.square() + evidence.standard_error.square()).sqrt()
    above = highest.value - evidence.value > 5 * error + 0.01
    if evidence.method != "quadrature" and bool(above.any()):
        notes.append(
            f"for {int(above.sum()):,} of {n:,} examples L_{ks[-1]} lies above log p(x) by {evidence.method}, which is "
            "too low there"
        )
        warnings.warn(notes[-1], stacklevel=2)
    return replace(bounds, log_evidence=evidence, notes=tuple(notes))


def _bounds(evaluation: Evaluation, ks: tuple[int, ...], evidence: Evidence, *, progress: bool) -> Bounds:
    """The estimate of L_k for every k, and for 1."""
    total, each = _GROUPS * ks[-1], tuple(dict.fromkeys((1, *ks)))

    def measure(part: Evaluation) -> Tensor:
        log_w = torch.cat(list(log_weights(part, "bounds", total)))
        rows: list[Tensor] = []
        for k in each:
            bound = torch.logsumexp(log_w[: total - total % k].unflatten(0, (-1, k)), 1) - log(k)
            rows += [bound.mean(0), bound.std(0) / sqrt(len(bound))]
        return torch.stack(rows)

    def bounds(values: Tensor) -> Bounds:
        rounded = rounding(evaluation, values[0])
        drawn = {
            k: Estimate(mean, error.hypot(rounded), f"monte_carlo ({total // k:,} groups of {k:,} draws of z)")
            for k, (mean, error) in zip(each, values.unflatten(0, (-1, 2)), strict=True)
        }
        return Bounds(ks, {k: drawn[k] for k in ks}, drawn[1], evidence)

    if evaluation.is_point:
        infinite = Estimate.exactly(torch.full((len(evaluation),), -torch.inf, dtype=torch.float64))
        return Bounds(ks, dict.fromkeys(ks, infinite), infinite, evidence)
    numbers = total * evaluation.features
    with evaluation_mode(evaluation.model):
        rows = 2 * len(each)
        title = "importance-weighted bounds"
        return bounds(part_by_part(title, evaluation, numbers, measure, rows, bounds, progress=progress))
