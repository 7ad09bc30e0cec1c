"""Runs whose training has not ended, or was stopped by a NaN."""

from pathlib import Path

from nelbo import runs
from nelbo.runs import Run
from nelbo.training.checkpoint import Snapshot
from nelbo.vae import Model

STOPPED = "not finite"
"""The status of a run that a NaN or an infinity stopped; its record then says why."""


def load(path: Path, *, model: Model | None = None) -> Run:
    """A run as it stands: finished, or with the weights of its last checkpoint.

    Args:
        path: the folder of a run.
        model: as :func:`nelbo.load` takes it.

    Raises:
        DamagedFileError: a file is missing, cut short or foreign; the message names it.
    """
    if (path / runs.WEIGHTS).is_file():
        return runs.load(path, model=model)
    record = runs.read_record(path)
    snapshot = Snapshot.load(path)
    model = runs.rebuild_model(record, path) if model is None else model
    weights = {
        name.removeprefix("model."): tensor for name, tensor in snapshot.tensors.items() if name.startswith("model.")
    }
    runs.load_weights(model, weights)
    history = runs.read_history(path)[: int(snapshot.position["lines"])]
    return Run(model.eval(), history, path, record)


def standing(run: Run) -> tuple[str, ...]:
    """Notes on a run that has not finished; none on one that has."""
    status = run.record.get("status", "finished")
    if status in ("finished", STOPPED):
        return ()
    after = f"{len(run.history)} of {run.record['training']['epochs']} epochs"
    if run.path is not None and (run.path / runs.WEIGHTS).is_file():
        return ()  # it is trained further; what is measured is what it had reached before
    what = {
        "training": "has not ended (or was killed)",
        "interrupted": "was interrupted",
    }.get(status, f"has the status {status!r}")
    return (f"the training {what}; measured as of its last checkpoint, after {after}",)


def failure(run: Run) -> str | None:
    """The error of a run whose training a NaN or an infinity stopped."""
    return str(run.record["error"]) if run.record.get("status") == STOPPED and "error" in run.record else None
