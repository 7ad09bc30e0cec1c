"""Faults that the history of a training shows."""

from typing import Any

import numpy as np

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.collapse import pays
from nelbo.diagnosis.history import Column, History
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import ALPHA, roughness, slope_of, z_critical
from nelbo.estimate import Estimate


def _history(case: Case, least: int) -> History:
    if case.history is None or len(case.history) < least:
        raise NotApplicable(f"needs a history of {least} epochs or more")
    return case.history


def _history_in_nats(case: Case, least: int) -> History:
    """The history, for checks that hold it against what is measured now."""
    history = _history(case, least)
    errors, features = history.get("train_reconstruction_error"), case.train.features
    errors = None if errors is None else errors[np.isfinite(errors)]
    if errors is None or not len(errors) or features < 10:
        return history
    last, now = float(errors[-1]), -float(case.train.log_px.mean())
    if abs(now) > features / 3 * abs(last):
        raise NotApplicable(
            f"the history's reconstruction error ends at {last:.3g} where {now:.4g} nats are measured: it is not a sum "
            f"over the {features} features"
        )
    return history


def _column(history: History, *names: str) -> Column:
    """The first of these columns that is there, without the epochs that lack it."""
    for name in names:
        column = history.get(name)
        if column is not None:
            return column[np.isfinite(column)]
    raise NotApplicable(f"needs {' or '.join(names)} in the history")


def _standard_error(case: Case, history: History) -> float:
    """Of one epoch's bound, in nats: as the history has it, or from the examples measured now."""
    column = history.get("validation_nelbo_standard_error")
    if column is not None:
        return float(column[np.isfinite(column)][-1])
    return Estimate.mean_of(case.judged.nelbo).error


@check("not-converged")
def not_converged(case: Case) -> Verdict:
    nothing_learned = _nothing_learned(case)
    if nothing_learned is not None:
        return nothing_learned
    history = _history_in_nats(case, 2)
    values = _column(history, "validation_nelbo", "train_nelbo", "train_objective")
    # a short history starts with a fall that says nothing about its end
    recent = values[-max(5, len(values) // 5) :] if len(values) >= _SHORT else values[-2:]
    error = _standard_error(case, history)
    slope = slope_of(recent, error)
    numbers = (
        slope.named("change of the NELBO per epoch at the end"),
        measured("standard error of the NELBO", error),
    )
    ahead = -float(slope) * len(recent)
    if slope.p_value >= ALPHA or ahead < error:
        return passed(*numbers)
    cost = measured(f"in {len(recent)} more epochs at this pace", ahead, slope.error * len(recent))
    return found("severe" if -float(slope) > error else "warning", *numbers, cost=cost)


_SHORT = 5  # epochs; after more, a bound below that of the mean has other causes than too little training


def _nothing_learned(case: Case) -> Verdict | None:
    """A finding where a few epochs have brought the bound hardly beyond that of the mean of the data."""
    if len(_history(case, 1)) >= _SHORT:
        return None
    try:
        gain, left = case.gain_over_mean, case.structure_left
    except NotApplicable:
        return None
    more_to_learn = pays(left)
    if gain.t > z_critical() and not (more_to_learn and float(gain) < float(left)):
        return None
    meaning = (
        "The model has hardly learned anything: its bound is about that of a model without latents, which gives every "
        "example the mean of the data. What is measured now is the state in which training began."
    )
    return found("severe" if more_to_learn else "warning", gain, left, meaning=meaning)


@check("kl-rises-early")
def kl_rises_early(case: Case) -> Verdict:
    history = _history_in_nats(case, 5)
    kl, error = _column(history, "train_kl"), _column(history, "train_reconstruction_error")
    rise, fall = float(kl[-1] - kl[0]), float(error[0] - error[-1])
    numbers = (measured("rise of the KL", rise), measured("fall of the reconstruction error", fall))
    if rise > max(1.0, kl[0]) and fall > rise:
        return found("note", *numbers)
    return passed(*numbers)


@check("warm-up-unfinished")
def warm_up_unfinished(case: Case) -> Verdict:
    history = _history(case, 2)
    schedules = {} if case.objective is None else case.objective.schedules()
    if schedules:
        numbers: tuple[Estimate, ...] = ()
        for name, schedule in schedules.items():
            now = measured(f"{name} at the end", schedule.at(len(history)), unit="")
            numbers += (now, measured(f"{name} asked for", schedule.final, unit=""))
        done = all(len(history) >= schedule.epochs for schedule in schedules.values())
    else:
        beta = _column(history, "beta") if history.get("beta") is not None else _weights(case, history, "train")
        if len(beta) < 2:
            raise NotApplicable("needs the beta of two epochs or more")
        span, step = float(beta.max() - beta.min()), float(beta[-1] - beta[-2])
        numbers = (measured("beta at the end", float(beta[-1]), unit=""), measured("its last step", step, unit=""))
        # weights that are read off a loss are those of a warm-up only if they look like one
        read = history.get("beta") is None
        done = abs(step) <= 0.01 * span or (read and not _rises(beta))
    return passed(*numbers) if done else found("severe", *numbers)


def _rises(weights: Column) -> bool:
    """Whether weights are positive and rise from epoch to epoch, to twice the first and more."""
    rounding = 1e-3 * float(weights.max())
    return bool((weights > -rounding).all() and (np.diff(weights) > -rounding).all() and weights[-1] > 2 * weights[0])


@check("validation-beta")
def validation_beta(case: Case) -> Verdict:
    history = _history(case, 2)
    train, validation = _weights(case, history, "train"), _weights(case, history, "validation")
    numbers = (
        measured("beta in the training loss", float(np.median(train)), unit=""),
        measured("beta in the validation loss", float(np.median(validation)), unit=""),
    )
    last = max(2, len(train) // 5)  # during a warm-up the two are taken at different times
    a, b = float(np.median(train[-last:])), float(np.median(validation[-last:]))
    apart = abs(a - b) * float(np.nanmean(_column(history, "train_kl")))
    same = abs(a - b) <= 0.05 * max(abs(a), abs(b)) or apart < 0.25
    return passed(*numbers) if same else found("severe", *numbers)


def _weights(case: Case, history: History, part: str) -> Column:
    """Beta of each epoch, read off the terms of the loss; NotApplicable where the loss is not made of them."""
    if not case.loss_tells_beta:
        raise NotApplicable("needs a loss of the form reconstruction error + beta * KL, which this objective is not")
    names = (f"{part}_objective", f"{part}_reconstruction_error", f"{part}_kl")
    columns: list[Any] = [history.get(name) for name in names]
    if any(column is None for column in columns):
        raise NotApplicable(f"needs {', '.join(names)} in the history")
    loss, error, kl = columns
    finite = np.isfinite(loss) & np.isfinite(error) & np.isfinite(kl)
    loss, error, kl = loss[finite], error[finite], kl[finite]
    large = kl > 1e-3 * np.abs(error)
    if large.sum() < 2:
        raise NotApplicable("the KL is too small to tell its weight from the loss")
    return (loss - error)[large] / kl[large]


@check("gradient-explosion")
def gradient_explosion(case: Case) -> Verdict:
    history = _history(case, 5)
    numbers: list[Estimate] = []
    exploded = False
    norms = history.get("gradient_norm")
    if norms is not None:
        # at the start gradients are large for good reasons
        norms = norms[max(1, len(norms) // 5) :]
        finite = norms[np.isfinite(norms)]
        if not len(finite):
            finite = np.ones(1)
        times = float(finite.max() / max(float(np.median(finite)), 1e-12))
        numbers.append(measured("largest gradient norm / median", times, unit=""))
        numbers.append(measured("epochs with a gradient norm that is not finite", len(norms) - len(finite), unit=""))
        exploded = times > 100 or len(finite) < len(norms)
    values = _column(history, "train_objective", "train_nelbo", "train_reconstruction_error")
    changes = np.diff(values)
    times = float(changes.max() / max(float(np.median(np.abs(changes))), 1e-12))
    numbers.append(measured("largest rise of the loss / median change", times, unit=""))
    exploded = exploded or (times > 100 and changes.max() > np.ptp(np.delete(values, int(changes.argmax()) + 1)))
    return found("severe", *numbers) if exploded else passed(*numbers)


@check("learning-rate")
def learning_rate(case: Case) -> Verdict:
    history = _history_in_nats(case, 20)
    # what else an objective weighs, of a whole batch at once, scatters by more than the examples do
    own = ("train_objective",) if case.loss_tells_beta else ()
    values = _column(history, *own, "train_nelbo", "train_reconstruction_error")
    half = values[len(values) // 2 :]
    rough = roughness(half)
    error = Estimate.mean_of(case.train.nelbo).error
    numbers = (
        measured("scatter of the loss from epoch to epoch", rough),
        measured("standard error of a mean over the examples", error),
    )
    # rounding the loss to float32 is not scatter
    if rough <= max(1.1 * error, 1e-5 * float(np.abs(half).mean())):
        return passed(*numbers)
    return found("severe" if rough > 1.5 * error else "warning", *numbers)
