"""What a model with discrete codes costs in nats, and how it uses its codebooks."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, rows_at_once, within_memory
from nelbo.measure.enumeration import MOST_COMBINATIONS, combinations
from nelbo.measure.log_evidence import log_evidence
from nelbo.wrapping.codes import Coded, per_position

_PRIOR_COUNT = 0.5
"""Added to each count of a frequency table, so that no code is impossible (Krichevsky & Trofimov 1981)."""
_MOST_PRODUCTS = 1e11  # examples times combinations times features: some seconds


@dataclass(frozen=True, eq=False)
class Codes:
    """The negative ELBO of a model with discrete codes, and the use of its codebooks, over n examples.

    log p(x) >= log p(x|k) + log p(k) for the codes k of x: it is one term of the sum over all combinations of codes,
    and the ELBO of an encoder whose q(k|x) has all probability on k, for which KL(q || p) = -log p(k).

    Attributes:
        elbo: of each example, (n,), under the model's p(codes), in nats; a lower bound of log p(x).
        reconstruction_error: mean of -log p(x|codes), in nats.
        rate: mean of -log p(codes) under the model's p(codes), in nats.
        nelbo: their sum.
        learned_rate: the same under a table of the frequencies at each position, counted on other examples.
        learned_nelbo: the reconstruction error and the learned rate.
        log_px: mean of the exact log p(x), by enumeration; None where that would take too long.
        perplexity: of each codebook, (books,): exp of the entropy of the codes over all of its positions.
        perplexity_per_position: (positions,).
        used: of each codebook, (books,) how many of its codes occur.
        used_per_position: (positions,).
        size: (books,) how many codes there are.
        counts: (positions, K) int64, how often each code occurs at each position.
        distinct: (books,) how many codes an example uses, summed over the examples: for what chance alone leaves out.
        learned_prior: the table, for ``view.with_prior``; counted on train, or on x.
    """

    elbo: Estimate
    reconstruction_error: Estimate
    rate: Estimate
    nelbo: Estimate
    learned_rate: Estimate
    learned_nelbo: Estimate
    log_px: Estimate | None
    perplexity: Estimate
    perplexity_per_position: Estimate
    used: Tensor
    used_per_position: Tensor
    size: Tensor
    counts: Tensor
    distinct: Tensor
    learned_prior: Distribution

    @property
    def dead(self) -> Tensor:
        """(books,) how many codes never occur."""
        return self.size - self.used

    def __str__(self) -> str:
        n, positions = len(self.elbo.value), len(self.counts)
        exact = [] if self.log_px is None else [("log p(x), exact", self.log_px.text_with_unit)]
        rows = [
            ("reconstruction error", self.reconstruction_error.text_with_unit),
            ("rate", self.rate.text_with_unit),
            ("negative ELBO", self.nelbo.text_with_unit),
            *exact,
            ("rate under learned frequencies", self.learned_rate.text_with_unit),
            ("negative ELBO with that rate", self.learned_nelbo.text_with_unit),
        ]
        for book, (size, used) in enumerate(zip(self.size.tolist(), self.used.tolist(), strict=True)):
            of = f" of codebook {book}" if len(self.size) > 1 else ""
            rows.append((f"codes used{of}", f"{used:,} of {size:,}, perplexity {self.perplexity[book].text}"))
        width = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{width}}  {value}" for name, value in rows]
        return "\n".join([f"{positions:,} codes for each of {n:,} examples; nats per example", *lines])


@within_memory
def codes(model: Any, x: Any, *, train: Any = None) -> Codes:
    """Rate and reconstruction error in nats of a model with discrete codes, and the use of its codebooks.

    Args:
        model: a view that :func:`nelbo.wrap_codes` made.
        x: (n, \\*event), or a Dataset, n of 4 or more.
        train: examples on which the frequencies of the codes are counted; None counts them on either half of x for the
            other one, so that no example is among those that its rate was learned from.

    Returns:
        Codes; printed, it is a table.

    Raises:
        TypeError: the model has no discrete codes.
        ValueError: fewer than 4 examples.

    Source: van den Oord et al. 2017, "Neural discrete representation learning" (the bound); Miller 1955 (the bias of
    an entropy that is counted).
    """
    evaluation = evaluate(model, x)
    found = use_of(evaluation, None if train is None else evaluate(evaluation.model, train))
    return replace(found, log_px=_exact(evaluation))


def use_of(evaluation: Evaluation, train: Evaluation | None = None) -> Codes:
    """All that :func:`codes` measures but for the exact log p(x)."""
    view = evaluation.model
    if not isinstance(view, Coded):
        raise TypeError(
            f"codes() needs a model with discrete codes, got {type(view).__name__}; write "
            "nelbo.measure.codes(nelbo.wrap_codes(model, x=x), x)"
        )
    if len(evaluation) < 4:
        raise ValueError(f"codes() needs 4 or more examples, got {len(evaluation)}; write codes(view, data.train)")
    error, rate = -evaluation.log_px.cpu().double(), evaluation.kl_estimate.cpu().double()
    numbers = _numbers(evaluation)
    sizes, books = view.sizes.cpu(), view.books.cpu()
    counts = _counts(numbers, sizes)
    others = None if train is None else _counts(_numbers(train), sizes)
    learned = _learned(numbers, sizes, others)
    use = [_use(numbers[:, books == book], sizes[books == book]) for book in range(int(books.max()) + 1)]
    entropy, bias, spread, occur = (torch.stack(column) for column in zip(*(u[:4] for u in use), strict=True))
    size = torch.stack([sizes[books == book].max() for book in range(len(use))])
    return Codes(
        elbo=Estimate.exactly(-(error + rate)),
        reconstruction_error=Estimate.mean_of(error),
        rate=Estimate.mean_of(rate),
        nelbo=Estimate.mean_of(error + rate),
        learned_rate=Estimate.mean_of(learned),
        learned_nelbo=Estimate.mean_of(error + learned),
        log_px=None,
        perplexity=_perplexity(entropy, bias, spread, occur, size),
        perplexity_per_position=_per_position(counts, len(numbers), sizes),
        used=occur,
        used_per_position=(counts > 0).sum(1),
        size=size,
        counts=counts,
        distinct=torch.stack([u[4] for u in use]),
        learned_prior=_table(counts if others is None else others, sizes),
    )


def _numbers(evaluation: Evaluation) -> Tensor:
    """(n, positions) int64 on the CPU."""
    with evaluation_mode(evaluation.model):
        return evaluation.qz.mean.long().cpu()


def _counts(numbers: Tensor, sizes: Tensor) -> Tensor:
    """(positions, K), how often each code occurs at each position."""
    positions, most = len(sizes), int(sizes.max())
    flat = numbers + most * torch.arange(positions)
    return torch.bincount(flat.flatten(), minlength=positions * most).reshape(positions, most)


def _table(counts: Tensor, sizes: Tensor) -> Distribution:
    """p(codes) with independent positions, by counts."""
    there = torch.arange(counts.shape[1]) < sizes[:, None]
    logits = (counts + _PRIOR_COUNT).double().log().masked_fill(~there, -torch.inf)
    return per_position(logits.float())


def _learned(numbers: Tensor, sizes: Tensor, counts: Tensor | None) -> Tensor:
    """(n,) -log p(codes) in nats by counts of other examples: the given ones, or the other half."""
    if counts is not None:
        return -_table(counts, sizes).log_prob(numbers).double()
    learned = torch.empty(len(numbers), dtype=torch.float64)
    halves = slice(0, None, 2), slice(1, None, 2)
    for half, other in (halves, halves[::-1]):
        learned[half] = -_table(_counts(numbers[other], sizes), sizes).log_prob(numbers[half]).double()
    return learned


def _exact(evaluation: Evaluation) -> Estimate | None:
    """The mean of log p(x) where all combinations of codes can be gone through in some seconds."""
    sizes = evaluation.model.codes
    assert sizes is not None
    every = combinations(sizes)
    if every > MOST_COMBINATIONS or every * len(evaluation) * evaluation.features > _MOST_PRODUCTS:
        return None
    return Estimate.mean_of(log_evidence(evaluation.model, evaluation))


def _use(numbers: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of one codebook: entropy, bias, variance to first order, codes used, and the codes of each example, summed.

    The examples are independent, and the positions of one are not: an example counts by the share of its positions.
    """
    n, size = len(numbers), int(sizes.max())
    total, squares = torch.zeros(2, size, dtype=torch.float64)
    distinct = torch.zeros((), dtype=torch.int64)
    parts = numbers.split(rows_at_once(size))
    for part in parts:
        shares = _shares(part, size)
        total, squares = total + shares.sum(0), squares + shares.square().sum(0)
        distinct += (shares > 0).sum()
    p = total / n
    there = p > 0
    log_p = torch.where(there, p, 1.0).log()
    each = torch.cat([-(_shares(part, size) @ log_p) for part in parts])
    variance = (squares - n * p.square()).clamp(min=0) / (n - 1)
    bias = 0.5 * (variance[there] / p[there]).sum() / n
    return each.mean(), bias, each.var() / n, there.sum(), distinct


def _shares(numbers: Tensor, size: int) -> Tensor:
    """(n, size) float64, the share of an example's positions that have each code."""
    n, positions = numbers.shape
    flat = numbers + size * torch.arange(n)[:, None]
    return torch.bincount(flat.flatten(), minlength=n * size).reshape(n, size).double() / positions


def _perplexity(entropy: Tensor, bias: Tensor, spread: Tensor, used: Tensor, size: Tensor) -> Estimate:
    """exp(entropy), by which counted entropies are too low on average corrected; at most the number of codes."""
    # of the second order; where the codes are used alike it is all there is, and the counted spread holds it twice
    second = 2 * bias.square() / (used - 1).clamp(min=1)
    error = (spread - second).maximum(second).sqrt()
    value = (entropy + bias).exp().minimum(size.double())
    return Estimate(value, value * error, "counted, corrected by Miller's bias", "")


def _per_position(counts: Tensor, n: int, sizes: Tensor) -> Estimate:
    p = counts.double() / n
    surprise = -torch.where(p > 0, p, 1.0).log()
    entropy = (p * surprise).sum(1)
    spread = ((p * surprise.square()).sum(1) - entropy.square()).clamp(min=0) / n
    used = (counts > 0).sum(1)
    return _perplexity(entropy, (used - 1) / (2 * n), spread, used, sizes)
