"""Adam in one call of torch's fused kernel, on lists that are made once."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_KERNEL: Any = getattr(torch, "_fused_adamw_", None)  # private to torch: some day it may be gone
_KERNEL_DEVICES = ("cpu", "cuda", "mps")


@final
class FusedAdam:
    """Adam with decoupled weight decay, equal to ``torch.optim.AdamW(fused=True)`` bit for bit.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w = w - lr (decay w + m^ / (sqrt(v^) + eps)), where m^ and v^ are
    m / (1 - b1^t) and v / (1 - b2^t). A parameter without a gradient is left alone, and its t does not count on.

    torch's own class sorts its parameters into groups anew in every step. Where its private kernel is missing (another
    torch, another device), torch's public ``torch.optim.adamw.adamw`` steps on the same state.

    Sources: Kingma & Ba 2015, "Adam", algorithm 1; Loshchilov & Hutter 2019, "Decoupled weight decay regularization".

    Args:
        parameters: floating point leaf tensors.
        learning_rate: lr; may be set before each step.
        betas: (b1, b2), each in [0, 1).
        eps: added to the root.
        weight_decay: decay; 0 is plain Adam.
        fused: use the kernel; None uses it where there is one.

    Raises:
        TypeError: a parameter is no floating point leaf tensor.
        ValueError: no parameters, one of them twice, or a number out of its range.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ) -> None:
        self.parameters = list(parameters)
        _check_parameters(self.parameters)
        for name, value in (("learning_rate", learning_rate), ("eps", eps), ("weight_decay", weight_decay)):
            _check_range(name, value, math.inf)
        for name, value in zip(("betas[0]", "betas[1]"), betas, strict=True):
            _check_range(name, value, 1.0)
        self._learning_rate = learning_rate
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        kinds: dict[tuple[torch.device, torch.dtype], list[nn.Parameter]] = {}
        for parameter in self.parameters:
            kinds.setdefault((parameter.device, parameter.dtype), []).append(parameter)
        self._groups = [_Group.of(members, fused) for members in kinds.values()]

    @property
    def learning_rate(self) -> float:
        """The step size, which a schedule sets before each step."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        _check_range("learning_rate", value, math.inf)
        self._learning_rate = value

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        options: dict[str, Any] = {
            "lr": self._learning_rate,
            "beta1": self.betas[0],
            "beta2": self.betas[1],
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "amsgrad": False,
            "maximize": False,
        }
        for group in self._groups:
            group.step(options)

    def zero_grad(self) -> None:
        """Forget the gradients: backward then hands over the tensors it made, without adding them to old ones."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors ``i.exp_avg``, ``i.exp_avg_sq`` and ``i.step`` for parameter number i: torch's names for m, v and t.

        Contiguous, so that safetensors can write them. Moments that are so anyway are the optimizer's own tensors, and
        later steps change them: clone what is to be kept.
        """
        return {
            name: tensor.clone() if name.endswith(".step") else tensor.contiguous()
            for name, tensor in self._state().items()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a saved state into this one; all of it is checked before anything is changed.

        Raises:
            ValueError: an entry is missing, is not known, or has another shape.
        """
        own = self._state()
        owner = f"this optimizer of {len(self.parameters)} parameters has {len(own)} entries"
        if missing := own.keys() - state.keys():
            raise ValueError(f"the saved state lacks {_some(missing)}; {owner}. It was saved for another model")
        if unknown := state.keys() - own.keys():
            raise ValueError(f"the saved state also has {_some(unknown)}; {owner}. It was saved for another model")
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                raise ValueError(
                    f"{name} of the saved state has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}. "
                    "It was saved for another model"
                )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _state(self) -> dict[str, Tensor]:
        kept = {
            id(parameter): {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "step": step}
            for group in self._groups
            for parameter, exp_avg, exp_avg_sq, step in zip(
                group.parameters, group.exp_avgs, group.exp_avg_sqs, group.steps, strict=True
            )
        }
        return {
            f"{index}.{name}": tensor
            for index, parameter in enumerate(self.parameters)
            for name, tensor in kept[id(parameter)].items()
        }


@dataclass
class _Group:
    """Parameters of one device and one dtype, which one call of the kernel moves."""

    parameters: list[nn.Parameter]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    all_steps: Tensor
    """(parameters,): how often each was moved."""
    steps: list[Tensor]
    """Views of its elements: to count them all on is one addition."""
    fused: bool

    @classmethod
    def of(cls, parameters: list[nn.Parameter], fused: bool | None) -> "_Group":
        device = parameters[0].device
        able = _KERNEL is not None and device.type in _KERNEL_DEVICES
        if fused and not able:
            raise ValueError(
                f"fused=True, but torch {torch.__version__} has no fused Adam for {device.type}; "
                "write fused=None to use it where there is one"
            )
        chosen = able if fused is None else fused
        # the plain implementation reads the counters in Python: on an accelerator it would wait for each of them
        steps = torch.zeros(len(parameters), device=device if chosen else "cpu", dtype=torch.float32)
        exp_avgs, exp_avg_sqs = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))
        return cls(parameters, exp_avgs, exp_avg_sqs, steps, list(steps.unbind()), chosen)

    def step(self, options: dict[str, Any]) -> None:
        lists: list[list[Any]] = [self.parameters, self.exp_avgs, self.exp_avg_sqs, self.steps]
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not grads:
            return
        everyone = len(grads) == len(self.parameters)
        if not everyone:
            moved = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
            lists = [[entries[i] for i in moved] for entries in lists]
        parameters, exp_avgs, exp_avg_sqs, steps = lists
        if not self.fused:
            adamw(parameters, grads, exp_avgs, exp_avg_sqs, [], steps, **options)
            return
        if everyone:
            self.all_steps.add_(1)
        else:
            for step in steps:
                step.add_(1)
        _KERNEL(parameters, grads, exp_avgs, exp_avg_sqs, [], steps, **options)


def _check_parameters(parameters: list[nn.Parameter]) -> None:
    if not parameters:
        raise ValueError("FusedAdam got no parameters; write FusedAdam(model.parameters())")
    seen: set[int] = set()
    for i, parameter in enumerate(parameters):
        what = f"parameter {i}"
        if not isinstance(parameter, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{what} is a {type(parameter).__name__}, expected a tensor; write model.parameters()")
        if not parameter.is_leaf or not parameter.is_floating_point():
            kind = "leaf" if parameter.is_leaf else "result of a computation"
            raise TypeError(
                f"{what} of shape {tuple(parameter.shape)} is a {parameter.dtype} {kind}, expected a floating point "
                "leaf tensor; write model.parameters()"
            )
        if id(parameter) in seen:
            raise ValueError(f"{what} of shape {tuple(parameter.shape)} is given twice; each would be moved twice")
        seen.add(id(parameter))


def _check_range(name: str, value: float, end: float) -> None:
    if not 0 <= value < end:
        raise ValueError(f"{name} is a number in [0, {end:g}), got {value!r}")


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
