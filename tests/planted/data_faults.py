"""Faults of the likelihood: data that it does not describe."""

import torch

from tests.planted import sets
from tests.planted.cases import plant
from tests.planted.making import deepen, make, optimal_sigma, with_missing


@plant("gray-bernoulli", "gray digits", "dense")
def gray_dense():
    return make(sets.stepped_digits(), "bernoulli", latent=8)


@plant("gray-bernoulli", "gray digits", "conv")
def gray_conv():
    return make(sets.gray_digits(), "bernoulli", latent=8, kind="conv")


@plant("gray-bernoulli", "table between 0 and 1", "deep")
def shares_as_bits():
    """Columns scaled to [0, 1], and a binary cross-entropy because they are."""
    low, high = sets.table()[0].amin(0), sets.table()[0].amax(0)
    data = tuple(((part - low) / (high - low)).clamp(0, 1) for part in sets.table())
    return make(data, "bernoulli", alter=deepen, epochs=20)


@plant("integer-density", "stepped digits", "dense")
def steps_dense():
    return make(sets.stepped_digits(), "normal_decoded", latent=8, lr=1e-3)


@plant("integer-density", "stepped digits", "conv")
def steps_conv():
    return make(sets.stepped_digits(), "normal_decoded", latent=8, lr=1e-3, kind="conv")


@plant("integer-density", "rounded table", "dense")
def steps_table():
    return make(sets.rounded_table(), "normal_decoded", latent=3, lr=1e-3, epochs=60)


def standardized(data):
    center, spread = data[0].mean(), data[0].std()
    return tuple((part - center) / spread for part in data)


@plant("outside-support", "standardized digits", "dense")
def beyond_dense():
    return make(standardized(sets.gray_digits()), "bernoulli", lr=1e-3)


@plant("outside-support", "standardized digits", "conv")
def beyond_conv():
    return make(standardized(sets.gray_digits()), "bernoulli", lr=1e-3, kind="conv")


@plant("outside-support", "log counts", "dense")
def fractions_as_counts():
    return make(tuple(torch.log1p(part) for part in sets.counts()), "poisson", lr=1e-3)


@plant("columns-differ-in-scale", "table in its units", "dense")
def units_of_columns():
    """Columns from hundredths to tens, as people measure them, and one sigma for all."""
    return make(sets.in_units(sets.table()), "normal:1.0", latent=3, lr=1e-3, epochs=20)


@plant("columns-differ-in-scale", "readings in their units", "deep")
def units_of_readings():
    return make(sets.in_units(sets.readings()), "normal:1.0", latent=3, lr=1e-3, epochs=20, alter=deepen)


@plant("sigma-too-large", "gray digits", "dense")
def unit_sigma_dense():
    return make(sets.gray_digits(), "normal:1.0", latent=8)


@plant("sigma-too-large", "gray digits", "conv")
def unit_sigma_conv():
    return make(sets.gray_digits(), "normal:1.0", latent=8, kind="conv")


@plant("sigma-too-large", "table", "dense")
def unit_sigma_table():
    """Half the squared error of columns that vary by a fifth: unit variance is 25 times too much."""
    return make(tuple(part / 5 for part in sets.table()), "normal:1.0")


@plant("sigma-too-small", "table", "dense")
def small_sigma_table():
    return make(sets.table(), "normal:0.1", latent=3, lr=1e-3)


@plant("sigma-too-small", "gray digits", "conv")
def small_sigma_conv():
    return make(sets.gray_digits(), "normal:0.08", latent=8, lr=1e-3, kind="conv")


@plant("dispersion", "counts", "dense")
def overdispersed():
    return make(sets.counts(dispersion=1.0), "poisson", lr=1e-3)


@plant("dispersion", "fewer counts", "deep")
def overdispersed_few():
    return make(sets.counts(dispersion=0.5, features=10), "poisson", lr=1e-3, alter=deepen)


@plant("dispersion", "counts of twelve", "dense")
def underdispersed():
    return make(sets.even_counts(), "poisson", lr=1e-3)


@plant("one-sigma", "uneven table", "dense")
def noise_of_columns():
    return optimal_sigma(sets.uneven_table(), latent=3, lr=1e-3, epochs=60)


@plant("one-sigma", "readings", "deep")
def noise_that_grows():
    return optimal_sigma(sets.readings(), latent=3, lr=1e-3, epochs=60, alter=deepen)


@plant("mask-left-out", "table with holes", "dense")
def zeros_for_holes_table():
    return with_missing(sets.table(), told=False, hidden=(64,))


@plant("mask-left-out", "readings with holes", "deep")
def zeros_for_holes_readings():
    return with_missing(sets.readings(), told=False, hidden=(64, 64))


@plant("flat-scores-high", "short lines", "dense")
def lines_that_blank_beats():
    return make(sets.short_lines(), "bernoulli", latent=8)


@plant("flat-scores-high", "grainy blobs", "conv")
def grain_that_gray_beats():
    return make(sets.grainy_blobs(), "normal:0.5", latent=3, kind="conv")
