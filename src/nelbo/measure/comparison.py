"""Runs side by side, on the same examples: each difference with the standard error of paired examples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo import figures
from nelbo.data import Data, as_data
from nelbo.files import plain, write_bytes
from nelbo.measure.case import Case, Effort, Split, case_of
from nelbo.measure.latent_usage import latent_usage
from nelbo.measure.loss_terms import from_embeddings, rate_distortion
from nelbo.measure.results import Number, Picture, Unit, mean_of
from nelbo.runs import Run

_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Compared:
    """A quantity of every run.

    Attributes:
        id: the name in JSON.
        label: the name for people.
        values: of each run; None where it has none.
        differences: each run's value less the first one's, paired by example; None where there is none.
        unit: of both.
        lower_is_better: or higher; None where neither is.
    """

    id: str
    label: str
    values: tuple[Number | None, ...]
    differences: tuple[Number | None, ...]
    unit: Unit = "nats"
    lower_is_better: bool | None = None

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Ready for JSON."""
        made: dict[str, Any] = {"id": self.id, "label": self.label, "unit": self.unit, "runs": {}}
        for name, value, difference in zip(names, self.values, self.differences, strict=True):
            entry = {} if value is None else value.to_dict()
            made["runs"][name] = entry | ({} if difference is None else {"minus_first": difference.to_dict()})
        return made


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes:
        names: of the runs; differences are to the first.
        facts: what they were compared on, as (name, text).
        rows: the quantities.
        findings: sentences.
        index: the example that is shown under each, its position in the held-out part.
        pictures: the figures.
        paths: the folders of the runs, or None.
    """

    names: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Compared, ...]
    findings: tuple[str, ...]
    index: int
    pictures: tuple[Picture, ...]
    paths: tuple[Path | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON; infinite numbers become None."""
        return plain(
            {
                "runs": list(self.names),
                "facts": dict(self.facts),
                "index": self.index,
                "findings": list(self.findings),
                "quantities": [row.to_dict(self.names) for row in self.rows],
            }
        )

    def to_html(self, *, title: str = "Runs side by side", beside: Path | None = None) -> str:
        """The page, one file that needs no network; ``beside``, its folder, lets it link the runs' own pages."""
        from nelbo.measure.page.comparison import comparison_page

        return comparison_page(self, title, beside=beside)

    def table(self) -> Any:
        """A rich table: ``rich.print(comparison.table())``."""
        from nelbo.measure.table import comparison_table

        return comparison_table(self)

    def save(self, path: str | Path, *, title: str = "Runs side by side") -> Path:
        """Write the page, whole or not at all."""
        path = Path(path)
        write_bytes(path, self.to_html(title=title, beside=path.parent).encode())
        return path


def compare(
    runs: Sequence[Run],
    data: Any = None,
    *,
    index: int | None = None,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    titles: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Set runs side by side on the same held-out examples, and show one example under each.

    The difference of two runs is taken example by example, and its standard error is that of those differences: what
    makes an example hard is hard for both and drops out.

    Args:
        runs: two or more.
        data: to compare them on; None takes the runs' own, which must be the same.
        index: the example to show, by its position in the held-out part; None shows the one on which the runs differ
            most.
        split: the part that counts as held out, as in :func:`report`.
        effort: how many examples and samples, as in :func:`report`.
        examples: at most so many; None leaves it to the effort.
        samples: of z for log p(x) by importance sampling; None leaves it to the effort.
        seed: of every draw, the same for all runs.
        titles: names of the runs; None takes their folders'.
        progress: called with the name of each run before it is measured.

    Raises:
        ValueError: fewer than two runs, or runs on different data; the message says what to write.
    """
    if len(runs) < 2:
        raise ValueError(f"compare takes two or more runs, got {len(runs)}; for one write report(run)")
    shared = as_data(data) if data is not None else _shared_data(runs, split)
    cases: list[Case] = []
    for run in runs:
        cases.append(case_of(run, shared, split=split, effort=effort, examples=examples, samples=samples, seed=seed))
    names = tuple(titles or _names(runs))
    if len(names) != len(runs):
        raise ValueError(f"titles holds {len(names)} names for {len(runs)} runs; expected one for each")
    for name, case in zip(names, cases, strict=True):
        if progress is not None:
            progress(name)
        _ = case.terms, case.evidence if case.has_evidence else None
    first = cases[0]
    where = _position(cases, index)
    rows = tuple(_rows(cases))
    facts = [fact for fact in first.report(()).facts if fact[0] in ("data", "preparation", "draws", "measured on")]
    return Comparison(
        names,
        tuple(facts),
        rows,
        tuple(_findings(names, rows)),
        where,
        tuple(_pictures(names, cases, where)),
        tuple(run.path for run in runs),
    )


def _shared_data(runs: Sequence[Run], split: Split) -> Data:
    """The data of all runs, or a ValueError where they are not the same."""
    origins = [run.data.origin for run in runs]
    for run, origin in zip(runs[1:], origins[1:], strict=True):
        if origin["sha256"] != origins[0]["sha256"]:
            raise ValueError(
                f"{runs[0].name} and {run.name} were trained on different data; name the data to compare them on: "
                "compare(runs, data), or nelbo compare RUN RUN --data DATA"
            )
        if plain(origin["preparation"]) != plain(origins[0]["preparation"]):
            raise ValueError(
                f"{runs[0].name} and {run.name} see the same data differently prepared ({runs[0].data.preparation} / "
                f"{run.data.preparation}): their nats are not comparable. Train both with the same preparation"
            )
        cut = ("validation", "seed", "limit")
        ours, first = ({name: o["options"].get(name) for name in cut} for o in (origin, origins[0]))
        if split != "test" and ours != first and runs[0].data.test is None:
            raise ValueError(
                f"{runs[0].name} and {run.name} hold out different examples ({first} / {ours}): what one is judged on, "
                "the other was trained on. Name other data: compare(runs, data), or --data DATA"
            )
    return runs[0].data


def _names(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    longer = ["/".join(run.path.parts[-2:]) if run.path else run.name for run in runs]
    unique = len(set(longer)) == len(longer)
    return longer if unique else [f"{name} ({i})" for i, name in enumerate(names, 1)]


def _position(cases: Sequence[Case], index: int | None) -> int:
    held_out = cases[0].held_out
    if index is not None:
        if not 0 <= index < len(cases[0].sets[0]):
            raise ValueError(f"--index is from 0 to {len(cases[0].sets[0]) - 1}, the held-out examples; got {index}")
        return index
    costs = torch.stack([case.terms[0].reconstruction_error.value for case in cases])
    rows = held_out.batch.rows
    assert rows is not None
    return int(rows[int((costs.max(0).values - costs.min(0).values).argmax())])


def _rows(cases: Sequence[Case]) -> list[Compared]:
    terms = [case.terms[0] for case in cases]
    # log p(x) of every run, or of none: a mean over other examples would not compare
    known = all(case.has_evidence for case in cases)
    # and on the same examples: a grid allows for more of them than sampling does
    few = min(case.evidence_examples for case in cases)
    evidence = [case.evidence[0].value[:few].double().cpu() for case in cases] if known else []
    hidden = [value - case.elbo_of_evidence(0).value[:few] for value, case in zip(evidence, cases, strict=False)]
    rebuilt = [from_embeddings(case.model, case.held_out, case.training.batch) for case in cases]
    usage = [latent_usage(case.model, case.sets[0], seed=case.seed) for case in cases]
    active = tuple(Number.of(float(u.active_units())) for u in usage)
    information = tuple(None if u.mutual_information is None else Number.of(u.mutual_information) for u in usage)
    none = (None,) * len(cases)
    return [
        _paired(
            "reconstruction_error", "reconstruction error", [t.reconstruction_error.value for t in terms], lower=True
        ),
        _paired("kl", "+ KL", [t.kl.value for t in terms]),
        _paired("nelbo", "= NELBO, the total loss", [-t.elbo.value for t in terms], lower=True),
        *([_paired("log_evidence", "log p(x)", evidence, lower=False)] if known else []),
        *([_paired("gap", "log p(x) − ELBO", hidden, lower=True)] if known else []),
        _paired("embedding_error", "−log p(x | embedding)", [r.error.value for r in rebuilt], lower=True),
        Compared(
            "explained_variance", "variance explained", tuple(Number.of(r.explained) for r in rebuilt), none, "share"
        ),
        Compared("active_units", "active units", active, none, "units"),
        Compared("mutual_information", "mutual information I(x; z)", information, none),
    ]


def _paired(id: str, label: str, values: Sequence[Tensor], *, lower: bool | None = None) -> Compared:
    means = tuple(mean_of(value, "") for value in values)
    differences: list[Number | None] = [None]
    for value in values[1:]:
        both = bool(value.isfinite().all()) and bool(values[0].isfinite().all())
        differences.append(mean_of(value - values[0], "paired") if both else None)
    return Compared(id, label, means, tuple(differences), "nats", lower)


def _findings(names: Sequence[str], rows: Sequence[Compared]) -> list[str]:
    found: list[str] = []
    for row in rows:
        if row.id not in ("nelbo", "log_evidence", "reconstruction_error"):
            continue
        for name, difference in zip(names[1:], row.differences[1:], strict=True):
            if difference is None:
                continue
            size = Number(abs(difference.value), difference.standard_error)
            if abs(difference.value) <= 2 * difference.standard_error:
                found.append(f"{row.label.lstrip('=+ ')}: {name} and {names[0]} differ by no more than their error.")
                continue
            more = "higher" if difference.value > 0 else "lower"
            better = (difference.value < 0) == row.lower_is_better
            found.append(
                f"{row.label.lstrip('=+ ')}: {name} is {size.shown('nats')} nats {more} than {names[0]}, which is "
                f"{'better' if better else 'worse'}."
            )
    return found


def _pictures(names: Sequence[str], cases: Sequence[Case], index: int) -> list[Picture]:
    x = cases[0].sets[0].take([index], seed=cases[0].seed)

    def one() -> Any:
        rows: list[figures.Row] = []
        for name, case in zip(names, cases, strict=True):
            z, labels = case.held_out.embedding[:_POINTS].cpu(), case.held_out.batch.labels
            labels = None if labels is None else labels[: len(z)].cpu()
            rows.append(figures.row(case.model, x, z, labels, title=name, seed=case.seed))
        return figures.comparison(rows)

    pictures = [
        Picture(
            f"Held-out example {index} under each run: the input, where q(z|x) puts it among the other embeddings, its "
            "reconstruction, and the two terms of its loss.",
            one,
        )
    ]
    places = [_place(name, case) for name, case in zip(names, cases, strict=True)]
    if sum(math.isfinite(place.rate) for place in places) > 1:
        pictures.append(
            Picture(
                "Rate and distortion: what the latent carries, and what that buys. On a dashed line the total loss is "
                "the same.",
                lambda: figures.rate_distortion(places),
            )
        )
    return pictures


def _place(name: str, case: Case) -> figures.Point:
    at = rate_distortion(case.model, case.held_out)
    return figures.Point(
        name,
        float(at.rate),
        float(at.distortion),
        float(at.rate.standard_error),
        float(at.distortion.standard_error),
        on_curve=False,
    )
