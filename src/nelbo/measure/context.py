"""What a report is about: a model and its data, and what several sections need of them, computed once."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nelbo.data import Data, Dataset, as_data
from nelbo.data.kinds import treatments
from nelbo.data.loading import is_named
from nelbo.estimate import Estimate
from nelbo.evaluation import ElboTerms, Evaluation, evaluate, rows_at_once
from nelbo.launcher import versions
from nelbo.measure.evidence import Evidence
from nelbo.measure.log_evidence import log_evidence
from nelbo.registry import check_choice
from nelbo.report import Report, Section
from nelbo.runs import Run
from nelbo.vae import Model, as_model

Split = Literal["auto", "test", "validation", "train"]
Effort = Literal["quick", "normal", "thorough"]
EFFORTS: tuple[Effort, ...] = ("quick", "normal", "thorough")
# for each effort
_EXAMPLES = (2000, 10_000, 100_000)
_EVIDENCE_ON_A_GRID = (1000, 10_000, 100_000)
_TOLERANCE = (1e-2, 1e-3, 1e-3)  # nats, of a grid; the mean over a thousand examples is no better than half a nat
_EVIDENCE_BY_SAMPLING = (200, 500, 2000)
_EVIDENCE_BY_ANNEALING = (0, 0, 20)
_SAMPLES = (200, 1000, 5000)
_GAPS = (20, 100, 500)
_MATCHED = (500, 1000, 2000)
_BUDGETS = 512  # of memory, for the examples of one part: half a gigabyte


@dataclass(frozen=True, eq=False)
class ReportContext:
    """A model under measurement.

    Attributes:
        model: the model.
        run: its run, if it comes from one.
        data: where the parts come from.
        split: the name of the part that is held out; "train" where nothing is, "given" where the training set is
            not there.
        held_out: the examples that it is judged on.
        train: examples it was trained on; None where nothing is held out, and the two are the same.
        sets: the whole data sets that these were chosen from.
        effort: position in ``EFFORTS``.
        samples: of z, for log p(x) by sampling.
        seed: of every draw.
    """

    model: Model
    run: Run | None
    data: Data
    split: str
    held_out: Evaluation
    train: Evaluation | None
    sets: tuple[Dataset, ...]
    effort: int
    samples: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def training(self) -> Evaluation:
        """What the model was trained on, also where nothing is held out."""
        return self.train or self.held_out

    @property
    def parts(self) -> list[Evaluation]:
        """Held out, then training if that is another."""
        return [self.held_out] if self.train is None else [self.held_out, self.train]

    @property
    def is_point(self) -> bool:
        """Whether q(z|x) is a point, as in an autoencoder."""
        return self.held_out.is_point

    @property
    def latent(self) -> int:
        """Number of latent dimensions."""
        return self.held_out.latent

    @property
    def terms(self) -> list[ElboTerms]:
        """The ELBO's terms of each part."""
        return [part.terms() for part in self.parts]

    @property
    def has_evidence(self) -> bool:
        """Whether log p(x) can be found in the time that the effort allows: of an autoencoder only annealing may do."""
        return self.evidence_examples > 0

    @property
    def evidence_examples(self) -> int:
        """For how many examples of a part log p(x) is found."""
        most = _EVIDENCE_BY_ANNEALING if self.is_point else _EVIDENCE_BY_SAMPLING
        most = _EVIDENCE_ON_A_GRID if self.latent <= 2 else most
        return min(len(self.held_out), most[self.effort])

    @cached_property
    def missing(self) -> bool:
        """Whether some values were not observed."""
        return any(bool(part.x.isnan().any()) for part in self.parts)

    def scope(self, most: int | None = None) -> str:
        """How many examples of each part, of at most so many, in words."""
        n = [min(len(part), most or len(part)) for part in self.parts]
        return f"{n[0]:,} examples" if len(n) == 1 else f"{n[0]:,} held-out and {n[1]:,} training examples"

    @property
    def gap_examples(self) -> int:
        """For how many q(z|x) is optimized one by one."""
        return min(len(self.held_out), _GAPS[self.effort])

    @property
    def matched(self) -> int:
        """How many samples are compared with as many examples."""
        return _MATCHED[self.effort]

    @cached_property
    def evidence(self) -> list[Evidence]:
        """Log p(x) of the first examples of each part: all in one call, for a grid is decoded once for all."""
        n = self.evidence_examples
        samples = None if self.latent <= 2 else self.samples  # a grid needs none
        examples = self.held_out[:n] if self.train is None else self.held_out[:n] + self.train[:n]
        evidence = log_evidence(self.model, examples, samples=samples, tolerance=_TOLERANCE[self.effort])
        return [evidence.part(slice(0, n)), evidence.part(slice(n, None))][: len(self.parts)]

    def elbo_of_evidence(self, i: int) -> Estimate:
        """The ELBO of those examples of part i whose log p(x) is known."""
        return self.terms[i].elbo[: len(self.evidence[i].value)]

    def report(self, sections: tuple[Section, ...], *, complete: bool = True) -> Report:
        """The report of these sections."""
        name = self.run.name if self.run is not None else type(self.model).__name__
        line = command("measure", [self.settings["run"]], self.settings)
        return Report(name, self.facts, self.settings, sections, complete, versions(), line)

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is measured, as lines of (name, text)."""
        record = self.run.record if self.run is not None else {}
        facts: list[tuple[str, str]] = []
        if record.get("recipe"):
            facts.append(("recipe", str(record["recipe"]["name"])))
        kind = type(self.model)
        facts.append(("model", str(record.get("model") or f"{kind.__module__}.{kind.__qualname__}")))
        facts.append(("data", str(self.data).splitlines()[0]))
        kinds = self.data.kinds.values()
        facts.append(("preparation", treatments(kinds) if kinds else self.data.preparation.sentence))
        if self.data.preparation.is_random:
            facts.append(("draws", f"made once, by seed {self.seed}: every model sees the same values"))
        if record.get("training"):
            training = record["training"]
            epochs = len(self.run.history) if self.run is not None else training["epochs"]
            length = f"{epochs} epoch{'s' if epochs != 1 else ''}"
            facts.append(("training", f"{length} of batches of {training['batch_size']}, {record.get('status')}"))
        if self.run is not None and self.run.unfinished:
            facts.append(("unfinished", self.run.unfinished))
        counts = f"{len(self.held_out):,} {_SPLITS[self.split]} examples"
        if self.train is not None:
            counts += f", beside {len(self.train):,} training examples"
        facts.append(("measured on", counts))
        return tuple(facts)


UNNAMED = "in memory"
GIVEN = "given"
"""The split of data that were given where what the run was trained on is not there."""
_SPLITS = {"test": "test", "validation": "validation", "train": "training (none are held out)", GIVEN: "given"}


def report_context(
    model: Any,
    data: Any = None,
    *,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> ReportContext:
    """A model, or a run, and its data, ready to be measured; the arguments are those of ``report``."""
    run = model if isinstance(model, Run) else None
    subject = as_model(model)
    if data is None and run is None:
        raise ValueError(
            "a model alone does not know its data; write report(vae, data), or report(nelbo.load('runs/x'))"
        )
    check_choice("effort", effort, EFFORTS)
    level = EFFORTS.index(effort)
    if samples is not None and samples < 2:
        raise ValueError(f"samples must be at least 2, for a standard error; got {samples}")
    if examples is not None and examples < 20:
        raise ValueError(f"examples must be at least 20: fewer say nothing about a distribution; got {examples}")
    loaded, name, held_out = _judged(run, data, split)
    if len(held_out) < 20:
        raise ValueError(f"the {name} part has {len(held_out)} examples; 20 or more are needed to say anything")
    most = examples or _EXAMPLES[level]
    train = None if name in ("train", GIVEN) else _part(subject, loaded.train, most, seed)
    judged = _part(subject, held_out, most, seed)
    subject.check(judged.x[:2])
    subject.check_values(judged.x)
    settings = {
        "run": None if run is None or run.path is None else str(run.path),
        "data": None if data is None else _name_of(data) or loaded.origin.get("source") or UNNAMED,
        "split": "test" if name == GIVEN else name,
        "effort": effort,
        "seed": seed,
        "examples": most,
        "samples": samples or _SAMPLES[level],
    }
    sets = (held_out,) if train is None else (held_out, loaded.train)
    return ReportContext(
        subject, run, loaded, name, judged, train, sets, level, samples or _SAMPLES[level], seed, settings
    )


def _judged(run: Run | None, data: Any, split: Split) -> tuple[Data, str, Dataset]:
    """The data, and the part of them on which a model is judged, with its name."""
    if run is None or not is_named(data):
        loaded: Data = run.data if data is None and run is not None else as_data(data)  # pyright: ignore[reportArgumentType]
        return loaded, *_held_out(loaded, split)
    given = run.beside(data)
    if isinstance(given, Dataset):
        loaded = as_data(given)
        return replace(loaded, origin=loaded.origin | {"source": _name_of(data)}), GIVEN, given
    return given, *_held_out(given, split if given is run.data else "test")  # its own data have their own split


def _name_of(data: Any) -> str | None:
    return str(data) if isinstance(data, str | Path) else None


def _held_out(data: Data, split: Split) -> tuple[str, Dataset]:
    there = {"test": data.test, "validation": data.validation, "train": data.train}
    if split == "auto":
        return next((name, part) for name, part in there.items() if part is not None)
    if split not in there:
        raise ValueError(f"split must be auto, {', '.join(there)}; got {split!r}")
    part = there[split]
    if part is None:
        named = ", ".join(name for name, part in there.items() if part is not None)
        raise ValueError(f"the data have no {split} part; they have: {named}. Write split={named.split(', ')[0]!r}")
    return split, part


def _part(model: Model, dataset: Dataset, most: int, seed: int) -> Evaluation:
    """At most so many examples, chosen at random by the seed."""
    fit = max(20, rows_at_once(math.prod(dataset.event_shape), passes=_BUDGETS))
    return evaluate(model, dataset, seed=seed, n=min(most, fit))


def command(what: str, runs: Sequence[str | None], settings: Mapping[str, Any]) -> str:
    """The line that measures this again: of the shell where runs and data can be named there, else of Python."""
    names = ("index", "split", "effort", "examples", "samples", "seed")
    options = {name: settings[name] for name in names if name in settings}
    paths, data = [path for path in runs if path is not None], settings["data"]
    if len(paths) < len(runs) or data == UNNAMED:
        python = {"measure": "report(model", "compare": "compare(runs"}[what]
        return f"nelbo.measure.{python}, data, {', '.join(f'{name}={value!r}' for name, value in options.items())})"
    options = ({} if data is None else {"data": data}) | options
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return shlex.join(["nelbo", what, *paths, *words])
