"""The training loop: one epoch after the other, with nothing hidden between two steps."""

import contextlib
import functools
import math
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, final

import torch

from nelbo.data import Batch, ChangedError, Data, Dataset
from nelbo.evaluation import TERMS, mean_terms
from nelbo.files import plain
from nelbo.objectives import Progress
from nelbo.randomness import own_randomness
from nelbo.runs import Epoch, append_history
from nelbo.training.checkpoint import Keeper, State
from nelbo.training.memory import warm_memory
from nelbo.training.nonfinite import NonFiniteError, NonFiniteFound, weights_are_finite
from nelbo.training.optimizers import averaged, load_parameters, unchanged
from nelbo.training.optimum import settle
from nelbo.training.progress import Display
from nelbo.training.replay import explain, find_in_validation
from nelbo.training.settings import Settings
from nelbo.training.step import Updates
from nelbo.vae import Model
from nelbo.workers import Workers

# On an accelerator, looking at the loss waits for all queued work: there it is done only now and then.
_LOOK_EVERY_ELSEWHERE = 50


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or a request to stop, obeyed where nothing is lost; the message says how to go on.

    Attributes:
        partial: what a measurement had by then; None for a training, whose state is saved in its folder.
    """

    def __init__(self, message: str, partial: Any = None) -> None:
        super().__init__(message)
        self.partial = partial


@final
@dataclass
class StopRequest:
    """Whether somebody asked the training to stop."""

    asked: bool = False

    @contextlib.contextmanager
    def listen(self) -> Generator[None]:
        """Within, SIGINT and SIGTERM are noted here instead of breaking a step; a second one breaks it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return

        def handler(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # a signal that is ignored stays so, as under nohup; None is a handler from outside Python, not ours to replace
        ours = [number for number, old in before.items() if old is not None and old != signal.SIG_IGN]
        for number in ours:
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])


@final
@dataclass
class Loop:
    """Trains from where the state stands to the end.

    Args:
        updates: of the weights.
        keeper: of checkpoints.
        data: training and validation set.
        callback: called with each epoch's line of metrics.
        history: the lines so far.
    """

    updates: Updates
    keeper: Keeper
    data: Data
    callback: Callable[[Epoch], None] | None = None
    history: list[Epoch] = field(default_factory=list[Epoch])
    settled_by: int | None = None
    """Training examples that parameters with a closed form were set by at last, of a likelihood that has any."""
    _stop: StopRequest = field(default_factory=StopRequest)
    _since: float = 0.0

    @property
    def settings(self) -> Settings:
        """Of the training."""
        return self.updates.settings

    @property
    def state(self) -> State:
        """What changes while training."""
        return self.updates.state

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.updates.model

    @property
    def workers(self) -> Workers:
        """The processes that train together."""
        return self.updates.workers

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.state.position.stopped or self.state.position.epoch >= self.settings.epochs

    def run(self, display: Display) -> None:
        """Train to the end, or until somebody asks to stop."""
        with own_randomness(self.updates.device), warm_memory(), self._stop.listen():
            while not self.finished:
                self._train(display)
                line = self._end_epoch()
                display.end_epoch(line)
                if self.workers.any(self.workers.first and (self.finished or self.keeper.due_after_epoch()))[0]:
                    self.keep()
                if self.callback is not None:
                    self.callback(line)
        # after the last checkpoint, which holds the weights as trained: a finished run can be given more epochs
        if self.state.best is not None:
            self.model.load_state_dict(self.state.best)
        elif self.state.average is not None:
            load_parameters(self.model, self.state.average)
        self._settle()

    def keep(self) -> None:
        """Keep a checkpoint, or raise a NonFiniteError: nothing broken is written over a good one."""
        if not weights_are_finite(self.model):
            raise explain(self.updates, self.keeper)
        self.keeper.keep()

    def _train(self, display: Display) -> None:
        """What is left of the running epoch, step by step."""
        position = self.state.position
        look_every = 1 if self.updates.device.type == "cpu" else _LOOK_EVERY_ELSEWHERE
        self.updates.step.train()
        self._since = perf_counter()
        batches = self.updates.batches()
        while (raw := self._next(batches)) is not None:
            try:
                loss = self.updates.update(raw)
            except torch.OutOfMemoryError as error:
                raise self._out_of_memory() from error
            if position.step % look_every == 0 and not math.isfinite(float(loss)):
                raise explain(self.updates, self.keeper)
            if display.due():
                self._count_time()
                display.update(position.epoch, position.batch, self._means(), self._speed())
                self._since = perf_counter()  # showing is not training, least of all where it pauses
            stopping, due = self.workers.any(self._stop.asked, self.keeper.due())
            if stopping or due:
                self._count_time()
                self.keep()
                if stopping:
                    raise self._interrupted()
                self._since = perf_counter()
        if not bool(torch.isfinite(self.state.totals[TERMS.index("objective")])) or not weights_are_finite(self.model):
            raise explain(self.updates, self.keeper)
        self._count_time()

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        """The next batch, or None; where it cannot be had, what was trained so far is kept."""
        try:
            return next(batches, None)
        except Exception as error:
            if self.keeper.last is None or self.keeper.last.position["step"] < self.state.position.step:
                self._count_time()
                self.keep()
            if isinstance(error, ChangedError):
                raise ChangedError(f"{error}. {self.keeper.sentence}") from error
            raise

    def _end_epoch(self) -> Epoch:
        """Validate, judge, and write the epoch's line of metrics."""
        state, position = self.state, self.state.position
        means, speed = self._means(), self._speed()
        state.totals.zero_()
        position.epoch, position.batch, position.epoch_seconds = position.epoch + 1, 0, 0.0
        try:
            with averaged(self.model, state.average), unchanged(self.model.px_family):
                validation = {} if self.data.validation is None else self._validate(self.data.validation)
        except NonFiniteFound as found:
            self.keeper.restore()
            raise NonFiniteError(
                f"training stopped after epoch {position.epoch}: {found}. {self.keeper.sentence}"
            ) from found
        # of the epoch's last step, by the schedule: a run resumed between that step and here took no step yet
        last_step = position.epoch - 1 / self.updates.per_epoch
        line: Epoch = plain(
            {
                "epoch": position.epoch,
                **{f"train_{name}": value for name, value in means.items()},
                **{f"validation_{name}": value for name, value in validation.items()},
                "learning_rate": self.updates.learning_rate_at(last_step),
                "examples_per_second": round(speed, 1),
                "seconds": round(position.seconds, 3),
            }
        )
        self.history.append(line)
        position.lines = len(self.history)
        if self.keeper.folder is not None:
            append_history(self.keeper.folder, line)
        return line

    def _validate(self, dataset: Dataset) -> Mapping[str, float]:
        objective, epoch = self.updates.step.objective, self.state.position.epoch
        validate = functools.partial(
            mean_terms,
            self.model,
            dataset,
            progress=Progress(epoch, len(self.data.train)),
            seed=self.settings.seed,
        )
        self._settle(roughly=True)
        terms = validate(objective.terms, workers=self.workers)
        if not math.isfinite(terms["objective"]):
            find_in_validation(validate, objective, self.model)
        if self.settings.patience is not None and epoch >= objective.changes_until():
            # while a warm-up lasts, the validation NELBO may rise for good reasons;
            # an autoencoder's is infinite: what it is judged by is its reconstruction error
            self._judge(terms["nelbo" if objective.has_kl() else "reconstruction_error"], self.settings.patience)
        return terms

    def _settle(self, *, roughly: bool = False) -> None:
        """Bring parameters with a closed form to their optimum for the model's weights; training follows it slowly."""
        progress = Progress(self.state.position.epoch, len(self.data.train))
        objective, seed = self.updates.step.objective, self.settings.seed
        self.settled_by = settle(self.model, objective, self.data.train, progress, seed=seed, roughly=roughly)
        self.workers.align([*self.model.px_family.state_dict().values()])

    def _judge(self, value: float, patience: int) -> None:
        """Keep the best weights; stop after ``patience`` epochs without better ones."""
        position = self.state.position
        if position.best is None or value < position.best:
            position.best, position.best_epoch = value, position.epoch
            self.state.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        position.stopped = position.epoch - position.best_epoch >= patience

    def _seen(self) -> int:
        """Examples of the running epoch so far."""
        return min(self.state.position.batch * self.settings.batch_size, len(self.data.train))

    def _means(self) -> dict[str, float]:
        return dict(zip(TERMS, (self.state.totals / max(self._seen(), 1)).tolist(), strict=True))

    def _speed(self) -> float:
        """Examples per second in this epoch."""
        return self._seen() / max(self.state.position.epoch_seconds, 1e-9)

    def _count_time(self) -> None:
        now = perf_counter()
        self.state.position.seconds += now - self._since
        self.state.position.epoch_seconds += now - self._since
        self._since = now

    def _out_of_memory(self) -> torch.OutOfMemoryError:
        examples = min(self.settings.batch_size, len(self.data.train))
        less = f"Train anew with batch_size={examples // 2}" if examples > 1 else "Train anew with smaller networks"
        return torch.OutOfMemoryError(
            f"a step on {examples} examples takes more memory than {self.updates.device} has. {less}, "
            f"precision='bfloat16', or device='cpu'. {self.keeper.sentence}"
        )

    def _interrupted(self) -> Interrupted:
        position, folder = self.state.position, self.keeper.folder
        where = f"epoch {position.epoch + 1}, batch {position.batch} of {self.updates.per_epoch}"
        if folder is None:
            return Interrupted(f"stopped at {where}; the model keeps its weights. With out='runs/NAME' a run can go on")
        line = f"nelbo fit --resume {folder}, or nelbo.resume({str(folder)!r}) in Python"
        return Interrupted(f"stopped at {where} and saved. Go on with: {line}")
