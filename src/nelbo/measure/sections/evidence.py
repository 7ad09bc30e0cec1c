"""log p(x), and which of encoder and decoder overfits."""

import math

from nelbo.data import summarize
from nelbo.estimate import Estimate
from nelbo.measure.context import ReportContext
from nelbo.measure.loss_terms import independent_features, overfitting, per_observed
from nelbo.measure.quantities import row
from nelbo.report.parts import Section

_DISCRETE = ("binary", "8-bit integers", "counts", "categories")
_QUESTION = "Is the model any good?"
mean = Estimate.mean_of


def evidence(context: ReportContext) -> Section:
    """Log p(x), beside the bound and beside a model without a latent; of some autoencoders, why there is none."""
    if not context.has_evidence:
        return _none(context)
    parts = context.evidence
    n = len(parts[0].value)
    means = [mean(part) for part in parts]
    rows = [row("log_evidence", *means)]
    if any(bool(part.flagged.any()) for part in parts):
        rows.append(row("flagged", *(part.share_flagged for part in parts)))
    if all("q(z|x)" in part.components for part in parts):
        rows.append(row("evidence_of_q", *(mean(part.components["q(z|x)"]) for part in parts)))
    dimensions = context.held_out.x[0].numel()
    each = [p.scaled(1 / dimensions) for p in means]
    if context.missing:
        each = [per_observed(part, some.x[:n]) for part, some in zip(parts, context.parts, strict=True)]
        rows.append(row("evidence_per_value", *each))
    if summarize(context.held_out.x[:1000]).kind in _DISCRETE:
        bits = [p.scaled(-1 / math.log(2)).named("", unit="bits per dimension") for p in each]
        rows.append(row("bits_per_dimension", *bits, dimensions=dimensions))
    level = independent_features(context.training.x, context.held_out.x[:n])
    gain = ""
    if level is not None:
        baseline = mean(level)
        rows.append(row("independent_features", baseline))
        gained = float(means[0]) - float(baseline)
        gain = f", {abs(gained):,.1f} nats {'more' if gained > 0 else 'less'} than independent features reach"
    if not context.is_point:
        elbos = [context.elbo_of_evidence(i) for i in range(len(parts))]
        rows += [
            row("elbo", *map(mean, elbos)),
            row("gap", *(mean(_gap(p, elbo)) for p, elbo in zip(parts, elbos, strict=True))),
        ]
    return Section(
        "log_evidence",
        _QUESTION,
        f"log p(x) = log ∫ p(x|z) p(z) dz, the probability that the model gives to data, for {n:,} examples of each "
        f"part. {parts[0].why}",
        f"Held-out data have log p(x) = {means[0].text} nats per example{gain}.",
        tuple(rows),
        (),
        tuple(dict.fromkeys(note for part in parts for note in (*part.notes, part.comparison) if note)),
        scope=context.scope(n),
    )


def _gap(log_evidence: Estimate, elbo: Estimate) -> Estimate:
    return Estimate(
        log_evidence.value.cpu().double() - elbo.value, elbo.standard_error, f"{log_evidence.method} - {elbo.method}"
    )


def _none(context: ReportContext) -> Section:
    """An autoencoder with more latents than a grid can cover."""
    return Section(
        "log_evidence",
        _QUESTION,
        "The loss of an autoencoder is not a bound, because its q(z|x) is a point. Its decoder and prior still define "
        "log p(x) = log ∫ p(x|z) p(z) dz. With one or two latent dimensions that integral is computed on a grid; with "
        f"{context.latent} it needs annealing, which takes seconds to minutes per example.",
        f"log p(x) was not computed: with {context.latent} latents and no q(z|x) to draw from it needs annealing. "
        "Write nelbo measure RUN --effort thorough, or nelbo.measure.log_evidence(run.model, x[:10], "
        'method="annealed").',
    )


def overfits(context: ReportContext) -> Section | None:
    """The drop from training to held-out data, split between decoder and encoder."""
    if context.train is None or context.is_point or not context.has_evidence:
        return None
    held, train = (context.elbo_of_evidence(i) for i in (0, 1))
    split = overfitting(train, held, context.evidence[1], context.evidence[0])
    rows = (
        row("overfitting_decoder", split.decoder),
        row("overfitting_encoder", split.encoder),
        row("overfitting_total", split.total),
    )
    return Section(
        "overfitting",
        "Which part overfits?",
        "Held-out data can cost more than training data for two reasons, which the ELBO alone cannot tell apart.",
        split.verdict,
        rows,
        scope=context.scope(context.evidence_examples),
    )
