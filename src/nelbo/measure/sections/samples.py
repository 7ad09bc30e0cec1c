"""Are samples like the data, do they cover them, are they copies?"""

from matplotlib.figure import Figure

from nelbo import figures
from nelbo.figures.tiles import is_image
from nelbo.measure.case import Case
from nelbo.measure.generation import NEIGHBOURS, sample_match
from nelbo.measure.results import Number, Picture, Quantity, Section, percent

_MAP = 15


def samples(case: Case) -> Section:
    """Samples from the prior against held-out data."""
    found = sample_match(case.model, case.training.x, case.held_out.x, samples=case.matched, seed=case.seed, shown=10)
    quantities = (
        Quantity(
            "density",
            "density",
            f"How many of the data's neighbourhoods a sample falls into, over {NEIGHBOURS}: 1 where samples are like "
            "data, less if they lie apart, more if they crowd where data are dense. Right column: training data in the "
            "samples' place.",
            Number.of(found.samples.density),
            Number.of(found.data.density),
            "",
        ),
        Quantity(
            "coverage",
            "coverage",
            "Share of the data's neighbourhoods that hold a sample at all: what samples miss is missing here.",
            Number.of(found.samples.coverage),
            Number.of(found.data.coverage),
            "share",
        ),
        Quantity(
            "sample_classifier",
            "samples told from data",
            "How often a vote of nearest neighbours tells a sample from held-out data: 50 % if it cannot.",
            Number.of(found.classifier),
            None,
            "share",
        ),
        Quantity(
            "sample_mmd",
            "MMD² of samples and data",
            "The squared maximum mean discrepancy, 0 on average where they agree; its p-value is by permutation.",
            Number.of(found.mmd),
            None,
            "",
        ),
        Quantity(
            "copying",
            "nearer to training data than held-out",
            "The chance that a sample lies nearer to its nearest training example than a held-out example does: above "
            "50 % the model copies what it was trained on.",
            Number.of(found.copying),
            None,
            "share",
        ),
    )
    copies = found.copying.p_value < 0.001 and float(found.copying) > 0.5
    told = "copies of training examples among them" if copies else "no sign of copying"
    covered, real = (percent(float(part.coverage)) for part in (found.samples, found.data))
    finding = (
        f"Samples cover {covered} of the data's neighbourhoods (real data: {real}); a vote tells them from data in "
        f"{percent(float(found.classifier))} of cases (50 % if it cannot); {told}."
    )

    def neighbours() -> Figure:
        return figures.reconstruction_pairs(found.drawn, found.neighbours, names=("sample", "nearest"))

    pictures = [Picture("Samples, as means of p(x|z), and under each the training example nearest to it.", neighbours)]
    if case.latent <= 2 and is_image(case.held_out.x):
        pictures.append(
            Picture(
                "What the decoder makes of the latent space, at evenly spaced quantiles of the prior.",
                lambda: figures.latent_grid(case.model, n=_MAP),
            )
        )
    alone = "no data are held out: samples are compared with what the model was trained on"
    return Section(
        "samples",
        "Are samples like the data?",
        f"{found.size:,} samples, z from the prior and x from p(x|z), beside as many held-out examples; distances in "
        f"{found.features}.",
        finding,
        quantities,
        tuple(pictures),
        (alone,) if case.train is None else (),
        scope=f"{found.size:,} samples and as many held-out examples",
    )
