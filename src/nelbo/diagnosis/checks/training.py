"""What the history of a training says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.finding import Measured
from nelbo.diagnosis.history import History
from nelbo.diagnosis.registry import ALPHA, NotMeasurable, Verdict, check, found, passed
from nelbo.diagnosis.statistics import mean_of, roughness, slope_of
from nelbo.objectives import Schedule

Column = NDArray[np.float64]


def _history(case: Case, least: int) -> History:
    if case.history is None or len(case.history) < least:
        raise NotMeasurable(f"needs a history of {least} epochs or more")
    return case.history


def _history_in_nats(case: Case, least: int) -> History:
    """The history, for checks that hold it against what is measured now."""
    history = _history(case, least)
    errors, features = history.get("train_reconstruction_error"), case.x[0].numel()
    errors = None if errors is None else errors[np.isfinite(errors)]
    if errors is None or not len(errors) or features < 10:
        return history
    last, measured = float(errors[-1]), float(case.train.reconstruction_error.mean())
    if abs(measured) > features / 3 * abs(last):
        raise NotMeasurable(
            f"the history's reconstruction error ends at {last:.3g} where {measured:.4g} nats are measured: it is no "
            f"sum over the {features} features"
        )
    return history


def _column(history: History, *names: str) -> Column:
    """The first of these columns that is there, without the epochs that lack it."""
    for name in names:
        column = history.get(name)
        if column is not None:
            return column[np.isfinite(column)]
    raise NotMeasurable(f"needs {' or '.join(names)} in the history")


def _standard_error(case: Case, history: History) -> float:
    """Of one epoch's bound, in nats: as the history has it, or from the examples measured now."""
    column = history.get("validation_nelbo_standard_error")
    if column is not None:
        return float(column[np.isfinite(column)][-1])
    return mean_of((case.held_out or case.train).nelbo).standard_error


@check(
    "not-converged",
    title="Not converged: the bound still rises",
    needs=("history",),
    false_alarms=ALPHA,
    meaning="In the last epochs the bound still rose steadily. What is measured now is an early stop, and a comparison "
    "with another model would compare patience.",
    change="nelbo.resume(run.path, epochs=2 * len(run.history))  # or: nelbo fit --resume RUN --epochs N",
    elsewhere="Train for more epochs, or with a higher learning rate if it falls evenly from the start.",
    source="Burda et al. 2016 train for 3,280 epochs; a port that trains for some 670 is 3.5 nats behind "
    "(abdulfatir/IWAE-tensorflow: 90.3 against 86.8).",
    explains=(
        "over-regularized",
        "under-regularized",
        "unused-units",
        "aggregate-posterior",
        "sigma-too-large",
        "sigma-too-small",
        "kl-without-information",
        "posterior-collapse",
    ),
)
def not_converged(case: Case) -> Verdict:
    """A line is fitted through the NELBO of the last fifth of the epochs (five at least), of the validation data or
    else of the training data. The standard error of the bound is more than the noise of one epoch, for each epoch meets
    the same examples. Found where the line falls beyond that noise and as many epochs more at this pace would gain more
    than the standard error; severe where every epoch gains more than that.
    """
    history = _history_in_nats(case, 5)
    values = _column(history, "validation_nelbo", "train_nelbo", "train_objective")
    recent = values[-max(5, len(values) // 5) :]
    error = _standard_error(case, history)
    slope = slope_of(recent, error)
    numbers = (
        Measured("change of the NELBO per epoch at the end", slope.value, slope.standard_error),
        Measured("standard error of the NELBO", error),
    )
    ahead = -slope.value * len(recent)
    if slope.p_value >= ALPHA or ahead < error:
        return passed(*numbers)
    cost = Measured(f"in {len(recent)} more epochs at this pace", ahead, slope.standard_error * len(recent))
    return found("severe" if -slope.value > error else "warning", *numbers, cost=cost)


@check(
    "kl-rises-early",
    title="The KL rises while the loss falls",
    needs=("history",),
    false_alarms=0.0,
    meaning="The KL grew in the first epochs while the reconstruction error fell by more. That is normal: the encoder "
    "learns to say something, and every nat it says is paid as KL.",
    change="nothing",
    elsewhere="nothing to change.",
    source="Bowman et al. 2016, figure 2; asked in AntixK/PyTorch-VAE issue 56 and keras-team/keras issue 12513.",
)
def kl_rises_early(case: Case) -> Verdict:
    """The KL and the reconstruction error of the first epochs beside the last ones. Reported, as a note, where the KL
    at least doubled and the reconstruction error fell by more than the KL rose.
    """
    history = _history_in_nats(case, 5)
    kl, error = _column(history, "train_kl"), _column(history, "train_reconstruction_error")
    rise, fall = float(kl[-1] - kl[0]), float(error[0] - error[-1])
    numbers = (Measured("rise of the KL", rise), Measured("fall of the reconstruction error", fall))
    if rise > max(1.0, kl[0]) and fall > rise:
        return found("note", *numbers)
    return passed(*numbers)


@check(
    "warm-up-unfinished",
    title="The warm-up of the KL outlasts the training",
    needs=("history",),
    false_alarms=0.0,
    meaning="The weight of the KL was still on its way when the training ended. The model was trained for another "
    "objective than the one that was asked for, with a smaller beta.",
    change="nelbo.resume(run.path, epochs=...)  # past the end of the schedule",
    elsewhere="Shorten the warm-up to a fraction of the epochs, or train on until it is over; let early stopping wait "
    "for it.",
    source="scverse/scvi-tools issues 1569 (warm-up longer than training) and PR 3262.",
    explains=("under-regularized", "not-converged", "aggregate-posterior", "holes", "overfit", "validation-beta",
              "kl-rises-early"),
)  # fmt: skip
def warm_up_unfinished(case: Case) -> Verdict:
    """The weight of the KL in the history's last epoch: of nelbo's own objectives by their schedule, else from a column
    beta (or kl_weight), which must have stopped to change: in its last step it moved by less than 1 % of its range.
    """
    history = _history(case, 2)
    schedule = getattr(case.objective, "beta", None)
    if isinstance(schedule, Schedule):
        now = schedule.at(len(history))
        numbers = (Measured("beta at the end", now, unit=""), Measured("beta asked for", schedule.final, unit=""))
        done = len(history) >= schedule.epochs
    else:
        beta = _column(history, "beta")
        span = float(beta.max() - beta.min())
        numbers = (
            Measured("beta at the end", float(beta[-1]), unit=""),
            Measured("its last step", float(beta[-1] - beta[-2]), unit=""),
        )
        done = abs(float(beta[-1] - beta[-2])) <= 0.01 * span
    return passed(*numbers) if done else found("severe", *numbers)


@check(
    "validation-beta",
    title="Training and validation weigh the KL differently",
    needs=("history",),
    false_alarms=0.0,
    meaning="The loss that is trained and the loss that is validated are two objectives. Curves of the two do not "
    "compare, and early stopping picks the best model for something that was not trained.",
    change="nelbo.fit(vae, data, objective=...)  # nelbo validates with the same objective, beside the NELBO",
    elsewhere="Use one function for both, with one weight of the KL; beside it, report the NELBO (weight 1) for both.",
    source="AntixK/PyTorch-VAE, experiment.py: training with kld_weight = M/N, validation with 1.0; scverse/scvi-tools "
    "PR 3262.",
)
def validation_beta(case: Case) -> Verdict:
    """(loss - reconstruction error) / KL, epoch by epoch, of the training and of the validation columns; the medians
    over the epochs shall agree within 5 %, or within a quarter of a nat of loss.
    """
    history = _history(case, 2)
    train, validation = _weights(history, "train"), _weights(history, "validation")
    numbers = (
        Measured("beta in the training loss", float(np.median(train)), unit=""),
        Measured("beta in the validation loss", float(np.median(validation)), unit=""),
    )
    last = max(2, len(train) // 5)  # during a warm-up the two are taken at different times
    a, b = float(np.median(train[-last:])), float(np.median(validation[-last:]))
    apart = abs(a - b) * float(np.nanmean(_column(history, "train_kl")))
    same = abs(a - b) <= 0.05 * max(abs(a), abs(b)) or apart < 0.25
    return passed(*numbers) if same else found("severe", *numbers)


def _weights(history: History, part: str) -> Column:
    names = (f"{part}_objective", f"{part}_reconstruction_error", f"{part}_kl")
    columns: list[Any] = [history.get(name) for name in names]
    if any(column is None for column in columns):
        raise NotMeasurable(f"needs {', '.join(names)} in the history")
    loss, error, kl = columns
    finite = np.isfinite(loss) & np.isfinite(error) & np.isfinite(kl)
    loss, error, kl = loss[finite], error[finite], kl[finite]
    large = kl > 1e-3 * np.abs(error)
    if large.sum() < 2:
        raise NotMeasurable("the KL is too small to tell its weight from the loss")
    return (loss - error)[large] / kl[large]


@check(
    "gradient-explosion",
    title="The training exploded",
    needs=("history",),
    false_alarms=0.0,
    meaning="In one epoch the gradient or the loss grew by orders of magnitude. The training recovered, or seems to, "
    "but weights and optimizer carry the blow.",
    change="nelbo.fit(vae, data, clip=1.0)  # the largest norm of a gradient",
    elsewhere="Clip the gradient's norm (torch.nn.utils.clip_grad_norm_), bound the log-variance, and lower the "
    "learning rate.",
    source="Pascanu, Mikolov & Bengio 2013 (clipping); AntixK/PyTorch-VAE issue 16 (KL to 1e35); Child 2021 skips such "
    "steps.",
    explains=("*",),
)
def gradient_explosion(case: Case) -> Verdict:
    """The largest gradient norm of an epoch beside the median (more than 100 times), after the first fifth of the
    epochs, where the history has gradient_norm; and the largest rise of the training loss from one epoch to the next
    beside the median change (more than 100 times, and more than the range of the loss in all other epochs).
    """
    history = _history(case, 5)
    numbers: list[Measured] = []
    exploded = False
    norms = history.get("gradient_norm")
    if norms is not None:
        # at the start gradients are large for good reasons
        norms = norms[max(1, len(norms) // 5) :]
        finite = norms[np.isfinite(norms)]
        if not len(finite):
            finite = np.ones(1)
        times = float(finite.max() / max(float(np.median(finite)), 1e-12))
        numbers.append(Measured("largest gradient norm / median", times, unit=""))
        numbers.append(Measured("epochs with a gradient norm that is not finite", len(norms) - len(finite), unit=""))
        exploded = times > 100 or len(finite) < len(norms)
    values = _column(history, "train_objective", "train_nelbo", "train_reconstruction_error")
    changes = np.diff(values)
    times = float(changes.max() / max(float(np.median(np.abs(changes))), 1e-12))
    numbers.append(Measured("largest rise of the loss / median change", times, unit=""))
    exploded = exploded or (times > 100 and changes.max() > np.ptp(np.delete(values, int(changes.argmax()) + 1)))
    return found("severe", *numbers) if exploded else passed(*numbers)


@check(
    "learning-rate",
    title="Learning rate too high: the loss jumps from epoch to epoch",
    needs=("history",),
    false_alarms=ALPHA,
    meaning="The training loss goes up and down by more than the examples' own scatter allows: each step overshoots. A "
    "lower learning rate would settle in a better place.",
    change="nelbo.fit(vae, data, learning_rate=1e-4, schedule='cosine')  # a tenth of what it was",
    elsewhere="Divide the learning rate by ten, or let it fall during the training (cosine); keep Adam's other "
    "settings.",
    source="Kingma & Ba 2015; Burda et al. 2016, section 5 (1e-3 falling to 1e-4); AntixK/PyTorch-VAE issue 16.",
    explains=("*",),
)
def learning_rate(case: Case) -> Verdict:
    """The roughness of the training loss over the second half of the epochs: rms of its second differences / sqrt(6),
    the standard deviation of noise about a smooth course. A settled training meets the same examples each epoch, and
    its noise is less than half the standard error of a mean over the measured examples, of which ten epochs show more
    than 1.1 with a probability below 0.001; found above that, severe above one and a half.
    """
    history = _history_in_nats(case, 20)
    values = _column(history, "train_objective", "train_nelbo", "train_reconstruction_error")
    half = values[len(values) // 2 :]
    rough = roughness(half)
    error = mean_of(case.train.nelbo).standard_error
    numbers = (
        Measured("scatter of the loss from epoch to epoch", rough),
        Measured("standard error of a mean over the examples", error),
    )
    # rounding of the loss to float32 is no scatter
    if rough <= max(1.1 * error, 1e-5 * float(np.abs(half).mean())):
        return passed(*numbers)
    return found("severe" if rough > 1.5 * error else "warning", *numbers)
