"""Measure a model section by section."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from nelbo.measure.context import Effort, ReportContext, Split, report_context
from nelbo.measure.sections import OF_CODES, SECTIONS
from nelbo.report import Report, Section
from nelbo.training import Interrupted


def report(
    model: Any,
    data: Any = None,
    *,
    split: Split = "auto",
    effort: Effort = "normal",
    examples: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure a model: its loss, log p(x), the gaps of its bound, its latents and its samples.

    >>> import nelbo
    >>> data = nelbo.data.load("digits", binarize="threshold", limit=300)
    >>> run = nelbo.fit(nelbo.recipes.vae(data.event_shape, hidden=(32,)), data, epochs=1, progress=False)
    >>> report = nelbo.measure.report(run, effort="quick")
    >>> float(report["active_units"].held_out) <= 2
    True

    Args:
        model: a run, a VAE or autoencoder, or anything with prior, posterior and likelihood.
        data: a data set from nelbo.data.load, or its source; None takes the run's own. For a run, a path, the name of a
            set or a table is prepared as the run's data were, its columns taken by name, and all of it is held out,
            unless it is what the run was trained on, wherever that lies now.
        split: the part that is held out: "test", "validation" or "train"; "auto" takes the test set, else the
            validation set, else (with a note) the training set.
        effort: number of examples and samples: "quick" (seconds), "normal" or "thorough" (minutes).
        examples: the largest number of each part, for the loss and log p(x); None takes that of the effort.
        samples: draws of z for each example where log p(x) is computed by importance sampling; None takes that of the
            effort.
        seed: seed of every draw; torch's generators are not changed.
        progress: called with the title of each section before it is measured.

    Returns:
        Report; ``.save(folder)`` writes measure.json and report.html.

    Raises:
        ValueError: no data, data that do not fit the model, or an unknown split or effort.
        Interrupted: on Ctrl-C; its ``partial`` is the Report of the sections that were finished.
    """
    context = report_context(model, data, split=split, effort=effort, examples=examples, samples=samples, seed=seed)
    done: list[Section] = []
    try:
        for section in sections(context, progress=progress):
            done.append(section)
    except KeyboardInterrupt as error:
        raise stopped(context, done) from error
    return context.report(tuple(done))


def stopped(context: ReportContext, done: Sequence[Section]) -> Interrupted:
    """The error that Ctrl-C raises: it holds the sections that were finished."""
    return Interrupted(
        f"stopped after {len(done)} of at most {len(SECTIONS)} sections, which error.partial holds; the section in "
        "progress is lost",
        context.report(tuple(done), complete=False),
    )


def sections(context: ReportContext, *, progress: Callable[[str], None] | None = None) -> Iterator[Section]:
    """Measure one section after the other."""
    for title, make in SECTIONS if context.model.codes is None else OF_CODES:
        if progress is not None:
            progress(title)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the section's notes say the same
            section = make(context)
        if section is not None:
            yield replace(section, seconds=round(time.perf_counter() - start, 2))
