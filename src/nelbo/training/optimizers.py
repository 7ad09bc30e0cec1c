"""Optimizers, their learning rates and their state; and an average of the weights that they move."""

import contextlib
import inspect
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from nelbo.devices import has_fused_adam, has_graphs

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Schedule = Literal["constant", "cosine", "exponential", "burda"]


@final
class Adam(torch.optim.AdamW):
    """``torch.optim.AdamW(fused=True)`` bit for bit, on lists of tensors that are gathered once.

    torch's own ``step`` gathers and sorts them anew each time: 3 to 4 % of the training time of the network of
    benchmarks/train_mlp.py, where this one takes 1 % more than a bare call of the kernel.

    Sources: Kingma & Ba 2015, "Adam", algorithm 1; Loshchilov & Hutter 2019, "Decoupled weight decay regularization".

    Args:
        parameters: of one device.
        learning_rate: a tensor without axes, read at each step.
        weight_decay: decoupled; 0 is plain Adam.
    """

    # torch keeps its compiler out of these four; what it wraps them in imports that compiler, which takes two seconds
    add_param_group, zero_grad, state_dict, load_state_dict = map(
        inspect.unwrap,
        (
            torch.optim.Optimizer.add_param_group,
            torch.optim.Optimizer.zero_grad,
            torch.optim.Optimizer.state_dict,
            torch.optim.Optimizer.load_state_dict,
        ),
    )

    def __init__(self, parameters: Iterable[nn.Parameter], *, learning_rate: Tensor, weight_decay: float = 0.0) -> None:
        parameters = list(parameters)
        device = parameters[0].device
        fused, captured = has_fused_adam(device), has_graphs(device)
        super().__init__(
            parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused, foreach=False, capturable=captured
        )
        self._warned_capturable_if_run_uncaptured = True  # both ways are meant
        for parameter in parameters:
            # torch makes them in the first step: now, they are in the first checkpoint, and stay the same tensors
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=device if fused or captured else "cpu"),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        states = [self.state[parameter] for parameter in parameters]
        self._gathered = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")]

    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.move()

    @torch.no_grad()
    def move(self) -> None:
        """Step, without the hooks and the profiler's record that torch puts around every ``step``."""
        (group,) = self.param_groups
        parameters: list[Tensor] = group["params"]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not group["fused"] or len(gradients) < len(parameters):
            super().step()
            return
        moments, squares, steps = self._gathered
        fused = not torch.compiler.is_compiling()  # the compiler makes a kernel of its own, with what stands around
        adamw(
            parameters,
            gradients,
            moments,
            squares,
            [],
            steps,
            fused=fused,
            foreach=not fused,
            capturable=not fused or group["capturable"],
            amsgrad=False,
            maximize=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
        )


def scalar(value: float, device: torch.device) -> Tensor:
    """A number as a tensor without axes; in double precision on the CPU, so that it is the number itself."""
    # the fused kernels of accelerators read a float32
    return torch.tensor(value, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)


def learning_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each parameter group; the first is the one that is reported.

    Raises:
        TypeError: it is not an optimizer of torch.
        ValueError: the first learning rate is not greater than 0.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "optimizer must be a function from parameters to a torch.optim.Optimizer; it returned a "
            f"{type(optimizer).__name__}. Write optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)"
        )
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if not rates[0] > 0:
        raise ValueError(f"the optimizer's first learning rate must be > 0 for a schedule to scale, got {rates[0]}")
    return rates


def scale_learning_rates(optimizer: torch.optim.Optimizer, rates: Iterable[float], factor: float) -> None:
    """Set each group's learning rate to ``factor`` times its first one."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def factor_at(schedule: Schedule, epoch: float, epochs: int, warm_up: float = 0.0) -> float:
    """What the learning rate is multiplied by.

    Args:
        schedule: ``"constant"``; ``"cosine"``, down to 0 (Loshchilov & Hutter 2017, eq. 5); ``"exponential"``, down to
            1/100; ``"burda"``, 10^(-i/7) in stages i = 0 ... 7 of 3^i passes, stretched to the length of the training
            (Burda et al. 2016, section 5).
        epoch: time since the start.
        epochs: length of the training.
        warm_up: epochs over which it first rises from 0.
    """
    rise = min(1.0, (epoch + 1e-3) / warm_up) if warm_up > 0 else 1.0
    done = min(epoch / epochs, 1.0)
    if schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "exponential":
        return rise * 100.0**-done
    if schedule == "burda":
        total = 3280  # = sum of 3^i for i = 0 ... 7; stage i starts after (3^i - 1) / 2 passes
        stage = next(i for i in range(7, -1, -1) if done * total >= (3**i - 1) / 2 - 1e-9)
        return rise * 10 ** (-stage / 7)
    return rise


def flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state as a flat dictionary of tensors, so that a checkpoint needs no pickle.

    Entries ``index.name`` hold what torch keeps for parameter number ``index``; a number's name ends in ``#``.
    """
    flat: dict[str, Tensor] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if value is None:
                continue
            if not isinstance(value, Tensor | int | float):
                raise TypeError(
                    f"{type(optimizer).__name__} keeps a {type(value).__name__} as {name!r} in its state, which a "
                    "checkpoint cannot hold; use an optimizer whose state is tensors and numbers"
                )
            if isinstance(value, Tensor):
                flat[f"{index}.{name}"] = value
            else:
                flat[f"{index}.{name}#"] = torch.as_tensor(value, dtype=torch.float64)
    return flat


@torch.no_grad()
def load_flat_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Take up what :func:`flat_state` gave, in place where the optimizer has these tensors already.

    Raises:
        ValueError: it was saved for other parameters.
    """
    now = flat_state(optimizer)
    if isinstance(optimizer, Adam) or (now.keys() == saved.keys() and not any(name.endswith("#") for name in now)):
        for name in sorted(now.keys() | saved.keys()):
            shapes = [tuple(state[name].shape) if name in state else None for state in (saved, now)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"{name} of the saved optimizer state has shape {shapes[0]}, expected {shapes[1]}; it was saved "
                    "for another model"
                )
        for name, tensor in now.items():
            tensor.copy_(saved[name])
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, dict[str, Any]] = {}
    for key, value in saved.items():
        index, _, name = key.partition(".")
        if int(index) >= len(parameters):
            raise ValueError(
                f"the saved optimizer state has an entry for parameter {index}, but this optimizer has "
                f"{len(parameters)}; it was saved for another model"
            )
        entry = value.item() if name.endswith("#") else _like(value, parameters[int(index)])
        entries.setdefault(int(index), {})[name.rstrip("#")] = entry
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy, laid out in memory as the parameter is: fused kernels walk through both side by side."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


# --- an exponential moving average of the weights (Polyak & Juditsky 1992) --------------------------------------------
# Parameters are averaged, buffers are not: those of a normalization layer are running means already.


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters as they are now."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def ema_weight_at(decay: float, step: int) -> float:
    """The share of the weights after ``step`` (from 0) in their average."""
    # early averages would remember the initialization: until 1 / (1 - decay) steps, a plain mean instead
    return max(1 - decay, 1 / (step + 1))


@torch.no_grad()
def move_average(average: Mapping[str, Tensor], model: nn.Module, weight: Tensor) -> None:
    """Take the present weights into the average, with this share."""
    weight = weight.to(next(iter(average.values())).dtype)
    for name, parameter in model.named_parameters():  # by name: a file gives them in another order
        average[name].lerp_(parameter, weight.to(parameter.dtype))


@torch.no_grad()
def load_parameters(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the model these parameters."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


@contextlib.contextmanager
def unchanged(module: nn.Module) -> Generator[None]:
    """Within, the module's buffers may change; they are put back."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, values in before:
            buffer.copy_(values)


@contextlib.contextmanager
def averaged(model: nn.Module, average: Mapping[str, Tensor] | None) -> Generator[None]:
    """Within, the model has its averaged weights, if there are any."""
    if average is None:
        yield
        return
    trained = copy_of(model)
    load_parameters(model, average)
    try:
        yield
    finally:
        load_parameters(model, trained)
