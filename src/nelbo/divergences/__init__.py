"""D(p || q): how far one distribution is from another, in nats."""

from nelbo.divergences.closed_form import closed_form
from nelbo.divergences.estimate import Estimate
from nelbo.divergences.f_divergences import (
    chi_squared,
    hellinger,
    jeffreys,
    jensen_shannon,
    renyi,
    total_variation,
)
from nelbo.divergences.kullback_leibler import kl
from nelbo.divergences.mixtures import mixture_bounds
from nelbo.divergences.transport import energy_distance, mmd, wasserstein
from nelbo.divergences.truncated_normal import TruncatedNormal

__all__ = [
    "Estimate",
    "TruncatedNormal",
    "chi_squared",
    "closed_form",
    "energy_distance",
    "hellinger",
    "jeffreys",
    "jensen_shannon",
    "kl",
    "mixture_bounds",
    "mmd",
    "renyi",
    "total_variation",
    "wasserstein",
]
