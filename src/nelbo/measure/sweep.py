"""A sweep of beta: the curve of rate and distortion that one architecture can reach."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nelbo import figures, recipes
from nelbo.cluster import announce, side_by_side
from nelbo.data import Data
from nelbo.files import plain, write_json
from nelbo.measure.context import report_context
from nelbo.measure.loss_terms import RateDistortion, rate_distortion
from nelbo.progress import ProgressBar
from nelbo.report import Row
from nelbo.report.parts import as_json
from nelbo.runs import Run
from nelbo.training import fit_or_resume
from nelbo.training.by_ray import Sent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
FILE, PICTURE = "sweep.json", "rate-distortion.png"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Models of one architecture whose KL weighs differently, and where they stand.

    Attributes:
        betas: of each run; None for the autoencoder.
        runs: trained.
        points: rate and distortion on held-out data.
    """

    betas: tuple[float | None, ...]
    runs: tuple[Run, ...]
    points: tuple[RateDistortion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(_name(beta) for beta in self.betas)

    def figure(self) -> "Figure":
        """The curve, with the VAE's and the autoencoder's place on it."""
        return figures.rate_distortion(
            [at.point(name, on_curve=True) for name, at in zip(self.names, self.points, strict=True)]
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        """The terms of each model's loss on held-out data."""
        return tuple(
            Row(name, name, "", {"rate (KL)": at.rate, "distortion": at.distortion, "= NELBO": at.total})
            for name, at in zip(self.names, self.points, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the autoencoder's infinite rate becomes None."""
        return plain(
            {
                "models": [
                    {
                        "name": name,
                        "beta": beta,
                        "run": None if run.path is None else run.path.name,
                    }
                    | as_json(at)
                    for name, beta, run, at in zip(self.names, self.betas, self.runs, self.points, strict=True)
                ]
            }
        )

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write sweep.json and the figure into a folder; returns both paths."""
        folder = Path(folder)
        write_json(folder / FILE, self.to_dict())
        return folder / FILE, figures.save(self.figure(), folder / PICTURE)


def sweep(
    data: Data,
    *,
    out: str | Path,
    betas: Sequence[float] = BETAS,
    autoencoder: bool = True,
    model: Mapping[str, Any] | None = None,
    seed: int = 0,
    ray: int | None = None,
    **training: Any,
) -> Sweep:
    """Train a model for each beta, and the autoencoder beside them, and measure rate and distortion of each.

    Each model is a run of its own in ``out``: an interrupted sweep goes on where it stopped, and another beta joins
    the ones that are there.

    Args:
        data: what nelbo.data.load returned.
        out: folder of the runs.
        betas: weights of the KL; 1 is the VAE.
        autoencoder: train the plain autoencoder too, whose rate is infinite: where the curve ends.
        model: arguments of the recipe, such as ``{"latent": 2}``.
        seed: of weights, order and noise, the same for all.
        ray: train so many at a time in a Ray cluster, each on as many threads as ``threads`` says, or else one; a model
            whose process is lost goes on from its last checkpoint. ``out`` must be seen by all machines.
        **training: settings of :func:`nelbo.fit`.

    Raises:
        ValueError: a beta that cannot be meant, or a folder that holds runs with other settings.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", section 4.
    """
    if not betas or not all(0 < beta < math.inf for beta in betas) or len(set(betas)) < len(betas):
        raise ValueError(f"betas must be different positive numbers, such as 0.1 0.3 1 3 10; got {list(betas)}")
    chosen: list[float | None] = [*sorted(betas), *([None] if autoencoder else [])]
    arguments = dict(model or {})
    if ray is not None:
        _train_by_ray(
            ray,
            [(_recipe(data, beta, arguments), Path(out) / _folder(beta)) for beta in chosen],
            data,
            {"seed": seed, **training},
        )
    trained = tuple(
        fit_or_resume(_recipe(data, beta, arguments), data, out=Path(out) / _folder(beta), seed=seed, **training)
        for beta in chosen
    )
    points = tuple(rate_distortion(run, report_context(run, data, seed=seed).held_out) for run in trained)
    return Sweep(tuple(chosen), trained, points)


def _train_by_ray(at_once: int, models: list[tuple[Any, Path]], data: Data, settings: dict[str, Any]) -> None:
    """Train models side by side, each into a folder of its own."""
    sent, show = Sent.of(data), settings.get("progress", True)
    settings = {"threads": 1, **settings, "progress": False}
    tasks = [functools.partial(_train, make, sent, folder, settings) for make, folder in models]
    threads, accelerated = settings["threads"], settings.get("device") != "cpu"
    if show:
        announce(at_once)
    with ProgressBar("training", len(tasks), show=show) as bar:
        side_by_side(tasks, at_once, threads=threads, accelerated=accelerated, look=bar.reach)


def _train(make: Any, sent: Sent, folder: Path, settings: dict[str, Any]) -> None:
    fit_or_resume(make, sent.loaded(), out=folder, **settings)


def _recipe(data: Data, beta: float | None, arguments: dict[str, Any]) -> Any:
    if beta is None:
        # an autoencoder has no prior and no posterior to choose
        own = {name: value for name, value in arguments.items() if name not in ("prior", "posterior")}
        return functools.partial(recipes.make, "autoencoder", data.event_shape, **own)
    return functools.partial(recipes.make, "beta_vae", data.event_shape, beta=beta, **arguments)


def _name(beta: float | None) -> str:
    return "autoencoder" if beta is None else "VAE (β = 1)" if beta == 1 else f"β = {beta:g}"


def _folder(beta: float | None) -> str:
    return "autoencoder" if beta is None else f"beta-{beta:g}"
