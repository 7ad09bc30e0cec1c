"""What log_evidence returns: log p(x) of each example, how far it may be off, and what that depends on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.estimate import Estimate


@dataclass(frozen=True, eq=False)
class Evidence(Estimate):
    """Log p(x) of each example, in nats; everything of shape (batch,), float64, on the CPU.

    Attributes:
        value: log p(x).
        standard_error: of a Monte Carlo value one standard deviation; of a quadrature what doubling its grid changed.
        method: "quadrature", "importance" or "annealed".
        why: the method and the reason for it, in a sentence.
        notes: warnings in words; empty where there is nothing to warn of.
        samples: draws of z for each example that carry a weight (of annealing: chains).
        ess: effective sample size of the weights, (sum w)^2 / sum w^2.
        pareto_k: shape of the tail of the importance weights; above 0.7 their mean is not to be relied on.
        acceptance: of annealing, the share of Hamiltonian moves that were accepted.
        change: of quadrature, by how much doubling the grid changed the value, in nats.
    """

    why: str = ""
    notes: tuple[str, ...] = ()
    samples: Tensor | None = None
    ess: Tensor | None = None
    pareto_k: Tensor | None = None
    acceptance: Tensor | None = None
    change: Tensor | None = None

    def part(self, which: slice) -> "Evidence":
        """The evidence of some of the examples."""
        picked = {name: None if (v := getattr(self, name)) is None else v[which] for name in _BY_EXAMPLE}
        return replace(self, **picked)

    def __repr__(self) -> str:
        done = torch.isfinite(self.value)
        n = len(self.value)
        mean = float(self.value[done].mean()) if bool(done.any()) else float("nan")
        parts = [f"log p(x) of {n:,} examples, {self.method}: mean {mean:.2f} nats"]
        parts += [f"largest standard error {float(self.standard_error.max()):.2g}"] if n else []
        parts += [f"{len(self.notes)} warnings, see .notes"] if self.notes else []
        return f"Evidence({', '.join(parts)})"


_BY_EXAMPLE = ("value", "standard_error", "samples", "ess", "pareto_k", "acceptance", "change")


def together(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of examples measured in turn, as one; a note that several share stands once."""

    def joined(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else torch.cat(values)

    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return replace(parts[0], notes=notes, **{name: joined(name) for name in _BY_EXAMPLE})


def nothing_of(n: int, method: str = "none") -> Evidence:
    """NaN for n examples of which nothing is known yet."""
    missing = torch.full((n,), torch.nan, dtype=torch.float64)
    return Evidence(missing, missing, method)


def padded(found: Sequence[Evidence], n: int) -> Evidence:
    """What is known of the first of n examples, with NaN for the others."""
    missing = nothing_of(n - sum(len(part.value) for part in found), found[0].method if found else "none")
    return together([*found, missing])
