"""Log p(x) of a model with discrete codes, exactly: the sum over all combinations of codes."""

import math

import torch
from torch import Tensor

from nelbo.devices import widened
from nelbo.evaluation import Evaluation, rows_at_once
from nelbo.measure.evidence import Evidence

MOST_COMBINATIONS = 65_536
"""Of codes that are enumerated."""


def combinations(codes: Tensor) -> int:
    """How many z there are, for (positions,) numbers of codes."""
    return math.prod(codes.tolist())


def check_enumeration(codes: Tensor | None, method: str) -> str:
    """The reason for enumeration, of a model with discrete codes, or where enumeration was asked for.

    Raises:
        ValueError: they do not go together, or there are too many combinations.
    """
    if codes is None:
        raise ValueError(
            'method="enumeration" sums over discrete codes, and the z of this model are real; write method="auto"'
        )
    if method not in ("auto", "enumeration"):
        raise ValueError(f'method={method!r} needs a real z, and this model has discrete codes; write method="auto"')
    if combinations(codes) > MOST_COMBINATIONS:
        words = f"{len(codes)} positions of up to {int(codes.max())} codes"
        raise ValueError(
            f"{words} have more than {MOST_COMBINATIONS:,} combinations, too many to enumerate; "
            "write nelbo.measure.codes(view, x).elbo for the bound, -(reconstruction error + rate)"
        )
    return f"The sum over all {combinations(codes):,} combinations of codes, which is exact."


def by_enumeration(evaluation: Evaluation, *, why: str) -> Evidence:
    """Log p(x) = logsumexp over all codes k of log p(k) + log p(x|k)."""
    model, x, codes = evaluation.model, evaluation.x, evaluation.model.codes
    assert codes is not None
    every = torch.cartesian_prod(*(torch.arange(k, device=codes.device) for k in codes.tolist()))
    every = every.reshape(-1, len(codes)).float()
    total = torch.full((len(x),), -torch.inf, dtype=widened(x.new_zeros(())).dtype, device=x.device)
    size = rows_at_once(max(evaluation.features, len(x)), on=x.device)
    for some in every.split(size):
        px = model.likelihood(some[:, None])
        form = model.px_family.linear(px, x)
        if form is None:
            parts = x.split(rows_at_once(len(some) * evaluation.features, on=x.device))
            log_px = torch.cat([widened(px.log_prob(part)) for part in parts], 1)
        else:
            rows, coefficients, offset = (widened(value) for value in form)
            log_px = torch.addmm(offset[:, None], coefficients, rows.T)
        log_joint = log_px + widened(evaluation.pz.log_prob(some))[:, None]
        total = torch.logaddexp(total, log_joint.logsumexp(0))
    value = total.cpu().double()
    if bool(value.isnan().any()):
        raise ValueError("log p(x|codes) is NaN; see nelbo.diagnose(view, x)")
    return Evidence(
        value, torch.zeros_like(value), "enumeration", flagged=torch.zeros_like(value, dtype=torch.bool), why=why
    )
