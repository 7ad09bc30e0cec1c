"""What the models of other projects share: how they are trained, and what their users hand over."""

import torch

from nelbo.data import Batch
from tests.planted.cases import Subject, plant


def wild(finding, data, style):
    """Register a builder: a fault that ``finding`` must name in a model of this style; None: a healthy one."""
    return plant(finding, data, style, wild=True)


def train(model, loss, x, *, epochs=20, lr=3e-3, batch=64, parameters=None):
    """Differentiate a loss of a batch, with a learning rate that falls to 0; x: a tensor, or a Batch for (x, c)."""
    optimizer = torch.optim.Adam(parameters or model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            part = x[rows]
            value = loss(part.x, part.c) if isinstance(part, Batch) else loss(part)
            optimizer.zero_grad()
            getattr(value, "loss", value).backward()
            optimizer.step()
        schedule.step()


def handed_over(model, loss, data, *, beta=None, given=None, training=None, **extra):
    """The trained model and what its user says: the loss (given: in another form), beta, arguments of nelbo.wrap."""
    train(model, loss, data[0], **(training or {}))
    return Subject(model, *data, loss=given or loss, beta=beta, extra=extra)
