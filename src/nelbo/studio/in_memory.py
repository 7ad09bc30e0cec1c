"""Models as runs that were never written: what the studio shows of a model from elsewhere."""

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from torch import nn

import nelbo
from nelbo.data import Data, as_data
from nelbo.data.loading import is_named, judged_by
from nelbo.devices import move, pick_device
from nelbo.registry import did_you_mean
from nelbo.runs import Run
from nelbo.vae import as_model
from nelbo.wording import advice
from nelbo.wrapping.view import viewed


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


def is_reference(text: str | Path) -> bool:
    """Whether it names something in a module, as in "module:function", and no file or folder."""
    return bool(re.fullmatch(r"[\w.]+:\w+", str(text))) and not Path(text).exists()


def looked_up(reference: str) -> Any:
    """What a module has under a name, "module:name"; the module may lie in this directory.

    Raises:
        ValueError: there is no such module, or it has no such name.
    """
    module, colon, name = reference.partition(":")
    if not (module and colon and name):
        raise ValueError(f"got {reference!r}, expected a function as in module:function; write my_module:{reference}")
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or " "):  # the module is there, and lacks another one
            raise
        line = f"; write {module.removesuffix('.py')}:{name}" if module.endswith(".py") else ""
        raise ValueError(
            f"{reference!r} must name a function as in module:function, and there is no module {module}: neither "
            f"installed nor in {Path.cwd()}{line}"
        ) from None
    finally:
        sys.path.remove("")
    if not hasattr(found, name):
        raise ValueError(
            f"{reference!r} must name a function as in module:function, and {module} has no "
            f"{name!r}{did_you_mean(name, dir(found))}"
        )
    return getattr(found, name)


def from_reference(reference: str, data: str | None = None, *, device: str = "auto") -> Run:
    """The model and data that a function without arguments returns, named as "module:function".

    Args:
        reference: of a function that returns a run, a model or a view of ``nelbo.wrap``, alone or with its data as
            (model, x); or of a module. What is no model of nelbo's is wrapped.
        data: in place of those that it returns, as nelbo.data.load takes them.
        device: to bring the model to; "auto" leaves it where it is.

    Raises:
        ValueError: there is no such function, or it returns something else.
    """
    made = looked_up(reference)
    if not isinstance(made, nn.Module):
        _check_takes_nothing(reference, made)
        made = made()
    model, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if isinstance(model, Run):
        return as_run(model, given if data is None else data)
    examples = given if data is None else data
    if examples is None:
        line = advice(f"nelbo.studio.show({reference.replace(':', '.')}(), x)", f"{reference} --data x.npy")
        raise ValueError(
            f"{reference} must return a model and its data as (model, x), got {type(model).__name__} alone; or write "
            + line
        )
    # nobody knows which of them the model was trained on: none are held out
    loaded = examples if isinstance(examples, Data) else as_data(examples, validation=0)
    try:
        view = viewed(model, loaded.train.examples(min(len(loaded.train), _MOST)))
    except TypeError as error:
        raise ValueError(f"{reference} must return a model, or a model and its data as (model, x); {error}") from None
    except ValueError as error:
        name = reference.partition(":")[2]
        raise ValueError(f"{error}: let {name} end with return nelbo.wrap(model, x=x, ...), x") from error
    if view is not model:
        print(view, file=sys.stderr)
    if device != "auto":
        move(view, pick_device(device))
    return as_run(view, loaded)


def _check_takes_nothing(reference: str, function: Any) -> None:
    if not callable(function):
        raise ValueError(f"{reference} must be a function that returns a model, got {type(function).__name__}")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        name = reference.partition(":")[2]
        raise ValueError(
            f"{reference} must be a function without arguments ({error}); write def make(): return {name}(...)"
        ) from None


_MOST = 200  # examples, by which a model's answers are read
