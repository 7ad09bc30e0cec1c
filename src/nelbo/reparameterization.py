"""The reparameterization trick, measured: the pathwise and the score-function gradient of the same expectation.

For q(z|x) = N(mu, sigma^2) and f(z) = log p(x|z), both estimators are unbiased for the gradient of E_q[f(z)]:

- pathwise, z = mu + sigma eps: d/dmu = f'(z), d/dsigma = f'(z) eps;
- score function: d/dmu = f(z) (z - mu) / sigma^2, d/dsigma = f(z) ((z - mu)^2 - sigma^2) / sigma^3.

The first needs the derivative of the decoder, the second only its value, and pays for that in variance.

Source: Kingma & Welling 2014, section 2.4; Mohamed et al. 2020, "Monte Carlo gradient estimation in machine learning",
sections 4.3 and 5.3.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nelbo import latents, randomness
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, rows_at_once
from nelbo.registry import check_choice

__all__ = [
    "Comparison",
    "GradientEstimate",
    "compare",
]

Baseline = Literal["mean", "none"]


@dataclass(frozen=True)
class GradientEstimate:
    """One estimator of one gradient, over ``samples`` draws of z.

    All of shape (batch, latent): the mean of the draws, its standard error, and the variance of a single draw.
    """

    mean: Tensor
    standard_error: Tensor
    variance: Tensor
    samples: int


@dataclass(frozen=True)
class Comparison:
    """Gradients of E_q[log p(x|z)] with respect to mu and sigma, each by both estimators on the same draws."""

    pathwise_mu: GradientEstimate
    pathwise_sigma: GradientEstimate
    score_mu: GradientEstimate
    score_sigma: GradientEstimate

    @property
    def variance_ratio_mu(self) -> float:
        """How many times the variance of the score-function estimator is that of the pathwise one, for mu."""
        return float(self.score_mu.variance.mean() / self.pathwise_mu.variance.mean())

    @property
    def variance_ratio_sigma(self) -> float:
        """The same for sigma."""
        return float(self.score_sigma.variance.mean() / self.pathwise_sigma.variance.mean())

    @property
    def largest_disagreement(self) -> float:
        """The largest difference between the two means, in standard errors; both estimate the same number."""
        return max(
            float(((a.mean - b.mean).abs() / (a.standard_error**2 + b.standard_error**2).sqrt()).max())
            for a, b in ((self.pathwise_mu, self.score_mu), (self.pathwise_sigma, self.score_sigma))
        )

    def __str__(self) -> str:
        return (
            f"over {self.score_mu.samples:,} draws of z, the score-function gradient has {self.variance_ratio_mu:,.1f} "
            f"times the variance of the pathwise one for mu and {self.variance_ratio_sigma:,.1f} times for sigma; "
            f"their means differ by at most {self.largest_disagreement:.1f} standard errors"
        )


def compare(model: Any, x: Any, *, samples: int = 1000, baseline: Baseline = "mean", seed: int = 0) -> Comparison:
    """Measure both gradient estimators of E_q[log p(x|z)] on a model and a batch.

    Args:
        model: a model or a run whose q(z|x) is a diagonal normal.
        x: (batch, \\*event), a tensor or array, a Batch or a Dataset.
        samples: draws of z, at least 2.
        baseline: what is taken off f(z) in the score-function estimator: ``"mean"`` the mean of the other draws (which
            keeps it unbiased), ``"none"`` nothing.
        seed: of the draws; the global random state is left as it was.

    Returns:
        Comparison of four GradientEstimates, in nats per unit of mu or sigma.

    Raises:
        ValueError: fewer than two samples, an unknown baseline, or q(z|x) is not a diagonal normal.
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, for a variance; got {samples}")
    check_choice("baseline", baseline, get_args(Baseline))
    evaluation = evaluate(model, x, seed=seed)
    qz = evaluation.qz
    if not (latents.factorizes(qz) and latents.has_moments(qz) and not evaluation.is_point):
        raise ValueError(
            f"the comparison needs q(z|x) as a diagonal normal (posteriors.DiagonalNormal), got {type(qz).__name__}"
        )
    mu, sigma = qz.mean, qz.variance.sqrt()
    eps = randomness.normal(evaluation.keys("reparameterization"), samples, mu.shape[1]).to(mu.dtype)
    at_once = rows_at_once(evaluation.x.numel(), passes=4, on=evaluation.device)
    slopes, values = zip(*(_slope_and_value(evaluation, mu + sigma * part) for part in eps.split(at_once)), strict=True)
    slope, f = torch.cat(slopes), torch.cat(values)[..., None]
    if baseline == "mean":
        f = f - (f.sum(0) - f) / (samples - 1)
    return Comparison(
        pathwise_mu=_estimate(slope),
        pathwise_sigma=_estimate(slope * eps),
        score_mu=_estimate(f * eps / sigma),
        score_sigma=_estimate(f * (eps.square() - 1) / sigma),
    )


def _slope_and_value(evaluation: Evaluation, z: Tensor) -> tuple[Tensor, Tensor]:
    """D log p(x|z) / dz and log p(x|z), for z of shape (samples, batch, latent)."""
    with evaluation_mode(evaluation.model), torch.enable_grad():
        z = z.detach().requires_grad_()
        f = evaluation.conditioned.log_likelihood(evaluation.x, z)
        (slope,) = torch.autograd.grad(f.sum(), z)
    return slope.detach(), f.detach()


def _estimate(draws: Tensor) -> GradientEstimate:
    variance = draws.var(0)
    return GradientEstimate(draws.mean(0), (variance / len(draws)).sqrt(), variance, len(draws))


def __dir__() -> list[str]:
    return sorted(__all__)
