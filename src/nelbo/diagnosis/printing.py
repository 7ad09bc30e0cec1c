"""Findings as a readable table. Importing rich draws from Python's random state, so this is imported when used."""

import io

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nelbo.diagnosis.finding import Finding, Findings, Passed

_COLOURS = {"severe": "bold red", "warning": "yellow", "note": "cyan"}


def as_text(findings: Findings) -> str:
    """The findings as they are printed, 100 columns wide."""
    text = io.StringIO()
    Console(file=text, width=100, highlight=False).print(findings)
    return text.getvalue().rstrip()


def as_rich(findings: Findings) -> RenderableType:
    """Verdict, findings with their evidence, what was passed, what was not checked, notes."""
    parts: list[RenderableType] = [Text(findings.verdict, style="bold")]
    for finding in findings.findings:
        parts += ["", _heading(finding), Padding(_details(finding), (0, 0, 0, 2))]
    if findings.passed:
        parts += ["", Text("Nothing wrong with"), _passed(findings.passed)]
    if findings.skipped:
        reasons: dict[str, list[str]] = {}
        for check, reason in findings.skipped.items():
            reasons.setdefault(reason, []).append(check)
        parts += ["", *(Text(f"Not checked ({reason}): {', '.join(ids)}") for reason, ids in reasons.items())]
    parts += [Text(f"Note: {note}") for note in findings.notes]
    if findings.findings:
        parts += ["", Text(f"More on a finding: nelbo explain {findings.findings[0].id}")]
    return Group(*parts)


def _heading(finding: Finding) -> Text:
    cost = f", costs {finding.cost_nats.number}" if finding.cost_nats is not None else ""
    after = f", follows from {finding.follows_from}" if finding.follows_from else ""
    head = Text(finding.severity.upper(), style=_COLOURS[finding.severity])
    return head.append(f"  {finding.title}", style="bold").append(f"  ({finding.id}{cost}{after})", style="not bold")


def _details(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for row, measured in enumerate(finding.evidence):
        grid.add_row("" if row else "evidence", Text(str(measured)))
    grid.add_row("means", Text(finding.meaning))
    grid.add_row("change", Text(finding.change))
    return grid


def _passed(passed: tuple[Passed, ...]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    said: dict[str, list[str]] = {}  # checks of one measurement stand together
    for check in passed:
        said.setdefault("; ".join(map(str, check.evidence)), []).append(check.id)
    for evidence, names in said.items():
        for name in names[:-1]:
            grid.add_row(Text(f"  {name},"), "")
        grid.add_row(Text(f"  {names[-1]}"), Text(evidence))
    return grid
