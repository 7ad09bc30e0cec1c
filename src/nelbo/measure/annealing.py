"""Log p(x) by annealed importance sampling with Hamiltonian Monte Carlo, and what bounds it on both sides.

Chains go from a start distribution (the prior, or q(z|x)) to p(x, z) by way of the geometric path
log f_b(z) = (1 - b) log start(z) + b log p(x, z). Each carries a weight whose mean is p(x), whatever the moves are, as
long as they leave f_b invariant: the step sizes are tuned in a first pass, on chains that are thrown away, and frozen.

The draws of a chain depend on its example alone, but in float32 the last digits of a product of matrices depend on how
many rows it has, and accepting or refusing a move turns a last digit into another chain. So a value may change with the
examples measured beside it or with the memory budget: by some 0.02 nats with 300 temperatures, by more on a path that
is too short.

Source: Neal 2001, "Annealed importance sampling"; Wu, Burda, Salakhutdinov & Grosse 2017, "On the quantitative analysis
of decoder-based generative models".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.devices import wide, widened
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode, within_memory
from nelbo.measure.evidence import Evidence, Finite, part_by_part
from nelbo.measure.importance import Weights, refuse_codes
from nelbo.measure.rounding import with_rounding
from nelbo.progress import ProgressBar
from nelbo.randomness import folded, uniform
from nelbo.vae import as_model

Start = Literal["posterior", "prior"]
TEMPERATURES = 300
CHAINS = 16
LEAPFROG = 10
_ACCEPTANCE = 0.65
"""What step sizes are tuned to; Neal 2011, "MCMC using Hamiltonian dynamics", section 4.4."""
_RATE = 0.3
_FIRST_STEP = 0.2
_TUNING_SHARE = 5  # the first pass takes one temperature where the second takes five
_TUNING_LEAST = 30  # temperatures, where the second pass takes as many
_APART = 3.0  # standard errors, between the values from two starts
_SAME = 0.01  # nats
_ACCEPTED = 0.3
_WIDE = 0.5  # nats between bounds
_FEW = 0.1  # of the chains: weights more uneven than that say that the path was too short


class _State(NamedTuple):
    """Chains at z, (chains, batch, latent), with the two log-densities and their slopes there."""

    z: Tensor
    start: Tensor
    joint: Tensor
    start_slope: Tensor
    joint_slope: Tensor

    def log_density(self, b: float) -> Tensor:
        """Log f_b, (chains, batch)."""
        return (1 - b) * self.start + b * self.joint

    def slope(self, b: float) -> Tensor:
        return (1 - b) * self.start_slope + b * self.joint_slope


@final
class AnnealingPath:
    """The way from the start distribution to p(x, z) for some examples.

    Args:
        evaluation: of the examples; its model is in evaluation mode.
        start: the prior, or q(z|x).
        temperatures: steps of the path.
        stream: another number, other draws: two paths of the same examples are then independent.

    Raises:
        ValueError: q(z|x) is a point.
    """

    def __init__(self, evaluation: Evaluation, start: Start, temperatures: int, *, stream: int = 0) -> None:
        self.evaluation, self.temperatures, self.pz = evaluation, temperatures, evaluation.pz
        self.stream, self.finite = stream, Finite()
        self.model = evaluation.conditioned
        if start == "posterior" and evaluation.is_point:
            raise ValueError('q(z|x) is a point, from which no chain can start; write start="prior"')
        self.start: Distribution = evaluation.qz if start == "posterior" else self.pz
        shape = (len(evaluation), *self.pz.event_shape)
        # how far z moves in each direction, relative to the others
        scale = evaluation.spread if start == "posterior" else latents.spread(self.pz, evaluation.keys("spread"))
        self.scale = scale.expand(shape)
        self.steps = torch.empty(0)
        self.acceptance = torch.zeros(len(evaluation), dtype=wide(evaluation.device), device=evaluation.device)

    def tune(self, chains: int) -> None:
        """Find a step size for each temperature and example, at which a fixed share of the moves is accepted."""
        count = max(min(_TUNING_LEAST, self.temperatures), self.temperatures // _TUNING_SHARE)
        keys = self._keys("tuning")
        log_step = torch.full_like(self.scale.flatten(1)[:, 0], _FIRST_STEP).log()
        state = self._at(latents.draw(self.start, chains, keys))
        self.finite.check()
        sizes: list[Tensor] = []
        for number, b in enumerate([0.0] * 10 + _schedule(count)[1:]):
            state, accepted = self._move(state, b, log_step.exp(), folded(keys, number))
            log_step = log_step + _RATE * (accepted - _ACCEPTANCE)
            sizes.append(log_step)
        path = torch.stack(sizes[9:])
        # one step size moves up and down by chance; its neighbours were tuned to nearly the same density
        smooth = torch.stack([path[max(0, i - 2) : i + 3].mean(0) for i in range(len(path))])
        at = torch.linspace(0, count, self.temperatures + 1).round().long()
        self.steps = smooth[at].exp()

    def forward(self, chains: int) -> Tensor:
        """Log weights (chains, batch), on the model's device: the mean of their exponentials is p(x)."""
        keys = self._keys("annealing")
        return self._anneal(latents.draw(self.start, chains, keys), keys, reverse=False)

    def reverse(self, z: Tensor, chains: int) -> Tensor:
        """Log weights of the way back from exact draws z ~ p(z|x): the mean of exp(-log w) is 1 / p(x)."""
        return self._anneal(z.expand(chains, *z.shape), self._keys("annealing back"), reverse=True)

    def _keys(self, purpose: str) -> Tensor:
        return self.evaluation.keys(f"{purpose} {self.stream}" if self.stream else purpose)

    def _anneal(self, z: Tensor, keys: Tensor, *, reverse: bool) -> Tensor:
        betas = _schedule(self.temperatures)
        state = self._at(z)
        log_w = torch.zeros(state.joint.shape, dtype=wide(z.device), device=z.device)
        accepted = torch.zeros_like(self.acceptance)
        order = range(self.temperatures, 0, -1) if reverse else range(1, self.temperatures + 1)
        for t in order:
            log_w += (betas[t] - betas[t - 1]) * widened(state.joint - state.start)
            following = t - 1 if reverse else t
            if 0 < following < self.temperatures:
                state, share = self._move(state, betas[following], self.steps[following], folded(keys, t))
                accepted += widened(share)
        self.finite.check()
        self.acceptance = accepted / max(1, self.temperatures - 1)
        return log_w

    def _at(self, z: Tensor) -> _State:
        with torch.enable_grad():
            # where a move diverged its momentum is no number, and it is refused wherever it is evaluated
            z = z.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).requires_grad_()
            start = self.start.log_prob(z)
            joint = self.model.log_likelihood(self.evaluation.x, z)
            if self.start is not self.pz:
                joint = joint + self.pz.log_prob(z)
            (start_slope,) = torch.autograd.grad(start.sum(), z)
            (joint_slope,) = torch.autograd.grad(joint.sum(), z)
            if self.start is self.pz:
                joint, joint_slope = joint + start, joint_slope + start_slope
        return _State(z.detach(), start.detach(), self.finite(joint.detach()), start_slope, joint_slope)

    def _move(self, state: _State, b: float, step: Tensor, keys: Tensor) -> tuple[_State, Tensor]:
        """A Hamiltonian move that leaves f_b invariant, and the share of chains that accepted it, (batch,)."""
        chains, event = len(state.z), state.z.shape[2:]
        momentum = latents.standard_noise(state.z, folded(keys, 0), chains, 0, event)
        size = step.reshape(-1, *(1,) * len(event)) * self.scale
        p, new = momentum + 0.5 * size * state.slope(b), state
        for i in range(LEAPFROG):
            new = self._at(new.z + size * p)
            p = p + (0.5 if i == LEAPFROG - 1 else 1.0) * size * new.slope(b)
        gain = new.log_density(b) - state.log_density(b)
        log_ratio = gain + 0.5 * (momentum.square() - p.square()).flatten(2).sum(-1)
        log_ratio = log_ratio.nan_to_num(nan=-torch.inf)  # far off, slopes may overflow: such a move is refused
        accept = uniform(folded(keys, 1), chains, 1)[..., 0].log() < log_ratio
        mask = accept.reshape(*accept.shape, *(1,) * len(event))
        kept = (torch.where(accept if a.dim() == 2 else mask, a, b) for a, b in zip(new, state, strict=True))
        return _State(*kept), log_ratio.clamp(max=0).exp().mean(0)


def _schedule(temperatures: int) -> list[float]:
    """0 = b_0 < ... < b_T = 1, dense at both ends: a sigmoid from -4 to 4 (Wu et al. 2017, section 5.1)."""
    s = torch.sigmoid(torch.linspace(-4, 4, temperatures + 1, dtype=torch.float64))
    return ((s - s[0]) / (s[-1] - s[0])).tolist()


def by_annealing(
    evaluation: Evaluation, *, temperatures: int, chains: int, starts: Sequence[Start], why: str, progress: bool
) -> Evidence:
    """The mean weight of annealed chains; the logarithm is on average a lower bound of log p(x).

    Chains that ended in one part of the posterior may agree on a value that is nats too low. From two starts they do
    not agree with one another: then the larger of the two values stands, and the example is flagged.

    Args:
        evaluation: whose model is in evaluation mode.
        temperatures: steps from the start to p(x, z).
        chains: for each example, from all starts together.
        starts: the distributions that the chains start from.
        why: for the result.
        progress: show a bar.
    """
    _valid(temperatures, chains)
    each = max(2, chains // len(starts))

    def measure(part: Evaluation) -> Tensor:
        together, rows = Weights(len(part), each * len(starts), part.device), list[Tensor]()
        for stream, start in enumerate(starts):
            path = AnnealingPath(part, start, temperatures, stream=stream)
            path.tune(each)
            log_w, weights = path.forward(each), Weights(len(part), each, part.device)
            together.add(log_w)
            weights.add(log_w)
            rows.append(torch.stack([*_moments(weights), path.acceptance]))
        values = torch.stack(rows)
        top = values[:, 0].argmax(0)
        apart = values[:, 0].amax(0) - values[:, 0].amin(0)
        differ = apart > _APART * values[:, 1].square().sum(0).sqrt() + _SAME
        acceptance = values[:, 3].amin(0)
        larger = values[top, :3, torch.arange(len(part), device=top.device)].T
        found = torch.where(differ, larger, torch.stack(_moments(together)))
        return torch.cat([found, torch.stack([acceptance, torch.where(differ, apart, 0.0)])])

    def evidence(values: Tensor) -> Evidence:
        log_mean, error, ess, acceptance, apart = values
        drawn, differ = torch.full_like(log_mean, each * len(starts)), apart > 0
        uneven, stuck = ess < max(1.5, _FEW * each), acceptance < _ACCEPTED
        longer = f"Write temperatures={4 * temperatures}"
        found = Evidence(
            log_mean,
            error,
            "annealed",
            flagged=torch.zeros_like(stuck),
            why=why,
            samples=drawn,
            ess=ess,
            acceptance=acceptance,
        )
        return found.doubted(
            (
                differ,
                lambda: (
                    f"chains from q(z|x) and chains from the prior give values that differ by more than {_APART:g} "
                    f"standard errors (by up to {float(apart[differ].max()):.2g} nats): the larger one stands, and "
                    f"log p(x) may be higher still. {longer}"
                ),
            ),
            (
                uneven,
                lambda: (
                    f"the weights of the {each} chains are worth {float(ess[uneven].min()):.1f} equal ones: one "
                    f"chain carries the sum, and log p(x) is probably too low there. {longer}"
                ),
            ),
            (
                stuck,
                lambda: (
                    f"less than {_ACCEPTED:.0%} of the moves were accepted: the chains hardly move, and log p(x) "
                    "is probably too low there"
                ),
            ),
        )

    numbers = each * evaluation.features
    values = part_by_part("log p(x) by annealing", evaluation, numbers, measure, 5, evidence, progress=progress)
    return evidence(values).warned()


def _moments(weights: Weights) -> list[Tensor]:
    return [weights.log_mean, weights.standard_error, weights.ess]


def _valid(temperatures: int, chains: int) -> None:
    """Raise a ValueError for a path without steps, or too few chains to tell an error."""
    if temperatures < 2:
        raise ValueError(f"temperatures must be at least 2, got {temperatures}; write temperatures={TEMPERATURES}")
    if chains < 2:
        raise ValueError(f"chains must be at least 2, for a standard error; got {chains}. Write chains={CHAINS}")


@dataclass(frozen=True, eq=False)
class BidirectionalBounds:
    """lower <= log p(x) <= upper on average, for simulated x; Estimates of shape (n,), in nats.

    Attributes:
        lower: by chains that end in the posterior.
        upper: by chains that start there, at the z that x was drawn from. They all start at the same z, so the standard
            error of one example says too little; that of the mean over the examples does not.
        gap: mean over the examples of upper - lower >= 0 on average: neither is farther from log p(x) than this. It
            also bounds the KL between the chains' last z and p(z|x), summed over both directions.
        x: (n, \\*event), the simulated data.
        acceptance: (n,) share of the Hamiltonian moves that were accepted.
        notes: what the gap is worth, in words.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate
    x: Tensor
    acceptance: Tensor
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        low, high = float(self.lower.value.mean()), float(self.upper.value.mean())
        return (
            f"BidirectionalBounds({len(self.x)} simulated examples, means in nats: {low:.3f} <= log p(x) <= "
            f"{high:.3f}, gap {self.gap.text}; see .notes)"
        )


@within_memory
def bdmc(
    model: Any,
    n: int = 20,
    *,
    temperatures: int = TEMPERATURES,
    chains: int = CHAINS,
    start: Start = "prior",
    seed: int = 0,
    progress: bool = True,
) -> BidirectionalBounds:
    """Bidirectional Monte Carlo: how far ``log_evidence(method="annealed")`` with these settings is off on this model.

    z ~ p(z), x ~ p(x|z): then z is an exact draw from p(z|x), and annealing backwards from it gives an upper bound. For
    real data there is no such z; the gap on simulated data says how long the path has to be.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        n: examples to simulate.
        temperatures: steps of the path.
        chains: for each example and direction.
        start: the distribution that the path starts from.
        seed: of the draws; torch's generators are left as they were.
        progress: show a bar on the terminal for what takes long.

    Returns:
        BidirectionalBounds.

    Raises:
        TypeError: z are numbers of codes.
        ValueError: n < 2, or too few temperatures or chains.

    Source: Grosse, Ancha & Roy 2016, "Measuring the reliability of MCMC inference with bidirectional Monte Carlo"; Wu
    et al. 2017, section 4.2.
    """
    _valid(temperatures, chains)
    if n < 2:
        raise ValueError(f"n must be at least 2, for a standard error over the simulated examples; got {n}")
    model = as_model(model)
    refuse_codes(model)
    with evaluation_mode(model, seed), ProgressBar("annealing both ways", n, show=progress) as bar:
        z = model.prior.sample(torch.Size((n,)))
        evaluation = evaluate(model, model.likelihood(z).sample(), seed=seed)
        parts: list[Tensor] = []
        done = 0
        for part in evaluation.split(chains * evaluation.features):
            path = AnnealingPath(part, start, temperatures)
            path.tune(chains)
            lower, upper = (Weights(len(part), chains, part.device) for _ in range(2))
            lower.add(path.forward(chains))
            accepted = path.acceptance
            upper.add(-path.reverse(z[done : done + len(part)], chains))
            ends = [lower.log_mean, lower.standard_error, -upper.log_mean, upper.standard_error]
            parts.append(torch.stack([*ends, 0.5 * (accepted + path.acceptance)]))
            done += len(part)
            bar.advance(len(part))
    low, low_error, high, high_error, acceptance = torch.cat(parts, dim=1).cpu().double()
    gap = Estimate.mean_of(high - low, "bidirectional")
    return BidirectionalBounds(
        with_rounding(Estimate(low, low_error, "annealed"), evaluation),
        with_rounding(Estimate(high, high_error, "annealed backwards"), evaluation),
        gap,
        evaluation.x.cpu(),
        acceptance,
        _worth(gap, float(acceptance.mean()), temperatures, chains),
    )


def _worth(gap: Estimate, acceptance: float, temperatures: int, chains: int) -> tuple[str, ...]:
    """What a bidirectional gap says of annealing with the same settings."""
    notes = [
        f"On data drawn from the model, log p(x) annealed with temperatures={temperatures}, chains={chains} is too low "
        f"by at most {gap.text} on average. Real data, which the model fits less well, may need a longer path."
    ]
    wide = float(gap.value) > max(_WIDE, 3 * float(gap.standard_error))
    if wide and acceptance < _ACCEPTED:
        notes.append(
            f"Only {acceptance:.0%} of the moves were accepted, so the chains hardly moved: the gap says little more "
            "than that these settings do not reach p(z|x)."
        )
    elif wide:
        notes.append(
            f"That is more than {_WIDE:g} nats: write temperatures={4 * temperatures}, here and where log p(x) is "
            "annealed, and see whether the gap falls."
        )
    return tuple(notes)
