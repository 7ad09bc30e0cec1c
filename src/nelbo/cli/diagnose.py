"""`nelbo diagnose` and `nelbo explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nelbo.cli.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from nelbo.report import Findings
    from nelbo.runs import Run


def diagnose(
    run: Path,
    data: str | None = None,
    *,
    loss: str | None = None,
    examples: int = 1000,
    seconds: float = 60.0,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    json: bool = False,
    strict: bool = False,
) -> int:
    """Look for faults of a run's model: the evidence in numbers, what it means, and the line to change.

    About forty checks of the data, the loss, the latents, the networks and the training, most severe finding first,
    then by the nats it costs. severe: the model or its numbers are wrong; warning: it costs nats; note: worth knowing.
    A run that is still training, was stopped, or ended in a NaN is measured as of its last checkpoint. nelbo explain ID
    describes a finding and how it is measured.

    A model from elsewhere is named as module:function, and so is its loss, whose weights are measured: nelbo diagnose
    my_module:make --loss my_module:loss --data x.npy. It is wrapped as nelbo.wrap(model, x=x) does.

    Args:
        run: directory of a run; or module:function, a function of yours without arguments that returns a model, a view
            of nelbo.wrap, or (model, x). The module is installed, or lies in this directory.
        data: a named set or a path to use in place of the run's held-out data, prepared as the run's data were: is it
            of the same kind, was it trained on, what does the model lose on it? By default the run's own. Where what it
            was trained on is not there, the model is judged on these alone. Of module:function, what it is trained on.
        loss: module:function of the function that is differentiated: loss_function(recon_x, x, mu, logvar),
            loss(model, x) or loss(x).
        examples: number of training examples, and of held-out examples, to measure.
        seconds: that it should take; a model that is too slow for that is measured on fewer examples and draws, which
            the output says.
        seed: seed of every draw.
        device: of the model: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
        out: directory for findings.json; by default the run's, or none for other data.
        json: print one JSON object instead of text.
        strict: exit with status 1 if there is a severe finding, for use in continuous integration.
    """
    from nelbo import runs
    from nelbo.studio.in_memory import from_reference, is_reference, looked_up

    function = None if loss is None else looked_up(loss)
    foreign = is_reference(run)
    loaded = from_reference(str(run), data, device=device) if foreign else runs.read(run, device=device)
    place = out or (run if data is None and not foreign else None)
    other = None if foreign else data
    writing = Writing()
    findings = examine(
        loaded, place, data=other, loss=function, examples=examples, seconds=seconds, seed=seed, writing=writing
    )
    if json:
        from nelbo.files import json_text

        print(json_text(findings.to_dict()))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        console.print(findings)
        from nelbo.report import FINDINGS

        kept = "findings of a model that is no run" if foreign else "findings on other data"
        written = f"Written to {place / FINDINGS}" if place else f"Not written: --out DIR keeps {kept}"
        if not writing.failures:
            console.print(f"\n{written}", soft_wrap=True)
    return writing.end() or int(strict and not findings.healthy)


def examine(
    run: "Run",
    out: Path | None,
    *,
    data: str | None = None,
    loss: "Callable[..., Any] | None" = None,
    examples: int = 1000,
    seconds: float = 60.0,
    seed: int = 0,
    writing: Writing,
) -> "Findings":
    """Diagnose a run, on its own data or with others as held out, and write findings.json into ``out``, if given."""
    from nelbo.diagnosis import diagnose

    findings = diagnose(run, held_out=data, loss=loss, examples=examples, seconds=seconds, seed=seed)
    if out is not None:
        writing(lambda: findings.save(out))
    return findings


def explain(id: str | None = None) -> int:
    """Explain a finding: what it means, how it is measured and what to change; without ID, list all findings.

    Args:
        id: id of a finding, as nelbo diagnose prints it.
    """
    from nelbo.diagnosis import explain as page_of
    from nelbo.diagnosis import index

    if id is not None:
        print(page_of(id), end="")
        return 0
    findings = index()
    width = max(len(name) for name, _ in findings)
    for name, title in findings:
        print(f"{name:{width}}  {title}")
    return 0
