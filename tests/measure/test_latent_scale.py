"""Scale and shift of latents against sums by hand, and their errors against what repeated samples scatter."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import nelbo


class Maps(nn.Module):
    """Latents of 3 channels of 4 x 4, each channel with another mean and spread."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 1, 2, 2)
        self.factor = nn.Parameter(torch.tensor([0.5, 2.0, 8.0]).reshape(3, 1, 1))

    def encode(self, x):
        mean = self.factor * x[:, :, ::2, ::2] + torch.tensor([1000.0, 0.0, -3.0]).reshape(3, 1, 1)
        logvar = (0.3 * self.factor).log() * 2 + 0 * mean
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))

    def decode(self, z):
        return SimpleNamespace(sample=self.up(z))

    def forward(self, x):
        q = self.encode(x).latent_dist
        return self.decode(q.mean + (0.5 * q.logvar).exp() * torch.randn_like(q.mean))


def images(n, seed=0):
    """Each example with a level of its own, so that its positions are alike."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 1, 1, generator=g) + 0.5 * torch.randn(n, 1, 8, 8, generator=g)


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nelbo.wrap(Maps(), x=images(16), likelihood=nelbo.likelihoods.Normal(1.0))


def by_hand(x):
    q = Maps().encode(x).latent_dist
    z, variance = q.mean.detach().double(), q.logvar.detach().double().exp()
    channels = [(z[:, i].mean(), (z[:, i].var(correction=0) + variance[:, i].mean()).sqrt()) for i in range(3)]
    return channels, (z.mean(), (z.var(correction=0) + variance.mean()).sqrt())


def test_of_each_channel_and_of_all_as_by_hand(vae):
    x = images(700)
    got = nelbo.measure.latent_scale(vae, x)
    channels, (shift, std) = by_hand(x)
    assert got.shape == (3, 4, 4)
    assert got.examples == 700
    for i, (mean, deviation) in enumerate(channels):
        assert float(got.shift_per_channel.value[i]) == pytest.approx(float(mean), rel=1e-6)
        assert float(got.scaling_factor_per_channel.value[i]) == pytest.approx(1 / float(deviation), rel=1e-5)
    assert float(got.shift) == pytest.approx(float(shift), rel=1e-6)
    assert float(got.scaling_factor) == pytest.approx(1 / float(std), rel=1e-5)


def test_the_size_of_a_batch_does_not_matter(vae, monkeypatch):
    x = images(100)
    whole = nelbo.measure.latent_scale(vae, x)
    monkeypatch.setattr(sys.modules["nelbo.measure.latent_scale"], "rows_at_once", lambda numbers, passes: 7)
    parts = nelbo.measure.latent_scale(vae, x)
    for name in ("scaling_factor", "shift", "scaling_factor_per_channel", "shift_per_channel"):
        one, other = getattr(whole, name), getattr(parts, name)
        assert torch.allclose(one.value, other.value, rtol=1e-9)
        assert torch.allclose(one.standard_error, other.standard_error, rtol=1e-6)


def test_the_errors_are_what_repeated_samples_scatter(vae):
    """Over 200 data sets of 100 examples; a standard deviation from 200 is known to 5 %."""
    many = [nelbo.measure.latent_scale(vae, images(100, seed)) for seed in range(200)]
    for name in ("scaling_factor_per_channel", "shift_per_channel"):
        scatter = torch.stack([getattr(one, name).value for one in many]).std(0)
        said = torch.stack([getattr(one, name).standard_error for one in many]).mean(0)
        assert torch.allclose(said / scatter, torch.ones_like(said), atol=0.2)


def test_a_vector_has_a_channel_for_each_unit_and_a_data_set_passes_in_batches():
    vae = nelbo.recipes.vae((6,), latent=2, hidden=(8,))
    x = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    data = nelbo.data.as_data(x)
    got = nelbo.measure.latent_scale(vae, data)
    again = nelbo.measure.latent_scale(vae, data.train)
    assert got.shape == (2,)
    assert torch.equal(got.scaling_factor_per_channel.value, again.scaling_factor_per_channel.value)
    assert "channel 1" in str(got)


def test_one_example_is_too_few(vae):
    with pytest.raises(ValueError, match=r"2 or more examples, got 1; write latent_scale\(vae, data.train\)"):
        nelbo.measure.latent_scale(vae, images(1))
