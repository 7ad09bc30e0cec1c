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

from benchmarks.turns import DISTURBED, Course

MIN_ROUNDS = 3


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
    """A row for each peer; the ratio is the median of the ratios taken round by round.

    Rounds in which other processes took part of the machine from any peer are left out for all, if three remain.
    """
    ours = next(course for course in courses if course.peer == "nelbo")
    everyone = range(len(ours.seconds))
    quiet = [i for i in everyone if all(course.undisturbed(i) for course in courses)]
    used = quiet if len(quiet) >= MIN_ROUNDS else list(everyone)
    return [
        Row(
            benchmark,
            course.peer,
            median(course.seconds[i] for i in used),
            "s / epoch",
            None if course is ours else median(ours.seconds[i] / course.seconds[i] for i in used),
            goals.get(course.peer),
            {
                "seconds": course.seconds,
                "rounds_used": used,
                "first_epoch": course.first,
                "test_nelbo": course.nelbo,
                "peak_memory_mib": course.memory,
                "used_by_others": median(course.others[i] for i in used) if course.others else None,
            },
        )
        for course in courses
    ]


def options(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="a .npz file with x_train and x_test")
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs or runs of each peer (5)")
    parser.add_argument("--images", type=int, help="train on so many images only: shorter turns on a shared machine")
    parser.add_argument(
        "--patience", type=float, default=0.0, help="seconds to wait before each turn for a machine that is in use (0)"
    )
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
            f"{row.value:.4g}{_number(details.get('standard_error'), ' ± {:.1g}')} {row.unit}",
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
