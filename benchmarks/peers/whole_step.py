"""What else is done by hand to make a step faster: it is captured as a graph, or compiled as one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_LEARNING_RATE, _BETA1, _BETA2, _EPS = 1e-3, 0.9, 0.999, 1e-8  # of Adam


class Captured:
    """A step as a graph of the device, one for each number of rows, as in torch's notes on CUDA graphs.

    Args:
        step: from the numbers of the rows; all else that it reads and writes stays where it is.
    """

    def __init__(self, step: Callable[[Tensor], object]) -> None:
        self.step = step
        self.graphs: dict[int, tuple[Any, Tensor]] = {}

    def __call__(self, rows: Tensor) -> None:
        if len(rows) not in self.graphs:
            self.graphs[len(rows)] = self._capture(rows.clone())
        graph, static = self.graphs[len(rows)]
        static.copy_(rows)
        graph.replay()

    def _capture(self, static: Tensor) -> tuple[Any, Tensor]:
        module: Any = torch.get_device_module(static.device)
        queue = module.Stream(static.device)
        queue.wait_stream(module.current_stream(static.device))
        with module.stream(queue):
            for _ in range(3):  # libraries and compilers set themselves up
                self.step(static)
        module.current_stream(static.device).wait_stream(queue)
        graph = module.CUDAGraph()
        with module.graph(graph):
            self.step(static)
        return graph, static


class Whole:
    """Forward, backward and Adam in one torch.compile.

    Args:
        loss: from (network, batch) to the mean of the batch.
        network: whose weights move.
        x: (n, \\*event) the data.
        total: (), which takes the sum of the losses.
        compiled: False runs it as it is written.
    """

    def __init__(
        self,
        loss: Callable[[Any, Tensor], Tensor],
        network: nn.Module,
        x: Tensor,
        total: Tensor,
        *,
        compiled: bool = True,
    ) -> None:
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self.state = (
            weights,
            {name: torch.zeros_like(weight) for name, weight in weights.items()},
            {name: torch.zeros_like(weight) for name, weight in weights.items()},
            torch.zeros((), device=x.device),
            total,
        )
        self.x = x

        def loss_at(weights: dict[str, Tensor], batch: Tensor) -> Tensor:
            return loss(lambda given: torch.func.functional_call(network, weights, (given,)), batch)

        def move(
            weights: dict[str, Tensor],
            moments: dict[str, Tensor],
            squares: dict[str, Tensor],
            count: Tensor,
            total: Tensor,
            x: Tensor,
            rows: Tensor,
        ) -> None:
            gradients, value = torch.func.grad_and_value(loss_at)(weights, x[rows])
            count.add_(1)
            for name, weight in weights.items():
                gradient, moment, square = gradients[name], moments[name], squares[name]
                moment.lerp_(gradient, 1 - _BETA1)
                square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
                scale = (square / (1 - _BETA2**count)).sqrt() + _EPS
                weight.sub_(_LEARNING_RATE / (1 - _BETA1**count) * moment / scale)
            total.add_(value * len(rows))

        self.move = torch.compile(move, fullgraph=True, dynamic=False) if compiled else move

    def __call__(self, rows: Tensor) -> None:
        with torch.no_grad():
            self.move(*self.state, self.x, rows)
