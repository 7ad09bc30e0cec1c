"""Objectives on the aggregate posterior q(z) = E_x[q(z|x)], estimated within a batch."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.data import Batch
from nelbo.objectives.objective import Objective, Progress, Terms, draw
from nelbo.objectives.schedules import Schedule
from nelbo.registry import check_choice
from nelbo.vae import Model


class KLParts(NamedTuple):
    """KL(q(z|x) || p(z)) in three parts, each (batch,), in nats; their sum is log q(z|x) - log p(z)."""

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor


def kl_parts(qz: Distribution, pz: Distribution, z: Tensor, examples: int) -> KLParts:
    """The index-code mutual information, the total correlation and the dimension-wise KL, at z ~ q(z|x).

    log q(z_i) is estimated by minibatch stratified sampling: q(z_i|x_i) with weight 1/N, the other M - 1 posteriors
    of the batch with weight (N-1) / (N (M-1)) each; unbiased for q(z_i) before the logarithm.

    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", eq. 2 and appendix C.2.

    Args:
        qz: a factorized q(z|x), batch shape (batch,), event shape (latent,).
        pz: p(z).
        z: (batch, latent), one draw of each q(z|x).
        examples: N, size of the training set.

    Raises:
        ValueError: q(z|x) does not factorize over the latent units, or the batch has one example.
    """
    batch, units = len(z), latents.marginals(qz)
    if units is None or not latents.factorizes(qz) or batch < 2:
        raise ValueError(
            "the parts of the KL need a q(z|x) that factorizes over the latent units (posteriors.DiagonalNormal) and "
            f"a batch of two or more examples; got {type(qz).__name__} and {batch}"
        )
    # (i, j, d): log q(z_i,d | x_j)
    pairwise = units.log_prob(z[:, None])
    weight = pairwise.new_full((batch, batch), math.log(max(examples - 1, 1) / (examples * (batch - 1))))
    weight.fill_diagonal_(-math.log(examples))
    log_qz = torch.logsumexp(pairwise.sum(-1) + weight, dim=1)
    log_qz_units = torch.logsumexp(pairwise + weight[..., None], dim=1).sum(-1)
    log_qz_given_x = qz.log_prob(z)
    return KLParts(log_qz_given_x - log_qz, log_qz - log_qz_units, log_qz_units - pz.log_prob(z))


@final
@dataclass(frozen=True)
class BetaTC(Objective):
    """reconstruction_error + alpha * mutual information + beta * total correlation + gamma * dimension-wise KL.

    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", eq. 4.

    Args:
        beta: weight of the total correlation, or a schedule of it.
        alpha: weight of the mutual information between x and z.
        gamma: weight of the dimension-wise KL.
    """

    beta: float | Schedule = 6.0
    alpha: float = 1.0
    gamma: float = 1.0

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        drawn = draw(model, batch)
        parts = kl_parts(drawn.qz, drawn.pz, drawn.z, progress.examples or len(batch))
        value = (
            drawn.loss.reconstruction_error
            + self.alpha * parts.mutual_information
            + progress.weight("beta", self.beta) * parts.total_correlation
            + self.gamma * parts.dimension_wise_kl
        )
        return Terms(drawn.loss, value, value)


@final
@dataclass(frozen=True)
class MMD(Objective):
    """reconstruction_error + kl_weight * kl + weight * MMD^2(q(z), p(z)).

    InfoVAE with alpha and lambda has kl_weight = 1 - alpha and weight = alpha + lambda - 1; the Wasserstein
    autoencoder has kl_weight = 0.

    Source: Zhao, Song & Ermon 2019, "InfoVAE", eq. 6; Tolstikhin et al. 2018, "Wasserstein auto-encoders", algorithm 2.

    Args:
        weight: of the squared maximum mean discrepancy.
        kl_weight: of the KL of each example.
        kernel: ``"imq"``, inverse multiquadratic summed over seven widths, or ``"rbf"``, Gaussian.
    """

    weight: float = 1000.0
    kl_weight: float = 0.0
    kernel: Literal["imq", "rbf"] = "imq"

    def __post_init__(self) -> None:
        check_choice("kernel", self.kernel, ("imq", "rbf"))

    def terms(self, model: Model, batch: Batch, progress: Progress) -> Terms:
        if len(batch) < 2:
            raise ValueError(
                "MMD compares the codes of a batch with draws from the prior: a batch must have at least 2 examples"
            )
        drawn = draw(model, batch)
        distance = mmd_squared(drawn.z, drawn.pz.sample((len(batch),)), kernel=self.kernel)
        value = drawn.loss.reconstruction_error + self.weight * distance
        if self.kl_weight:  # 0 * inf is NaN, and an autoencoder's KL is infinite
            value = value + self.kl_weight * drawn.loss.kl
        return Terms(drawn.loss, value, value)

    def has_kl(self) -> bool:
        return self.kl_weight != 0


def mmd_squared(x: Tensor, y: Tensor, *, kernel: Literal["imq", "rbf"] = "imq") -> Tensor:
    """MMD^2 between two samples: E k(x, x') + E k(y, y') - 2 E k(x, y), unbiased, so it may be slightly negative.

    The kernels' widths are those of a standard normal prior: C = 2 d for imq (times 0.1 ... 10), 2 d for rbf.

    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 3.

    Args:
        x: (n, latent), with gradient.
        y: (m, latent).
        kernel: see :class:`MMD`.
    """
    width = 2.0 * x.shape[-1]

    def k(a: Tensor, b: Tensor) -> Tensor:
        squared = (a[:, None] - b).square().sum(-1)
        if kernel == "rbf":
            return torch.exp(-squared / width)
        return torch.stack([s * width / (s * width + squared) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]).sum(0)

    n, m = len(x), len(y)
    within_x, within_y = k(x, x), k(y, y)
    own = (within_x.sum() - within_x.diagonal().sum()) / (n * (n - 1))
    other = (within_y.sum() - within_y.diagonal().sum()) / (m * (m - 1))
    return own + other - 2 * k(x, y).mean()
