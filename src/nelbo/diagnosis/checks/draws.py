"""Whether the decoder sees draws of the q(z|x) whose KL is paid, measured on the user's own code."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.loss_calls import LossFunction
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, of_loss, passed
from nelbo.estimate import Estimate
from nelbo.wrapping.encoding import LOG_STD, Layout
from nelbo.wrapping.modules import undisturbed
from nelbo.wrapping.sampling import PROBES, ROWS, Sampling, measure_sampling
from nelbo.wrapping.view import Wrapped


def _drawn(case: Case) -> tuple[Wrapped, Sampling]:
    if not case.foreign:
        raise NotApplicable("nelbo draws z itself")
    if case.train.conditional:
        raise NotApplicable("needs a model without a condition")
    model = case.wrapped
    sampling, layout = model.sampling, model.encoding.layout
    if case.loss is not None and layout is not None:
        try:  # what is differentiated may draw in another way than forward
            rows = case.budget.at_most(min(ROWS, len(case.x)), "examples for the draws", share=0.05, pairs=2)
            sampling = of_loss(partial(_drawn_by_loss, case.loss, model, layout, case.x[:rows])) or sampling
        except NotApplicable:
            if sampling is None:
                raise
    if sampling is None:
        raise NotApplicable("how the model draws z is not known: nelbo.wrap(..., forward=) would run it")
    return model, sampling


def _drawn_by_loss(function: Callable[..., Any], model: Wrapped, layout: Layout, x: Tensor) -> Sampling | None:
    """How a loss that runs the model draws z; None of one that is given what the model answered."""
    encode, decode = model.encoding.function, model.decoding.function
    loss = LossFunction(function, model, model)
    if loss.takes_answers:
        return None
    with undisturbed([function, *loss.modules], 0):
        return measure_sampling(
            loss.run, x, encode=encode, decode=decode, layout=layout, modules=loss.modules, callers=(function,)
        )


def _spreads(sampling: Sampling) -> tuple[Estimate, ...]:
    return tuple(
        measured(f"standard deviation of z at a spread of {probe:g}", got, got * sampling.standard_error, "")
        for probe, got in zip(PROBES, sampling.standard_deviations, strict=True)
    )


@check("no-sampling")
def no_sampling(case: Case) -> Verdict:
    _, sampling = case.once(_drawn)
    if sampling.training == "mean":
        return found("severe", *_spreads(sampling))
    return passed(*_spreads(sampling)[:1])


def _scaled(factors: Sequence[float], means: Sequence[float]) -> bool:
    """Whether z lies about the mean, or is all of it times one factor, as latents are scaled for another model."""
    every = [*factors, *means]
    return all(abs(mean - 1) < _NEAR for mean in means) or max(every) < (1 + _NEAR) * min(every)


_NEAR = 0.1


@check("sample-with-variance")
def sample_with_variance(case: Case) -> Verdict:
    model, sampling = case.once(_drawn)
    if sampling.training in (model.encoding.scale, "mean"):
        return passed(*_spreads(sampling))
    log_sigma = LOG_STD[model.encoding.scale]
    wanted = [float(log_sigma(torch.tensor(probe)).exp()) for probe in PROBES]
    expected = tuple(measured(f"of q(z|x) at {p:g}", w, unit="") for p, w in zip(PROBES, wanted, strict=True))
    got = sampling.standard_deviations
    if not _scaled([g / w for g, w in zip(got, wanted, strict=True)], sampling.means):
        raise NotApplicable("z is moved after it is drawn, as a flow does it: let encode return its distribution")
    squared = all(abs(g / w**2 - 1) < 5 * sampling.standard_error for g, w in zip(got, wanted, strict=True))
    meaning = (
        "What the decoder sees is not drawn with the standard deviation of the declared q(z|x). It learns from another "
        "distribution than the one whose KL is paid."
    )
    return found("severe", *_spreads(sampling), *expected, meaning="" if squared else meaning)
