"""The training loop: from one step to the next, with nothing hidden between them."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from nelbo.data import Batch, Data
from nelbo.evaluation import TERMS, mean_terms
from nelbo.files import plain
from nelbo.objectives import Objective, Progress, Terms
from nelbo.randomness import derive, own_randomness, seed_noise
from nelbo.runs import Epoch, append_history, flush_history
from nelbo.training import averaging, learning_rate
from nelbo.training.checkpoint import Snapshot, State
from nelbo.training.failure import (
    First,
    NonFiniteError,
    examine_data,
    examine_gradients,
    examine_terms,
    examine_weights,
    watch,
    weights_are_finite,
)
from nelbo.training.memory import warm_memory
from nelbo.training.progress import Display
from nelbo.training.signals import Interrupted, StopRequest
from nelbo.vae import Model, place_of

# On an accelerator, looking at the loss waits for all queued work: there it is done only now and then.
_LOOK_EVERY = {"cpu": 1}
_LOOK_EVERY_ELSEWHERE = 50
_AT_MOST_EVERY = 5.0  # seconds: short epochs shall not spend their time on writing checkpoints


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
    _kept_at: float = 0.0
    _started: float = 0.0
    _stop: StopRequest = field(default_factory=StopRequest)

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.state.model  # pyright: ignore[reportReturnType]

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.data.train) / self.batch_size)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.state.position.stopped or self.state.position.epoch >= self.epochs

    def run(self, display: Display) -> None:
        """Train from where the state stands to the end."""
        with own_randomness(self.device), warm_memory(), self._stop.listen():
            while not self.finished:
                self._epoch(display)
        # after the last checkpoint, which holds the weights as trained: a finished run can be given more epochs
        self._settle()

    def keep(self) -> None:
        """Keep the state for a resume and for a replay; on disk if the run has a folder.

        Nothing broken is ever written over a good checkpoint: it raises a NonFiniteError instead.
        """
        if not weights_are_finite(self.model):
            self._explain_failure()
        snapshot = self.state.snapshot()
        if self.out is not None:
            flush_history(self.out)
            snapshot.save(self.out)
        self.kept(snapshot)

    def kept(self, snapshot: Snapshot) -> None:
        """Take note that this is the last good state."""
        self._last_good = snapshot
        self._kept_at = time.perf_counter()

    def _epoch(self, display: Display) -> None:
        position = self.state.position
        order = derive(self.seed, "order", position.epoch)
        look_every = _LOOK_EVERY.get(self.device.type, _LOOK_EVERY_ELSEWHERE)
        self.model.train()
        self._started = time.perf_counter()
        for raw in self.data.train.batches(self.batch_size, order=order, start=position.batch, device=self.device):
            terms = self._step(raw)
            position.batch += 1
            position.step += 1
            if position.step % look_every == 0 and not math.isfinite(float(terms.surrogate.detach().sum())):
                self._explain_failure()
            if display.due():
                self._count_time()
                display.update(position.epoch, position.batch, self._means(), self._speed())
                self._started = time.perf_counter()  # showing is no training, least of all where it pauses
            if self._stop.asked or time.perf_counter() - self._kept_at > self.checkpoint_every:
                self._count_time()
                self.keep()
                if self._stop.asked:
                    self._interrupt()
                self._started = time.perf_counter()
        if not bool(torch.isfinite(self.state.totals[3])) or not weights_are_finite(self.model):
            self._explain_failure()
        self._count_time()
        self._end_epoch(display)

    def _step(self, raw: Batch, *, watched: bool = False) -> Terms:
        """One update: draw, evaluate, differentiate, move."""
        state, position = self.state, self.state.position
        epoch = position.epoch + position.batch / self.batches
        seed_noise(self.device, derive(self.seed, "noise", position.step))
        weight = place_of(self.model)
        batch = self.data.train.prepare(raw).to(dtype=None if weight is None else weight.dtype)
        if watched:
            examine_data(batch.x)
        with mixed_precision(self.model, self.precision), last_output(self.model.px_family) as px:
            terms = self.objective.terms(self.model, batch, Progress(epoch, len(self.data.train)))
        if px:
            self.model.px_family.adapt(px[-1], batch.x)
        if watched:
            examine_terms(terms, kl=self.objective.has_kl())
        state.optimizer.zero_grad()
        terms.surrogate.mean().backward()
        if watched:
            examine_gradients(self.model)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        state.optimizer.learning_rate = self._learning_rate(epoch)
        state.optimizer.step()
        if watched:
            examine_weights(self.model)
        if state.average is not None:
            averaging.move(state.average, self.model, decay=self.ema or 0.0, step=position.step)
        with torch.no_grad():
            state.totals += torch.stack([*(term.sum() for term in terms.loss), terms.value.sum()]).to(state.totals)
        return terms

    def _learning_rate(self, epoch: float) -> float:
        return self.base_learning_rate * learning_rate.factor(self.schedule, epoch, self.epochs, self.warm_up)

    def _end_epoch(self, display: Display) -> None:
        state, position = self.state, self.state.position
        means, speed = self._means(), self._speed()
        state.totals = torch.zeros_like(state.totals)
        position.epoch, position.batch, position.epoch_seconds = position.epoch + 1, 0, 0.0
        measured: Mapping[str, float] = {}
        failure: str | None = None
        with averaging.averaged(self.model, state.average):
            if self.data.validation is not None:
                measured = self._validate()
                if not math.isfinite(measured["objective"]):
                    failure = self._first_in_validation()
                elif self.patience is not None:
                    self._judge(measured, self.patience)
        if failure is not None:
            self._set_back()
            raise NonFiniteError(f"training stopped after epoch {position.epoch}: {failure}. {self._what_is_kept()}")
        epoch: Epoch = plain(
            {
                "epoch": position.epoch,
                **{f"train_{name}": value for name, value in means.items()},
                **{f"validation_{name}": value for name, value in measured.items()},
                # of the epoch's last step, by the schedule: a run resumed between that step and here took no step yet
                "learning_rate": self._learning_rate(position.epoch - 1 + (self.batches - 1) / self.batches),
                "examples_per_second": round(speed, 1),
                "seconds": round(position.seconds, 3),
            }
        )
        self.history.append(epoch)
        position.lines = len(self.history)
        if self.out is not None:
            append_history(self.out, epoch)
        display.end_epoch(epoch)
        due = time.perf_counter() - self._kept_at > min(_AT_MOST_EVERY, self.checkpoint_every)
        if self.out is None or self.finished or due:
            self.keep()
        if self.callback is not None:
            self.callback(epoch)

    def _validate(self, objective: Callable[[Model, Batch, Progress], Terms] | None = None) -> Mapping[str, float]:
        if self.data.validation is None:
            return {}
        progress = Progress(self.state.position.epoch, len(self.data.train))
        return mean_terms(
            self.model, self.data.validation, objective or self.objective.terms, progress=progress, seed=self.seed
        )

    def _judge(self, measured: Mapping[str, float], patience: int) -> None:
        """Keep the best weights; stop after ``patience`` epochs without better ones."""
        position = self.state.position
        # an autoencoder's NELBO is infinite: what it is judged by is its reconstruction error
        value = measured["nelbo" if self.objective.has_kl() else "reconstruction_error"]
        if self.objective.changes_until() > position.epoch:
            return  # while a warm-up lasts, the validation NELBO may rise for good reasons
        if position.best is None or value < position.best:
            position.best, position.best_epoch = value, position.epoch
            self.state.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        position.stopped = position.epoch - position.best_epoch >= patience

    def _settle(self) -> None:
        """What the run ends with: the best weights, or the averaged ones, or the last ones."""
        if self.state.best is not None:
            self.model.load_state_dict(self.state.best)
        elif self.state.average is not None:
            averaging.put(self.model, self.state.average)

    def _means(self) -> dict[str, float]:
        position = self.state.position
        seen = min(position.batch * self.batch_size, len(self.data.train))
        return dict(zip(TERMS, (self.state.totals / max(seen, 1)).tolist(), strict=True))

    def _count_time(self) -> None:
        now = time.perf_counter()
        self.state.position.seconds += now - self._started
        self.state.position.epoch_seconds += now - self._started
        self._started = now

    def _speed(self) -> float:
        """Examples per second in this epoch."""
        position = self.state.position
        return min(position.batch * self.batch_size, len(self.data.train)) / max(position.epoch_seconds, 1e-9)

    def _interrupt(self) -> None:
        position = self.state.position
        where = f"epoch {position.epoch + 1}, batch {position.batch} of {self.batches}"
        if self.out is None:
            raise Interrupted(f"stopped at {where}; the model keeps its weights. With out='runs/NAME' a run can go on")
        line = f"nelbo fit --resume {self.out}, or nelbo.resume({str(self.out)!r}) in Python"
        raise Interrupted(f"stopped at {where} and saved. Go on with: {line}")

    def _set_back(self) -> None:
        if self._last_good is not None:
            self.state.restore(self._last_good)

    def _what_is_kept(self) -> str:
        if self._last_good is None:
            return "Nothing was trained yet"
        kept = (
            f"The last good state is kept in {self.out}"
            if self.out
            else "The model was set back to its last good state"
        )
        return f"{kept}, after {self._last_good.position['step']} steps"

    def _explain_failure(self) -> NoReturn:
        """Replay from the last good state under watch, to name the first tensor that is not finite."""
        failed_at = self.state.position.step
        where = "before the first step"
        cause = "a value that is not finite, which did not come back when the steps were run again"
        try:
            if self._last_good is None:
                examine_weights(self.model)
            self._set_back()
            self.model.train()
            for raw in self._batches_until(failed_at):
                position = self.state.position
                where = f"in epoch {position.epoch + 1}, batch {position.batch + 1} of {self.batches}"
                where += f" (step {position.step + 1})"
                with watch(self.model):
                    self._step(raw, watched=True)
        except First as first:
            cause = str(first)
        finally:
            self._set_back()
        advice = "Try a lower learning_rate=, clip=1.0, or look at the data of that batch"
        raise NonFiniteError(f"training stopped {where}: {cause}. {self._what_is_kept()}. {advice}")

    def _batches_until(self, step: int) -> Iterator[Batch]:
        """The batches from where the state stands to a step, moving the position on behind each."""
        position = self.state.position
        while position.step < step:
            order = derive(self.seed, "order", position.epoch)
            for raw in self.data.train.batches(self.batch_size, order=order, start=position.batch, device=self.device):
                yield raw
                position.batch, position.step = position.batch + 1, position.step + 1
                if position.step >= step:
                    return
            position.epoch, position.batch = position.epoch + 1, 0

    def _first_in_validation(self) -> str:
        done = 0

        def watched(model: Model, batch: Batch, progress: Progress) -> Terms:
            nonlocal done
            examine_data(batch.x)
            terms = self.objective.terms(model, batch, progress)
            examine_terms(terms, kl=self.objective.has_kl())
            done += 1
            return terms

        try:
            with watch(self.model):
                self._validate(watched)
        except First as first:
            return f"in validation batch {done + 1}, {first}"
        return "the validation objective is not finite, which did not come back when it was measured again"


@contextlib.contextmanager
def last_output(module: nn.Module) -> Generator[list[Any]]:
    """Within, the outputs of a module are noted."""
    outputs: list[Any] = []
    handle = module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


@contextlib.contextmanager
def mixed_precision(model: Model, precision: str) -> Generator[None]:
    """Within, the model's networks run in that precision; what is measured, is measured in float32."""
    before = model.network_dtype
    model.network_dtype = None if precision == "float32" else torch.bfloat16
    try:
        yield
    finally:
        model.network_dtype = before
