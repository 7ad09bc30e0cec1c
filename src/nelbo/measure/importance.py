"""Log p(x) by importance sampling with q(z|x) as the proposal."""

import warnings
from collections.abc import Callable, Generator
from math import prod

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.likelihoods import log_prob_without_gradient
from nelbo.measure.estimate import Evidence, padded
from nelbo.measure.inputs import AT_ONCE, chosen, finite, is_point
from nelbo.measure.pareto import pareto_k, threshold
from nelbo.measure.waiting import interrupted
from nelbo.measure.weights import Weights
from nelbo.progress import ProgressBar
from nelbo.vae import VAE, Model, fits

SAMPLES = 1000
MOST_SAMPLES = 100_000
_PILOT = 250
_ENCODED_AT_ONCE = 1000


def by_importance(
    model: Model,
    x: Tensor,
    *,
    samples: int | None,
    target_standard_error: float | None,
    why: str,
    progress: bool,
    proposal: Callable[[slice], Distribution] | None = None,
) -> Evidence:
    """Log (1/S sum_s p(x, z_s) / q(z_s|x)) with z_s ~ q(z|x): on average a lower bound of log p(x).

    Args:
        model: at rest.
        x: (batch, \\*event), checked.
        samples: S; None means 1,000, or as many as the wanted standard error needs.
        target_standard_error: draw until it is reached for every example, 100,000 draws at the most.
        why: for the result.
        progress: show a bar.
        proposal: another q, for the examples of a slice.
    """
    most = (SAMPLES if target_standard_error is None else MOST_SAMPLES) if samples is None else samples
    first = most if target_standard_error is None else min(_PILOT, most)
    target = torch.inf if target_standard_error is None else target_standard_error
    if most < 2:
        raise ValueError(f"samples is at least 2, for a standard error; got {most}. Write samples={SAMPLES}")
    pz = model.prior
    done: list[Weights] = []
    rows = max(1, AT_ONCE // prod(x.shape[1:]))
    together_at_once = max(1, rows // max(1, first))
    with ProgressBar("log p(x) by importance sampling", len(x), show=progress) as bar:
        try:
            for part, q in _parts(model, x, together_at_once, proposal):
                block = x[part]
                weights = Weights(len(block), most)
                goal = first
                while weights.count < goal:
                    count = min(goal - weights.count, max(1, rows // len(block)))
                    weights.add(log_weights(model, block, q, pz, count))
                    if weights.count == goal < most and bool((weights.standard_error > target).any()):
                        goal = min(2 * goal, most)
                done.append(weights)
                bar.advance(len(block))
        except KeyboardInterrupt as error:
            found = [] if not done else [_evidence(done, why)]
            finished = sum(len(weights) for weights in done)
            raise interrupted(padded(found, len(x)), finished, len(x)) from error
    return _with_notes(_evidence(done, why), most, target_standard_error)


def log_weights(model: Model, x: Tensor, qz: Distribution, pz: Distribution, count: int) -> Tensor:
    """Log p(x, z) - log q(z|x) at fresh z ~ q(z|x), (count, batch)."""
    z, log_qz = latents.draw_with_log_prob(qz, count)
    if z.requires_grad:
        log_px = model.log_likelihood(x, z)
    else:
        px = model.likelihood(z)
        fits(px, x, model.px_family.parameters_per_feature if isinstance(model, VAE) else 1)
        log_px = log_prob_without_gradient(px, x)
    return finite(log_px + pz.log_prob(z)) - log_qz


def _parts(
    model: Model, x: Tensor, size: int, proposal: Callable[[slice], Distribution] | None
) -> Generator[tuple[slice, Distribution]]:
    """Slices of the examples with their q(z|x); every example is encoded once."""

    def posterior(part: slice) -> Distribution:
        return model.posterior(x[part]) if proposal is None else proposal(part)

    pickable = chosen(posterior(slice(0, 1)), slice(0, 1)) is not None
    encoded = max(size, _ENCODED_AT_ONCE) if pickable else size
    for start in range(0, len(x), encoded):
        end = min(start + encoded, len(x))
        qz = posterior(slice(start, end))
        for first in range(start, end, size):
            part = slice(first, min(first + size, end))
            yield part, chosen(qz, slice(first - start, part.stop - start)) if pickable else qz


def refuse_points(qz: Distribution) -> None:
    """Raise a ValueError for an autoencoder, from whose q(z|x) nothing can be drawn but one point."""
    if is_point(qz):
        raise ValueError(
            "importance sampling draws z from q(z|x), but q(z|x) is a point here, as in an autoencoder: the ELBO and "
            "every importance-weighted bound are -inf. log p(x) itself is defined by the prior and the decoder: write "
            'method="quadrature" for one or two latent dimensions, method="annealed" (from the prior) for more'
        )


def _evidence(done: list[Weights], why: str) -> Evidence:
    log_mean = torch.cat([weights.log_mean for weights in done])
    return Evidence(
        log_mean,
        torch.cat([weights.standard_error for weights in done]),
        "importance",
        why=why,
        samples=torch.cat([torch.full_like(weights.log_mean, weights.count) for weights in done]),
        ess=torch.cat([weights.ess for weights in done]),
        pareto_k=_pareto_k([weights.tail for weights in done]),
    )


def _pareto_k(tails: list[Tensor]) -> Tensor:
    """Of each example, (batch,): tails of one length are fitted together, which takes no longer than for one."""
    found = [torch.empty(0)] * len(tails)
    for length in {len(tail) for tail in tails}:
        which = [i for i, tail in enumerate(tails) if len(tail) == length]
        k = pareto_k(torch.cat([tails[i] for i in which], dim=1))
        for i, part in zip(which, k.split([tails[i].shape[1] for i in which]), strict=True):
            found[i] = part
    return torch.cat(found)


def _with_notes(found: Evidence, most: int, target: float | None) -> Evidence:
    n, k, samples = len(found.value), found.pareto_k, found.samples
    assert k is not None
    assert samples is not None
    notes: list[str] = []
    limit = torch.tensor([threshold(int(count)) for count in samples.tolist()], dtype=torch.float64)
    bad = int((k > limit).sum())
    if bool(k.isnan().any()):
        notes.append(
            f"{int(samples.min())} draws are too few to tell from their tail whether the importance weights can be "
            f"relied on; write samples={SAMPLES}"
        )
    if bad:
        worst = float(k.nan_to_num(nan=-torch.inf).max())
        notes.append(
            f"for {bad:,} of {n:,} examples Pareto k is above {float(limit.max()):.2f} (largest {worst:.2f}): a few "
            f"of {int(samples.max()):,} weights carry the sum, so log p(x) is probably too low there, by more than its "
            f'standard error says. More draws help little; method="annealed" does not depend on q(z|x) covering p(z|x)'
        )
    if target is not None and bool((missed := found.standard_error > target).any()):
        notes.append(
            f"the wanted standard error of {target:g} nats was not reached for {int(missed.sum()):,} of {n:,} examples "
            f"with {most:,} draws (largest {float(found.standard_error.max()):.2g})"
        )
    return warned(found, notes)


def warned(found: Evidence, notes: list[str]) -> Evidence:
    """The same evidence with these notes, each also given as a warning."""
    from dataclasses import replace

    for note in notes:
        warnings.warn(note, stacklevel=5)
    return replace(found, notes=(*found.notes, *notes))
