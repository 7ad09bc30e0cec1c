"""VAEs as estimators of scikit-learn: a transformer, a density, an outlier detector.

>>> import numpy as np
>>> X = np.random.default_rng(0).normal(size=(60, 4))
>>> VAETransformer(latent=2, epochs=2, random_state=0).fit_transform(X).shape
(60, 2)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from nelbo import recipes, training
from nelbo.data import Batch
from nelbo.measure import Scores, score_samples, threshold
from nelbo.measure.scores import Method, check_contamination, filled_up
from nelbo.nn import Activation
from nelbo.objectives import Objective
from nelbo.runs import Run
from nelbo.training.optimizers import Schedule
from nelbo.training.settings import Precision

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        DensityMixin,
        OutlierMixin,
        TransformerMixin,
    )
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"nelbo.sklearn needs scikit-learn 1.6 or later ({error}); pip install 'nelbo[sklearn]'"
    ) from None

__all__ = ["VAEDensity", "VAEOutlierDetector", "VAETransformer"]

_AXES = ("latent", "likelihood", "hidden", "activation", "prior", "posterior")
_SETTINGS = (
    "objective",
    "validation",
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "learning_rate_warm_up",
    "weight_decay",
    "clip",
    "ema",
    "patience",
    "precision",
    "device",
    "threads",
)
_ROWS = 64  # of a batch
_REAL: Any = [np.float64, np.float32]


@dataclass(kw_only=True, eq=False, repr=False)
class _Estimator(BaseEstimator):
    """What the three estimators share: arguments of a recipe and of :func:`nelbo.fit`, by their names.

    X is trained on as it is. Put ``sklearn.preprocessing.StandardScaler()`` before it where columns differ in scale.

    Args:
        recipe: a name in :mod:`nelbo.recipes`.
        latent, likelihood, hidden, activation, prior, posterior: of the recipe; None is the recipe's own.
        takes_missing: NaN in X is what was not observed; the recipe "missing_vae" takes it by itself.
        recipe_arguments: further arguments of the recipe, such as {"beta": 4.0} for beta_vae.
        random_state: an integer, a RandomState, or None for another seed at each fit.
        objective, validation, epochs, batch_size, learning_rate, schedule, learning_rate_warm_up, weight_decay, clip,
        ema, patience, precision, device, threads: of :func:`nelbo.fit`. By default nothing is held out.

    Attributes:
        run_: the run, which nelbo.measure.report, nelbo.diagnose and nelbo.figures take.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, of a frame.
    """

    recipe: str = "vae"
    latent: int = 2
    likelihood: Any = "normal"
    hidden: Sequence[int] | None = None
    activation: Activation = "relu"
    prior: str | None = None
    posterior: str | None = None
    takes_missing: bool = False
    recipe_arguments: Mapping[str, Any] | None = None
    objective: Objective | None = None
    validation: float = 0.0
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = "constant"
    learning_rate_warm_up: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    precision: Precision = "float32"
    device: str = "auto"
    threads: int | None = None
    random_state: Any = None

    @property
    def _takes_missing(self) -> bool:
        return self.takes_missing or self.recipe == "missing_vae"

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of X, (n_samples, n_features); y is ignored."""
        self._trained(X)
        return self

    def _trained(self, X: Any) -> NDArray[Any]:
        """X as it was trained on."""
        x = self._checked(X, reset=True, ensure_min_samples=2)
        given = {name: getattr(self, name) for name in _AXES}
        axes = {name: value for name, value in given.items() if value is not None}
        axes |= {"takes_missing": True} if self.takes_missing else {}
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        model = recipes.make(self.recipe, x.shape[1:], **axes, **(self.recipe_arguments or {}))
        settings = {name: getattr(self, name) for name in _SETTINGS}
        self.run_: Run = training.fit(model, x, seed=seed, progress=False, **settings)
        return x

    def _checked(self, X: Any, *, reset: bool = False, **options: Any) -> NDArray[Any]:
        if not reset:
            check_is_fitted(self)
        finite = "allow-nan" if self._takes_missing else True
        checked: Any = validate_data(self, X, reset=reset, dtype=_REAL, ensure_all_finite=finite, **options)
        return checked


@final
@dataclass(kw_only=True, eq=False, repr=False)
class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):
    """The mean of q(z|x) as features; arguments are those of a recipe and of :func:`nelbo.fit`.

    See :class:`VAEDensity` for what they share.
    """

    @property
    def _n_features_out(self) -> int:
        return self.run_.model.latent

    def transform(self, X: Any) -> Any:
        """The mean of q(z|x) of each row, (n_samples, latent), of the dtype of X."""
        x = self._checked(X)
        parts = filled_up(self.run_, Batch(torch.from_numpy(x.copy())), _ROWS)
        return torch.cat([part.embedding[:some].cpu() for part, some in parts]).numpy().astype(x.dtype)

    def inverse_transform(self, X: Any) -> Any:
        """The mean of p(x|z) of each row z of X, (n_samples, n_features)."""
        check_is_fitted(self)
        z = check_array(X, dtype=_REAL)
        return self.run_.decode(torch.from_numpy(z.copy())).cpu().numpy().astype(z.dtype)


@dataclass(kw_only=True, eq=False, repr=False)
class _Scored(_Estimator):
    """Estimators that score rows by log p(x).

    Args:
        method: of :func:`nelbo.measure.score_samples`; "elbo" is the fastest, and a lower bound.
        samples: draws of z for each row; None is the method's own number.
    """

    method: Method = "auto"
    samples: int | None = None

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Log p(x) of each row in nats: higher is more normal. It depends on the row alone."""
        return self._scores(self._checked(X)).value.numpy()

    def contributions(self, X: Any) -> NDArray[np.float64]:
        """What each feature contributes to the reconstruction error of each row, in nats, (n_samples, n_features)."""
        found = self._scores(self._checked(X), contributions=True).contributions
        assert found is not None
        return found.numpy()

    def _scores(self, x: NDArray[Any], *, contributions: bool = False) -> Scores:
        batch = Batch(torch.from_numpy(x.copy()))
        return score_samples(self.run_, batch, method=self.method, samples=self.samples, contributions=contributions)


@final
@dataclass(kw_only=True, eq=False, repr=False)
class VAEDensity(DensityMixin, _Scored):
    """Log p(x) of a VAE; arguments are those of a recipe, of :func:`nelbo.fit`, and method and samples of a score."""

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The mean of log p(x) over the rows, in nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[Any]:
        """New rows, (n_samples, n_features)."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self.run_.sample(n_samples, seed=seed).cpu().numpy()


@final
@dataclass(kw_only=True, eq=False, repr=False)
class VAEOutlierDetector(OutlierMixin, _Scored):
    """Outliers by log p(x): rows that score below the quantile of the training rows at a contamination rate.

    Args:
        contamination: share of the training rows that score below the threshold, above 0 and at most 0.5.

    Attributes:
        offset_: the threshold, in nats: decision_function = score_samples - offset_.
        offset_error_: its standard error, see :func:`nelbo.measure.threshold`.
        decision_scores_, threshold_, labels_: PyOD's names, in which higher is more abnormal and 1 is an outlier.
    """

    contamination: float = 0.1

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of X, (n_samples, n_features), and take the threshold; y is ignored."""
        check_contamination(self.contamination)
        self.training_scores_ = self._scores(self._trained(X)).value.numpy()
        found = threshold(torch.from_numpy(self.training_scores_), self.contamination)
        self.offset_, self.offset_error_ = float(found), found.error
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Score less threshold in nats: negative for an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for outliers, 1 for all others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def decision_scores_(self) -> NDArray[np.float64]:
        """-log p(x) of each training row."""
        return -self.training_scores_

    @property
    def threshold_(self) -> float:
        """-offset_: rows whose -log p(x) is larger are outliers."""
        return -self.offset_

    @property
    def labels_(self) -> NDArray[np.int64]:
        """1 for each training row that is an outlier, 0 for all others."""
        return (self.decision_scores_ > self.threshold_).astype(int)
