"""nelbo measure and nelbo compare."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from nelbo import measure as measuring
from nelbo import runs
from nelbo.cli.diagnose import examine
from nelbo.cli.writing import Writing
from nelbo.measure.context import Effort, Split, report_context
from nelbo.report import Section
from nelbo.report.terminal import row_table
from nelbo.studio.in_memory import from_reference, is_reference, looked_up


def measure(
    run: Path,
    data: str | None = None,
    *,
    loss: str | None = None,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    diagnose: Annotated[bool, Parameter(negative="--no-diagnose")] = True,
    json: bool = False,
) -> int:
    """Measure a run: its loss, log p(x), the gaps of its bound, its latents and samples, with standard errors.

    Writes measure.json and report.html, one self-contained page that starts with the findings of nelbo diagnose.
    Ctrl-C keeps the sections that are finished. A model from elsewhere is named as module:function, and measured as
    nelbo.wrap(model, x=x) reads it; --out DIR keeps its files.

    Args:
        run: directory of a run; or module:function, a function of yours without arguments that returns a model, a view
            of nelbo.wrap, or (model, x). The module is installed, or lies in this directory.
        data: a named set or a path to measure it on, columns by name, prepared as the run's data were; by default the
            run's own. Where what it was trained on is not there, it is measured on these alone.
        loss: module:function of the function that is differentiated, for the findings: see nelbo diagnose --help.
        split: the part that is held out; auto is the test set, else the validation set.
        effort: quick (seconds), normal or thorough (minutes): the number of examples and samples.
        examples: the largest number of examples of each part.
        samples: draws of z for each example where log p(x) is computed by importance sampling.
        seed: seed of every draw.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: directory for the files; by default the run's.
        diagnose: look for faults as well (--no-diagnose: only measure).
        json: print measure.json instead of the table.
    """
    function = None if loss is None else looked_up(loss)
    foreign = is_reference(run)
    loaded = from_reference(str(run), data, device=device) if foreign else runs.load(run, device=device)
    place = out or (None if foreign else run)
    context = report_context(
        loaded,
        None if foreign else data,
        split=split,
        effort=effort,
        examples=examples,
        samples=samples,
        seed=seed,
    )
    writing = Writing()
    done: list[Section] = []
    begun: list[str] = []

    def begin(title: str) -> None:
        begun.append(title)
        say(title)

    try:
        for section in measuring.sections(context, progress=begin):
            done.append(section)
    except KeyboardInterrupt:
        if not done:
            print("\nstopped before anything was measured; nothing was written", file=sys.stderr)
            return 130
        partial = context.report(tuple(done), complete=False)
        lost = f"; the section in progress ({begun[-1]}) is lost" if begun else ""
        kept = place is not None and writing(lambda: partial.save(place))
        print(f"\nstopped; the finished sections are {f'in {place}' if kept else 'below'}{lost}", file=sys.stderr)
        if writing.end() or place is None:
            print(partial.to_json() if json else partial)
        return 130
    report = context.report(tuple(done))
    # before the diagnosis, which may fail or be stopped: what is measured stays
    files = None if place is None else writing(lambda: report.save(place))
    findings = None
    if diagnose and (data is None or foreign):  # of the run as it was trained, on its own data
        findings = examine(loaded, place, loss=function, seed=seed, writing=writing)
        with_findings = [findings.to_html()]
        if place is not None:
            writing(lambda: report.save(place, first=with_findings))
    if json:
        print(report.to_json())
        return writing.end()
    console = Console()
    console.print(report.table())
    for sentence in str(report).splitlines():
        console.print(f"- {sentence}", highlight=False)
    if findings is not None:
        console.print(f"- {findings.verdict} (nelbo diagnose {run})", highlight=False)
    if place is None:
        console.print("\nNot written: --out DIR keeps the report of a model that is no run")
    if files is not None:
        record, page = files
        console.print(f"\n{page}  the report\n{record}  the numbers", highlight=False, soft_wrap=True)
    return writing.end()


def compare(
    *run: Path,
    data: str | None = None,
    index: int | None = None,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Compare runs on the same held-out examples: paired differences, and one example under each.

    Args:
        run: directories of two or more runs.
        data: a named set or a path to compare them on, prepared for each as its own data were; differences are in the
            units of the first.
        index: the held-out example to show; by default the one on which the runs differ most.
        split: the part that is held out; auto is the test set, else the validation set.
        effort: quick, normal or thorough: the number of examples and samples.
        examples: the largest number of examples.
        samples: draws of z for each example where log p(x) is computed by importance sampling.
        seed: seed of every draw.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: the page; by default comparison.html beside the runs.
        json: print one JSON object instead of the table.
    """
    loaded = [runs.load(path, device=device) for path in run]
    report = measuring.compare(
        loaded,
        data,
        index=index,
        split=split,
        effort=effort,
        examples=examples,
        samples=samples,
        seed=seed,
        progress=say,
    )
    beside = Path(os.path.commonpath([path.absolute().parent for path in run]))
    writing = Writing("--out PAGE.html")
    page = writing(lambda: report.save_page(out or beside / "comparison.html"))
    if json:
        print(report.to_json())
        return writing.end()
    console = Console()
    console.print(row_table(report.rows))
    for sentence in str(report).splitlines():
        console.print(f"- {sentence}", highlight=False)
    if page is not None:
        shown = f"held-out example {report.settings['index']} under each"
        console.print(f"\n{page}  {shown}", highlight=False, soft_wrap=True)
    return writing.end()


def say(what: str) -> None:
    """Print what is measured now, if standard error is a terminal."""
    if sys.stderr.isatty():
        print(f"measuring {what} ...", file=sys.stderr)
