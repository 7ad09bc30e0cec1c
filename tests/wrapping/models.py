"""Small VAEs as other people write them."""

import torch
from torch import nn

EVENT = (1, 4, 4)
FEATURES = 16
LATENT = 3


def binary(n=60, event=EVENT):
    return torch.bernoulli(torch.full((n, *event), 0.3), generator=torch.Generator().manual_seed(0))


class Script(nn.Module):
    """(mu, h) from encode, with h on any scale; z drawn as if it were on the scale ``draws``."""

    def __init__(self, *, gives="logvar", draws=None, squash=True, layers=(), event=(FEATURES,)):
        super().__init__()
        torch.manual_seed(0)
        features = torch.Size(event).numel()
        self.body = nn.Sequential(nn.Linear(features, 8), nn.Tanh(), *layers)
        self.mu, self.h = nn.Linear(8, LATENT), nn.Linear(8, LATENT)
        self.out = nn.Sequential(nn.Linear(LATENT, 8), nn.Tanh(), nn.Linear(8, features))
        self.gives, self.draws, self.squash = gives, draws or gives, squash

    def encode(self, x):
        body = self.body(x)
        h = self.h(body)
        return self.mu(body), {"logvar": h, "log_std": h}.get(self.gives, h.exp() + 0.1)

    def draw(self, mu, h):
        sigma = {
            "logvar": lambda: torch.exp(0.5 * h),
            "log_std": lambda: torch.exp(h),
            "std": lambda: h,
            "variance": h.clamp(min=0).sqrt,
            "mean": lambda: torch.zeros_like(h),
            "logvar squared": lambda: torch.exp(h),
        }[self.draws]()
        return mu + sigma * torch.randn_like(sigma)

    def decode(self, z):
        out = self.out(z)
        return torch.sigmoid(out) if self.squash else out

    def forward(self, x):
        mu, h = self.encode(x)
        return self.decode(self.draw(mu, h)), mu, h
