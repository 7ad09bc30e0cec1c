"""KL from the log-ratios at the draws, as fine-tuning of language models has them."""

from typing import Any, Literal

import torch
from torch import Tensor

from nelbo.estimate import Estimate

Estimator = Literal["k1", "k2", "k3"]


def kl_from_log_ratios(log_ratio: Any, *, estimator: Estimator = "k3", dim: int = 0) -> Estimate:
    """KL(p || q) from r_i = log p(x_i) - log q(x_i) at draws x_i ~ p, nats (Schulman 2020, "Approximating KL
    divergence").

    k1 = mean r: unbiased; single terms have either sign, its variance is Var[r].
    k2 = mean r^2 / 2: never negative; biased by E[r^2]/2 - KL, of third order in r: small for p near q only.
    k3 = mean exp(-r) - 1 + r: never negative, and unbiased where p > 0 wherever q > 0 (else too small by the
    mass of q that p misses); of small variance for p near q, of infinite variance where q has much heavier
    tails.

    These are estimators of the value. Differentiating them through the log-ratio does not estimate the
    gradient of KL(p || q):
    that of k1 has expectation 0, for instance. For a gradient use `nelbo.kl(p, q, method="monte_carlo")`.

    Args:
        log_ratio: r, with draws along `dim`.
        estimator: "k1", "k2" or "k3".
        dim: of the draws.

    Returns:
        Estimate: the mean over draws, its standard error, and "k1", "k2" or "k3".

    Raises:
        ValueError: for an unknown estimator, fewer than two draws, or NaN.
    """
    r = torch.as_tensor(log_ratio)
    r = r if r.is_floating_point() else r.to(torch.get_default_dtype())
    if estimator not in ("k1", "k2", "k3"):
        raise ValueError(f"kl_from_log_ratios: got estimator={estimator!r}; expected 'k1', 'k2' or 'k3'.")
    if r.dim() == 0 or r.shape[dim] < 2:
        raise ValueError(
            f"kl_from_log_ratios: log_ratio has shape {tuple(r.shape)}; expected at least 2 draws along "
            f"dim={dim}, so that their spread says how "
            "far the mean may be off."
        )
    if bool(torch.isnan(r).any()):
        raise ValueError("kl_from_log_ratios: log_ratio holds NaN; inf - inf arises where both log-densities are -inf.")
    terms = _terms(r, estimator)
    count = terms.shape[dim]
    error = terms.detach().var(dim).sqrt() / count**0.5
    return Estimate(terms.mean(dim), error, estimator)


def _terms(r: Tensor, estimator: Estimator) -> Tensor:
    if estimator == "k1":
        return r
    return 0.5 * r * r if estimator == "k2" else torch.expm1(-r) + r
