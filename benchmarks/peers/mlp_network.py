"""The network of the well-known PyTorch example: 784-400-(20, 20), 20-400-784, two heads, log variances."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.torch_weights import dense


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc1 = nn.Linear(784, 400)
        self.mu = nn.Linear(400, 20)
        self.log_var = nn.Linear(400, 20)
        self.dec1 = nn.Linear(20, 400)
        self.dec2 = nn.Linear(400, 784)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.enc1(x))
        return self.mu(h), self.log_var(h)

    def decode(self, z: Tensor) -> Tensor:
        return self.dec2(F.relu(self.dec1(z)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.encode(x)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return self.decode(z), mu, log_var

    def weights(self) -> dict[str, Any]:
        weights = {
            **dense("enc1", self.enc1),
            **dense("mu", self.mu),
            **dense("log_sigma", self.log_var),
            **dense("dec1", self.dec1),
            **dense("dec2", self.dec2),
        }
        for name in ("log_sigma_w", "log_sigma_b"):
            weights[name] = 0.5 * weights[name]
        return weights
