"""KL(p || q) between distributions of counts, from the masses by `mass_gap`, or from logits where those were given."""

from typing import Any

import torch
import torch.distributions as D
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from nelbo.divergences.internals import categorical, given_parameter
from nelbo.divergences.kullback_leibler import register
from nelbo.divergences.stable import mass_gap


def _given_probs(p: Any) -> bool:
    return given_parameter(p) == "probs"


def _log_masses(p: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P(1), P(0) and their logarithms, without the rounding of 1 - p where logits were given."""
    if _given_probs(p):
        return p.probs, 1 - p.probs, p.probs.log(), torch.log1p(-p.probs)
    return p.logits.sigmoid(), (-p.logits).sigmoid(), logsigmoid(p.logits), logsigmoid(-p.logits)


def _coin(p: Any, q: Any) -> Tensor:
    one_p, zero_p, log_one_p, log_zero_p = _log_masses(p)
    one_q, zero_q, log_one_q, log_zero_q = _log_masses(q)
    if _given_probs(p) or _given_probs(q):
        return mass_gap(one_p, one_q, log_one_p, log_one_q) + mass_gap(zero_p, zero_q, log_zero_p, log_zero_q)
    # logits on both sides: no mass is ever 0, and the difference of logits is exact where they are close
    step = q.logits - p.logits
    near = step.abs() < 1.0
    masses = mass_gap(one_p, one_q, log_one_p, log_one_q) + mass_gap(zero_p, zero_q, log_zero_p, log_zero_q)
    bregman = softplus(q.logits) - softplus(p.logits) - step * one_p
    return torch.where(near & (one_q > 0) & (zero_q > 0), masses, bregman)


@register(D.Bernoulli, D.Bernoulli)
def kl_bernoulli_bernoulli(p: D.Bernoulli, q: D.Bernoulli) -> Tensor:
    """KL = sum over x in {0, 1} of p(x) log(p(x)/q(x)); inf where q forbids what p allows."""
    return _coin(p, q)


@register(D.Geometric, D.Geometric)
def kl_geometric_geometric(p: D.Geometric, q: D.Geometric) -> Tensor:
    """KL of one toss, times the mean number 1/p of tosses."""
    return _coin(p, q) / p.probs


@register(D.Binomial, D.Binomial)
def kl_binomial_binomial(p: D.Binomial, q: D.Binomial) -> Tensor | None:
    """Equal counts: n times the KL of one trial; inf where p counts further than q; else None (a sum answers)."""
    n_p, n_q = torch.broadcast_tensors(p.total_count, q.total_count)
    if bool((n_p < n_q).any()):
        return None
    value = p.total_count * _coin(p, q)
    further = (n_p > n_q) & (p.probs > 0)
    # with p.probs == 0, p is a point at 0 and only q's mass there counts
    point = -q.total_count * _log_masses(q)[3]
    return torch.where(further, torch.inf, torch.where((n_p > n_q) & (p.probs == 0), point, value))


@register(D.NegativeBinomial, D.NegativeBinomial)
def kl_negative_binomial(p: D.NegativeBinomial, q: D.NegativeBinomial) -> Tensor | None:
    """Equal total_count r: r / P(stop) tosses on average, each with the KL of one toss; else None."""
    same = bool((torch.as_tensor(p.total_count) == torch.as_tensor(q.total_count)).all())
    return p.total_count / _log_masses(p)[1] * _coin(p, q) if same else None


def _table(p: Any, q: Any) -> Tensor:
    gap = mass_gap(p.probs, q.probs, *(None if _given_probs(d) else d.logits for d in (p, q)))
    if not _given_probs(q):
        # a mass below the smallest float is still a mass: its logit says how rare it is
        rare = (q.probs == 0) & torch.isfinite(q.logits) & (p.probs > 0)
        safe = torch.where(p.probs > 0, p.probs, torch.ones_like(p.probs))
        gap = torch.where(rare, safe * (safe.log() - torch.where(rare, q.logits, 0.0) - 1), gap)
    return gap.sum(-1)


@register(D.Categorical, D.Categorical)
def kl_categorical_categorical(p: D.Categorical, q: D.Categorical) -> Tensor | None:
    """KL = sum_i p_i log(p_i/q_i); None for other numbers of categories (a sum over both supports answers)."""
    return _table(p, q) if p.probs.shape[-1] == q.probs.shape[-1] else None


@register(D.OneHotCategorical, D.OneHotCategorical)
def kl_one_hot(p: D.OneHotCategorical, q: D.OneHotCategorical) -> Tensor:
    """KL = sum_i p_i log(p_i/q_i)."""
    return _table(categorical(p), categorical(q))


@register(D.Multinomial, D.Multinomial)
def kl_multinomial(p: D.Multinomial, q: D.Multinomial) -> Tensor | None:
    """Equal total_count n: n times the KL of one draw; draws of different number never coincide: inf."""
    of_one = _table(categorical(p), categorical(q))
    return p.total_count * of_one if p.total_count == q.total_count else torch.full_like(of_one, torch.inf)


@register(D.Poisson, D.Poisson)
def kl_poisson_poisson(p: D.Poisson, q: D.Poisson) -> Tensor:
    """KL = rate_q - rate_p + rate_p log(rate_p/rate_q)."""
    return mass_gap(p.rate, q.rate)


@register(D.Bernoulli, D.Poisson)
def kl_bernoulli_poisson(p: D.Bernoulli, q: D.Poisson) -> Tensor:
    """KL = -H(p) - P(1) log rate + rate."""
    one, zero, log_one, log_zero = _log_masses(p)
    minus_entropy = sum(
        torch.where(m > 0, m * torch.where(m > 0, log, 0.0), 0.0) for m, log in ((one, log_one), (zero, log_zero))
    )
    return minus_entropy - torch.xlogy(one, q.rate) + q.rate


@register(D.Poisson, D.Bernoulli)
@register(D.Poisson, D.Binomial)
def kl_poisson_bounded(p: D.Poisson, q: Any) -> Tensor:
    """A Poisson count has no bound: inf, unless its rate is 0."""
    n = torch.as_tensor(getattr(q, "total_count", 1.0))
    return torch.where(p.rate > 0, torch.inf, -n * _log_masses(q)[3])
