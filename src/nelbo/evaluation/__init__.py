"""One evaluation of a model on examples: q(z|x), draws, densities, both terms of the loss, each computed once."""

from nelbo.evaluation.evaluation import ElboTerms, Evaluation, decode, evaluate, sample
from nelbo.evaluation.mode import evaluation_mode, rows_at_once, within_memory
from nelbo.evaluation.objective import TERMS, mean_terms

__all__ = [
    "TERMS",
    "ElboTerms",
    "Evaluation",
    "decode",
    "evaluate",
    "evaluation_mode",
    "mean_terms",
    "rows_at_once",
    "sample",
    "within_memory",
]
