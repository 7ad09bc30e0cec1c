"""Whether the decoder sees draws of the q(z|x) whose KL is paid, measured on the user's own code."""

from weakref import WeakKeyDictionary

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.loss_calls import LossFunction
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.estimate import Estimate
from nelbo.foreign.encoding import LOG_SIGMA
from nelbo.foreign.sampling import PROBES, DrawnInsideError, Sampling, measure_sampling
from nelbo.foreign.view import Wrapped

_DRAWN: WeakKeyDictionary[Case, Sampling] = WeakKeyDictionary()


def _drawn(case: Case) -> tuple[Wrapped, Sampling]:
    model = case.model
    if not isinstance(model, Wrapped):
        raise NotApplicable("nelbo draws z itself")
    if case in _DRAWN:
        return model, _DRAWN[case]
    sampling = model.sampling
    if sampling is None and case.loss is not None and model.encoding.layout is not None:
        loss = LossFunction(case.loss, model, model)
        if not loss.takes_answers:
            try:
                sampling = measure_sampling(
                    loss.run,
                    case.x,
                    encode=model.encoding.function,
                    decode=model.decoding.function,
                    layout=model.encoding.layout,
                    modules=loss.modules,
                )
            except DrawnInsideError as reason:
                raise NotApplicable(str(reason)) from reason
    if sampling is None:
        raise NotApplicable("how the model draws z is not known: nelbo.wrap(..., forward=) would run it")
    _DRAWN[case] = sampling
    return model, sampling


def _spreads(sampling: Sampling) -> tuple[Estimate, ...]:
    return tuple(
        measured(f"standard deviation of z at a spread of {probe:g}", got, got * sampling.standard_error, "")
        for probe, got in zip(PROBES, sampling.standard_deviations, strict=True)
    )


@check("no-sampling")
def no_sampling(case: Case) -> Verdict:
    _, sampling = _drawn(case)
    if sampling.training == "mean":
        return found("severe", *_spreads(sampling))
    return passed(*_spreads(sampling)[:1])


@check("sample-with-variance")
def sample_with_variance(case: Case) -> Verdict:
    model, sampling = _drawn(case)
    if sampling.training in (model.encoding.second, "mean"):
        return passed(*_spreads(sampling))
    log_sigma = LOG_SIGMA[model.encoding.second]
    wanted = [float(log_sigma(torch.tensor(probe)).exp()) for probe in PROBES]
    expected = tuple(measured(f"of q(z|x) at {p:g}", w, unit="") for p, w in zip(PROBES, wanted, strict=True))
    got = sampling.standard_deviations
    squared = all(abs(g / w**2 - 1) < 5 * sampling.standard_error for g, w in zip(got, wanted, strict=True))
    meaning = (
        ""
        if squared
        else (
            "What the decoder sees is not drawn with the standard deviation of the declared q(z|x). It learns from "
            "another distribution than the one whose KL is paid."
        )
    )
    return found("severe", *_spreads(sampling), *expected, meaning=meaning)
