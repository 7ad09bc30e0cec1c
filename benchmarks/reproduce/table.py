"""What came out, beside what was published: as Markdown, from the files of the runs alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.reproduce.job import ACTIVE, MEASURED, SPENT, file_of, measurements
from benchmarks.reproduce.plan import CROSSED, SETTINGS, Plan, Training
from nelbo import runs
from nelbo.files import read_json, write_bytes

START, END = "<!-- generated: reproduce -->", "<!-- end of reproduce -->"
NOWOZIN = {"ELBO": 1.92, "L_32": -3.17}
"""Trained by L_32 instead of the ELBO, the change of -ELBO and of -L_32, in nats (Nowozin 2018, table 1)."""


@dataclass(frozen=True)
class Result:
    """What one run left, with bounds of log p(x) in nats."""

    training: Training
    bounds: dict[str, Tensor]
    """Of each test image; the last one of every tenth."""
    pareto_k: Tensor
    """Of the last one."""
    every: int
    active: int
    updates: int
    cpu: float
    """Seconds."""
    wall: float
    measuring: float

    def shown(self, quantity: str) -> Tensor:
        """-bound of each image: lower is better."""
        return -self.bounds[quantity]

    def log_evidence(self) -> tuple[float, float]:
        """The mean of L_5000 over all test images, negated, and how far it may be off."""
        *_, few, many = map(self.shown, self.bounds)
        value, error = moved(few, many, self.every)
        return value, error


def moved(few: Tensor, many: Tensor, every: int) -> tuple[float, float]:
    """The mean over all images of what is known exactly on every tenth, and its standard error.

    It is the mean of ``few`` over all, moved by the mean of ``many`` - ``few`` over the tenth: where the two differ by
    little and alike, that is nearly as good as ``many`` on all of them.
    """
    above = many - few[::every]
    return float(few.mean() + above.mean()), _error(above)


def read(plan: Plan, out: Path) -> list[Result]:
    """The results of the trainings that are done and measured."""
    return [
        _read(plan, training, out / training.name)
        for training in plan.trainings
        if (out / training.name / MEASURED / ACTIVE).is_file()  # the last file that is written
    ]


def _read(plan: Plan, training: Training, folder: Path) -> Result:
    sizes = runs.read_record(folder)["data"]["sizes"]
    bounds: dict[str, list[float]] = {}
    shape: list[float] = []
    measuring = 0.0
    for quantity, draws, positions in measurements(plan, sizes["test"]):
        found = read_json(file_of(folder, quantity, positions))
        bounds.setdefault(quantity, []).extend(found["values"])
        measuring += found["cpu_seconds"]
        if draws == plan.many:
            shape.extend(found["pareto_k"])
    history = runs.read_history(folder)
    return Result(
        training,
        {quantity: torch.tensor(values, dtype=torch.float64) for quantity, values in bounds.items()},
        torch.tensor(shape),
        plan.every,
        read_json(folder / MEASURED / ACTIVE)["active_units"],
        training.epochs * ceil(sizes["train"] / SETTINGS["batch_size"]),
        read_json(folder / SPENT)["cpu_seconds"],
        history[-1]["seconds"],
        measuring,
    )


def markdown(plan: Plan, results: list[Result]) -> str:
    """Both tables, and what they rest on in numbers."""
    by_name = {result.training.name: result for result in results}
    crossed = _crossed(*(by_name[name] for name in CROSSED)) if by_name.keys() >= set(CROSSED) else []
    return "\n".join([*_against_published(plan, by_name), "", *crossed, "", *(_remarks(results) if results else [])])


def _against_published(plan: Plan, results: Mapping[str, Result]) -> list[str]:
    few, many = f"L_{plan.few[-1]}", f"L_{plan.many}"
    lines = [
        f"| model | epochs: published, ours | published −log p(x) | ours, −{many} | −{few} | goal, by −{few} | NELBO "
        "| active units | updates | CPU min | clock min |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for training in plan.trainings:
        told = f"| {training.title} | {training.published_epochs:,}, {training.epochs:,} | {training.published:.2f} |"
        result = results.get(training.name)
        if result is None:
            lines.append(f"{told} not measured yet |{' |' * 7}")
            continue
        value, error = result.log_evidence()
        by_few = float(result.shown(few).mean())
        goal = "" if training.goal is None else f"≤ {training.goal:.1f}: {'yes' if by_few <= training.goal else 'no'}"
        lines.append(
            f"{told} **{value:.2f} ± {error:.2f}** | {by_few:.2f} | {goal} | {float(result.shown('ELBO').mean()):.2f} "
            f"| {result.active} | {result.updates:,} | {result.cpu / 60:.1f} | {result.wall / 60:.1f} |"
        )
    return lines


def _crossed(by_elbo: Result, by_five: Result) -> list[str]:
    *known, many = names = list(by_elbo.bounds)
    heads = ["NELBO" if name == "ELBO" else f"−{name}" for name in names]
    lines = [f"| trained by | epochs | {' | '.join(heads)} |", "|---|---|" + "---|" * len(names)]
    for result, by in ((by_elbo, "ELBO"), (by_five, "L_5")):
        values = [*(float(result.shown(name).mean()) for name in known), result.log_evidence()[0]]
        lines.append(f"| {by} | {result.training.epochs} | {' | '.join(f'{value:.2f}' for value in values)} |")
    # image by image: what makes an image hard for both models drops out
    apart = {name: by_five.shown(name) - by_elbo.shown(name) for name in names}
    changes = [(float(apart[name].mean()), _error(apart[name])) for name in known]
    value, error = moved(apart[known[-1]], apart[many], by_elbo.every)
    changes.append((value, (error**2 + changes[-1][1] ** 2) ** 0.5))
    shown = " | ".join(f"**{_signed(value)} ± {error:.2f}**" for value, error in changes)
    (worse, e), (better, f), *_ = changes
    held = "holds" if worse > 3 * e and better < -3 * f else "does not hold"
    return [
        *lines,
        f"| L_5 instead of the ELBO | | {shown} |",
        "",
        f"Published for K = 32: NELBO {_signed(NOWOZIN['ELBO'])}, −L_32 {_signed(NOWOZIN['L_32'])}. The pattern, a "
        f"worse ELBO and a better L_K by more than 3 standard errors each, {held}.",
    ]


def _remarks(results: list[Result]) -> list[str]:
    first = results[0]
    *_, few, many = first.bounds
    n, tenth = len(first.bounds[few]), len(first.bounds[many])
    over_images = max(_error(result.bounds[few]) for result in results)
    above = [float((result.pareto_k > 0.7).double().mean()) for result in results]
    gain = [float((result.bounds[many] - result.bounds[few][:: result.every]).mean()) for result in results]
    training, measuring = (sum(getattr(result, of) for result in results) / 60 for of in ("cpu", "measuring"))
    settings = ", ".join(f"{name}={value!r}" for name, value in SETTINGS.items())
    return [
        f"- {n:,} test images; {many} on {tenth:,} of them, {few} on all: {many} lies "
        f"{min(gain):.2f} to {max(gain):.2f} nats above {few}.",
        f"- Standard error of a mean over the choice of test images: {over_images:.2f} nats, the same images for all "
        "models and for the published numbers.",
        f"- Pareto k of the {many} weights is above 0.7 for at least {min(above):.0%} of the images: there {many} lies "
        "noticeably below log p(x), and −log p(x) is smaller than the table says.",
        f"- Trained with {settings}; torch {torch.__version__}, one thread each.",
        f"- Processor time: {training:.0f} min of training and {measuring:.0f} min of measuring, "
        f"{(training + measuring) / 2:.0f} min on two cores.",
    ]


def write(page: Path, content: str) -> None:
    """Replace what stands between the markers of the page."""
    text = page.read_text("utf-8")
    before, rest = text.split(START)
    write_bytes(page, f"{before}{START}\n{content}\n{END}{rest.split(END)[1]}".encode())


def _error(values: Tensor) -> float:
    return float(values.std()) / len(values) ** 0.5


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
