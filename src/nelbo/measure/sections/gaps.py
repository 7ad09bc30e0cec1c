"""The gap between log p(x) and the bound."""

from functools import partial

from nelbo import figures, latents
from nelbo.estimate import Estimate
from nelbo.measure.context import ReportContext
from nelbo.measure.importance_bounds import importance_bounds
from nelbo.measure.inference_gap import InferenceGap, inference_gap
from nelbo.measure.quantities import row
from nelbo.report.parts import Picture, Row, Section

_STEPS = (100, 300, 300)
"""Of the optimization of q(z|x), for each effort."""
_BOUNDS = ((1, 10, 100), (1, 10, 100, 1000), (1, 10, 100, 1000))
"""The k of the importance-weighted bounds, for each effort."""
mean = Estimate.mean_of


def gaps(context: ReportContext) -> Section | None:
    """The inference gap split in two, and the importance-weighted bounds."""
    if context.is_point:
        return None
    examples = context.held_out[: context.gap_examples]
    normal = latents.has_moments(examples.qz)
    # where a grid gave log p(x) it is known; else q* of the gaps is the better proposal
    evidence = context.evidence[0].part(slice(len(examples))) if context.latent <= 2 else None
    steps = _STEPS[context.effort]
    gap = inference_gap(context.model, examples, steps=steps, evidence=evidence) if normal else None
    evidence = evidence if gap is None else gap.log_evidence
    bounds = importance_bounds(context.model, examples, _BOUNDS[context.effort], evidence=evidence)
    means = {k: mean(bounds.bounds[k]) for k in bounds.samples}
    rows = [row("bound_{k}", bound, k=k) for k, bound in means.items()]
    last = bounds.samples[-1]
    finding = (
        f"The bound rises from {means[bounds.samples[0]].text} with one draw of z to {means[last].text} nats with "
        f"{last:,}."
    )

    caption = "More draws of z tighten the bound, from the ELBO (L_1) up to log p(x), for each example."
    scope = f"{len(examples):,} held-out examples"
    lead = f"On {scope}."
    if gap is not None:
        lead += " For each of them q(z|x) was optimized by itself: the gain is what the encoder loses."
        rows, finding = [*_rows(gap), *rows], _split(gap)
    return Section(
        "gaps",
        "What does the bound hide?",
        lead,
        finding,
        tuple(rows),
        (Picture(caption, partial(figures.bounds, bounds)),),
        tuple(dict.fromkeys([*(() if gap is None else gap.notes), *bounds.notes])),
        scope=scope,
    )


def _rows(gap: InferenceGap) -> list[Row]:
    return [
        row("approximation_gap", mean(gap.approximation)),
        row("amortization_gap", mean(gap.amortization)),
        row("inference_gap", mean(gap.total)),
    ]


def _split(gap: InferenceGap) -> str:
    approximation, amortization, total = (mean(part).text for part in (gap.approximation, gap.amortization, gap.total))
    return (
        f"The bound hides {total} nats (on {len(gap.elbo.value):,} examples): {approximation} because of the family of "
        f"q(z|x), {amortization} because one encoder serves all examples."
    )
