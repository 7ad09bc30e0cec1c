"""From the ELBO up to log p(x): the importance-weighted bounds of each example."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, prod, sqrt

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.estimate import Evidence, nothing_of
from nelbo.measure.evidence import log_evidence
from nelbo.measure.importance import log_weights
from nelbo.measure.inputs import AT_ONCE, checked, is_point
from nelbo.measure.waiting import Interrupted, interrupted
from nelbo.progress import ProgressBar
from nelbo.vae import Model

_GROUPS = 10
"""How many times the largest k is drawn: for a standard error."""


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


def importance_bounds(
    vae: Model,
    x: Tensor,
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
    >>> found = nelbo.measure.importance_bounds(vae, torch.ones(3, 6), samples=(1, 10))
    >>> bool((found.elbo.value <= found.bounds[10].value).all())
    True

    Args:
        vae: a VAE, or anything with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event).
        samples: the k, in rising order.
        evidence: log p(x) of the same examples, where it is known already; else ``log_evidence(vae, x)`` is called.
        seed: of the draws; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Bounds. Of an autoencoder, whose q(z|x) is a point, every bound is -inf.

    Raises:
        ValueError: ks that are not whole, positive and rising; data that do not fit the model.
        Interrupted: Ctrl-C; its ``partial`` holds the Bounds of the examples that were done, NaN for the others.

    Source: Burda, Grosse & Salakhutdinov 2016, theorem 1.
    """
    ks = tuple(samples)
    if not ks or any(k < 1 or k != int(k) for k in ks) or any(a >= b for a, b in pairwise(ks)):
        raise ValueError(f"samples are whole numbers from 1 on, in rising order; got {ks}. Write samples=(1, 10, 100)")
    with evaluation_mode(vae, seed):
        x = checked(vae, x)
        if is_point(vae.posterior(x[:1])):
            infinite = torch.full((len(x),), -torch.inf, dtype=torch.float64)
            drawn = dict.fromkeys((1, *ks), Estimate(infinite, torch.zeros_like(infinite), "closed_form"))
        else:
            drawn = _drawn(vae, x, ks, evidence, progress=progress)
    bounds = {k: drawn[k] for k in ks}
    try:
        found = log_evidence(vae, x, seed=seed, progress=progress) if evidence is None else evidence
    except Interrupted as stop:
        raise Interrupted(f"log p(x) was {stop}", Bounds(ks, bounds, drawn[1], stop.partial)) from stop
    if drawn[1].method == "closed_form":
        return Bounds(ks, bounds, drawn[1], found, found.notes)
    notes = [*found.notes]
    highest = bounds[ks[-1]]
    above = highest.value - found.value
    error = (highest.standard_error.square() + found.standard_error.square()).sqrt()
    if found.method != "quadrature" and bool((wrong := above > 5 * error + 0.01).any()):
        notes.append(
            f"for {int(wrong.sum()):,} of {len(x):,} examples L_{ks[-1]} lies above log p(x) as found by "
            f"{found.method}: that one is too low there"
        )
        warnings.warn(notes[-1], stacklevel=2)
    return Bounds(ks, bounds, drawn[1], found, tuple(notes))


def _drawn(
    model: Model, x: Tensor, ks: tuple[int, ...], evidence: Evidence | None, *, progress: bool
) -> dict[int, Estimate]:
    """The estimate of L_k for every k, and for 1."""
    total = _GROUPS * ks[-1]
    rows = max(1, AT_ONCE // prod(x.shape[1:]))
    pz = model.prior
    values = {k: torch.full((2, len(x)), torch.nan, dtype=torch.float64) for k in (1, *ks)}
    done = 0
    with ProgressBar("importance-weighted bounds", len(x), show=progress) as bar:
        try:
            for block in x.split(max(1, rows // total)):
                qz = model.posterior(block)
                chunk = max(1, rows // len(block))
                counts = [chunk] * (total // chunk) + [total % chunk] * (total % chunk > 0)
                log_w = torch.cat([log_weights(model, block, qz, pz, count).double().cpu() for count in counts])
                for k, found in values.items():
                    groups = log_w[: total - total % k].unflatten(0, (-1, k))
                    bound = torch.logsumexp(groups, 1) - log(k)
                    found[:, done : done + len(block)] = torch.stack([bound.mean(0), bound.std(0) / sqrt(len(bound))])
                done += len(block)
                bar.advance(len(block))
        except KeyboardInterrupt as error:
            made = _estimates(values, total)
            known = nothing_of(len(x)) if evidence is None else evidence
            partial = Bounds(ks, {k: made[k] for k in ks}, made[1], known)
            raise interrupted(partial, done, len(x)) from error
    return _estimates(values, total)


def _estimates(values: dict[int, Tensor], total: int) -> dict[int, Estimate]:
    return {
        k: Estimate(found[0], found[1], f"monte_carlo ({total // k:,} groups of {k:,} draws of z)")
        for k, found in values.items()
    }
