"""temporary."""

import torch

from nelbo.training.optimizers import FromTorch


def FusedAdam(parameters, *, learning_rate, weight_decay=0.0):
    return FromTorch(torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True))
