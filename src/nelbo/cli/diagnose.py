"""`nelbo diagnose` and `nelbo explain`."""

from pathlib import Path

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
    from nelbo.diagnosis import diagnose as examine
    from nelbo.files import plain, write_json

    findings = examine(runs.load(run), examples=examples, seed=seed)
    write_json(run / FILE, findings.to_dict())
    if json:
        from json import dumps

        print(dumps(plain(findings.to_dict()), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        console.print(findings)
        console.print(f"\nWritten to {run / FILE}", soft_wrap=True)
    return int(strict and not findings.healthy)


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
