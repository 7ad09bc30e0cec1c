"""Results in the terminal, and as plain text.

rich is imported when it is used: importing it draws from Python's random numbers, which are the caller's.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nelbo.estimate import Estimate
from nelbo.report.parts import Finding, Passed, Row, Section

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HEADS = {"held_out": "held-out", "training": "training"}
"""What stands above a column; other columns are named by themselves."""
_COLOURS = {"severe": "bold red", "warning": "yellow", "note": "cyan"}


def as_text(content: Any, *, width: int = 100) -> str:
    """What rich would print, as plain text."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(content)
    return text.getvalue().rstrip()


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns that some row has a value in; training last."""
    names = dict.fromkeys(column for row in rows for column in row.values)
    return sorted(names, key=lambda name: name == "training")


def table(sections: Sequence[Section]) -> "Table":
    """One line for each row, under the question that it answers."""
    columns = columns_of([row for section in sections for row in section.rows])
    grid = _grid("", *(HEADS.get(column, column) for column in columns), "")
    for section in sections:
        grid.add_row(f"[bold]{section.title}[/]" + (f"\n[dim]on {section.scope}[/]" if section.scope else ""))
        for row in section.rows:
            _add(grid, row, columns)
        grid.add_section()
    return grid


def row_table(rows: Sequence[Row], title: str = "") -> "Table":
    """The rows alone."""
    columns = columns_of(rows)
    grid = _grid("", *columns, "")
    grid.title = title or None
    for row in rows:
        _add(grid, row, columns)
    return grid


def _grid(*heads: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", show_edge=False)
    for i, head in enumerate(heads):
        grid.add_column(head, justify="right" if 0 < i < len(heads) - 1 else "left", no_wrap=i > 0)
    return grid


def _add(grid: "Table", row: Row, columns: Sequence[str]) -> None:
    missing = {column: reason.replace(": ", ":\n") for column, reason in row.missing.items()}
    cells = [row.values[column].text if column in row.values else missing.get(column, "") for column in columns]
    grid.add_row(f"  {row.label}", *cells, row.first.unit_text)
    if row.differences:
        changes = [signed(row.differences[column]) if column in row.differences else "" for column in columns]
        grid.add_row(f"[dim]    minus {columns[0]}", *(f"[dim]{change}" for change in changes), "")


def signed(difference: Estimate) -> str:
    """A difference with its sign."""
    return f"{'+' if float(difference) > 0 else ''}{difference.text}"


def diagnosis(
    verdict: str,
    findings: Sequence[Finding],
    passed: Sequence[Passed],
    skipped: Mapping[str, str],
    notes: Sequence[str],
) -> "RenderableType":
    """Verdict, findings with their evidence, checks that passed, checks that could not be made, notes."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = [Text(verdict, style="bold")]
    for finding in findings:
        cost = f", costs {finding.cost_nats.text_with_unit}" if finding.cost_nats is not None else ""
        after = f", follows from {finding.follows_from}" if finding.follows_from else ""
        head = Text(finding.severity.upper(), style=_COLOURS[finding.severity])
        head.append(f"  {finding.title}", style="bold").append(f"  ({finding.id}{cost}{after})", style="not bold")
        evidence = [("" if i else "evidence", str(estimate)) for i, estimate in enumerate(finding.evidence)]
        lines = [*evidence, ("meaning", finding.meaning), ("change", finding.change)]
        parts += ["", head, Padding(_pairs(lines, style="dim"), (0, 0, 0, 2))]
    if passed:
        ids: dict[str, list[str]] = {}  # checks that rest on the same numbers stand together
        for check in passed:
            ids.setdefault("; ".join(map(str, check.evidence)), []).append(check.id)
        lines = [("\n".join(f"  {name}" for name in names), evidence) for evidence, names in ids.items()]
        parts += ["", Text("Nothing wrong with"), _pairs(lines)]
    if skipped:
        reasons: dict[str, list[str]] = {}
        for check, reason in skipped.items():
            reasons.setdefault(reason, []).append(check)
        parts += ["", *(Text(f"Not checked ({reason}): {', '.join(names)}") for reason, names in reasons.items())]
    parts += [Text(f"Note: {note}") for note in notes]
    if findings:
        parts += ["", Text(f"More on a finding: nelbo explain {findings[0].id}")]
    return Group(*parts)


def _pairs(lines: Sequence[tuple[str, str]], style: str = "") -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(Text(name), Text(text))
    return grid
