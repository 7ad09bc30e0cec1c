"""The four explorers, which need no run."""

from typing import Any

from torch.distributions import Distribution, Normal

from nelbo.widgets.page import Page, number, one_of, several, switch

_FAMILIES = ("normal", "skew", "truncated", "mixture")
_DIVERGENCES = ("kl", "jeffreys", "js", "sqrtjs", "hellinger", "tv", "w2", "fisher", "sqrtkl")


class KLExplorer(Page, page="kl"):
    """KL(p || q) and KL(q || p) between two distributions on the line, live.

    Args:
        state: ``mu_p``, ``sigma_p``, ``family_p`` ("normal", "skew", "truncated", "mixture") with ``skew_p``,
            ``low_p``, ``high_p``, ``mu2_p``, ``sigma2_p``, ``weight_p``, the same for q, and ``view``, ``running``,
            ``bins``, ``samples``, ``seed``, ``target``. Each is a trait: reading it says what was dragged, setting it
            moves the plot.
    """

    family_p = one_of(*_FAMILIES)
    mu_p = number(0)
    sigma_p = number(1, 0.001)
    skew_p = number(3, -30, 30)
    low_p = number(-2)
    high_p = number(2)
    mu2_p = number(3)
    sigma2_p = number(0.5, 0.001)
    weight_p = number(0.4, 0.001, 0.999)
    family_q = one_of(*_FAMILIES)
    mu_q = number(1)
    sigma_q = number(2, 0.001)
    skew_q = number(3, -30, 30)
    low_q = number(-2)
    high_q = number(2)
    mu2_q = number(-2)
    sigma2_q = number(0.5, 0.001)
    weight_q = number(0.4, 0.001, 0.999)
    view = one_of("explore", "fit", "game")
    running = switch()
    bins = number(0, 0, 64)
    samples = number(1000, 10, 100000)
    seed = number(0, 0, 1e6)
    target = number(1, 0, 100)

    @property
    def p(self) -> Distribution:
        """The distribution shown as p, in float64; ``nelbo.kl(w.p, w.q)`` gives the number on the card."""
        return self._distribution("p")

    @property
    def q(self) -> Distribution:
        """The distribution shown as q, in float64."""
        return self._distribution("q")

    def _distribution(self, side: str) -> Distribution:
        from nelbo.studio.explore import distribution

        names = ("family", "mu", "sigma", "skew", "low", "high", "mu2", "sigma2", "weight")
        return distribution({name: getattr(self, f"{name}_{side}") for name in names})


class MetricLab(Page, page="metric"):
    """Which axioms of a metric a divergence satisfies, with three normals to drag.

    Args:
        state: ``divergence``, and ``mu_p``, ``sigma_p``, ... for p, q and r.
    """

    divergence = one_of(*_DIVERGENCES)
    mu_p = number(0, -100, 100)
    sigma_p = number(1, 0.05, 100)
    mu_q = number(1, -100, 100)
    sigma_q = number(1, 0.05, 100)
    mu_r = number(2, -100, 100)
    sigma_r = number(1, 0.05, 100)
    seed = number(0, 0, 1e6)

    @property
    def members(self) -> tuple[Distribution, ...]:
        """p, q and r, in float64."""
        return tuple(_normal(getattr(self, f"mu_{who}"), getattr(self, f"sigma_{who}")) for who in "pqr")


class ElboLab(Page, page="elbo"):
    """Jensen's inequality and the ELBO of z ~ N(0, 1), x | z ~ N(w z, s^2) (or w z^2), with q(z) = N(m, v^2) to drag.

    Args:
        state: ``model`` ("linear", "square"), ``x``, ``w``, ``s``, ``m``, ``v``, ``logk``, ``seed``, ``points``.
    """

    model = one_of("linear", "square")
    x = number(1.5, -20, 20)
    w = number(1, -10, 10)
    s = number(0.7, 0.05, 10)
    m = number(0, -20, 20)
    v = number(1, 0.02, 20)
    logk = number(3, 0, 9)
    seed = number(0, 0, 1e6)
    points = several([0.6, 0.4], [2, 0.3], [4.5, 0.3])

    @property
    def qz(self) -> Distribution:
        """q(z), in float64."""
        return _normal(self.m, self.v)


class ReparamLab(Page, page="reparam"):
    """The pathwise gradient against the score function's, for q = N(mu, sigma^2) and an f(z) to choose.

    Args:
        state: ``fn`` ("square", "shifted", "sine", "step", "elbo"), ``mu``, ``sigma``, ``c``, ``node``, ``samples``,
            ``tau``, ``seed``.
    """

    fn = one_of("square", "shifted", "sine", "step", "elbo")
    mu = number(1, -20, 20)
    sigma = number(0.7, 0.01, 20)
    c = number(0.5, -20, 20)
    node = one_of("reparam", "stochastic")
    samples = number(10000, 100, 100000)
    tau = number(0.5, 0.01, 10)
    seed = number(0, 0, 1e6)


def _normal(mean: Any, deviation: Any) -> Normal:
    import torch

    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64))
