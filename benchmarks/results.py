"""What the benchmarks found, as a table and as JSON."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.turns import Course

DISTURBED = 0.1  # share of the processors in the hands of others from which on a time means little


@dataclass(frozen=True)
class Row:
    """One measured thing. ``ratio`` is nelbo's value over this one: below 1, nelbo is better."""

    benchmark: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    goal: float | None = None
    """What the ratio (or, in nelbo's own row, the value) shall not exceed."""
    details: dict[str, Any] | None = None

    @property
    def holds(self) -> bool | None:
        measured = self.value if self.ratio is None else self.ratio
        return None if self.goal is None else measured <= self.goal


def rows_of(benchmark: str, courses: Sequence[Course], goals: dict[str, float]) -> list[Row]:
    """A row for each peer; the ratio is the median of the ratios taken round by round."""
    ours = next(course for course in courses if course.peer == "nelbo")
    return [
        Row(
            benchmark,
            course.peer,
            course.median,
            "s / epoch",
            None if course is ours else median(a / b for a, b in zip(ours.seconds, course.seconds, strict=True)),
            goals.get(course.peer),
            {
                "seconds": course.seconds,
                "first_epoch": course.first,
                "test_nelbo": course.nelbo,
                "peak_memory_mib": course.memory,
                "used_by_others": median(course.others) if course.others else None,
            },
        )
        for course in courses
    ]


def options(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="a .npz file with x_train and x_test")
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs or runs of each peer (5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        machine = {"processors": os.cpu_count(), "platform": platform.platform()}
        print(json.dumps({"machine": machine, "rows": [{**vars(row), "holds": row.holds} for row in rows]}, indent=2))
        return
    table = Table("", "median", "nelbo / it", "goal", "first epoch", "test NELBO", "peak", "others")
    for column in table.columns[1:]:
        column.justify = "right"
    for i, row in enumerate(rows):
        if not i or rows[i - 1].benchmark != row.benchmark:
            table.add_section()
            table.add_row(f"[bold]{row.benchmark}")
        details = row.details or {}
        table.add_row(
            f"  {row.name}",
            f"{row.value:.4g} {row.unit}",
            _number(row.ratio, "{:.2f}"),
            "" if row.goal is None else f"{row.goal:g} {'holds' if row.holds else 'missed'}",
            _number(details.get("first_epoch"), "{:.1f} s"),
            _number(details.get("test_nelbo"), "{:.2f}"),
            _number(details.get("peak_memory_mib"), "{:.0f} MiB"),
            _number(details.get("used_by_others"), "{:.0%}"),
        )
    if disturbed := [row.name for row in rows if ((row.details or {}).get("used_by_others") or 0.0) > DISTURBED]:
        table.caption = f"other processes were at work beside {', '.join(disturbed)}: do not rely on these numbers"
    console = Console()
    # into a file, the table needs no narrower than it is
    (console if console.is_terminal else Console(width=120)).print(table)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
