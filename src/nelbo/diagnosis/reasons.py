"""The cause of a loss's weights: measured numbers recognized as sums, means, and factors of usual code."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from nelbo.diagnosis.readings import DECLARED
from nelbo.diagnosis.regression import Fit, Regression

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
"""The cause of an effective beta; "nelbo": it is 1, and nothing is wrong."""


class Factor(NamedTuple):
    """A weight as a factor times a reduction."""

    factor: float
    """A number that the code multiplies with; negative for the wrong sign."""
    averaged: str
    """The mean that replaces the sum, in words; "" for a plain sum."""
    kind: Literal["", "features", "latent"]


def explain(regression: Regression) -> tuple[Cause, str]:
    """The cause of the measured weights, and a sentence about it."""
    error, kl, joint = regression.reconstruction, regression.kl, regression.joint
    if regression.missing == "reconstruction":
        return (
            "reconstruction missing",
            "The loss does not change with what decode returns: it has no reconstruction error.",
        )
    if error.explains and regression.together <= 1 and regression.parts is not None:
        words = ("half the squared means", "half the variances", "minus the log standard deviations")
        weighed = ", ".join(f"{part:.3g} x {name}" for part, name in zip(regression.parts, words, strict=True))
        return "kl formula", (
            f"The KL term is not a KL: it weighs {weighed}, and a KL to N(0, I) weighs all three alike. Check its "
            "signs, and the factors inside its brackets."
        )
    if not regression.is_combination:
        return "no combination", _no_combination(error, kl)
    if regression.missing == "kl":
        return "kl missing", "The loss does not change with what encode returns: it has no KL (beta = 0)."

    smaller, beta, unit_normal = regression.smaller, regression.beta, regression.sigma == 1
    powers = [_power(*weights, regression) for weights in ((joint.a, smaller.a), (joint.b, smaller.b))]
    factor = partial(recognized, tolerance=regression.tolerance)
    # of a squared error, which is not always halved, nor divided by the variance that is declared for it
    squares = () if regression.sigma is None else (2 * regression.sigma**2, regression.sigma**2)
    a = factor(joint.a / regression.batches[0] ** powers[0], squares, event=regression.event)
    b = factor(joint.b / regression.batches[0] ** powers[1], event=regression.event, latent=regression.latent)
    cause = _cause(regression, a, b, same_power=powers[0] == powers[1])

    sentences = [
        f"the reconstruction error {_in_words(a, powers[0], joint.a)} and the KL {_in_words(b, powers[1], joint.b)}: "
        f"beta = {beta:.4g}."
    ]
    if kl.reading.name != DECLARED:
        sentences.insert(0, f"the KL term is {kl.reading.words}.")
    if error.reading.name != DECLARED:
        sentences.append(
            f"The reconstruction term is {error.reading.words}, not the {regression.likelihood} that was declared."
        )
    if unit_normal and beta > 0 and not _same(beta, 1.0, regression.tolerance):
        sentences.append(
            "A squared error is a normal likelihood, of unit variance where it is halved, to which this beta is "
            f"relative; it is a negative ELBO, with beta = 1, for sigma^2 = {beta:.4g}."
        )
    if cause == "batch":
        sentences.append(
            "One is summed over the batch and the other averaged, so beta changes with the batch size (here "
            f"{regression.batches[0]})."
        )
    return cause, " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _power(larger: float, smaller: float, regression: Regression) -> int:
    """The power of the batch size that a weight grows with: 1 for a sum over it, 0 for a mean or none at all."""
    if not (larger and smaller) or larger / smaller < 0:
        return 0
    power = math.log(larger / smaller) / math.log(regression.batches[0] / regression.batches[1])
    return round(power) if abs(power - round(power)) < 0.02 else 0


def _same(number: float, other: float, tolerance: float) -> bool:
    return abs(number - other) <= tolerance * abs(other)


def _cause(regression: Regression, a: Factor, b: Factor, *, same_power: bool) -> Cause:
    beta, kl = regression.beta, regression.kl.reading.name
    if beta < 0:
        return "kl sign"
    if kl != DECLARED:
        return "kl reversed" if kl == "reversed" else "kl of another spread"
    if _same(beta, 1.0, regression.tolerance):
        return "nelbo"
    if not same_power:
        return "batch"
    if a.kind != b.kind and (a if beta > 1 else b).kind:  # a mean that makes the other term heavy
        return "reconstruction averaged" if beta > 1 else "kl averaged"
    if regression.sigma == 1 and a.factor == 2.0 and b.factor == 1.0:
        return "fixed sigma"  # the whole squared error: a normal likelihood of variance 1/2
    return "kl doubled" if _same(beta, 2.0, regression.tolerance) else "weight"


def recognized(
    weight: float,
    bases: Sequence[float] = (),
    *,
    event: Sequence[int],
    latent: Sequence[int] | None = None,
    tolerance: float,
) -> Factor:
    """The reduction and the factor that a weight is most plainly made of: the one with the fewest digits.

    Args:
        weight: as measured.
        bases: factors that say nothing about a mean, such as 2 of a squared error, which is not always halved.
        event: the shape of an example.
        latent: the shape of its z where the weight is the KL's, which can also be averaged over that; else None.
        tolerance: relative, within which two numbers are the same.
    """
    features, verb = math.prod(event), "averaged over" if latent is None else "divided by"
    reductions = [Factor(1, "", ""), Factor(features, f"{verb} the {features} features", "features")]
    if latent is None:
        reductions += _of_positions(event, "pixels", "features")
    else:
        units = math.prod(latent)
        both = f"divided by {features} features x {units} latent units"
        reductions.append(Factor(units, f"averaged over the {units} latent units", "latent"))
        reductions += _of_positions(latent, "positions of z", "latent")
        reductions.append(Factor(features * units, both, "features"))
    candidates = [reduction._replace(factor=weight * reduction.factor) for reduction in reductions]
    for usual in (1.0, *bases, 0.5, 2.0, -1.0, -0.5, -2.0):
        if usual not in (1.0, *bases) and _digits(weight, tolerance) == 1:
            break  # 0.1 is a weight as it stands, and no mean over 20 features taken twice
        for candidate in candidates:
            if _same(candidate.factor, usual, tolerance):
                return candidate._replace(factor=usual)
    # that a mean makes the factor rounder says little unless it saves two digits
    return min(candidates, key=lambda candidate: _digits(candidate.factor, tolerance) + 1.5 * bool(candidate.kind))


def _of_positions(shape: Sequence[int], name: str, kind: Literal["features", "latent"]) -> list[Factor]:
    """The mean over the positions of an image or a map alone, of sums over its channels."""
    positions = math.prod(shape[1:])
    return (
        [Factor(positions, f"averaged over the {positions} {name}", kind)] if 1 < positions < math.prod(shape) else []
    )


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


def _no_combination(error: Fit, kl: Fit) -> str:
    form = "The loss is not of the form a * reconstruction_error + b * kl: "
    if not error.explains:
        return (
            f"{form}with the encoder's answer fixed, it is not a multiple of the declared likelihood, nor of a "
            "squared, absolute or binary error. A perceptual, adversarial or clamped error does that."
        )
    if not kl.explains:
        return (
            f"{form}with the reconstruction fixed, it is not a multiple of a KL. Free bits, a capacity, a penalty on "
            "the aggregate of the batch (MMD, total correlation) or a wrong formula do that."
        )
    return (
        f"{form}it is linear in each term alone, but not in both together, as if they were multiplied or one weighed "
        "the other."
    )
