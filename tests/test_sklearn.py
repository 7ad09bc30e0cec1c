"""The estimators of nelbo.sklearn against scikit-learn's own checks and its PCA."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import nelbo
from nelbo.sklearn import VAEDensity, VAEOutlierDetector, VAETransformer

# importance sampling is at its worst where the anomalies are
pytestmark = pytest.mark.filterwarnings(r"ignore:for [\d,]+ of [\d,]+ examples log p\(x\)")

QUICK = {"epochs": 2, "hidden": (8,), "random_state": 0}
SPARE = QUICK | {"epochs": 1, "likelihood": "normal_decoded"}  # for a hundred fits


@pytest.fixture(scope="module")
def x():
    return StandardScaler().fit_transform(load_wine().data)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(VAETransformer(**QUICK), marks=pytest.mark.slow),
        VAEDensity(method="elbo", **SPARE),
        VAEOutlierDetector(method="elbo", **SPARE),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learns_checks_pass_without_exception(estimator):
    found = check_estimator(estimator, on_fail="raise")
    assert len(found) > 40
    assert {check["check_name"] for check in found if check["status"] != "passed"} <= {"check_array_api_input"}


def test_default_scores_depend_on_the_row_alone(x):
    density = VAEDensity(**QUICK).fit(x)
    whole = density.score_samples(x)
    # 13 columns into 8 outputs: the last bit of a row differs with its place in the batch
    assert np.allclose(whole[5:6], density.score_samples(x[5:6]), rtol=0, atol=1e-6)
    assert np.allclose(whole[::-1], density.score_samples(x[::-1]), rtol=0, atol=1e-6)
    assert density.score(x) == pytest.approx(whole.mean())


@pytest.mark.parametrize(
    ("load", "latent", "epochs"),
    [(load_wine, 2, 120), (load_breast_cancer, 3, 80), pytest.param(load_digits, 4, 30, marks=pytest.mark.slow)],
)
def test_a_linear_vae_scores_as_pca(load, latent, epochs):
    x = load().data
    x = (x - x.mean(0)) / (x.std(0) + (x.std(0) == 0))
    x = x + np.random.default_rng(0).normal(scale=0.1, size=x.shape)  # digits have constant columns
    pca = PCA(latent).fit(x).score(x)
    settings = {"batch_size": 64, "learning_rate": 0.03, "schedule": "cosine", "random_state": 0}
    vae = VAEDensity(recipe="linear_vae", latent=latent, epochs=epochs, samples=200, **settings).fit(x)
    assert vae.score(x) == pytest.approx(pca, abs=0.005 * x.shape[1])


def test_names_pipelines_and_grid_search(x):
    frame = load_wine(as_frame=True).data
    pipe = make_pipeline(StandardScaler(), VAETransformer(latent=3, **QUICK)).set_output(transform="pandas")
    codes = pipe.fit_transform(frame)
    assert list(codes.columns) == [f"vaetransformer{i}" for i in range(3)]
    assert list(pipe[-1].feature_names_in_) == list(frame.columns)
    assert pipe.inverse_transform(codes.to_numpy()).shape == frame.shape
    with pytest.raises(ValueError, match="feature names"):
        pipe[-1].transform(frame[frame.columns[::-1]])
    search = GridSearchCV(VAEDensity(method="elbo", **QUICK), {"latent": [1, 2]}, cv=2).fit(x)
    assert search.best_params_["latent"] in (1, 2)
    assert np.isfinite(search.best_score_)


def test_polars_in_and_out(x):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(x, schema=[f"c{i}" for i in range(x.shape[1])])
    codes = VAETransformer(**QUICK).set_output(transform="polars").fit_transform(frame)
    assert isinstance(codes, polars.DataFrame)


def test_a_fitted_estimator_keeps_its_run_and_repeats(x):
    one, two = VAETransformer(**QUICK).fit(x), VAETransformer(**QUICK).fit(x)
    assert np.array_equal(one.transform(x), two.transform(x))
    assert nelbo.measure.report(one.run_, effort="quick", examples=20).sections
    beta = VAETransformer(recipe="beta_vae", recipe_arguments={"beta": 7.0}, **QUICK).fit(x)
    assert beta.run_.record["recipe"]["arguments"]["beta"] == 7.0


def test_an_outlier_is_found_with_the_feature_that_makes_it_one(x):
    detector = VAEOutlierDetector(contamination=0.05, method="elbo", hidden=(16,), epochs=30, random_state=0).fit(x)
    strange = x[:3].copy()
    strange[1, 6] = 12.0
    assert detector.predict(strange)[1] == -1
    assert detector.contributions(strange)[1].argmax() == 6
    assert detector.labels_.sum() == pytest.approx(0.05 * len(x), abs=1)
    assert np.array_equal(detector.decision_function(x), detector.score_samples(x) - detector.offset_)
    assert detector.threshold_ == -detector.offset_
    assert detector.offset_error_ > 0


def test_missing_values_are_taken_where_asked_for(x):
    holes = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)
    with pytest.raises(ValueError, match="NaN"):
        VAEDensity(**QUICK).fit(holes)
    for asked in ({"recipe": "missing_vae"}, {"takes_missing": True}):
        density = VAEDensity(method="elbo", **asked, **QUICK).fit(holes)
        assert np.isfinite(density.score_samples(holes)).all()


@pytest.mark.parametrize("contamination", ["auto", 0.7, 0, True])
def test_a_contamination_that_cannot_be_meant_is_refused_before_the_training(x, contamination):
    detector = VAEOutlierDetector(contamination=contamination, epochs=10**9)
    with pytest.raises(ValueError, match="a share above 0 and at most 0.5, got .*write contamination=0.1"):
        detector.fit(x)
