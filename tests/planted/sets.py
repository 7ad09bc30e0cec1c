"""The data of the planted cases: small, real or from a known model, (training, held-out)."""

import functools

import torch
from sklearn.datasets import load_digits


def _split(x, held=300):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    return x[order[held:]], x[order[:held]]


def _generator(seed):
    return torch.Generator().manual_seed(seed)


@functools.cache
def gray_digits():
    """1,797 digits, 8x8, values 0/16 to 16/16, with uniform noise inside each level: continuous."""
    x = torch.as_tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return _split((x + torch.rand(x.shape, generator=_generator(1))) / 17)


@functools.cache
def stepped_digits():
    """The digits as they come: 17 levels from 0 to 1, no noise."""
    return _split(torch.as_tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16)


@functools.cache
def binary_digits():
    """The digits with each pixel drawn once, x ~ Bernoulli(gray)."""
    x = torch.as_tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return _split(torch.bernoulli(x, generator=_generator(2)))


@functools.cache
def thresholded_digits():
    """The digits cut at one half: the same strokes with hardly any noise."""
    return _split((torch.as_tensor(load_digits().data, dtype=torch.float32).reshape(-1, 1, 8, 8) > 8).float())


@functools.cache
def table(n=2400, features=12):
    """A table of real columns: a smooth function of 3 hidden numbers, and noise alike in all columns."""
    g = _generator(3)
    z = torch.randn(n, 3, generator=g)
    signal = torch.tanh(z @ torch.randn(3, 16, generator=g)) @ torch.randn(16, features, generator=g)
    x = signal / signal.std(0) + 0.25 * torch.randn(n, features, generator=g)
    return _split((x - x.mean(0)) / x.std(0))


@functools.cache
def clusters(n=2400, features=12):
    """A table of four kinds of rows, far apart."""
    g = _generator(5)
    centers = 3 * torch.randn(4, features, generator=g)
    x = centers[torch.randint(0, 4, (n,), generator=g)] + 0.3 * torch.randn(n, features, generator=g)
    # one scale for all features: scaled each by its own, their noise would differ, which is another fault
    return _split((x - x.mean(0)) / x.std())


def in_units(data):
    """The same with each column in a unit of its own: kilometres, kilograms, percent, ..."""
    return tuple(part * torch.logspace(-2, 1.5, part.shape[1]) for part in data)


@functools.cache
def rounded_table():
    """The table in steps of 1/2, as measured with a coarse instrument."""
    return tuple((2 * part).round() / 2 for part in table())


@functools.cache
def prototypes(n=2400):
    """Binary images of four kinds: digits 0, 1, 4 and 7 as stencils, and 2 % of the pixels flipped."""
    g = _generator(8)
    stencils = (torch.as_tensor(load_digits().images[[0, 1, 4, 7]], dtype=torch.float32) > 8).float()[:, None]
    x = stencils[torch.randint(0, 4, (n,), generator=g)]
    flips = (torch.rand(x.shape, generator=g) < 0.02).float()
    return _split((x - flips).abs())


@functools.cache
def counts(n=2400, features=20, *, dispersion=None):
    """Counts whose log rates are linear in 3 hidden numbers; with dispersion r, their variance is m + m^2 / r."""
    g = _generator(4)
    z = torch.randn(n, 3, generator=g)
    rate = torch.exp(0.5 * z @ torch.randn(3, features, generator=g) + 1.0).clamp(max=200)
    if dispersion is not None:
        with torch.random.fork_rng([]):
            torch.manual_seed(6)
            rate = rate * torch.distributions.Gamma(dispersion, dispersion).sample(rate.shape)
    return _split(torch.poisson(rate, generator=g))


@functools.cache
def uneven_table(n=2400, features=12):
    """The columns of a table, measured by instruments of very different quality; standardized, as people do."""
    g = _generator(9)
    z = torch.randn(n, 3, generator=g)
    hidden = torch.tanh(z @ torch.randn(3, 16, generator=g)) @ torch.randn(16, features, generator=g) / 4
    x = hidden / hidden.std(0) + torch.logspace(-1.2, 0.3, features) * torch.randn(n, features, generator=g)
    return _split((x - x.mean(0)) / x.std(0))


@functools.cache
def readings(n=2400, times=24):
    """Curves read at 24 times, by a sensor whose noise grows: a phase and a height are all there is to know."""
    g = _generator(10)
    phase, height = 6.3 * torch.rand(n, 1, generator=g), 1 + 0.3 * torch.randn(n, 1, generator=g)
    noise = torch.linspace(0.05, 1.0, times)
    return _split(height * torch.sin(torch.arange(times) / 3 + phase) + noise * torch.randn(n, times, generator=g))


@functools.cache
def gray_blobs(n=2400):
    """Gray images of a soft disc somewhere: the probability that a pixel is on."""
    g = _generator(11)
    place = 1.5 + 5 * torch.rand(n, 2, 1, 1, generator=g)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    distance = ((row - place[:, 0]) ** 2 + (column - place[:, 1]) ** 2).sqrt()
    return _split(torch.sigmoid(2.5 - 1.2 * distance)[:, None])


@functools.cache
def blobs():
    """The same with each pixel drawn once."""
    return tuple(torch.bernoulli(part, generator=_generator(13 + i)) for i, part in enumerate(gray_blobs()))


@functools.cache
def even_counts(n=2400, features=20):
    """Counts that scatter less than a Poisson: of twelve tries each, as answers to a questionnaire."""
    g = _generator(12)
    z = torch.randn(n, 3, generator=g)
    chance = torch.sigmoid(z @ torch.randn(3, features, generator=g) + 3.0)
    return _split((torch.rand(12, n, features, generator=g) < chance).float().sum(0))


@functools.cache
def short_lines(n=2400):
    """Binary images of a line of three to six pixels somewhere, across or down; 2 % of the pixels are flipped."""
    g = _generator(14)
    row, start, length = (torch.randint(*span, (n, 1, 1), generator=g) for span in ((0, 8), (0, 3), (3, 7)))
    i, j = torch.arange(8)[:, None], torch.arange(8)
    x = ((i == row) & (j >= start) & (j < start + length)).float()
    x = torch.where(torch.rand(n, 1, 1, generator=g) < 0.5, x, x.transpose(1, 2))
    flips = (torch.rand(x.shape, generator=g) < 0.02).float()
    return _split((x - flips).abs()[:, None])


@functools.cache
def grainy_blobs():
    """The gray discs through a poor camera: the noise of a pixel is half of what there is to see."""
    return tuple(
        part + 0.5 * torch.randn(part.shape, generator=_generator(15 + i)) for i, part in enumerate(gray_blobs())
    )
