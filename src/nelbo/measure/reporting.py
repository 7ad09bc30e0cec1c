"""Measure a model section by section."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from nelbo.measure.case import Case, Effort, Split, case_of
from nelbo.measure.results import Report, Section
from nelbo.measure.sections import SECTIONS
from nelbo.measure.waiting import Interrupted


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
    """Everything worth knowing about a model: its loss, log p(x), the gaps of its bound, its latents, its samples.

    >>> import nelbo
    >>> data = nelbo.data.load("digits", binarize="threshold", limit=300)
    >>> run = nelbo.fit(nelbo.recipes.vae(data.event_shape, hidden=(32,)), data, epochs=1, progress=False)
    >>> found = nelbo.measure.report(run, effort="quick")
    >>> found["active_units"].held_out.value <= 2
    True

    Args:
        model: a run, a VAE or autoencoder, or anything with prior, posterior and likelihood.
        data: what nelbo.data.load returned, or what it takes; None takes the run's own.
        split: the part that counts as held out; auto is the test set, else the validation set, else (with a note) the
            training set.
        effort: how many examples and samples: quick (seconds), normal, thorough (minutes).
        examples: of each part, at most, for the loss and log p(x); None leaves it to the effort.
        samples: of z for each example, where log p(x) is found by importance sampling; None leaves it to the effort.
        seed: of every draw; torch's generators are left as they were.
        progress: called with the title of each section before it is measured.

    Returns:
        Report; ``.save(folder)`` writes measure.json and report.html.

    Raises:
        ValueError: no data, data that do not fit the model, or an unknown split or effort.
        Interrupted: Ctrl-C; its ``partial`` is the Report of the sections that were done.
    """
    case = case_of(model, data, split=split, effort=effort, examples=examples, samples=samples, seed=seed)
    done: list[Section] = []
    try:
        for section in sections(case, progress=progress):
            done.append(section)
    except KeyboardInterrupt as error:
        raise stopped(case, done) from error
    return case.report(tuple(done))


def stopped(case: Case, done: Sequence[Section]) -> Interrupted:
    """What Ctrl-C becomes: the sections that were measured stay, the one it stopped is lost."""
    return Interrupted(
        f"stopped after {len(done)} of at most {len(SECTIONS)} sections, which error.partial holds; what was under way "
        "is lost",
        case.report(tuple(done), complete=False),
    )


def sections(case: Case, *, progress: Callable[[str], None] | None = None) -> Iterator[Section]:
    """Measure one section after the other; who stops in between keeps what he has."""
    for title, make in SECTIONS:
        if progress is not None:
            progress(title)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the section's notes say the same
            section = make(case)
        if section is not None:
            yield replace(section, seconds=time.perf_counter() - start)
