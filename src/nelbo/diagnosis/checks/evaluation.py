"""Are the numbers that are reported what they are called, and was the model judged on what it had not seen?"""

import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nelbo.diagnosis.case import Case, Seen
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import mean_of, z_critical

_DECODED = 30_000  # z that are decoded for a question, at most
_MORE = 8  # times as many samples, to see whether those that were used are enough
_ENOUGH = 0.25  # nats that more samples may still gain
_NOISIER = 1 / 3  # of the larger share of lonely pixels
_NEAR = 0.02  # relative, within which a number in another unit is recognized


class _Bound(NamedTuple):
    """The importance-weighted bound and its surrogate for some examples, each (examples,), by two sets of draws."""

    nll: tuple[Tensor, Tensor]
    surrogate: tuple[Tensor, Tensor]
    samples: int
    all_examples: bool


_BOUNDS: WeakKeyDictionary[Case, _Bound] = WeakKeyDictionary()


def _judged(case: Case) -> Seen:
    """The examples that the reported numbers are of."""
    return case.train if case.held_out is None else case.held_out


def _log_weights(seen: Seen, rows: int, samples: int) -> Tensor:
    """Log p(x, z) - log q(z|x), (samples, rows), at fresh draws of z ~ q(z|x)."""
    with torch.no_grad():
        x = seen.x[:rows]
        qz, pz = seen.model.posterior(x), seen.model.prior
        weights: list[Tensor] = []
        for _ in range(samples):
            z = qz.sample()
            weights.append(seen.model.likelihood(z).log_prob(x) + pz.log_prob(z) - qz.log_prob(z))
        return torch.stack(weights).double()


def _bound_of(log_w: Tensor) -> Tensor:
    return math.log(len(log_w)) - torch.logsumexp(log_w, 0)


def _surrogate_of(log_w: Tensor) -> Tensor:
    return -(torch.softmax(log_w, 0) * log_w).sum(0)


def _bound(case: Case) -> _Bound:
    reported = case.reported or {}
    if "nll" not in reported:
        raise NotMeasurable("needs reported={'nll': ..., 'samples': ...}")
    if case not in _BOUNDS:
        samples, seen = int(reported["samples"]), _judged(case)
        rows = max(20, min(len(seen), _DECODED // (2 * samples)))
        with seen.draws("importance weights"):
            twice = [_log_weights(seen, rows, samples) for _ in range(2)]
        first, second = twice
        _BOUNDS[case] = _Bound(
            (_bound_of(first), _bound_of(second)),
            (_surrogate_of(first), _surrogate_of(second)),
            samples,
            rows == len(seen) == _size(case),
        )
    return _BOUNDS[case]


def _size(case: Case) -> int:
    """How many examples there are to report on, as far as is known."""
    if case.sets is None:
        return len(_judged(case))
    return len(case.sets()[1])


def _measured(pair: tuple[Tensor, Tensor], all_examples: bool) -> tuple[float, float]:
    """Mean over the examples, and its standard error as compared with somebody's number by draws of their own."""
    first, second = pair
    both = (first + second) / 2
    draws = float(((first - second) ** 2).mean() / 2)
    between = 0.0 if all_examples else float(both.var())
    return float(both.mean()), math.sqrt((1.5 * draws + between) / len(both))


def _away(reported: float, measured: tuple[float, float]) -> float:
    """Distance in standard errors."""
    return abs(reported - measured[0]) / max(measured[1], 1e-9)


@check(
    "surrogate-for-bound",
    title="The reported likelihood is the surrogate of the importance-weighted bound",
    needs=("reported",),
    false_alarms=ALPHA,
    meaning="The number is -sum_k w~_k log w_k, whose gradient is the bound's but whose value is not: it is too low by "
    "KL(w~ || uniform), up to log K nats. It bounds nothing, and makes the model look better than it is.",
    change="nelbo.objectives.ImportanceWeighted(50)(vae, x).value  # the bound itself",
    elsewhere="Report -(torch.logsumexp(log_w, dim=0) - math.log(K)), and keep the weighted sum for the gradient.",
    source="Burda, Grosse & Salakhutdinov 2016, eq. 8 against eq. 14; pythae's IWAE reports the weighted sum "
    "(clementchadebec/benchmark_VAE, iwae_model.py).",
)
def surrogate_for_bound(case: Case) -> Verdict:
    """The bound and the surrogate are measured by as many samples as were reported, twice. The reported number is
    farther from the bound than 3.3 standard errors, and no farther from the surrogate.
    """
    bound = _bound(case)
    reported = float((case.reported or {})["nll"])
    nll, surrogate = _measured(bound.nll, bound.all_examples), _measured(bound.surrogate, bound.all_examples)
    evidence = (
        Measured("reported", reported),
        Measured(f"bound by {bound.samples} samples", *nll),
        Measured("its surrogate", *surrogate),
    )
    critical = z_critical(ALPHA / 2)
    if _away(reported, nll) > critical and _away(reported, surrogate) < critical:
        return found("severe", *evidence)
    return passed(*evidence)


@check(
    "too-few-samples",
    title="Too few importance samples",
    needs=("reported",),
    false_alarms=ALPHA,
    meaning="More samples still raise the bound on log p(x) by more than a quarter of a nat: the estimator's error is "
    "as large as what tells honest models apart. Two models compared so may change places.",
    change='nelbo.measure.log_evidence(vae, x, method="importance", target_standard_error=0.05)',
    elsewhere="Use more samples (thousands), or annealed importance sampling; state their number and a standard error.",
    source="Burda, Grosse & Salakhutdinov 2016, table 1; Wu et al. 2017, table 2: still 0.85 nats low by 100,000; "
    'Vehtari et al. 2024, "Pareto smoothed importance sampling".',
)
def too_few_samples(case: Case) -> Verdict:
    """The bound by eight times as many samples minus that by the reported number, on the same examples: above a quarter
    nat by a one-sided t test. Each draw of the larger set also serves in one of eight smaller ones, which removes most
    of the noise. Beside it stands the share of examples whose weights have so heavy a tail (Pareto k) that no mean over
    them is to be relied on.
    """
    samples = _bound(case).samples
    seen = _judged(case)
    many = _MORE * samples
    rows = max(20, min(len(seen), _DECODED // many))
    with seen.draws("more importance weights"):
        log_w = _log_weights(seen, rows, many)
    few = torch.stack([_bound_of(part) for part in log_w.split(samples)]).mean(0)
    gain = mean_of(few - _bound_of(log_w))
    cost = Measured(f"gained by {many} samples over {samples}", gain.value, gain.standard_error)
    evidence = (cost, *_tails(log_w))
    if (gain.value - _ENOUGH) / gain.standard_error > z_critical():
        return found("warning", *evidence, cost=cost)
    return passed(*evidence)


def _tails(log_w: Tensor) -> tuple[Measured, ...]:
    """The share of examples whose largest weights have too heavy a tail for their mean; nothing for a few samples."""
    from nelbo.measure.importance import SMALLEST_TAIL, pareto_k, tail_length, threshold

    samples, rows = log_w.shape
    tail = tail_length(samples)
    if tail < SMALLEST_TAIL:
        return ()
    heavy = (pareto_k(log_w.topk(tail + 1, 0).values) > threshold(samples)).double().mean()
    share, error = float(heavy), math.sqrt(float(heavy * (1 - heavy)) / rows)
    return (Measured(f"examples with a Pareto k above {threshold(samples):.2f}", 100 * share, 100 * error, "%"),)


@check(
    "bits-for-nats",
    title="The reported number is in other units than nats per example",
    needs=("reported",),
    false_alarms=ALPHA,
    meaning="What is reported as nats per example is the measured value in bits, or divided by the number of features. "
    "A nat is 1.4427 bits; compared with published numbers as it stands, it says nothing.",
    change="nelbo.loss(vae, x).nelbo.mean()  # nats per example; divide by math.log(2) for bits, and say so",
    elsewhere="Report -log2 as bits and natural logarithms as nats, per example, and write the unit beside the number.",
    source="NVAE and most flow papers report bits per dimension, VAE papers nats per example.",
)
def bits_for_nats(case: Case) -> Verdict:
    """The reported NELBO or likelihood is measured again. It agrees within 2 % and its error with the measured number
    in bits per example, nats per feature or bits per feature, and does not with nats per example.
    """
    reported = case.reported or {}
    seen = _judged(case)
    if "nll" in reported:
        bound = _bound(case)
        name, measured = "nll", _measured(bound.nll, bound.all_examples)
    elif "nelbo" in reported:
        mean = mean_of(seen.nelbo)
        name, measured = "nelbo", (mean.value, mean.standard_error)
    else:
        raise NotMeasurable("needs reported={'nelbo': ...}")
    value, features = float(reported[name]), seen.x[0].numel()
    evidence = (Measured(f"reported as {name}", value), Measured("measured", *measured))
    if abs(value - measured[0]) < max(2 * _NEAR * abs(measured[0]), 5 * measured[1]):
        return passed(*evidence)
    units = {
        "bits per example": 1 / math.log(2),
        "nats per feature": 1 / features,
        "bits per feature": 1 / (features * math.log(2)),
    }
    for unit, factor in units.items():
        expected, error = measured[0] * factor, measured[1] * factor
        if abs(value - expected) < max(_NEAR * abs(expected), z_critical(ALPHA / 2) * error):
            return found("severe", *evidence, Measured("measured, in another unit", expected, error, unit))
    return passed(*evidence)


def _sets(case: Case) -> tuple[Tensor, Tensor]:
    if case.sets is None:
        raise NotMeasurable("needs held_out=, examples that were not trained on")
    return case.sets()


def _rows(x: Tensor) -> np.ndarray:
    """Each example as one value that can be compared, (n,)."""
    flat = np.ascontiguousarray(x.detach().flatten(1).cpu().numpy())
    return flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1])))[:, 0]


@check(
    "train-and-test-mixed",
    title="Examples that are held out were trained on",
    needs=("held_out",),
    false_alarms=ALPHA,
    meaning="Examples of the held-out set are in the training set too, value for value. What is measured on them "
    "says how well the model remembers, and hides that it overfits.",
    change='nelbo.data.load("data.npy", validation=0.1)  # split once, before anything else',
    elsewhere="Split once by example before augmenting and shuffling, and drop repeated rows before the split.",
    source="keras-io's VAE example trains on the training and the test set concatenated; xqding/"
    "Importance_Weighted_Autoencoders issue 3.",
)
def train_and_test_mixed(case: Case) -> Verdict:
    """The share of held-out examples that equal a training example in every value, beside the share of training
    examples that equal another one: rows may repeat by nature. The difference exceeds 1 % and is significant (test of
    two proportions); at most 20,000 examples of each are compared, in the form in which they are given.
    """
    train, held = (_rows(part) for part in _sets(case))
    if train.dtype != held.dtype:
        raise NotMeasurable("training and held-out examples are of different kinds of numbers")
    values, counts = np.unique(train, return_counts=True)
    within = float((counts[counts > 1]).sum() / len(train))
    across = float(np.isin(held, values).mean())
    pooled = (within * len(train) + across * len(held)) / (len(train) + len(held))
    error = math.sqrt(pooled * (1 - pooled) * (1 / len(train) + 1 / len(held)))
    evidence = (
        Measured("held-out examples that were trained on", 100 * across, 0.0, "%"),
        Measured("training examples that occur twice", 100 * within, 0.0, "%"),
    )
    excess = across - within
    if excess > 0.01 and (pooled == 1 or excess > z_critical() * error):
        return found("severe", *evidence)
    return passed(*evidence)


def _binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _images(x: Tensor) -> Tensor | None:
    """The examples as (n, height, width), also where images came as vectors; None where they are none."""
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


@check(
    "another-binarization",
    title="Training and held-out images are binarized in different ways",
    needs=("held_out",),
    false_alarms=ALPHA,
    meaning="Fresh draws, one fixed draw and a threshold make three different data sets of the same images, some with "
    "much less noise than others. A likelihood on one compares with none on another (86.8 against 88.7 nats on MNIST).",
    change='nelbo.data.load("mnist", binarize="dynamic")  # all parts in one way, which the run records',
    elsewhere="Binarize training and held-out images in the same way and say which: drawn anew each time, drawn once "
    "(Larochelle's files), or cut at 0.5.",
    source="Burda, Grosse & Salakhutdinov 2016, footnote 2 and appendix D; pyro-ppl/pyro issue 539.",
    explains=("overfit",),
)
def another_binarization(case: Case) -> Verdict:
    """One set is binary and the other is not; or both are, and the mean share of pixels that differ from all their
    neighbours (draws leave many alone, thresholds few) differs between them by more than a third and by a two-sided
    Welch test. Vectors are taken for images where their length is a square.
    """
    train, held = (part.float() for part in _sets(case))
    kinds = _binary(train), _binary(held)
    if kinds[0] != kinds[1]:
        shares = [100 * float(((part == 0) | (part == 1)).double().mean()) for part in (train, held)]
        unit = all(float(part.min()) >= 0 and float(part.max()) <= 1 for part in (train, held))
        if not unit:
            raise NotMeasurable("the data are no images between 0 and 1")
        names = ("training values that are 0 or 1", "held-out values that are 0 or 1")
        return found("severe", *(Measured(name, s, 0.0, "%") for name, s in zip(names, shares, strict=True)))
    if not kinds[0]:
        raise NotMeasurable("the data are not binary")
    images = [_images(part) for part in (train, held)]
    if images[0] is None or images[1] is None:
        raise NotMeasurable("the data are no images")
    first, second = (mean_of(_alone(part)) for part in images if part is not None)
    evidence = [
        Measured(f"pixels unlike all their neighbours, {which}", 100 * mean.value, 100 * mean.standard_error, "%")
        for which, mean in (("training", first), ("held-out", second))
    ]
    apart = abs(first.value - second.value)
    error = math.hypot(first.standard_error, second.standard_error)
    if apart > _NOISIER * max(first.value, second.value) and apart > z_critical(ALPHA / 2) * error:
        return found("severe", *evidence)
    return passed(*evidence)
