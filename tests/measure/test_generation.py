"""Samples against data, where the truth is known."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from nelbo.likelihoods import Normal
from nelbo.measure import density_coverage, features_for, from_embeddings, independent_features, sample_match
from nelbo.nn import MLP
from nelbo.vae import VAE
from tests.cases import binary, categories, counts, real
from tests.linear_gaussian import LinearGaussian


def rows(n, seed=0, width=4):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_density_and_coverage_are_their_definition():
    a, b = rows(40, 1).numpy(), rows(50, 2).numpy()
    found = density_coverage(torch.from_numpy(a), torch.from_numpy(b), neighbours=3)
    distance = np.linalg.norm(b[:, None] - b[None], axis=-1)
    radius = np.sort(distance, axis=1)[:, 3]
    inside = np.linalg.norm(b[:, None] - a[None], axis=-1) <= radius[:, None]
    assert float(found.density) == pytest.approx(inside.sum() / (3 * 40))
    assert float(found.coverage) == pytest.approx(inside.any(1).mean())


def test_equal_distributions_have_density_one_and_known_coverage():
    found = density_coverage(rows(2000, 1), rows(2000, 2))
    n, k = 2000, 5
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])  # Naeem et al. 2020, eq. 10
    assert abs(float(found.coverage) - expected) < 4 * float(found.coverage.standard_error)
    assert abs(float(found.density) - 1) < 5 * float(found.density.standard_error)


def test_what_lies_apart_and_what_misses_a_mode():
    far = density_coverage(rows(300) + 50, rows(300, 1))
    assert float(far.density) == float(far.coverage) == 0
    two = torch.cat([rows(300, 1), rows(300, 2) + 50])
    one = density_coverage(rows(600, 3), two)
    assert float(one.coverage) == pytest.approx(0.5, abs=0.03)


def test_samples_of_the_true_model_are_like_the_data():
    model = LinearGaussian.random()
    found = sample_match(model.vae(), model.sample(800, seed=1), model.sample(800, seed=2))
    assert found.classifier.p_value > 0.02
    assert found.mmd.p_value > 0.02
    assert abs(float(found.copying) - 0.5) < 4 * found.copying.error
    assert abs(float(found.samples.coverage) - float(found.data.coverage)) < 0.04
    assert found.features == "the 6 values, standardized"
    assert found.drawn.shape == found.neighbours.shape == (10, 6)


class Parrot(nn.Module):
    """Decodes every z to the known example whose own random place lies nearest."""

    def __init__(self, known):
        super().__init__()
        self.register_buffer("known", known)
        self.register_buffer("places", rows(len(known), 9, 3))

    def forward(self, z):
        return self.known[torch.cdist(z.double(), self.places).argmin(1)]


def test_copies_are_found():
    model = LinearGaussian.random()
    train, held_out = model.sample(400, seed=1), model.sample(400, seed=2)
    parrot = VAE(MLP((6,), 6), Parrot(train), latent=3, likelihood=Normal(0.01))
    found = sample_match(parrot, train, held_out)
    assert float(found.copying) > 0.95
    assert found.copying.p_value < 1e-10
    assert torch.equal(found.drawn, found.neighbours)


def test_other_samples_are_told_from_data():
    model = LinearGaussian.random()
    found = sample_match(model.vae(), 2 * model.sample(400, seed=1), 2 * model.sample(400, seed=2))
    assert float(found.classifier) > 0.6
    assert found.mmd.p_value < 0.01
    assert float(found.samples.coverage) < float(found.data.coverage) - 0.2


def test_features_fit_the_data():
    assert features_for(real(50)).name == "the 6 values, standardized"
    assert features_for(counts(50)).name == "the 6 log(1 + counts), standardized"
    assert "one-hot values" in features_for(categories(50, (12,))).name
    images = binary(60, (1, 8, 8))
    features = features_for(images, components=4)
    assert features.name.startswith("the first 4 principal components of the training pixels (")
    # directions have no sign
    ours, theirs = features(images), PCA(4, svd_solver="full").fit_transform(images.flatten(1).double().numpy())
    np.testing.assert_allclose(ours.abs(), np.abs(theirs), atol=1e-6)


def test_more_features_than_rows():
    x = rows(30, width=100).float()
    theirs = PCA(5, svd_solver="full").fit_transform(x.double().numpy())
    np.testing.assert_allclose(features_for(x, components=5)(x).abs(), np.abs(theirs), atol=1e-6)


def test_too_few_examples():
    model = LinearGaussian.random()
    with pytest.raises(ValueError, match="20 or more training and held-out examples, got 5 and 100"):
        sample_match(model.vae(), model.sample(5), model.sample(100))


def test_reconstruction_from_embeddings_beside_pca():
    model = LinearGaussian.random(orthogonal=True)
    train, x = model.sample(2000, seed=1), model.sample(500, seed=2)
    found = from_embeddings(model.vae(), x, train)
    pca = PCA(3).fit(train.numpy())
    mean = train.numpy().mean(0)
    left = x.numpy() - pca.inverse_transform(pca.transform(x.numpy()))
    linear = 1 - (left**2).sum() / ((x.numpy() - mean) ** 2).sum()
    assert float(found.linear) == pytest.approx(linear, rel=1e-6)
    # the exact posterior mean shrinks, so that it explains a little less than the projection does
    assert linear - 0.1 < float(found.explained) < linear + 0.01
    assert found.x.shape == x.shape
    assert 0 < float(found.explained.standard_error) < 0.05


def test_a_model_without_a_latent():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    found = independent_features(x, x[:1])
    assert float(found.value[0]) == pytest.approx(np.log(3.5 / 4) + np.log(1 - 1.5 / 4))
    train = real(500)
    normal = independent_features(train, train[:3])
    expected = torch.distributions.Normal(train.double().mean(0), train.double().std(0)).log_prob(train[:3]).sum(1)
    np.testing.assert_allclose(normal.value, expected, rtol=1e-6)
    assert independent_features(counts(50), counts(50)) is None
