"""Candidates for the two terms of a loss: a reconstruction error under several likelihoods, a KL in several readings.

Each reading gives the mean over the batch in nats, summed over features or latents, so that a loss that is made of it
equals weight * reading + constant.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from nelbo.diagnosis.case import is_standard_normal
from nelbo.diagnosis.loss_calls import Answers
from nelbo.divergences import closed_form
from nelbo.likelihoods import Likelihood
from nelbo.wrapping.encoding import LOG_STD, WORDS, Spread, as_distribution
from nelbo.wrapping.view import Wrapped

DECLARED = "declared"
SQUARED = "squared error"
_DRAWS = 256


Value = Callable[[Answers], float]


class Reading(NamedTuple):
    """One way to read a term."""

    name: str
    words: str
    value: Value


def reconstruction_readings(model: Wrapped) -> list[Reading]:
    """The declared likelihood first, then the other errors between a decoder's answer and x that losses use."""
    family = model.px_family
    readings = [Reading(DECLARED, f"the negative log-likelihood of {type(family).__name__}", partial(_declared, model))]
    if model.decoding.scale is None:
        return readings
    if family.parameters_per_feature > 1:
        return readings + _misread(model)
    for name, words, error in _ERRORS:
        readings.append(Reading(name, words, partial(_error, model, error)))
    readings += _misread(model)
    for other in family.lookalikes():
        name, value = type(other).__name__, partial(_log_likelihood, other, model.decoding.parameters)
        readings.append(Reading(name, f"the negative log-likelihood of {name}", value))
    return readings


def _misread(model: Wrapped) -> list[Reading]:
    """The declared likelihood, of an answer that is taken for another than it is."""
    family = model.px_family
    return [
        Reading(
            f"as {name}",
            f"a log-likelihood of {type(family).__name__} that takes what decode gives for the "
            f"{name.replace('_', ' ')}",
            partial(_log_likelihood, family, read),
        )
        for name, read in model.decoding.others(family).items()
    ]


def _binary_cross_entropy(v: Tensor, x: Tensor) -> Tensor:
    if bool(((x < 0) | (x > 1)).any()):
        return torch.full((), torch.nan)
    return F.binary_cross_entropy(v.clamp(0, 1), x, reduction="sum") / len(x)


def _of_logits(v: Tensor, x: Tensor) -> Tensor:
    if bool(((v < 0) | (v > 1) | (x < 0) | (x > 1)).any()):
        return torch.full((), torch.nan)
    return F.binary_cross_entropy_with_logits(v, x, reduction="sum") / len(x)


_ERRORS: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor]]] = [
    (SQUARED, "a squared error, that is a normal likelihood", lambda v, x: 0.5 * (v - x).square().sum() / len(x)),
    ("binary cross-entropy", "a binary cross-entropy, that is a Bernoulli likelihood", _binary_cross_entropy),
    (
        "logits twice",
        "a binary cross-entropy that expects logits and is given probabilities (a sigmoid stands before it)",
        _of_logits,
    ),
    ("absolute error", "an absolute error, that is a Laplace likelihood", lambda v, x: (v - x).abs().sum() / len(x)),
    (
        "optimal sigma",
        "the logarithm of the squared error, that is a normal likelihood with its sigma at the optimum",
        lambda v, x: 0.5 * x[0].numel() * (v - x).square().mean().log(),
    ),
    ("root of the squared error", "the root of the mean squared error", lambda v, x: (v - x).square().mean().sqrt()),
]
"""Errors between a decoder's answer and x, both on the scale of x, by name and in words."""


def _declared(model: Wrapped, answers: Answers) -> float:
    decoding = model.decoding
    if decoding.scale is None:
        px = as_distribution(decoding.place.read(answers.decoded), len(answers.x), decoding.event)
        return -float(px.log_prob(answers.x.reshape(len(answers.x), *px.event_shape)).double().mean())
    return _log_likelihood(model.px_family, decoding.parameters, answers)


def _log_likelihood(family: Likelihood, read: Callable[[Any], Tensor], answers: Answers) -> float:
    """Of a family whose parameters are read from the decoder's answer in one way."""
    parameters = read(answers.decoded).double()
    return -float(family(parameters, parameters.dim() - 1).log_prob(answers.x.double()).mean())


def _mean_of(model: Wrapped, answers: Answers) -> Tensor:
    """The decoder's answer on the scale of x."""
    parameters, family = model.decoding.parameters(answers.decoded).double(), model.px_family
    for scale in family.readings.values():
        return scale.from_parameters(parameters)  # the first reading is on the scale of x
    return family(parameters, parameters.dim() - 1).mean


def _error(model: Wrapped, error: Callable[[Tensor, Tensor], Tensor], answers: Answers) -> float:
    return float(error(_mean_of(model, answers), answers.x.double()))


def kl_readings(model: Wrapped) -> list[Reading]:
    """KL(q(z|x) || p(z)) of the declared q first; then of the spread read on other scales, and turned around."""
    declared = model.encoding.scale
    readings = [Reading(DECLARED, "KL(q(z|x) || p(z))", partial(_kl_to_prior, model))]
    for kind in LOG_STD:
        if kind != declared:
            words = f"a KL that takes the spread for {WORDS[kind]}, where q(z|x) has {WORDS[declared]}"
            readings.append(Reading(f"of {kind}", words, partial(_of_normal, kind, _kl_of_units)))
    reversed_words = "the KL turned around, KL(p(z) || q(z|x))"
    readings.append(Reading("reversed", reversed_words, partial(_of_normal, declared, _reversed_kl)))
    means_words = "a penalty on the means alone, half their squares"
    readings.append(Reading("means only", means_words, partial(_of_normal, declared, _half_squares)))
    return readings


def _kl_of_units(mu: Tensor, log_sigma: Tensor) -> Tensor:
    return 0.5 * (mu**2 + torch.expm1(2 * log_sigma)) - log_sigma


def _reversed_kl(mu: Tensor, log_sigma: Tensor) -> Tensor:
    return log_sigma + 0.5 * (1 + mu**2) * torch.exp(-2 * log_sigma) - 0.5


def _half_squares(mu: Tensor, log_sigma: Tensor) -> Tensor:
    return 0.5 * mu**2


def _normal(answers: Answers, kind: Spread) -> tuple[Tensor, Tensor]:
    return answers.mean.double().flatten(1), LOG_STD[kind](answers.spread.double()).flatten(1)


def _of_normal(kind: Spread, value: Callable[[Tensor, Tensor], Tensor], answers: Answers) -> float:
    return float(value(*_normal(answers, kind)).sum() / len(answers.x))


def _kl_to_prior(model: Wrapped, answers: Answers) -> float:
    mu, log_sigma = _normal(answers, model.encoding.scale)
    pz = model.prior
    qz: Distribution = Independent(Normal(mu.to(answers.x), log_sigma.exp().to(answers.x)), 1)
    if is_standard_normal(pz):
        return _of_normal(model.encoding.scale, _kl_of_units, answers)
    kl = closed_form(qz, pz)
    if kl is None:
        z = qz.sample((_DRAWS,))
        kl = (qz.log_prob(z) - pz.log_prob(z)).mean(0)
    return float(kl.double().mean())


def components(model: Wrapped, answers: Answers) -> list[float]:
    """The three parts of the KL to N(0, I): half the squared means, half the variances, minus the log sigmas."""
    mu, log_sigma = _normal(answers, model.encoding.scale)
    parts = (0.5 * mu**2, 0.5 * torch.exp(2 * log_sigma), -log_sigma)
    return [float(part.sum() / len(mu)) for part in parts]
