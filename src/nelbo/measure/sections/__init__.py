"""The sections of a report, in reading order: functions of the context that return None where they do not apply."""

from collections.abc import Callable

from nelbo.measure.context import ReportContext
from nelbo.measure.sections.codes import code_use
from nelbo.measure.sections.columns import columns, synthetic
from nelbo.measure.sections.evidence import evidence, overfits
from nelbo.measure.sections.gaps import gaps
from nelbo.measure.sections.latent import aggregate, usage
from nelbo.measure.sections.loss import embeddings, loss
from nelbo.measure.sections.samples import samples
from nelbo.report.parts import Section

SECTIONS: tuple[tuple[str, Callable[[ReportContext], Section | None]], ...] = (
    ("loss", loss),
    ("columns", columns),
    ("log p(x)", evidence),
    ("gaps of the bound", gaps),
    ("overfitting", overfits),
    ("latent units", usage),
    ("aggregate posterior", aggregate),
    ("samples", samples),
    ("synthetic rows", synthetic),
    ("reconstruction from embeddings", embeddings),
)

OF_CODES = (("loss", loss), ("codes", code_use), ("samples", samples))
"""Those of a model with discrete codes."""
