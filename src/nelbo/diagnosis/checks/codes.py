"""The use of codebooks."""

import math

from nelbo.diagnosis.case import Case
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import ALPHA, binomial_excess
from nelbo.measure.codes import Codes, use_of

_RARE = 0.1  # of its fair share 1 / K, below which a code is as good as dead
_MANY, _MOST = 0.1, 0.5  # of the codes


@check("dead-codes")
def dead_codes(case: Case) -> Verdict:
    if case.model.codes is None:
        raise NotApplicable("needs a model with discrete codes, from nelbo.wrap_codes")
    use = use_of(case.train)
    dead = [int(n) / int(size) for n, size in zip(use.dead, use.size, strict=True)]
    book = max(range(len(dead)), key=lambda i: dead[i] if _significant(use, i) else -1.0)
    of = f" of codebook {book}" if len(dead) > 1 else ""
    evidence = (
        measured(f"codes never used{of}, of {int(use.size[book]):,}", use.dead[book], unit="units"),
        use.perplexity[book].named("perplexity of its codes"),
        use.rate.named("rate under the prior p(codes)"),
        use.learned_rate.named("rate under learned frequencies"),
    )
    if dead[book] < _MANY or not _significant(use, book):
        return passed(*evidence)
    # of a uniform prior every example has the same rate
    saved = None if use.rate.error else (use.rate + use.learned_rate.scaled(-1)).named("rate, minus the learned one")
    cost = saved if saved is not None and float(saved) > 0 else None
    return found("severe" if dead[book] > _MOST else "warning", *evidence, cost=cost)


def _significant(use: Codes, book: int) -> bool:
    """Whether more codes of a codebook never occur than would by chance if all had a tenth of their fair share."""
    size = int(use.size[book])
    missed = math.exp(int(use.distinct[book]) * math.log1p(-_RARE / size))
    return binomial_excess(int(use.dead[book]), size, missed) < ALPHA / len(use.size)
