"""`nelbo diagnose` and `nelbo explain`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nelbo.diagnosis import Findings
    from nelbo.runs import Run

FILE = "findings.json"


def diagnose(
    run: Path,
    data: str | None = None,
    *,
    examples: int = 1000,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
    strict: bool = False,
) -> int:
    """What is wrong with a run's model, the evidence in numbers, what it means, and the line to change.

    About forty checks of the data, the loss, the latents, the networks and the training, the gravest finding first, by
    the nats it costs. severe: the model or its numbers are wrong; warning: it costs; note: worth knowing. A run that
    is still training, was stopped, or ended in a NaN is measured as of its last checkpoint. nelbo explain ID says how a
    finding is measured.

    Args:
        run: folder of a run.
        data: a named set or a path that takes the place of what the run held out, prepared as the run's data were: is
            it of the same kind, was it trained on, what does the model lose on it? By default the run's own.
        examples: how many training and how many held-out examples are measured.
        seed: of every draw.
        out: folder for findings.json; by default the run's, or none for other data.
        json: print one JSON object instead of text.
        strict: end with exit status 1 where something severe is found, for a CI of yours.
    """
    from nelbo.diagnosis import unfinished

    loaded = unfinished.load(run)
    place = out or (run if data is None else None)
    findings = examine(loaded, place, data=data, examples=examples, seed=seed)
    if json:
        from json import dumps

        from nelbo.files import plain

        print(dumps(plain(findings.to_dict()), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        console.print(findings)
        kept = f"Written to {place / FILE}" if place else "Not written: --out FOLDER keeps findings on other data"
        console.print(f"\n{kept}", soft_wrap=True)
    return int(strict and not findings.healthy)


def examine(
    run: "Run", out: Path | None, *, data: str | None = None, examples: int = 1000, seed: int = 0
) -> "Findings":
    """Diagnose a run, on its own data or with others as held out, and write findings.json into a folder, if any."""
    from nelbo.diagnosis import diagnose
    from nelbo.files import write_json

    held_out = None
    if data is not None:
        from nelbo.cli.outputs import examples_of

        held_out = examples_of(run, data, "test")
    findings = diagnose(run, held_out=held_out, examples=examples, seed=seed)
    if out is not None:
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
