"""Which likelihood fits which values."""

from typing import NamedTuple

from torch import Tensor

from nelbo.data import ValueSummary, summarize


class Fitting(NamedTuple):
    """A likelihood for some values."""

    name: str
    """As recipes and the command line call it."""
    line: str
    """What to write in Python."""
    looks: ValueSummary


def fitting(x: Tensor) -> Fitting:
    """The likelihood that fits the values of x, and what they look like."""
    looks = summarize(x)
    classes = int(max(looks.maximum, 1)) + 1
    name, line = {
        "binary": ("bernoulli", "likelihoods.Bernoulli()"),
        "unit interval": (
            "continuous_bernoulli",
            "likelihoods.ContinuousBernoulli(), or load the data with binarize='dynamic' for likelihoods.Bernoulli()",
        ),
        "8-bit integers": ("discretized_logistic", "likelihoods.DiscretizedLogistic() and x / 255"),
        "categories": (f"categorical:{classes}", f"likelihoods.Categorical({classes})"),
        "counts": ("negative_binomial", "likelihoods.NegativeBinomial()"),
        "real": ("normal", "likelihoods.Normal('optimal')"),
    }[looks.kind]
    return Fitting(name, line, looks)
