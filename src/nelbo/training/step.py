"""The training step as a module: a batch in, the terms of the objective out; and the updates of the weights by it."""

import contextlib
import math
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.data import Batch, Dataset
from nelbo.likelihoods import Likelihood
from nelbo.objectives import Objective, Progress, Terms
from nelbo.randomness import derive, seed_noise
from nelbo.training.checkpoint import State
from nelbo.training.nonfinite import examine_data, examine_gradients, examine_terms, examine_weights
from nelbo.training.optimizers import (
    Adam,
    ema_weight_at,
    factor_at,
    learning_rates,
    move_average,
    scalar,
    scale_learning_rates,
)
from nelbo.training.precision import mixed_precision
from nelbo.training.settings import Settings
from nelbo.vae import Model, place_of
from nelbo.workers import ALONE, Workers


@final
class _Now(Progress):
    """Progress by a clock, whose epoch is read where it is asked for: compiled code would depend on that number."""

    clock: "Clock"

    def __init__(self, clock: "Clock") -> None:
        object.__setattr__(self, "clock", clock)
        object.__setattr__(self, "examples", clock.examples)
        object.__setattr__(self, "weights", {name: clock.get_buffer(f"weight_{name}") for name in clock.schedules})

    @property
    def epoch(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.clock.hidden:
            raise RuntimeError("the objective reads progress.epoch; progress.weight(name, schedule) can be captured")
        return self.clock.epoch


@final
class Clock(nn.Module):
    """What changes from step to step, as tensors without axes that :meth:`advance` fills between two steps.

    A compiled step or a CUDA graph reads them anew each time, where numbers of Python would be baked into it.

    Args:
        settings: of the training.
        objective: whose schedules are followed.
        examples: in the training set.
        device: of the tensors.

    Attributes:
        learning_rate: ().
        ema_weight: (), the share of the new weights in their average.
        progress: with a () for each scheduled weight of the objective.
        hidden: whether the epoch, a number of Python, may not be read: what is captured would keep it.
    """

    learning_rate: Tensor
    ema_weight: Tensor

    def __init__(self, settings: Settings, objective: Objective, *, examples: int, device: torch.device) -> None:
        super().__init__()
        self.settings, self.examples = settings, examples
        self.schedules = objective.schedules()
        self.epoch, self.factor, self.hidden = 0.0, 1.0, False
        self.register_buffer("learning_rate", scalar(settings.learning_rate, device), persistent=False)
        self.register_buffer("ema_weight", scalar(1.0, device), persistent=False)
        for name, schedule in self.schedules.items():
            self.register_buffer(f"weight_{name}", scalar(schedule.at(0.0), device), persistent=False)
        self.progress: Progress = _Now(self)

    def advance(self, epoch: float, step: int) -> None:
        """Set everything to its value in the step to come.

        Args:
            epoch: epochs done, with the fraction of the running one.
            step: steps done.
        """
        self.epoch = epoch
        factor = self.factor_at(epoch)
        if factor != self.factor:
            self.factor = factor
            self.learning_rate.fill_(self.settings.learning_rate * factor)
        if self.settings.ema is not None:
            self.ema_weight.fill_(ema_weight_at(self.settings.ema, step))
        for name, schedule in self.schedules.items():
            self.get_buffer(f"weight_{name}").fill_(schedule.at(epoch))

    def factor_at(self, epoch: float) -> float:
        """What the learning rate is multiplied by at that time."""
        settings = self.settings
        return factor_at(settings.schedule, epoch, settings.epochs, settings.learning_rate_warm_up)


@final
class Step(nn.Module):
    """The terms of a training step as the forward of a module: ``step(batch).surrogate.mean()`` is the loss.

    Whatever wraps a module can wrap it: DistributedDataParallel, torch.compile, a CUDA graph. Only here, and only in
    training mode, a likelihood with a closed-form optimum moves to it.

    Args:
        model: in training.
        objective: evaluated on it.
        clock: the time, which the caller advances.
        precision: of the model's networks; what is measured is measured in the model's own precision.

    Attributes:
        optima: where a list, optima are noted here, and the likelihood does not move.
    """

    def __init__(self, model: Model, objective: Objective, clock: Clock, *, precision: str = "float32") -> None:
        super().__init__()
        self.model, self.objective, self.clock, self.precision = model, objective, clock, precision
        self.optima: list[Tensor] | None = None
        self._outputs: list[Distribution] | None = None

    def forward(self, batch: Batch) -> Terms:
        """The terms of the objective, (batch,) each, in nats; draws come from the device's generator."""
        if self._outputs is None and type(self.model.px_family).optimum is not Likelihood.optimum:
            with self.listening():
                return self.forward(batch)
        model, outputs = self.model, self._outputs
        with mixed_precision(model, self.precision):
            terms = self.objective.terms(model, batch, self.clock.progress)
        if outputs:
            optimum = model.px_family.optimum(model.over_observed(outputs[-1]), batch.x, terms.weights)
            if optimum is not None and self.optima is not None:
                self.optima.append(optimum.detach())
            elif optimum is not None:
                model.px_family.adapt(optimum)
            outputs.clear()
        return terms

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Within, each p(x|z) that the likelihood builds in training is noted, for it to learn from.

        Compiled code cannot begin to listen: whoever compiles the step does so around the whole training.
        """
        outputs = self._outputs = list[Distribution]()

        def note(module: nn.Module, inputs: object, px: Distribution) -> None:
            if module.training:
                outputs.append(px)

        handle = self.model.px_family.register_forward_hook(note)
        try:
            yield
        finally:
            self._outputs = None
            handle.remove()


@dataclass
class Updates:
    """The updates of one training, in order.

    Args:
        step: the module that is differentiated.
        state: which the updates change.
        data: the training set.
        settings: of the training.
        device: of the model.
        workers: the processes that train together.

    Attributes:
        moves_within: whether the optimizer can be compiled and captured with the rest: nelbo's own one, or one that
            says that it is ``capturable`` and whose learning rate, a number of Python, is constant.
    """

    step: Step
    state: State
    data: Dataset
    settings: Settings
    device: torch.device
    workers: Workers = ALONE

    def __post_init__(self) -> None:
        self.model, self.clock = self.step.model, self.step.clock
        self.rates = learning_rates(self.state.optimizer)
        optimizer = self.state.optimizer
        self.move = optimizer.move if isinstance(optimizer, Adam) else optimizer.step
        self.follows_clock = self.state.optimizer.param_groups[0]["lr"] is self.clock.learning_rate
        weight = place_of(self.model)
        self.dtype = torch.float32 if weight is None else weight.dtype
        constant = self.settings.schedule == "constant" and not self.settings.learning_rate_warm_up
        self.moves_within = isinstance(optimizer, Adam) or (
            constant and all(group.get("capturable", False) for group in optimizer.param_groups)
        )
        self._unit = self._compiled if self.settings.compile else self.joined
        if self.settings.compile:  # or a second would go into loading the compiler
            self._fast = torch.compile(self.joined, fullgraph=True, dynamic=False)
        self.not_compiled: str | None = None
        self.parameters = [parameter for parameter in self.step.parameters() if parameter.requires_grad]

    @property
    def notes(self) -> list[str]:
        """How the steps are run, where not as they are written."""
        if not self.settings.compile:
            return []
        if self.not_compiled is None:
            return ["compiled as one"]
        return [f"encoder and decoder compiled, for the whole cannot be: {self.not_compiled}"]

    def alone(self) -> AbstractContextManager[None]:
        """Within, this process computes the steps without the others."""
        return contextlib.nullcontext()

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.data) / self.settings.batch_size)

    def batches(self) -> Iterator[Batch]:
        """The raw batches that are left of the running epoch."""
        position = self.state.position
        order = self.data.order_of(position.epoch, seed=self.settings.seed)
        return self.data.batches(self.settings.batch_size, order=order, start=position.batch, device=self.device)

    def update(self, raw: Batch, *, watched: bool = False) -> Tensor:
        """One update: draw, evaluate, differentiate, move.

        Args:
            raw: as the data set gives it.
            watched: raise a NonFiniteFound at the first tensor that is not finite.

        Returns:
            (), the mean of the surrogate, whose gradient was taken.
        """
        self.begin()
        loss = self.run(raw, watched=watched)
        self.state.position.batch += 1
        self.state.position.step += 1
        return loss

    def begin(self) -> None:
        """Seed the noise and set the clock for the step to come."""
        position = self.state.position
        seed_noise(self.device, derive(self.settings.seed, "noise", position.step, 0))
        self.clock.advance(position.epoch + position.batch / self.per_epoch, position.step)
        if not self.follows_clock:
            scale_learning_rates(self.state.optimizer, self.rates, self.clock.factor)

    def run(self, raw: Batch, *, watched: bool = False) -> Tensor:
        """The step that has begun: arithmetic on the device alone."""
        if watched:
            with mixed_precision(self.model, self.step.precision):
                loss = self.differentiate(raw, watched=True)
            self.apply(watched=True)
            return loss
        loss = self.unit(raw)
        if not self.moves_within:
            self.apply()
        return loss

    def unit(self, raw: Batch) -> Tensor:
        """What is compiled or captured as one: the step, or all of it but an optimizer that cannot be part of it."""
        with mixed_precision(self.model, self.step.precision):
            return self._unit(raw)

    def _compiled(self, raw: Batch) -> Tensor:
        options: Any = import_module("torch._dynamo.config")  # where torch documents them
        errors: Any = import_module("torch._dynamo.exc")
        # steps are counted over all trainings of a process
        wanted = {"trace_autograd_ops": True, "recompile_limit": 1000}
        try:
            with options.patch(**{name: value for name, value in wanted.items() if hasattr(options, name)}):
                return self._fast(raw)
        except errors.TorchDynamoException as error:  # before anything was computed
            self.not_compiled = next(iter(str(error).strip().splitlines()), type(error).__name__)
        warnings.warn(
            f"the step cannot be compiled as one ({self.not_compiled}): encoder and decoder are, and the rest runs as "
            "it is",
            stacklevel=2,
        )
        self._unit = self.joined
        self.compile_networks()
        return self.joined(raw)

    def compile_networks(self) -> None:
        """Compile encoder and decoder, where the step as a whole is not."""
        for network in (getattr(self.model, name, None) for name in ("encoder", "decoder")):
            if isinstance(network, nn.Module):
                network.compile()

    def joined(self, raw: Batch) -> Tensor:
        """The unit as it is before it is compiled."""
        loss = self.differentiate(raw)
        if self.moves_within:
            self.apply()
        return loss

    def differentiate(self, raw: Batch, *, watched: bool = False) -> Tensor:
        """The mean of the surrogate, (), with its gradient at the parameters; its terms are added to the totals."""
        loss, totals = self.backward(raw, torch.mean, watched=watched)
        self.state.totals.add_(totals)
        return loss

    def backward(
        self, raw: Batch, reduce: Callable[[Tensor], Tensor], *, watched: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The gradient of the surrogate, reduced over the examples, at the parameters.

        Args:
            raw: as the data set gives it.
            reduce: torch.mean or torch.sum.
            watched: as for :meth:`update`.

        Returns:
            (), the reduced surrogate, and (4,), the sums of the terms over the examples.
        """
        batch = self.data.prepare(raw).to(dtype=self.dtype)
        if watched:
            examine_data(batch.x.masked_fill(batch.x.isnan(), 0.0) if self.model.takes_missing else batch.x)
        terms: Terms = self.step(batch)
        if watched:
            examine_terms(terms, kl=self.step.objective.has_kl())
        for parameter in self.parameters:
            parameter.grad = None
        loss = reduce(terms.surrogate)
        loss.backward()
        if watched:
            examine_gradients(self.model)
        with torch.no_grad():
            totals = torch.stack([*terms.loss, terms.value]).sum(1, dtype=self.state.totals.dtype)
        return loss.detach(), totals

    def apply(self, *, watched: bool = False) -> None:
        """Move the weights along the gradients, and their average."""
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.move()
        if watched:
            examine_weights(self.model)
        if self.state.average is not None:
            move_average(self.state.average, self.model, self.clock.ema_weight)

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate of the first parameter group."""
        return self.rates[0] * self.clock.factor_at(epoch)
