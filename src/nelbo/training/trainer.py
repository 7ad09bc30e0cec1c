"""The training loop: from one step to the next, with nothing hidden between them."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo.data import Data
from nelbo.objectives import Objective, Progress, Terms
from nelbo.runs import Epoch, append_history
from nelbo.training import learning_rate
from nelbo.training.checkpoint import Snapshot, State
from nelbo.training.evaluate import TERMS, evaluate
from nelbo.training.failure import First, NonFiniteError, examine, examine_gradients, examine_weights, watch
from nelbo.training.memory import warm_memory
from nelbo.training.progress import Display
from nelbo.training.seeds import derive, own_randomness, seed_noise
from nelbo.vae import VAE

# On an accelerator, looking at the loss waits for all queued work: there it is done only now and then.
_LOOK_EVERY = {"cpu": 1}
_LOOK_EVERY_ELSEWHERE = 50


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or a request to end, obeyed between two steps; the state is saved and the message says how to go on."""


@dataclass
class Trainer:
    """One training: its settings, its state and its history."""

    state: State
    objective: Objective
    data: Data
    device: torch.device
    epochs: int
    batch_size: int
    base_learning_rate: float
    schedule: learning_rate.Schedule
    warm_up: float
    seed: int
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    precision: str = "float32"
    out: Path | None = None
    checkpoint_every: float = 60.0
    callback: Callable[[Epoch], None] | None = None
    history: list[Epoch] = field(default_factory=list[Epoch])
    _last_good: Snapshot | None = None
    _saved_at: float = 0.0
    _stop: bool = False

    @property
    def model(self) -> VAE:
        """The model in training."""
        return self.state.model  # pyright: ignore[reportReturnType]

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.data.train) / self.batch_size)

    def run(self, display: Display) -> None:
        """Train from where the state stands to the end."""
        with own_randomness(self.device), warm_memory(), self._signals():
            self._keep(force=True)
            while not self.state.position.finished:
                self._epoch(display)

    def _epoch(self, display: Display) -> None:
        position = self.state.position
        train = self.data.train
        order = derive(self.seed, "order", position.epoch)
        look_every = _LOOK_EVERY.get(self.device.type, _LOOK_EVERY_ELSEWHERE)
        started, first_batch = time.perf_counter(), position.batch
        self.model.train()
        for raw in train.batches(self.batch_size, order=order, start=position.batch, device=self.device):
            terms = self._step(raw)
            position.batch += 1
            position.step += 1
            if position.step % look_every == 0 and not math.isfinite(float(terms.surrogate.detach().sum())):
                self._explain_failure()
            if display.due():
                display.update(position.epoch, position.batch, self._means(), self._speed(started, first_batch))
            if self._stop or time.perf_counter() - self._saved_at > self.checkpoint_every:
                position.seconds += time.perf_counter() - started
                started, first_batch = time.perf_counter(), position.batch
                self._keep(force=True)
                if self._stop:
                    self._interrupt()
        if not bool(torch.isfinite(self.state.totals[3])):
            self._explain_failure()
        seconds = time.perf_counter() - started
        position.seconds += seconds
        self._end_epoch(self._speed(started, first_batch), display)

    def _step(self, raw: Tensor) -> Terms:
        """One update: draw, evaluate, differentiate, move."""
        state, position = self.state, self.state.position
        epoch = position.epoch + position.batch / self.batches
        seed_noise(self.device, derive(self.seed, "noise", position.step))
        x = self.data.train.prepare(raw)
        with self._autocast():
            terms = self.objective(self.model, x, Progress(epoch, len(self.data.train)))
        state.optimizer.zero_grad()
        terms.surrogate.mean().backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        factor = learning_rate.factor(self.schedule, epoch, self.epochs, self.warm_up)
        state.optimizer.learning_rate = self.base_learning_rate * factor
        state.optimizer.step()
        if state.average is not None:
            self._move_average(state.average)
        with torch.no_grad():
            state.totals += torch.stack([*(term.sum() for term in terms.loss), terms.value.sum()]).double()
        return terms

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _move_average(self, average: dict[str, Tensor]) -> None:
        decay = self.ema or 0.0
        # early averages would remember the initialization: until 1 / (1 - decay) steps, a plain mean instead
        weight = max(1 - decay, 1 / (self.state.position.step + 1))
        with torch.no_grad():
            for mean, parameter in zip(average.values(), self.model.parameters(), strict=True):
                mean.lerp_(parameter, weight)

    def _end_epoch(self, speed: float, display: Display) -> None:
        state, position = self.state, self.state.position
        means = self._means()
        state.totals = torch.zeros_like(state.totals)
        position.epoch += 1
        position.batch = 0
        epoch: Epoch = {"epoch": position.epoch, **{f"train_{name}": value for name, value in means.items()}}
        with averaged(self.model, state.average):
            if self.data.validation is not None:
                progress = Progress(position.epoch, len(self.data.train))
                measured = evaluate(
                    self.model,
                    self.data.validation,
                    self.objective,
                    progress=progress,
                    seed=self.seed,
                    device=self.device,
                )
                epoch |= {f"validation_{name}": value for name, value in measured.items()}
            position.finished = position.epoch >= self.epochs or self._stops_early(epoch)
        epoch |= {
            "learning_rate": state.optimizer.learning_rate,
            "examples_per_second": round(speed, 1),
            "seconds": round(position.seconds, 3),
        }
        self.history.append(epoch)
        position.lines = len(self.history)
        if self.out is not None:
            append_history(self.out, epoch)
        display.end_epoch(epoch)
        if position.finished:
            self._settle()
        self._keep(force=position.finished)
        if self.callback is not None:
            self.callback(epoch)

    def _stops_early(self, epoch: Epoch) -> bool:
        """Keep the best weights; say whether ``patience`` epochs went by without better ones."""
        if self.patience is None:
            return False
        position = self.state.position
        # an autoencoder's NELBO is infinite: what it is judged by is its reconstruction error
        value = epoch["validation_nelbo" if self.objective.has_kl() else "validation_reconstruction_error"]
        if self.objective.changes_until() > position.epoch:
            return False  # while a warm-up lasts, the validation NELBO may rise for good reasons
        if position.best is None or value < position.best:
            position.best, position.best_epoch = value, position.epoch
            self.state.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        return position.epoch - position.best_epoch >= self.patience

    def _settle(self) -> None:
        """What the run ends with: the best weights, or the averaged ones, or the last ones."""
        if self.state.best is not None:
            self.model.load_state_dict(self.state.best)
        elif self.state.average is not None:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(self.state.average[name])

    def _means(self) -> dict[str, float]:
        position = self.state.position
        seen = min(position.batch * self.batch_size, len(self.data.train))
        return dict(zip(TERMS, (self.state.totals / max(seen, 1)).tolist(), strict=True))

    def _speed(self, started: float, first_batch: int) -> float:
        examples = (
            min(self.state.position.batch * self.batch_size, len(self.data.train)) - first_batch * self.batch_size
        )
        return examples / max(time.perf_counter() - started, 1e-9)

    def _keep(self, *, force: bool = False) -> None:
        """Keep the state for a resume and for a replay; on disk if the run has a folder."""
        now = time.perf_counter()
        if self.out is None:
            self._last_good = self.state.snapshot()
        elif force or now - self._saved_at > min(5.0, self.checkpoint_every):
            snapshot = self.state.snapshot()
            examine_snapshot(snapshot)
            snapshot.save(self.out)
            self._last_good = snapshot
        self._saved_at = time.perf_counter() if self._last_good is not None else now

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        """Obey Ctrl-C and a request to end between two steps; a second Ctrl-C at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return

        def handler(number: int, frame: Any) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def _interrupt(self) -> None:
        position = self.state.position
        where = f"epoch {position.epoch + 1}, batch {position.batch} of {self.batches}"
        if self.out is None:
            raise Interrupted(f"stopped at {where}; the model keeps its weights. With out='runs/NAME' a run can go on")
        raise Interrupted(f"stopped at {where} and saved. Go on with: nelbo fit --resume {self.out}")

    def _explain_failure(self) -> None:
        """Replay from the last good state under watch, to name the first tensor that is not finite."""
        failed_at, good = self.state.position.step, self._last_good
        if good is None:
            raise NonFiniteError("the loss is not finite")
        self.state.restore(good)
        position = self.state.position
        position_text = "the last steps"
        try:
            while position.step < failed_at:
                order = derive(self.seed, "order", position.epoch)
                batches = self.data.train.batches(
                    self.batch_size, order=order, start=position.batch, device=self.device
                )
                for raw in batches:
                    position_text = f"epoch {position.epoch + 1}, batch {position.batch + 1} of {self.batches}"
                    examine(raw.float(), "the data of the batch")
                    with watch(self.model):
                        terms = self._step(raw)
                    examine(terms.surrogate, "the loss")
                    examine_gradients(self.model)
                    examine_weights(self.model)
                    position.batch += 1
                    position.step += 1
                    if position.step >= failed_at:
                        break
                else:
                    position.epoch, position.batch = position.epoch + 1, 0
            cause = "a value that is not finite, which did not come back when the steps were run again"
        except First as first:
            cause = str(first)
        finally:
            self.state.restore(good)
        advice = "try a lower learning_rate=, clip=1.0, or look at the data of that batch"
        kept = (
            f"The last good state is kept: {self.out}" if self.out else "The model was set back to its last good state"
        )
        raise NonFiniteError(
            f"training stopped at {position_text} (step {position.step + 1}): {cause}. {kept}; {advice}"
        )


def examine_snapshot(snapshot: Snapshot) -> None:
    """Nothing broken is ever written over a good checkpoint: raise NonFiniteError instead."""
    for name, tensor in snapshot.tensors.items():
        if name.startswith("model.") and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(f"{name.removeprefix('model.')} is not finite; the checkpoint before it is kept")


@contextlib.contextmanager
def averaged(model: VAE, average: dict[str, Tensor] | None) -> Generator[None]:
    """Within, the model has its averaged weights."""
    if average is None:
        yield
        return
    own = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(average[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(own[name])
