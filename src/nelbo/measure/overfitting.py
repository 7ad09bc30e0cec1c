"""Training against held-out data: which of encoder and decoder overfits."""

from dataclasses import dataclass

from nelbo.estimate import Estimate
from nelbo.measure.terms import over_examples


@dataclass(frozen=True, eq=False)
class Overfitting:
    """The drop of the ELBO from training to held-out data, split in two; scalar Estimates in nats.

    ELBO_train - ELBO_held_out = (log p_train - log p_held_out) + (gap_held_out - gap_train), gap = log p(x) - ELBO.

    Attributes:
        total: how much lower the mean ELBO is on held-out data.
        decoder: how much lower the mean log p(x) is: the model p(x) itself fits the training set too closely.
        encoder: how much larger the mean gap is: q(z|x) is farther from p(z|x) on data it was not trained on.
    """

    total: Estimate
    decoder: Estimate
    encoder: Estimate

    @property
    def verdict(self) -> str:
        """Which of the two overfits, beyond two standard errors, in a sentence."""
        found = [
            f"the {name} by {float(part):.2f} ± {float(part.standard_error):.2f} nats"
            for name, part in (("decoder", self.decoder), ("encoder", self.encoder))
            if float(part) > 2 * float(part.standard_error)
        ]
        if not found:
            return "Neither encoder nor decoder overfits beyond two standard errors."
        return f"What overfits: {' and '.join(found)}."


def overfitting(
    elbo_train: Estimate, elbo_held_out: Estimate, log_evidence_train: Estimate, log_evidence_held_out: Estimate
) -> Overfitting:
    """Split the gap between training and held-out ELBO into the decoder's part and the encoder's.

    Args:
        elbo_train: (n,), of training examples: ``elbo_terms(vae, x).elbo``.
        elbo_held_out: (m,), of held-out ones.
        log_evidence_train: (n,), of the same training examples: ``log_evidence(vae, x)``.
        log_evidence_held_out: (m,), of the same held-out ones.

    Returns:
        Overfitting, with standard errors over the examples, the two sets being independent.

    Raises:
        ValueError: ELBO and evidence are not of the same examples.

    Source: Wu, Burda, Salakhutdinov & Grosse 2017, "On the quantitative analysis of decoder-based generative models",
    section 5.2: the bound falls on held-out data while log p(x) does not, where the encoder overfits.
    """
    for name, a, b in (
        ("training", elbo_train, log_evidence_train),
        ("held-out", elbo_held_out, log_evidence_held_out),
    ):
        if a.value.shape != b.value.shape or a.value.dim() != 1:
            raise ValueError(
                f"the ELBO of the {name} examples has shape {tuple(a.value.shape)} and their log p(x) "
                f"{tuple(b.value.shape)}; expected (n,) of the same n examples"
            )
    gaps = [
        Estimate(p.value.cpu().double() - e.value, e.standard_error, "gap")
        for e, p in ((elbo_train, log_evidence_train), (elbo_held_out, log_evidence_held_out))
    ]
    return Overfitting(
        total=_drop(elbo_train, elbo_held_out),
        decoder=_drop(log_evidence_train, log_evidence_held_out),
        encoder=_drop(gaps[1], gaps[0]),
    )


def _drop(high: Estimate, low: Estimate) -> Estimate:
    return over_examples(high) + over_examples(low).scaled(-1)
