"""Log p(x) by importance sampling with q(z|x) as the proposal, and what the tail of the weights says about it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, final

import torch
from torch import Tensor

from nelbo import latents
from nelbo.devices import CPU, wide, widened
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.likelihoods import log_prob_without_gradient
from nelbo.measure.evidence import Evidence, Finite, part_by_part
from nelbo.vae import Model, fits
from nelbo.wording import advice

SAMPLES = 1000
MOST_SAMPLES = 100_000
SMALLEST_TAIL = 5
_PILOT = 250
_ADVICE = {
    "importance": 'method="mixture" draws also where q(z|x) does not, and method="annealed" draws nothing from it',
    "mixture": 'method="annealed" does not depend on the parts of p(z|x) having been found before it begins',
}


def by_importance(
    evaluation: Evaluation, *, samples: int | None, target_standard_error: float | None, why: str, progress: bool
) -> Evidence:
    """Log (1/S sum_s p(x, z_s) / q(z_s|x)) with z_s ~ q(z|x): on average a lower bound of log p(x).

    Args:
        evaluation: whose model is in evaluation mode.
        samples: S; None means 1,000, or as many as the standard error needs.
        target_standard_error: draw until each example reaches it, 100,000 draws at most.
        why: for the result.
        progress: show a bar.
    """
    _, first = _counts(samples, target_standard_error)
    return weighted(
        evaluation,
        lambda part, _: _FromPosterior(part),
        "importance",
        samples=samples,
        target_standard_error=target_standard_error,
        numbers=first * evaluation.features,
        why=why,
        progress=progress,
    )


class Proposal(Protocol):
    """What z is drawn from for some examples."""

    @property
    def part(self) -> Evaluation:
        """The examples."""
        ...

    def log_weights(self, stop: int, *, start: int = 0) -> Iterator[Tensor]:
        """Log p(x, z) less the log-density of the proposal at draws ``start`` to ``stop``, (draws, examples)."""
        ...

    def alone(self) -> Tensor:
        """Log p(x) and its standard error by the draws of each of its components alone, (2 * components, examples)."""
        ...

    def __getitem__(self, which: Tensor) -> Self:
        """The proposal of some of the examples."""
        ...


@final
@dataclass(frozen=True)
class _FromPosterior:
    """Q(z|x) as a proposal."""

    part: Evaluation

    def log_weights(self, stop: int, *, start: int = 0) -> Iterator[Tensor]:
        return log_weights(self.part, "importance", stop, start=start)

    def alone(self) -> Tensor:
        device = self.part.device
        return torch.empty(0, len(self.part), dtype=wide(device), device=device)

    def __getitem__(self, which: Tensor) -> "_FromPosterior":
        return _FromPosterior(self.part[which])


def weighted(
    evaluation: Evaluation,
    proposal: Callable[[Evaluation, int], Proposal],
    method: str,
    *,
    samples: int | None,
    target_standard_error: float | None,
    numbers: int,
    why: str,
    progress: bool,
    block: int = 1,
    components: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Evidence:
    """Log of the mean weight of each example, and what the tail of the weights says of it.

    Args:
        evaluation: whose model is in evaluation mode.
        proposal: what z is drawn from, by some examples and the number of draws to begin with.
        method: by which the weights are drawn.
        samples: of each example; None means 1,000, or as many as the standard error needs.
        target_standard_error: draw until each example reaches it, 100,000 draws at most.
        numbers: computed for one example at a time.
        why: for the result.
        progress: show a bar.
        block: draws come in multiples of it.
        components: names of what the proposal is a mixture of.
        notes: warnings in words on the proposal itself.
    """
    refuse_points(evaluation)
    most, first = (-(-count // block) * block for count in _counts(samples, target_standard_error))
    target = torch.inf if target_standard_error is None else target_standard_error
    first_of_tail = 4 + 2 * len(components)

    def evidence(values: Tensor) -> Evidence:
        log_mean, error, ess, drawn = values[:4]
        each, tails = values[4:first_of_tail].reshape(len(components), 2, len(log_mean)), values[first_of_tail:]
        k, limit = torch.full_like(log_mean, torch.nan), torch.zeros_like(log_mean)
        few = torch.zeros_like(log_mean, dtype=torch.bool)
        for count in drawn[drawn.isfinite()].unique().tolist():
            which = drawn == count
            k[which] = pareto_k(tails[: 1 + tail_length(int(count)), which])
            limit[which], few[which] = threshold(int(count)), tail_length(int(count)) < SMALLEST_TAIL
        tied, heavy = k.isnan() & drawn.isfinite() & ~few, k > limit
        alone = {
            name: Estimate(mean, its_error, "importance")
            for name, (mean, its_error) in zip(components, each, strict=True)
        }
        found = Evidence(
            log_mean,
            error,
            method,
            flagged=torch.zeros_like(few),
            why=why,
            notes=tuple(notes),
            samples=drawn,
            ess=ess,
            pareto_k=k,
            components=alone,
        )
        return found.doubted(
            (
                few,
                lambda: (
                    f"{int(drawn[few].min())} draws are too few to tell from their tail whether the importance "
                    f"weights can be relied on; write samples={SAMPLES}"
                ),
            ),
            (
                tied,
                lambda: (
                    "the tail of the importance weights is tied: more than a quarter of its weights are equal, so "
                    "Pareto k, which would tell whether they can be relied on, is NaN"
                ),
            ),
            (
                heavy,
                lambda: (
                    f"Pareto k is above {float(limit[heavy].max()):.2f} (largest {_shape(float(k[heavy].max()))}): a "
                    f"few of {int(drawn[heavy].max()):,} weights carry the sum, so log p(x) is probably too low there, "
                    f"by more than its standard error says. More draws help little; {_advised(_ADVICE[method])}"
                ),
            ),
        )

    values = part_by_part(
        "log p(x) by importance sampling",
        evaluation,
        numbers,
        lambda part: _sums(proposal(part, first), len(part), first, most, target),
        first_of_tail + 1 + tail_length(most),
        evidence,
        progress=progress,
    )
    missed = values[1] > target
    if not bool(missed.any()):
        return evidence(values).warned()
    return evidence(values).warned(
        [
            f"the standard error of {target:g} nats was not reached for {int(missed.sum()):,} of {len(missed):,} "
            f"examples with {most:,} draws (largest {float(values[1].max()):.2g})"
        ]
    )


def _shape(k: float) -> str:
    """A Pareto k in few digits, however large."""
    return f"{k:.2f}" if k < 100 else "above 100"


def _counts(samples: int | None, target: float | None) -> tuple[int, int]:
    """The most draws of an example, and those to begin with."""
    most = (SAMPLES if target is None else MOST_SAMPLES) if samples is None else samples
    if most < 2:
        raise ValueError(f"samples must be at least 2, for a standard error; got {most}. Write samples={SAMPLES}")
    return most, most if target is None else min(_PILOT, most)


def refuse_points(evaluation: Evaluation) -> None:
    """Raise a ValueError for an autoencoder, whose q(z|x) is a point."""
    if evaluation.is_point:
        raise ValueError(
            "importance sampling draws z from q(z|x), but q(z|x) is a point here, as in an autoencoder: the ELBO and "
            "every importance-weighted bound are -inf. log p(x) itself is defined by the prior and the decoder: write "
            'method="quadrature" for one or two latent dimensions, method="annealed" (from the prior) for more'
        )


def refuse_codes(model: Model) -> None:
    """Raise a TypeError where z are numbers of codes, which have no distances, densities or slopes."""
    if model.codes is not None:
        raise TypeError("z are numbers of codes; write nelbo.measure.codes(view, x)")


def log_weights(evaluation: Evaluation, purpose: str, stop: int, *, start: int = 0) -> Iterator[Tensor]:
    """Log p(x, z) - log q(z|x) at draws ``start`` to ``stop`` of z ~ q(z|x), as much at a time as memory allows.

    Yields:
        (draws, batch), on the model's device and in its widest precision.

    Raises:
        ValueError: after the last of them, if some are NaN or +inf.
    """
    keys, several = evaluation.keys(purpose), rows_at_once(len(evaluation) * evaluation.latent, on=evaluation.device)
    finite = Finite()
    for number in range(start, stop, several):
        codes, log_qz = latents.draw_with_log_prob(evaluation.qz, min(several, stop - number), keys, start=number)
        log_pz = evaluation.pz.log_prob(codes)
        yield from at_draws(evaluation, codes, log_pz, log_qz, finite)
    finite.check()


def at_draws(
    evaluation: Evaluation, codes: Tensor, log_pz: Tensor, log_proposal: Tensor, finite: Finite
) -> Iterator[Tensor]:
    """Log p(x, z) less the log-density of what z was drawn from, as much at a time as memory allows.

    Args:
        evaluation: n examples.
        codes: (draws, n, \\*latent) the z.
        log_pz: (draws, n) the log-density of the prior there.
        log_proposal: (draws, n) that of the proposal.
        finite: counts what is no log-density.

    Yields:
        (draws, n), on the model's device and in its widest precision.
    """
    model, size = evaluation.conditioned, rows_at_once(len(evaluation) * evaluation.features, on=codes.device)
    for z, log_p, log_q in zip(codes.split(size), log_pz.split(size), log_proposal.split(size), strict=True):
        px = model.likelihood(z)
        fits(px, evaluation.x, model.px_family.parameters_per_feature)
        yield widened(finite(log_prob_without_gradient(px, evaluation.x) + log_p) - log_q)


def _sums(proposal: Proposal, n: int, goal: int, most: int, target: float) -> Tensor:
    """log_mean, standard_error, ess, number of draws, what components say, and the tail of the weights, (rows, n)."""
    result = torch.full((5 + len(proposal.alone()) + tail_length(most), n), torch.nan, dtype=torch.float64)
    positions, weights = torch.arange(n), Weights(n, most, proposal.part.device)
    while True:
        for log_w in proposal.log_weights(goal, start=weights.count):
            weights.add(log_w)
        drawn = torch.full_like(weights.log_mean, weights.count)
        moments = torch.stack([weights.log_mean, weights.standard_error, weights.ess, drawn])
        rows = torch.cat([moments, proposal.alone(), weights.tail]).cpu().double()
        missed = (rows[1] > target) & (goal < most)
        result[: len(rows), positions[~missed]] = rows[:, ~missed]
        if not bool(missed.any()):
            return result
        positions, weights, proposal = positions[missed], weights[missed], proposal[missed]
        goal = min(2 * goal, most)


@final
class Weights:
    """The sums of w and w^2 over draws and the largest w, for each example; nothing else is kept.

    Args:
        batch: number of examples.
        at_most: draws for each example that may still come: the length of the tail that is kept depends on it.
        device: that of the weights. The sums lie there, in its widest precision.
    """

    def __init__(self, batch: int, at_most: int, device: torch.device = CPU) -> None:
        self.count, self.at_most = 0, at_most
        self._shift = torch.full((batch,), -torch.inf, dtype=wide(device), device=device)
        self._sum = torch.zeros_like(self._shift)
        self._squares = torch.zeros_like(self._shift)
        self._largest = self._shift.new_empty(0, batch)

    def __getitem__(self, which: Tensor) -> "Weights":
        some = Weights(0, self.at_most)
        some.count = self.count
        some._shift, some._sum, some._squares = self._shift[which], self._sum[which], self._squares[which]
        some._largest = self._largest[:, which]
        return some

    def add(self, log_w: Tensor) -> None:
        """Take in (samples, batch) logarithms of weights."""
        log_w = widened(log_w.detach())
        shift = torch.maximum(self._shift, log_w.amax(0))
        # an example whose weights are all zero so far has no scale yet
        safe = torch.where(shift.isfinite(), shift, torch.zeros_like(shift))
        old = torch.where(self._shift.isfinite(), (self._shift - safe).exp(), torch.zeros_like(safe))
        w = (log_w - safe).exp()
        self._sum = self._sum * old + w.sum(0)
        self._squares = self._squares * old**2 + w.square().sum(0)
        self._shift, self.count = shift, self.count + len(log_w)
        together = torch.cat([self._largest, log_w])
        self._largest = together.topk(min(tail_length(self.at_most) + 1, len(together)), dim=0).values

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


def tail_length(samples: int) -> int:
    """The number of largest weights that are taken for the tail: min(S / 5, 3 sqrt(S)), Vehtari et al. 2024, eq. 13."""
    return int(min(0.2 * samples, 3 * math.sqrt(samples)))


def threshold(samples: int) -> float:
    """The largest k at which S weights still give a mean with the stated error: min(1 - 1 / log10 S, 0.7).

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling", section 3.2.4.
    """
    return min(1 - 1 / math.log10(samples), 0.7) if samples > 10 else 0.0


def pareto_k(largest: Tensor) -> Tensor:
    """Shape k of a generalized Pareto distribution fitted to the excesses of the largest weights, (batch,).

    The mean of the weights has a finite variance for k < 1/2; up to :func:`threshold` it is still reliable in practice.

    Args:
        largest: (tail + 1, batch) logarithms of the largest weights; the smallest of them is the threshold.

    Returns:
        (batch,), float64; 0 where the weights do not vary. NaN where the tail has fewer than 5 weights, or where more
        than a quarter of it is tied at its lower end, which no generalized Pareto distribution is.

    Source: Zhang & Stephens 2009, "A new and efficient estimation method for the generalized Pareto distribution";
    the prior that draws k to 1/2 by ten observations: Vehtari et al. 2024, appendix C.
    """
    ordered = largest.double().sort(0).values
    n = len(ordered) - 1
    if n < SMALLEST_TAIL:
        return torch.full(ordered.shape[1:], torch.nan, dtype=torch.float64)
    weights = (ordered - ordered[-1]).exp()
    excess = weights[1:] - weights[0]
    quarter = int(n / 4 + 0.5)
    tied = ordered[quarter + 1] <= ordered[1]
    constant = excess[-1] <= 1e-10
    vast = ~tied & (excess[quarter - 1] <= 0)  # the largest weight is more than float64 holds above the others
    excess = torch.where(constant, torch.ones_like(excess), excess.clamp(min=1e-300))

    points = 30 + int(math.sqrt(n))
    j = torch.arange(1, points + 1, dtype=torch.float64)[:, None]
    b = (1 - (points / (j - 0.5)).sqrt()) / (3 * excess[quarter - 1]) + 1 / excess[-1]
    k = torch.stack([torch.log1p(-row * excess).mean(0) for row in b])
    likelihood = n * ((-b / k).log() - k - 1)
    posterior = torch.softmax(likelihood.nan_to_num(nan=-torch.inf), 0)
    b_mean = (posterior * b.nan_to_num()).sum(0)
    shape = torch.log1p(-b_mean * excess).mean(0)
    shape = (n * shape + 10 * 0.5) / (n + 10)
    shape = torch.where(tied, torch.nan, torch.where(vast, torch.inf, shape))
    return torch.where(constant, 0.0, shape)


def _advised(other_method: str) -> str:
    return advice(other_method, f"in Python, nelbo.measure.log_evidence(run, x, ...) with {other_method}")
