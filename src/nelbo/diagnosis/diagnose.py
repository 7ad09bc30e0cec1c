"""diagnose(): every check on one case."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo.data import Data, Dataset, as_batch, as_data
from nelbo.data.loading import is_named, judged_by, seen_by
from nelbo.diagnosis import checks
from nelbo.diagnosis.advice import advised
from nelbo.diagnosis.budget import Budget, pace_of
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.history import History
from nelbo.diagnosis.loss_calls import check_function
from nelbo.diagnosis.order import ordered
from nelbo.diagnosis.pages import NEEDS
from nelbo.diagnosis.registry import CHECKS, Check, NotApplicable, Verdict
from nelbo.evaluation import Evaluation, evaluate, evaluation_mode
from nelbo.objectives import Objective, from_dict
from nelbo.randomness import generator
from nelbo.registry import did_you_mean
from nelbo.report import Finding, Findings, Passed
from nelbo.runs import STOPPED, Run
from nelbo.vae import Model, as_model, placed
from nelbo.wrapping.modules import noisy_layers, without_trace

checks.load()


def diagnose(
    model: Model | Run,
    data: Any = None,
    *,
    held_out: Any = None,
    history: Any = None,
    loss: Callable[..., Any] | None = None,
    objective: Objective | None = None,
    reported: Mapping[str, float] | None = None,
    examples: int = 1000,
    seconds: float | None = 60.0,
    seed: int = 0,
    only: Sequence[str] | None = None,
) -> Findings:
    """Look for faults of a VAE: the evidence in numbers, what it means, and what to change.

    Every test has a false-alarm rate of at most 0.001; ``nelbo explain`` lists the findings. The modules of the model
    and the loss are left as they were: modes, buffers, gradients, counters, and the generators that they hold.

    Args:
        model: a VAE, a run, or anyone's model through ``nelbo.wrap``.
        data: what it was trained on: a tensor (n, \\*event), a path, the name of a set, or what nelbo.data.load gave;
            None for a run takes the run's own.
        held_out: examples that it was not trained on, (m, \\*event); None takes the validation part of ``data``. For a
            run, a path, the name of a set or a table is prepared as the run's data were; where what it was trained on
            is not there, the model is judged on these alone.
        history: of the training: a dictionary for each epoch, or a dictionary of lists, in nats per example.
        loss: the function that was differentiated, if it is not nelbo's: see :func:`effective_beta`. Where it cannot
            be measured, the reason is given with the checks that could not be made.
        objective: what it was trained on, such as ``nelbo.objectives.Beta(4.0)``: an intended beta is not a
            fault. None takes that of a run or a recipe.
        reported: numbers that you publish or log for ``held_out`` (for ``data`` without it), means over its examples:
            ``{"nelbo": ...}``, ``{"nll": ..., "samples": ...}`` with the number of importance samples, in nats; they
            are measured again.
        examples: how many of each part are measured, drawn at random.
        seconds: that it should take, by the time of the first decodings. A model that is too slow for that is measured
            on fewer examples and draws, as a note says; others do not depend on it. None takes all.
        seed: of every draw.
        only: ids of the checks to make; None makes all.

    Returns:
        Findings, the most severe first.

    Raises:
        TypeError: model is not a model, data does not hold examples, or loss is not a function.
        ValueError: model and data do not fit, seconds is not positive, or an id in ``only`` is unknown.
    """
    run = model if isinstance(model, Run) else None
    model = as_model(model)
    _refuse_a_point(model)
    if loss is not None:
        check_function(loss)
    note: tuple[str, ...] = ()
    if run is not None:
        data, held_out, note = _for_run(run, data, held_out)
        history = run.history if history is None else history
    if objective is None:
        objective = model.objective if run is None else _objective_of(run)
    wanted = _wanted(only)
    train, held_out = _splits(data, held_out)
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 50:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"examples must be an integer of at least 50, got {examples!r}; write examples=1000")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be a positive number or None, got {seconds!r}; write seconds=60")
    with without_trace(loss, *model.networks, seed=seed):
        measured = [_evaluation(model, part, examples, seed) for part in (train, held_out) if part is not None]
        budget = Budget(seconds, 0.0 if seconds is None else pace_of(measured[0]))
        share = _OF_ALL_CHECKS / len(measured)
        names = ("examples", "held-out examples")
        measured = [
            part[: budget.at_most(len(part), name, share=share, pairs=_PASSES, least=_LEAST)]
            for part, name in zip(measured, names, strict=False)
        ]
        case = Case(
            measured[0],
            measured[1] if held_out is not None else None,
            # the history of a run that was stopped at once is empty
            history=History.of(history) if history is not None and len(history) else None,
            loss=loss,
            objective=objective,
            reported=_reported(reported),
            sets=None if held_out is None else lambda: (_first(train), _first(held_out)),
            failure=None if run is None else _failure(run),
            settings=None if run is None else run.record.get("training"),
            budget=budget,
        )
        notes = note if run is None or not run.unfinished else (*note, run.unfinished)
        noisy = noisy_layers(case.networks)
        if noisy:
            notes += (
                f"the model was in training mode, where its {' and '.join(noisy)} make its numbers depend on chance or "
                "on the batch; it was measured in evaluation mode (model.eval()) and set back",
            )
        with evaluation_mode(model, seed):
            return verdicts(case, wanted, notes)


_OF_ALL_CHECKS = 0.4  # of the time, for what all of them share
_PASSES = 5  # encodings and decodings of each example for that
_LEAST = 16  # examples


def verdicts(case: Case, wanted: list[Check], notes: tuple[str, ...] = ()) -> Findings:
    """What these checks find in a case, the most severe first."""
    findings: list[Finding] = []
    done: list[Passed] = []
    skipped: dict[str, str] = {}
    broken = False
    for check in wanted:
        try:
            if broken and check.id not in _OF_THE_HISTORY_ALONE:
                raise NotApplicable("nothing can be measured on values that are not finite")
            _check_needs(check, case)
            verdict = check.run(case)
        except NotApplicable as reason:
            skipped[check.id] = str(reason)
            continue
        except Exception as error:  # a network of one's own may not take what a check gives it, such as one example
            if not case.foreign or check.id == _FIRST:
                raise
            skipped[check.id] = f"the model fails: {type(error).__name__}: {error}"
            continue
        if verdict.severity is None:
            done.append(Passed(check.id, check.page.title, verdict.evidence))
        else:
            findings.append(_finding(check, verdict, case))
            broken = broken or verdict.last
    return Findings(
        ordered(
            findings,
            {check.id: check.page.explains for check in wanted},
            independent=[check.id for check in wanted if check.page.about == "code"],
        ),
        tuple(done),
        skipped,
        (*notes, *case.budget.notes),
        len(case.train),
    )


_FIRST = "not-finite"  # runs the model on what it was given: where that fails, all does
_OF_THE_HISTORY_ALONE = ("warm-up-unfinished", "validation-beta", "gradient-explosion")


def _finding(check: Check, verdict: Verdict, case: Case) -> Finding:
    page = check.page
    return Finding(
        check.id,
        page.title,
        verdict.severity or "note",
        verdict.evidence,
        verdict.meaning or page.meaning,
        verdict.change or (page.fix_in_your_code if case.foreign else advised(page.change, case)),
        page.source,
        verdict.cost,
    )


def _check_needs(check: Check, case: Case) -> None:
    """NotApplicable where the case does not have what the check needs."""
    for need in check.page.needs:
        if getattr(case, need) in (None, ()):
            raise NotApplicable(f"needs {NEEDS[need]}")


def _wanted(only: Sequence[str] | None) -> list[Check]:
    for wish in only or ():
        if wish not in CHECKS:
            raise ValueError(f"no check {wish!r}{did_you_mean(wish, CHECKS)} There are: {', '.join(CHECKS)}")
    return [check for check in CHECKS.values() if only is None or check.id in only or check.id == _FIRST]


def _refuse_a_point(model: Model) -> None:
    if model.deterministic:
        raise ValueError(
            "this is an autoencoder: its q(z|x) is a point, so it has neither a bound nor a KL to diagnose; look at "
            "its reconstruction error (nelbo measure RUN), or train a nelbo.VAE (nelbo fit DATA --recipe vae)"
        )


def _objective_of(run: Run) -> Objective | None:
    try:
        return from_dict(run.record["objective"])
    except (KeyError, ValueError):
        return None  # of the user's own: what it weighs is not written down


def _failure(run: Run) -> str | None:
    """The error of a run whose training a NaN or an infinity stopped."""
    return str(run.record["error"]) if run.record.get("status") == STOPPED and "error" in run.record else None


def _for_run(run: Run, data: Any, held_out: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """What a run was trained on, what was held out, and a note where the first is not there."""
    if data is not None:
        return judged_by(run.origin, data) if is_named(data) else data, seen_by(run, held_out), ()
    if not is_named(held_out):
        return run.data, held_out, ()
    given = run.beside(held_out)
    if isinstance(given, Data):
        return given, None, ()
    alone = "what the run was trained on cannot be loaded: the given data stand for it, and nothing is held out"
    return given, None, (alone,)


def _splits(data: Any, held_out: Any) -> tuple[Any, Any]:
    """The examples that the model was trained on, and those that were held out."""
    if data is None:
        raise TypeError("diagnose needs data; write nelbo.diagnose(model, x), with x of shape (n, *event)")
    if isinstance(data, str | Path | Data):
        loaded = as_data(data)
        return loaded.train, loaded.validation or loaded.test if held_out is None else held_out
    return data, held_out


def _evaluation(model: Model, data: Any, examples: int, seed: int) -> Evaluation:
    """The evaluation of the model on at most ``examples`` examples, in an order drawn by the seed."""
    if isinstance(data, Dataset):
        return evaluate(model, data, seed=seed, n=examples)
    batch = as_batch(data)
    rows = torch.randperm(len(batch), generator=generator(seed))[:examples]
    # a NaN in one row of a million is found too: such a row comes first into the sample
    sound = torch.isfinite(batch.x) | batch.x.isnan() if model.takes_missing else torch.isfinite(batch.x)
    broken = (~sound.flatten(1).all(1)).nonzero()[:1, 0].cpu()
    return Evaluation(model, placed(model, batch[torch.cat([broken, rows])[: len(rows)]]), seed=seed)


_MANY = 20_000  # examples of each set that are compared one by one


def _first(data: Any) -> Tensor:
    return data.take(min(len(data), _MANY)) if isinstance(data, Dataset) else as_batch(data).x[:_MANY]


def _reported(reported: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """The reported numbers, or a ValueError that says which there are."""
    known = ("nelbo", "nll", "samples")
    for name in reported or ():
        if name not in known:
            raise ValueError(
                f"reported has no {name!r}; write reported={{'nelbo': ...}} or {{'nll': ..., 'samples': 50}}"
            )
    if reported is not None and ("nll" in reported) != ("samples" in reported):
        raise ValueError("reported gives an 'nll' together with the 'samples' it was estimated by, in one mapping")
    return reported
