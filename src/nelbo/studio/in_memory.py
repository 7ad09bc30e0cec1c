"""Models as runs that were never written: what the studio shows of a model from elsewhere."""

import importlib
import sys
from pathlib import Path
from typing import Any

import nelbo
from nelbo.data import Data, as_data
from nelbo.data.loading import is_named, judged_by
from nelbo.runs import Run
from nelbo.vae import as_model


def as_run(model: Any, data: Any = None) -> Run:
    """A run of a model and the data it is shown on; a run, or the directory of one, without data stays what it is.

    Args:
        model: a model, a run or the directory of one.
        data: examples as the model sees them. Of a run also a path, the name of a set or a table, which it takes by
            name, prepared as its own data were; the file that it was trained on, wherever it lies, is split as then.

    Raises:
        TypeError: model is nothing that nelbo can evaluate, or has no data.
    """
    run = nelbo.load(model) if isinstance(model, str | Path) else model
    if isinstance(run, Run):
        if data is None:
            return run
        shown = _seen(run, data) if is_named(data) else as_data(data)
        return Run(run.model, run.history, record={**run.record, "name": run.name}, _data=shown)
    known = as_model(model)
    if data is None:
        raise TypeError("data must be given for a model that is not a run; write nelbo.studio.show(model, x)")
    behind = next(iter(getattr(known, "behind", ())), model)
    record = {"status": "in memory", "name": type(behind).__name__, "model": repr(model)}
    return Run(known, [], record=record, _data=as_data(data))


def _seen(run: Run, source: Any) -> Data:
    """The examples of a source as a run sees them, all in one part where they are not its own."""
    judged = judged_by(run.origin, source)
    if isinstance(judged, Data):
        return judged
    where = str(source) if isinstance(source, str | Path) else None
    return Data(judged, None, None, run.origin | {"source": where, "sizes": {"train": len(judged)}})


def from_reference(reference: str) -> Run:
    """The model and data that a function returns, named as "module:function"; the module may lie in this directory.

    Raises:
        ValueError: there is no such module or function, or it returns something else than a model with its data.
    """
    module, _, name = reference.partition(":")
    sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{reference!r} must name a function as in module:function; {error}") from None
    finally:
        sys.path.remove("")
    made = function()
    model, data = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    try:
        return as_run(model, data)
    except TypeError as error:
        raise ValueError(f"{reference} must return a run, or a model and its data as (model, x); {error}") from None
