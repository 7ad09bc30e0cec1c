"""Runs side by side on the same examples, each difference with the standard error of paired examples."""

import math
import shlex
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo import figures
from nelbo.data import Data, as_data
from nelbo.data.loading import is_named
from nelbo.estimate import Estimate
from nelbo.launcher import versions
from nelbo.measure.context import Effort, ReportContext, Split, command, report_context
from nelbo.measure.latent_usage import latent_usage
from nelbo.measure.loss_terms import from_embeddings, rate_distortion
from nelbo.measure.quantities import words
from nelbo.report import PAGE, Picture, Report, Row, Section
from nelbo.runs import Run
from nelbo.wording import listed

_POINTS = 2000


def compare(
    runs: Sequence[Run],
    data: Any = None,
    *,
    index: int | None = None,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    title: str = "Runs side by side",
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Compare runs on the same held-out examples, and show one example under each.

    The difference of two runs is taken example by example, and its standard error is that of those differences: what
    makes an example hard is hard for both and cancels.

    Args:
        runs: two or more.
        data: the data to compare them on; None takes the runs' own, which must be the same. A path, the name of a set
            or a table is prepared for each run as its own data were. Where runs see other units, as after
            standardization by other training sets, nats are given in the units of the first.
        index: position in the held-out part of the example to show; None shows the one on which the runs differ most.
        split: the part that is held out, as in :func:`report`.
        effort: number of examples and samples, as in :func:`report`.
        examples: the largest number of examples; None takes that of the effort.
        samples: draws of z for log p(x) by importance sampling; None takes that of the effort.
        seed: seed of every draw, the same for all runs.
        names: names of the runs; None takes their folders'.
        title: title of the page.
        progress: called with the name of each run before it is measured.

    Returns:
        Report whose rows have a value for each run and the paired differences to the first;
        ``settings["index"]`` is the example that is shown.

    Raises:
        ValueError: fewer than two runs, or runs on different data; the message says what to write.
    """
    if len(runs) < 2:
        raise ValueError(
            f"compare needs two or more runs, got {len(runs)}; to measure one write nelbo measure RUN (in Python "
            "nelbo.measure.report(run))"
        )
    names = tuple(names or _names(runs))
    if len(names) != len(runs):
        raise ValueError(f"names must have one name for each of the {len(runs)} runs, got {len(names)}")
    of_each = _data_of_each(runs, data, split)
    units = _units(names, runs, of_each)
    others = is_named(data) and any(each.validation is None for each in of_each)  # given data are a test set, or alone
    split = "auto" if others else split
    contexts: list[ReportContext] = []
    for run, each in zip(runs, of_each, strict=True):
        contexts.append(
            report_context(run, each, split=split, effort=effort, examples=examples, samples=samples, seed=seed)
        )
    for name, context in zip(names, contexts, strict=True):
        if progress is not None:
            progress(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the notes say the same
            _ = context.terms, context.evidence if context.has_evidence else None
    first = contexts[0]
    where = _position(contexts, units, index)
    rows = tuple(_rows(names, contexts, units))
    section = Section(
        "comparison",
        "How do they differ?",
        f"Under each value is its difference from {names[0]}, with the standard error of paired examples.",
        "\n".join(_sentences(names, rows)),
        rows,
        tuple(_pictures(names, contexts, units, where)),
        (
            *(f"{name}: {note}" for name, context in zip(names, contexts, strict=True) for note in _notes(context)),
            *(
                f"{name} sees other units: {shift:.6g} nats are taken off its log p(x), for those of {names[0]}"
                for name, shift in zip(names, units, strict=True)
                if shift
            ),
        ),
        scope=first.scope(),
    )
    settings = first.settings | {"index": where, "data": None if data is None else first.settings["data"]}
    if isinstance(data, str | Path):
        settings |= {"data": str(data), **({"split": "test"} if others else {})}
    settings["runs"] = [None if run.path is None else str(run.path) for run in runs]
    del settings["run"]
    return Report(
        title,
        tuple(fact for fact in first.facts if fact[0] in ("data", "preparation", "draws", "measured on")),
        settings,
        (section,),
        versions=versions(),
        command=command("compare", settings["runs"], settings),
        links=tuple((name, run.path / PAGE) for name, run in zip(names, runs, strict=True) if run.path is not None),
    )


def _notes(context: ReportContext) -> tuple[str, ...]:
    return context.evidence[0].notes if context.has_evidence else ()


def _shared_data(runs: Sequence[Run], split: Split) -> list[Data]:
    """The data of each run, or a ValueError where they are not the same."""
    names, origins = _names(runs), [run.data.origin for run in runs]
    for name, origin in zip(names[1:], origins[1:], strict=True):
        if origin["sha256"] != origins[0]["sha256"]:
            raise ValueError(
                f"{names[0]} and {name} were trained on different data; name the data to compare them on: "
                f"{_on_other_data(runs)}"
            )
        cut = ("validation", "seed", "limit")
        ours, first = ({name: o["options"].get(name) for name in cut} for o in (origin, origins[0]))
        if split != "test" and ours != first and runs[0].data.test is None:
            raise ValueError(
                f"{names[0]} and {name} hold out different examples ({first} / {ours}): what one is judged on, "
                "the other was trained on. Name other data: "
                f"{_on_other_data(runs)}"
            )
    return [run.data for run in runs]


def _data_of_each(runs: Sequence[Run], data: Any, split: Split) -> list[Data]:
    """What each run is judged on: the same examples, prepared for it as its own data were."""
    if data is None:
        return _shared_data(runs, split)
    if not is_named(data):
        return [as_data(data)] * len(runs)
    given = [run.beside(data) for run in runs]
    own = [isinstance(each, Data) and each is run.data for each, run in zip(given, runs, strict=True)]
    if all(own):
        return _shared_data(runs, split)
    if any(own):  # of which the others are judged on all
        names = ", ".join(name for name, mine in zip(_names(runs), own, strict=True) if mine)
        warnings.warn(f"{names} was trained on the given data, none of which are held out from it", stacklevel=3)
    return [
        Data(run.data.train, None, run.examples(data), run.data.origin) if mine else as_data(each)
        for each, run, mine in zip(given, runs, own, strict=True)
    ]


def _units(names: Sequence[str], runs: Sequence[Run], data: Sequence[Data]) -> list[float]:
    """Nats to take off the log p(x) of each run, so that it is in the units of the first run's x.

    log p(raw) = log p(x) + log |dx / d raw|, which each preparation knows.

    Raises:
        ValueError: the runs see other columns, or one sees a density where the other sees none.
    """
    first, shifts = data[0], [0.0]
    known = [set((run.record.get("data") or {}).get("features") or ()) for run in runs]
    for name, each, ours in zip(names[1:], data[1:], known[1:], strict=True):
        columns = known[0]
        if columns and ours and columns != ours:
            raise ValueError(
                f"{names[0]} and {name} see other columns ({listed(sorted(columns ^ ours))} are in one alone): their "
                "nats are not comparable. Train both on the same columns"
            )
        a, b = first.preparation, each.preparation
        if a == b:
            shifts.append(0.0)
        elif a.binarize or b.binarize or a.dequantize != b.dequantize:
            raise ValueError(
                f"{names[0]} and {name} see the same data differently prepared ({a.sentence} / {b.sentence}): their "
                "nats are not comparable. Train both with the same preparation"
            )
        else:
            shifts.append(a.log_jacobian(first.event_shape) - b.log_jacobian(each.event_shape))
    return shifts


def _on_other_data(runs: Sequence[Run]) -> str:
    """The line to write: of the shell where the runs can be named there."""
    python = "nelbo.measure.compare(runs, data)"
    paths = [str(run.path) for run in runs if run.path is not None]
    if len(paths) < len(runs):
        return python
    return f"{shlex.join(['nelbo', 'compare', *paths])} --data DATA (in Python {python})"


def _names(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    longer = ["/".join(run.path.parts[-2:]) if run.path else run.name for run in runs]
    unique = len(set(longer)) == len(longer)
    return longer if unique else [f"{name} ({i})" for i, name in enumerate(names, 1)]


def _position(contexts: Sequence[ReportContext], units: Sequence[float], index: int | None) -> int:
    held_out = contexts[0].held_out
    if index is not None:
        n = len(contexts[0].sets[0])
        if not 0 <= index < n:
            raise ValueError(f"index must be between 0 and {n - 1}, a held-out example, got {index}")
        return index
    costs = torch.stack(
        [context.terms[0].reconstruction_error.value + shift for context, shift in zip(contexts, units, strict=True)]
    )
    rows = held_out.batch.rows
    assert rows is not None
    return int(rows[int((costs.max(0).values - costs.min(0).values).argmax())])


def _rows(names: Sequence[str], contexts: Sequence[ReportContext], units: Sequence[float]) -> list[Row]:
    terms = [context.terms[0] for context in contexts]
    # log p(x) of every run, or of none: a mean over other examples would not compare
    known = all(context.has_evidence for context in contexts)
    # and on the same examples: a grid allows for more of them than sampling does
    few = min(context.evidence_examples for context in contexts)
    found = [context.evidence[0].part(slice(few)) for context in contexts] if known else []
    evidence, flagged = [part.value for part in found], any(bool(part.flagged.any()) for part in found)
    hidden = [
        value - context.elbo_of_evidence(0).value[:few] for value, context in zip(evidence, contexts, strict=False)
    ]
    rebuilt = [from_embeddings(context.model, context.held_out, context.training.batch) for context in contexts]
    usage = [latent_usage(context.model, context.sets[0], seed=context.seed) for context in contexts]

    def in_units(values: Sequence[Tensor], sign: int) -> list[Tensor]:
        return [value + sign * shift for value, shift in zip(values, units, strict=True)]

    def of_each(id: str, estimates: Iterable[Estimate | None]) -> Row:
        each = dict(zip(names, estimates, strict=True))
        values = {name: estimate for name, estimate in each.items() if estimate is not None}
        missing = {name: "not defined: q(z|x) is a point" for name in each if name not in values}
        return Row(id, words()[id][0].split(", of")[0], "", values, missing=missing)

    def paired(id: str, values: Sequence[Tensor]) -> Row:
        differences = {
            name: Estimate.mean_of(value - values[0], "paired")
            for name, value in zip(names[1:], values[1:], strict=True)
            if bool(value.isfinite().all()) and bool(values[0].isfinite().all())
        }
        return replace(of_each(id, map(Estimate.mean_of, values)), differences=differences)

    return [
        paired("reconstruction_error", in_units([t.reconstruction_error.value for t in terms], 1)),
        paired("kl", [t.kl.value for t in terms]),
        paired("nelbo", in_units([-t.elbo.value for t in terms], 1)),
        *([paired("log_evidence", in_units(evidence, -1))] if known else []),
        *([of_each("flagged", [part.share_flagged for part in found])] if flagged else []),
        *([paired("gap", hidden)] if known else []),
        paired("embedding_error", in_units([r.error.value for r in rebuilt], 1)),
        of_each("explained_variance", [r.explained for r in rebuilt]),
        of_each("active_units", [Estimate.number(u.active_units(), unit="units") for u in usage]),
        of_each("mutual_information", [u.mutual_information for u in usage]),
    ]


_LOWER_IS_BETTER = {"nelbo": True, "log_evidence": False, "reconstruction_error": True}


def _sentences(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    sentences: list[str] = []
    for row in rows:
        if row.id not in _LOWER_IS_BETTER:
            continue
        label = row.label.lstrip("=+ ").replace("reconstruction", "Reconstruction")
        for name, difference in row.differences.items():
            value = float(difference)
            if abs(value) <= 2 * difference.error:
                sentences.append(f"{label}: {name} and {names[0]} differ by less than two standard errors.")
                continue
            size, more = difference.scaled(-1 if value < 0 else 1).text, "higher" if value > 0 else "lower"
            better = "better" if (value < 0) == _LOWER_IS_BETTER[row.id] else "worse"
            sentences.append(f"{label}: {name} is {size} nats {more} than {names[0]}, which is {better}.")
    return sentences


def _pictures(
    names: Sequence[str], contexts: Sequence[ReportContext], units: Sequence[float], index: int
) -> list[Picture]:
    def one() -> Any:
        rows: list[figures.Row] = []
        for name, context in zip(names, contexts, strict=True):
            z, labels = context.held_out.embedding[:_POINTS].cpu(), context.held_out.batch.labels
            labels = None if labels is None else labels[: len(z)].cpu()
            x = context.sets[0].take([index], seed=context.seed)
            rows.append(figures.row(context.model, x, z, labels, title=name, seed=context.seed))
        return figures.comparison(rows)

    pictures = [
        Picture(
            f"Held-out example {index} under each run: the input, its q(z|x) among the other embeddings, its "
            "reconstruction, and the two terms of its loss.",
            one,
        )
    ]
    places = [
        rate_distortion(context.model, context.held_out).point(name, on_curve=False, shift=shift)
        for name, context, shift in zip(names, contexts, units, strict=True)
    ]
    if sum(math.isfinite(place.rate) for place in places) > 1:
        pictures.append(
            Picture(
                "Rate (KL) against distortion (reconstruction error). The total loss is constant on each dashed line.",
                lambda: figures.rate_distortion(places),
            )
        )
    return pictures
