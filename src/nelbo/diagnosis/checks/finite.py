"""NaN and infinities, with their first cause."""

from contextlib import ExitStack, suppress

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import Verdict, check, found, passed
from nelbo.training.replay import NonFiniteFound, examine, watch


@check(
    "not-finite",
    title="NaN or infinite values",
    false_alarms=0.0,
    meaning="A value is NaN or infinite, and whatever is computed from it is lost. The first such tensor on the way "
    "from the data to the loss is named: what comes later only follows from it.",
    change="x = torch.nan_to_num(x)  # where the data are the cause\n"
    "nelbo.fit(vae, data, clip=1.0, learning_rate=3e-4)  # else",
    elsewhere="If the data are the cause, drop or fill those values. Else train again with gradient clipping, a lower "
    "learning rate and log-variances clamped to, say, [-10, 10]; take logits instead of probabilities.",
    source="How others stop on it: scverse/scvi-tools issue 511; a clamp of the log-variance: "
    "vanderschaarlab/synthcity issue 331.",
)
def not_finite(case: Case) -> Verdict:
    """The data, the weights, then the output of each module in order, q(z|x), z, and both terms of the bound.

    The first of these that is not finite is the cause that is named. A run whose training was stopped by a NaN has its
    first cause in its record; what is measured of it are its last good weights.
    """
    try:
        _walk(case)
    except NonFiniteFound as first:
        meaning = f"First cause: {first}. Whatever is computed from it is lost too."
        return found("severe", _share(case), meaning=meaning, last=True)
    finite = Measured("examples whose loss is finite", 100.0, unit="%")
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


def _share(case: Case) -> Measured:
    try:
        with torch.no_grad():
            bad = float((~torch.isfinite(case.train.nelbo)).double().mean())
    except ValueError:  # torch refuses to build a distribution from NaN
        bad = 1.0
    return Measured("examples whose loss is not finite", 100 * bad, unit="%")
