"""Families of p(x|z), in nats, with the decoder's output as parameters."""

from nelbo.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from nelbo.likelihoods.columns import Columns
from nelbo.likelihoods.discrete import Categorical, DiscretizedLogistic, NegativeBinomial, Poisson
from nelbo.likelihoods.likelihood import LIKELIHOODS, Likelihood, Scale, Suggestion, check_likelihood, fitting
from nelbo.likelihoods.masking import SelfMasking
from nelbo.likelihoods.normal import Normal
from nelbo.likelihoods.observed import Observed
from nelbo.likelihoods.ranges import LogNormal, TruncatedNormal
from nelbo.likelihoods.statistics import Linear, log_prob_without_gradient

register = LIKELIHOODS.register
named = LIKELIHOODS.named
names = LIKELIHOODS.names

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Likelihood",
    "Linear",
    "LogNormal",
    "NegativeBinomial",
    "Normal",
    "Observed",
    "Poisson",
    "Scale",
    "SelfMasking",
    "Suggestion",
    "TruncatedNormal",
    "check_likelihood",
    "fitting",
    "log_prob_without_gradient",
    "named",
    "names",
    "register",
]
