"""How exact annealing is: bounds of log p(x) from both sides, on data that the model itself made up."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.annealing import CHAINS, TEMPERATURES, block, path_from, valid
from nelbo.measure.inputs import checked
from nelbo.measure.terms import over_examples
from nelbo.measure.weights import Weights
from nelbo.progress import ProgressBar
from nelbo.vae import Model


@dataclass(frozen=True, eq=False)
class Sandwich:
    """lower <= log p(x) <= upper on average, for simulated x; Estimates of shape (n,), in nats.

    Attributes:
        lower: by chains that end in the posterior.
        upper: by chains that start there, at the z that x was made of. They all start at the same z, so the standard
            error of one example says too little; that of the mean over the examples does not.
        gap: mean over the examples of upper - lower >= 0 on average: neither is farther from log p(x) than this. It
            also bounds the KL between the chains' last z and p(z|x), summed over both directions.
        x: (n, \\*event), the simulated data.
        acceptance: (n,) share of the Hamiltonian moves that were accepted.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate
    x: Tensor
    acceptance: Tensor

    def __repr__(self) -> str:
        low, high = float(self.lower.value.mean()), float(self.upper.value.mean())
        return (
            f"Sandwich({len(self.x)} simulated examples, means in nats: {low:.3f} <= log p(x) <= {high:.3f}, "
            f"gap {float(self.gap):.3f} ± {float(self.gap.standard_error):.2g})"
        )


def bidirectional(
    vae: Model,
    n: int = 20,
    *,
    temperatures: int = TEMPERATURES,
    chains: int = CHAINS,
    start: Literal["posterior", "prior"] = "prior",
    seed: int = 0,
    progress: bool = True,
) -> Sandwich:
    """Bidirectional Monte Carlo: how far ``log_evidence(method="annealed")`` with these settings is off on this model.

    z ~ p(z), x ~ p(x|z): then z is an exact draw from p(z|x), and annealing backwards from it gives an upper bound. For
    real data there is no such z; the gap on simulated data says how long the path has to be.

    Args:
        vae: a VAE, an autoencoder, or anything with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        n: examples to simulate.
        temperatures: steps of the path.
        chains: for each example and direction.
        start: where the path starts.
        seed: of the draws; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Sandwich.

    Raises:
        ValueError: n < 2, or too few temperatures or chains.

    Source: Grosse, Ancha & Roy 2016, "Measuring the reliability of MCMC inference with bidirectional Monte Carlo"; Wu
    et al. 2017, section 4.2.
    """
    valid(temperatures, chains)
    if n < 2:
        raise ValueError(f"n is at least 2, for a standard error over the simulated examples; got {n}")
    with evaluation_mode(vae, seed):
        z = vae.prior.sample(torch.Size((n,)))
        x = checked(vae, vae.likelihood(z).sample())
        parts: list[Tensor] = []
        size = block(x, chains)
        with ProgressBar("annealing both ways", n, show=progress) as bar:
            for some, exact in zip(x.split(size), z.split(size), strict=True):
                path = path_from(vae, some, start, temperatures)
                path.tune(chains)
                lower, upper = Weights(len(some), chains), Weights(len(some), chains)
                lower.add(path.forward(chains))
                accepted = path.acceptance
                upper.add(-path.reverse(exact, chains))
                ends = [lower.log_mean, lower.standard_error, -upper.log_mean, upper.standard_error]
                parts.append(torch.stack([*ends, 0.5 * (accepted + path.acceptance)]))
                bar.advance(len(some))
    found = torch.cat(parts, dim=1)
    return Sandwich(
        Estimate(found[0], found[1], "annealed"),
        Estimate(found[2], found[3], "annealed backwards"),
        over_examples(found[2] - found[0], "bidirectional"),
        x,
        found[4],
    )
