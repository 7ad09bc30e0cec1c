"""What was not observed of an example, given what was: E[x_missing|x_observed], and draws of it."""

import warnings
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from nelbo import latents
from nelbo.devices import widened
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluate, evaluation_mode, rows_at_once, within_memory
from nelbo.measure.evidence import Finite, part_by_part
from nelbo.measure.importance import SAMPLES, pareto_k, refuse_points, tail_length, threshold
from nelbo.measure.mixture import LogJoint, Mixture
from nelbo.randomness import folded, uniform
from nelbo.vae import fits

_FEWEST = 100  # draws of z, whose tail then tells something


@final
@dataclass(frozen=True, eq=False)
class Imputation(Estimate):
    """Examples whose missing values are filled in; on the CPU, in the model's precision.

    Attributes:
        value: (batch, \\*event), x with E[x_missing|x_observed] in place of NaN; of categories, the most probable one.
        standard_error: (batch, \\*event), of that mean over the draws of z, not the spread of what is missing: that is
            what ``draws`` show. 0 where x was observed; of categories, that of the probability of the one shown.
        draws: (draws, batch, \\*event), x with draws from p(x_missing|x_observed) in place of NaN, which are multiple
            imputations; None if none were asked for.
        ess: (batch,) effective sample size of the weights; NaN where nothing was missing.
        pareto_k: (batch,) shape of the tail of the weights; NaN where nothing was missing.
        flagged: (batch,) bool; where True, Pareto k is so large that a few draws of z carry the sum, and value and
            draws are not to be relied on.
        notes: warnings in words; empty where there is nothing to warn of.
    """

    draws: Tensor | None = field(kw_only=True)
    ess: Tensor = field(kw_only=True)
    pareto_k: Tensor = field(kw_only=True)
    flagged: Tensor = field(kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def __repr__(self) -> str:
        n, event = len(self.value), tuple(self.value.shape[1:])
        parts = [f"{n:,} examples of shape {event}"]
        known = self.ess[~self.ess.isnan()]
        parts += (
            [f"values were missing in {len(known):,}, smallest ESS {float(known.min()):,.0f}"] if len(known) else []
        )
        parts += [f"{len(self.draws)} draws"] if self.draws is not None else []
        parts += [f"{int(self.flagged.sum()):,} flagged"] if bool(self.flagged.any()) else []
        return f"Imputation({', '.join(parts)})"


@within_memory
def impute(
    model: Any, x: Any, *, draws: int | None = None, samples: int = SAMPLES, seed: int = 0, progress: bool = False
) -> Imputation:
    """E[x_missing|x_observed] of each example, by self-normalized importance sampling; NaN in x is what is missing.

    E[x_missing|x_observed] = E_{p(z|x_observed)}[E[x_missing|z]] = sum_s w_s E[x_missing|z_s] / sum_s w_s, with
    w_s = p(x_observed|z_s) p(z_s) / m(z_s) and z_s drawn from the mixture m that :func:`log_evidence` draws from.

    >>> import torch, nelbo
    >>> vae = nelbo.recipes.missing_vae((3,), hidden=(8,))
    >>> found = nelbo.measure.impute(vae, torch.tensor([[0.5, torch.nan, 1.0]]), draws=2)
    >>> bool(found.value.isnan().any()), found.draws.shape, found.value[0, 0]
    (False, torch.Size([2, 1, 3]), tensor(0.5000))

    Args:
        model: a model that takes missing values, or a run of one.
        x: (batch, \\*event): a tensor, an array, a Batch or a Dataset; or an Evaluation of the model.
        draws: multiple imputations: draws of x_missing, made by resampling z in proportion to its weight and drawing x
            from p(x|z). Their spread is the uncertainty about what is missing (Rubin 1987).
        samples: draws of z for each example.
        seed: of the draws, each a function of seed, example and number of the draw, so that what is imputed in an
            example does not depend on the others; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        Imputation.

    Raises:
        ValueError: x does not fit the model, the model does not take missing values, q(z|x) is a point, or too few
            samples.
        Interrupted: Ctrl-C; its ``partial`` holds the examples that were done, NaN for the others.

    Source: Mattei & Frellsen 2019, "MIWAE: deep generative modelling and imputation of incomplete data sets".
    """
    if samples < _FEWEST:
        raise ValueError(f"samples must be at least {_FEWEST}, got {samples}; write samples={SAMPLES}")
    if draws is not None and draws < 1:
        raise ValueError(f"draws must be a positive integer or None, got {draws}")
    evaluation = evaluate(model, x, seed=seed)
    refuse_points(evaluation)
    missing = evaluation.x.isnan()
    incomplete = missing.flatten(1).any(1)
    whole, n, event, features = evaluation.x.cpu(), len(evaluation), evaluation.x.shape[1:], evaluation.features
    filled = incomplete.cpu()
    several = draws or 0

    def imputation(values: Tensor) -> Imputation:
        """From (rows, incomplete examples), as ``_imputed`` gives them."""
        average, error, ess, k, drawn = values.split([features, features, 1, 1, several * features])
        value, spread = whole.clone(), torch.zeros_like(whole)
        value[filled] = average.T.unflatten(1, event).to(whole)
        spread[filled] = error.T.unflatten(1, event).to(whole)
        scores = torch.full((2, n), torch.nan, dtype=torch.float64)
        scores[:, filled] = torch.cat([ess, k])
        imputed = None
        if draws is not None:
            imputed = whole.expand(several, *whole.shape).clone()
            imputed[:, filled] = drawn.unflatten(0, (several, features)).movedim(1, -1).unflatten(-1, event).to(whole)
        flagged = scores[1] > threshold(samples)
        notes: tuple[str, ...] = ()
        if bool(flagged.any()):
            notes = (
                f"for {int(flagged.sum()):,} of {n:,} examples Pareto k is above {threshold(samples):.2f} (largest "
                f"{float(scores[1][flagged].max()):.2f}): a few of {samples:,} draws of z carry the sum, and neither "
                "the imputed values nor their standard errors can be relied on there",
            )
        method = f"self-normalized importance sampling ({samples:,} draws of z)"
        return Imputation(
            value, spread, method, "", draws=imputed, ess=scores[0], pareto_k=scores[1], flagged=flagged, notes=notes
        )

    rows = 2 * features + 2 + several * features
    if not bool(incomplete.any()):
        return imputation(torch.empty(rows, 0, dtype=torch.float64))
    with evaluation_mode(evaluation.model):
        part = evaluation[incomplete]
        make = Mixture if LogJoint(part[:1]).has_slope() else Mixture.without_modes
        found = part_by_part(
            "imputation",
            part,
            features,
            lambda some: _imputed(make(some, samples), samples, several),
            rows,
            imputation,
            progress=progress,
        )
    result = imputation(found)
    for note in result.notes:
        warnings.warn(note, stacklevel=3)
    return result


def _imputed(proposal: Mixture, samples: int, draws: int) -> Tensor:
    """Mean and standard error of each feature, ESS, Pareto k and the draws of each feature: (rows, n), float64."""
    columns: list[Tensor] = []
    n = len(proposal.part)
    size = rows_at_once(samples * proposal.part.features, passes=8, on=proposal.part.device)
    for index in torch.arange(n, device=proposal.part.device).split(size):
        some = proposal if len(index) == n else proposal[index]
        columns.append(_of_few(some, samples, draws))
    return torch.cat(columns, dim=1)


def _of_few(proposal: Mixture, samples: int, draws: int) -> Tensor:
    part, finite = proposal.part, Finite()
    model, family, x = part.conditioned, part.model.px_family, part.x
    z, log_pz, log_mixture = proposal.draws(samples)
    px = model.likelihood(z)
    fits(px, x, family.parameters_per_feature)
    log_w = widened(finite(px.log_prob(x) + log_pz) - log_mixture)
    finite.check()
    w = torch.softmax(log_w, 0)
    hidden: Any = px
    each = widened(family.averaged(hidden.missing))  # (samples, n, *event), of categories one more axis
    beside = (..., *(None,) * (each.dim() - 2))
    average = (w[beside] * each).sum(0)
    error = (w.square()[beside] * (each - average).square()).sum(0).sqrt()
    value, error = family.from_average(average, error)
    missing = x.isnan()
    value, error = torch.where(missing, value, widened(x)), error.masked_fill(~missing, 0.0)
    largest = log_w.topk(tail_length(len(log_w)) + 1, dim=0).values
    rows = [value.flatten(1).T, error.flatten(1).T, (1 / w.square().sum(0))[None]]
    rows = [row.cpu().double() for row in rows] + [pareto_k(largest.cpu())[None]]
    if draws:
        keys = part.keys("imputation")
        u = uniform(keys, draws, 1)[..., 0].to(w)
        cumulative = w.cumsum(0)
        chosen = torch.searchsorted(cumulative.T.contiguous(), (u * cumulative[-1]).T.contiguous()).clamp(
            max=len(w) - 1
        )
        for number, place in enumerate(chosen.T):
            index = place.reshape(1, -1, *(1,) * (z.dim() - 2)).expand(1, *z.shape[1:])
            hidden = model.likelihood(z.gather(0, index)[0])
            drawn = latents.draw(hidden.missing, None, folded(keys, number))
            rows.append(torch.where(missing, drawn.to(x), x).flatten(1).T.cpu().double())
    return torch.cat(rows)
