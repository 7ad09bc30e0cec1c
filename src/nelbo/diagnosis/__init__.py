"""Faults of a VAE: the evidence, and what to change."""

from nelbo.diagnosis.diagnose import diagnose
from nelbo.diagnosis.effective_beta import EffectiveBeta, effective_beta
from nelbo.diagnosis.explain import explain, index

__all__ = ["EffectiveBeta", "diagnose", "effective_beta", "explain", "index"]
