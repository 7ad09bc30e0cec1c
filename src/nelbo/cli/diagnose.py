"""`nelbo diagnose` and `nelbo explain`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nelbo.diagnosis import Findings
    from nelbo.runs import Run

FILE = "findings.json"


def diagnose(run: Path, *, examples: int = 1000, seed: int = 0, json: bool = False, strict: bool = False) -> int:
    """What is wrong with a run's model, the evidence, and what to change; also written to findings.json in the run.

    Args:
        run: folder of a run.
        examples: how many training and how many held-out examples are measured.
        seed: of every draw.
        json: print one JSON object instead of text.
        strict: end with exit status 1 where something severe is found, for a CI of yours.
    """
    from nelbo import runs

    findings = examine(runs.load(run), run, examples=examples, seed=seed)
    if json:
        from json import dumps

        from nelbo.files import plain

        print(dumps(plain(findings.to_dict()), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        console.print(findings)
        console.print(f"\nWritten to {run / FILE}", soft_wrap=True)
    return int(strict and not findings.healthy)


def examine(run: "Run", out: Path, *, examples: int = 1000, seed: int = 0) -> "Findings":
    """Diagnose a run and write findings.json into a folder."""
    from nelbo.diagnosis import diagnose
    from nelbo.files import write_json

    findings = diagnose(run, examples=examples, seed=seed)
    write_json(out / FILE, findings.to_dict())
    return findings


def explain(id: str | None = None) -> int:
    """What a finding means, how it is measured and what to change; without ID, the list of all findings.

    Args:
        id: of a finding, as nelbo diagnose prints it.
    """
    from nelbo.diagnosis import explain as page_of
    from nelbo.diagnosis import index

    if id is not None:
        print(page_of(id), end="")
        return 0
    known = index()
    width = max(len(name) for name, _ in known)
    for name, title in known:
        print(f"{name:{width}}  {title}")
    return 0
