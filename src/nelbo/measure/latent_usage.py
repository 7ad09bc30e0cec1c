"""What the latent space holds: how much of it is used, what for, and how it splits the KL."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.devices import widened
from nelbo.divergences import closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, within_memory
from nelbo.measure.aggregate import AggregatePosterior, one_code_each
from nelbo.measure.importance import refuse_codes

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
        shape: of one z, (latent,), or (channels, \\*positions) of a wrapped model whose z is a map.
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
    shape: tuple[int, ...] = ()

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

    def active_per_channel(self, threshold: float = THRESHOLD) -> Tensor:
        """The share of active positions of each channel, (channels,), where z is a map; of a vector 0 or 1 by unit."""
        channels = self.shape[0] if self.shape else self.latent
        return (self.variance_of_means.value > threshold).double().reshape(channels, -1).mean(1)

    def sensitivity(self) -> dict[float, int]:
        """The number of active units by other thresholds: a count that hangs on 0.01 says little."""
        return {t: self.active_units(t) for t in (0.001, 0.003, 0.01, 0.03, 0.1)}


@within_memory
def latent_usage(model: Any, x: Any, *, draws: int | None = None, seed: int = 0) -> LatentUsage:
    """KL per unit, active units, and the KL split into mutual information, total correlation and dimension-wise KL.

    E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || prod_d q(z_d)) + sum_d KL(q(z_d) || p(z_d)), with q(z) the mixture
    of the posteriors of all examples, by streaming log-sum-exp: not an estimate from a batch, whose mutual information
    could not exceed the logarithm of the batch size.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (N, \\*event), or a Dataset, which is encoded once for whoever asks.
        draws: of z, one for each of so many examples; None takes as many as cost some seconds, all N at most.
        seed: of the draws; torch's generators are left as they were.

    Returns:
        LatentUsage. Of an autoencoder, whose q(z|x) are points, only variance_of_means is finite.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: fewer than 2 examples or draws.

    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", eq. 2; Hoffman & Johnson 2016, "ELBO
    surgery"; Burda et al. 2016, section 5.2 (active units).
    """
    evaluation = evaluate(model, x, seed=seed)
    refuse_codes(evaluation.model)
    n, latent = len(evaluation), evaluation.latent
    if n < 2 or (draws is not None and draws < 2):
        raise ValueError(
            f"latent usage needs 2 or more examples and draws, got {n} and {draws}; write latent_usage(vae, data.train)"
        )
    shape = tuple(getattr(evaluation.model, "latent_shape", evaluation.qz.event_shape))
    with evaluation_mode(evaluation.model, seed):
        qz, pz = evaluation.qz, evaluation.pz
        if evaluation.is_point:
            infinite = Estimate.exactly(torch.inf)
            note = "q(z|x) is a point: its KL and its mutual information with x are infinite"
            variance = variance_of_means(evaluation)
            return LatentUsage(infinite, None, variance, None, None, None, None, None, n, 0, (note,), shape)
        m = min(n, draws or max(_FEWEST_DRAWS, int(_PAIRS_AT_MOST / (n * latent))))
        codes, own = one_code_each(evaluation, "latent usage", m)
        z = codes[own]
        density = AggregatePosterior(qz).log_densities(z, own)
        log_pz = widened(pz.log_prob(z))
        kl = closed_form(qz, pz)
        per_unit = _kl_per_unit(qz, pz)
        variance = variance_of_means(evaluation)
    notes = [] if n == len(x) else [f"this q(z|x) cannot be joined: over {n:,} examples"]
    method = f"monte_carlo, q(z) over all {n:,} examples"
    parts = {
        "sampled_kl": density.given_x - log_pz,
        "mutual_information": density.given_x - density.aggregate,
        "aggregate_kl": density.aggregate - log_pz,
        "total_correlation": None if density.units is None else density.aggregate - density.units,
        "dimension_wise_kl": density.units - log_pz if density.units is not None and latents.factorizes(pz) else None,
    }
    estimates = {
        name: None if values is None else _over_draws(values.cpu().double(), method, exact=m == n)
        for name, values in parts.items()
    }
    return LatentUsage(
        kl=estimates["sampled_kl"] if kl is None else Estimate.mean_of(kl.cpu(), "closed_form"),  # pyright: ignore[reportArgumentType]
        kl_per_unit=per_unit,
        variance_of_means=variance,
        **estimates,
        examples=n,
        draws=m,
        notes=(*notes, *_notes(qz, pz, estimates["mutual_information"], n)),
        shape=shape,
    )


def _over_draws(values: Tensor, method: str, *, exact: bool) -> Estimate:
    each = "one draw of each" if exact else f"one draw of each of {len(values):,}"
    return replace(Estimate.mean_of(values), method=f"{method}, {each}")


def variance_of_means(evaluation: Evaluation) -> Estimate:
    """Var_x E_q[z_d], (latent,), above ``THRESHOLD`` of an active unit."""
    qz = evaluation.qz
    if evaluation.is_point or latents.marginals(qz) is not None:
        return _variance(qz.mean)
    return _variance_from_draws(evaluation)


def _variance(means: Tensor) -> Estimate:
    """Var_x of posterior means (n, latent), and its standard error from the fourth moment."""
    means = widened(means.detach())
    squares = (means - means.mean(0)).square().cpu().double()
    n = len(squares)
    error = squares.std(0) / math.sqrt(n)
    return Estimate(squares.sum(0) / (n - 1), error, "variance of posterior means", "variance")


def _variance_from_draws(evaluation: Evaluation) -> Estimate:
    """Where the mean has no closed form: the variance of the mean of k draws, less what the draws themselves add."""
    z = widened(latents.draw(evaluation.qz, _DRAWS_FOR_MEANS, evaluation.keys("variance")))
    within = z.var(0).mean(0).cpu().double() / _DRAWS_FOR_MEANS
    variance = _variance(z.mean(0))
    value = (variance.value - within).clamp(min=0)
    return replace(variance, value=value, method=f"{_DRAWS_FOR_MEANS} draws of z")


def _kl_per_unit(qz: Distribution, pz: Distribution) -> Estimate | None:
    q, p = latents.marginals(qz), latents.marginals(pz)
    if q is None or p is None or not latents.factorizes(pz):
        return None
    per_unit = closed_form(q, p)
    return None if per_unit is None else Estimate.mean_of(per_unit.cpu(), "closed_form")


def _notes(qz: Distribution, pz: Distribution, information: Estimate | None, n: int) -> list[str]:
    notes: list[str] = []
    if latents.marginals(qz) is None:
        notes.append("the marginals of this q(z|x) have no closed form: the KL is split no further than I + KL(q || p)")
    elif not latents.factorizes(qz):
        notes.append("q(z|x) has dependent units: the KL per unit leaves out what their dependence costs")
    if not latents.factorizes(pz):
        notes.append("p(z) does not factorize: no KL per unit and no dimension-wise KL")
    if information is not None and float(information) > math.log(n) - 1:
        notes.append(
            f"I(x; z) is within 1 nat of log N = {math.log(n):.2f}, the most that {n:,} examples can show: each code "
            "names its example, and with more examples the number would grow"
        )
    return notes
