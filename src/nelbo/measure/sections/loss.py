"""The terms of the loss, and what is left of an example when only its embedding is kept."""

import math
from typing import TYPE_CHECKING

from nelbo import figures
from nelbo.estimate import Estimate
from nelbo.measure.context import ReportContext
from nelbo.measure.loss_terms import from_embeddings
from nelbo.measure.quantities import row
from nelbo.report.parts import Picture, Section, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 8
mean = Estimate.mean_of


def loss(context: ReportContext) -> Section:
    """Reconstruction error, KL and their sum, and the examples that cost most and least."""
    errors, kls, totals = (
        [mean(term) for term in terms]
        for terms in zip(*((t.reconstruction_error, t.kl, t.elbo.scaled(-1)) for t in context.terms), strict=True)
    )
    bits = f"here {float(kls[0]) / math.log(2):.1f} bits per example."
    bound = "With an infinite KL it is not a bound." if context.is_point else "An upper bound on −log p(x)."
    rows = (
        row("reconstruction_error", *errors),
        row("kl", *kls, bits="infinite for a point." if context.is_point else bits),
        row("nelbo", *totals, bound=bound),
    )
    error = errors[0].text
    if context.is_point:
        finding = f"Reconstruction error {error} nats per example; q(z|x) is a point, so there is no KL and no bound."
    else:
        finding = f"Total loss {totals[0].text} nats per example: reconstruction error {error} and KL {kls[0].text}."
    pictures = [_extremes(context)]
    if context.run is not None and context.run.history:
        history = {context.run.name: context.run}
        pictures.append(Picture("The terms of the loss during training.", lambda: figures.loss_curves(history)))
    return Section(
        "loss",
        "What is the loss made of?",
        "Nats per example, summed over its features and never averaged: one nat less means e = 2.7 times as probable. "
        "Each mean over the examples has its standard error.",
        finding,
        rows,
        tuple(pictures),
        scope=context.scope(),
    )


def _extremes(context: ReportContext) -> Picture:
    """The held-out examples that cost most and least, above their reconstructions."""
    terms = context.terms[0]
    cost, name = (
        (terms.reconstruction_error.value, "reconstruction error")
        if context.is_point
        else (-terms.elbo.value, "total loss")
    )
    order = cost.argsort(descending=True).tolist()
    k = min(_SHOWN, len(order) // 2)
    chosen = [*order[:k], *order[-k:]]
    shown = context.held_out[chosen]

    def draw() -> "Figure":
        captions = [f"{float(cost[i]):,.0f}" for i in chosen]
        return figures.reconstruction_pairs(shown.x.cpu(), shown.reconstruction.cpu(), columns=k, captions=captions)

    caption = (
        f"The {k} held-out examples with the highest {name}, and below them the {k} with the lowest. Under each: its "
        f"reconstruction and its {name} in nats."
    )
    return Picture(caption, draw)


def embeddings(context: ReportContext) -> Section:
    """The share of x that its point in latent space alone gives back."""
    parts = [from_embeddings(context.model, part, context.training.batch) for part in context.parts]
    rows = (
        row("embedding_error", *(mean(part.error) for part in parts)),
        row("explained_variance", *(part.explained for part in parts)),
        row("linear_explained_variance", *(part.linear for part in parts), latent=context.latent),
    )
    decoded, linear = float(parts[0].explained), float(parts[0].linear)
    return Section(
        "embeddings",
        "What do the embeddings alone give back?",
        "Each example is reduced to its embedding, the one point in latent space that represents it, and decoded.",
        f"From {context.latent} numbers per example, the decoder explains {percent(decoded)} of the data's variance; "
        f"as many principal components explain {percent(linear)}.",
        rows,
        scope=context.scope(),
    )
