"""D(p || q): how far one distribution is from another, in nats."""

# imported for the closed forms that they register
from nelbo.divergences import counts, expectations, normals, same_family  # noqa: F401  # pyright: ignore[reportUnusedImport]
from nelbo.divergences.distributions import Delta, SkewNormal, TruncatedNormal
from nelbo.divergences.f_divergences import chi_squared, hellinger, jeffreys, jensen_shannon, renyi, total_variation
from nelbo.divergences.from_samples import TestResult, classifier_test, kl_from_log_ratios, kl_from_samples, mmd_test
from nelbo.divergences.jensen import elbo_chain, jensen
from nelbo.divergences.kullback_leibler import closed_form, kl, register, registered
from nelbo.divergences.mixtures import mixture_bounds
from nelbo.divergences.transport import energy_distance, mmd, wasserstein
from nelbo.estimate import Estimate

__all__ = [
    "Delta",
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
    "register",
    "registered",
    "renyi",
    "total_variation",
    "wasserstein",
]
