"""What was measured on a model, as data: quantities with errors, in sections, for a table or a page."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.files import plain, write_bytes, write_json
from nelbo.measure.terms import over_examples

FORMAT = 1
MEASURES, PAGE = "measure.json", "report.html"
Unit = Literal["nats", "bits per dimension", "share", "units", "variance", ""]


@dataclass(frozen=True)
class Number:
    """A value with its standard error and how it was found; of a test, with its p-value."""

    value: float
    standard_error: float = 0.0
    method: str = ""
    p_value: float | None = None

    @classmethod
    def of(cls, found: Estimate | float | int, method: str = "") -> "Number":
        """From an estimate of one element, a test, or an exact value."""
        if isinstance(found, Estimate):
            return cls(float(found), found.error, method or found.method, getattr(found, "p_value", None))
        return cls(float(found), 0.0, method)

    def shown(self, unit: Unit = "") -> str:
        """The value and its error in as many digits as the error allows."""
        factor = 100.0 if unit == "share" else 1.0
        value, error = self.value * factor, self.standard_error * factor
        if math.isnan(value):
            return "n/a"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        sign = " %" if unit == "share" else ""
        if not error or math.isnan(error):
            whole = unit == "units" or (float(value).is_integer() and not unit)
            return f"{value:,.{0 if whole else 1 if unit == 'share' else 2}f}{sign}".replace("-", "−")
        digits = min(max(1 - math.floor(math.log10(error)), 0), 1 if unit == "share" else 4)
        return f"{value:,.{digits}f} ± {error:.{digits}f}{sign}".replace("-", "−")

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        made = {"value": self.value, "standard_error": self.standard_error, "method": self.method}
        return made if self.p_value is None else made | {"p_value": self.p_value}


@dataclass(frozen=True)
class Quantity:
    """A row of the report.

    Attributes:
        id: the name in measure.json.
        label: the name for people.
        meaning: a sentence on what it says.
        held_out: on data the model was not trained on; where there are none, on the training data.
        training: the same of training data, where that says something.
        unit: of both.
    """

    id: str
    label: str
    meaning: str
    held_out: Number | None
    training: Number | None = None
    unit: Unit = "nats"

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        made: dict[str, Any] = {"id": self.id, "label": self.label, "unit": self.unit, "meaning": self.meaning}
        for name, number in (("held_out", self.held_out), ("training", self.training)):
            if number is not None:
                made[name] = number.to_dict()
        return made


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of the page, drawn when the page is made."""

    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report.

    Attributes:
        id: the name in measure.json.
        title: the question that it answers.
        lead: what is measured here, for a reader who does not know.
        finding: the answer, in a sentence with its numbers.
        quantities: the rows.
        pictures: the figures.
        notes: warnings, and what the numbers do not say by themselves.
        seconds: what it took.
        scope: on how many examples.
    """

    id: str
    title: str
    lead: str
    finding: str
    quantities: tuple[Quantity, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    scope: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; pictures are left to the page."""
        return {
            "id": self.id,
            "title": self.title,
            "scope": self.scope,
            "finding": self.finding,
            "quantities": [quantity.to_dict() for quantity in self.quantities],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured on a model: as data, as a table, as a page.

    Attributes:
        title: the run's name, or the model's class.
        facts: what was measured, in lines of (name, text): model, data, training.
        settings: what a repetition needs: seed, effort, split, numbers of examples.
        sections: in reading order.
        complete: False where measuring was stopped before its end.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]
    sections: tuple[Section, ...]
    complete: bool = True
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    def __getitem__(self, id: str) -> Quantity:
        """The quantity of that name: ``report["log_evidence"].held_out.value``."""
        for quantity in self.quantities:
            if quantity.id == id:
                return quantity
        raise KeyError(f"no {id!r} in this report; it has {', '.join(q.id for q in self.quantities)}")

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All of them, in reading order."""
        return tuple(quantity for section in self.sections for quantity in section.quantities)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON; infinite numbers become None."""
        return plain(
            {
                "format": FORMAT,
                "title": self.title,
                "facts": dict(self.facts),
                "settings": dict(self.settings),
                "versions": dict(self.versions),
                "complete": self.complete,
                "sections": [section.to_dict() for section in self.sections],
            }
        )

    def to_html(self, *, more: Sequence[tuple[str, str]] = ()) -> str:
        """The page, one file that needs no network.

        Args:
            more: further sections, as (title, HTML), placed first: what :func:`nelbo.diagnose` found, for instance.
        """
        from nelbo.measure.page import report_page

        return report_page(self, more=more)

    def table(self) -> Any:
        """A rich table of all quantities: ``rich.print(report.table())``."""
        from nelbo.measure.table import report_table

        return report_table(self)

    def __str__(self) -> str:
        """The findings, a line each."""
        return "\n".join(section.finding for section in self.sections if section.finding)

    def save(self, folder: str | Path, *, more: Sequence[tuple[str, str]] = ()) -> tuple[Path, Path]:
        """Write measure.json and report.html into a folder, whole or not at all; returns both paths."""
        folder = Path(folder)
        write_json(folder / MEASURES, self.to_dict())
        write_bytes(folder / PAGE, self.to_html(more=more).encode())
        return folder / MEASURES, folder / PAGE

    def to_json(self) -> str:
        """:meth:`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)


def percent(share: float) -> str:
    """A share in words: ``"42 %"``."""
    return f"{100 * share:.0f} %".replace("-", "−")


def mean_of(values: Tensor | Estimate, method: str | None = None) -> Number:
    """The mean over examples as a number of the report."""
    return Number.of(over_examples(values, method))
