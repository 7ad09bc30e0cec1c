"""Faults of a VAE: the evidence, and what to change."""

from nelbo.diagnosis.diagnose import diagnose
from nelbo.diagnosis.effective_beta import EffectiveBeta, effective_beta
from nelbo.diagnosis.explain import explain, index
from nelbo.diagnosis.watching import Watch, watch

__all__ = ["EffectiveBeta", "Watch", "diagnose", "effective_beta", "explain", "index", "watch"]
