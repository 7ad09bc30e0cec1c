"""The parts of a report, as data: rows of estimates, pictures, sections, and the findings of a diagnosis."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from nelbo.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES, FINDINGS, PAGE = "measure.json", "findings.json", "report.html"
"""Files of a run's folder: the measurements, the diagnosis, and the page that shows both."""
Severity = Literal["severe", "warning", "note"]
"""severe: the model or its numbers are wrong; warning: it costs nats; note: worth knowing, not a fault."""


@dataclass(frozen=True, eq=False)
class Row:
    """One quantity, in one or several columns.

    Attributes:
        id: the name in JSON.
        label: the name for people.
        meaning: a sentence that explains it.
        values: the estimate in each column: "held_out" and "training", or the names of runs.
        differences: the paired difference of a column's value to that of the first column.
        missing: the reason why a column has no value.
    """

    id: str
    label: str
    meaning: str
    values: Mapping[str, Estimate]
    differences: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    missing: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def held_out(self) -> Estimate | None:
        """The value on examples that the model was not trained on."""
        return self.values.get("held_out")

    @property
    def training(self) -> Estimate | None:
        """The value on training examples."""
        return self.values.get("training")

    @property
    def first(self) -> Estimate:
        """The value in the first column that has one."""
        return next(iter(self.values.values()))


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, drawn when a page is written."""

    caption: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True, eq=False)
class Section:
    """A question and its answer.

    Attributes:
        id: the name in JSON.
        title: the question.
        lead: what is measured, for a reader who does not know.
        finding: the answer in a sentence with its numbers; each line is a sentence by itself.
        rows: the quantities.
        pictures: the figures.
        notes: warnings, and what the numbers do not show.
        scope: how many examples were measured.
        seconds: the time it took.
    """

    id: str
    title: str
    lead: str
    finding: str
    rows: tuple[Row, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    scope: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Finding:
    """A fault of a model, or something worth knowing about it.

    Attributes:
        id: stable name, the argument of ``nelbo explain``.
        title: the fault in a few words.
        severity: "severe", "warning" or "note".
        evidence: labelled estimates that show it.
        meaning: what it implies, in about two sentences.
        change: the code to change, or, for a model that was not built with nelbo, a sentence.
        source: references.
        cost_nats: nats per example that it costs (reconstruction error + KL) at least; None where that cannot be
            measured.
        follows_from: the id of another finding that explains this one and should be fixed first.
    """

    id: str
    title: str
    severity: Severity
    evidence: tuple[Estimate, ...]
    meaning: str
    change: str
    source: str
    cost_nats: Estimate | None = None
    follows_from: str | None = None


@dataclass(frozen=True)
class Passed:
    """A check that found nothing wrong, and the labelled estimates that show it."""

    id: str
    title: str
    evidence: tuple[Estimate, ...]


def percent(share: float) -> str:
    """A share in words: ``"42 %"``."""
    return f"{round(100 * share)} %".replace("-", "−")


def as_json(content: Any) -> Any:
    """Parts of a report as dictionaries, lists and plain values; pictures are left out."""
    if isinstance(content, Estimate):
        return content.to_dict()
    if is_dataclass(content):
        return {part.name: as_json(getattr(content, part.name)) for part in fields(content) if part.name != "pictures"}
    if isinstance(content, Mapping):
        return {str(key): as_json(value) for key, value in content.items()}
    return [as_json(value) for value in content] if isinstance(content, tuple | list) else content
