"""Evenly spaced points: exact where they say so, silent where they cannot be."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from nelbo.measure import log_evidence
from nelbo.measure.grid_integrals import Guard, Integrals, on_lattices, on_tiles
from tests.measure.models import binary, random_vae

BOX = torch.tensor([8.5, 8.5], dtype=torch.float64)


def integrals(peaks: MultivariateNormal, tolerance: float = 1e-3):
    """Log of the integrals of normal densities, which are 0; NaN of those that were left to others."""
    n, d = peaks.loc.shape

    def log_f(z, examples):
        return torch.cat([peaks.log_prob(at[:, None])[:, i].T for at, i in zip(z, examples, strict=True)])[None]

    found = Integrals.unknown(n)
    guard = Guard(peaks.loc, peaks.log_prob(peaks.loc)[None])
    finished = []
    on_lattices(
        log_f,
        found,
        -BOX[:d],
        BOX[:d],
        like=peaks.loc,
        at_once=64,
        tolerance=tolerance,
        guard=guard,
        done=finished.append,
    )
    assert sum(finished) == int(found.log_z.isfinite().sum())
    return found


@pytest.mark.parametrize("center", [0.0, 0.7234])
@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.999])
def test_peaks_of_any_width_are_integrated_also_where_they_stand_midway_between_all_points(center, correlation):
    """At the origin a peak is as far from its four nearest points, and the lattices that these belong to agree."""
    sigma = torch.logspace(-2.5, 0.3, 16, dtype=torch.float64)
    shape = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    found = integrals(MultivariateNormal(torch.full((16, 2), center).double(), shape * sigma[:, None, None].square()))
    done = found.log_z[0].isfinite()
    assert done.double().mean() > 0.9
    assert found.log_z[0, done].abs().max() < 1e-3
    assert (found.log_z[0, done].abs() <= found.change[done] + 1e-4).all()


def test_one_dimension():
    sigma = torch.logspace(-4, 0.3, 60, dtype=torch.float64)
    found = integrals(MultivariateNormal(torch.zeros(60, 1).double(), sigma[:, None, None].square()))
    assert found.log_z.abs().max() < 1e-3


def test_what_needs_too_many_points_is_left_to_others():
    """Across, the second peak is a thousand times as narrow as it is long, along a diagonal."""
    turned = torch.tensor([[1.0, 0.9999995], [0.9999995, 1.0]], dtype=torch.float64)
    peaks = MultivariateNormal(torch.zeros(2, 2).double(), torch.stack([torch.eye(2).double(), turned]))
    found = integrals(peaks)
    assert found.log_z[0].isfinite().tolist() == [True, False]
    assert found.change.isfinite().tolist() == [True, False]


def test_the_reported_change_is_not_less_than_what_finer_points_change():
    """Of a decoder with kinks, where the error falls slowly."""
    vae, x = random_vae(strength=3.0, activation="relu"), binary(60)
    fine = log_evidence(vae, x, tolerance=5e-5)
    for tolerance in (1e-2, 1e-3):
        found = log_evidence(vae, x, tolerance=tolerance)
        off = (found.value - fine.value).abs()
        assert off.max() < tolerance
        assert ((off - fine.change) / found.change).square().mean() < 1


@pytest.mark.parametrize("depth", [1e6, 1e7])
def test_noise_of_rounding_is_not_resolved_and_stands_as_the_error(depth):
    """A normal density at -depth in float32, which rounds it by depth / 2^24: on tiles too it ends soon."""
    points = []

    def log_f(z, examples):
        points.append(z[..., 0].numel())
        exact = -0.5 * z.double().square().sum(-1) - depth + torch.sin(1e4 * z.double()).sum(-1) * depth * 2e-8
        return torch.cat([at.float()[None].expand(len(i), -1) for at, i in zip(exact, examples, strict=True)])[None]

    found = on_tiles(log_f, 1, -BOX, BOX, like=torch.zeros(1))
    truth = torch.log(torch.tensor(2 * torch.pi)) - depth
    assert sum(points) < 60_000
    assert abs(float(found.log_z[0, 0]) - float(truth)) < 3 * float(found.change[0])
    assert depth * 2**-24 < float(found.change[0]) < depth * 2**-20
