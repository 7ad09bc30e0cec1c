"""How far the precision in which a model computes may move log p(x)."""

import copy

import torch
from torch import Tensor

from nelbo.evaluation import Evaluation


def rounding(evaluation: Evaluation, value: Tensor) -> Tensor:
    """By how much log p(x) of each example may be off because the model computes in float32, (n,) nats.

    A log-likelihood is a sum over features, and an integral over z or a mean over draws takes nothing away of an error
    that all its terms share. So log p(x|z) at the center of q(z|x) is computed again in float64, and by how much that
    differs stands for the error; to that comes half a unit in the last place of the value.

    Args:
        evaluation: the examples.
        value: (n,) log p(x) in nats. Where log p(x|z) is larger than that, as where q(z|x) lies far off, its error is
            scaled down to it.
    """
    size = value.abs().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    precision = evaluation.x.dtype
    if precision == torch.float64 or not precision.is_floating_point:
        return torch.zeros_like(size)
    unit = 0.5 * torch.finfo(precision).eps * size
    single = evaluation.log_likelihood(evaluation.embedding).double().cpu()
    try:
        model = copy.deepcopy(evaluation.model).double()
        again = Evaluation(model, evaluation.batch.to(dtype=torch.float64), seed=evaluation.seed)
        double = again.log_likelihood(evaluation.embedding.double()).double().cpu()
    except Exception:  # a model of whatever kind, which may not exist in two precisions
        return 2 * torch.finfo(precision).eps * size
    share = (size / single.abs().clamp(min=1e-12)).clamp(max=1)
    return unit + ((single - double).abs() * share).nan_to_num(nan=0.0)
