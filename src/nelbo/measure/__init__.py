"""Measurements of a model in nats, with standard errors: log p(x), the gaps of its bound, its latents, its samples."""

from nelbo.measure.aggregate import AggregateMatch, aggregate_match
from nelbo.measure.annealing import BidirectionalBounds, bdmc
from nelbo.measure.codes import Codes, codes
from nelbo.measure.comparison import compare
from nelbo.measure.evidence import Evidence
from nelbo.measure.generation import Features, SampleMatch, density_coverage, features_for, sample_match
from nelbo.measure.importance_bounds import Bounds, importance_bounds
from nelbo.measure.imputation import Imputation, impute
from nelbo.measure.inference_gap import InferenceGap, inference_gap
from nelbo.measure.latent_scale import LatentScale, latent_scale
from nelbo.measure.latent_usage import LatentUsage, latent_usage
from nelbo.measure.log_evidence import log_evidence
from nelbo.measure.loss_terms import (
    FromEmbeddings,
    Overfitting,
    RateDistortion,
    elbo_terms,
    from_embeddings,
    independent_features,
    overfitting,
    per_observed,
    rate_distortion,
)
from nelbo.measure.reporting import report, sections
from nelbo.measure.scores import Scores, score_samples, threshold
from nelbo.measure.sweep import Sweep, sweep
from nelbo.measure.tables import TableMatch, Transfer, error_per_column, table_match, train_on_synthetic
from nelbo.measure.true_posterior import TruePosterior, posterior_kl, true_posterior
from nelbo.training import Interrupted

__all__ = [
    "AggregateMatch",
    "BidirectionalBounds",
    "Bounds",
    "Codes",
    "Evidence",
    "Features",
    "FromEmbeddings",
    "Imputation",
    "InferenceGap",
    "Interrupted",
    "LatentScale",
    "LatentUsage",
    "Overfitting",
    "RateDistortion",
    "SampleMatch",
    "Scores",
    "Sweep",
    "TableMatch",
    "Transfer",
    "TruePosterior",
    "aggregate_match",
    "bdmc",
    "codes",
    "compare",
    "density_coverage",
    "elbo_terms",
    "error_per_column",
    "features_for",
    "from_embeddings",
    "importance_bounds",
    "impute",
    "independent_features",
    "inference_gap",
    "latent_scale",
    "latent_usage",
    "log_evidence",
    "overfitting",
    "per_observed",
    "posterior_kl",
    "rate_distortion",
    "report",
    "sample_match",
    "score_samples",
    "sections",
    "sweep",
    "table_match",
    "threshold",
    "train_on_synthetic",
    "true_posterior",
]
