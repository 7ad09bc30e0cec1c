"""p(x|z): what the decoder's numbers say about the data, in nats."""

from nelbo.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from nelbo.likelihoods.discrete import Categorical, DiscretizedLogistic, NegativeBinomial, Poisson
from nelbo.likelihoods.fitting import fitting
from nelbo.likelihoods.likelihood import Likelihood
from nelbo.likelihoods.normal import Normal

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Likelihood",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "fitting",
]
