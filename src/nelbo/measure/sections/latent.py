"""What the latent space holds, and whether it lies where the prior says."""

from collections.abc import Callable

import torch
from matplotlib.figure import Figure

from nelbo import figures
from nelbo.estimate import Estimate
from nelbo.evaluation import evaluation_mode
from nelbo.measure.aggregate import LEVEL, aggregate_match
from nelbo.measure.case import Case
from nelbo.measure.results import Number, Picture, Quantity, Section, Unit, percent
from nelbo.measure.sections.loss import both
from nelbo.measure.usage import THRESHOLD, LatentUsage, latent_usage

_POINTS = 4000


def usage(case: Case) -> Section:
    """KL per unit, active units, and the KL split in three, over the whole of each part."""
    found = [latent_usage(case.model, part.whole, seed=case.seed) for part in case.parts]
    first = found[0]
    whole = found[-1]

    def row(
        id: str, label: str, meaning: str, of: Callable[[LatentUsage], Estimate | float | None], unit: Unit = "nats"
    ) -> list[Quantity]:
        values = [of(part) for part in found]
        numbers = [Number.of(value) for value in values if value is not None]
        return [Quantity(id, label, meaning, *both(numbers), unit)] if numbers else []

    quantities = (
        *row(
            "active_units",
            f"active units, of {first.latent}",
            f"Units whose mean varies over the data (variance above {THRESHOLD:g}). {_by_threshold(first)}",
            lambda part: float(part.active_units()),
            "units",
        ),
        *row(
            "mutual_information",
            "mutual information I(x; z)",
            "What a code tells about which example it came from. With N examples it cannot exceed log N: "
            f"{' and '.join(f'{part.log_examples:.2f} for {part.examples:,}' for part in found)}.",
            lambda part: part.mutual_information,
        ),
        *row(
            "total_correlation",
            "+ total correlation",
            "What the units say about each other, taken over all data; 0 where they are independent.",
            lambda part: part.total_correlation,
        ),
        *row(
            "dimension_wise_kl",
            "+ dimension-wise KL",
            "How far each unit by itself, over all data, is from its prior, summed.",
            lambda part: part.dimension_wise_kl,
        ),
        *(
            []
            if first.dimension_wise_kl is not None
            else row(
                "aggregate_kl",
                "+ KL(q(z) ‖ p(z))",
                "How far all codes together are from the prior: nats that say nothing about the single example.",
                lambda part: part.aggregate_kl,
            )
        ),
        *row(
            "sampled_kl",
            "= KL, from these draws",
            "The parts above add up to it exactly; it agrees with the KL of the loss within its error.",
            lambda part: part.sampled_kl,
        ),
    )
    active = first.active_units()
    units = f"{active} of {first.latent} latent units {'is' if active == 1 else 'are'} active"
    information = first.mutual_information
    told = "" if information is None else f"; a code tells {float(information):.2f} nats about its example"
    pictures = [_units(whole)] if not case.is_point else []
    return Section(
        "latent_usage",
        "What does the latent space hold?",
        "Over all examples of each part: q(z) is the mixture of all their posteriors, no estimate from a batch.",
        f"{units}{told}.",
        quantities,
        tuple(pictures),
        tuple(dict.fromkeys(note for part in found for note in part.notes)),
        scope=" and ".join(f"{part.examples:,}" for part in found) + " examples",
    )


def _by_threshold(found: LatentUsage) -> str:
    counts = found.sensitivity()
    if len(set(counts.values())) == 1:
        return f"The same count by any threshold from {min(counts):g} to {max(counts):g}."
    others = ", ".join(f"{n} above {t:g}" for t, n in counts.items() if t != THRESHOLD)
    return f"By other thresholds: {others}."


def _units(found: LatentUsage) -> Picture:
    kl = None if found.kl_per_unit is None else found.kl_per_unit.value
    return Picture(
        "What each latent unit carries: its KL, and the variance of its mean over the data. Faint: not active.",
        lambda: figures.latent_units(kl, found.variance_of_means.value, threshold=THRESHOLD),
    )


def aggregate(case: Case) -> Section:
    """The codes of the training data against draws of the prior."""
    found = aggregate_match(case.model, case.training.whole, draws=case.matched, seed=case.seed)
    quantities = (
        Quantity(
            "aggregate_classifier",
            "codes told from the prior",
            "How often a vote of nearest neighbours tells a code of the data from a draw of the prior: 50 % where q(z) "
            "and p(z) agree.",
            None,
            Number.of(found.classifier),
            "share",
        ),
        Quantity(
            "aggregate_mmd",
            "MMD² of codes and prior",
            "The squared maximum mean discrepancy, 0 on average where they agree; its p-value is by permutation.",
            None,
            Number.of(found.mmd),
            "",
        ),
        Quantity(
            "holes",
            "prior mass without data",
            f"Share of draws of the prior that land where q(z) / p(z) is below that of all but {percent(LEVEL)} of the "
            f"codes: {percent(LEVEL)} where q(z) and p(z) agree, more where samples start from holes.",
            None,
            Number.of(found.holes),
            "share",
        ),
    )
    accuracy, holes = percent(float(found.classifier)), Number.of(found.holes).shown("share")
    finding = (
        f"A vote of neighbours tells codes from draws of the prior in {accuracy} of cases (50 % if they agree); "
        f"{holes} of the prior's mass lies where no data do ({percent(LEVEL)} if they agree)."
    )
    return Section(
        "aggregate_posterior",
        "Do the codes lie where the prior says?",
        f"The aggregate posterior q(z), {found.draws:,} codes z ~ q(z|x) of training examples, beside as many draws of "
        "the prior p(z), from which samples start. With many draws a test finds the smallest difference: look at the "
        "sizes, not at the p-value alone.",
        finding,
        quantities,
        (_cloud(case),),
        scope=f"{found.draws:,} codes of training examples",
    )


def _cloud(case: Case) -> Picture:
    def draw() -> Figure:
        with evaluation_mode(case.model, case.seed) as device:
            parts = case.held_out.x[:_POINTS].split(1000)
            z = torch.cat([case.model.encode(part.to(device=device)).cpu() for part in parts])
            prior = case.model.prior
        labels = case.held_out.labels
        return figures.embedding(z, None if labels is None else labels[: len(z)], prior=prior, title="embeddings")

    return Picture(
        "Embeddings of held-out examples, by label where there are labels; grey rings: the prior p(z).", draw
    )
