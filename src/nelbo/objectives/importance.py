"""The importance-weighted bound and the estimators of its gradient."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor

from nelbo import latents
from nelbo.data import Batch
from nelbo.divergences import closed_form
from nelbo.objectives.objective import Loss, Objective, Progress, Terms
from nelbo.registry import check_choice
from nelbo.vae import Model, at_condition

Gradient = Literal["plain", "stl", "dreg"]


@final
@dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """-log (1/K sum_k w_k) with w_k = p(x, z_k) / q(z_k|x): the importance-weighted bound, negated.

    Tighter than the ELBO, which it equals for K = 1. ``value`` is the bound itself; the weighted sum that some public
    code logs in its place is only a source of the gradient, and off by up to log K nats.

    Source: Burda, Grosse & Salakhutdinov 2016, "Importance weighted autoencoders", eq. 8.

    Args:
        samples: K, draws of z for each example.
        gradient: how the encoder's gradient is estimated.

            - ``"plain"``: of the bound as it stands (Burda et al., eq. 14); its signal-to-noise ratio falls with K.
            - ``"stl"``: sticking the landing: no gradient through the density q, only through z; no variance where q
              is exact, but biased for K > 1 (Roeder, Wu & Duvenaud 2017).
            - ``"dreg"``: doubly reparameterized: unbiased, and of low variance for any K (Tucker et al. 2019, eq. 8).
    """

    samples: int = 5
    gradient: Gradient = "plain"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be a positive integer, got {self.samples}")
        check_choice("gradient", self.gradient, get_args(Gradient))

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        model = at_condition(model, batch)
        qz, pz = model.posterior(batch.x), model.prior
        z, log_qz = latents.draw_with_log_prob(qz, self.samples, batch.keys)
        if self.gradient != "plain":
            log_qz = latents.detached(qz).log_prob(z)
        log_px = model.log_likelihood(batch.x, z)
        log_w = log_px + pz.log_prob(z) - log_qz
        bound = torch.logsumexp(log_w, 0) - math.log(self.samples)

        w = torch.softmax(log_w.detach(), 0)
        surrogate = bound
        if self.gradient != "plain":
            surrogate = (w * log_w).sum(0)
        if self.gradient == "dreg" and z.requires_grad:
            # all that comes back through z is the encoder's: there the weights enter squared, elsewhere once
            z.register_hook(_scaled_by(w[..., None]))

        kl = closed_form(qz, pz)
        kl = (log_qz - pz.log_prob(z)).mean(0) if kl is None else kl
        error = -log_px.mean(0)
        terms = Loss(error.detach(), kl.detach(), (error + kl).detach())
        return Terms(terms, -bound, -surrogate, w)


def _scaled_by(weight: Tensor) -> Callable[[Tensor], Tensor]:
    def hook(grad: Tensor) -> Tensor:
        return grad * weight

    return hook
