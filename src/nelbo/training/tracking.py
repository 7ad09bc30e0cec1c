"""Experiment trackers: each epoch's numbers go where a team looks at them already."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, get_args

from nelbo.registry import check_choice
from nelbo.runs import Epoch

TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]
_COUNTERS = ("step", "epoch")
_MODULES = {"tensorboard": "torch.utils.tensorboard"}  # the others have the name of their package


def track(tracker: TrackerName, **options: Any) -> Callable[[Epoch], None]:
    """A callback of :func:`nelbo.fit` or :func:`nelbo.watch` that sends the numbers to an experiment tracker.

    ``nelbo.fit(model, x, callback=nelbo.track("tensorboard", log_dir="runs/board"))``.

    They have the names of metrics.jsonl, such as ``validation_nelbo``, in nats, and the epoch as their step; those of
    :func:`nelbo.watch` the names and the step of its rows. A run of the tracker that is active already is used; else
    one is started when the first numbers come.

    Args:
        tracker: "tensorboard", "mlflow", "wandb" or "trackio"; its package is imported here, and is not one of nelbo's
            dependencies.
        **options: of what starts a run there: ``SummaryWriter(log_dir=...)``, ``mlflow.start_run(run_name=...)``,
            ``wandb.init(project=...)`` or ``trackio.init(project=...)``.

    Raises:
        ValueError: there is no such tracker.
        ImportError: its package is not installed; the message has the line that installs it.
    """
    check_choice("tracker", tracker, get_args(TrackerName))
    try:
        module = import_module(_MODULES.get(tracker, tracker))
    except ImportError as error:
        raise ImportError(f"nelbo.track({tracker!r}) needs {tracker}: pip install {tracker}") from error
    log = {"tensorboard": _tensorboard, "mlflow": _mlflow}.get(tracker, _wandb)(module, options)

    def send(epoch: Epoch) -> None:
        numbers: dict[str, float] = {
            name: value for name, value in epoch.items() if isinstance(value, int | float) and name not in _COUNTERS
        }
        log(numbers, next(epoch[name] for name in _COUNTERS if name in epoch))

    return send


def _tensorboard(module: Any, options: dict[str, Any]) -> Callable[[dict[str, float], int], None]:
    writers: list[Any] = []

    def log(numbers: dict[str, float], step: int) -> None:
        writer = writers[0] if writers else module.SummaryWriter(**options)
        writers[:] = [writer]
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()  # a killed training has what it said

    return log


def _mlflow(module: Any, options: dict[str, Any]) -> Callable[[dict[str, float], int], None]:
    def log(numbers: dict[str, float], step: int) -> None:
        if module.active_run() is None:
            module.start_run(**options)
        module.log_metrics(numbers, step=step)

    return log


def _wandb(module: Any, options: dict[str, Any]) -> Callable[[dict[str, float], int], None]:
    """Of wandb, and of trackio, which has the same interface."""
    started: list[Any] = []

    def log(numbers: dict[str, float], step: int) -> None:
        if not started and getattr(module, "run", None) is None:
            started.append(module.init(**options))
        module.log(numbers, step=step)

    return log
