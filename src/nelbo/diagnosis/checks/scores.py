"""Whether log p(x) is low for what is unlike the data, as an anomaly score has to be."""

import warnings

from torch import Tensor

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import ALPHA, binomial_excess, z_critical
from nelbo.estimate import Estimate
from nelbo.evaluation import Evaluation
from nelbo.measure.log_evidence import log_evidence

_EXAMPLES, _DRAWS = 300, 100
_RATE = 0.95  # of the examples, below which a threshold on one side would have to lie
_FEWEST = 135  # of which all score lower with a probability of 0.95 ** 135 < ALPHA: of fewer nothing can be said
_FLAT = 0.1  # of the usual standard deviation within an example


@check("flat-scores-high")
def flat_scores_high(case: Case) -> Verdict:
    rows = min(len(case.judged), _EXAMPLES)
    if rows >= _FEWEST:
        rows = case.budget.at_most(rows, "examples for log p(x)", share=0.05, pairs=0.5 * _DRAWS)
    if rows < _FEWEST:
        raise NotApplicable(f"needs {_FEWEST} examples, and time to decode {_DRAWS} z for each: seconds=None")
    examples = case.judged[:rows]
    flat = Evaluation(case.model, examples.batch.with_x(_flattened(examples.x)), seed=case.seed)
    if not examples.conditional:
        flat = flat[:1]  # they are all the same
    of_flat, of_examples = (_log_px(part) for part in (flat, examples))
    n, lowest = len(examples), of_flat.value - z_critical() * of_flat.standard_error
    lower = int((of_examples.value < lowest).sum())
    evidence = (
        Estimate.share_of(lower, n, label="examples that score lower than a flat one"),
        measured("log p(x) of the flat one", of_flat.value.mean(), of_flat.standard_error.mean()),
        Estimate.mean_of(of_examples).named("of the examples, mean"),
    )
    return found("note", *evidence) if binomial_excess(lower, n, _RATE) < ALPHA else passed(*evidence)


def _flattened(x: Tensor) -> Tensor:
    """Examples of which every channel has one value, its median, which the data have too; (n, \\*event)."""
    if x.dim() < 3:
        raise NotApplicable("needs images or series: a row of a table that is average in all columns is no outlier")
    if bool(x.isnan().any()):
        raise NotApplicable("needs examples without missing values")
    spread = x.flatten(2).std(2, correction=0).mean(1)
    if float(spread.min()) <= _FLAT * float(spread.median()):
        raise NotApplicable("some of the examples are nearly flat themselves")
    middle = x.transpose(0, 1).flatten(1).median(1).values
    return middle.view(-1, *[1] * (x.dim() - 2)).expand_as(x).contiguous()


def _log_px(examples: Evaluation) -> Estimate:
    if examples.model.codes is not None:
        raise NotApplicable("needs a real z, and this model has discrete codes")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"for [\d,]+ of [\d,]+ examples")
        return log_evidence(examples.model, examples, method="importance", samples=_DRAWS, progress=False)
