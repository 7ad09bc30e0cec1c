"""A loop by hand, as fast as PyTorch users write it: resident data, a permutation, an index, fused Adam.

With the argument ``compile``, the loss goes through torch.compile.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.mlp_network import Network
from benchmarks.turns import Turn

turn = Turn()
x = torch.from_numpy(turn.images).float() / 255
torch.manual_seed(0)
network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)


def nelbo(batch: Tensor) -> Tensor:
    logits, mu, log_var = network(batch)
    error = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_var - mu.square() - log_var.exp())
    return (error + kl) / len(batch)


loss_of = torch.compile(nelbo) if "compile" in turn.arguments else nelbo
for _ in range(turn.epochs):
    turn.begin()
    total = torch.zeros(())
    for rows in torch.randperm(len(x)).split(128):
        loss = loss_of(x[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(rows)
    assert total.isfinite()
    turn.end()
turn.save(**network.weights())
