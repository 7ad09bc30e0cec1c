"""The information in the latent space, and its distribution beside the prior."""

from typing import TYPE_CHECKING

from nelbo import figures
from nelbo.estimate import Estimate
from nelbo.measure.aggregate import LEVEL, aggregate_match
from nelbo.measure.context import ReportContext
from nelbo.measure.latent_usage import THRESHOLD, LatentUsage, latent_usage
from nelbo.measure.quantities import row
from nelbo.report.parts import Picture, Section, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 4000
_MAP = 3  # axes of a z that is drawn as maps: channels, height, width


def usage(context: ReportContext) -> Section:
    """KL per unit, active units, and the KL split in three, over the whole of each part."""
    parts = [latent_usage(context.model, whole, seed=context.seed) for whole in context.sets]
    first = parts[0]

    limits = " and ".join(f"{part.log_examples:.2f} for {part.examples:,}" for part in parts)
    active_units = (Estimate.number(part.active_units(), unit="units") for part in parts)
    rows = [
        row("active_units", *active_units, latent=first.latent, threshold=THRESHOLD, by_threshold=_by_threshold(first))
    ]
    # the KL in three parts, or in two where the prior or q(z|x) does not factorize; a point has neither
    for name in ("mutual_information", "total_correlation", "dimension_wise_kl", "aggregate_kl", "sampled_kl"):
        estimates: list[Estimate | None] = [getattr(part, name) for part in parts]
        if estimates[0] is not None and not (name == "aggregate_kl" and first.dimension_wise_kl is not None):
            rows.append(row(name, *estimates, limits=limits))
    active = first.active_units()
    units = f"{active} of {first.latent} latent units {'is' if active == 1 else 'are'} active"
    information = first.mutual_information
    told = "" if information is None else f"; a code tells {float(information):.2f} nats about its example"
    return Section(
        "latent_usage",
        "What does the latent space hold?",
        "Over all examples of each part: q(z) is the mixture of all their posteriors, not an estimate from a batch.",
        f"{units}{told}.",
        tuple(rows),
        () if context.is_point else (_units(parts[-1]),),
        (*dict.fromkeys(note for part in parts for note in part.notes), *_channels(first)),
        scope=" and ".join(f"{part.examples:,}" for part in parts) + " examples",
    )


_CHANNELS = 16  # whose shares are written; the figure shows them all


def _channels(part: LatentUsage) -> tuple[str, ...]:
    """The active share of each channel, where z is a map."""
    if len(part.shape) < 2:
        return ()
    shares = part.active_per_channel()
    each = ", ".join(percent(float(share)) for share in shares[:_CHANNELS])
    more = f" and {len(shares) - _CHANNELS} channels more" if len(shares) > _CHANNELS else ""
    size = " x ".join(map(str, part.shape[1:]))
    return (f"of the {size} positions of each of {len(shares)} channels are active: {each}{more}",)


def _by_threshold(part: LatentUsage) -> str:
    counts = part.sensitivity()
    if len(set(counts.values())) == 1:
        return f"The count is the same for any threshold from {min(counts):g} to {max(counts):g}."
    others = ", ".join(f"{n} above {t:g}" for t, n in counts.items() if t != THRESHOLD)
    return f"With other thresholds: {others}."


def _units(part: LatentUsage) -> Picture:
    kl, variance = None if part.kl_per_unit is None else part.kl_per_unit.value, part.variance_of_means.value
    if len(part.shape) == _MAP:
        return Picture(
            "Each channel of z as a map: the variance of its mean over the data, by position. White: not active.",
            lambda: figures.latent_units(kl, variance.reshape(part.shape), threshold=THRESHOLD),
        )
    return Picture(
        "Each latent unit: its KL, and the variance of its mean over the data. Faint: not active.",
        lambda: figures.latent_units(kl, variance, threshold=THRESHOLD),
    )


def aggregate(context: ReportContext) -> Section:
    """The codes of the training data beside draws of the prior."""
    match = aggregate_match(context.model, context.sets[-1], draws=context.matched, seed=context.seed)
    rows = (
        row("aggregate_classifier", None, match.classifier),
        row("aggregate_mmd", None, match.mmd),
        row("holes", None, match.holes, level=percent(LEVEL)),
    )
    finding = (
        f"A vote of neighbours tells codes from draws of the prior in {percent(float(match.classifier))} of cases "
        f"(50 % where they agree); {match.holes.text} of the prior's mass has no data ({percent(LEVEL)} where they "
        "agree)."
    )
    return Section(
        "aggregate_posterior",
        "Do the codes lie where the prior does?",
        f"The aggregate posterior q(z), {match.draws:,} codes z ~ q(z|x) of training examples, beside as many draws of "
        "the prior p(z), from which samples start. With many draws a test detects the smallest difference: look at the "
        "sizes, not at the p-value alone.",
        finding,
        rows,
        (_cloud(context),),
        scope=f"{match.draws:,} codes of training examples",
    )


def _cloud(context: ReportContext) -> Picture:
    def draw() -> "Figure":
        z, labels = context.held_out.embedding[:_POINTS].cpu(), context.held_out.batch.labels
        labels = None if labels is None else labels[: len(z)].cpu()
        return figures.embedding(z, labels, prior=context.held_out.pz, title="embeddings")

    return Picture(
        "Embeddings of held-out examples, coloured by label where there are labels; grey rings: the prior p(z).", draw
    )
