"""The terms of the loss, and what they mean: rate and distortion, overfitting, reconstruction, a baseline."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo import figures
from nelbo.data import as_batch, summarize
from nelbo.data.loading import seen_by
from nelbo.estimate import Estimate
from nelbo.evaluation import ElboTerms, evaluate
from nelbo.measure.generation import FITTED, principal_components


def elbo_terms(model: Any, x: Any, *, samples: int = 16, seed: int = 0) -> ElboTerms:
    """The ELBO of each example and its two terms, in nats; see :meth:`nelbo.evaluation.Evaluation.terms`.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        samples: draws of z for each example, at least 2.
        seed: of the draws, each a function of seed and example; torch's generators are left as they were.

    Raises:
        ValueError: fewer than 2 samples, or data that do not fit the model.
    """
    return evaluate(model, x, seed=seed).terms(samples)


@dataclass(frozen=True, eq=False)
class RateDistortion:
    """A model's place in the plane of rate and distortion: scalar Estimates in nats per example.

    Attributes:
        rate: E_x KL(q(z|x) || p(z)), what z costs to send; infinite for an autoencoder.
        distortion: -E_x E_q[log p(x|z)], what it costs to send x when z is known.
        total: rate + distortion = NELBO, a bound of -log p(x) from above: points of equal total lie on one line.
    """

    rate: Estimate
    distortion: Estimate
    total: Estimate

    def point(self, name: str, *, on_curve: bool, shift: float = 0.0) -> "figures.Point":
        """The place of the model in ``figures.rate_distortion``, its distortion shifted into other units."""
        errors = self.rate.error, self.distortion.error
        return figures.Point(name, float(self.rate), float(self.distortion) + shift, *errors, on_curve=on_curve)


def rate_distortion(model: Any, x: Any, *, samples: int = 16, seed: int = 0) -> RateDistortion:
    """Where a model stands in the plane of rate and distortion.

    H - D <= I(x; z) <= R, with H the entropy of the data: a model without a latent has R = 0 and D >= H.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event), held out; or what :func:`nelbo.evaluation.evaluate` takes.
        samples: draws of z for each example.
        seed: of the draws.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", eq. 7 to 9.
    """
    terms = evaluate(model, x, seed=seed).terms(samples)
    rate, distortion, elbo = map(Estimate.mean_of, (terms.kl, terms.reconstruction_error, terms.elbo))
    return RateDistortion(rate, distortion, elbo.scaled(-1))


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
        overfit = [
            f"the {name} by {float(part):.2f} ± {part.error:.2f} nats"
            for name, part in (("decoder", self.decoder), ("encoder", self.encoder))
            if float(part) > 2 * part.error
        ]
        if not overfit:
            return "Neither encoder nor decoder overfits beyond two standard errors."
        return f"What overfits: {' and '.join(overfit)}."


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
    return Estimate.mean_of(high) + Estimate.mean_of(low).scaled(-1)


@dataclass(frozen=True, eq=False)
class FromEmbeddings:
    """What the decoder gives back from embeddings alone.

    Attributes:
        error: (batch,), -log p(x|z) at z = the embedding, in nats: without the noise of q(z|x).
        explained: share of the data's variance that the decoded means explain, at most 1; 0 is what the mean of the
            data explains.
        linear: the same of as many principal components of the training data: the best linear embedding.
        x: (batch, \\*event), the decoded means.
    """

    error: Estimate
    explained: Estimate
    linear: Estimate
    x: Tensor


def from_embeddings(model: Any, x: Any, train: Any, *, seed: int = 0) -> FromEmbeddings:
    """Decode the embeddings of x: the error in nats, and the variance explained beside that of PCA.

    explained = 1 - sum |x - decoded|^2 / sum |x - mean|^2, with the mean of the training data; its error by the delta
    method over the examples.

    Args:
        model: a model, a run, or any object with ``posterior(x)``, ``prior`` and ``likelihood(z)``.
        x: (batch, \\*event), or what :func:`nelbo.evaluation.evaluate` takes.
        train: (n, \\*event), for the mean and the principal components; the first 2,000 are used.
        seed: of a posterior without a closed mean.
    """
    evaluation = evaluate(model, x, seed=seed)
    rebuilt = evaluation.reconstruction.cpu()
    train = as_batch(seen_by(model, train)).x
    rows, fitted = (part.flatten(1).cpu().double() for part in (evaluation.x, train[:FITTED]))
    mean = fitted.nanmean(0)
    # what was not observed stands at the mean where principal components are taken, and counts for nothing else
    directions, _ = principal_components((fitted - mean).nan_to_num(nan=0.0), evaluation.latent)
    projected = (rows - mean).nan_to_num(nan=0.0) @ directions.T @ directions + mean
    return FromEmbeddings(
        Estimate.exactly(evaluation.error_at_embedding.cpu().double()),
        _explained(rows, rebuilt.flatten(1).double(), mean, "decoded means"),
        _explained(rows, projected, mean, f"PCA with {len(directions)} components"),
        rebuilt,
    )


def _explained(x: Tensor, rebuilt: Tensor, mean: Tensor, method: str) -> Estimate:
    left, total = (x - rebuilt).square().nansum(1), (x - mean).square().nansum(1)
    ratio = left.mean() / total.mean()
    error = Estimate.mean_of((left - ratio * total) / total.mean()).standard_error
    return Estimate(1 - ratio, error, method, "share")


def independent_features(train: Tensor, x: Tensor) -> Estimate | None:
    """Log p(x) of each example, (batch,) in nats, under independent features: a model without a latent.

    Binary features have the training data's frequency, (ones + 1/2) / (n + 1); real ones a normal of its mean and
    variance. This is the level that a collapsed VAE sinks to: what is gained above it came through the latent.

    Args:
        train: (n, \\*event), what the frequencies are counted on.
        x: (batch, \\*event).

    Returns:
        Estimate without error, or None for other kinds of data.
    """
    kind = summarize(train).kind
    known, new = (part.flatten(1).cpu().double() for part in (train, x))
    n = (~known.isnan()).sum(0)
    if kind == "binary":
        share = (known.nansum(0) + 0.5) / (n + 1)
        each = torch.where(new > 0.5, share.log(), (-share).log1p())
    elif kind == "real":
        mean = known.nanmean(0)
        variance = ((known - mean).square().nansum(0) / (n - 1)).clamp(min=1e-12)
        each = -0.5 * ((new - mean).square() / variance + variance.log() + math.log(2 * math.pi))
    else:
        return None
    values = each.masked_fill(new.isnan(), 0.0).sum(1)
    return Estimate.exactly(values, "independent features, frequencies of the training data")


def per_observed(values: Estimate, x: Tensor) -> Estimate:
    """Nats per observed value: the sum over the examples, divided by the number of values that are not NaN in x.

    Nats of examples of which more was observed are more, so that nats per example compare only on the same examples.
    Its error is by the delta method over the examples.

    >>> import torch
    >>> x = torch.tensor([[0.5, torch.nan], [0.1, 0.2]])
    >>> print(per_observed(Estimate.exactly(torch.tensor([-1.0, -3.0])), x).text_with_unit)
    −1.33 ± 0.22 nats

    Args:
        values: (batch,), such as ``log_evidence(vae, x)``, a bound, or a term of ``elbo_terms``.
        x: (batch, \\*event), of the same examples.
    """
    each, counts = values.value.cpu().double(), (~x.isnan()).flatten(1).sum(1).cpu().double()
    ratio = each.mean() / counts.mean()
    error = Estimate.mean_of((each - ratio * counts) / counts.mean()).standard_error
    return Estimate(ratio, error, f"{values.method}, per observed value of {len(each):,} examples", values.unit)
