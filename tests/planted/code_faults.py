"""Models with a codebook in plain PyTorch: one whose codes start far from the encoder's outputs, and a healthy one."""

import torch
from torch import nn
from torch.nn import functional as F

import nelbo
from tests.planted import plain, sets
from tests.planted.cases import Subject, plant
from tests.planted.making import error_of

_POSITIONS, _SIZE = 4, 4


class Quantizer(nn.Module):
    """The nearest of the codes at each position, and the commitment and codebook terms, as people write them."""

    def __init__(self, codes, spread):
        super().__init__()
        self.book = nn.Embedding(codes, _SIZE)
        self.book.weight.data = spread * torch.randn(codes, _SIZE)

    def forward(self, z):
        k = torch.cdist(z.reshape(-1, _SIZE), self.book.weight).argmin(1).view(len(z), _POSITIONS)
        q = self.book(k).view(z.shape)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
        return z + (q - z).detach(), k, loss


class VQVAE(nn.Module):
    def __init__(self, event, *, codes, spread, kind):
        super().__init__()
        inner = plain.PlainVAE(event, _POSITIONS * _SIZE, kind=kind)
        self.encoder, self.decoder = nn.Sequential(inner.encoder, inner.mu), inner.decoder
        self.quantizer = Quantizer(codes, spread)

    def forward(self, x):
        q, _, loss = self.quantizer(self.encoder(x))
        return self.decoder(q), loss


def coded(data, likelihood, *, spread, codes=64, kind="dense", epochs=15):
    x, held_out = data
    model, error, history = VQVAE(x.shape[1:], codes=codes, spread=spread, kind=kind), error_of(likelihood), []
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    rate = _POSITIONS * torch.tensor(float(codes)).log().item()
    for _ in range(epochs):
        for batch in x[torch.randperm(len(x))].split(64):
            out, loss = model(batch)
            optimizer.zero_grad()
            (error(out, batch).mean() + 10 * loss).backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            terms = {part: error(model(some)[0], some).mean().item() for part, some in
                     (("train", x), ("validation", held_out))}  # fmt: skip
        history.append({f"{part}_reconstruction_error": value for part, value in terms.items()}
                       | {f"{part}_kl": rate for part in terms})  # fmt: skip
    output = {"bernoulli": "logits"}.get(likelihood)
    view = nelbo.wrap_codes(model, x=x[:200], likelihood=nelbo.likelihoods.named(likelihood), output=output)
    return Subject(view, x, held_out, likelihood, history)


@plant("dead-codes", "binary digits", "dense")
def far_codes_dense():
    return coded(sets.binary_digits(), "bernoulli", spread=10.0)


@plant("dead-codes", "binary digits", "conv")
def far_codes_conv():
    return coded(sets.binary_digits(), "bernoulli", spread=10.0, kind="conv")


@plant("dead-codes", "table", "dense")
def far_codes_table():
    return coded(sets.table(), "normal:0.5", spread=10.0)


@plant(None, "binary digits", "dense")
def few_codes():
    return coded(sets.binary_digits(), "bernoulli", spread=0.3, codes=8, epochs=60)
