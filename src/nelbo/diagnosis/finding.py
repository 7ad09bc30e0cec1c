"""What a diagnosis says: findings with their evidence, and what was found in order."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

Severity = Literal["severe", "warning", "note"]
"""severe: what the model says or how it was trained is wrong; warning: it costs; note: worth knowing, and no fault."""

_RANK = {severity: rank for rank, severity in enumerate(get_args(Severity))}


@dataclass(frozen=True)
class Measured:
    """A number that speaks for or against a finding.

    Args:
        what: is measured, in words, as in "KL per example".
        value: of it.
        standard_error: of the value; 0 where it is exact for these examples.
        unit: of the value; "" for a pure number.
        method: how it was found, where the name does not say it.
    """

    what: str
    value: float
    standard_error: float = 0.0
    unit: str = "nats"
    method: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.number}"

    @property
    def number(self) -> str:
        """Value, error and unit, with as many digits as the error leaves."""
        unit = f" {self.unit}" if self.unit and self.unit != "%" else self.unit
        error = self.standard_error
        if not (math.isfinite(self.value) and math.isfinite(error)) or error <= 0:
            return f"{self.value:.4g}{unit}"
        # two digits of the error, and the value to the same place
        places = max(0, 1 - math.floor(math.log10(error)))
        if places > 6:
            return f"{self.value:.4g} ± {error:.1g}{unit}"
        return f"{self.value:.{places}f} ± {error:.{places}f}{unit}"

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {
            "what": self.what,
            "value": self.value,
            "standard_error": self.standard_error,
            "unit": self.unit,
            "method": self.method,
        }


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a model, or worth knowing.

    Attributes:
        id: stable name, as ``nelbo explain ID`` takes it.
        title: what is the matter, in a few words.
        severity: "severe", "warning" or "note".
        evidence: the numbers that show it.
        meaning: two sentences.
        change: the line of code that mends it, or, for a model that is not nelbo's, a sentence.
        source: where this is known from.
        cost_nats: nats per example that it costs (reconstruction error + KL), or at least costs; None where that cannot
            be measured.
        follows_from: the id of another finding that explains this one; mend that one first.
    """

    id: str
    title: str
    severity: Severity
    evidence: tuple[Measured, ...]
    meaning: str
    change: str
    source: str
    cost_nats: Measured | None = None
    follows_from: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "severity": self.severity,
            "evidence": [measured.to_dict() for measured in self.evidence],
            "meaning": self.meaning,
            "change": self.change,
            "source": self.source,
            "cost_nats": None if self.cost_nats is None else self.cost_nats.to_dict(),
            "follows_from": self.follows_from,
        }


@dataclass(frozen=True)
class Passed:
    """A check that found nothing wrong, and the numbers that show it."""

    id: str
    title: str
    evidence: tuple[Measured, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {"id": self.id, "title": self.title, "evidence": [measured.to_dict() for measured in self.evidence]}


@dataclass(frozen=True)
class Findings:
    """The outcome of a diagnosis, the gravest first.

    Findings are ordered by severity, then by the nats they cost; one that follows from another stands right behind it,
    and a cause counts for as much as what follows from it.

    Attributes:
        findings: what was found.
        passed: the checks that found nothing, with the numbers that show it.
        skipped: the checks that could not be made, and why: {id: reason}.
        notes: what was done to measure at all, such as "the model was in training mode".
        examples: how many examples were measured.
    """

    findings: tuple[Finding, ...]
    passed: tuple[Passed, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    examples: int = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, position: int) -> Finding:
        return self.findings[position]

    def __contains__(self, id: object) -> bool:
        return any(finding.id == id for finding in self.findings)

    @property
    def severe(self) -> tuple[Finding, ...]:
        """The findings that make the model's numbers or the model itself wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "severe")

    @property
    def healthy(self) -> bool:
        """Whether nothing severe was found."""
        return not self.severe

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        counts = {s: sum(f.severity == s for f in self.findings) for s in get_args(Severity)}
        of = f"{len(self.passed) + len(self.findings)} checks on {self.examples:,} examples"
        if not (counts["severe"] or counts["warning"]):
            return f"Healthy: nothing wrong in {of}."
        words = {"severe": "severe finding", "warning": "warning", "note": "note"}
        said = [f"{n} {words[s]}{'s' if n > 1 else ''}" for s, n in counts.items() if n]
        return f"{', '.join(said)} in {of}."

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "verdict": self.verdict,
            "healthy": self.healthy,
            "examples": self.examples,
            "findings": [finding.to_dict() for finding in self.findings],
            "passed": [passed.to_dict() for passed in self.passed],
            "skipped": dict(self.skipped),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from nelbo.diagnosis.printing import as_text

        return as_text(self)

    def __rich__(self) -> Any:
        from nelbo.diagnosis.printing import as_rich

        return as_rich(self)


def ordered(
    findings: list[Finding], explains: Mapping[str, Sequence[str]], *, given: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """By severity, then by cost; each followed by what follows from it, and as dear as the dearest of that.

    Args:
        findings: in any order.
        explains: for the id of a finding, the ids of those that follow from it, or "*" for all others. What is less
            severe explains nothing that is more severe; who names a finding explains it before who says "*"; of two
            that explain each other, the first in this mapping does.
        given: ids that "*" does not mean.
    """
    everything = [other for other in explains if other not in given]
    named = {cause: [other for other in effects if other != "*"] for cause, effects in explains.items()}
    broad = {cause: everything for cause, effects in explains.items() if "*" in effects}

    def grave(finding: Finding) -> tuple[int, float]:
        cost = finding.cost_nats.value if finding.cost_nats is not None else 0.0
        return _RANK[finding.severity], -cost

    by_gravity = sorted(findings, key=grave)
    causes: dict[str, str] = {}
    for effects in (named, broad):
        for finding in by_gravity:
            for other in by_gravity:
                if finding.id in causes or _RANK[other.severity] > _RANK[finding.severity]:
                    continue
                if _explains(other.id, finding.id, effects) and finding.id not in _chain(other.id, causes):
                    causes[finding.id] = other.id
    order: list[Finding] = []

    def place(finding: Finding) -> None:
        order.append(replace(finding, follows_from=causes.get(finding.id)))
        for other in by_gravity:
            if causes.get(other.id) == finding.id:
                place(other)

    def dearest(root: Finding) -> tuple[int, float]:
        costs = [grave(finding)[1] for finding in by_gravity if root.id in _chain(finding.id, causes)]
        return _RANK[root.severity], min(costs)

    for root in sorted((finding for finding in by_gravity if finding.id not in causes), key=dearest):
        place(root)
    return tuple(order)


def _explains(cause: str, effect: str, explains: Mapping[str, Sequence[str]]) -> bool:
    if cause == effect or effect not in explains.get(cause, ()):
        return False
    order = list(explains)
    return cause not in explains.get(effect, ()) or order.index(cause) < order.index(effect)


def _chain(start: str, causes: Mapping[str, str]) -> list[str]:
    """A finding, its cause, that one's cause, ..."""
    chain = [start]
    while chain[-1] in causes:
        chain.append(causes[chain[-1]])
    return chain
