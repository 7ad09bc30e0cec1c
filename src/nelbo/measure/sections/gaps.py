"""What the bound hides."""

from matplotlib.figure import Figure

from nelbo import figures, latents
from nelbo.measure.case import Case
from nelbo.measure.importance_bounds import importance_bounds
from nelbo.measure.inference_gap import InferenceGap, inference_gap
from nelbo.measure.results import Picture, Quantity, Section, mean_of

_STEPS = (100, 300, 300)
"""Of the optimization of q(z|x), for each effort."""
_BOUNDS = ((1, 10, 100), (1, 10, 100, 1000), (1, 10, 100, 1000))
"""The k of the importance-weighted bounds, for each effort."""


def gaps(case: Case) -> Section | None:
    """The inference gap split in two, and the importance-weighted bounds."""
    if case.is_point:
        return None
    examples = case.held_out[: case.gap_examples]
    normal = latents.moments(examples.qz) is not None
    # where a grid gave log p(x) it is known; else q* of the gaps is the better proposal
    known = case.evidence[0].part(slice(len(examples))) if case.latent <= 2 else None
    steps = _STEPS[case.effort]
    found = inference_gap(case.model, examples, steps=steps, evidence=known) if normal else None
    known = known if found is None else found.log_evidence
    bounds = importance_bounds(case.model, examples, _BOUNDS[case.effort], evidence=known)
    shown = [Quantity(f"bound_{k}", f"L_{k}", _meaning(k), mean_of(bounds.bounds[k])) for k in bounds.samples]
    means = [mean_of(bounds.bounds[k]).shown("nats") for k in (bounds.samples[0], bounds.samples[-1])]
    finding = f"The bound rises from {means[0]} with one draw of z to {means[1]} nats with {bounds.samples[-1]:,}."

    def draw() -> Figure:
        return figures.bounds(bounds)

    scope = f"{len(examples):,} held-out examples"
    lead = f"On {scope}."
    if found is not None:
        lead += " There, q(z|x) was optimized for each example by itself: what that gains is the encoder's loss."
        finding = _split(found)
    return Section(
        "gaps",
        "What does the bound hide?",
        lead,
        finding,
        (*([] if found is None else _rows(found)), *shown),
        (Picture("More draws of z tighten the bound, from the ELBO, L_1, up to log p(x), for each example.", draw),),
        tuple(dict.fromkeys([*(() if found is None else found.notes), *bounds.notes])),
        scope=scope,
    )


def _rows(found: InferenceGap) -> list[Quantity]:
    return [
        Quantity(
            "approximation_gap",
            "approximation gap",
            "What is lost because no q(z|x) of this family equals the true posterior; a richer family closes it.",
            mean_of(found.approximation),
        ),
        Quantity(
            "amortization_gap",
            "+ amortization gap",
            "What is lost because one encoder serves all examples; a larger encoder or longer training closes it.",
            mean_of(found.amortization),
        ),
        Quantity("inference_gap", "= log p(x) − ELBO", "Both together, on these examples.", mean_of(found.total)),
    ]


def _split(found: InferenceGap) -> str:
    approximation, amortization, total = (
        mean_of(part).shown("nats") for part in (found.approximation, found.amortization, found.total)
    )
    return (
        f"The bound hides {total} nats (on {len(found.elbo.value):,} examples): {approximation} because of the family "
        f"of q(z|x), {amortization} because one encoder serves all examples."
    )


def _meaning(k: int) -> str:
    if k == 1:
        return "The ELBO: the mean over one draw of z, inside the logarithm."
    return f"The mean over {k:,} draws of z inside the logarithm: a tighter lower bound of log p(x)."
