"""The log p(x) of each example with its error, the method, and warnings in words."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, final

import torch
from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation
from nelbo.progress import ProgressBar
from nelbo.training import Interrupted

_FAR, _QUARTER = 4.0, math.log(4 / 3)  # standard errors, and nats


@dataclass(frozen=True, eq=False)
class Evidence(Estimate):
    """Log p(x) of each example, in nats; everything of shape (batch,), float64, on the CPU.

    Attributes:
        value: log p(x).
        standard_error: of a Monte Carlo value one standard deviation; of a quadrature what doubling its grid changed;
            in both, by how much float32 may have moved it.
        method: "quadrature", "mixture", "importance", "annealed" or "enumeration".
        flagged: bool; where True, the value may be off by more than its standard error says, and ``notes`` say why.
        why: the method and the reason for it, in a sentence.
        notes: warnings in words; empty where there is nothing to warn of.
        samples: draws of z for each example that carry a weight (of annealing: chains).
        ess: effective sample size of the weights, (sum w)^2 / sum w^2.
        pareto_k: shape of the tail of the importance weights; above min(1 - 1 / log10 samples, 0.7) their mean is not
            to be relied on.
        acceptance: of annealing, the share of Hamiltonian moves that were accepted.
        change: of quadrature, by how much doubling the grid changed the value, in nats.
        components: of the mixture, what each kind of its proposals says by its own draws alone, weighted by its own
            density: "q(z|x)", "prior" and "fits" to p(z|x). Estimates of shape (batch,), empty for other methods.
    """

    flagged: Tensor = field(kw_only=True)
    why: str = ""
    notes: tuple[str, ...] = ()
    samples: Tensor | None = None
    ess: Tensor | None = None
    pareto_k: Tensor | None = None
    acceptance: Tensor | None = None
    change: Tensor | None = None
    components: dict[str, Estimate] = field(default_factory=dict[str, Estimate])

    @property
    def share_flagged(self) -> Estimate:
        """The share of examples that are flagged."""
        return Estimate.share_of(int(self.flagged.sum()), self.flagged.numel(), self.method)

    @property
    def q_misses(self) -> Tensor:
        """(batch,) bool: where draws from q(z|x) alone miss over a quarter of p(x), by over 4 standard errors.

        There q(z|x) misses a part of p(z|x) that another component finds.
        """
        alone = self.components.get("q(z|x)")
        if alone is None:
            return torch.zeros_like(self.flagged)
        short = self.value - alone.value
        return (short > _QUARTER) & (short > _FAR * self.standard_error.hypot(alone.standard_error))

    @property
    def comparison(self) -> str:
        """Where q(z|x) misses a part of p(z|x), in a sentence; empty where it does not."""
        missed = self.q_misses
        if not bool(missed.any()):
            return ""
        most = float((self.value - self.components["q(z|x)"].value)[missed].max())
        return (
            f"for {int(missed.sum()):,} of {len(missed):,} examples draws from q(z|x) alone miss over a quarter of "
            f"p(x) (log p(x) would be too low by up to {most:.3g} nats): q(z|x) misses a part of p(z|x) that a fit or "
            "the prior finds"
        )

    def part(self, which: slice) -> "Evidence":
        """The evidence of some of the examples."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        some = {name: value[which] for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **some, components={name: part[which] for name, part in self.components.items()})

    def doubted(self, *doubts: tuple[Tensor, Callable[[], str]]) -> "Evidence":
        """The same evidence, flagged where a doubt holds, with a note on each doubt that holds for some examples.

        Args:
            doubts: a mask of the examples and the rest of a sentence that begins "for 2 of 5 examples".
        """
        flagged, notes = self.flagged, list(self.notes)
        for which, rest in doubts:
            flagged = flagged | which
            if bool(which.any()):
                notes.append(f"for {int(which.sum()):,} of {len(which):,} examples {rest()}")
        return replace(self, flagged=flagged, notes=tuple(notes))

    def warned(self, notes: Sequence[str] = ()) -> "Evidence":
        """The same evidence with these notes too, and all its notes given as warnings."""
        found = replace(self, notes=(*self.notes, *notes))
        for note in found.notes:
            warnings.warn(note, stacklevel=4)
        return found

    def __repr__(self) -> str:
        done = torch.isfinite(self.value)
        n = len(self.value)
        mean = float(self.value[done].mean()) if bool(done.any()) else float("nan")
        parts = [f"log p(x) of {n:,} examples, {self.method}: mean {mean:.2f} nats"]
        parts += [f"largest standard error {float(self.standard_error.max()):.2g}"] if n else []
        parts += [f"{int(self.flagged.sum()):,} flagged"] if bool(self.flagged.any()) else []
        missed = int(self.q_misses.sum())
        parts += [f"q(z|x) misses a part of p(z|x) on {missed:,}, see .components"] if missed else []
        parts += [f"{len(self.notes)} warnings, see .notes"] if self.notes else []
        return f"Evidence({', '.join(parts)})"


def unmeasured(n: int) -> Evidence:
    """NaN for n examples of which nothing is known yet."""
    missing = torch.full((n,), torch.nan, dtype=torch.float64)
    return Evidence(missing, missing, "none", flagged=missing > 0)


def part_by_part(
    title: str,
    evaluation: Evaluation,
    numbers: int,
    measure: Callable[[Evaluation], Tensor],
    rows: int,
    partial: Callable[[Tensor], Any],
    *,
    progress: bool,
) -> Tensor:
    """Measure as many examples at a time as the memory budget allows, under a progress bar.

    Args:
        title: of the bar.
        evaluation: the examples.
        numbers: computed for one example at a time.
        measure: some of the examples to (rows, their number), on any device.
        rows: of the result.
        partial: the result to what ``Interrupted`` holds; NaN for the examples that were not done.
        progress: show the bar.

    Returns:
        (rows, n), float64.

    Raises:
        Interrupted: Ctrl-C.
    """
    done, n = 0, len(evaluation)
    values = torch.full((rows, n), torch.nan, dtype=torch.float64)
    with ProgressBar(title, n, show=progress) as bar:
        try:
            for part in evaluation.split(numbers):
                values[:, done : done + len(part)] = measure(part)
                done += len(part)
                bar.advance(len(part))
        except KeyboardInterrupt as error:
            raise interrupted(partial(values), done, n) from error
    return values


def interrupted(partial: Any, done: int, n: int) -> Interrupted:
    """The error that Ctrl-C raises: some of the examples are done."""
    return Interrupted(f"interrupted after {done:,} of {n:,} examples, which error.partial holds", partial)


@final
class Finite:
    """Counts the values that no log-density has, where they are computed, until all of a block were.

    To ask a device for a number is to wait for all that it was given to do, so nothing asks within a loop.
    """

    def __init__(self) -> None:
        self._bad: Tensor | None = None
        self._of = 0

    def __call__(self, log_density: Tensor) -> Tensor:
        """The same values; -inf is the logarithm of a density of zero."""
        bad = (~(log_density < torch.inf)).sum()
        self._bad, self._of = bad if self._bad is None else self._bad + bad, self._of + log_density.numel()
        return log_density

    def check(self) -> None:
        """Raise a ValueError if some values were NaN or +inf."""
        bad = 0 if self._bad is None else int(self._bad)
        if bad:
            raise ValueError(
                f"log p(x, z) is NaN or infinite for {bad} of {self._of} pairs of an example and a z: the decoder "
                "returns values outside of the parameters of p(x|z). Look at model.likelihood(z) for "
                "z = model.prior.sample((100,)); if its training diverged, train again with a smaller learning rate"
            )
