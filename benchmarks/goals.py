"""Goals as data, what was measured, and what came of each goal: the report and the exit status read the same."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.turns import in_one_line


@dataclass(frozen=True)
class Goal:
    """Of a row of a table: seconds, or the ratio to another row. Without ``most`` it is shown, and not judged."""

    table: str
    ours: str
    against: str | None = None
    most: float | None = None


@dataclass
class Measured:
    """A row: the seconds of each round, of the first call, and what was found."""

    seconds: list[float]
    first: float | None = None
    found: float | None = None
    """The negative ELBO of the test images, or the mean of log p(x), in nats."""
    error: float | None = None
    """The standard error of the mean of log p(x)."""
    note: str = ""


@dataclass
class Results:
    """Of each table, its rows and the reasons for those that are missing."""

    rows: dict[str, dict[str, Measured]] = field(default_factory=dict)
    missing: dict[str, dict[str, str]] = field(default_factory=dict)

    @contextlib.contextmanager
    def attempt(self, table: str, *names: str) -> Generator[None]:
        """Within, an error is the reason why these rows are missing."""
        try:
            yield
        except Exception as error:  # the other tables go on
            reason = in_one_line(f"{type(error).__name__}: {error}")
            for name in names:
                self.rows.get(table, {}).pop(name, None)
                self.missing.setdefault(table, {})[name] = reason


@dataclass(frozen=True)
class Verdict:
    """What came of a goal: the ratio or seconds and their range, or None where a row is lacking, and why it is."""

    goal: Goal
    value: float | None
    low: float | None = None
    high: float | None = None
    lacking: str | None = None
    reason: str = ""

    @property
    def short(self) -> bool:
        """Whether nelbo fell short: it was slower, or could not run. A missing peer is no fault of nelbo's."""
        if self.goal.most is None:
            return False
        return self.lacking == self.goal.ours if self.value is None else self.value > self.goal.most

    @property
    def sentence(self) -> str:
        """In one line."""
        goal = self.goal
        work = goal.ours.rpartition(": ")[0]
        against = "" if goal.against is None else f" against {goal.against.removeprefix(f'{work}: ')}"
        if self.value is None:
            reached = f"not compared, {self.lacking} is missing ({self.reason})"
        else:
            unit = " s" if goal.against is None else ""
            reached = f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]{unit}"
        return f"{goal.table.rsplit(',', 1)[0]}: {goal.ours}{against}: {reached}"


def judge(wanted: Sequence[Goal], results: Results) -> list[Verdict]:
    """What came of each goal whose table was run."""
    return [_verdict(goal, results) for goal in wanted if goal.table in results.rows]


def _verdict(goal: Goal, results: Results) -> Verdict:
    rows, missing = results.rows[goal.table], results.missing.get(goal.table, {})
    for name in (goal.ours, goal.against):
        if name is not None and name not in rows:
            return Verdict(goal, None, lacking=name, reason=missing.get(name, "it was not run"))
    values = rows[goal.ours].seconds
    if goal.against is not None:
        values = [a / b for a, b in zip(values, rows[goal.against].seconds, strict=True)]
    return Verdict(goal, median(values), min(values), max(values))


def markdown(about: Mapping[str, Any], results: Results, verdicts: Sequence[Verdict]) -> str:
    """The tables, then the goals."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    for table, rows in results.rows.items():
        lines += [f"| {table} | median | range | first | nats | |", "|---|---:|---:|---:|---:|---|"]
        for name, row in rows.items():
            nats = "" if row.found is None else f"{row.found:.3f}"
            nats += "" if row.error is None else f" ± {row.error:.3f}"
            first = "" if row.first is None else f"{row.first:.3g}"
            span = f"{min(row.seconds):.3g} - {max(row.seconds):.3g}"
            lines.append(f"| {name} | {median(row.seconds):.3g} | {span} | {first} | {nats} | {row.note} |")
        for name, reason in results.missing.get(table, {}).items():
            lines.append(f"| {name} | | | | | {reason.replace('|', '/')} |")
        lines.append("")
    lines += ["| goal | reached | at most | |", "|---|---:|---:|---|"]
    for verdict in verdicts:
        what, reached = verdict.sentence.rsplit(": ", 1) if verdict.value is not None else (verdict.sentence, "")
        most = "" if verdict.goal.most is None else f"{verdict.goal.most:g}"
        judged = "" if not most else "**short**" if verdict.short else "" if verdict.value is None else "holds"
        lines.append(f"| {what} | {reached} | {most} | {judged} |")
    return "\n".join(lines)
