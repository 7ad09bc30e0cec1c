"""The convolutional network in a loop by hand.

With the argument ``channels_last``, in that layout; with ``captured``, its step is captured as a CUDA graph.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.torch_weights import conv
from benchmarks.peers.whole_step import Captured
from benchmarks.turns import Turn

turn = Turn()
layout = torch.channels_last if "channels_last" in turn.arguments else torch.contiguous_format
x = (torch.from_numpy(turn.images).to(turn.device).reshape(-1, 1, 28, 28).float() / 255).to(memory_format=layout)
total = torch.zeros((), device=turn.device)
torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Conv2d(1, 32, 4, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(32, 64, 4, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(3136, 256),
    nn.ReLU(),
    nn.Linear(256, 32),
).to(turn.device, memory_format=layout)
decoder = nn.Sequential(
    nn.Linear(16, 256),
    nn.ReLU(),
    nn.Linear(256, 3136),
    nn.ReLU(),
    nn.Unflatten(1, (64, 7, 7)),
    nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
    nn.ReLU(),
    nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
).to(turn.device, memory_format=layout)
optimizer = torch.optim.Adam(
    [*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True, capturable="captured" in turn.arguments
)


def step(rows: Tensor) -> None:
    batch = x[rows].contiguous(memory_format=layout)
    mu, log_var = encoder(batch).chunk(2, dim=1)
    z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
    error = F.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_var - mu.square() - log_var.exp())
    loss = (error + kl) / len(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total.add_(loss.detach() * len(batch))


update = Captured(step) if "captured" in turn.arguments else step
for _ in range(turn.epochs):
    turn.begin()
    total.zero_()
    for rows in torch.randperm(len(x), device=turn.device).split(128):
        update(rows)
    assert total.isfinite()
    turn.end()
turn.save(**conv([m for net in (encoder, decoder) for m in net if hasattr(m, "weight")]))
