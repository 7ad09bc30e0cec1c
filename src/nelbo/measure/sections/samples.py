"""Samples from the prior beside held-out data."""

from typing import TYPE_CHECKING

from nelbo import figures
from nelbo.measure.context import GIVEN, ReportContext
from nelbo.measure.generation import NEIGHBOURS, sample_match
from nelbo.measure.quantities import row
from nelbo.report.parts import Picture, Section, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAP = 15
_MISSING = (
    "samples lack the values that held-out examples lack, and all that is missing stands at the training mean: this "
    "compares them fairly where values are missing completely at random"
)


def samples(context: ReportContext) -> Section:
    """Are samples like the data, do they cover them, are they copies?"""
    from nelbo.figures.tiles import is_image  # beside matplotlib

    match = sample_match(
        context.model,
        context.training.batch,
        context.held_out.batch,
        samples=context.matched,
        seed=context.seed,
        shown=10,
    )
    rows = (
        row("density", match.samples.density, match.data.density, neighbours=NEIGHBOURS),
        row("coverage", match.samples.coverage, match.data.coverage),
        row("sample_classifier", match.classifier),
        row("sample_mmd", match.mmd),
        row("copying", match.copying),
    )
    copies = match.copying.p_value < 0.001 and float(match.copying) > 0.5
    verdict = "some are copies of training examples" if copies else "no sign of copying"
    covered, real = (percent(float(part.coverage)) for part in (match.samples, match.data))
    finding = (
        f"Samples cover {covered} of the data's neighbourhoods (real data: {real}); a vote tells them from data in "
        f"{percent(float(match.classifier))} of cases (50 % is chance); {verdict}."
    )

    def neighbours() -> "Figure":
        return figures.reconstruction_pairs(match.drawn, match.neighbours, names=("sample", "nearest"))

    pictures = [Picture("Samples, as means of p(x|z), and under each the nearest training example.", neighbours)]
    if context.latent <= 2 and is_image(context.held_out.x):
        pictures.append(
            Picture(
                "The decoder's output across the latent space, at evenly spaced quantiles of the prior.",
                lambda: figures.latent_grid(context.model, n=_MAP),
            )
        )
    notes = [_MISSING] if context.missing else []
    alone = "no data are held out: samples are compared with the data that the model was trained on"
    if context.split == GIVEN:
        alone = "the run's training data cannot be loaded: samples are compared with the given data alone"
    return Section(
        "samples",
        "Are samples like the data?",
        f"{match.size:,} samples, z from the prior and x from p(x|z), beside as many held-out examples; distances in "
        f"{match.features}.",
        finding,
        rows,
        tuple(pictures),
        (*notes, alone) if context.train is None else tuple(notes),
        scope=f"{match.size:,} samples and as many held-out examples",
    )
