"""One way to step, save and load an optimizer, whichever it is."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class Optimizer(Protocol):
    """What the training loop needs of an optimizer."""

    @property
    def learning_rate(self) -> float:
        """The step size, which a schedule sets before each step."""
        ...

    @learning_rate.setter
    def learning_rate(self, value: float) -> None: ...

    def step(self) -> None:
        """Move the parameters along their gradients."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The state as a flat dictionary of tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a saved state."""
        ...


@final
class FromTorch:
    """Any ``torch.optim.Optimizer``, with its state as a flat dictionary of tensors: no pickle in a checkpoint."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                "optimizer= is a function from parameters to a torch.optim.Optimizer, got from it a "
                f"{type(optimizer).__name__}; write optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)"
            )
        self.optimizer = optimizer
        self.initial = [float(group["lr"]) for group in optimizer.param_groups]
        if not self.initial[0] > 0:
            raise ValueError(f"the optimizer's first learning rate is {self.initial[0]}; schedules need one above 0")
        self._learning_rate = self.initial[0]

    @property
    def name(self) -> str:
        """What a run records, to refuse another kind when it goes on."""
        return type(self.optimizer).__name__

    @property
    def learning_rate(self) -> float:
        """That of the first parameter group; the others keep their ratio to it."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = value
        for group, initial in zip(self.optimizer.param_groups, self.initial, strict=True):
            group["lr"] = initial * (value / self.initial[0])

    def step(self) -> None:
        self.optimizer.step()

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Entries ``index.name`` for what torch keeps for parameter number ``index``."""
        flat: dict[str, Tensor] = {}
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if value is None:
                    continue
                if not isinstance(value, Tensor | int | float):
                    raise TypeError(
                        f"{type(self.optimizer).__name__} keeps a {type(value).__name__} as {name!r} in its state, "
                        "which a checkpoint cannot hold; use an optimizer whose state is tensors and numbers"
                    )
                number = not isinstance(value, Tensor)
                flat[f"{index}.{name}{'#' if number else ''}"] = (
                    torch.as_tensor(value, dtype=torch.float64) if number else value
                )
        return flat

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        entries: dict[int, dict[str, Any]] = {}
        for key, value in state.items():
            index, _, name = key.partition(".")
            if int(index) >= len(parameters):
                raise ValueError(
                    f"the saved optimizer state has an entry for parameter {index}, but this optimizer has "
                    f"{len(parameters)}; it was saved for another model"
                )
            entry = value.item() if name.endswith("#") else _like(value, parameters[int(index)])
            entries.setdefault(int(index), {})[name.rstrip("#")] = entry
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy, laid out in memory as the parameter is: fused kernels walk through both side by side."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
