"""Why a loss weighs its terms as it does: measured weights recognized as sums, means, and factors of usual code."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nelbo.diagnosis.readings import DECLARED, Reading

Cause = Literal[
    "nelbo",
    "weight",
    "reconstruction averaged",
    "kl averaged",
    "kl doubled",
    "kl sign",
    "kl missing",
    "reconstruction missing",
    "kl of another spread",
    "kl reversed",
    "kl formula",
    "fixed sigma",
    "batch",
    "no combination",
]
"""What an effective beta comes from; "nelbo": it is 1, and nothing is wrong."""


@dataclass(frozen=True)
class Weights:
    """Measured weights of both terms for two sizes of the batch, and the sizes that they may come from."""

    a: float
    b: float
    a_smaller: float
    b_smaller: float
    batch: int
    smaller: int
    features: int
    latent: int
    error: float
    """Relative, within which two numbers are the same."""

    @property
    def beta(self) -> float:
        """Weight of the KL relative to that of the reconstruction error."""
        return self.b / self.a

    def power(self, larger: float, smaller: float) -> int | None:
        """The power of the batch size that a weight grows with: 1 for a sum over it, 0 for a mean; None: no power."""
        if not (larger and smaller) or larger / smaller < 0:
            return None
        power = math.log(larger / smaller) / math.log(self.batch / self.smaller)
        return round(power) if abs(power - round(power)) < 0.02 else None

    def same(self, number: float, other: float) -> bool:
        """Whether two numbers are the same within the error."""
        return abs(number - other) <= self.error * abs(other)


class Factor(NamedTuple):
    """A weight as a factor times a reduction."""

    factor: float
    """What the code multiplies with; negative for the wrong sign."""
    averaged: str
    """Over what the sum is divided, in words; "" where it is a plain sum."""
    kind: Literal["", "features", "latent"]


def explain(
    weights: Weights,
    error: Reading,
    kl: Reading,
    *,
    fits: tuple[bool, bool, bool],
    absent: tuple[bool, bool],
    unit_normal: bool,
    likelihood: str,
    parts: tuple[float, float, float] | None = None,
) -> tuple[Cause, str]:
    """The cause of these weights, and the sentence that says it.

    Args:
        weights: as measured.
        error: what the reconstruction term is.
        kl: what the KL term is.
        fits: whether the reconstruction alone, the KL alone and both together are explained.
        absent: whether the loss does not depend on the reconstruction, on the KL.
        unit_normal: whether the reconstruction error is half a sum of squares.
        likelihood: name of the declared likelihood.
        parts: weights of the three parts of the KL, relative to that of the reconstruction error, where they are not
            weighed alike.
    """
    if absent[0]:
        return (
            "reconstruction missing",
            "The loss does not change with what decode returns: it has no reconstruction error.",
        )
    if fits[0] and fits[2] and parts is not None:
        words = ("half the squared means", "half the variances", "minus the log standard deviations")
        weighed = ", ".join(f"{part:.3g} x {name}" for part, name in zip(parts, words, strict=True))
        return "kl formula", (
            f"The KL term is none: it weighs {weighed}, and a KL to N(0, I) weighs all three alike. Check its signs, "
            "and the factors inside its brackets."
        )
    if not all(fits):
        return "no combination", _no_combination(fits, absent[1])
    if absent[1]:
        return "kl missing", "The loss does not change with what encode returns: it has no KL (beta = 0)."

    over_batch = [
        weights.power(larger, smaller)
        for larger, smaller in ((weights.a, weights.a_smaller), (weights.b, weights.b_smaller))
    ]
    powers = [power or 0 for power in over_batch]
    a = recognized(weights.a / weights.batch ** powers[0], weights, for_kl=False, unit_normal=unit_normal)
    b = recognized(weights.b / weights.batch ** powers[1], weights, for_kl=True, unit_normal=unit_normal)

    said = [
        f"the reconstruction error {_in_words(a, powers[0], weights.a)}",
        f"the KL {_in_words(b, powers[1], weights.b)}",
    ]
    sentence = " and ".join(said) + f": beta = {weights.beta:.4g}."
    if error.name != DECLARED:
        sentence += f" The reconstruction term is {error.words}, not the {likelihood} that was declared."
    if unit_normal and weights.beta > 0 and not weights.same(weights.beta, 1.0):
        sentence += (
            " A squared error is a normal likelihood, of unit variance where it is halved, to which this beta is "
            f"relative; it is a negative ELBO, with beta = 1, for sigma^2 = {weights.beta:.4g}."
        )
    cause = _cause(weights, a, b, powers, kl, unit_normal=unit_normal)
    if kl.name != DECLARED:
        sentence = f"the KL term is {kl.words}. " + sentence[0].upper() + sentence[1:]
    if cause == "batch":
        sentence += (
            f" One is summed over the batch and the other averaged, so beta changes with the batch size (here "
            f"{weights.batch})."
        )
    return cause, sentence[0].upper() + sentence[1:]


def _cause(weights: Weights, a: Factor, b: Factor, powers: list[int], kl: Reading, *, unit_normal: bool) -> Cause:
    if weights.beta < 0:
        return "kl sign"
    if kl.name == "reversed":
        return "kl reversed"
    if kl.name != DECLARED:
        return "kl of another spread"
    if weights.same(weights.beta, 1.0):
        return "nelbo"
    if powers[0] != powers[1]:
        return "batch"
    if a.kind and b.kind and a.kind != b.kind:
        return "reconstruction averaged" if weights.beta > 1 else "kl averaged"
    if a.kind and not b.kind:
        return "reconstruction averaged"
    if b.kind and b.kind != a.kind:
        return "kl averaged"
    if unit_normal and a.factor == 2.0 and b.factor == 1.0:
        return "fixed sigma"  # the whole squared error: a normal likelihood of variance 1/2
    return "kl doubled" if weights.same(weights.beta, 2.0) else "weight"


def recognized(weight: float, weights: Weights, *, for_kl: bool, unit_normal: bool) -> Factor:
    """The reduction and the factor that a weight is most plainly made of: the one with the fewest digits.

    A squared error that is not halved counts 2 where half of it counts 1, which says nothing about a mean.
    """
    features, latent = weights.features, weights.latent
    reductions: list[Factor] = [
        Factor(1, "", ""),
        Factor(features, f"averaged over the {features} features", "features"),
    ]
    if for_kl:
        reductions[1] = Factor(features, f"divided by the {features} features", "features")
        reductions.append(Factor(latent, f"averaged over the {latent} latent units", "latent"))
        both = features * latent
        reductions.append(Factor(both, f"divided by {features} features x {latent} latent units", "features"))
    base = 2.0 if unit_normal and not for_kl else 1.0
    # that a mean makes the factor rounder says little unless it saves two digits
    candidates = [
        (
            _digits(factor, weights.error) + 1.5 * (plainness > 0),
            plainness,
            Factor(factor, reduction.averaged, reduction.kind),
        )
        for plainness, reduction in enumerate(reductions)
        for factor in (weight * reduction.factor,)
    ]
    usual = [1.0, base, 0.5, 2.0, -1.0, -0.5, -2.0]
    for wanted in usual:
        for _, _, factor in candidates:
            if weights.same(factor.factor, wanted):
                return factor._replace(factor=wanted)
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def _digits(number: float, error: float) -> int:
    """Significant digits that a number is written with, to within a relative error."""
    for digits in range(1, 7):
        if abs(float(f"{number:.{digits}g}") - number) <= error * abs(number):
            return digits
    return 7


def _in_words(factor: Factor, power: int, weight: float) -> str:
    over = {1: "summed over the batch", 0: "averaged over the batch", -1: "divided by the batch size twice"}
    batch = over.get(power, f"times the batch size to the power {power}")
    times = "" if factor.factor == 1.0 else f"taken {factor.factor:.4g} times, "
    within = f"{factor.averaged} and " if factor.averaged else ""
    return f"is {times}{within}{batch} (weight {weight:.4g})"


def _no_combination(fits: tuple[bool, bool, bool], no_kl: bool) -> str:
    if not fits[0]:
        return (
            "The loss is no a * reconstruction_error + b * kl: with the encoder's answer fixed, it is no multiple of "
            "the declared likelihood, nor of a squared, absolute or binary error. A perceptual, adversarial or "
            "clamped error does that."
        )
    if not fits[1]:
        return (
            "The loss is no a * reconstruction_error + b * kl: with the reconstruction fixed, it is no multiple of a "
            "KL. Free bits, a capacity, a penalty on the aggregate of the batch (MMD, total correlation) or a wrong "
            "formula do that."
        )
    return (
        "The loss is no a * reconstruction_error + b * kl: it is one in each term alone, but not in both together, as "
        "if they were multiplied or one weighed the other."
    )
