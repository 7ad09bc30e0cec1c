"""Does the decoder see draws of the q(z|x) whose KL is paid? Measured on the user's own code."""

from weakref import WeakKeyDictionary

import torch

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.loss import EFFECTS
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.loss_calls import LossFunction
from nelbo.diagnosis.registry import NotMeasurable, Verdict, check, found, passed
from nelbo.foreign.encoding import LOG_SIGMA
from nelbo.foreign.sampling import PROBES, DrawnInsideError, Sampling, measure_sampling
from nelbo.foreign.view import Wrapped

_DRAWN: WeakKeyDictionary[Case, Sampling] = WeakKeyDictionary()


def _drawn(case: Case) -> tuple[Wrapped, Sampling]:
    model = case.model
    if not isinstance(model, Wrapped):
        raise NotMeasurable("nelbo draws z itself")
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
                raise NotMeasurable(str(reason)) from reason
    if sampling is None:
        raise NotMeasurable("how the model draws z is not known: nelbo.wrap(..., forward=) would run it")
    _DRAWN[case] = sampling
    return model, sampling


def _spreads(sampling: Sampling) -> tuple[Measured, ...]:
    return tuple(
        Measured(f"standard deviation of z at a spread of {probe:g}", got, got * sampling.standard_error, "")
        for probe, got in zip(PROBES, sampling.standard_deviations, strict=True)
    )


@check(
    "no-sampling",
    title="Nothing is drawn: the decoder sees the mean while training",
    false_alarms=1e-6,
    meaning="z is the mean of q(z|x), so the reconstruction error does not depend on sigma and nothing holds sigma but "
    "the KL, which pulls it to 1. The model is an autoencoder with a penalty on its codes; its loss is no bound.",
    change="z = qz.rsample()  # nelbo.VAE does",
    elsewhere="Draw z = mu + sigma * torch.randn_like(sigma) in forward while training, and see that a flag such as "
    "self.training is not the wrong way round.",
    source="Kingma & Welling 2014, section 2.4; sampling in the wrong mode: YannDubs/disentangling-vae issue 64.",
    explains=EFFECTS,
)
def no_sampling(case: Case) -> Verdict:
    """The model is run in training mode with an encoder that answers a mean of 3 and a spread of 0.5, then 1.5, while
    its decoder is listened to: what arrives there does not vary at all.
    """
    _, sampling = _drawn(case)
    if sampling.training == "mean":
        return found("severe", *_spreads(sampling))
    return passed(*_spreads(sampling)[:1])


@check(
    "sample-with-variance",
    title="z is not drawn with the standard deviation of q(z|x)",
    false_alarms=1e-5,
    meaning="The draw takes the variance for the standard deviation (exp(logvar) where exp(logvar / 2) belongs), so "
    "the decoder learns from another distribution than the one whose KL is paid. Neither the loss nor the ELBO of this "
    "q(z|x) is what was trained.",
    change="z = qz.rsample()  # nelbo.VAE draws from the q(z|x) whose KL it pays",
    elsewhere="Write std = torch.exp(0.5 * logvar); z = mu + std * torch.randn_like(std).",
    source="Kingma & Welling 2014, appendix B and section 2.4.",
    explains=EFFECTS,
)
def sample_with_variance(case: Case) -> Verdict:
    """The model is run in training mode with an encoder that answers a mean of 3 and a spread of 0.5, then 1.5, while
    its decoder is listened to: the standard deviations that arrive are compared with those of the declared q(z|x),
    within 5 standard errors (1 % each).
    """
    model, sampling = _drawn(case)
    if sampling.training in (model.encoding.second, "mean"):
        return passed(*_spreads(sampling))
    log_sigma = LOG_SIGMA[model.encoding.second]
    wanted = [float(log_sigma(torch.tensor(probe)).exp()) for probe in PROBES]
    expected = tuple(Measured(f"of q(z|x) at {p:g}", w, 0.0, "") for p, w in zip(PROBES, wanted, strict=True))
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
