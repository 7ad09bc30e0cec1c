"""Whether the likelihood can produce these values at all, read off the data before anything is measured."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal

from nelbo import latents
from nelbo.data.summary import differ_in_scale
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.likelihoods import fitting
from nelbo.likelihoods.bernoulli import StableContinuousBernoulli


def family_of(case: Case) -> Distribution:
    """The distribution of one feature under p(x|z), at any z."""
    few = case.train[:2]
    try:
        return latents.base_of(few.conditioned.likelihood(latents.draw(few.pz, None, few.keys("family"))))
    except ValueError as error:  # torch refuses NaN; that is the finding of not-finite
        raise NotApplicable("needs finite parameters of p(x|z)") from error


def _is_bernoulli(case: Case) -> bool:
    family = case.once(family_of)
    return isinstance(family, Bernoulli) and not isinstance(family, StableContinuousBernoulli)


def _finite(case: Case) -> Tensor:
    """The finite examples; a value of the support takes the place of what is missing."""
    x = (
        case.train.x
        if case.missing is None
        else torch.where(case.missing, case.model.px_family.filler_like(case.train.x), case.train.x)
    )
    return x[torch.isfinite(x.flatten(1)).all(1)]


def _known(values: Tensor) -> Tensor:
    """The finite values, of which there is one at least."""
    known = values[torch.isfinite(values)]
    return known if len(known) else values.new_zeros(1)


@check("outside-support")
def outside_support(case: Case) -> Verdict:
    x = _finite(case)
    share = measured("values outside the support", _outside(case, x) if len(x) else 0.0, unit="share")
    if float(share) == 0:
        return passed(share)
    low, high = x.aminmax()
    fits = fitting(x)
    return found(
        "severe",
        share,
        measured("smallest value", float(low), unit=""),
        measured("largest value", float(high), unit=""),
        change="" if case.foreign else f"{fits.line}  # fits: {fits.summary.kind}",
    )


def _outside(case: Case, x: Tensor) -> float:
    """The share of values outside; of all values, if the family only judges a batch as a whole."""
    if _is_bernoulli(case):
        return float(((x < 0) | (x > 1)).double().mean())
    accepted = case.model.px_family.accepts(x)
    if accepted and not case.foreign:
        return 0.0
    try:
        support: Any = case.once(family_of).support
        return float((~support.check(x)).double().mean())
    except (NotImplementedError, AttributeError):
        return float(not accepted)


@check("columns-differ-in-scale")
def columns_differ_in_scale(case: Case) -> Verdict:
    if not isinstance(case.once(family_of), Normal):
        raise NotApplicable("p(x|z) is not a normal")
    x = case.train.x.double()
    columns = x.flatten(2).movedim(1, 0).flatten(1) if x.dim() > 2 else x.T
    spreads = [(float(known.std(correction=0)), float(known.max() - known.min())) for known in map(_known, columns)]
    varying = [(std, span) for std, span in spreads if span > 0]
    if len(varying) < 2:
        raise NotApplicable("needs two features or channels that vary")
    std, span = np.array(varying).T
    numbers = (
        measured("largest standard deviation of a feature or channel", float(std.max()), unit=""),
        measured("smallest", float(std.min()), unit=""),
    )
    if not differ_in_scale(std, span):
        return passed(*numbers)
    return found("severe" if _is_shared(case) else "warning", *numbers)


def _is_shared(case: Case) -> bool:
    """Whether p(x|z) has one sigma for all features."""
    base = latents.base_of(case.train[:2].px)
    return isinstance(base, Normal) and bool((base.scale == base.scale.flatten()[0]).all())


@check("gray-bernoulli")
def gray_bernoulli(case: Case) -> Verdict:
    if not _is_bernoulli(case):
        raise NotApplicable("p(x|z) is not a Bernoulli")
    x = _finite(case)
    gray = float(((x > 0) & (x < 1)).double().mean())
    share = measured("values strictly between 0 and 1", gray, unit="share")
    if gray == 0:
        return passed(share)
    inside = x.clamp(0, 1).flatten(1).double()
    entropy = -(torch.xlogy(inside, inside) + torch.xlogy(1 - inside, 1 - inside)).sum(1)
    return found("severe", share, measured("their entropy, a floor of the loss", float(entropy.mean())))
