"""Reports and comparisons in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nelbo.measure.comparison import Comparison
from nelbo.measure.results import Number, Quantity, Report, Unit

_UNITS: dict[Unit, str] = {
    "nats": "nats",
    "bits per dimension": "bits",
    "units": "",
    "share": "",
    "variance": "",
    "": "",
}


def report_table(report: Report) -> Table:
    """One row for each quantity, under the question that it answers."""
    both = any(quantity.training is not None for quantity in report.quantities)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", show_edge=False)
    table.add_column("")
    for name in ("held-out", *(["training"] if both else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for section in report.sections:
        table.add_row(f"[bold]{section.title}[/]" + (f"\n[dim]on {section.scope}[/]" if section.scope else ""))
        for i, quantity in enumerate(section.quantities):
            cells = [_cell(quantity, quantity.held_out), *([_cell(quantity, quantity.training)] if both else [])]
            last = i == len(section.quantities) - 1
            table.add_row(f"  {quantity.label}", *cells, _UNITS[quantity.unit], end_section=last)
    return table


def _cell(quantity: Quantity, number: Number | None) -> str:
    return "" if number is None else number.shown(quantity.unit)


def comparison_table(compared: Comparison) -> Table:
    """A column for each run; under each value its difference to the first run."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for name in compared.names:
        table.add_column(name, justify="right")
    for row in compared.rows:
        table.add_row(row.label, *("n/a" if value is None else value.shown(row.unit) for value in row.values))
        changes = [
            "" if change is None else f"{'+' if change.value > 0 else ''}{change.shown(row.unit)}"
            for change in row.differences
        ]
        if any(changes):
            table.add_row(f"[dim]  less {compared.names[0]}'s, paired", *(f"[dim]{change}" for change in changes))
    return table
