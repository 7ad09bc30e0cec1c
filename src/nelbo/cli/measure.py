"""nelbo measure and nelbo compare: what trained models are worth, in nats."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from nelbo import measure as measuring
from nelbo import runs
from nelbo.cli.diagnose import examine
from nelbo.cli.outputs import examples_of
from nelbo.data import Data
from nelbo.diagnosis import findings_section
from nelbo.measure.case import Effort, Split, case_of


def measure(
    run: Path,
    data: str | None = None,
    *,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    diagnose: Annotated[bool, Parameter(negative="--no-diagnose")] = True,
    json: bool = False,
) -> int:
    """Measure a run: its loss, log p(x), the gaps of its bound, its latents and samples, with standard errors.

    Writes measure.json and report.html, a page that can be mailed, which begins with what nelbo diagnose finds.
    Ctrl-C keeps what is measured so far.

    Args:
        run: folder of a run.
        data: a named set or a path to judge it on, prepared as the run's data were; by default the run's own.
        split: the part that counts as held out; auto is the test set, else the validation set.
        effort: quick (seconds), normal or thorough (minutes): how many examples and samples.
        examples: of each part, at most.
        samples: of z for each example, where log p(x) is found by importance sampling.
        seed: of every draw.
        out: folder for the files; by default the run's.
        diagnose: look for what is wrong as well (--no-diagnose: only measure).
        json: print measure.json instead of the table.
    """
    loaded = runs.load(run)
    judged = None if data is None else _beside(loaded, data)
    case = case_of(
        loaded,
        judged,
        split=split if judged is None else "test",
        effort=effort,
        examples=examples,
        samples=samples,
        seed=seed,
    )
    done: list[measuring.Section] = []
    begun: list[str] = []

    def begin(title: str) -> None:
        begun.append(title)
        say(title)

    try:
        for section in measuring.sections(case, progress=begin):
            done.append(section)
    except KeyboardInterrupt:
        if not done:
            print("\nstopped before anything was measured; nothing is written", file=sys.stderr)
            return 130
        case.report(tuple(done), complete=False).save(out or run)
        lost = f"; what it was at ({begun[-1]}) is lost" if begun else ""
        print(f"\nstopped; what was measured until then is in {out or run}{lost}", file=sys.stderr)
        return 130
    found = case.report(tuple(done))
    # before the diagnosis, which may fail or be stopped: what is measured stays
    record, page = found.save(out or run)
    findings = None
    if diagnose and judged is None:  # of the run as it was trained, on its own data
        findings = examine(loaded, out or run, seed=seed)
        found.save(out or run, more=[("What is wrong, and what to change", findings_section(findings))])
    if json:
        print(found.to_json())
        return 0
    console = Console()
    console.print(found.table())
    for sentence in str(found).splitlines():
        console.print(f"- {sentence}", highlight=False)
    if findings is not None:
        console.print(f"- {findings.verdict} (nelbo diagnose {run})", highlight=False)
    console.print(f"\n{page}  the report\n{record}  the numbers", highlight=False, soft_wrap=True)
    return 0


def compare(
    *run: Path,
    data: str | None = None,
    index: int | None = None,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Set runs side by side on the same held-out examples: paired differences, and one example under each.

    Args:
        run: folders of two or more runs.
        data: a named set or a path to compare them on, prepared as the first run's data were.
        index: the held-out example to show; by default the one on which the runs differ most.
        split: the part that counts as held out; auto is the test set, else the validation set.
        effort: quick, normal or thorough: how many examples and samples.
        examples: at most so many.
        samples: of z for each example, where log p(x) is found by importance sampling.
        seed: of every draw.
        out: the page; by default comparison.html beside the runs.
        json: print one JSON object instead of the table.
    """
    loaded = [runs.load(path) for path in run]
    judged = None if data is None or not loaded else _beside(loaded[0], data)
    found = measuring.compare(
        loaded,
        judged,
        index=index,
        split=split if judged is None else "test",
        effort=effort,
        examples=examples,
        samples=samples,
        seed=seed,
        progress=say,
    )
    page = found.save(out or Path(os.path.commonpath([path.absolute().parent for path in run])) / "comparison.html")
    if json:
        from json import dumps

        print(dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    console = Console()
    console.print(found.table())
    for sentence in found.findings:
        console.print(f"- {sentence}", highlight=False)
    console.print(f"\n{page}  held-out example {found.index} under each", highlight=False, soft_wrap=True)
    return 0


def say(what: str) -> None:
    """A line on the terminal for what begins now; nothing where the output is no terminal."""
    if sys.stderr.isatty():
        print(f"measuring {what} ...", file=sys.stderr)


def _beside(run: runs.Run, data: str) -> Data:
    """Other data as what is held out, beside the run's own training set."""
    return Data(run.data.train, None, examples_of(run, data, "test"), run.data.origin | {"source": data})
