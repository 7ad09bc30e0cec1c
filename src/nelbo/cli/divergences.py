"""`nelbo kl` and `nelbo axioms`: plain functions, registered with cyclopts by nelbo.cli."""

from pathlib import Path
from typing import Any


def kl(p: str, q: str, *, plot: Path | None = None, json: bool = False, seed: int = 0) -> None:
    """Print KL(p || q) and KL(q || p), their method, and what their difference means.

    Args:
        p: a distribution, as in "Normal(0, 1)".
        q: another, as in "Normal(1, 2)".
        plot: write a figure of both densities and both integrands to this file (png, pdf, svg).
        json: print one JSON object instead of text.
        seed: of draws, where only Monte Carlo applies.
    """
    from nelbo.divergences.directions import compare, plot_pair

    comparison = compare(p, q, seed=seed)
    _show(comparison.to_dict(), str(comparison), json=json)
    if plot is not None:
        plot_pair(comparison, plot)
        if not json:
            print(f"figure: {plot}")


def axioms(divergence: str, *, family: str = "Normal", fixed: str = "", json: bool = False) -> None:
    """Print which of the four axioms of a metric a divergence satisfies on a family, with proofs or witnesses.

    Args:
        divergence: kl, jeffreys, jensen_shannon, sqrt_jensen_shannon, renyi:ORDER, chi_squared, hellinger,
            total_variation, wasserstein:1, wasserstein:2, energy_distance or mmd.
        family: Normal, Laplace, Cauchy, Gumbel, Exponential, Bernoulli or Poisson.
        fixed: parameters held at one value, as in "loc=0".
        json: print one JSON object instead of text.
    """
    from nelbo.axioms import examine
    from nelbo.axioms.families import fixed_parameters

    verdicts = examine(divergence, family, fixed=fixed_parameters(fixed))
    _show(verdicts.to_dict(), str(verdicts), json=json)


def _show(data: dict[str, Any], text: str, *, json: bool) -> None:
    if not json:
        print(text)
        return
    from json import dumps

    print(dumps(data, indent=2, allow_nan=False))
