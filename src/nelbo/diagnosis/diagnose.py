"""diagnose(): every check on one case."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.data import Data, Dataset, as_data
from nelbo.diagnosis import checks, unfinished
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.history import History
from nelbo.diagnosis.order import ordered
from nelbo.diagnosis.pages import NEEDS
from nelbo.diagnosis.registry import CHECKS, Check, NotApplicable, Verdict
from nelbo.foreign import Wrapped
from nelbo.objectives import Objective, from_dict
from nelbo.randomness import derive, own_randomness
from nelbo.report import Finding, Findings, Passed
from nelbo.runs import Run
from nelbo.vae import Model

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
    seed: int = 0,
    only: Sequence[str] | None = None,
) -> Findings:
    """Look for faults of a VAE: the evidence in numbers, what it means, and what to change.

    Every test has a false-alarm rate of at most 0.001; ``nelbo explain`` lists the findings.

    Args:
        model: a VAE, a run, or anyone's model through ``nelbo.wrap``.
        data: what it was trained on: a tensor (n, \\*event), a path, the name of a set, or what nelbo.data.load gave;
            None for a run takes the run's own.
        held_out: examples that it was not trained on, (m, \\*event); None takes the validation part of ``data``.
        history: of the training: a dictionary for each epoch, or a dictionary of lists, in nats per example.
        loss: the function that was differentiated, if it is not nelbo's: see :func:`effective_beta`.
        objective: what it was trained on, such as ``nelbo.objectives.Beta(4.0)``: a beta on purpose is no fault.
        reported: numbers that you publish or log for ``held_out`` (for ``data`` without it), means over its examples:
            ``{"nelbo": ...}``, ``{"nll": ..., "samples": ...}`` by so many importance samples, in nats; they are
            measured again.
        examples: how many of each part are measured, drawn at random.
        seed: of every draw.
        only: ids of the checks to make; None makes all.

    Returns:
        Findings, the most severe first.

    Raises:
        TypeError: the model is none, or the data are no examples.
        ValueError: model and data do not fit, or an id in ``only`` is unknown.
    """
    failure, standing = None, ()
    if isinstance(model, Run):
        failure, standing = unfinished.failure(model), unfinished.standing(model)
        data = model.data if data is None else data
        history = model.history if history is None else history
        objective = _objective_of(model) if objective is None else objective
        model = model.model
    _check_model(model)
    wanted = _wanted(only)
    train, held, whole = _examples(data, held_out, examples, seed)
    networks = _networks(model)
    place = next((p.device for network in networks for p in network.parameters()), torch.device("cpu"))
    kind = next((p.dtype for network in networks for p in network.parameters()), torch.float32)
    case = Case(
        model,
        train.to(place, kind),
        held_out=None if held is None else held.to(place, kind),
        # an empty history, as of a run that was stopped at once, is none
        history=History.of(history) if history is not None and len(history) else None,
        loss=loss,
        objective=objective,
        data=whole,
        networks=networks,
        reported=_reported(reported),
        sets=_sets(data if whole is None else whole.train, held_out, whole),
        failure=failure,
        seed=seed,
    )
    with own_randomness(place), _evaluating(networks) as notes:
        return _run(case, wanted, [*standing, *notes])


def _run(case: Case, wanted: list[Check], notes: list[str]) -> Findings:
    findings: list[Finding] = []
    done: list[Passed] = []
    skipped: dict[str, str] = {}
    broken = False
    for check in wanted:
        missing = _missing(check, case)
        if broken and check.id not in _OF_THE_HISTORY_ALONE:
            skipped[check.id] = "nothing can be measured on values that are not finite"
            continue
        if missing:
            skipped[check.id] = missing
            continue
        try:
            verdict = check.run(case)
        except NotApplicable as reason:
            skipped[check.id] = str(reason)
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
        tuple(notes),
        len(case.x),
    )


_OF_THE_HISTORY_ALONE = ("warm-up-unfinished", "validation-beta", "gradient-explosion")


def _finding(check: Check, verdict: Verdict, case: Case) -> Finding:
    page = check.page
    return Finding(
        check.id,
        page.title,
        verdict.severity or "note",
        verdict.evidence,
        verdict.meaning or page.meaning,
        verdict.change or (page.fix_in_your_code if case.foreign else page.change),
        page.source,
        verdict.cost,
    )


def _missing(check: Check, case: Case) -> str:
    """The first need of a check that the case cannot meet, in words; "" if it can be made."""
    return next((f"needs {NEEDS[need]}" for need in check.page.needs if getattr(case, need) in (None, ())), "")


def _wanted(only: Sequence[str] | None) -> list[Check]:
    for wish in only or ():
        if wish not in CHECKS:
            raise ValueError(f"no check {wish!r}; there are: {', '.join(CHECKS)}")
    return [check for check in CHECKS.values() if only is None or check.id in only or check.id == "not-finite"]


def _check_model(model: Any) -> None:
    missing = [name for name in ("posterior", "likelihood", "prior") if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"diagnose takes a nelbo.VAE, a run or a wrapped model, got a {type(model).__name__} without "
            f"{', '.join(missing)}; write nelbo.diagnose(nelbo.wrap(encode=..., decode=..., likelihood=...), data)"
        )
    if isinstance(model, Model) and model.deterministic:
        raise ValueError(
            "this is an autoencoder: its q(z|x) is a point, it has no KL and no bound on log p(x), so there is "
            "nothing a diagnosis of a VAE could measure; look at its reconstruction error (nelbo measure RUN), or "
            "train a nelbo.VAE (nelbo fit DATA --recipe vae)"
        )


def _objective_of(run: Run) -> Objective | None:
    try:
        return from_dict(run.record["objective"])
    except (KeyError, ValueError):
        return None  # of the user's own: what it weighs is not written down


def _examples(data: Any, held_out: Any, examples: int, seed: int) -> tuple[Tensor, Tensor | None, Data | None]:
    """(training examples, held-out examples, the whole data), subsampled."""
    if data is None:
        raise TypeError("diagnose needs data: nelbo.diagnose(model, x), with x of shape (n, *event)")
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 50:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"examples is {examples!r}; fewer than 50 examples tell little, write examples=1000")
    whole = data if isinstance(data, Data) else None
    if isinstance(data, str):
        whole = as_data(data)
    if whole is not None:
        data = whole.train
        held_out = held_out if held_out is not None else whole.validation or whole.test
    return _some(data, examples, seed, "data"), _held(held_out, examples, seed), whole


def _held(held_out: Any, examples: int, seed: int) -> Tensor | None:
    return None if held_out is None else _some(held_out, examples, seed + 1, "held_out")


def _some(data: Any, examples: int, seed: int, name: str) -> Tensor:
    """At most so many examples, drawn at random."""
    if isinstance(data, tuple | list) and data and isinstance(data[0], Tensor):
        data = data[0]  # (x, labels)
    n = len(data) if hasattr(data, "__len__") else 0
    if n < 2:
        raise ValueError(f"{name} is {type(data).__name__} of {n} examples; expected x of shape (n, *event)")
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(derive(seed, "order")))[:examples]
    if isinstance(data, Dataset):
        return data.take(rows)
    x = data if isinstance(data, Tensor) else torch.as_tensor(data)
    if x.dim() < 2:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected (n, *event): for n numbers write x[:, None]")
    broken = (~torch.isfinite(x.flatten(1)).all(1)).nonzero().flatten().cpu() if x.is_floating_point() else rows[:0]
    # a NaN in one row of a million is found too: such rows come first into the sample
    return x[torch.cat([broken[:1], rows])[: len(rows)].to(x.device)].detach()


_MANY = 20_000  # examples of each set that are compared one by one


def _sets(data: Any, held_out: Any, whole: Data | None) -> Callable[[], tuple[Tensor, Tensor]] | None:
    """Gives many examples of both sets, or None where nothing is held out."""
    if held_out is None and whole is not None:
        held_out = whole.validation or whole.test
    return None if held_out is None else lambda: (_first(data), _first(held_out))


def _first(data: Any) -> Tensor:
    if isinstance(data, tuple | list) and data and isinstance(data[0], Tensor):
        data = data[0]
    return data.take(min(len(data), _MANY)) if isinstance(data, Dataset) else torch.as_tensor(data[:_MANY])


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


def _networks(model: Any) -> tuple[nn.Module, ...]:
    """The model itself, or the modules that a wrapped model is made of, in which layers have their users' names."""
    if isinstance(model, Wrapped):
        several = len(model.networks) > 1
        named = {f"{type(m).__name__}{i or ''}": m for i, m in enumerate(model.networks)}
        return (nn.ModuleDict(named),) if several else model.networks
    if isinstance(model, nn.Module):
        return (model,)
    return tuple(getattr(model, "networks", ()))


@contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Generator[list[str]]:
    """Within, the networks are in evaluation mode; yields what there is to say about it."""
    modules = list(dict.fromkeys(module for network in networks for module in network.modules()))
    modes = [module.training for module in modules]
    random = {type(m).__name__ for m in modules if m.training and _depends_on_mode(m)}
    notes = (
        [
            f"the model was in training mode, where its {' and '.join(sorted(random))} make its numbers depend on "
            "chance or on the batch; it was measured in evaluation mode (model.eval()) and set back"
        ]
        if random
        else []
    )
    for module in modules:
        module.training = False
    try:
        yield notes
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _depends_on_mode(module: nn.Module) -> bool:
    name = type(module).__name__
    return "Dropout" in name or "BatchNorm" in name
