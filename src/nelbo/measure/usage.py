"""What the latent space holds: how much of it is used, what for, and how it splits the KL."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.data import Dataset
from nelbo.divergences import Delta, closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.encoded import AggregatePosterior, factorizes, posteriors, units
from nelbo.measure.terms import over_examples
from nelbo.vae import Model

THRESHOLD = 0.01
"""Variance of a unit's posterior mean over the data above which the unit is active (Burda et al. 2016)."""
_PAIRS_AT_MOST = 5e8  # densities of one unit of one posterior at one z: some seconds
_FEWEST_DRAWS = 200
_DRAWS_FOR_MEANS = 32


@dataclass(frozen=True, eq=False)
class LatentUsage:
    """What the latent units hold, over a data set of N examples; Estimates in nats.

    E_x KL(q(z|x) || p(z)) = mutual information + KL(q(z) || p(z)), and where p(z) factorizes, KL(q(z) || p(z)) =
    total correlation + dimension-wise KL. All parts are means over the same draws z ~ q(z|x), so that they add up to
    ``sampled_kl`` exactly; ``kl`` is the same quantity without draws.

    Attributes:
        kl: E_x KL(q(z|x) || p(z)), scalar.
        kl_per_unit: (latent,), KL of each unit's marginal; None where those have no closed form. They add up to kl
            where q(z|x) factorizes, else to less: the rest is dependence between units within q(z|x).
        variance_of_means: (latent,), Var_x E_q[z_d], no nats.
        sampled_kl: the sum of the parts.
        mutual_information: I(x; z) between z and which of the N examples it came from; at most log N.
        aggregate_kl: KL(q(z) || p(z)), q(z) the mixture of all N posteriors.
        total_correlation: KL(q(z) || prod_d q(z_d)); None where the marginals have no closed form.
        dimension_wise_kl: sum_d KL(q(z_d) || p(z_d)); None where p(z) does not factorize either.
        examples: N.
        draws: of z, one for each of so many examples.
        notes: what the numbers do not say by themselves.
    """

    kl: Estimate
    kl_per_unit: Estimate | None
    variance_of_means: Estimate
    sampled_kl: Estimate | None
    mutual_information: Estimate | None
    aggregate_kl: Estimate | None
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None
    examples: int
    draws: int
    notes: tuple[str, ...] = ()

    @property
    def latent(self) -> int:
        """Number of latent units."""
        return len(self.variance_of_means.value)

    @property
    def log_examples(self) -> float:
        """Log N: no mutual information over N examples exceeds it."""
        return math.log(self.examples)

    def active_units(self, threshold: float = THRESHOLD) -> int:
        """How many units have Var_x E_q[z_d] above the threshold (Burda et al. 2016, section 5.2)."""
        return int((self.variance_of_means.value > threshold).sum())

    def sensitivity(self) -> dict[float, int]:
        """The number of active units by other thresholds: a count that hangs on 0.01 says little."""
        return {t: self.active_units(t) for t in (0.001, 0.003, 0.01, 0.03, 0.1)}


def latent_usage(model: Model, x: Tensor | Dataset, *, draws: int | None = None, seed: int = 0) -> LatentUsage:
    """KL per unit, active units, and the KL split into mutual information, total correlation and dimension-wise KL.

    E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || prod_d q(z_d)) + sum_d KL(q(z_d) || p(z_d)), with q(z) the mixture
    of the posteriors of all examples, by streaming log-sum-exp: not an estimate from a batch, whose mutual information
    could not exceed the logarithm of the batch size.

    Args:
        model: a VAE, or anything with prior, posterior and likelihood.
        x: (N, \\*event), or a Dataset, which is passed through in batches. Of a flow, the first 1,000 examples.
        draws: of z, one for each of so many examples; None takes as many as cost some seconds, all N at most.
        seed: of the draws; torch's generators are left as they were.

    Returns:
        LatentUsage. Of an autoencoder, whose q(z|x) are points, only variance_of_means is finite.

    Raises:
        ValueError: fewer than 2 examples or draws.

    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", eq. 2; Hoffman & Johnson 2016, "ELBO
    surgery"; Burda et al. 2016, section 5.2 (active units).
    """
    with evaluation_mode(model, seed) as device:
        qz, pz = posteriors(model, x, seed=seed, device=device), model.prior
        n, latent = qz.batch_shape[0], qz.event_shape[0]
        if n < 2 or (draws is not None and draws < 2):
            raise ValueError(
                f"latent usage needs 2 or more examples and draws, got {n} and {draws}; write latent_usage(vae, "
                "data.train)"
            )
        notes = [f"a flow's q(z|x): over the first {n:,} examples"] if n < len(x) else []
        if isinstance(qz, Delta):
            infinite = Estimate.exactly(torch.tensor(torch.inf, dtype=torch.float64))
            notes.append("q(z|x) is a point: its KL and its mutual information with x are infinite")
            variance = _variance(qz.mean)
            return LatentUsage(infinite, None, variance, None, None, None, None, None, n, 0, tuple(notes))
        budget = int(_PAIRS_AT_MOST / (n * latent))
        m = min(n, draws or max(_FEWEST_DRAWS, budget))
        z = qz.sample()
        own = torch.randperm(n, device=z.device)[:m]
        density = AggregatePosterior(qz).log_densities(z[own], own)
        log_pz = pz.log_prob(z[own]).double()
        kl = closed_form(qz, pz)
        per_unit = _kl_per_unit(qz, pz)
        variance = _variance(qz.mean) if units(qz) is not None else _variance_from_draws(qz)
    method = f"monte_carlo, q(z) over all {n:,} examples"
    parts = {
        "sampled_kl": density.given_x - log_pz,
        "mutual_information": density.given_x - density.aggregate,
        "aggregate_kl": density.aggregate - log_pz,
        "total_correlation": None if density.units is None else density.aggregate - density.units,
        "dimension_wise_kl": density.units - log_pz if density.units is not None and factorizes(pz) else None,
    }
    made = {
        name: None if values is None else _over_draws(values.cpu(), method, exact=m == n)
        for name, values in parts.items()
    }
    return LatentUsage(
        kl=made["sampled_kl"] if kl is None else over_examples(kl.cpu(), "closed_form"),  # pyright: ignore[reportArgumentType]
        kl_per_unit=per_unit,
        variance_of_means=variance,
        **made,
        examples=n,
        draws=m,
        notes=(*notes, *_notes(qz, pz, made["mutual_information"], n)),
    )


def _over_draws(values: Tensor, method: str, *, exact: bool) -> Estimate:
    found = over_examples(values)
    each = "one draw of each" if exact else f"one draw of each of {len(values):,}"
    return Estimate(found.value, found.standard_error, f"{method}, {each}")


def _variance(means: Tensor) -> Estimate:
    """Var_x of posterior means (n, latent), and its standard error from the fourth moment."""
    squares = (means.detach().double() - means.detach().double().mean(0)).square().cpu()
    n = len(squares)
    error = squares.std(0) / math.sqrt(n)
    return Estimate(squares.sum(0) / (n - 1), error, "variance of posterior means", "variance")


def _variance_from_draws(qz: Distribution) -> Estimate:
    """Where the mean has no closed form: the variance of the mean of k draws, less what the draws themselves add."""
    drawn = qz.sample(torch.Size((_DRAWS_FOR_MEANS,))).double()
    within = drawn.var(0).mean(0).cpu() / _DRAWS_FOR_MEANS
    found = _variance(drawn.mean(0))
    return Estimate(
        (found.value - within).clamp(min=0), found.standard_error, f"{_DRAWS_FOR_MEANS} draws of z", "variance"
    )


def _kl_per_unit(qz: Distribution, pz: Distribution) -> Estimate | None:
    q, p = units(qz), units(pz)
    if q is None or p is None or not factorizes(pz):
        return None
    found = closed_form(q, p)
    return None if found is None else over_examples(found.cpu(), "closed_form")


def _notes(qz: Distribution, pz: Distribution, information: Estimate | None, n: int) -> list[str]:
    notes: list[str] = []
    if units(qz) is None:
        notes.append("the marginals of this q(z|x) have no closed form: the KL is split no further than I + KL(q || p)")
    elif not factorizes(qz):
        notes.append("q(z|x) has dependent units: the KL per unit leaves out what their dependence costs")
    if not factorizes(pz):
        notes.append("p(z) does not factorize: no KL per unit and no dimension-wise KL")
    if information is not None and float(information) > math.log(n) - 1:
        notes.append(
            f"I(x; z) is within 1 nat of log N = {math.log(n):.2f}, the most that {n:,} examples can show: each code "
            "names its example, and with more examples the number would grow"
        )
    return notes
