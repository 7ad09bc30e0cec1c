"""The training step as a module: a batch in, the terms of the objective out; and the updates of the weights by it."""

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import final

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
from nelbo.training.settings import Settings
from nelbo.vae import Model, place_of


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
    """

    learning_rate: Tensor
    ema_weight: Tensor

    def __init__(self, settings: Settings, objective: Objective, *, examples: int, device: torch.device) -> None:
        super().__init__()
        self.settings, self.examples = settings, examples
        self.schedules = objective.schedules()
        self.epoch, self.factor = 0.0, 1.0
        self.register_buffer("learning_rate", scalar(settings.learning_rate, device), persistent=False)
        self.register_buffer("ema_weight", scalar(1.0, device), persistent=False)
        for name, schedule in self.schedules.items():
            self.register_buffer(f"weight_{name}", scalar(schedule.at(0.0), device), persistent=False)

    @property
    def progress(self) -> Progress:
        """Where the training stands, for the objective."""
        return Progress(self.epoch, self.examples, {name: self.get_buffer(f"weight_{name}") for name in self.schedules})

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
    """

    def __init__(self, model: Model, objective: Objective, clock: Clock, *, precision: str = "float32") -> None:
        super().__init__()
        self.model, self.objective, self.clock, self.precision = model, objective, clock, precision

    def forward(self, batch: Batch) -> Terms:
        """The terms of the objective, (batch,) each, in nats; draws come from the device's generator."""
        model, clock = self.model, self.clock
        family = model.px_family
        with mixed_precision(model, self.precision), _outputs_of(family) as outputs:
            terms = self.objective.terms(model, batch, clock.progress)
        if self.training and outputs:
            family.adapt(model.over_observed(outputs[-1]), batch.x)
        return terms


@contextlib.contextmanager
def mixed_precision(model: Model, precision: str) -> Generator[None]:
    """Within, the model's networks run in that precision; what is measured is measured in the model's own."""
    before = model.network_dtype
    model.network_dtype = None if precision == "float32" else torch.bfloat16
    try:
        yield
    finally:
        model.network_dtype = before


@contextlib.contextmanager
def _outputs_of(family: Likelihood) -> Generator[list[Distribution]]:
    """Within, each p(x|z) that the family builds is noted, if it has something to learn from them."""
    outputs: list[Distribution] = []
    if type(family).adapt is Likelihood.adapt:
        yield outputs
        return

    def note(module: nn.Module, inputs: object, px: Distribution) -> None:
        outputs.append(px)

    handle = family.register_forward_hook(note)
    try:
        yield outputs
    finally:
        handle.remove()


@final
@dataclass
class Updates:
    """The updates of one training, in order.

    Args:
        step: the module that is differentiated.
        state: which the updates change.
        data: the training set.
        settings: of the training.
        device: of the model.
    """

    step: Step
    state: State
    data: Dataset
    settings: Settings
    device: torch.device

    def __post_init__(self) -> None:
        self.model, self.clock = self.step.model, self.step.clock
        self.rates = learning_rates(self.state.optimizer)
        optimizer = self.state.optimizer
        self.move = optimizer.move if isinstance(optimizer, Adam) else optimizer.step
        self.follows_clock = self.state.optimizer.param_groups[0]["lr"] is self.clock.learning_rate
        weight = place_of(self.model)
        self.dtype = torch.float32 if weight is None else weight.dtype
        self.parameters = [parameter for parameter in self.step.parameters() if parameter.requires_grad]

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.data) / self.settings.batch_size)

    def batches(self) -> Iterator[Batch]:
        """The raw batches that are left of the running epoch."""
        position = self.state.position
        order = derive(self.settings.seed, "order", position.epoch)
        return self.data.batches(self.settings.batch_size, order=order, start=position.batch, device=self.device)

    def update(self, raw: Batch, *, watched: bool = False) -> Tensor:
        """One update: draw, evaluate, differentiate, move.

        Args:
            raw: as the data set gives it.
            watched: raise a NonFiniteFound at the first tensor that is not finite.

        Returns:
            (), the mean of the surrogate, whose gradient was taken.
        """
        state, position, clock = self.state, self.state.position, self.clock
        seed_noise(self.device, derive(self.settings.seed, "noise", position.step, 0))
        clock.advance(position.epoch + position.batch / self.per_epoch, position.step)
        if not self.follows_clock:
            scale_learning_rates(state.optimizer, self.rates, clock.factor)
        batch = self.data.prepare(raw).to(dtype=self.dtype)
        if watched:
            examine_data(batch.x.masked_fill(batch.x.isnan(), 0.0) if self.model.takes_missing else batch.x)
        terms: Terms = self.step(batch)
        if watched:
            examine_terms(terms, kl=self.step.objective.has_kl())
        for parameter in self.parameters:
            parameter.grad = None
        loss = terms.surrogate.mean()
        loss.backward()
        if watched:
            examine_gradients(self.model)
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.move()
        if watched:
            examine_weights(self.model)
        if state.average is not None:
            move_average(state.average, self.model, clock.ema_weight)
        with torch.no_grad():
            state.totals.add_(torch.stack([*terms.loss, terms.value]).sum(1, dtype=state.totals.dtype))
        position.batch += 1
        position.step += 1
        return loss.detach()

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate of the first parameter group."""
        return self.rates[0] * self.clock.factor_at(epoch)
