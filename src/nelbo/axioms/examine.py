"""The four axioms of a metric for a divergence on a family, decided by proof or by witness."""

# mpmath is untyped, and so is every lambda that computes with it
# pyright: reportUnknownLambdaType=false

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution

from nelbo.axioms.candidates import AXIOMS, IDENTITY, NON_NEGATIVITY, SYMMETRY, TRIANGLE, Candidate, candidate, precise
from nelbo.axioms.families import SHORT, Family, family
from nelbo.randomness import generator

# relative violations below this are rounding
_NOISE = 1e-6


@dataclass(frozen=True)
class Witness:
    """Members of the family that violate an axiom, with both sides of it as decimal strings."""

    members: dict[str, dict[str, str]]
    relation: str
    left: str
    right: str
    digits: int


@dataclass(frozen=True)
class Verdict:
    """The answer for one axiom.

    Attributes:
        axiom: its name.
        holds: True (proven), False (violated by a witness), None (not decided: neither a proof nor a violation).
        reason: the proof or its source, or the extent of the search.
        margin: where the axiom holds, the smallest relative slack that an optimizer reached while trying to break it;
            where it is violated, the excess of the witness.
        witness: of a violation.
    """

    axiom: str
    holds: bool | None
    reason: str
    margin: float
    witness: Witness | None = None


@dataclass(frozen=True)
class Verdicts:
    """The answers for all four axioms."""

    divergence: str
    family: str
    verdicts: tuple[Verdict, ...]

    def __getitem__(self, axiom: str) -> Verdict:
        """The verdict of one axiom, by its name or the beginning of it."""
        for v in self.verdicts:
            if v.axiom.startswith(axiom):
                return v
        raise KeyError(f"{axiom!r}; expected one of {', '.join(AXIOMS)}")

    @property
    def metric(self) -> bool | None:
        """Whether all four hold; None where one is undecided."""
        answers = [v.holds for v in self.verdicts]
        return False if False in answers else (None if None in answers else True)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {**asdict(self), "metric": self.metric}

    def __str__(self) -> str:
        lines = [f"{self.divergence} on {self.family}"]
        for v in self.verdicts:
            answer = {True: "holds", False: "violated", None: "no violation found"}[v.holds]
            lines.append(f"  {v.axiom}: {answer}. {v.reason}")
            if v.witness is not None:
                kind = self.family.split("(")[0]
                for letter, values in v.witness.members.items():
                    inside = ", ".join(f"{name}={x}" for name, x in values.items())
                    lines.append(f"      {letter} = {kind}({inside})")
                lines.append(f"      {v.witness.relation}: {v.witness.left[:22]} against {v.witness.right[:22]}")
            lines.append(f"      margin {v.margin:.3g}")
        return "\n".join(lines)


def examine(
    divergence: Any,
    family: "type[Distribution] | str | Family" = "Normal",
    *,
    fixed: Mapping[str, Any] | None = None,
    trials: int = 1024,
    rounds: int = 12,
    seed: int = 0,
) -> Verdicts:
    """Decide the four axioms of a metric for a divergence on a family.

    non-negativity D(p, q) >= 0; identity D(p, q) = 0 exactly if p = q; symmetry D(p, q) = D(q, p);
    triangle D(p, r) <= D(p, q) + D(q, r).

    Args:
        divergence: a name ("kl", "renyi:1/2", "sqrt_jensen_shannon", ...), one of nelbo's functions, or any function of
            two distributions that returns an Estimate or a tensor.
        family: a torch distribution type, its name, or a Family.
        fixed: parameters with one (rational) value for all members, as in {"loc": 0}.
        trials: triples that the search begins with.
        rounds: of improving the worst of them.
        seed: of the search.

    Returns:
        Verdicts. A violation comes with the simplest witness (short rational parameters) and both sides in 50 digits;
        an axiom that holds comes with its reason, and the smallest slack that the search reached.

    Raises:
        ValueError: for unknown names.
        TypeError: where the divergence is neither a name nor callable.
    """
    entry, members = candidate(divergence), _family(family, fixed)
    search = _Search(entry, members, trials=trials, rounds=rounds, seed=seed)
    return Verdicts(entry.name, members.label, tuple(search.decide(axiom) for axiom in AXIOMS))


_family = family


class _Search:
    def __init__(self, entry: Candidate, members: Family, *, trials: int, rounds: int, seed: int) -> None:
        self.entry, self.members, self.trials, self.rounds = entry, members, trials, rounds
        if entry.integrated:
            self.trials, self.rounds = max(1, trials // 8), max(1, rounds // 3)
        self.generator = generator(seed)
        # the value of a root near 0 is the root of its rounding
        self.floor = 1e-6 if entry.squared else 1e-12

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            return self.entry.value(self.members.build(a), self.members.build(b)).double()

    def slack(self, axiom: str, points: Tensor) -> Tensor:
        """The relative distance (batch,) of triples (3, batch, free) from breaking the axiom; negative if broken."""
        p, q, r = points
        forward = self.distance(p, q)
        size = forward.abs().clamp(min=self.floor)
        if axiom == NON_NEGATIVITY:
            return forward
        if axiom == IDENTITY:
            same = self.distance(p, p).abs()
            apart = (p - q).abs().amax(-1) > 1e-3
            return torch.where(same > 100 * self.floor, -same, torch.where(apart, forward, torch.inf))
        if axiom == SYMMETRY:
            back = self.distance(q, p)
            gap = (forward - back).abs()
            gap = torch.where(torch.isinf(forward) & torch.isinf(back), 0.0, gap)
            return -torch.nan_to_num(gap / (size + back.abs()), nan=1.0, posinf=1.0)
        direct, detour = self.distance(p, r), forward + self.distance(q, r)
        finite = torch.isfinite(detour)
        relative = (detour - direct) / (detour + direct.abs()).clamp(min=self.floor)
        tiny = (detour + direct.abs()) < 1e3 * self.floor
        return torch.where(finite & ~tiny, torch.nan_to_num(relative, nan=-1.0), torch.inf)

    def to_members(self, raw: Tensor) -> Tensor:
        """Free parameters from numbers of any size."""
        to_domain = {"real": lambda x: 2 * x, "positive": torch.exp, "unit": torch.sigmoid}
        return torch.stack([to_domain[kind](raw[..., i]) for i, (_, kind) in enumerate(self.members.free)], -1)

    def worst(self, axiom: str) -> float:
        """The smallest slack that random triples and the improvement of the worst ones reach."""
        raw = torch.randn(3, self.trials, len(self.members.free), generator=self.generator, dtype=torch.float64)
        slack = self.slack(axiom, self.to_members(raw))
        keep = min(16 if self.entry.integrated else 64, self.trials)
        best = slack.topk(keep, largest=False)
        raw, slack = raw[:, best.indices], best.values
        step = 0.5
        for _ in range(self.rounds):
            noise = torch.randn(raw.shape, generator=self.generator, dtype=torch.float64)
            moved = (raw + step * noise).clamp(-6, 6)
            fresh = self.slack(axiom, self.to_members(moved))
            better = fresh < slack
            raw, slack = torch.where(better[None, :, None], moved, raw), torch.where(better, fresh, slack)
            step *= 0.75
        return float(slack.min())

    def decide(self, axiom: str) -> Verdict:
        proof = self.entry.proofs.get(axiom) or self.special_proof(axiom)
        worst = self.worst(axiom)
        if axiom == SYMMETRY:
            worst = worst if worst < -_NOISE else 0.0
        noise = 10 * self.floor if axiom == NON_NEGATIVITY else _NOISE
        if worst < -noise:
            witness = self.witness(axiom)
            if witness is not None:
                return witness
            if proof is None:
                return Verdict(axiom, None, "violated in float64 only, with no short witness", worst)
        if proof is None:
            searched = f"the search over {self.trials} triples and {self.rounds} rounds reached no violation"
            return Verdict(axiom, None, searched, worst)
        return Verdict(axiom, True, proof, max(worst, 0.0))

    def special_proof(self, axiom: str) -> str | None:
        """The reason why an axiom holds on this family, if not on all distributions."""
        free = {name for name, _ in self.members.free}
        if axiom == SYMMETRY and self.members.reflects and "scale" not in free and self.entry.integrand is not None:
            return "at equal scale the reflection x -> m_p + m_q - x trades p for q and keeps the integral"
        if axiom == SYMMETRY and self.entry.name == "kl" and self.members.type is Cauchy:
            return "log(((s_p + s_q)^2 + (m_p - m_q)^2) / (4 s_p s_q)) is symmetric (Chyzak & Nielsen 2019)"
        return None

    def witness(self, axiom: str) -> Verdict | None:
        """The simplest violation with short rational parameters, confirmed in high precision."""
        free = [SHORT[kind] for _, kind in self.members.free]
        points = sorted(itertools.product(*free), key=_complexity)
        count = 3 if axiom == TRIANGLE else 2
        points = points[: 20 if count == 3 else 60]
        triples = sorted(itertools.permutations(points, count), key=lambda t: sum(map(_complexity, t)))
        values = torch.tensor([[[float(x) for x in m] for m in t] for t in triples], dtype=torch.float64).movedim(1, 0)
        full = values if count == 3 else torch.cat([values, values[:1]])
        slack = self.slack(axiom, full)
        broken = slack < -1e-3
        sums = torch.stack([self.distance(a, b) for a, b in self._sides(full, axiom)]).sum(0)
        finite = torch.isfinite(sums)
        # witnesses of finite value first: they say more than an infinite side
        order = (broken & finite).nonzero().flatten().tolist() + (broken & ~finite).nonzero().flatten().tolist()
        for index in order[:8]:
            verdict = self.confirm(axiom, triples[index])
            if verdict is not None:
                return verdict
        return None

    @staticmethod
    def _sides(points: Tensor, axiom: str) -> list[tuple[Tensor, Tensor]]:
        """The pairs whose distances an axiom is about."""
        p, q, r = points
        return [(p, q), (q, r), (p, r)] if axiom == TRIANGLE else [(p, q), (q, p)]

    def confirm(self, axiom: str, members: tuple[tuple[Fraction, ...], ...]) -> Verdict | None:
        distance, digits = self.exact()
        p, q = members[0], members[1]
        if axiom == TRIANGLE:
            r = members[2]
            left, right = distance(p, r), distance(p, q) + distance(q, r)
            relation, excess = "D(p, r) > D(p, q) + D(q, r)", left - right
        elif axiom == SYMMETRY:
            left, right = distance(p, q), distance(q, p)
            relation, excess = "D(p, q) != D(q, p)", abs(left - right)
        elif axiom == NON_NEGATIVITY:
            left, right = distance(p, q), mp.mpf(0)
            relation, excess = "D(p, q) < 0", right - left
        else:
            left, right = distance(p, q), distance(p, p)
            relation, excess = "D(p, q) <= 0 or D(p, p) != 0", max(abs(right), -left)
        if not excess > mp.mpf(10) ** (-10):
            return None
        named = {
            letter: {k: str(v) for k, v in self.members.full(m).items()}
            for letter, m in zip("pqr", members, strict=False)
        }
        text = [str(mp.nstr(x, digits, strip_zeros=False)) for x in (left, right)]
        where = "50-digit arithmetic" if digits == 50 else "float64"
        witness = Witness(named, relation, text[0], text[1], digits)
        return Verdict(axiom, False, f"the witness below, in {where}", float(excess), witness)

    def exact(self) -> tuple[Callable[..., Any], int]:
        def plain(a: tuple[Fraction, ...], b: tuple[Fraction, ...]) -> Any:
            x, y = (torch.tensor([[float(v) for v in m]], dtype=torch.float64) for m in (a, b))
            return mp.mpf(float(self.distance(x, y)))

        if self.entry.integrand is None:
            return plain, 15
        # an integral that diverges is finite on every finite stretch: float64 knows better
        return lambda a, b: mp.inf if mp.isinf(plain(a, b)) else precise(self.entry, self.members, a, b), 50


def _complexity(member: tuple[Fraction, ...]) -> int:
    return sum(abs(x.numerator) + 2 * x.denominator + (x < 0) for x in member)
