"""A loop by hand, as fast as PyTorch users write it: resident data, a permutation, an index, fused Adam.

With the argument ``compile``, the loss goes through torch.compile; with ``whole``, the whole step, Adam included; with
``captured``, the step is captured as a CUDA graph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.mlp_network import Network
from benchmarks.peers.whole_step import Captured, Whole
from benchmarks.turns import Turn

turn = Turn()
if "tf32" in turn.arguments:
    torch.set_float32_matmul_precision("high")
x = torch.from_numpy(turn.images).to(turn.device).float() / 255
total = torch.zeros((), device=turn.device)
torch.manual_seed(0)
network = Network().to(turn.device)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True, capturable="captured" in turn.arguments)


def nelbo(network: Callable[[Tensor], Any], batch: Tensor) -> Tensor:
    logits, mu, log_var = network(batch)
    error = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_var - mu.square() - log_var.exp())
    return (error + kl) / len(batch)


loss_of = torch.compile(nelbo) if "compile" in turn.arguments else nelbo


def step(rows: Tensor) -> None:
    loss = loss_of(network, x[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total.add_(loss.detach() * len(rows))


update = Whole(nelbo, network, x, total) if "whole" in turn.arguments else step
update = Captured(update) if "captured" in turn.arguments else update
for _ in range(turn.epochs):
    turn.begin()
    total.zero_()
    for rows in torch.randperm(len(x), device=turn.device).split(128):
        update(rows)
    assert total.isfinite()
    turn.end()
turn.save(**network.weights())
