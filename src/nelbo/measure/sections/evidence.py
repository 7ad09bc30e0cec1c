"""Is the model any good: log p(x); and which of encoder and decoder overfits."""

import math

from nelbo.data import summarize
from nelbo.estimate import Estimate
from nelbo.measure.baseline import independent_features
from nelbo.measure.case import Case
from nelbo.measure.overfitting import overfitting
from nelbo.measure.results import Number, Quantity, Section, mean_of
from nelbo.measure.sections.loss import both

_DISCRETE = ("binary", "8-bit integers", "counts", "categories")


_QUESTION = "Is the model any good?"


def evidence(case: Case) -> Section:
    """Log p(x), beside the bound and beside a model without a latent; of some autoencoders, why there is none."""
    if not case.has_evidence:
        return _none(case)
    found = case.evidence
    n = len(found[0].value)
    numbers = [mean_of(part) for part in found]
    quantities = [
        Quantity(
            "log_evidence",
            "log p(x)",
            "How probable the model finds the data: higher is better, and comparable between models of the same data.",
            *both(numbers),
        )
    ]
    dimensions = case.held_out.x[0].numel()
    if summarize(case.held_out.x[:1000]).kind in _DISCRETE:
        bits = -dimensions * math.log(2)
        quantities.append(
            Quantity(
                "bits_per_dimension",
                "−log p(x) in bits per feature",
                f"What a code built on the model would need, over {dimensions:,} features.",
                *both([Number(p.value / bits, abs(p.standard_error / bits), p.method) for p in numbers]),
                "bits per dimension",
            )
        )
    level = independent_features(case.training.x, case.held_out.x[:n])
    gain = ""
    if level is not None:
        quantities.append(
            Quantity(
                "independent_features",
                "log p(x) without a latent",
                "Every feature by itself, as frequent as in the training data: what comes on top is due to the latent.",
                mean_of(level),
            )
        )
        gained = numbers[0].value - mean_of(level).value
        gain = f", {abs(gained):,.1f} nats {'more' if gained > 0 else 'less'} than independent features reach"
    if not case.is_point:
        elbos = [case.elbo_of_evidence(i) for i in range(len(found))]
        quantities += [
            Quantity(
                "elbo",
                "ELBO",
                "The lower bound that was trained, on the same examples.",
                *both([mean_of(e) for e in elbos]),
            ),
            Quantity(
                "gap",
                "log p(x) − ELBO",
                "What the bound hides: KL(q(z|x) ‖ p(z|x)), how far the encoder's posterior is from the true one.",
                *both([mean_of(_gap(p, e)) for p, e in zip(found, elbos, strict=True)]),
            ),
        ]
    return Section(
        "log_evidence",
        _QUESTION,
        f"log p(x) = log ∫ p(x|z) p(z) dz, the probability that the model gives to data, of {n:,} examples of each "
        f"part, by {found[0].method}. {found[0].why}",
        f"Held-out data have log p(x) = {numbers[0].shown('nats')} nats per example{gain}.",
        tuple(quantities),
        (),
        tuple(dict.fromkeys(note for part in found for note in part.notes)),
        scope=case.scope(n),
    )


def _gap(log_evidence: Estimate, elbo: Estimate) -> Estimate:
    return Estimate(
        log_evidence.value.double().cpu() - elbo.value, elbo.standard_error, f"{log_evidence.method} - {elbo.method}"
    )


def _none(case: Case) -> Section:
    """An autoencoder with more latents than a grid takes."""
    return Section(
        "log_evidence",
        _QUESTION,
        "The loss of an autoencoder bounds nothing, for its q(z|x) is a point. It has a log p(x) = "
        "log ∫ p(x|z) p(z) dz all the same, that of its decoder under its prior. One or two latent dimensions are "
        f"integrated over exactly; with {case.latent} only annealing finds it, which takes seconds to minutes an "
        "example.",
        f"log p(x) was not computed: with {case.latent} latents and no q(z|x) to draw from it takes annealing. Write "
        f'nelbo measure RUN --effort thorough, or nelbo.measure.log_evidence(run.model, x[:10], method="annealed").',
    )


def overfits(case: Case) -> Section | None:
    """The drop from training to held-out data, split between decoder and encoder."""
    if case.train is None or case.is_point or not case.has_evidence:
        return None
    held, train = (case.elbo_of_evidence(i) for i in (0, 1))
    found = overfitting(train, held, case.evidence[1], case.evidence[0])
    quantities = (
        Quantity(
            "overfitting_decoder",
            "drop of log p(x)",
            "How much less probable held-out data are than training data: the decoder's overfitting.",
            Number.of(found.decoder),
        ),
        Quantity(
            "overfitting_encoder",
            "+ growth of the gap",
            "How much farther q(z|x) is from p(z|x) on held-out data: the encoder's overfitting.",
            Number.of(found.encoder),
        ),
        Quantity("overfitting_total", "= drop of the ELBO", "From training to held-out data.", Number.of(found.total)),
    )
    return Section(
        "overfitting",
        "Which part overfits?",
        "Where held-out data cost more than training data, that has two reasons, which the ELBO alone cannot tell "
        "apart.",
        found.verdict,
        quantities,
        scope=case.scope(case.evidence_examples),
    )
