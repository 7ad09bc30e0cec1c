"""The theory on real digits: an autoencoder and two VAEs, trained, measured and drawn side by side."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nelbo import data as nelbo_data
from nelbo import figures, recipes
from nelbo.data import Data, Dataset
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate
from nelbo.files import read_json
from nelbo.latents import spread
from nelbo.launcher import versions
from nelbo.measure import compare as compare_runs
from nelbo.measure import report
from nelbo.report import MEASURES, PAGE
from nelbo.runs import WEIGHTS, Run
from nelbo.training import fit_or_resume
from nelbo.training.fit import ShowProgress

EPOCHS = 40
_DRAWS = 16  # of z for each held-out digit
# folder -> (recipe, its own arguments); all share the networks below
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "autoencoder": ("autoencoder", {}),
    "vae": ("vae", {}),
    "beta-vae": ("beta_vae", {"beta": 10.0}),
}
TITLES = {"autoencoder": "Autoencoder", "vae": "VAE", "beta-vae": "β-VAE (β = 10)"}
_NETWORKS: dict[str, Any] = {"latent": 2, "hidden": (400, 200)}


@dataclass(frozen=True)
class Measured:
    """One model of the demo under measurement."""

    name: str
    title: str
    run: Run
    held_out: tuple[Estimate, Estimate, Estimate]
    """Means of reconstruction error, KL and NELBO over the held-out digits, in nats."""
    one: figures.Row
    """The one digit: its terms, over many draws of z, and what the figure shows."""

    @property
    def is_point(self) -> bool:
        """Whether q(z|x) is a point."""
        return self.one.is_point

    @property
    def mu(self) -> Tensor:
        """(2,) mean of q(z|x) for the one digit."""
        return self.one.evaluation.embedding[0]

    @property
    def sigma(self) -> Tensor:
        """(2,) standard deviations of q(z|x); zero for an autoencoder."""
        return spread(self.one.evaluation.qz)[0]

    @property
    def at_mean(self) -> float:
        """-log p(x|z) of the one digit at z = mu, in nats."""
        return float(self.one.evaluation.error_at_embedding[0])


def load_data(*, seed: int = 0) -> Data:
    """5,000 real MNIST digits, black and white at a threshold of one half, 1,000 of them held out."""
    return nelbo_data.load("mnist5k", binarize="threshold", validation=1000, seed=seed)


def train(
    data: Data,
    out: Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    device: str = "auto",
    progress: ShowProgress = True,
) -> dict[str, Run]:
    """Train the models of the demo, or take up the runs that an earlier call left, finished or not.

    Raises:
        ValueError: ``out`` holds runs with other settings.
    """
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": 100, "seed": seed}
    settings |= {"device": device, "progress": progress}
    return {
        name: fit_or_resume(
            functools.partial(recipes.make, recipe, data.event_shape, **_NETWORKS, **own),
            data,
            out=out / name,
            **settings,
        )
        for name, (recipe, own) in MODELS.items()
    }


def pick(examples: Dataset, *, digit: int = 6, index: int | None = None) -> int:
    """The position of the example to look at: ``index``, or the first with that label.

    Raises:
        ValueError: there is none.
    """
    if index is not None:
        if not 0 <= index < len(examples):
            raise ValueError(f"--index must be from 0 to {len(examples) - 1}, the held-out digits; got {index}")
        return index
    labels = examples.labels
    positions = [] if labels is None else (labels == digit).nonzero().flatten().tolist()
    if not positions:
        raise ValueError(f"--digit must be one of the labels 0 to 9, got {digit}")
    return positions[0]


def measure(name: str, run: Run, examples: Dataset, position: int, *, seed: int = 0) -> Measured:
    """The terms of the negative ELBO on all examples and on one of them."""
    digits = examples.examples(len(examples))
    terms = evaluate(run, digits, seed=seed).terms(_DRAWS)
    error, kl, nelbo = map(Estimate.mean_of, (terms.reconstruction_error, terms.kl, terms.elbo.scaled(-1)))
    one = figures.row(run, digits[[position]], run.encode(digits), examples.labels, title=TITLES[name], seed=seed)
    return Measured(name, TITLES[name], run, (error, kl, nelbo), one)


def compare(models: Sequence[Measured], what: str) -> list[str]:
    """Which model has the higher reconstruction error and which the higher KL on the one digit, and why."""
    errors = sorted(models, key=lambda m: -m.one.reconstruction_error)
    bound = [m for m in models if not m.is_point]
    kls = sorted(bound, key=lambda m: -m.one.kl)
    first, others = errors[0], [f"{_error(m)} ({m.title})" for m in errors[1:]]
    sentences = [
        f"On {what}, the {first.title} has the highest reconstruction error: "
        f"{_error(first)} nats, against {_list(others)}. {_why_error(first, errors[-1])}"
    ]
    if len(kls) > 1:
        high, others = kls[0], [f"{Estimate.number(m.one.kl).text} ({m.title})" for m in kls[1:]]
        sentences.append(
            f"The {high.title} has the higher KL: {Estimate.number(high.one.kl).text} nats, against {_list(others)}. "
            f"{_why_kl(high, kls[-1])}"
        )
    for point in (m for m in models if m.is_point):
        sentences.append(
            f"The {point.title} has no KL term: its q(z|x) is a point, whose KL to any prior is infinite, so its loss "
            f"bounds no log p(x). Its codes spread {_spread(point):.1f} wide where the prior's would spread 1.0."
        )
    return sentences


def draw_figures(models: Sequence[Measured], out: Path, *, seed: int = 0) -> Iterator[tuple[Path, str]]:
    """Draw and save the figures of the demo; yields each file with a sentence on what it shows."""
    folder = out / "figures"
    figure, text = figures.comparison([m.one for m in models]), "one digit under each model: input, embedding, "
    yield figures.save(figure, folder / "comparison.png"), text + "reconstruction, and the two terms of its loss"
    figure, text = figures.latent_grid(models[1].run), f"what the {models[1].title} decodes across the latent plane"
    yield figures.save(figure, folder / "latent-grid.png"), text
    figure = figures.samples({m.title: m.run for m in models[:2]}, seed=seed)
    text = "new digits from the prior: an autoencoder was never asked to fill it"
    yield figures.save(figure, folder / "samples.png"), text
    figure = figures.loss_curves({m.title: m.run for m in models})
    yield figures.save(figure, folder / "loss-curves.png"), "reconstruction error, KL and NELBO while training"


def reports(models: Sequence[Measured], out: Path, *, index: int, seed: int = 0) -> Iterator[tuple[Path, str]]:
    """Measure every run and set all side by side; yields each page with a sentence on what it shows.

    A run that an earlier call measured keeps its report.
    """
    for model in models:
        folder = out / model.name
        if not _measured_before(folder, seed):
            report(model.run, effort="quick", seed=seed).save(folder)
        yield folder / PAGE, f"the {model.title} by itself: log p(x), latents, samples"
    ordered = sorted(models, key=lambda model: model.is_point)
    side_by_side = compare_runs(
        [model.run for model in ordered],
        index=index,
        effort="quick",
        seed=seed,
        names=[model.title for model in ordered],
        title="An autoencoder and two VAEs on handwritten digits",
    )
    yield side_by_side.save_page(out / PAGE), "all three side by side, on the same digits"


def _measured_before(folder: Path, seed: int) -> bool:
    """Whether the report in a folder is of the weights beside it, by this version and seed."""
    try:
        record = read_json(folder / MEASURES)
        newer = (folder / MEASURES).stat().st_mtime_ns > (folder / WEIGHTS).stat().st_mtime_ns
    except (OSError, ValueError):
        return False
    same = record.get("versions") == versions() and record.get("settings", {}).get("seed") == seed
    return newer and same and bool(record.get("complete")) and (folder / PAGE).is_file()


def _error(measured: Measured) -> str:
    """The reconstruction error of the one digit, in the digits of tables and figures."""
    return Estimate.number(measured.one.reconstruction_error, measured.one.standard_error).text


def _why_error(high: Measured, low: Measured) -> str:
    """Splits the difference into what the decoded mean gets wrong and what the noise of z adds."""
    noise = [m.one.reconstruction_error - m.at_mean for m in (high, low)]
    from_noise, from_mean = noise[0] - noise[1], high.at_mean - low.at_mean
    blur = f"its decoded mean is {from_mean:.1f} nats farther from the digit"
    if from_mean <= 0:
        blur = f"though its decoded mean is {-from_mean:.1f} nats closer to the digit"
    other = "none in an autoencoder" if low.is_point else _pair(low.sigma)
    spread = f"the noise of z, sigma = {_pair(high.sigma)} against {other}, costs it {from_noise:.1f} nats more"
    if from_noise <= 0:
        spread = f"the noise of z costs it {-from_noise:.1f} nats less"
    first, second = (blur, spread) if abs(from_mean) >= abs(from_noise) else (spread, blur)
    gap = high.one.reconstruction_error - low.one.reconstruction_error
    return f"Of the {gap:.1f} nats to the {low.title}: {first}; {second}."


def _why_kl(high: Measured, low: Measured) -> str:
    """Splits the difference of KL(N(mu, sigma^2) || N(0, I)): sum mu^2 / 2, and sum (sigma^2 - 1) / 2 - log sigma."""
    place = [0.5 * float(m.mu.square().sum()) for m in (high, low)]
    width = [float((0.5 * (m.sigma.square() - 1) - m.sigma.log()).sum()) for m in (high, low)]
    from_place, from_width = place[0] - place[1], width[0] - width[1]
    by_width = (
        f"its sigma, {_pair(high.sigma)} against {_pair(low.sigma)} where p(z) has 1, makes {from_width:+.1f} nats",
        abs(from_width),
    )
    by_place = (
        f"the distance of its mean from the origin, {float(high.mu.norm()):.1f} against {float(low.mu.norm()):.1f}, "
        f"makes {from_place:+.1f}",
        abs(from_place),
    )
    first, second = sorted((by_width, by_place), key=lambda part: -part[1])
    return f"Why: {first[0]}; {second[0]}."


def _spread(measured: Measured) -> float:
    """Standard deviation of the held-out embeddings, averaged over the two axes."""
    return float(measured.one.embeddings.std(0).mean())


def _pair(values: Tensor) -> str:
    return f"({', '.join(f'{value:.2f}' for value in values.tolist())})"


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
