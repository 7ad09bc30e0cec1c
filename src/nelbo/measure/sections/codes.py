"""The use of codebooks, of a model with discrete codes."""

from torch import Tensor

from nelbo.estimate import Estimate
from nelbo.measure.codes import codes
from nelbo.measure.context import ReportContext
from nelbo.measure.quantities import row
from nelbo.report.parts import Section


def code_use(context: ReportContext) -> Section:
    """Rates under the prior and under learned frequencies, and of each codebook the perplexity and the dead codes."""
    parts = [codes(context.model, part) for part in context.parts]
    first = parts[0]
    rows = [row("learned_rate", *(part.learned_rate for part in parts))]
    if all(part.log_px is not None for part in parts):
        rows.append(row("log_evidence", *(part.log_px for part in parts)))
    several = len(first.size) > 1
    for book, size in enumerate(first.size.tolist()):
        facts = {"book": f"_{book}" if several else "", "of": f" of codebook {book}" if several else "", "size": size}
        rows.append(row("perplexity{book}", *(part.perplexity[book] for part in parts), **facts))
        rows.append(row("dead_codes{book}", *(_units(part.dead[book]) for part in parts), **facts))
    used, size = int(first.used.sum()), int(first.size.sum())
    finding = (
        f"{used:,} of {size:,} codes occur; the rate is {first.rate.text} nats, and {first.learned_rate.text} under "
        "learned frequencies."
    )
    return Section(
        "codes",
        "How are the codes used?",
        "The encoder gives one combination of codes k, so that log p(x) ≥ log p(x|k) + log p(k), one term of the sum "
        "over all combinations: the rate is −log p(k).",
        finding,
        tuple(rows),
        scope=context.scope(),
    )


def _units(count: Tensor) -> Estimate:
    return Estimate.number(float(count), unit="units")
