"""What the loss is made of, and what is left of an example when only its embedding is kept."""

import math
from collections.abc import Callable

from matplotlib.figure import Figure
from torch import Tensor

from nelbo import figures
from nelbo.evaluation import ElboTerms
from nelbo.measure.case import Case
from nelbo.measure.loss_terms import FromEmbeddings, from_embeddings
from nelbo.measure.results import Number, Picture, Quantity, Section, Unit, mean_of, percent

_SHOWN = 8


def loss(case: Case) -> Section:
    """Reconstruction error, KL and their sum, and the examples that cost most and least."""

    def row(id: str, label: str, meaning: str, of: Callable[[ElboTerms], Number]) -> Quantity:
        return Quantity(id, label, meaning, *both([of(terms) for terms in case.terms]))

    kl = mean_of(case.terms[0].kl)
    rate = "infinite for a point." if case.is_point else f"here {kl.value / math.log(2):.1f} bits an example."
    bound = "−log p(x) is at most this." if not case.is_point else "With an infinite KL it bounds nothing."
    quantities = (
        row(
            "reconstruction_error",
            "reconstruction error",
            "−E_q[log p(x|z)]: nats to describe an example once z ~ q(z|x) is known; also called distortion.",
            lambda terms: mean_of(terms.reconstruction_error),
        ),
        row(
            "kl",
            "+ KL",
            f"KL(q(z|x) ‖ p(z)): nats to describe z to who knows the prior; also called rate, {rate}",
            lambda terms: mean_of(terms.kl),
        ),
        row("nelbo", "= NELBO, the total loss", f"The sum of the two. {bound}", lambda terms: mean_of(_nelbo(terms))),
    )
    error, divergence, total = (quantity.held_out.shown("nats") for quantity in quantities if quantity.held_out)
    if case.is_point:
        finding = f"Reconstruction error {error} nats per example; q(z|x) is a point, so there is no KL and no bound."
    else:
        finding = f"Total loss {total} nats per example: reconstruction error {error}, and KL {divergence}."
    pictures = [_extremes(case)]
    if case.run is not None and case.run.history:
        history = {case.run.name: case.run}
        pictures.append(Picture("The terms of the loss during training.", lambda: figures.loss_curves(history)))
    return Section(
        "loss",
        "What is the loss made of?",
        "Nats per example, summed over its features and never averaged: a nat less means e = 2.7 times as probable. "
        "Each mean over the examples stands with its standard error.",
        finding,
        quantities,
        tuple(pictures),
        scope=case.scope(),
    )


def _nelbo(terms: ElboTerms) -> Tensor:
    return -terms.elbo.value


def both(numbers: list[Number]) -> tuple[Number, Number | None]:
    """Held out, and training where that is another part."""
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _extremes(case: Case) -> Picture:
    """The held-out examples that cost most and least, above what the decoder makes of them."""
    terms = case.terms[0]
    cost, what = (
        (terms.reconstruction_error.value, "reconstruction error") if case.is_point else (_nelbo(terms), "total loss")
    )
    order = cost.argsort(descending=True).tolist()
    k = min(_SHOWN, len(order) // 2)
    chosen = [*order[:k], *order[-k:]]
    shown = case.held_out[chosen]

    def draw() -> Figure:
        captions = [f"{float(cost[i]):,.0f}" for i in chosen]
        return figures.reconstruction_pairs(shown.x.cpu(), shown.reconstruction.cpu(), columns=k, captions=captions)

    caption = (
        f"The {k} held-out examples with the highest {what}, and below them the {k} with the lowest; under each its "
        f"reconstruction and its {what} in nats."
    )
    return Picture(caption, draw)


def embeddings(case: Case) -> Section:
    """How much of x the point in latent space alone gives back."""
    parts = [from_embeddings(case.model, part, case.training.batch) for part in case.parts]

    def row(id: str, label: str, meaning: str, of: Callable[[FromEmbeddings], Number], unit: Unit = "nats") -> Quantity:
        return Quantity(id, label, meaning, *both([of(part) for part in parts]), unit)

    quantities = (
        row(
            "embedding_error",
            "−log p(x | embedding)",
            "Nats to describe an example when its embedding is known; what the reconstruction error has above this is "
            "the cost of the noise of z.",
            lambda part: mean_of(part.error),
        ),
        row(
            "explained_variance",
            "variance explained",
            "Share of the data's variance that decoded embeddings explain. 0 % is what the mean of the data explains.",
            lambda part: Number.of(part.explained),
            "share",
        ),
        row(
            "linear_explained_variance",
            f"by PCA with {case.latent} components",
            "The yardstick: the best that a linear embedding of the same size does.",
            lambda part: Number.of(part.linear),
            "share",
        ),
    )
    own, linear = float(parts[0].explained), float(parts[0].linear)
    return Section(
        "embeddings",
        "What do the embeddings alone give back?",
        "Each example is reduced to its embedding, the one point in latent space that stands for it, and decoded.",
        f"From {case.latent} numbers an example, the decoder explains {percent(own)} of the data's variance; as many "
        f"principal components explain {percent(linear)}.",
        quantities,
        scope=case.scope(),
    )
