"""What the bound hides, split in two: the family of q(z|x), and the one encoder that serves all examples."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod, sqrt

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.estimate import Evidence, nothing_of
from nelbo.measure.evidence import Method, log_evidence
from nelbo.measure.importance import by_importance, log_weights, refuse_points
from nelbo.measure.inputs import AT_ONCE, checked, latent_dimensions
from nelbo.measure.quadrature import MOST_DIMENSIONS
from nelbo.measure.waiting import Interrupted, interrupted
from nelbo.posteriors import DiagonalNormal, FullCovarianceNormal
from nelbo.progress import ProgressBar
from nelbo.randomness import derive, seed_noise
from nelbo.vae import VAE, Model

Family = Callable[[Tensor], Distribution]
"""h, (batch, numbers), to q."""
_DRAWS = 8  # of z, in each step of the optimization
_LEARNING_RATE = 0.05


@dataclass(frozen=True, eq=False)
class InferenceGap:
    """log p(x) - ELBO = approximation + amortization, for each example; Estimates of shape (batch,), in nats.

    Attributes:
        approximation: log p(x) - ELBO(q*), with q* the best q of the family for this example: only a richer family of
            posteriors makes it smaller.
        amortization: ELBO(q*) - ELBO(q(z|x)) >= 0: what the encoder loses by not being optimal for this example.
        total: their sum, log p(x) - ELBO = KL(q(z|x) || p(z|x)).
        elbo: of the encoder's q(z|x).
        optimized_elbo: of q*.
        log_evidence: log p(x).
        notes: warnings in words.
    """

    approximation: Estimate
    amortization: Estimate
    total: Estimate
    elbo: Estimate
    optimized_elbo: Estimate
    log_evidence: Evidence
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"{name} {float(getattr(self, name).value.mean()):.2f}" for name in ("approximation", "amortization")]
        return f"InferenceGap({len(self.elbo.value):,} examples, means in nats: {' + '.join(parts)})"


def inference_gap(
    vae: Model,
    x: Tensor,
    *,
    steps: int = 300,
    samples: int = 500,
    method: Method = "auto",
    evidence: Evidence | None = None,
    seed: int = 0,
    progress: bool = True,
) -> InferenceGap:
    """Log p(x) - ELBO of each example, split by optimizing q for each example by itself.

    q* is the best of three on the same fresh draws: the encoder's own q(z|x), and what the optimization makes of it
    and of q = p(z). So ELBO(q*) is never below the encoder's, on any example.

    >>> import torch, nelbo
    >>> _ = torch.manual_seed(0)
    >>> encoder, decoder = nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> gap = nelbo.measure.inference_gap(vae, torch.ones(3, 6), steps=20)
    >>> bool((gap.amortization.value >= 0).all())
    True

    Args:
        vae: a VAE; or anything with ``posterior(x)``, ``prior`` and ``likelihood(z)`` whose q(z|x) is normal.
        x: (batch, \\*event).
        steps: of Adam, from each of the two starts.
        samples: fresh draws of z on which the three are compared.
        method: of log p(x); "auto" is quadrature for one or two latent dimensions, and else importance sampling from
            q*, which lies closer to p(z|x) than the encoder's q(z|x) does.
        evidence: log p(x) of the same examples, where it is known already.
        seed: of the draws; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        InferenceGap. The amortization gap is at most the true one: an optimization can stop early.

    Raises:
        ValueError: an autoencoder, a q(z|x) of an unknown family, data that do not fit the model.
        Interrupted: Ctrl-C; its ``partial`` holds the InferenceGap of the examples that were done, NaN for the others.

    Source: Cremer, Li & Duvenaud 2018, "Inference suboptimality in variational autoencoders", eq. 4.
    """
    if samples < 2 or steps < 1:
        raise ValueError(f"samples is at least 2 and steps at least 1; got samples={samples} and steps={steps}")
    with evaluation_mode(vae, seed) as device:
        x = checked(vae, x)
        refuse_points(vae.posterior(x[:1]))
        values = torch.full((6, len(x)), torch.nan, dtype=torch.float64)
        best: list[Tensor] = []
        try:
            with ProgressBar("optimizing q(z|x) for each example", len(x), show=progress) as bar:
                for number, part in enumerate(x.split(max(1, AT_ONCE // (_DRAWS * prod(x.shape[1:]))))):
                    # the same noise for all three
                    noise = device or torch.device("cpu"), derive(seed, "validation", number)
                    numbers, found = _best(vae, part, steps, samples, noise)
                    done = sum(map(len, best))
                    values[:, done : done + len(part)] = found
                    best.append(numbers)
                    bar.advance(len(part))
        except KeyboardInterrupt as error:
            partial = _gap(values, samples, nothing_of(len(x)) if evidence is None else evidence)
            raise interrupted(partial, sum(map(len, best)), len(x)) from error
        try:
            if evidence is None and method == "auto" and latent_dimensions(vae) > MOST_DIMENSIONS:
                evidence = _from_best(vae, x, torch.cat(best), samples, progress=progress)
            elif evidence is None:
                evidence = log_evidence(vae, x, method=method, seed=seed, progress=progress)
        except Interrupted as stop:
            raise Interrupted(f"log p(x) was {stop}", _gap(values, samples, stop.partial)) from stop
    gap = _gap(values, samples, evidence)
    below = gap.approximation.value < -4 * gap.approximation.standard_error - 0.01
    if not bool(below.any()):
        return gap
    note = (
        f"for {int(below.sum()):,} of {len(x):,} examples the optimized ELBO lies above log p(x) as found by "
        f"{evidence.method}: that one is too low there, and the approximation gap with it"
    )
    warnings.warn(note, stacklevel=2)
    return replace(gap, notes=(*gap.notes, note))


def _best(model: Model, x: Tensor, steps: int, samples: int, noise: tuple[torch.device, int]) -> tuple[Tensor, Tensor]:
    """The numbers of q*, and (6, batch): the means of the two ELBOs and of their difference, then their errors."""
    h, family = _parameters(model, x)
    candidates = [h, *(_optimized(model, x, family, start, steps) for start in (h, torch.zeros_like(h)))]
    draws: list[Tensor] = []
    for candidate in candidates:
        seed_noise(*noise)
        draws.append(_log_weights(model, x, family(candidate), samples))
    log_w = torch.stack(draws)
    chosen = log_w.mean(1).argmax(0)
    best = torch.stack(candidates)[chosen.to(h.device), torch.arange(len(x))]
    mine = log_w[chosen, :, torch.arange(len(x))].T
    own = torch.stack([log_w[0], mine, mine - log_w[0]])
    return best, torch.cat([own.mean(1), own.std(1) / sqrt(samples)])


def _gap(values: Tensor, samples: int, evidence: Evidence) -> InferenceGap:
    how = f"monte_carlo ({samples:,} draws of z)"
    elbo, optimized, amortization = (Estimate(values[i], values[i + 3], how) for i in range(3))
    approximation, total = (
        Estimate(
            evidence.value - bound.value,
            (evidence.standard_error.square() + bound.standard_error.square()).sqrt(),
            f"{evidence.method} - {how}",
        )
        for bound in (optimized, elbo)
    )
    return InferenceGap(approximation, amortization, total, elbo, optimized, evidence, evidence.notes)


def _parameters(model: Model, x: Tensor) -> tuple[Tensor, Family]:
    """The numbers that make up each q(z|x), and the family that they are numbers of; zeros give (nearly) N(0, I)."""
    qz = model.posterior(x)
    if isinstance(qz, Independent) and isinstance(qz.base_dist, Normal):
        return torch.cat([qz.base_dist.loc, 2 * qz.base_dist.scale.log()], dim=-1), DiagonalNormal(qz.event_shape[0])
    if isinstance(qz, MultivariateNormal):
        family = FullCovarianceNormal(qz.event_shape[0]).to(qz.loc.device)
        factor = qz.scale_tril
        below = factor[:, family.below[0], family.below[1]]
        return torch.cat([qz.loc, factor.diagonal(dim1=-2, dim2=-1).log(), below], dim=-1), family
    if isinstance(model, VAE):
        return model.encode(x), model.qz_family
    raise ValueError(
        f"the gap is split by optimizing the parameters of q(z|x), which are known for diagonal and full normals; got "
        f"a {type(qz).__name__}. Let model.posterior(x) return Independent(Normal(mu, sigma), 1)"
    )


def _optimized(model: Model, x: Tensor, family: Family, start: Tensor, steps: int) -> Tensor:
    """The numbers of q after so many steps of Adam on the ELBO of each example; the examples do not see each other."""
    pz = model.prior
    with torch.enable_grad():
        h = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([h], lr=_LEARNING_RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps)
            log_w = log_weights(model, x, family(h), pz, _DRAWS)
            (h.grad,) = torch.autograd.grad(-log_w.mean(0).sum(), h)
            # one example far from any data must not become NaN, and stay so
            h.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            optimizer.step()
    return h.detach()


def _log_weights(model: Model, x: Tensor, qz: Distribution, samples: int) -> Tensor:
    """(samples, batch), float64, in parts of bounded size."""
    pz = model.prior
    chunk = max(1, AT_ONCE // (len(x) * prod(x.shape[1:])))
    counts = [chunk] * (samples // chunk) + [samples % chunk] * (samples % chunk > 0)
    return torch.cat([log_weights(model, x, qz, pz, count).double().cpu() for count in counts])


def _from_best(model: Model, x: Tensor, h: Tensor, samples: int, *, progress: bool) -> Evidence:
    _, family = _parameters(model, x[:1])
    why = (
        "Importance sampling from q*, which was optimized for each example and lies closer to p(z|x) than q(z|x) does."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they stand in the notes, and speak of q(z|x)
        found = by_importance(
            model,
            x,
            samples=max(samples, 1000),
            target_standard_error=None,
            why=why,
            progress=progress,
            proposal=lambda part: family(h[part]),
        )
    return replace(found, notes=tuple(note.replace("q(z|x)", "q*") for note in found.notes))
