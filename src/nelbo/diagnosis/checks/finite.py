"""NaN and infinities, with their first cause."""

from contextlib import ExitStack, suppress

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import Verdict, check, found, measured, passed
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation
from nelbo.training.nonfinite import NonFiniteFound, examine, watch

_WATCHED = 100  # examples that pass every module under watch


@check("not-finite")
def not_finite(case: Case) -> Verdict:
    try:
        _walk(case)
    except NonFiniteFound as first:
        meaning = f"First cause: {first}. Whatever is computed from it is lost too."
        return found("severe", _share(case), meaning=meaning, last=True)
    finite = measured("examples whose loss is finite", 1.0, unit="share")
    if case.failure is None:
        return passed(finite)
    meaning = f"The {case.failure.removeprefix('the ')}. What else is said here is of the last good weights."
    return found("severe", finite, meaning=meaning, change="nelbo.fit(vae, data, clip=1.0, learning_rate=3e-4)")


def _walk(case: Case) -> None:
    """Raise NonFiniteFound at the first tensor that is not finite."""
    for name, part in case.parts.items():
        x = part.x.masked_fill(part.x.isnan(), 0.0) if case.model.takes_missing else part.x
        examine(x, f"the measured part of the {name} data, x,")
    for network in case.networks:
        for name, parameter in network.named_parameters():
            examine(parameter, f"the weight {name}")
    rows = case.budget.at_most(
        min(_WATCHED, len(case.train)), "examples followed through the modules", share=0.05, pairs=1, least=4
    )
    few = Evaluation(case.model, case.train.batch[:rows], seed=case.seed)
    with ExitStack() as watched:
        for network in case.networks:
            watched.enter_context(watch(network))
        for moment, name in (("mean", "the mean"), ("stddev", "the standard deviation")):
            with suppress(NotImplementedError):  # a flow has none in closed form
                examine(getattr(few.qz, moment), f"{name} of q(z|x)")
        examine(few.z, "a draw of z ~ q(z|x)")
        _ = few.px
    for name, part in case.parts.items():
        examine(part.z, f"a draw of z ~ q(z|x) of the {name} data")
        examine(part.kl_estimate, f"the KL of the {name} data")
        if part is case.train:
            _ = part.px  # several checks look at it; log p(x|z) comes with it
        examine(part.log_px, f"the reconstruction error of the {name} data")


def _share(case: Case) -> Estimate:
    try:
        bad = float((~torch.isfinite(case.train.nelbo)).double().mean())
    except ValueError:  # torch refuses to build a distribution from NaN
        bad = 1.0
    return measured("examples whose loss is not finite", bad, unit="share")
