"""The explorers, which need no run; each also has ``bookmarks``: saved views, as pairs of a name and a state."""

from torch.distributions import Distribution, Normal

from nelbo.studio.link import FACTS
from nelbo.widgets.page import Page


class KLExplorer(Page, page="kl"):
    """KL(p || q) and KL(q || p) between two distributions on the line, live.

    Args:
        state: ``family_p`` ("normal", "laplace", "cauchy", "student", "skew", "truncated", "mixture", "exponential",
            "bernoulli", "poisson") with its parameters among ``mu_p``, ``sigma_p`` (the width: b of a Laplace, gamma of
            a Cauchy), ``nu_p``, ``skew_p``, ``low_p``, ``high_p``, ``mu2_p``, ``sigma2_p``, ``weight_p``, ``rate_p``,
            ``prob_p``, the same for q, and ``view``, ``running``, ``bins``, ``samples``, ``seed``, ``target``. Each is
            a trait: reading it says what was dragged, setting it moves the plot.
    """

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

        names = [name.removesuffix("_p") for name in FACTS["kl"]["defaults"] if name.endswith("_p")]
        return distribution({name: getattr(self, f"{name}_{side}") for name in names})


class MetricLab(Page, page="metric"):
    """Which axioms of a metric a divergence satisfies, with three normals to drag.

    Args:
        state: ``divergence``, and ``mu_p``, ``sigma_p``, ... for p, q and r.
    """

    @property
    def members(self) -> tuple[Distribution, ...]:
        """p, q and r, in float64."""
        return tuple(_normal(self, f"mu_{who}", f"sigma_{who}") for who in "pqr")


class ElboLab(Page, page="elbo"):
    """Jensen's inequality and the ELBO of z ~ N(0, 1), x | z ~ N(w z, s^2) (or w z^2), with q(z) = N(m, v^2) to drag.

    Args:
        state: ``model`` ("linear", "square"), ``x``, ``w``, ``s``, ``m``, ``v``, ``logk``, ``seed``, ``points``.
    """

    @property
    def qz(self) -> Distribution:
        """q(z), in float64."""
        return _normal(self, "m", "v")


class ReparamLab(Page, page="reparam"):
    """The pathwise gradient against the score function's, for q = N(mu, sigma^2) and an f(z) to choose.

    Args:
        state: ``fn`` ("square", "shifted", "sine", "step", "elbo"), ``mu``, ``sigma``, ``c``, ``node``, ``eps``,
            ``samples``, ``rate``, ``tau``, ``seed``.
    """


class Playground(Page, page="playground"):
    """A small VAE that learns handwritten digits in the browser, with beta to move while it trains.

    Args:
        state: ``beta``, ``rate`` and ``batch`` of Adam, ``epochs`` after which it pauses, ``seed``, ``pace`` ("slow",
            "normal", "fast"), ``running``, and ``z``, the place of the latent plane that is decoded.
    """


def _normal(page: Page, *names: str) -> Normal:
    import torch

    mean, deviation = (torch.tensor(getattr(page, name), dtype=torch.float64) for name in names)
    return Normal(mean, deviation)
