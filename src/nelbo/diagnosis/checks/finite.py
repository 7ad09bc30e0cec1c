"""NaN and infinities, with their first cause."""

from contextlib import ExitStack, suppress

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import Verdict, check, found, measured, passed
from nelbo.estimate import Estimate
from nelbo.training.replay import NonFiniteFound, examine, watch


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
    for seen in (case.train, case.held_out):
        if seen is not None:
            examine(seen.x, f"the measured part of the {seen.name} data, x,")
    for network in case.networks:
        for name, parameter in network.named_parameters():
            examine(parameter, f"the weight {name}")
    with torch.no_grad(), case.draws("finite"):
        with ExitStack() as watched:
            for network in case.networks:
                watched.enter_context(watch(network))
            qz = case.model.posterior(case.x[:_FEW])
            for moment, name in (("mean", "the mean"), ("stddev", "the standard deviation")):
                with suppress(NotImplementedError):  # a flow has none in closed form
                    examine(getattr(qz, moment), f"{name} of q(z|x)")
            z = qz.sample()
            examine(z, "a draw of z ~ q(z|x)")
            case.model.likelihood(z)
        for seen in (case.train, case.held_out):
            if seen is None:
                continue
            examine(seen.z, f"a draw of z ~ q(z|x) of the {seen.name} data")
            examine(seen.kl, f"the KL of the {seen.name} data")
            examine(seen.reconstruction_error, f"the reconstruction error of the {seen.name} data")


_FEW = 100


def _share(case: Case) -> Estimate:
    try:
        with torch.no_grad():
            bad = float((~torch.isfinite(case.train.nelbo)).double().mean())
    except ValueError:  # torch refuses to build a distribution from NaN
        bad = 1.0
    return measured("examples whose loss is not finite", bad, unit="share")
