"""nelbo runs: the runs below a folder, what state they are in, and their last numbers."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nelbo import runs as stored
from nelbo.files import DamagedFileError, json_text
from nelbo.wording import said


def runs(*folder: Path, json: bool = False) -> int:
    """List the runs below folders: their state, how far they are, and their last numbers in nats.

    A run is running, finished, interrupted (by Ctrl-C, or its process was killed), not finite (a NaN stopped it) or
    failed. What is not finished goes on with nelbo fit --resume RUN. The latest stands last.

    Args:
        folder: runs, or folders that hold some at any depth; by default runs/.
        json: print a JSON list instead of the table.
    """
    folders = folder or (Path("runs"),)
    for each in folders:
        if not each.is_dir():
            raise FileNotFoundError(f"{each} is not a folder; write nelbo runs FOLDER, of the folder that holds runs")
    records = {path for each in folders for path in each.rglob(stored.RECORD)}
    entries = [_entry(path.parent) for path in sorted(records, key=lambda path: (path.stat().st_mtime, path))]
    if json:
        print(json_text(entries))
    elif not entries:
        print(f"no runs below {', '.join(map(str, folders))}; train one: nelbo fit DATA --out {folders[0]}/NAME")
    else:
        _show(entries)
    broken = [entry for entry in entries if entry["state"] == "damaged"]
    for entry in broken:
        print(f"nelbo: {entry['error']}", file=sys.stderr)
    return int(bool(broken))


def _entry(path: Path) -> dict[str, Any]:
    try:
        record, history = stored.read_record(path), stored.read_history(path)
    except (DamagedFileError, OSError) as error:
        return {"run": str(path), "state": "damaged", "error": said(error)}
    last: stored.Epoch = history[-1] if history else {}
    part = "validation" if "validation_nelbo" in last else "train"
    return {
        "run": str(path),
        "state": stored.state_of(path, record),
        "recipe": (record["recipe"] or {}).get("name"),
        "data": record["data"].get("source"),
        "epochs": len(history),
        "of": record["training"]["epochs"],
        "on": part if last else None,
        **{name: last.get(f"{part}_{name}") for name in ("reconstruction_error", "kl", "nelbo")},
        "nelbo_standard_error": last.get(f"{part}_nelbo_standard_error"),
        "examples_per_second": last.get("examples_per_second"),
        "seconds": last.get("seconds"),
        "error": record.get("error"),
    }


def _show(entries: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console  # importing it draws from Python's random numbers
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for head in ("run", "state", "recipe", "data"):
        grid.add_column(head, overflow="fold", no_wrap=head != "data")
    for head in ("epochs", "NELBO", "rec. error", "KL", "time"):
        grid.add_column(head, justify="right", no_wrap=True)
    for entry in entries:
        if entry["state"] == "damaged":
            grid.add_row(entry["run"], "[red]damaged")
            continue
        colour = {"running": "cyan", "finished": "green", "interrupted": "yellow"}.get(entry["state"], "red")
        source = Path(entry["data"]).name if entry["data"] else "in memory"
        error = entry["nelbo_standard_error"]
        grid.add_row(
            entry["run"],
            f"[{colour}]{entry['state']}",
            entry["recipe"] or "own model",
            source,
            f"{entry['epochs']}/{entry['of']}",
            _nats(entry["nelbo"]) + (f" ± {error:.2f}" if error is not None else ""),
            _nats(entry["reconstruction_error"]),
            _nats(entry["kl"]),
            _time(entry["seconds"]),
        )
    console = Console()
    console.print(grid, highlight=False)
    parts = {entry["on"] for entry in entries if entry.get("on")}
    if parts:
        on = "validation examples, or of training ones where there are none" if "validation" in parts else "training"
        console.print(f"\nIn nats, means of the last epoch on {on}.", highlight=False)


def _nats(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
