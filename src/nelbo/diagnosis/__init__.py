"""What is wrong with a VAE, the evidence, and what to change."""

from nelbo.diagnosis.diagnose import diagnose
from nelbo.diagnosis.effective_beta import EffectiveBeta, effective_beta
from nelbo.diagnosis.explain import explain, index
from nelbo.diagnosis.finding import Finding, Findings, Measured, Passed, Severity
from nelbo.diagnosis.html import findings_section

__all__ = [
    "EffectiveBeta",
    "Finding",
    "Findings",
    "Measured",
    "Passed",
    "Severity",
    "diagnose",
    "effective_beta",
    "explain",
    "findings_section",
    "index",
]
