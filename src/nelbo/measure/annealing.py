"""Log p(x) by annealed importance sampling with Hamiltonian Monte Carlo, and what bounds it on both sides.

Chains go from a start distribution (the prior, or q(z|x)) to p(x, z) by way of the geometric path
log f_b(z) = (1 - b) log start(z) + b log p(x, z). Each carries a weight whose mean is p(x), whatever the moves are, as
long as they leave f_b invariant: the step sizes are tuned in a first pass, on chains that are thrown away, and frozen.

Source: Neal 2001, "Annealed importance sampling"; Wu, Burda, Salakhutdinov & Grosse 2017, "On the quantitative analysis
of decoder-based generative models".
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo.measure.estimate import Evidence, padded, together
from nelbo.measure.importance import warned
from nelbo.measure.inputs import AT_ONCE, finite, is_point, spread
from nelbo.measure.waiting import interrupted
from nelbo.measure.weights import Weights
from nelbo.progress import ProgressBar
from nelbo.vae import Model

TEMPERATURES = 300
CHAINS = 16
LEAPFROG = 10
_ACCEPTANCE = 0.65
"""What step sizes are tuned to; Neal 2011, "MCMC using Hamiltonian dynamics", section 4.4."""
_RATE = 0.3
_FIRST_STEP = 0.2
_TUNING_SHARE = 5  # the first pass takes one temperature where the second takes five
_TUNING_LEAST = 30
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
@dataclass
class Path:
    """The way from the start distribution to p(x, z) for a batch of examples.

    Args:
        model: at rest.
        x: (batch, \\*event).
        start: batch shape () or (batch,).
        scale: (batch, latent), how far z moves in each direction, relative to the others.
        temperatures: steps of the path.
        leapfrog: steps of each Hamiltonian move.
    """

    model: Model
    x: Tensor
    start: Distribution
    scale: Tensor
    temperatures: int
    leapfrog: int = LEAPFROG

    def __post_init__(self) -> None:
        self.pz = self.model.prior
        self.steps = torch.empty(0)
        self.acceptance = torch.zeros(len(self.x), dtype=torch.float64)

    def draw(self, chains: int) -> Tensor:
        """(chains, batch, latent) from the start distribution."""
        shape = (chains,) if self.start.batch_shape else (chains, len(self.x))
        return self.start.sample(torch.Size(shape))

    def tune(self, chains: int) -> None:
        """Find a step size for each temperature and example, at which a fixed share of the moves is accepted."""
        count = max(_TUNING_LEAST, self.temperatures // _TUNING_SHARE)
        log_step = torch.full((len(self.x),), _FIRST_STEP, dtype=self.scale.dtype, device=self.scale.device).log()
        state = self._at(self.draw(chains))
        found: list[Tensor] = []
        for b in [0.0] * 10 + _schedule(count)[1:]:
            state, accepted = self._move(state, b, log_step.exp())
            log_step = log_step + _RATE * (accepted - _ACCEPTANCE)
            found.append(log_step)
        path = torch.stack(found[9:])
        # one step size moves up and down by chance; its neighbours were tuned to nearly the same density
        smooth = torch.stack([path[max(0, i - 2) : i + 3].mean(0) for i in range(len(path))])
        at = torch.linspace(0, count, self.temperatures + 1).round().long()
        self.steps = smooth[at].exp()

    def forward(self, chains: int) -> Tensor:
        """Log weights (chains, batch), float64: the mean of their exponentials is p(x)."""
        return self._anneal(self.draw(chains), reverse=False)

    def reverse(self, z: Tensor, chains: int) -> Tensor:
        """Log weights of the way back from exact draws z ~ p(z|x): the mean of exp(-log w) is 1 / p(x)."""
        return self._anneal(z.expand(chains, *z.shape), reverse=True)

    def _anneal(self, z: Tensor, *, reverse: bool) -> Tensor:
        betas = _schedule(self.temperatures)
        state = self._at(z)
        log_w = torch.zeros(state.joint.shape, dtype=torch.float64, device=z.device)
        accepted = torch.zeros_like(self.acceptance)
        order = range(self.temperatures, 0, -1) if reverse else range(1, self.temperatures + 1)
        for t in order:
            log_w += (betas[t] - betas[t - 1]) * (state.joint - state.start).double()
            following = t - 1 if reverse else t
            if 0 < following < self.temperatures:
                state, share = self._move(state, betas[following], self.steps[following])
                accepted += share.double().cpu()
        self.acceptance = accepted / max(1, self.temperatures - 1)
        return log_w

    def _at(self, z: Tensor) -> _State:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            start = self.start.log_prob(z)
            joint = self.model.log_likelihood(self.x, z) + self.pz.log_prob(z)
            (start_slope,) = torch.autograd.grad(start.sum(), z)
            (joint_slope,) = torch.autograd.grad(joint.sum(), z)
        return _State(z.detach(), start.detach(), finite(joint.detach()), start_slope, joint_slope)

    def _move(self, state: _State, b: float, step: Tensor) -> tuple[_State, Tensor]:
        """A Hamiltonian move that leaves f_b invariant, and the share of chains that accepted it, (batch,)."""
        momentum = torch.randn_like(state.z)
        size = step[:, None] * self.scale
        p, new = momentum + 0.5 * size * state.slope(b), state
        for i in range(self.leapfrog):
            new = self._at(new.z + size * p)
            p = p + (0.5 if i == self.leapfrog - 1 else 1.0) * size * new.slope(b)
        gain = new.log_density(b) - state.log_density(b)
        log_ratio = gain + 0.5 * (momentum.square() - p.square()).sum(-1)
        log_ratio = log_ratio.nan_to_num(nan=-torch.inf)  # far off, slopes may overflow: such a move is refused
        accept = torch.rand_like(log_ratio).log() < log_ratio
        mask = accept[..., None]
        kept = _State(
            torch.where(mask, new.z, state.z),
            torch.where(accept, new.start, state.start),
            torch.where(accept, new.joint, state.joint),
            torch.where(mask, new.start_slope, state.start_slope),
            torch.where(mask, new.joint_slope, state.joint_slope),
        )
        return kept, log_ratio.clamp(max=0).exp().mean(0)


def _schedule(temperatures: int) -> list[float]:
    """0 = b_0 < ... < b_T = 1, dense at both ends: a sigmoid from -4 to 4 (Wu et al. 2017, section 5.1)."""
    s = torch.sigmoid(torch.linspace(-4, 4, temperatures + 1, dtype=torch.float64))
    return ((s - s[0]) / (s[-1] - s[0])).tolist()


def path_from(model: Model, x: Tensor, start: Literal["posterior", "prior"], temperatures: int) -> Path:
    """The path from the prior or from q(z|x), with the start's standard deviations as scale."""
    qz, pz = model.posterior(x), model.prior
    if start == "posterior":
        if is_point(qz):
            raise ValueError('q(z|x) is a point, from which no chain can start; write start="prior"')
        return Path(model, x, qz, spread(qz), temperatures)
    scale = spread(pz) if not pz.batch_shape else torch.ones(len(x), pz.event_shape[0])
    return Path(model, x, pz, scale.expand(len(x), -1), temperatures)


def by_annealing(
    model: Model,
    x: Tensor,
    *,
    temperatures: int,
    chains: int,
    start: Literal["posterior", "prior"],
    why: str,
    progress: bool,
) -> Evidence:
    """The mean weight of annealed chains; the logarithm is on average a lower bound of log p(x).

    Args:
        model: at rest.
        x: (batch, \\*event), checked.
        temperatures: steps from the start to p(x, z).
        chains: for each example.
        start: where the chains start.
        why: for the result.
        progress: show a bar.
    """
    valid(temperatures, chains)
    found: list[Evidence] = []
    with ProgressBar("log p(x) by annealing", len(x), show=progress) as bar:
        try:
            for part in x.split(block(x, chains)):
                path = path_from(model, part, start, temperatures)
                path.tune(chains)
                weights = Weights(len(part), chains)
                weights.add(path.forward(chains))
                found.append(
                    Evidence(
                        weights.log_mean,
                        weights.standard_error,
                        "annealed",
                        why=why,
                        samples=torch.full_like(weights.log_mean, chains),
                        ess=weights.ess,
                        acceptance=path.acceptance,
                    )
                )
                bar.advance(len(part))
        except KeyboardInterrupt as error:
            partial = padded(found, len(x))
            raise interrupted(partial, int((~partial.value.isnan()).sum()), len(x)) from error
    return _with_notes(together(found), chains, temperatures)


def block(x: Tensor, chains: int) -> int:
    """Examples annealed together."""
    return max(1, AT_ONCE // (chains * prod(x.shape[1:])))


def valid(temperatures: int, chains: int) -> None:
    """Raise a ValueError for a path without steps, or too few chains to tell an error."""
    if temperatures < 2:
        raise ValueError(f"temperatures is at least 2, got {temperatures}; write temperatures={TEMPERATURES}")
    if chains < 2:
        raise ValueError(f"chains is at least 2, for a standard error; got {chains}. Write chains={CHAINS}")


def _with_notes(found: Evidence, chains: int, temperatures: int) -> Evidence:
    n, notes = len(found.value), list[str]()
    ess, acceptance = found.ess, found.acceptance
    assert ess is not None
    assert acceptance is not None
    if bool((uneven := ess < max(1.5, _FEW * chains)).any()):
        notes.append(
            f"for {int(uneven.sum()):,} of {n:,} examples the weights of the {chains} chains are as good as "
            f"{float(ess.min()):.1f}: one chain carries the sum, and log p(x) is probably too low there. Write "
            f"temperatures={4 * temperatures}"
        )
    if bool((stuck := acceptance < 0.3).any()):
        notes.append(
            f"for {int(stuck.sum()):,} of {n:,} examples fewer than 30 % of the moves were accepted: the chains hardly "
            "move, and log p(x) is probably too low there"
        )
    return warned(found, notes)
