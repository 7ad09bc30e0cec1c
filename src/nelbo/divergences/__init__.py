"""D(p || q): how far one distribution is from another, in nats."""

from nelbo.divergences.closed_form import closed_form
from nelbo.divergences.f_divergences import (
    chi_squared,
    hellinger,
    jeffreys,
    jensen_shannon,
    renyi,
    total_variation,
)
from nelbo.divergences.from_samples import TestResult, classifier_test, kl_from_samples, mmd_test
from nelbo.divergences.jensen import elbo_chain, jensen
from nelbo.divergences.kullback_leibler import kl
from nelbo.divergences.log_ratios import kl_from_log_ratios
from nelbo.divergences.mixtures import mixture_bounds
from nelbo.divergences.skew_normal import SkewNormal
from nelbo.divergences.transport import energy_distance, mmd, wasserstein
from nelbo.divergences.truncated_normal import TruncatedNormal
from nelbo.estimate import Estimate

__all__ = [
    "Estimate",
    "SkewNormal",
    "TestResult",
    "TruncatedNormal",
    "chi_squared",
    "classifier_test",
    "closed_form",
    "elbo_chain",
    "energy_distance",
    "hellinger",
    "jeffreys",
    "jensen",
    "jensen_shannon",
    "kl",
    "kl_from_log_ratios",
    "kl_from_samples",
    "mixture_bounds",
    "mmd",
    "mmd_test",
    "renyi",
    "total_variation",
    "wasserstein",
]
