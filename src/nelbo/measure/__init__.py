"""Measurements of a model in nats, with standard errors: log p(x), the gaps of its bound, its latents, its samples."""

from nelbo.measure.aggregate import AggregateMatch, aggregate_match
from nelbo.measure.baseline import independent_features
from nelbo.measure.bidirectional import Sandwich, bidirectional
from nelbo.measure.bounds import Bounds, importance_bounds
from nelbo.measure.comparison import compare
from nelbo.measure.estimate import Evidence
from nelbo.measure.evidence import log_evidence
from nelbo.measure.features import Features, features_for
from nelbo.measure.generation import SampleMatch, closeness, sample_match
from nelbo.measure.inference_gap import InferenceGap, inference_gap
from nelbo.measure.overfitting import Overfitting, overfitting
from nelbo.measure.rate_distortion import RateDistortion, rate_distortion
from nelbo.measure.reconstruction import FromEmbeddings, from_embeddings
from nelbo.measure.reporting import report, sections
from nelbo.measure.sweep import Sweep, sweep
from nelbo.measure.terms import ElboTerms, elbo_terms, over_examples
from nelbo.measure.true_posterior import TruePosterior, posterior_kl, true_posterior
from nelbo.measure.usage import LatentUsage, latent_usage
from nelbo.measure.waiting import Interrupted

__all__ = [
    "AggregateMatch",
    "Bounds",
    "ElboTerms",
    "Evidence",
    "Features",
    "FromEmbeddings",
    "InferenceGap",
    "Interrupted",
    "LatentUsage",
    "Overfitting",
    "RateDistortion",
    "SampleMatch",
    "Sandwich",
    "Sweep",
    "TruePosterior",
    "aggregate_match",
    "bidirectional",
    "closeness",
    "compare",
    "elbo_terms",
    "features_for",
    "from_embeddings",
    "importance_bounds",
    "independent_features",
    "inference_gap",
    "latent_usage",
    "log_evidence",
    "over_examples",
    "overfitting",
    "posterior_kl",
    "rate_distortion",
    "report",
    "sample_match",
    "sections",
    "sweep",
    "true_posterior",
]
