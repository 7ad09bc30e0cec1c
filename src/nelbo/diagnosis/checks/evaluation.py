"""Whether reported numbers are what they are called, and whether the model was judged on unseen data."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nelbo.diagnosis.case import Case, log_weights
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import ALPHA, z_critical
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation
from nelbo.measure.importance import SMALLEST_TAIL, pareto_k, tail_length, threshold

_DECODED = 30_000  # z that are decoded for a question, at most
_FEWEST = 20  # examples
_MORE = 8  # times as many samples, to see whether those that were used are enough
_ENOUGH = 0.25  # nats that more samples may still gain
_NOISIER = 1 / 3  # of the larger share of lonely pixels
_NEAR = 0.02  # relative, within which a number in another unit is recognized


class _Bound(NamedTuple):
    """The importance-weighted bound and its surrogate, as :func:`_measured` gives them."""

    nll: tuple[float, float]
    surrogate: tuple[float, float]
    samples: int


def _judged(case: Case, samples: int, what: str) -> Evaluation:
    """Those of the judged examples for which so many z each can be decoded.

    Raises:
        NotApplicable: there is no time for a few examples.
    """
    least = min(_FEWEST, len(case.judged))
    rows = min(len(case.judged), max(_FEWEST, _DECODED // samples))
    rows = case.budget.at_most(rows, what, share=0.05, pairs=0.5 * samples)
    if rows < least:
        raise NotApplicable(f"needs time to decode {samples} z for each of {least} examples: seconds=None")
    return case.judged[:rows]


def _bound_of(log_w: Tensor) -> Tensor:
    return math.log(len(log_w)) - torch.logsumexp(log_w, 0)


def _surrogate_of(log_w: Tensor) -> Tensor:
    return -(torch.softmax(log_w, 0) * log_w).sum(0)


def _bound(case: Case) -> _Bound:
    reported = case.reported or {}
    if "nll" not in reported:
        raise NotApplicable("needs reported={'nll': ..., 'samples': ...}")
    samples = int(reported["samples"])
    judged = _judged(case, 2 * samples, "examples for the reported bound")
    first, second = log_weights(judged, 2 * samples, "importance weights").split(samples)
    available = len(case.judged) if case.sets is None else len(case.sets()[1])
    all_examples = len(judged) == len(case.judged) == available
    nll, surrogate = (_measured(of(first), of(second), all_examples) for of in (_bound_of, _surrogate_of))
    return _Bound(nll, surrogate, samples)


def _measured(first: Tensor, second: Tensor, all_examples: bool) -> tuple[float, float]:
    """Mean over the examples by two sets of draws, and its standard error beside a number by other draws."""
    both = (first + second) / 2
    draws = float(((first - second) ** 2).mean() / 2)
    between = 0.0 if all_examples else float(both.var())
    return float(both.mean()), math.sqrt((1.5 * draws + between) / len(both))


def _away(reported: float, measured: tuple[float, float]) -> float:
    """Distance in standard errors."""
    return abs(reported - measured[0]) / max(measured[1], 1e-9)


@check("surrogate-for-bound")
def surrogate_for_bound(case: Case) -> Verdict:
    bound = case.once(_bound)
    reported = float((case.reported or {})["nll"])
    evidence = (
        measured("reported", reported),
        measured(f"bound by {bound.samples} samples", *bound.nll),
        measured("its surrogate", *bound.surrogate),
    )
    critical = z_critical(ALPHA / 2)
    if _away(reported, bound.nll) > critical and _away(reported, bound.surrogate) < critical:
        return found("severe", *evidence)
    return passed(*evidence)


@check("too-few-samples")
def too_few_samples(case: Case) -> Verdict:
    samples = case.once(_bound).samples
    many = _MORE * samples
    judged = _judged(case, many, "examples for a bound by more samples")
    log_w = log_weights(judged, many, "more importance weights")
    few = torch.stack([_bound_of(part) for part in log_w.split(samples)]).mean(0)
    gain = Estimate.mean_of(few - _bound_of(log_w))
    cost = gain.named(f"gained by {many} samples over {samples}")
    evidence = (cost, *_tails(log_w))
    if (gain.value - _ENOUGH) / gain.standard_error > z_critical():
        return found("warning", *evidence, cost=cost)
    return passed(*evidence)


def _tails(log_w: Tensor) -> tuple[Estimate, ...]:
    """The share of examples whose largest weights have too heavy a tail for their mean; nothing for a few samples."""
    samples, rows = log_w.shape
    tail = tail_length(samples)
    if tail < SMALLEST_TAIL:
        return ()
    heavy = pareto_k(log_w.topk(tail + 1, 0).values) > threshold(samples)
    label = f"examples with a Pareto k above {threshold(samples):.2f}"
    return (Estimate.share_of(int(heavy.sum()), rows, label=label),)


@check("bits-for-nats")
def bits_for_nats(case: Case) -> Verdict:
    reported = case.reported or {}
    if "nll" in reported:
        name, again = "nll", case.once(_bound).nll
    elif "nelbo" in reported:
        mean = Estimate.mean_of(case.judged.nelbo)
        name, again = "nelbo", (float(mean), mean.error)
    else:
        raise NotApplicable("needs reported={'nelbo': ...}")
    value, features = float(reported[name]), case.train.features
    evidence = (measured(f"reported as {name}", value), measured("measured", *again))
    if abs(value - again[0]) < max(2 * _NEAR * abs(again[0]), 5 * again[1]):
        return passed(*evidence)
    units = {
        "bits per example": 1 / math.log(2),
        "nats per feature": 1 / features,
        "bits per feature": 1 / (features * math.log(2)),
    }
    for unit, factor in units.items():
        expected, error = again[0] * factor, again[1] * factor
        if abs(value - expected) < max(_NEAR * abs(expected), z_critical(ALPHA / 2) * error):
            return found("severe", *evidence, measured(f"measured, in {unit}", expected, error, ""))
    return passed(*evidence)


def _sets(case: Case) -> tuple[Tensor, Tensor]:
    if case.sets is None:
        raise NotApplicable("needs held_out=, examples that were not trained on")
    return case.sets()


def _rows(x: Tensor) -> np.ndarray:
    """Each example as one value that can be compared, (n,)."""
    flat = np.ascontiguousarray(x.detach().flatten(1).cpu().numpy())
    return flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1])))[:, 0]


@check("train-and-test-mixed")
def train_and_test_mixed(case: Case) -> Verdict:
    train, held = (_rows(part) for part in _sets(case))
    if train.dtype != held.dtype:
        raise NotApplicable("training and held-out examples are of different kinds of numbers")
    values, counts = np.unique(train, return_counts=True)
    within = float((counts[counts > 1]).sum() / len(train))
    across = float(np.isin(held, values).mean())
    pooled = (within * len(train) + across * len(held)) / (len(train) + len(held))
    error = math.sqrt(pooled * (1 - pooled) * (1 / len(train) + 1 / len(held)))
    evidence = (
        measured("held-out examples that were trained on", across, unit="share"),
        measured("training examples that occur twice", within, unit="share"),
    )
    excess = across - within
    if excess > 0.01 and (pooled == 1 or excess > z_critical() * error):
        return found("severe", *evidence)
    return passed(*evidence)


_SHIFT, _STRETCH = 0.5, 1.5  # of the training data's standard deviation: what two parts of one set do not differ by


@check("another-scale")
def another_scale(case: Case) -> Verdict:
    train, held = (part.flatten(1).cpu().double() for part in _sets(case))
    center, size = train.nanmean(), (train - train.nanmean()).square().nanmean().sqrt()
    if not float(size) > 0:
        raise NotApplicable("all training values are equal")
    train, held = (part[~part.isnan().all(1)] for part in (train, held))  # a row without a value has no mean
    means = [((part - center) / size).nanmean(1) for part in (train, held)]
    squares = [((part - part.nanmean()) / size).square().nanmean(1) for part in (train, held)]
    shift, stretch = (
        Estimate.mean_of(of_held) + Estimate.mean_of(of_train).scaled(-1) for of_train, of_held in (means, squares)
    )
    spread = math.sqrt(1 + max(stretch.value, -1.0))
    evidence = (
        shift.named("mean of the held-out values, in standard deviations of the training values", unit=""),
        measured("their standard deviation over that of the training values", spread, unit=""),
    )
    critical = z_critical(ALPHA / 4)  # two tests, on two sides
    moved = abs(shift.value) > _SHIFT and abs(shift.t) > critical
    stretched = not 1 / _STRETCH < spread < _STRETCH and abs(stretch.t) > critical
    return found("severe", *evidence) if moved or stretched else passed(*evidence)


def _binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _images(x: Tensor) -> Tensor | None:
    """The examples as (n, height, width), also if images came as vectors; None if they are not images."""
    if x.dim() >= 3:
        return x.reshape(-1, *x.shape[-2:])
    side = math.isqrt(x.shape[1])
    return x.reshape(len(x), side, side) if side * side == x.shape[1] and side >= 6 else None


def _alone(images: Tensor) -> Tensor:
    """(n,) share of pixels that differ from every neighbour above, below and beside them."""
    alone = torch.ones_like(images, dtype=torch.bool)
    down = images[:, 1:] != images[:, :-1]
    across = images[:, :, 1:] != images[:, :, :-1]
    alone[:, 1:] &= down
    alone[:, :-1] &= down
    alone[:, :, 1:] &= across
    alone[:, :, :-1] &= across
    return alone.double().flatten(1).mean(1)


@check("another-binarization")
def another_binarization(case: Case) -> Verdict:
    train, held = (part.float() for part in _sets(case))
    kinds = _binary(train), _binary(held)
    if kinds[0] != kinds[1]:
        shares = [((part == 0) | (part == 1)).double().mean() for part in (train, held)]
        unit = all(float(part.min()) >= 0 and float(part.max()) <= 1 for part in (train, held))
        if not unit:
            raise NotApplicable("the data are not images between 0 and 1")
        names = ("training values that are 0 or 1", "held-out values that are 0 or 1")
        return found("severe", *(measured(name, s, unit="share") for name, s in zip(names, shares, strict=True)))
    if not kinds[0]:
        raise NotApplicable("the data are not binary")
    images = [_images(part) for part in (train, held)]
    if images[0] is None or images[1] is None:
        raise NotApplicable("the data are not images")
    first, second = (Estimate.mean_of(_alone(part)) for part in images if part is not None)
    evidence = [
        mean.named(f"pixels unlike all their neighbours, {which}", unit="share")
        for which, mean in (("training", first), ("held-out", second))
    ]
    apart = abs(first.value - second.value)
    error = math.hypot(first.error, second.error)
    if apart > _NOISIER * max(first.value, second.value) and apart > z_critical(ALPHA / 2) * error:
        return found("severe", *evidence)
    return passed(*evidence)
