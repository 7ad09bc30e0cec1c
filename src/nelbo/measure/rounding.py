"""How far the precision in which a model computes may move log p(x)."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation

_E = TypeVar("_E", bound=Estimate)


def rounding(evaluation: Evaluation, value: Tensor) -> Tensor:
    """By how much log p(x) of each example may be off because the model computes in float32, (n,) nats.

    A log-likelihood is a sum over features, and an integral over z or a mean over draws takes nothing away of an error
    that all its terms share. So log p(x|z) at the center of q(z|x) is computed again in float64, and by how much that
    differs stands for the error; to that comes half a unit in the last place of the value.

    Args:
        evaluation: the examples.
        value: (n,) log p(x) in nats; NaN for examples that were not measured, whose rounding is not known either.
            Where log p(x|z) is larger than that, as where q(z|x) lies far off, its error is scaled down to it.
    """
    precision = evaluation.x.dtype
    if precision == torch.float64 or not precision.is_floating_point:
        return torch.zeros_like(value)
    measured = ~value.isnan()
    if not bool(measured.all()):
        some = torch.full_like(value, torch.nan)
        if bool(measured.any()):
            index = measured.nonzero().flatten()
            some[index] = rounding(evaluation[index], value[index])
        return some
    size = value.abs().nan_to_num(posinf=0.0)
    unit = 0.5 * torch.finfo(precision).eps * size
    if evaluation.rounding is None:
        return 4 * unit
    at_center = evaluation.log_likelihood(evaluation.embedding).cpu().double()
    share = (size / at_center.abs().clamp(min=1e-12)).clamp(max=1)
    return unit + (evaluation.rounding.abs() * share).nan_to_num(nan=0.0)


def with_rounding(estimate: _E, evaluation: Evaluation, value: Tensor | None = None) -> _E:
    """The estimate with an error that holds the rounding of its examples too.

    Args:
        estimate: of shape (n,).
        evaluation: the n examples.
        value: (n,) log p(x) in nats, where the estimate is the difference of two such sums.
    """
    error = rounding(evaluation, estimate.value if value is None else value)
    return replace(estimate, standard_error=estimate.standard_error.hypot(error))
