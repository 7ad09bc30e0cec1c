"""Experiment trackers: each epoch's numbers go where a team looks at them already."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, final, get_args
from weakref import WeakKeyDictionary

from nelbo.registry import check_choice
from nelbo.runs import Epoch

TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]
_COUNTERS = ("step", "epoch")


def track(tracker: TrackerName, **options: Any) -> Callable[[Epoch], None]:
    """A callback of :func:`nelbo.fit` or :func:`nelbo.watch` that sends the numbers to an experiment tracker.

    ``nelbo.fit(model, x, callback=nelbo.track("tensorboard", log_dir="runs/board"))``.

    They have the names of metrics.jsonl, such as ``validation_nelbo``, in nats, and the epoch as their step; those of
    :func:`nelbo.watch` the names and the step of its rows. A run of the tracker that is active already is used; else
    one is started when the first numbers come, and another one where they begin again, as in the next training.

    Args:
        tracker: "tensorboard", "mlflow", "wandb" or "trackio"; its package is imported here, and is not one of nelbo's
            dependencies.
        **options: of what starts a run there: ``SummaryWriter(log_dir=...)``, ``mlflow.start_run(run_name=...)``,
            ``wandb.init(project=...)`` or ``trackio.init(project=...)``, whose project is "nelbo" unless given.

    Raises:
        ValueError: there is no such tracker.
        ImportError: its package is not installed; the message has the line that installs it.
    """
    check_choice("tracker", tracker, get_args(TrackerName))
    kind, module = _TRACKERS[tracker]
    try:
        return kind(import_module(module), options)
    except ImportError as error:
        raise ImportError(f"nelbo.track({tracker!r}) needs {tracker}: pip install {tracker}") from error


_started: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()
"""The last step of each number, for each run that was started here."""


class _Tracker(ABC):
    """A callback that sends numbers to the active run of a tracker.

    Args:
        module: with the functions of the tracker.
        options: of what starts a run.
    """

    def __init__(self, module: Any, options: dict[str, Any]) -> None:
        self.module, self.options = module, options

    def __call__(self, epoch: Epoch) -> None:
        numbers: dict[str, float] = {
            name: value for name, value in epoch.items() if isinstance(value, int | float) and name not in _COUNTERS
        }
        step: int = next(epoch[name] for name in _COUNTERS if name in epoch)
        run = self.active()
        last = None if run is None else _started.get(run)
        if last is not None and any(step <= last.get(name, step - 1) for name in numbers):  # another training
            self.end()
            run = None
        if run is None:
            last = _started[self.start()] = {}
        if last is not None:
            last.update(dict.fromkeys(numbers, step))
        self.log(numbers, step)

    @abstractmethod
    def active(self) -> Any:
        """The active run, or None."""

    @abstractmethod
    def start(self) -> Any:
        """Start a run, which is the active one then."""

    @abstractmethod
    def end(self) -> None:
        """End the active run."""

    @abstractmethod
    def log(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers to the active run."""


@final
class _TensorBoard(_Tracker):
    writer: Any = None

    def active(self) -> Any:
        return self.writer

    def start(self) -> Any:
        self.writer = self.module.SummaryWriter(**self.options)
        return self.writer

    def end(self) -> None:
        self.writer.close()

    def log(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # a killed training has what it said


@final
class _MLflow(_Tracker):
    def active(self) -> Any:
        return self.module.active_run()

    def start(self) -> Any:
        return self.module.start_run(**self.options)

    def end(self) -> None:
        self.module.end_run()

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.module.log_metrics(numbers, step=step)


class _Wandb(_Tracker):
    def active(self) -> Any:
        return self.module.run

    def start(self) -> Any:
        return self.module.init(**self.options)

    def end(self) -> None:
        self.module.finish()

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.module.log(numbers, step=step)


@final
class _Trackio(_Wandb):
    """The interface of wandb, but for the active run, and a project that must be named."""

    def active(self) -> Any:
        return self.module.context_vars.current_run.get()

    def start(self) -> Any:
        return self.module.init(**{"project": "nelbo", **self.options})


_TRACKERS: dict[str, tuple[type[_Tracker], str]] = {
    "tensorboard": (_TensorBoard, "torch.utils.tensorboard"),
    "mlflow": (_MLflow, "mlflow"),
    "wandb": (_Wandb, "wandb"),
    "trackio": (_Trackio, "trackio"),
}
