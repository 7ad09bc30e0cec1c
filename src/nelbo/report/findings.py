"""The outcome of a diagnosis."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from nelbo.files import write_json
from nelbo.report import html, terminal
from nelbo.report.parts import FINDINGS, Finding, Passed, Severity, as_json


@dataclass(frozen=True)
class Findings:
    """The outcome of a diagnosis, most severe finding first.

    Findings are ordered by severity, then by the nats they cost. A finding that follows from another stands right
    behind it, and a cause is as costly as its most costly consequence.

    Attributes:
        findings: the faults.
        passed: the checks that found nothing wrong, with the numbers that show it.
        skipped: the checks that could not be made, and the reasons: {id: reason}.
        notes: what the measurement had to do, such as "the model was in training mode".
        examples: number of examples that were measured.
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
        """The findings that make the model or its numbers wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "severe")

    @property
    def healthy(self) -> bool:
        """Whether no severe finding was made."""
        return not self.severe

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        counts = {s: sum(f.severity == s for f in self.findings) for s in get_args(Severity)}
        checks = len(self.passed) + len(self.findings)
        of = f"{checks} check{'s' if checks != 1 else ''} on {self.examples:,} examples"
        if not (counts["severe"] or counts["warning"]):
            return f"Healthy: nothing wrong in {of}."
        words = {"severe": "severe finding", "warning": "warning", "note": "note"}
        parts = [f"{n} {words[s]}{'s' if n > 1 else ''}" for s, n in counts.items() if n]
        return f"{', '.join(parts)} in {of}."

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"verdict": self.verdict, "healthy": self.healthy} | as_json(self)

    def save(self, folder: str | Path) -> Path:
        """Write findings.json into a folder and return its path."""
        path = Path(folder) / FINDINGS
        write_json(path, self.to_dict())
        return path

    def __str__(self) -> str:
        return terminal.as_text(self)

    def __rich__(self) -> Any:
        return terminal.diagnosis(self.verdict, self.findings, self.passed, self.skipped, self.notes)

    def to_html(self) -> str:
        """The findings as a section of a page."""
        return html.diagnosis(self.verdict, self.findings, self.passed, self.skipped, self.notes)
